"""What is seen of a training while it runs, and what may stop it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from transformers import TrainerCallback

from bench.training.recipe import Training
from bench.workloads import Batch, Examples, Workload


class TrainingError(RuntimeError):
    """A training that came to nothing; the message says when and what to change."""


class Watch(Protocol):
    """Whoever follows a training."""

    def stepped(self, step: int, steps: int) -> None:
        """Note that so many of all optimiser steps are done."""

    def logged(self, step: int, loss: float, learning_rate: float) -> None:
        """Note the mean loss since the last call, in nats."""

    def validated(self, step: int, metric: float) -> None:
        """Note the workload's metric on the validation part."""


class Listener(TrainerCallback):
    """Passes steps and losses on, and stops what cannot come to anything."""

    def __init__(
        self, watch: Watch, training: Training, after_step: Callable[[float], None]
    ) -> None:
        self.watch = watch
        self.training = training
        self.after_step = after_step

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Pass a loss on.

        Raises:
            TrainingError: It is no number.
        """
        logs = kwargs.get("logs", {})
        if "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise TrainingError(
                f"the training loss is {logs['loss']} at step {state.global_step} of "
                f"{state.max_steps}: training.learning_rate={self.training.learning_rate} is "
                f"likely too high for this model; lower it, or lengthen training.warmup"
            )
        self.watch.logged(state.global_step, float(logs["loss"]), float(logs["learning_rate"]))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let the technique at the model, and pass the step on."""
        self.after_step(state.global_step / state.max_steps)
        self.watch.stepped(state.global_step, state.max_steps)


class Validation(TrainerCallback):
    """Evaluates the part of the training split that is kept for it, after every epoch."""

    def __init__(
        self, model: nn.Module, workload: Workload, kept: Examples, training: Training, watch: Watch
    ) -> None:
        self.model = model
        self.workload = workload
        self.kept = kept
        self.training = training
        self.watch = watch

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Pass the metric on, and stop where the target is reached."""
        metric = self._metric()
        self.watch.validated(state.global_step, metric)
        if self.training.target is not None and metric >= self.training.target:
            control.should_training_stop = True

    def _metric(self) -> float:
        self.model.eval()
        device = next(self.model.parameters()).device
        labels, predictions = [], []
        with torch.inference_mode():
            for start in range(0, len(self.kept), self.training.batch_size):
                end = min(start + self.training.batch_size, len(self.kept))
                batch: Batch = {
                    name: value.to(device)
                    for name, value in self.kept.__getitems__(range(start, end)).items()
                }
                outputs = self.workload.forward(self.model, batch)
                predictions.append(self.workload.predict(outputs).cpu().numpy())
                labels.append(batch["labels"].cpu().numpy())
        self.model.train()
        scores = self.workload.score(np.concatenate(labels), np.concatenate(predictions))
        return float(scores[self.workload.metric])
