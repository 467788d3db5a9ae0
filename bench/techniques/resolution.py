"""Fewer pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from bench.techniques import Setting, Technique, TechniqueError, Terms
from bench.workloads import Workload


class _Resized(nn.Module):
    """A model of images that are made smaller first."""

    def __init__(self, model: nn.Module, size: int) -> None:
        super().__init__()
        self.model = model
        self.size = size

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model(F.interpolate(pixels, (self.size, self.size), mode="area"))


@dataclass(frozen=True)
class Resolution(Technique):
    """Images averaged down to a smaller side before the model, which is fine-tuned to them.

    Operations fall with the area. Source: Howard et al. (2017), MobileNets, arXiv:1704.04861,
    section 3.4 (resolution multiplier).

    Attributes:
        size: Side in pixels of what the model sees, below ``workload.image_size``.
        epochs: Passes of fine-tuning, charged to the technique; 0 for none.
        learning_rate: Peak of the fine-tuning.
    """

    size: int
    epochs: float
    learning_rate: float

    shrinks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        if self.size < 1 or self.epochs < 0 or self.learning_rate <= 0:
            raise ValueError(
                f"technique.size={self.size} must be at least 1, technique.epochs={self.epochs} at "
                f"least 0, technique.learning_rate={self.learning_rate} above 0"
            )

    @property
    def label(self) -> str:
        """Name and side."""
        return f"{self.name} {self.size}"

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """Fine-tuning."""
        if self.epochs == 0:
            return None
        return {"epochs": self.epochs, "learning_rate": self.learning_rate}

    def require(self, terms: Terms) -> None:
        """Refuse a side that is no smaller."""
        side = getattr(terms.workload, "image_size", None)
        if side is None or self.size >= side:
            raise TechniqueError(
                f"technique.size={self.size} must be below workload.image_size={side}, the side of "
                f"the images of {terms.workload.name}"
            )

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model behind a resizing."""
        return _Resized(model, self.size)

    def restore(
        self, model: nn.Module, tensors: Mapping[str, Tensor], workload: Workload
    ) -> nn.Module:
        """Return a fresh model behind a resizing."""
        return _Resized(model, self.size)
