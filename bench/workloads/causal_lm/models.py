"""Causal language models: found, built, and made smaller."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from bench.workloads import WorkloadError, first_line
from bench.workloads.checkpoints import evenly, located

DTYPES: Mapping[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def pretrained(model: str, dtype: str, key: str = "workload.model") -> PreTrainedModel:
    """Return a published model: tensors from safetensors, no pickle, none of its own code.

    Raises:
        WorkloadError: It cannot be found or read.
    """
    place = located(model, key)
    try:
        return AutoModelForCausalLM.from_pretrained(
            place, dtype=DTYPES[dtype], trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError, KeyError) as err:
        raise WorkloadError(
            f"{key}={model} cannot be loaded: {first_line(err)} Give a hub id that can be "
            f"reached, a local folder with config.json and model.safetensors, or take "
            f"workload.pretrained=false for the architecture with random weights"
        ) from err


def fresh(architecture: Mapping[str, Any], dtype: str) -> PreTrainedModel:
    """Return a model with random weights.

    Raises:
        WorkloadError: transformers knows no such architecture.
    """
    said = f"workload.architecture={dict(architecture)} cannot be built"
    try:
        # A copy: configurations complete the mappings that they are given.
        config = AutoConfig.for_model(**copy.deepcopy(dict(architecture)))
    except Exception as err:  # of many kinds, for a value that is not what its field wants
        raise WorkloadError(f"{said}: {err}") from err
    try:
        return AutoModelForCausalLM.from_config(config, dtype=DTYPES[dtype])
    except (ValueError, TypeError, KeyError) as err:
        raise WorkloadError(f"{said}: {err}") from err


def layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the layers of a model, in order.

    Raises:
        WorkloadError: They are not in one list.
    """
    count = model.config.num_hidden_layers
    for module in model.base_model.modules():  # a list of layers comes before what is inside them
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise WorkloadError(
        f"technique.student: {type(model).__name__} has no list of {count} layers to take some "
        f"from; give a checkpoint"
    )


def smaller(model: PreTrainedModel, shape: tuple[int, int | None], name: str) -> PreTrainedModel:
    """Return a model with fewer layers: some of the model's own, or narrower ones made anew.

    A narrower one keeps the number of heads and the proportions of everything else.

    Raises:
        WorkloadError: More layers than the model has, or a width that its heads do not divide.
    """
    count, width = shape
    there = len(layers(model))
    if not 1 <= count <= there:
        raise WorkloadError(f"technique.student={name}: the model has {there} layers")
    if width is None:
        return _with_layers(model, evenly(count, there))
    config: Any = copy.deepcopy(model.config)
    if width % config.num_attention_heads:
        raise WorkloadError(
            f"technique.student={name}: a width of {width} cannot be shared by "
            f"{config.num_attention_heads} heads"
        )
    for part in ("head_dim", "intermediate_size", "n_inner"):  # what a model does not derive itself
        if (size := getattr(config, part, None)) is not None:
            setattr(config, part, size * width // config.hidden_size)
    if (turned := getattr(config, "rotary_dim", None)) is not None:
        config.rotary_dim = min(turned, width // config.num_attention_heads)
    _set_layers(config, evenly(count, there))
    config.hidden_size = width
    return AutoModelForCausalLM.from_config(config, dtype=model.dtype)


def _with_layers(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """Return the model without all other layers; those that are left are numbered anew."""
    there = layers(model)
    for index in reversed(range(len(there))):
        if index not in kept:
            del there[index]
    for number, layer in enumerate(there):
        parts: Any = layer.modules()
        for part in parts:
            if hasattr(part, "layer_idx"):  # its place in the cache of keys and values
                part.layer_idx = number
    _set_layers(model.config, kept)
    return model


def _set_layers(config: Any, kept: Sequence[int]) -> None:
    if (kinds := getattr(config, "layer_types", None)) is not None:
        config.layer_types = [kinds[index] for index in kept]
    config.num_hidden_layers = len(kept)
