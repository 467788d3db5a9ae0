"""The columns of the table of pairs, in their order: one list for all formats."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

from bench.records import Record
from bench.reporting.cells import Cell, amount, interval, missing, percent, points, ratio
from bench.reporting.claims import BASELINE, verdict_cell, verdict_text
from bench.reporting.columns import (
    MEASURED,
    MODELLED,
    OPTIMISATION,
    TRAINING,
    Column,
    Figure,
    compared,
    comparison_column,
    joules_column,
    measured,
    seconds_column,
)


def title(settings: Mapping[str, Any]) -> str:
    """Return the name of a protocol or a runtime, all its values if it has none."""
    name = settings.get("name")
    return str(name) if name else _json(settings)


def _json(settings: Mapping[str, Any]) -> str:
    return json.dumps(dict(settings), sort_keys=True, default=str)


def _fields(*names: str) -> tuple[Figure, ...]:
    """Return figures that are fields of the record as they stand, named after their last part."""
    return tuple(Figure(name.rpartition(".")[2], attrgetter(name)) for name in names)


def _technique(record: Record) -> Cell:
    plain = record.technique != BASELINE or "A/A" in record.label
    return Cell(record.label if plain else f"{record.label} (A/A)")


def _quality(record: Record) -> Cell:
    return Cell(percent(record.quality.baseline), f"→ {percent(record.quality.variant)}")


def _difference(record: Record) -> Cell:
    judged = record.quality
    return Cell(points(judged.difference), interval(judged.low, judged.high, points))


def _share_column(name: str, heading: str, path: str, stacked: bool = False) -> Column:
    """Return the column of a size of the variant over that of the baseline."""
    variant, baseline = attrgetter(f"variant.{path}"), attrgetter(f"baseline.{path}")

    def share(record: Record) -> float | None:
        counted = variant(record) is not None and baseline(record)
        return float(variant(record) / baseline(record)) if counted else None

    def cell(record: Record) -> Cell:
        found = share(record)
        return missing(f"{heading} not known") if found is None else Cell(ratio(found))

    figures = (
        Figure(f"baseline_{name}", baseline),
        Figure(f"variant_{name}", variant),
        Figure(f"{name}_ratio", share),
    )
    return Column(name, heading, "ratio", cell, figures, stacked=stacked, rank=3)


def _break_even(record: Record) -> Cell:
    found = record.break_even
    if record.technique == BASELINE:
        return missing(OPTIMISATION.absent)
    if found is None:
        reason = record.break_even_reason or "the record gives no reason"
        return Cell("never", note=reason) if "never" in reason else missing(reason)
    high = "∞" if found.high is None else amount(found.high)
    return Cell(amount(found.inferences), f"[{amount(found.low)}, {high}]")


def _break_even_figure(name: str) -> Figure:
    def value(record: Record) -> float | None:
        if record.break_even is None:
            return None
        found: float | None = getattr(record.break_even, name)
        return float("inf") if found is None else found  # only an open upper end is None

    suffix = "" if name == "inferences" else f"_{name}"
    return Figure(f"break_even_inferences{suffix}", value)


TECHNIQUE = Column(
    "technique",
    "technique",
    "",
    _technique,
    (
        *_fields("workload", "host"),
        Figure("protocol", lambda r: title(r.protocol)),
        Figure("runtime", lambda r: title(r.runtime)),
        Figure("protocol_json", lambda r: _json(r.protocol)),
        Figure("runtime_json", lambda r: _json(r.runtime)),
        *_fields("technique", "label"),
    ),
    words=True,
)
SEED = Column("seed", "seed", "", lambda r: Cell(str(r.seed)), _fields("seed", "id"), stacked=True)
QUALITY = Column(
    "quality",
    "quality",
    "%",
    _quality,
    (
        *_fields("quality.metric"),
        Figure("baseline_quality_fraction", attrgetter("quality.baseline")),
        Figure("variant_quality_fraction", attrgetter("quality.variant")),
    ),
)
DIFFERENCE = Column(
    "difference",
    "difference",
    "pp [95 %]",
    _difference,
    (
        Figure("difference_fraction", attrgetter("quality.difference")),
        Figure("difference_low_fraction", attrgetter("quality.low")),
        Figure("difference_high_fraction", attrgetter("quality.high")),
        Figure("margin_fraction", attrgetter("quality.margin")),
        *_fields("quality.examples"),
    ),
)
ENERGY = {grade: comparison_column(f"joules ({grade})", "energy_j", grade) for grade in MEASURED}
SECONDS = comparison_column("seconds", "wall_s")
CPU_SECONDS = comparison_column("CPU-seconds", "cpu_s", rank=2)
MODELLED_ENERGY = comparison_column(f"modelled J ({MODELLED})", "energy_j", MODELLED, rank=1)
MACS = _share_column("macs", "MACs", "macs")
BYTES = _share_column("bytes", "bytes", "artefact.bytes", stacked=True)
PARAMETERS = _share_column("parameters", "parameters", "parameters")
PEAK_MEMORY = _share_column("peak_memory_bytes", "peak memory", "peak_memory_bytes")
BREAK_EVEN = Column(
    "break-even",
    "break-even",
    "inferences",
    _break_even,
    (
        *(_break_even_figure(name) for name in ("inferences", "low", "high")),
        Figure("break_even_measure", lambda r: r.break_even.measure if r.break_even else None),
    ),
    rank=4,
)
EXPLOITED = Column(
    "exploited",
    "exploited",
    "",
    lambda r: Cell("yes" if r.proof.exploited else "no"),
    _fields(
        "proof.exploited", "proof.bytes_fell", "proof.no_simulation_left", "proof.reload_exact"
    ),
    rank=6,
)
GRADE = Column(
    "grade", "grade", "", lambda r: Cell(r.comparison.grade), _fields("comparison.grade"), rank=6
)
BLOCKS = Column(
    "blocks",
    "blocks (discarded)",
    "",
    lambda r: Cell(str(r.comparison.blocks), f"({r.comparison.discarded})"),
    (*_fields("comparison.blocks"), Figure("discarded_blocks", attrgetter("comparison.discarded"))),
    rank=6,
)
VERDICT = Column(
    "verdict",
    "verdict",
    "",
    verdict_cell,
    (
        Figure("energy_verdict", attrgetter("verdict.energy")),
        Figure("time_verdict", attrgetter("verdict.time")),
        Figure("quality_verdict", attrgetter("verdict.quality")),
        *_fields("verdict.headline"),
        Figure("session_valid", attrgetter("session.valid")),
        Figure("verdict", verdict_text),
    ),
    words=True,
)


def every_column() -> tuple[Column, ...]:
    """Return all columns, whatever the records hold, so that CSV files look alike."""
    return (
        *(TECHNIQUE, SEED, QUALITY, DIFFERENCE),
        *(*ENERGY.values(), SECONDS, CPU_SECONDS, MODELLED_ENERGY),
        *(MACS, BYTES, PARAMETERS, PEAK_MEMORY),
        *(
            joules_column(cost, g)
            for cost in (TRAINING, OPTIMISATION)
            for g in (*MEASURED, MODELLED)
        ),
        *(seconds_column(TRAINING), seconds_column(OPTIMISATION)),
        *(BREAK_EVEN, EXPLOITED, GRADE, BLOCKS, VERDICT),
    )


def readable_columns(records: Sequence[Record]) -> tuple[Column, ...]:
    """Return the columns that are worth reading for these records.

    Joules of a wall meter or a counter where there are any; where not, CPU-seconds beside seconds.
    """
    grades = [g for g in MEASURED if any(compared(r, "energy_j", g) for r in records)]
    uncounted = not all(measured(record) for record in records)
    modelled = any(compared(record, "energy_j", MODELLED) for record in records)
    costs = [
        column
        for grade in grades
        for column in (joules_column(TRAINING, grade), joules_column(OPTIMISATION, grade, True))
    ]
    if uncounted:
        costs += [seconds_column(TRAINING), seconds_column(OPTIMISATION, True)]
    metric = " or ".join(sorted({record.quality.metric for record in records}))
    return (
        *(TECHNIQUE, SEED, replace(QUALITY, heading=metric), DIFFERENCE),
        *(ENERGY[grade] for grade in grades),
        *((SECONDS, CPU_SECONDS) if uncounted else (replace(SECONDS, rank=2),)),
        *((MODELLED_ENERGY,) if modelled else ()),
        *(MACS, BYTES, *costs, BREAK_EVEN, EXPLOITED, GRADE, BLOCKS, VERDICT),
    )
