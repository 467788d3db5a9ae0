"""Encoders with fewer heads, neurons, layers or weights."""

from __future__ import annotations

from torch import nn

from bench.techniques import TechniqueError
from bench.workloads import WorkloadError
from bench.workloads.language.anatomy import Block, blocks


def blocks_of(model: nn.Module, technique: str) -> list[Block]:
    """Return what is in each layer of an encoder.

    Args:
        model: What is to be pruned.
        technique: Its name, for the message.

    Raises:
        TechniqueError: The model is no encoder.
    """
    try:
        return blocks(model)
    except WorkloadError as err:
        raise TechniqueError(f"technique={technique} prunes encoders, and {err}") from err
