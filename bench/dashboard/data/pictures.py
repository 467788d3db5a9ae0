"""What stands in one picture of several pairs: one workload, one host, one measure, one grade."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.dashboard.data.choosing import Choice, chosen, unit
from bench.dashboard.data.folder import number, words
from bench.reporting.judging import cost_column
from bench.statistics.front import Estimates, on_front

MOST_POINTS = 2_000
"""Points of one picture, the newest."""


@dataclass(frozen=True, slots=True)
class Family:
    """Pairs that may stand in one picture: one workload on one host, led by one measure."""

    workload: str
    host: str
    lead: str
    pairs: int

    @property
    def unit(self) -> str:
        """Unit of what is compared, per sample."""
        return unit(self.lead)


@dataclass(frozen=True, slots=True)
class Point:
    """A pair in the picture of quality against cost.

    Attributes:
        label: Of the technique.
        folder: Of its record.
        cost: Joules or seconds per sample, and the ends of the interval.
        quality: The metric, likewise.
        front: Whether it is on the Pareto front, as far as the intervals can tell.
    """

    label: str
    folder: str
    cost: tuple[float, float, float]
    quality: tuple[float, float, float]
    front: bool


def families(pairs: pd.DataFrame) -> list[Family]:
    """Return what may stand in one picture, the largest first."""
    names = (pairs[name].astype(str) for name in ("workload", "host", "lead"))
    sizes = Counter(zip(*names, strict=True))
    found = [Family(workload, host, lead, n) for (workload, host, lead), n in sizes.items()]
    return sorted(found, key=lambda one: (-one.pairs, one.workload, one.host, one.lead))


def of_family(pairs: pd.DataFrame, family: Family) -> pd.DataFrame:
    """Return the pairs of one picture."""
    choice = Choice(workload=family.workload, host=family.host, lead=family.lead)
    return chosen(pairs, choice)


def front(pairs: pd.DataFrame) -> list[Point]:
    """Return single pairs of one family as points; figures that are missing leave one out."""
    newest = pairs.head(MOST_POINTS)
    base = newest["_baseline_per_item"].to_numpy(float)
    cost = _estimates(
        newest["_variant_per_item"].to_numpy(float),
        base * newest["_low"].to_numpy(float),
        base * newest["_high"].to_numpy(float),
    )
    middle = newest["quality_baseline"].to_numpy(float)
    quality = _estimates(
        newest["quality_variant"].to_numpy(float),
        middle + newest["quality_low"].to_numpy(float),
        middle + newest["quality_high"].to_numpy(float),
    )
    whole = np.isfinite(np.stack([*cost, *quality])).all(axis=0)
    if not whole.any():
        return []
    best = on_front(*(Estimates(*(part[whole] for part in one)) for one in (cost, quality)))
    named = newest[whole]
    return [
        Point(words(label), str(folder), tuple(c), tuple(q), bool(on))
        for label, folder, c, q, on in zip(
            named["label"],
            named["folder"],
            np.stack([part[whole] for part in cost], axis=1).tolist(),
            np.stack([part[whole] for part in quality], axis=1).tolist(),
            best,
            strict=True,
        )
    ]


def spent(pair: Mapping[Any, Any]) -> float | None:
    """Return what a pair's optimisation cost once, in the unit of its leading measure."""
    return number(pair.get(cost_column("optimise", str(pair["lead"]))))


def _estimates(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, ...]:
    # The two are computed apart: rounding may put a value beyond its own interval.
    return value, np.minimum(low, value), np.maximum(high, value)
