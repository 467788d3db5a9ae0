"""Neurons of the feed-forward parts removed, then fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.techniques.encoder_pruning.importance import Group
from bench.techniques.encoder_pruning.units import UnitPruning
from bench.workloads.language.anatomy import Block


@dataclass(frozen=True)
class FfnPruning(UnitPruning):
    """Remove the neurons that matter least, between the two linear layers of each block.

    A neuron's importance is activation times gradient behind its activation function, summed over
    the tokens of an example; the mean over examples of its magnitude. Source: Molchanov et al.
    (2017), Pruning convolutional neural networks for resource efficient inference, ICLR,
    arXiv:1611.06440, section 2.2, with a neuron in place of a feature map.

    Attributes:
        round_to: Neurons that remain in a layer are a multiple of this, rounded down, since kernels
            like whole vectors.
    """

    round_to: int

    unit: ClassVar[str] = "neuron"

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        super().__post_init__()
        if self.round_to < 1:
            raise ValueError(f"technique.round_to is {self.round_to}: at least 1")

    @property
    def multiple(self) -> int:
        """Neurons that remain in a layer are a multiple of this."""
        return self.round_to

    def group(self, block: Block) -> Group:
        """Return the layer that makes neurons and the one that takes them in."""
        return Group((block.up,), block.down, 1)
