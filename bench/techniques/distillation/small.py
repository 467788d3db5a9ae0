"""A smaller model trained as the baseline was: what distillation has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from bench.techniques import Setting, Technique, TechniqueError, Terms
from bench.workloads import Workload


@dataclass(frozen=True)
class SmallModel(Technique):
    """Another, smaller model of the workload, from its initial weights.

    Attributes:
        student: Its name, as the workload knows models (``workload.architecture`` for vision).
        epochs: Passes over the training split, charged to the technique; ``None`` takes as many
            as the baseline.
        learning_rate: Peak; ``None`` takes the baseline's.
    """

    student: str
    epochs: float | None
    learning_rate: float | None

    begins_chain: ClassVar[str] = "it starts from a model of its own, so that work would be lost"

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        for key in ("epochs", "learning_rate"):
            if (value := getattr(self, key)) is not None and value <= 0:
                raise ValueError(f"technique.{key} is {value}: above 0, or null for the baseline's")

    @property
    def label(self) -> str:
        """Name and student."""
        return f"{self.name} {self.student}"

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The baseline's, where nothing else is said."""
        asked = {"epochs": self.epochs, "learning_rate": self.learning_rate}
        return {key: value for key, value in asked.items() if value is not None}

    def require(self, terms: Terms) -> None:
        """Refuse a student that cannot stand beside this baseline, or by itself is no smaller.

        In a chain another stage may make it smaller: a student of the baseline's own shape is
        self-distillation.
        """
        student = terms.workload.student(self.student, seed=0)
        baseline = terms.workload.build(seed=0)
        self.compare(student, baseline)
        own, theirs = _tensor_bytes(student), _tensor_bytes(baseline)
        if terms.alone and own >= theirs:
            raise TechniqueError(
                f"technique.student={self.student} has {own:,} bytes of weights and the baseline "
                f"{theirs:,}: choose a smaller one, or a larger workload"
            )

    def compare(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse a student that cannot be held against its teacher; without one there is none.

        Raises:
            TechniqueError: The message names both, the key and the way out.
        """

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the student with its initial weights."""
        device = setting.device
        return setting.workload.student(self.student, setting.seed).to(device)

    def restore(
        self, model: nn.Module, tensors: Mapping[str, Tensor], workload: Workload
    ) -> nn.Module:
        """Return the student."""
        return workload.student(self.student, seed=0)


def _tensor_bytes(model: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in model.state_dict().values())
