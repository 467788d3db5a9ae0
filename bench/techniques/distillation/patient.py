"""A student that listens to layers on the way, not only to the last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.techniques import Loss, Setting, TechniqueError
from bench.techniques.distillation.encoders import EncoderStudent, layer_map, require_same_width
from bench.techniques.distillation.teaching import ask, seen, soft_loss
from bench.workloads import Batch
from bench.workloads.language.anatomy import blocks


@dataclass(frozen=True)
class Patient(EncoderStudent):
    """Hinton's loss, and the distance of the first token's normalised hidden states on the way.

    ``alpha * T**2 * KL(teacher / T, student / T) + (1 - alpha) * task loss + beta * mean squared
    distance``, a mean over examples, layers and features, as in the authors' code; their formula
    has a sum there, for which their values of ``beta`` would be far too large. The last layer is
    left out, since the answers come from it. Source: Sun et al. (2019), arXiv:1908.09355,
    section 3.

    Attributes:
        temperature: ``T``, at least 1; softens both distributions.
        alpha: Share of the teacher's answers against the labels, in (0, 1].
        beta: Weight of the hidden states, above 0.
        strategy: Layers of the teacher that are listened to: ``skip`` takes them evenly (the
            second, the fourth, ... for half the layers), ``last`` those just before the last.
    """

    temperature: float
    alpha: float
    beta: float
    strategy: Literal["skip", "last"]

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        super().__post_init__()
        if self.temperature < 1:
            raise ValueError(f"technique.temperature is {self.temperature}: at least 1")
        if not 0 < self.alpha <= 1:
            raise ValueError(
                f"technique.alpha must be in (0, 1], got {self.alpha}: it is the teacher's share "
                f"against the labels"
            )
        if self.beta <= 0:
            raise ValueError(
                f"technique.beta is {self.beta}: above 0; technique=distillation leaves hidden "
                f"states out"
            )
        if self.strategy not in ("skip", "last"):
            raise ValueError(f"technique.strategy is {self.strategy!r}: skip or last")

    @property
    def label(self) -> str:
        """Name, student and strategy."""
        return f"{super().label} {self.strategy}"

    def compare(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse other widths, and a student without layers on the way."""
        super().compare(student, teacher)
        require_same_width(student, teacher, "technique=distillation leaves them out")
        self.listened_to(student, teacher)

    def listened_to(self, student: nn.Module, teacher: nn.Module) -> tuple[int, ...]:
        """Return the teacher's layers for all layers of the student but the last, from 1 on.

        Raises:
            TechniqueError: The student has no such layers, or more of them than the teacher, or
                they cannot be taken evenly.
        """
        of_student, of_teacher = (len(blocks(model)) for model in (student, teacher))
        if not 2 <= of_student <= of_teacher:
            raise TechniqueError(
                f"technique.student has {of_student} layers and the baseline {of_teacher}: all but "
                f"the student's last are taught, so take 2 to {of_teacher}"
            )
        if self.strategy == "skip":
            return layer_map(teacher, student)[:-1]
        return tuple(range(of_teacher - of_student + 1, of_teacher))

    def objective(self, loss: Loss, setting: Setting) -> Loss:
        """Return Hinton's loss with that of the hidden states."""
        workload, teacher = setting.workload, setting.baseline

        def lesson(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
            listened_to = self.listened_to(model, teacher)
            with seen(_layers(model, tuple(range(1, len(listened_to) + 1)))) as mine:
                task, outputs = loss(model, batch)
            taught, theirs = ask(teacher, workload, batch, _layers(teacher, listened_to))
            soft = soft_loss(outputs, taught, self.temperature)
            patience = (_directions(mine) - _directions(theirs)).square().mean()
            return self.alpha * soft + (1 - self.alpha) * task + self.beta * patience, outputs

        return lesson


def _layers(model: nn.Module, wanted: tuple[int, ...]) -> dict[str, nn.Module]:
    """Return layers, numbered from 1 on, by their place among the wanted ones."""
    there = blocks(model)
    return {str(place): there[number - 1].layer for place, number in enumerate(wanted)}


def _directions(hidden: Mapping[str, Tensor]) -> Tensor:
    """Return the first token's hidden states with length 1, ``(layers, batch, width)``.

    The first token is never padding, so there is nothing to mask.
    """
    firsts = torch.stack([states[:, 0].float() for states in hidden.values()])
    return F.normalize(firsts, dim=2)
