"""How a model is trained: transformers' ``Trainer`` over a workload, and nothing else.

The same engine trains baselines, fine-tunes pruned models and distils; what differs is the
objective. Seeds fix initialisation, data order and augmentation, and a training that was killed
goes on from its last checkpoint to the same weights, bit for bit on a CPU.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PrinterCallback

from bench import interruption
from bench.techniques import Loss
from bench.training import memory, resuming
from bench.training.activations import forget_activations, remember_activations
from bench.training.engine import Engine, engine
from bench.training.following import Listener, TrainingError, Watch
from bench.training.recipe import Training
from bench.training.splitting import Drawn, judge_of, split
from bench.workloads import Batch, Examples, Workload


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
        place: Folder of its checkpoints, from which it goes on: those of ``training.save_every``,
            and the one that is written when the process is asked to leave; ``None`` keeps none.
        run: Folder for TensorBoard, whose name is that of the run for all trackers.
        device: Where to train; ``None`` takes a GPU where there is one.
    """

    workload: Workload
    training: Training
    objective: Loss
    seed: int
    examples: Callable[[Examples], Examples] = lambda examples: examples
    after_step: Callable[[float], None] = lambda done: None
    place: Path | None = None
    run: Path | None = None
    device: torch.device | None = None


def task_loss(workload: Workload, training: Training) -> Loss:
    """Return the workload's own loss as an objective: what the baseline is trained under."""

    def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        outputs = workload.forward(model, batch)
        return workload.loss(outputs, batch, training.label_smoothing), outputs

    return loss


def train(model: nn.Module, course: Course, watch: Watch) -> int:
    """Train ``model`` in place and return how many examples it has seen, in this process.

    Args:
        model: Any module; it is moved to where it is trained.
        course: What it goes through.
        watch: Told about every step, about losses and looks, and about what went wrong.

    Raises:
        TrainingError: The loss is no number any more, or one example is too much for the memory.
        Interrupted: This process was asked to leave, and has written a checkpoint.
    """
    adapter = _Adapter(model, course.objective, course.training.processes)
    if course.training.checkpointing:
        forget_activations(model)
    with ExitStack() as stack:
        place = course.place or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="joulebench-trainer-"))
        )
        with interruption.later():
            _through(adapter, course, place, watch)
    if course.training.checkpointing:
        remember_activations(model)
    return adapter.items


def _through(adapter: _Adapter, course: Course, place: Path, watch: Watch) -> None:
    """Train from the last checkpoint to the end; where memory is short, with smaller batches."""
    training = course.training
    trained_on, kept = split(course.workload, course.examples, training.validation, course.seed)
    on_gpu = torch.cuda.is_available() and course.device != torch.device("cpu")
    checkpoint = resuming.latest(place)
    if checkpoint is not None:
        watch.noted(resuming.step_of(checkpoint), "resumed", f"from {checkpoint.name}")
    while True:
        judge = judge_of(adapter.model, course.workload, kept, training.batch_size)
        drawn = Drawn(trained_on, course.seed)
        built = engine(adapter, drawn, training, course.seed, place, judge, on_gpu, course.run)
        built.remove_callback(PrinterCallback)
        built.add_callback(
            Listener(watch, training, drawn, course.workload.metric, course.after_step)
        )
        shortage = _attempt(built, checkpoint)
        if shortage is None:
            return
        smaller = memory.halved(training) if training.processes == 1 else None
        if smaller is None:
            raise TrainingError(
                f"too little memory at step {built.state.global_step} with training.batch_size="
                f"{training.batch_size}, which cannot be halved"
                f"{'' if training.processes == 1 else ' by one of several processes'}: {shortage}. "
                f"training.checkpointing=true, a smaller model or shorter inputs take less"
            )
        checkpoint = _set_aside(built, place)
        watch.noted(
            built.state.global_step,
            "out_of_memory",
            f"{shortage}; goes on with training.batch_size={smaller.batch_size}, "
            f"training.accumulation={smaller.accumulation}, from "
            f"{checkpoint.name if checkpoint else 'the start'}",
        )
        training = smaller
        del built
        memory.release()


def _attempt(built: Engine, checkpoint: Path | None) -> str | None:
    """Train; return what was said if memory is short. What the attempt held is let go of."""
    try:
        built.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    except (MemoryError, RuntimeError) as err:
        if not memory.is_shortage(err):
            raise
        return str(err).strip().partition("\n")[0]
    return None


def _set_aside(built: Engine, place: Path) -> Path | None:
    """Return the checkpoint to go on from: what is trained so far, if it can still be written."""
    built.model.zero_grad(set_to_none=True)  # type: ignore[union-attr]
    memory.release()
    if built.state.global_step:
        built._save_checkpoint(cast("nn.Module", built.model), trial=None)
    return resuming.latest(place)


class _Adapter(nn.Module):
    """What ``Trainer`` expects of a model: keyword tensors in, loss and outputs out."""

    def __init__(self, model: nn.Module, objective: Loss, processes: int) -> None:
        super().__init__()
        self.processes = processes  # each sees as many examples
        self.model = model
        self.objective = objective
        self.items = 0

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        loss, outputs = self.objective(self.model, batch)
        self.items += len(batch["labels"]) * self.processes
        return {"loss": loss, "logits": outputs}
