"""Columns of how far a row may be trusted: noise, drift, discards, sensitivity, our own cost."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np

from bench.reporting.cells import Cell, amount, missing, percent, points, ratio
from bench.reporting.columns import Column, Value
from bench.reporting.rows import Row
from bench.reporting.windows import log_ratios
from bench.statistics.ratios import robust, smallest_detectable

READ_AT_MOST = 500
"""Pairs whose windows are read for one table: beyond that a report would take minutes."""


def _smallest(row: Row) -> float | None:
    """Return the smallest saving that one more session like these would probably show."""
    if row.lead not in row.ratios:
        return None
    sds = row.of(f"{row.lead}_log_ratio_sd").astype(float)
    known = np.isfinite(sds)
    blocks = int(np.median(row.of("blocks")[known]))
    return smallest_detectable(math.sqrt(float(np.mean(sds[known] ** 2))), blocks)


def _smallest_cell(row: Row) -> Cell:
    saving = _smallest(row)
    return missing(row.why_absent(row.lead)) if saving is None else Cell(percent(saving))


SMALLEST_SAVING: Column[Row] = Column(
    name="smallest_saving",
    heading="detectable",
    unit="% saved",
    cell=_smallest_cell,
    figures=("smallest_detectable_saving_fraction",),
    values=lambda row: (_smallest(row),),
    rank=2,
)


def drift_column(name: str, heading: str, absent: str) -> Column[Row]:
    """Return the column of a drift: that of the session that drifted most."""

    def worst(row: Row) -> float | None:
        drifts = row.made(name).astype(float)
        known = drifts[np.isfinite(drifts)]
        return float(known[np.argmax(np.abs(known))]) if known.size else None

    def cell(row: Row) -> Cell:
        drift = worst(row)
        return missing(absent) if drift is None else Cell(points(drift))

    return Column(
        name=name,
        heading=heading,
        unit="% at most",
        cell=cell,
        figures=(f"{name}_fraction",),
        values=lambda row: (worst(row),),
        rank=3,
    )


IDLE_DRIFT = drift_column("idle_drift", "idle drift", "no counter tells the power of idling")
BASELINE_DRIFT = drift_column(
    "baseline_drift", "baseline drift", "fewer than four windows of the baseline"
)


def conditions_of(row: Row) -> Counter[str]:
    """Return how many blocks were discarded on which condition."""
    codes, texts = row.source.codes("discards_json")
    found: Counter[str] = Counter()
    for code, sessions in zip(*np.unique(codes[row.positions], return_counts=True), strict=True):
        if code >= 0:
            for name in json.loads(texts[code]):
                found[name] += int(sessions)
    return found


def _discards(row: Row) -> Cell:
    conditions = conditions_of(row)
    lost = int(row.made("discarded").sum())
    total = lost + int(row.made("blocks").sum())
    each = ", ".join(f"{name} {count}" for name, count in sorted(conditions.items()))
    return Cell(f"{lost} of {total}", f"({each})" if each else "")


DISCARDS: Column[Row] = Column(
    name="discards",
    heading="blocks discarded",
    unit="",
    cell=_discards,
    figures=("discarded_blocks", "kept_blocks", "discard_conditions"),
    values=lambda row: (
        int(row.made("discarded").sum()),
        int(row.made("blocks").sum()),
        ", ".join(f"{name} {count}" for name, count in sorted(conditions_of(row).items()))
        or "none",
    ),
    words=True,
)
BLOCKS: Column[Row] = Column(
    name="blocks",
    heading="blocks",
    unit="(discarded)",
    cell=lambda row: Cell(
        str(int(row.made("blocks").sum())), f"({int(row.made('discarded').sum())})"
    ),
    figures=("blocks", "discarded_blocks"),
    values=lambda row: (int(row.made("blocks").sum()), int(row.made("discarded").sum())),
    rank=6,
)
SESSIONS: Column[Row] = Column(
    name="sessions",
    heading="sessions",
    unit="(invalid)",
    cell=lambda row: Cell(
        str(len(row.valid) + len(row.invalid)), f"({len(row.invalid)})" if row.invalid.size else ""
    ),
    figures=("sessions", "invalid_sessions"),
    values=lambda row: (len(row.valid) + len(row.invalid), len(row.invalid)),
    rank=5,
)


def _cost(row: Row) -> tuple[float, float] | None:
    share, wall_s = (row.made(f"overhead_{name}").astype(float) for name in ("cpu_share", "wall_s"))
    if not np.isfinite(share).any() or not np.isfinite(wall_s).any():
        return None
    return float(np.nanmax(share)), float(np.nanmax(wall_s))


def _cost_cell(row: Row) -> Cell:
    cost = _cost(row)
    if cost is None:
        return missing("what measuring costs was not measured")
    return Cell(percent(cost[0]), f"{amount(cost[1], 's')} a window")


MEASURING: Column[Row] = Column(
    name="measuring",
    heading="measuring costs",
    unit="% of a core",
    cell=_cost_cell,
    figures=("measuring_cores", "measuring_wall_s"),
    values=lambda row: _cost(row) or (None, None),
    rank=4,
)


def robust_column(root: Path) -> Column[Row]:
    """Return the column of the leading ratio by two estimators that wild blocks cannot move.

    Args:
        root: Folder of the results, whose windows are read.
    """
    seen: dict[tuple[int, ...], tuple[float, float] | str] = {}

    def estimates(row: Row) -> tuple[float, float] | str:
        key = tuple(int(position) for position in row.valid)
        if key not in seen:
            seen[key] = _robust(row, root)
        return seen[key]

    def cell(row: Row) -> Cell:
        found = estimates(row)
        if isinstance(found, str):
            return missing(found)
        return Cell(ratio(found[0]), f"trimmed {ratio(found[1])}")

    def values(row: Row) -> tuple[Value, ...]:
        found = estimates(row)
        return (None, None, None) if isinstance(found, str) else (*found, row.lead)

    return Column(
        name="robust",
        heading="Hodges-Lehmann",
        unit="leading ratio",
        cell=cell,
        figures=("hodges_lehmann_ratio", "trimmed_ratio", "robust_measure"),
        values=values,
        rank=3,
    )


def _robust(row: Row, root: Path) -> tuple[float, float] | str:
    if not row.valid.size:
        return row.why_absent(row.lead)
    if len(row.source.frame) > READ_AT_MOST:
        return f"windows are read of {READ_AT_MOST} pairs at most"
    blocks = log_ratios(row, root)
    if isinstance(blocks, str):
        return blocks
    each = [robust(d) for d in blocks]
    # As in pooling, every record counts once.
    hodges_lehmann = np.mean([math.log(one.hodges_lehmann) for one in each])
    trimmed = np.mean([math.log(one.trimmed) for one in each])
    return math.exp(hodges_lehmann), math.exp(trimmed)
