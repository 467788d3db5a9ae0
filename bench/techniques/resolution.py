"""Fewer pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from bench.techniques import Setting, Technique, TechniqueError, Terms, fine_tuning
from bench.workloads import Workload


@dataclass(frozen=True)
class Resolution(Technique):
    """Images averaged down to a smaller side before the model, which is fine-tuned to them.

    Operations fall with the area. Source: Howard et al. (2017), MobileNets, arXiv:1704.04861,
    section 3.4 (resolution multiplier).

    Attributes:
        size: Side in pixels of what the model sees, below ``workload.image_size``.
        epochs: Passes of fine-tuning, charged to the technique; 0 for none.
        learning_rate: Peak of the fine-tuning; ``None`` takes the baseline's.
    """

    size: int
    epochs: float
    learning_rate: float | None

    shrinks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        if self.size < 1:
            raise ValueError(f"technique.size is {self.size}: at least 1")
        fine_tuning.require_possible(self.epochs, self.learning_rate)

    @property
    def label(self) -> str:
        """Name and side."""
        return f"{self.name} {self.size}"

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """Fine-tuning."""
        return fine_tuning.recipe(self.epochs, self.learning_rate)

    def require(self, terms: Terms) -> None:
        """Refuse a side that is no smaller, and to undo what was learnt."""
        fine_tuning.require_gentle(self.epochs, self.learning_rate, terms)
        side = getattr(terms.workload, "image_size", None)
        if side is None or self.size >= side:
            raise TechniqueError(
                f"technique.size={self.size} must be below workload.image_size={side}, the side of "
                f"the images of {terms.workload.name}"
            )

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model, which sees fewer pixels from now on."""
        return self._resized(model)

    def restore(
        self, model: nn.Module, tensors: Mapping[str, Tensor], workload: Workload
    ) -> nn.Module:
        """Return a fresh model that sees as many."""
        return self._resized(model)

    def _resized(self, model: nn.Module) -> nn.Module:
        # A hook, not a module around it: names of tensors stay, which other stages go by.
        model.register_forward_pre_hook(partial(_shrink, self.size))
        return model


def _shrink(size: int, model: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """Return what the model is called with, averaged down."""
    return F.interpolate(inputs[0], (size, size), mode="area")
