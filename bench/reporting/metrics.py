"""Columns of whatever else a workload's score says of both arms, beside what is judged."""

from __future__ import annotations

import json

from bench.reporting.cells import Cell, missing
from bench.reporting.columns import Column
from bench.reporting.pooled import ARMS
from bench.reporting.rows import Row
from bench.statistics.metrics import unit

PREFIX = "metrics."
"""How a table's YAML asks for one: ``metrics.perplexity``."""


def metric_column(name: str) -> Column[Row]:
    """Return the column of one metric, the mean over the pairs that have it.

    Args:
        name: As in ``baseline.metrics`` of the record, its unit at its end if it has one.
    """

    def values(row: Row) -> tuple[float | None, float | None]:
        baseline, variant = (_mean(row, arm, name) for arm in ARMS)
        return baseline, variant

    def cell(row: Row) -> Cell:
        baseline, variant = values(row)
        if baseline is None or variant is None:
            return missing(f"no {name} was evaluated")
        return Cell(_shown(baseline), f"→ {_shown(variant)}")

    named = unit(name)
    stem = name if named is None else name.rpartition("_")[0]
    return Column(
        name=name,
        heading=stem.replace("_", " "),
        unit=named or "",
        cell=cell,
        figures=tuple(f"{arm}_{name}" for arm in ARMS),
        values=values,
        rank=2,
    )


def _mean(row: Row, arm: str, name: str) -> float | None:
    scores = (json.loads(text) for text in row.made(f"{arm}_metrics_json") if text)
    known = [float(score[name]) for score in scores if name in score]
    return sum(known) / len(known) if known else None


def _shown(value: float) -> str:
    """Return two decimals, three digits where that would be nothing."""
    return f"{value:,.2f}" if value == 0 or abs(value) >= 0.1 else f"{value:.3g}"
