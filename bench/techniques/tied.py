"""Weights that two layers share: an output layer may be the table of embeddings, too."""

from __future__ import annotations

from torch import nn


def tables(model: nn.Module) -> frozenset[int]:
    """Return the identities of all tables of embeddings, by which a layer that has one is known."""
    return frozenset(id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding))
