"""What is seen of a training while it runs, and what may stop it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from transformers import TrainerCallback
from transformers.trainer_utils import IntervalStrategy

from bench import interruption, whole
from bench.training import memory
from bench.training.overfitting import Overfitting
from bench.training.recipe import Training
from bench.training.splitting import Drawn

DIVERGED = 3.0
"""Multiple of the first training loss, and nats above it, beyond which two stretches in a row mean
that nothing is learned any more."""


class TrainingError(RuntimeError):
    """A training that came to nothing; the message says when and what to change."""


class Watch(Protocol):
    """Whoever follows a training."""

    def stepped(self, step: int, steps: int, items: int) -> None:
        """Note that so many of all optimiser steps are done, and how many examples were seen."""

    def logged(self, step: int, loss: float, learning_rate: float) -> None:
        """Note the mean loss since the last call, in nats."""

    def validated(self, step: int, loss: float, metric: float) -> None:
        """Note the loss in nats and the workload's metric on the validation part."""

    def noted(self, step: int, kind: str, text: str) -> None:
        """Note an event: ``overfitting``, ``out_of_memory``, ``resumed``, ``stopped``."""

    def saved(self, step: int) -> None:
        """Note that a checkpoint was written from which the training could go on."""


class Unheard:
    """Whoever takes part in a training that another process tells of."""

    def _nothing(self, *_: Any) -> None: ...

    stepped = logged = validated = noted = saved = _nothing


class Listener(TrainerCallback):
    """Passes steps, losses and looks on, and stops what cannot come to anything."""

    def __init__(
        self,
        watch: Watch,
        training: Training,
        examples: Drawn,
        metric: str,
        after_step: Callable[[float], None],
    ) -> None:
        self.watch = watch
        self.training = training
        self.examples = examples
        self.metric = metric
        self.after_step = after_step
        self.overfitting = Overfitting()
        self.flagged = False
        self.far_in_a_row = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Learn what was seen until the checkpoint that is gone on from, if there is one."""
        for seen in state.log_history:
            if "loss" in seen:
                self._follow(float(seen["loss"]))
            elif "eval_loss" in seen and self._parted(seen["step"], seen["eval_loss"]) is not None:
                self.flagged = True

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Pass a loss on.

        Raises:
            TrainingError: It is no number, or has left its first value behind for good.
        """
        logs = kwargs.get("logs", {})
        if "loss" not in logs:
            return
        loss = float(logs["loss"])
        self._follow(loss)
        self._require_sound(loss, f"at step {state.global_step} of {state.max_steps}")
        self.watch.logged(state.global_step, loss, float(logs["learning_rate"]))

    def _follow(self, loss: float) -> None:
        first = self.overfitting.first
        far = first is not None and loss > max(DIVERGED * first, DIVERGED + first)
        self.far_in_a_row = self.far_in_a_row + 1 if far else 0
        self.overfitting.trained(loss)

    def _parted(self, step: int, loss: float) -> str | None:
        return None if self.training.guard == "off" else self.overfitting.looked(step, loss)

    def _require_sound(self, loss: float, where: str) -> None:
        first = self.overfitting.first
        if math.isfinite(loss) and (self.far_in_a_row < 2 or self.training.guard == "off"):
            return
        said = f"{loss:.3g} ({first:.3g} at first)" if math.isfinite(loss) else f"{loss}"
        raise TrainingError(
            f"the training loss is {said} {where}: training.learning_rate={self.training.peak:g} "
            f"is likely too high for this model; lower it, or lengthen training.warmup. The last "
            f"checkpoint, if training.save_every keeps any, is from before"
        )

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let augmentation know the epoch; the library tells it only where nothing is resumed."""
        self.examples.epoch = int(state.epoch or 0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let the technique at the model, pass the step on, and ask for what is due.

        Raises:
            OverBudgetError: More memory is taken than the recipe allows.
        """
        step, training = state.global_step, self.training
        self.after_step(step / state.max_steps)
        self.watch.stepped(step, state.max_steps, kwargs["model"].items)
        if self._due(state) and not _look_follows(args, state):
            control.should_save = True
        if control.should_evaluate:
            control.should_log = True  # a look is held against the loss of now
        memory.require_within(training.memory_limit_gb)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for the loss of now where a look follows, and for what is due after it."""
        if control.should_evaluate:
            control.should_log = True
            control.should_save |= self._due(state)

    def _due(self, state: Any) -> bool:
        step, every = state.global_step, self.training.save_every
        due = every is not None and (step % every == 0 or step == state.max_steps)
        return due or interruption.asked() is not None

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Pass a look on; stop at the target, or where the model learns its rows by heart."""
        metrics, step = kwargs["metrics"], state.global_step
        loss, metric = metrics["eval_loss"], metrics[f"eval_{self.metric}"]
        self.watch.validated(step, loss, metric)
        if self.training.target is not None and metric >= self.training.target:
            self.watch.noted(step, "stopped", f"{self.metric} {metric:.4f} has reached the target")
            control.should_training_stop = True
        wrong = self._parted(step, loss)
        if wrong is None or self.flagged:
            return
        self.flagged = True
        self.watch.noted(step, "overfitting", wrong)
        if self.training.guard == "stop":
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Pass a checkpoint on, once it is on the disk, and leave if that was asked for.

        Raises:
            Interrupted: It was; the checkpoint is what the same command goes on from.
        """
        if not state.is_world_process_zero:
            return
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for path in (*checkpoint.rglob("*"), checkpoint, checkpoint.parent):
            whole.flush(path)
        self.watch.saved(state.global_step)
        interruption.check()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Say why it ended early, if it did by itself."""
        early = state.global_step < state.max_steps
        if early and self.training.patience is not None and not self.flagged:
            self.watch.noted(
                state.global_step,
                "stopped",
                f"after {state.global_step} of {state.max_steps} steps: no improvement of the "
                f"validation loss at {self.training.patience} looks",
            )


def _look_follows(args: Any, state: Any) -> bool:
    """Whether the epoch ends here with a look, without which a checkpoint would lose it."""
    ends = math.isclose(state.epoch, round(state.epoch)) or state.global_step == state.max_steps
    return bool(ends and args.eval_strategy == IntervalStrategy.EPOCH)
