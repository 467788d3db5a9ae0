"""Memory of a training: how much it took, whether there is too little, and what to do then."""

from __future__ import annotations

import gc
import resource
import sys
from dataclasses import replace

import psutil
import torch

from bench.training.recipe import Training

_SAID = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
"""What the allocators of GPUs and CPUs say, in any case of letters."""

GIB = 2**30


class OverBudgetError(MemoryError):
    """More memory was taken than the recipe allows."""


def peak_bytes() -> int | None:
    """Return the peak so far: allocated on the GPU if it works, else resident of this process."""
    if torch.cuda.is_available() and (allocated := torch.cuda.max_memory_allocated()):
        return int(allocated)
    unit_bytes = {"linux": 1024, "darwin": 1}.get(sys.platform)  # of ru_maxrss, by getrusage(2)
    return unit_bytes and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes


def require_within(limit_gb: float | None) -> None:
    """Refuse to go on above a limit in GiB, of what is taken now; of a GPU, since ``release``.

    Raises:
        OverBudgetError: More is taken.
    """
    if limit_gb is None:
        return
    taken = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    taken = taken or psutil.Process().memory_info().rss
    if taken > limit_gb * GIB:
        raise OverBudgetError(
            f"training.memory_limit_gb={limit_gb:g}, and {taken / GIB:.2f} GiB are taken"
        )


def is_shortage(err: BaseException) -> bool:
    """Return whether an error says that there is too little memory."""
    if isinstance(err, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(err, RuntimeError) and any(said in str(err).lower() for said in _SAID)


def halved(training: Training) -> Training | None:
    """Return the recipe with half the batch and twice the accumulation: the same steps.

    ``None`` where one example at a time is too much already. An odd batch cannot be halved without
    changing the effective one, so it is not.
    """
    if training.batch_size % 2:
        return None
    return replace(
        training, batch_size=training.batch_size // 2, accumulation=2 * training.accumulation
    )


def release() -> None:
    """Give back what a failed attempt still holds."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
