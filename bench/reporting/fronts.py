"""Which trials of a search are worth having: its Pareto set, and what cannot be told from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.findings import Comparison, Quality
from bench.reporting.cells import amount, seconds
from bench.search import Search, Tried
from bench.statistics import Floats
from bench.statistics.front import Estimates, on_front


@dataclass(frozen=True, slots=True)
class Point:
    """A trial that was measured.

    Attributes:
        tried: The trial.
        quality: Of both arms on held-out examples.
        cost: Joules or seconds, variant over baseline.
    """

    tried: Tried
    quality: Quality
    cost: Comparison

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.tried.name


@dataclass(frozen=True, slots=True)
class Ranked:
    """The measured trials of a search, each group in the order of its cost.

    Attributes:
        best: Pareto set of the estimates: none other is as good in both and better in one.
        close: Dominated by estimates, but not beyond the intervals.
        beaten: The others.
    """

    best: tuple[Point, ...]
    close: tuple[Point, ...]
    beaten: tuple[Point, ...]


def points(search: Search) -> list[Point]:
    """Return the measured trials in the order of their cost."""
    found = [
        Point(tried, tried.quality, tried.comparison)
        for tried in search.tried
        if tried.state == "complete" and tried.quality is not None and tried.comparison is not None
    ]
    return sorted(found, key=lambda point: (point.cost.ratio, point.tried.number))


def ranked(search: Search) -> Ranked:
    """Return the measured trials by what can be said of them; the baseline competes, too."""
    found = points(search)
    cost, quality = estimates(found)
    best = on_front(_bare(cost), _bare(quality))
    told = on_front(cost, quality)
    places = [0 if best[i] else 1 if told[i] else 2 for i in range(len(found))]
    groups = [
        tuple(point for point, place in zip(found, places, strict=True) if place == group)
        for group in range(3)
    ]
    return Ranked(*groups)


def estimates(found: Sequence[Point]) -> tuple[Estimates, Estimates]:
    """Return costs, as ratios, and qualities of points, and last those of the baseline.

    Where each trial has a baseline of its own, none competes.
    """
    costs: list[tuple[float, ...]] = [(p.cost.ratio, p.cost.low, p.cost.high) for p in found]
    qualities: list[tuple[float, ...]] = []
    for point in found:
        judged = point.quality
        middle = judged.variant - judged.difference
        qualities.append((judged.variant, middle + judged.low, middle + judged.high))
    if (baseline := baseline_quality(found)) is not None:
        costs.append((1.0,) * 3)
        qualities.append((baseline,) * 3)
    return _estimates(costs), _estimates(qualities)


def baseline_quality(found: Sequence[Point]) -> float | None:
    """Return the held-out quality of the baseline; ``None`` if there are several, or none."""
    each = {point.quality.baseline for point in found}
    return each.pop() if len(each) == 1 else None


def reference(found: Sequence[Point]) -> float:
    """Return the baseline's joules or seconds per sample: geometric mean over the trials.

    A point is drawn at this times its ratio: a host that was slower during one trial than during
    another must not move it.
    """
    return math.exp(float(np.log([point.cost.baseline_per_item for point in found]).mean()))


def spent(search: Search) -> str:
    """Return what a search has cost so far: joules where they are known, and seconds."""
    time = f"{seconds(search.wall_s)} s"
    return time if search.energy_j is None else f"{amount(search.energy_j, 'J')}, {time}"


def _bare(found: Estimates) -> Estimates:
    return Estimates(found.value, found.value, found.value)


def _estimates(each: Sequence[tuple[float, ...]]) -> Estimates:
    columns: Floats = np.array(each, float).reshape(-1, 3)
    return Estimates(*columns.T)
