"""What is done to a model, as three hooks that are each the identity by default.

The technique that changes nothing *is* the baseline. A technique is a frozen dataclass: its fields
are the knobs, ``__post_init__`` states their range, the docstring cites the paper. One file here
and one YAML in ``conf/technique/`` add one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from bench.workloads import Batch, Workload

Loss = Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]
"""From a model and a batch to the scalar loss and the outputs."""


class TechniqueError(RuntimeError):
    """A technique that cannot do what it promises here; the message says why."""


@dataclass(frozen=True)
class Setting:
    """What a technique may look at.

    Attributes:
        workload: Data to calibrate on, losses, an example input.
        baseline: The trained baseline, in evaluation mode; a teacher. Never change it.
        seed: For whatever is drawn at random.
    """

    workload: Workload
    baseline: nn.Module
    seed: int


@dataclass(frozen=True)
class Technique:
    """The baseline against itself: an A/A pair, whose interval is the noise floor of the host.

    Attributes:
        name: As in results and tables.
    """

    name: str

    @property
    def label(self) -> str:
        """Name with the knobs that tell two variants of it apart, as printed in tables."""
        return self.name

    @property
    def stages(self) -> tuple[Technique, ...]:
        """Steps done one after the other, each prepared, trained and converted by itself."""
        return () if type(self) is Technique else (self,)

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """What this stage changes in the training recipe; ``None`` if it trains nothing."""
        return None

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model to train: pruned, with adapters, a smaller student, ..."""
        return model

    def objective(self, loss: Loss, setting: Setting) -> Loss:
        """Return the loss to train under, given the task's own."""
        return loss

    def convert(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model to serve: quantized, cast, merged, ..."""
        return model

    def restore(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
        """Return a freshly built model shaped so that the saved ``tensors`` fit into it."""
        return model


@dataclass(frozen=True)
class Chain(Technique):
    """Several techniques, one after the other.

    Attributes:
        steps: Techniques by a name of their own, in order.
    """

    steps: Mapping[str, Technique]

    def __post_init__(self) -> None:
        """Refuse a chain of nothing."""
        if not self.stages:
            raise ValueError("technique.steps is empty: a chain needs at least one technique")

    @property
    def label(self) -> str:
        """Labels of the steps, joined."""
        return " + ".join(stage.label for stage in self.stages)

    @property
    def stages(self) -> tuple[Technique, ...]:
        """The stages of every step, in order."""
        return tuple(stage for step in self.steps.values() for stage in step.stages)
