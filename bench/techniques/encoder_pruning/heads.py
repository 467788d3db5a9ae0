"""Whole heads of attention removed, then fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.techniques.encoder_pruning.importance import Group
from bench.techniques.encoder_pruning.units import UnitPruning
from bench.workloads.language.anatomy import Block


@dataclass(frozen=True)
class HeadPruning(UnitPruning):
    """Remove the heads that matter least, at least one being left in each layer.

    A head's importance is the mean over examples of ``|gate * derivative of loss by gate|`` with
    the gate at 1, which equals activation times gradient at the input of attention's output layer.
    Over all layers together it is divided by the L2 norm of its layer's. All heads go at once, and
    what is left is fine-tuned; the source removes them step by step and trains nothing. Source:
    Michel et al. (2019), Are sixteen heads really better than one?, arXiv:1905.10650, section 4.1.
    """

    unit: ClassVar[str] = "head"

    def group(self, block: Block) -> Group:
        """Return the projections that make heads and the layer that mixes them."""
        return Group((block.query, block.key, block.value), block.output, block.head_size)
