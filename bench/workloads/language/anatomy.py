"""Where things are in an encoder, BERT's way or DistilBERT's, before and after it was pruned."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from torch import nn

from bench.workloads import WorkloadError


@dataclass(frozen=True)
class Block:
    """One layer of a transformer.

    Attributes:
        query: Linear layer of attention, ``(width, heads * head_size)``, like the next two.
        key: Likewise.
        value: Likewise.
        output: Mixes the heads: ``(heads * head_size, width)``.
        up: First of the feed-forward part, ``(width, neurons)``; its activation follows.
        down: Second of it, ``(neurons, width)``.
        layer: The whole of it.
        head_size: Features of a head.
    """

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    up: nn.Linear
    down: nn.Linear
    layer: nn.Module
    head_size: int

    @property
    def heads(self) -> int:
        """Heads of its attention that are left."""
        return self.query.out_features // self.head_size


_PLACES = (
    {  # BertLayer
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "output": "attention.output.dense",
        "up": "intermediate.dense",
        "down": "output.dense",
    },
    {  # TransformerBlock of DistilBERT
        "query": "attention.q_lin",
        "key": "attention.k_lin",
        "value": "attention.v_lin",
        "output": "attention.out_lin",
        "up": "ffn.lin1",
        "down": "ffn.lin2",
    },
)


def embeddings(model: nn.Module) -> nn.Module:
    """Return the module whose output is what the first layer sees.

    Raises:
        WorkloadError: The model is no encoder.
    """
    found = getattr(getattr(model, "base_model", None), "embeddings", None)
    if not isinstance(found, nn.Module):
        raise _no_encoder(model)
    return found


def layers(model: nn.Module) -> nn.ModuleList:
    """Return the layers themselves, in order.

    Raises:
        WorkloadError: The model is no encoder.
    """
    inner = getattr(model, "base_model", None)
    for holder in ("encoder", "transformer"):  # BERT's name and DistilBERT's
        found = getattr(getattr(inner, holder, None), "layer", None)
        if isinstance(found, nn.ModuleList):
            return found
    raise _no_encoder(model)


def blocks(model: nn.Module) -> list[Block]:
    """Return what is in each layer, in order.

    Raises:
        WorkloadError: The model is no encoder, or one of another make.
    """
    return [_block(layer, model) for layer in layers(model)]


def keep_layers(model: nn.Module, kept: Collection[int]) -> None:
    """Drop all layers but those numbered ``kept`` from 0; the rest is numbered anew.

    Raises:
        WorkloadError: The model is no encoder.
    """
    there = layers(model)
    for index in reversed(range(len(there))):
        if index not in kept:
            del there[index]
    config: Any = model.config
    config.num_hidden_layers = len(there)  # DistilBERT maps the name to its own


def _block(layer: nn.Module, model: nn.Module) -> Block:
    for places in _PLACES:
        try:
            parts: dict[str, Any] = {name: layer.get_submodule(at) for name, at in places.items()}
        except AttributeError:
            continue
        attention: Any = layer.get_submodule(places["query"].rpartition(".")[0])
        return Block(**parts, layer=layer, head_size=attention.attention_head_size)
    raise _no_encoder(model)


def _no_encoder(model: nn.Module) -> WorkloadError:
    return WorkloadError(
        f"{type(model).__name__} is no encoder like BERT or DistilBERT: take a workload of one, "
        f"such as workload=bert, workload=distilbert or workload=minilm"
    )
