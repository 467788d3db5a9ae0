"""Columns of what is compared: joules by grade, seconds, CPU-seconds, latency, throughput."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

from bench.readings import Grade
from bench.reporting.cells import (
    Cell,
    amount,
    arrow,
    interval,
    missing,
    probability,
    ratio,
    ratio_end,
)
from bench.reporting.columns import Column, Value, mean
from bench.reporting.judging import MEASURED, said
from bench.reporting.pooled import ARMS
from bench.reporting.rows import Row
from bench.statistics.pooling import LEAST_RANDOM, Pooled, pool

MODELLED = "energy_c"

_RATIO = ("ratio", "ratio_low", "ratio_high", "p_value", "units", "method", "source")

Quantile = Literal["p50", "p90", "p99"]


class Compared(Protocol):
    """A row, or a mean of rows over tasks."""

    @property
    def ratios(self) -> dict[str, Pooled]:
        """By prefix of ``flat.MEASURES``."""

    def origin_of(self, measure: str) -> str:
        """Return the meter of a measure's joules."""

    def why_absent(self, measure: str) -> str:
        """Return why there is no ratio of a measure."""

    def partial(self, measure: str) -> str | None:
        """Say so if only some of the pairs have a measure."""


def grade_of(measure: str) -> Grade | None:
    """Return the grade of a measure's joules, ``None`` for seconds."""
    grades: dict[str, Grade] = {"energy_a": "A", "energy_b": "B", MODELLED: "C", "energy_s": "S"}
    return grades.get(measure)


def ratio_column(measure: str, rank: int = 0, uncounted: bool = False) -> Column[Compared]:
    """Return the column of one measure's ratio with its interval."""

    def cell(row: Compared) -> Cell:
        found = row.ratios.get(measure)
        if found is None:
            return missing(row.why_absent(measure))
        shown = ratio(found.ratio), interval(found.low, found.high, ratio_end)
        grade = grade_of(measure)
        source = row.origin_of(measure) if grade else ""
        return Cell(*shown, note=row.partial(measure), grade=grade, source=source)

    def values(row: Compared) -> tuple[Value, ...]:
        found = row.ratios.get(measure)
        if found is None:
            return (None,) * len(_RATIO)
        bounds = found.ratio, found.low, found.high, found.p_value
        return (*bounds, found.units, found.method, row.origin_of(measure))

    return Column(
        name=measure,
        heading="modelled J (C)" if measure == MODELLED else said(measure),
        unit="ratio [95 %]",
        cell=cell,
        figures=tuple(f"{measure}_{name}" for name in _RATIO),
        values=values,
        rank=rank,
        measure=measure if grade_of(measure) else None,
        uncounted=uncounted,
    )


def per_item_column(measure: str) -> Column[Row]:
    """Return the column of joules or seconds per item, of both arms."""
    unit = "s" if grade_of(measure) is None else "J"

    def cell(row: Row) -> Cell:
        found = row.per_item.get(measure)
        if found is None:
            return missing(row.why_absent(measure))
        shown = amount(found[0], unit), f"→ {amount(found[1], unit)}"
        return Cell(*shown, grade=grade_of(measure), source=row.origin_of(measure))

    return Column(
        name=f"{measure}_per_item",
        heading=f"{unit} per {{one}}",
        unit=f"grade {grade_of(measure)}" if grade_of(measure) else "",
        cell=cell,
        figures=tuple(f"{measure}_{arm}_{unit.lower()}_per_item" for arm in ARMS),
        values=lambda row: row.per_item.get(measure, (None, None)),
        rank=3,
        measure=measure if grade_of(measure) else None,
    )


def adjusted_p_cell(row: Row) -> Cell:
    """Return the p-value of the leading measure, adjusted for the family."""
    if row.is_noise_floor:
        return missing("the A/A pair claims nothing, so its p is not adjusted")
    found = row.adjusted_p.get(row.lead)
    return missing(row.why_absent(row.lead)) if found is None else Cell(probability(found))


ADJUSTED_P: Column[Row] = Column(
    name="adjusted_p",
    heading="p",
    unit="adjusted",
    cell=adjusted_p_cell,
    figures=("adjusted_p", "adjusted_p_measure"),
    values=lambda row: (
        None if row.is_noise_floor else row.adjusted_p.get(row.lead),
        row.lead,
    ),
    rank=4,
)


def _latency_ratio(row: Row, quantile: Quantile) -> tuple[Pooled | None, tuple[float, float]]:
    """Return the ratio over sessions and both arms' geometric means, in seconds."""
    logs = [np.log(row.of(f"{arm}_latency_{quantile}_s").astype(float)) for arm in ARMS]
    known = np.isfinite(logs[0]) & np.isfinite(logs[1])
    if not known.any():
        return None, (np.nan, np.nan)
    baseline, variant = logs[0][known], logs[1][known]
    count = len(baseline)
    # A quantile has no blocks; only sessions, three or more, say how far it scatters.
    found = pool(variant - baseline, np.zeros(count), np.full(count, 2))
    return found, (float(np.exp(baseline.mean())), float(np.exp(variant.mean())))


def latency_column(quantile: Quantile) -> Column[Row]:
    """Return the column of a quantile of latency at batch 1: its ratio, and both arms' seconds."""

    def cell(row: Row) -> Cell:
        found, (baseline, variant) = _latency_ratio(row, quantile)
        if found is None:
            return missing(_why_no_latency(row, quantile))
        if found.units >= LEAST_RANDOM:
            return Cell(ratio(found.ratio), interval(found.low, found.high, ratio_end))
        return Cell(ratio(found.ratio), arrow(baseline, variant, "s"))

    def values(row: Row) -> tuple[Value, ...]:
        found, seconds = _latency_ratio(row, quantile)
        if found is None:
            return (None,) * 5
        sampled = found.units >= LEAST_RANDOM
        return found.ratio, *((found.low, found.high) if sampled else (None, None)), *seconds

    return Column(
        name=f"latency_{quantile}",
        heading=f"latency {quantile}",
        unit="ratio",
        cell=cell,
        figures=(
            *(f"latency_{quantile}_ratio{end}" for end in ("", "_low", "_high")),
            *(f"{arm}_latency_{quantile}_s" for arm in ARMS),
        ),
        values=values,
        rank=4,
    )


def _why_no_latency(row: Row, quantile: Quantile) -> str:
    if not row.valid.size:
        return row.why_absent("wall")
    requests = mean(row, "baseline_latency_requests")
    if requests is None:
        return "the protocol asks for no requests"
    return f"{requests:,.0f} requests are too few for {quantile}"


def _throughput(row: Row) -> Cell:
    found = row.per_item.get("wall")
    if found is None:
        return missing(row.why_absent("wall"))
    return Cell(amount(1 / found[0]), f"→ {amount(1 / found[1])}")


THROUGHPUT: Column[Row] = Column(
    name="throughput",
    heading="throughput",
    unit="{many}/s",
    cell=_throughput,
    figures=tuple(f"{arm}_throughput_per_s" for arm in ARMS),
    values=lambda row: tuple(
        1 / seconds if seconds else None for seconds in row.per_item.get("wall", (None, None))
    ),
    rank=4,
)
ENERGY = tuple(ratio_column(measure) for measure in MEASURED)
SECONDS = ratio_column("wall")
CPU_SECONDS = ratio_column("cpu", rank=2, uncounted=True)
MODELLED_ENERGY = ratio_column(MODELLED, rank=1)
ENERGY_PER_ITEM = tuple(per_item_column(measure) for measure in MEASURED)
SECONDS_PER_ITEM = per_item_column("wall")
