"""The learning rate over a training: a warm-up from 0 to the peak, then a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler

from bench.training.recipe import SCHEDULES, Training

_LIBRARYS = {
    "constant": "constant_with_warmup",
    "linear": "linear",
    "cosine": "cosine",
    "cosine_restarts": "cosine_with_restarts",
    "polynomial": "polynomial",
    "inverse_sqrt": "inverse_sqrt",
}
_OPTIONS = {"cycles": "num_cycles", "power": "power", "timescale": "timescale"}


def warmup_steps(training: Training, steps: int) -> int:
    """Return over how many of all steps the rate rises: a fraction of them, or as many as given."""
    if training.warmup < 1:
        return math.ceil(training.warmup * steps)
    return int(training.warmup)


def scheduler(training: Training, optimizer: torch.optim.Optimizer, steps: int) -> Any:
    """Return what sets the rate after each optimiser step.

    Exponential and step decay are not among transformers' schedules: exponential falls by one
    factor a step to ``final`` at the end, step falls to ``factor`` of the rate at ``drops`` places
    that cut what follows the warm-up into parts of one length.

    Args:
        training: Names the schedule.
        optimizer: Whose rate it is.
        steps: Of the whole training.
    """
    warmup = warmup_steps(training, steps)
    if training.schedule in _LIBRARYS:
        options = {_OPTIONS[n]: _exact(training, n) for n in SCHEDULES[training.schedule]}
        if training.schedule == "polynomial":
            options["lr_end"] = 0.0  # the library's own end is 1e-7, above a rate that is smaller
        return get_scheduler(
            _LIBRARYS[training.schedule],
            optimizer,
            num_warmup_steps=warmup,
            num_training_steps=steps,
            scheduler_specific_kwargs=options,
        )
    return LambdaLR(optimizer, _decay(training, warmup, steps))


def _exact(training: Training, name: str) -> float:
    value = training.option(name)
    return int(value) if name in ("cycles", "timescale") else value


def _decay(training: Training, warmup: int, steps: int) -> Callable[[int], float]:
    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        done = (step - warmup) / max(1, steps - warmup)
        if training.schedule == "exponential":
            return float(training.option("final") ** done)
        drops = training.option("drops")
        return float(training.option("factor") ** math.floor(min(done, 1.0) * (drops + 1)))

    return factor
