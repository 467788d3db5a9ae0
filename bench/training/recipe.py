"""The knobs of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True)
class Training:
    """One recipe; ``conf/training/*.yaml`` and the workload's YAML hold the values.

    Attributes:
        epochs: Passes over the training split; 0 takes the initial weights as they are.
        batch_size: Examples per forward and backward pass.
        accumulation: Passes whose gradients are added before an optimiser step.
        checkpointing: Forget activations and compute them again in the backward pass.
        optimizer: ``sgd`` (Nesterov momentum), ``adamw``, or ``adamw_fused`` (one kernel for
            all weights).
        learning_rate: Peak.
        momentum: For ``sgd``.
        weight_decay: On matrices and kernels only, not on biases and normalisation.
        clipping: Norm to which gradients are scaled down if theirs is larger; 0 leaves them.
        schedule: ``cosine``, ``linear`` or ``constant``, after the warm-up.
        warmup: Fraction of the steps over which the rate rises from 0.
        label_smoothing: In [0, 1).
        precision: ``fp32``, or autocast to ``bf16`` / ``fp16`` (weights stay fp32).
        workers: Processes that fetch batches; 0 fetches in the training process.
        max_steps: Stop after so many optimiser steps; ``None`` trains the epochs out.
        target: Stop after the epoch in which the workload's metric on the validation part reaches
            this, in (0, 1]; ``None`` trains on.
        validation: Fraction of the training split, in [0, 1), drawn by the seed, that is evaluated
            after every epoch and not trained on. Evaluating is charged to training.
    """

    epochs: float
    batch_size: int
    accumulation: int
    checkpointing: bool
    optimizer: Literal["sgd", "adamw", "adamw_fused"]
    learning_rate: float
    momentum: float
    weight_decay: float
    clipping: float
    schedule: Literal["cosine", "linear", "constant"]
    warmup: float
    label_smoothing: float
    precision: Literal["fp32", "bf16", "fp16"]
    workers: int
    max_steps: int | None
    target: float | None
    validation: float

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        for key, known in (
            ("optimizer", ("sgd", "adamw", "adamw_fused")),
            ("schedule", ("cosine", "linear", "constant")),
            ("precision", ("fp32", "bf16", "fp16")),
        ):
            if (value := getattr(self, key)) not in known:
                raise ValueError(f"training.{key} is {value!r}: one of {', '.join(known)}")
        for key in ("batch_size", "accumulation", "learning_rate"):
            if (value := getattr(self, key)) <= 0:
                raise ValueError(f"training.{key} is {value}: it must be above 0")
        for key in ("warmup", "label_smoothing", "momentum", "validation"):
            if not 0 <= (value := getattr(self, key)) < 1:
                raise ValueError(f"training.{key} must be in [0, 1), got {value}: a fraction")
        for key in ("epochs", "weight_decay", "clipping", "workers"):
            if (value := getattr(self, key)) < 0:
                raise ValueError(f"training.{key} is {value}: it must be at least 0")
        if self.max_steps is not None and self.max_steps < 1:
            raise ValueError(
                f"training.max_steps is {self.max_steps}: at least one, or null to train the "
                f"epochs out"
            )
        if self.target is not None and not (0 < self.target <= 1 and self.validation > 0):
            raise ValueError(
                f"training.target is {self.target}, training.validation {self.validation}: a "
                f"target is a metric in (0, 1] on a part of the training split, say "
                f"training.validation=0.1; the test split is never looked at"
            )
        if self.precision == "fp16" and not torch.cuda.is_available():
            raise ValueError("training.precision=fp16 needs a CUDA device; bf16 runs everywhere")
