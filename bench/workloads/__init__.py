"""What the harness asks of a workload: a model, a data set and a metric.

A workload is a dataclass whose fields are its knobs (``conf/workload/<name>.yaml``). It decides
nothing about energy: how it is trained is ``training``, how it is served is ``runtime``, what is
done to the model is the technique.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

Batch = dict[str, Tensor]
"""Tensors by name; the first dimension of each is the example."""


class WorkloadError(ValueError):
    """Data or weights that the workload cannot use; the message names the key and the way out."""


def first_line(err: Exception) -> str:
    """Return what an error says first, or what it is where it says nothing."""
    return (str(err).strip() or type(err).__name__).splitlines()[0]


class Examples(Protocol):
    """Examples that are fetched a batch at a time, as ``torch.utils.data`` does."""

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return the examples at ``indices`` as one batch."""
        ...


def lengths_of(examples: Examples) -> Sequence[int] | None:
    """Return how long each example is, if batches are to hold examples of like length."""
    found: Sequence[int] | None = getattr(examples, "lengths", None)
    return found


def first_of(examples: Examples, count: int) -> list[int]:
    """Return the places of the first examples as the data have them, however they are batched."""
    order: Tensor | None = getattr(examples, "order", None)
    return list(range(count)) if order is None else torch.argsort(order)[:count].tolist()


@dataclass(frozen=True)
class Workload(abc.ABC):
    """A model, its data and its metric.

    Attributes:
        name: As in results and tables.
        batch_size: Examples per forward pass in evaluation and in measured windows, both arms.
        margin: Non-inferiority margin of the metric, fixed before the sweep: a fraction, or in the
            metric's unit.
        data_root: Local folder in the hub's layout; ``None`` loads from the hub.
    """

    name: str
    batch_size: int
    margin: float
    data_root: str | None

    untrainable: ClassVar[str] = ""
    """Why it cannot be trained here; empty if it can."""
    item: ClassVar[str] = "sample"
    """What joules and seconds are per, and ``serving`` counts; its plural ends in s."""
    most_margin: ClassVar[float] = 1.0
    """Margins lie below: 1 of a fraction, another of a metric in a unit of its own."""

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        if self.batch_size < 1:
            raise ValueError(f"workload.batch_size is {self.batch_size}: at least one example")
        if not 0 < self.margin < self.most_margin:
            point = ", so one point is 0.01" if self.most_margin == 1 else ""
            raise ValueError(
                f"workload.margin must be in (0, {self.most_margin:g}), got {self.margin}: it is "
                f"the loss of {self.metric} that still counts as non-inferior{point}"
            )

    @property
    def metric(self) -> str:
        """The metric that is judged, one of ``score``'s."""
        return "accuracy"

    def require(self, mode: str) -> None:  # noqa: B027 - most have nothing to refuse
        """Refuse what cannot be served like this, before anything is trained.

        Args:
            mode: ``eager`` or ``compile``; or ``export``, as one graph of the whole model.

        Raises:
            WorkloadError: The message names the key and the way out.
        """

    def require_trainable(self, asked: str) -> None:
        """Refuse any training of what cannot be trained, before it begins.

        Args:
            asked: What asks for it, such as ``training.epochs=3`` or ``technique=lora``.

        Raises:
            WorkloadError: With the reason.
        """
        if self.untrainable:
            raise WorkloadError(
                f"{asked}: {self.name} cannot be trained here, since {self.untrainable}; take what "
                f"trains nothing: training.epochs=0, technique=bf16, or technique.epochs=0 where a "
                f"technique has it"
            )

    @abc.abstractmethod
    def build(self, seed: int) -> nn.Module:
        """Return the model with its initial weights: random from ``seed``, or pretrained."""

    @abc.abstractmethod
    def train_examples(self) -> Examples:
        """Return the training split, augmented; batches carry ``labels``."""

    @abc.abstractmethod
    def plain_train_examples(self) -> Examples:
        """Return the training split as it is, for calibration and validation."""

    @property
    def answers_repeat(self) -> bool:
        """Whether a teacher's answers to ``train_examples`` can be kept from epoch to epoch.

        They cannot where examples are augmented, or where outputs are too many to be kept.
        """
        return True

    def validation_examples(self) -> Examples | None:
        """Return a split to be looked at while training, if the data have one of their own."""
        return None

    @abc.abstractmethod
    def test_examples(self) -> Examples:
        """Return the held-out split, never augmented and never trained on."""

    def served_examples(self) -> Examples:
        """Return what is asked in measured windows: the held-out split unless told otherwise."""
        return self.test_examples()

    def student(self, name: str, seed: int) -> nn.Module:
        """Return another model for the same data, with initial weights.

        Args:
            name: Of an architecture or a checkpoint, as this workload knows them.
            seed: Of random weights.

        Raises:
            WorkloadError: It has no such model.
        """
        raise WorkloadError(f"technique.student={name}: {self.name} knows no other models")

    def prunable(self, model: nn.Module) -> tuple[nn.Module, nn.Module] | None:
        """Return the part of a model that may lose channels, and the layer of it that loses none.

        The second gives the part's outputs. ``None`` if there are no channels of convolutions.
        """
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
        return (model, linear[-1]) if convolves and linear else None

    def full_precision(self, model: nn.Module) -> Sequence[nn.Module]:
        """Return parts of a model that 16 bits would break: they stay as they are."""
        return ()

    @abc.abstractmethod
    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the model's outputs for a batch, shape ``(batch, ...)``."""

    @abc.abstractmethod
    def loss(self, outputs: Tensor, batch: Batch, smoothing: float) -> Tensor:
        """Return the mean task loss of a batch, a scalar; ``smoothing`` in [0, 1) softens it."""

    def decisions(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the outputs that count, a row for each choice: ``(decisions, classes)``."""
        return outputs

    @abc.abstractmethod
    def predict(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return one prediction per example from a batch's outputs, shape ``(batch,)``."""

    def serving(self, model: nn.Module, batch: Batch) -> tuple[Callable[[], None], float]:
        """Return a pass over a batch as it is served, and how many items it counts for.

        What has to be ready before a pass is made here, so that no window pays for it. An item is
        an example or what stands for it: a token, a second of audio.
        """

        def serve() -> None:
            self.forward(model, batch)

        return serve, len(next(iter(batch.values())))

    @abc.abstractmethod
    def score(self, labels: np.ndarray, predictions: np.ndarray) -> Mapping[str, float]:
        """Return metrics as fractions; ``metric`` is among them, or else among ``distances``."""

    def exhibit(  # noqa: B027 - most have nothing
        self, outputs: Tensor, places: Sequence[int], folder: Path
    ) -> None:
        """Write what people can look at or listen to of a batch's outputs.

        Files are named by the example's place, six digits from 0, and kept beside the artefact; a
        ``.txt`` of the same name says what it is.

        Args:
            outputs: Of ``forward``.
            places: Of these examples in their split.
            folder: Where to; it may have to be made.
        """

    def distances(self, baseline: Path, arm: Path) -> Mapping[str, np.ndarray]:
        """Return how an arm's answers lie to the baseline's, by metric, one figure per example.

        Only where there are no labels and quality is being like the baseline: then ``metric`` is
        among them, and takes the place of predictions.

        Args:
            baseline: What ``exhibit`` wrote of the baseline.
            arm: What it wrote of the arm, perhaps the same folder.
        """
        return {}

    @abc.abstractmethod
    def describe_data(self) -> dict[str, Any]:
        """Return source, sizes and fingerprint of the data for the record."""
