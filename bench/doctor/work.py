"""A fixed load for the CPU: products of square matrices, on all cores, without torch."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

SIDE = 512
"""Rows of the matrices: 1 MiB each in single precision, 0.27 GFLOP a product."""

Work = Callable[[int], None]
"""Does so many products."""


def products() -> Work:
    """Return the load."""
    draw = np.random.default_rng(0)
    one, two = (draw.random((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    out = np.empty_like(one)

    def run(count: int) -> None:
        for _ in range(count):
            np.matmul(one, two, out=out)

    return run


def count_for(work: Work, seconds: float) -> int:
    """Return how many products take so long, once warm."""
    work(1)
    done, started_s = 0, time.monotonic()
    while (spent_s := time.monotonic() - started_s) < seconds / 4:
        work(1)
        done += 1
    return max(1, round(done * seconds / spent_s))
