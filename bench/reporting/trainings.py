"""Columns of trainings: what the variant's took of the baseline's, and what happened in them."""

from __future__ import annotations

import numpy as np

from bench.reporting.cells import Cell, arrow, interval, listed, missing, ratio, ratio_end
from bench.reporting.columns import Column, Value, mean
from bench.reporting.costs import OPTIMISATION, TRAINING
from bench.reporting.judging import cost_column
from bench.reporting.rows import Row
from bench.statistics import t_interval


def making_ratio(row: Row) -> tuple[float, float | None, float | None] | None:
    """Return what making the variant took of what training the baseline took, joules or seconds.

    The geometric mean over trainings, each counted once, with Student's 95 % interval of its
    logarithm from two on. ``None`` where either took nothing.
    """
    costs = (OPTIMISATION, TRAINING)
    spent, trained = (row.made(cost_column(c.column, row.lead)).astype(float) for c in costs)
    _, firsts = np.unique(row.made("variant_digest").astype(str), return_index=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(spent[firsts] / trained[firsts])
    logs = logs[np.isfinite(logs)]
    if not logs.size:
        return None
    if logs.size == 1:
        return float(np.exp(logs[0])), None, None
    middle, margin = t_interval(logs, 0.95)
    low, high = np.exp([middle - margin, middle + margin])
    return float(np.exp(middle)), float(low), float(high)


def _making(row: Row) -> Cell:
    found = making_ratio(row)
    if found is None:
        lacking = next((c for c in (OPTIMISATION, TRAINING) if not c.spent(row, row.lead)), None)
        reason = lacking.why_absent(row, row.lead) if lacking else "no pair has both"
        return missing(reason)
    value, low, high = found
    if low is None or high is None:
        return Cell(ratio(value), note="one training: no interval over trainings")
    return Cell(ratio(value), interval(low, high, ratio_end))


def _making_values(row: Row) -> tuple[Value, ...]:
    return *(making_ratio(row) or (None, None, None)), row.lead


MAKING: Column[Row] = Column(
    name="making",
    heading="making",
    unit="of training [95 %]",
    cell=_making,
    figures=("making_ratio", "making_ratio_low", "making_ratio_high", "making_measure"),
    values=_making_values,
    rank=3,
)


def rates(row: Row) -> tuple[float | None, float | None]:
    """Return examples per second in training, of baseline and variant; 0 examples have none."""
    found = []
    for cost in (TRAINING, OPTIMISATION):
        items, took_s = mean(row, f"{cost.column}_items"), mean(row, f"{cost.column}_wall_s")
        found.append(items / took_s if items and took_s else None)
    baseline, variant = found
    return baseline, variant


def _rate(row: Row) -> Cell:
    baseline, variant = rates(row)
    if baseline is None or variant is None:
        return missing(
            "only one arm was trained, or a search is in its cost"
            if baseline or variant
            else "none was trained"
        )
    return Cell(ratio(variant / baseline), arrow(baseline, variant, "/s"))


RATE: Column[Row] = Column(
    name="training_rate",
    heading="examples in training",
    unit="",
    cell=_rate,
    figures=("baseline_training_rate_per_s", "variant_training_rate_per_s"),
    values=rates,
    rank=5,
)


_NOTHING = "none"


def events(row: Row) -> tuple[str, str]:
    """Return the kinds of what happened to trainings, of baselines and of variants, or ``none``."""
    found = (row.made(f"{arm}_events") for arm in ("baseline", "variant"))
    each = [{kind for text in texts if text for kind in str(text).split(", ")} for texts in found]
    baseline, variant = (listed(kinds) if kinds else _NOTHING for kinds in each)
    return baseline, variant


def _events(row: Row) -> Cell:
    baseline, variant = (kinds.replace("_", " ") for kinds in events(row))
    return Cell(variant, f"baseline: {baseline}" if baseline != _NOTHING else "")


EVENTS: Column[Row] = Column(
    name="events",
    heading="in training",
    unit="",
    cell=_events,
    figures=("baseline_events", "variant_events"),
    values=events,
    words=True,
    rank=5,
)
