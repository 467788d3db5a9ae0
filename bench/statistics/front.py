"""Which points of cost against quality are worth having, as far as the intervals can tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.statistics import Floats


@dataclass(frozen=True, slots=True)
class Estimates:
    """One figure of every point, with its interval.

    Attributes:
        value: Shape ``(points,)``, finite.
        low: Lower ends, at most the value; minus infinity where unknown.
        high: Upper ends, at least the value; infinity where unknown.
    """

    value: Floats
    low: Floats
    high: Floats

    def __post_init__(self) -> None:
        """Refuse what is no interval around its value."""
        if np.ndim(self.value) != 1 or not np.shape(self.value) == np.shape(self.low) == np.shape(
            self.high
        ):
            raise ValueError(
                f"need vectors of one length, got {np.shape(self.value)}, {np.shape(self.low)} "
                f"and {np.shape(self.high)}"
            )
        inside = np.isfinite(self.value) & (self.low <= self.value) & (self.value <= self.high)
        if not inside.all():
            raise ValueError(f"points {np.flatnonzero(~inside)} lie outside their intervals")


def on_front(cost: Estimates, quality: Estimates) -> NDArray[np.bool_]:
    """Return which points are on the Pareto front, bool, shape ``(points,)``.

    Low cost and high quality are wanted. A point is off the front only if another point dominates
    it beyond the intervals: the other's estimates are no worse in both respects, and in one of them
    better with intervals that don't meet. So a slightly dearer point whose interval touches the
    cheaper one's stays, and a point that is much dearer goes although nobody can show the other's
    equal accuracy to be equal. Hence the front of the bare estimates is always part of it, every
    point off it has one on it that is no worse in both estimates, and of equal points all stay.

    Both hold the same points in the same order. Source: Pareto dominance of estimates, with the
    strict part asked of the intervals.
    """
    if cost.value.shape != quality.value.shape:
        raise ValueError(f"{cost.value.size} costs for {quality.value.size} qualities")
    # Row i, column j: whether j is better than i.
    no_worse = (cost.value[None, :] <= cost.value[:, None]) & (
        quality.value[None, :] >= quality.value[:, None]
    )
    beyond = (cost.high[None, :] < cost.low[:, None]) | (
        quality.low[None, :] > quality.high[:, None]
    )
    return np.asarray(~(no_worse & beyond).any(axis=1))
