"""Columns of what was spent once against what each inference saves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.reporting.cells import Cell, amount, interval, missing, percent, seconds
from bench.reporting.columns import Column, Value, mean
from bench.reporting.judging import MEASURED, cost_column
from bench.reporting.measures import grade_of
from bench.reporting.rows import Row
from bench.statistics import t_interval
from bench.statistics.pooling import LEAST_RANDOM


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent once, before the first inference.

    Attributes:
        name: How tables call it.
        column: Prefix of its flat columns.
        absent: Why there is none, if nothing was spent.
    """

    name: str
    column: str
    absent: str

    def spent(self, row: Row, measure: str) -> float | None:
        """Return its joules or seconds, the mean over the pairs; ``None`` if missing."""
        return mean(row, cost_column(self.column, measure))

    def why_absent(self, row: Row, measure: str) -> str:
        """Return why ``spent`` has none."""
        if self.spent(row, "wall") is None:
            return self.absent
        if measure in row.ratios:
            return f"a reading of the {self.name}'s joules failed"
        return row.why_absent(measure)


TRAINING = Cost("training", "train", "the baseline was not trained here")
OPTIMISATION = Cost("optimisation", "optimise", "nothing was optimised")


def _joules_column(cost: Cost, measure: str) -> Column[Row]:
    grade = grade_of(measure)

    def cell(row: Row) -> Cell:
        spent = cost.spent(row, measure)
        if spent is None:
            return missing(cost.why_absent(row, measure))
        return Cell(amount(spent, "J"), grade=grade, source=row.origin_of(measure))

    return Column(
        name=f"{cost.name}_{measure}_j",
        heading=f"{cost.name} J ({grade})",
        unit="",
        cell=cell,
        figures=(f"{cost.name}_{measure}_j",),
        values=lambda row: (cost.spent(row, measure),),
        rank=5,
        measure=measure,
    )


def _seconds_column(cost: Cost) -> Column[Row]:
    def cell(row: Row) -> Cell:
        spent = cost.spent(row, "wall")
        return missing(cost.absent) if spent is None else Cell(seconds(spent))

    return Column(
        name=f"{cost.name}_s",
        heading=f"{cost.name} s",
        unit="",
        cell=cell,
        figures=(f"{cost.name}_wall_s", f"{cost.name}_cpu_s"),
        values=lambda row: (cost.spent(row, "wall"), cost.spent(row, "cpu")),
        rank=5,
        uncounted=True,
    )


def cost_columns(cost: Cost) -> tuple[Column[Row], ...]:
    """Return the columns of a cost: joules by grade, and seconds for hosts without counters."""
    return *(_joules_column(cost, measure) for measure in MEASURED), _seconds_column(cost)


def _overhead(row: Row) -> float | None:
    training, optimisation = (cost.spent(row, row.lead) for cost in (TRAINING, OPTIMISATION))
    return optimisation / training if training and optimisation is not None else None


def _overhead_cell(row: Row) -> Cell:
    share = _overhead(row)
    if share is not None:
        return Cell(percent(share))
    lacking = next(c for c in (OPTIMISATION, TRAINING) if not c.spent(row, row.lead))
    return missing(lacking.why_absent(row, row.lead))


OVERHEAD: Column[Row] = Column(
    name="overhead",
    heading="overhead",
    unit="% of training",
    cell=_overhead_cell,
    figures=("optimisation_overhead_fraction", "optimisation_overhead_measure"),
    values=lambda row: (_overhead(row), row.lead),
    rank=4,
)


def _break_even_cell(row: Row) -> Cell:
    if row.break_even is None:
        reason = row.break_even_reason or ""
        return Cell("never", note=reason) if reason.startswith("never") else missing(reason)
    inferences, low, high = row.break_even
    upper = "∞" if high is None else amount(high)
    return Cell(amount(inferences), f"[{amount(low)}, {upper}]")


def _break_even_values(row: Row) -> tuple[Value, ...]:
    if row.break_even is None:
        return None, None, None, None
    inferences, low, high = row.break_even
    return inferences, low, np.inf if high is None else high, row.lead


BREAK_EVEN: Column[Row] = Column(
    name="break_even",
    heading="break-even",
    unit="{uses}",
    cell=_break_even_cell,
    figures=(
        *(f"break_even_inferences{end}" for end in ("", "_low", "_high")),
        "break_even_measure",
    ),
    values=_break_even_values,
    rank=4,
)


def saving_at_volume(row: Row, inferences: float) -> tuple[float, float, float] | None:
    """Return the share of joules or seconds saved over a life of so many inferences, with interval.

    ``1 - (cost + V b) / (V a)``, negative where the technique costs more.
    One or two sessions: cost and baseline count as known, and the interval is that of the ratio
    ``b / a``. Three or more are a sample. ``None`` without a ratio or a cost.
    """
    costs = row.of(cost_column(OPTIMISATION.column, row.lead)).astype(float)
    logs = row.source.log(f"{row.lead}_ratio")[row.valid]
    baseline = row.of(f"{row.lead}_baseline_per_item").astype(float)
    known = np.isfinite(costs) & np.isfinite(logs)
    pooled = row.ratios.get(row.lead)
    if pooled is None or not known.any():
        return None
    once = costs[known] / (inferences * baseline[known])
    if known.sum() >= LEAST_RANDOM:
        saved, margin = t_interval(1 - once - np.exp(logs[known]), 0.95)
        return saved, saved - margin, saved + margin
    spent = float(once.mean())
    return 1 - spent - pooled.ratio, 1 - spent - pooled.high, 1 - spent - pooled.low


def saving_column(inferences: float) -> Column[Row]:
    """Return the column of the saving over a life of so many inferences."""

    def cell(row: Row) -> Cell:
        found = saving_at_volume(row, inferences)
        if found is None:
            return missing(OPTIMISATION.why_absent(row, row.lead))
        return Cell(percent(found[0]), interval(found[1], found[2], percent))

    return Column(
        name="saving_at_volume",
        heading="% saved [95 %]",
        unit=f"in {amount(inferences).replace('.00', '')} {{uses}}",
        cell=cell,
        figures=(
            *(f"saving_at_volume_fraction{end}" for end in ("", "_low", "_high")),
            "saving_at_volume_inferences",
        ),
        values=lambda row: (
            *(saving_at_volume(row, inferences) or (None, None, None)),
            inferences,
        ),
        rank=3,
    )
