"""How a model is trained: transformers' ``Trainer`` over a workload, and nothing else.

The same engine trains baselines, fine-tunes pruned models and distils; what differs is the
objective. Seeds fix initialisation, data order and augmentation.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PrinterCallback

from bench.techniques import Loss
from bench.training.engine import trainer
from bench.training.following import Listener, Validation, Watch
from bench.training.memory import forget_activations, remember_activations
from bench.training.recipe import Training
from bench.workloads import Batch, Examples, Workload, lengths_of


@dataclass(frozen=True)
class Course:
    """What a model is trained on, and under what.

    Attributes:
        workload: Gives the training split and judges the validation part.
        training: The recipe.
        objective: Loss of a batch; a module's own parameters are trained with the model's.
        seed: Of data order, augmentation, and of what is kept for validation.
        examples: Adds to the training split what the objective wants beside it.
        after_step: Called after each optimiser step with the fraction of steps that is done.
    """

    workload: Workload
    training: Training
    objective: Loss
    seed: int
    examples: Callable[[Examples], Examples] = lambda examples: examples
    after_step: Callable[[float], None] = lambda done: None


def task_loss(workload: Workload, training: Training) -> Loss:
    """Return the workload's own loss as an objective: what the baseline is trained under."""

    def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        outputs = workload.forward(model, batch)
        return workload.loss(outputs, batch, training.label_smoothing), outputs

    return loss


def train(model: nn.Module, course: Course, watch: Watch) -> int:
    """Train ``model`` in place and return how many examples it has seen.

    Args:
        model: Any module; it is moved to the device that transformers picks.
        course: What it goes through.
        watch: Told about every step, and about losses and metrics now and then.

    Raises:
        TrainingError: The loss is no number any more.
    """
    training = course.training
    adapter = _Adapter(model, course.objective)
    trained_on, kept = _split(course)
    if training.checkpointing:
        forget_activations(model)
    with tempfile.TemporaryDirectory(prefix="joulebench-trainer-") as scratch:
        engine = trainer(adapter, trained_on, training, course.seed, scratch)
        engine.remove_callback(PrinterCallback)
        engine.add_callback(Listener(watch, training, course.after_step))
        if len(kept):
            engine.add_callback(Validation(model, course.workload, kept, training, watch))
        engine.train()
    if training.checkpointing:
        remember_activations(model)
    return adapter.items


def _split(course: Course) -> tuple[Examples, Examples]:
    """Return what is trained on, and the part, not augmented, that is kept for validation."""
    examples = course.examples(course.workload.train_examples())
    count = round(course.training.validation * len(examples))
    if not count:
        return examples, _Part(examples, ())
    drawn = torch.Generator().manual_seed(course.seed)
    order = torch.randperm(len(examples), generator=drawn).tolist()
    plain = course.workload.plain_train_examples()
    return _Part(examples, order[count:]), _Part(plain, order[:count])


@dataclass(frozen=True)
class _Part:
    """Some of all examples."""

    examples: Examples
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def lengths(self) -> Sequence[int] | None:
        found = lengths_of(self.examples)
        return None if found is None else [found[index] for index in self.indices]

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        return self.examples.__getitems__([self.indices[position] for position in positions])


class _Adapter(nn.Module):
    """What ``Trainer`` expects of a model: keyword tensors in, loss and outputs out."""

    def __init__(self, model: nn.Module, objective: Loss) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.items = 0

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        loss, outputs = self.objective(self.model, batch)
        self.items += len(batch["labels"])
        return {"loss": loss, "logits": outputs}
