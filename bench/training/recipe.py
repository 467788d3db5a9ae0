"""The knobs of a training."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch

Optimizer = Literal[
    "sgd", "rmsprop", "adam", "adamw", "adamw_fused", "adamw_8bit", "lamb", "adafactor"
]
Schedule = Literal[
    "constant",
    "linear",
    "cosine",
    "cosine_restarts",
    "polynomial",
    "inverse_sqrt",
    "exponential",
    "step",
]

TRACKERS = ("tensorboard", "trackio", "wandb", "mlflow")
OPTIMIZERS: tuple[str, ...] = get_args(Optimizer)
SCHEDULES: Mapping[str, Mapping[str, float]] = {
    "constant": {},
    "linear": {},
    "cosine": {},
    "cosine_restarts": {"cycles": 2},
    "polynomial": {"power": 2.0},
    "inverse_sqrt": {"timescale": 100},
    "exponential": {"final": 0.01},
    "step": {"factor": 0.1, "drops": 2},
}
"""Schedules by name, each with its options and what they are unless told otherwise.

``cycles``: falls from the peak to 0; ``power``: of the fraction that is left; ``timescale``: steps
after the warm-up in which the rate falls to ``1 / sqrt(2)``; ``final``: fraction of the peak at the
end; ``factor``: what each of ``drops`` drops, evenly spread over the training, leaves of the rate.
"""


DECAY = 0.1
"""Least weight decay of a regularised recipe, as in the pretraining of GPT-3 (Brown et al. 2020,
arXiv:2005.14165, appendix B)."""


@dataclass(frozen=True)
class Training:
    """One recipe; ``conf/training/*.yaml`` and the workload's YAML hold the values.

    Attributes:
        epochs: Passes over the training split; 0 takes the initial weights as they are.
        batch_size: Examples per forward and backward pass.
        accumulation: Passes whose gradients are averaged before an optimiser step. Each counts
            alike, however many examples it has, or targets that it foretells: of texts of unequal
            length that is not quite the gradient of one large batch.
        checkpointing: Forget activations and compute them again in the backward pass.
        optimizer: ``sgd`` (Nesterov momentum), ``rmsprop``, ``adam``, ``adamw``, ``adamw_fused``
            (one kernel for all weights), ``adamw_8bit`` (states in 8 bits, GPUs), ``lamb`` (a
            rate for each layer, for large batches) or ``adafactor`` (factored second moments, at a
            rate relative to the size of the weights).
        learning_rate: Peak.
        momentum: For ``sgd`` and ``rmsprop``.
        weight_decay: On matrices and kernels only, not on biases and normalisation.
        clipping: Norm to which gradients are scaled down if theirs is larger; 0 leaves them.
        schedule: Of the rate after the warm-up: one of ``SCHEDULES``.
        schedule_options: What the schedule has beyond its name, where it is not as usual; see
            ``SCHEDULES``.
        warmup: Fraction of the steps over which the rate rises from 0; from 1 on, steps.
        label_smoothing: In [0, 1).
        precision: ``fp32``, or autocast to ``bf16`` / ``fp16`` (weights stay fp32).
        regularised: Against overfitting: decays weights by ``DECAY`` at least, at a quarter of the
            learning rate, whatever the workload asks for.
        workers: Processes that fetch batches; 0 fetches in the training process.
        processes: Devices of this host that train together, a process for each; a step then takes
            ``processes * batch_size * accumulation`` examples.
        max_steps: Stop after so many optimiser steps, if the epochs are not over before; ``None``
            trains them out. Stages of a technique that train stop there as well.
        validation: Fraction of the training split, in [0, 1), drawn by the seed, that is looked at
            now and then and not trained on. Looking is charged to training.
        evaluate_every: Optimiser steps from one look to the next, below 1 a fraction of all steps;
            ``None`` looks after each epoch.
        target: Stop at the look at which the workload's metric reaches this; ``None`` trains on.
        patience: Stop after so many looks at which the validation loss has not improved; ``None``
            trains on.
        improvement: By how much, in nats, it must fall to have improved.
        restore_best: End with the weights of the look with the least validation loss.
        save_every: Optimiser steps from one checkpoint to the next, from which a training that was
            killed goes on; ``None`` keeps none.
        keep_saved: Checkpoints that are kept, the best apart.
        guard: What happens when the model learns its rows by heart: ``off``, ``warn``, ``stop``.
        memory_limit_gb: Peak memory (GiB) above which the batch is halved and accumulation doubled;
            ``None`` does so only when there is no more.
        trackers: Whom else to tell: ``tensorboard``, ``trackio``, ``wandb``, ``mlflow``.
    """

    epochs: float
    batch_size: int
    accumulation: int
    checkpointing: bool
    optimizer: Optimizer
    learning_rate: float
    momentum: float
    weight_decay: float
    clipping: float
    schedule: Schedule
    schedule_options: Mapping[str, float] | None
    warmup: float
    label_smoothing: float
    precision: Literal["fp32", "bf16", "fp16"]
    regularised: bool
    workers: int
    processes: int
    max_steps: int | None
    validation: float
    evaluate_every: float | None
    target: float | None
    patience: int | None
    improvement: float
    restore_best: bool
    save_every: int | None
    keep_saved: int
    guard: Literal["off", "warn", "stop"]
    memory_limit_gb: float | None
    trackers: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        self._require_known()
        self._require_ranges()
        self._require_devices()
        self._require_validation()
        if self.precision == "fp16" and not torch.cuda.is_available():
            raise ValueError("training.precision=fp16 needs a CUDA device; bf16 runs everywhere")
        if self.optimizer == "adamw_8bit" and not torch.cuda.is_available():
            raise ValueError(
                "training.optimizer=adamw_8bit needs a CUDA device; adafactor saves memory anywhere"
            )

    def _require_known(self) -> None:
        for key, known in (
            ("optimizer", OPTIMIZERS),
            ("schedule", tuple(SCHEDULES)),
            ("precision", ("fp32", "bf16", "fp16")),
            ("guard", ("off", "warn", "stop")),
        ):
            if (value := getattr(self, key)) not in known:
                raise ValueError(f"training.{key} is {value!r}: one of {', '.join(known)}")
        for name in self.trackers:
            if name not in TRACKERS:
                raise ValueError(f"training.trackers has {name!r}: {', '.join(TRACKERS)}")
            if importlib.util.find_spec(name) is None:
                raise ValueError(
                    f"training.trackers has {name}, which is not installed: pip install {name}"
                )
        options = SCHEDULES[self.schedule]
        if unknown := [name for name in self.schedule_options or {} if name not in options]:
            raise ValueError(
                f"training.schedule_options.{unknown[0]}: schedule {self.schedule} has "
                f"{', '.join(options) or 'no options'}"
            )

    def _require_ranges(self) -> None:
        for key in ("batch_size", "accumulation", "learning_rate", "processes", "keep_saved"):
            if (value := getattr(self, key)) <= 0:
                raise ValueError(f"training.{key} is {value}: it must be above 0")
        for key in ("label_smoothing", "momentum", "validation"):
            if not 0 <= (value := getattr(self, key)) < 1:
                raise ValueError(f"training.{key} must be in [0, 1), got {value}: a fraction")
        for key in ("epochs", "warmup", "weight_decay", "clipping", "workers", "improvement"):
            if (value := getattr(self, key)) < 0:
                raise ValueError(f"training.{key} is {value}: it must be at least 0")
        if self.warmup >= 1 and self.warmup != int(self.warmup):
            raise ValueError(
                f"training.warmup is {self.warmup}: below 1 a fraction of the steps, from 1 on "
                f"their number"
            )
        for key, meaning in (
            ("max_steps", "trains the epochs out"),
            ("evaluate_every", "looks after each epoch"),
            ("patience", "trains on"),
            ("save_every", "keeps no checkpoint"),
            ("memory_limit_gb", "sets no limit"),
        ):
            if (value := getattr(self, key)) is not None and value <= 0:
                raise ValueError(f"training.{key} is {value}: above 0, or null, which {meaning}")
        for key, value in (self.schedule_options or {}).items():
            if value <= 0 or (key in ("final", "factor") and value >= 1):
                raise ValueError(
                    f"training.schedule_options.{key} is {value}: above 0"
                    f"{', below 1' if key in ('final', 'factor') else ''}"
                )

    def _require_devices(self) -> None:
        kind, devices = "CPU cores", os.cpu_count() or 1
        if torch.cuda.is_available():
            kind, devices = "visible GPUs", torch.cuda.device_count()
        if self.processes > devices:
            raise ValueError(
                f"training.processes is {self.processes}: one for each device, and this host has "
                f"{devices} {kind}"
            )

    def _require_validation(self) -> None:
        if self.target is not None and self.target > 1:
            raise ValueError(f"training.target is {self.target}: a metric is a fraction, at most 1")
        wanting = {
            "target": self.target is not None,
            "patience": self.patience is not None,
            "restore_best": self.restore_best,
            "guard": self.guard == "stop",
            "evaluate_every": self.evaluate_every is not None,
        }
        for key, wanted in wanting.items():
            if wanted and not self.validation:
                raise ValueError(
                    f"training.{key}={getattr(self, key)} looks at a part of the training split, "
                    f"and training.validation is 0: 0.1 keeps a tenth for it; the test split is "
                    f"never looked at"
                )

    @property
    def peak(self) -> float:
        """The learning rate that is reached after the warm-up."""
        return self.learning_rate / 4 if self.regularised else self.learning_rate

    @property
    def decay(self) -> float:
        """The weight decay that is used."""
        return max(DECAY, self.weight_decay) if self.regularised else self.weight_decay

    def option(self, name: str) -> float:
        """Return an option of the schedule, as given or as usual."""
        return (self.schedule_options or {}).get(name, SCHEDULES[self.schedule][name])
