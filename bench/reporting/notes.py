"""What stands under a table: where its figures come from, what they don't cover, what is missing.

A loud note is one that a reader must not overlook.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.readings import Grade
from bench.records import Comparison, Record
from bench.reporting.cells import points, ratio
from bench.reporting.claims import BASELINE, contains_one
from bench.reporting.columns import MEASURED, MODELLED, compared, measured, unavailable
from bench.store import SetAside

_HOW: dict[Grade, str] = {"A": "a wall meter", "B": "hardware counters"}
_BY_COUNTERS = ("cpu", "dram", "gpu")
_BEYOND_COUNTERS = "mainboard, disks, network, fans and power-supply losses"
_NAMED = 5
_JOULES_PER_KWH = 3.6e6
_INFERENCES = 1000


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence or two under a table."""

    text: str
    loud: bool = False


def of_section(records: Sequence[Record]) -> tuple[Note, ...]:
    """Return the notes on records of one workload, host, protocol and runtime."""
    return (
        _how_to_read(records),
        *_joules(records),
        *_side_by_side(records),
        *_modelled(records),
        *_carbon(records),
        *_break_even(records),
        *_discards(records),
        _overhead(records),
        *_noise_floor(records),
        *_invalid(records),
    )


def of_collection(left_out: Sequence[Record], set_aside: Sequence[SetAside]) -> tuple[Note, ...]:
    """Return the notes on everything that did not enter any table, each thing named."""
    kinds = {
        "Rehearsals": [r for r in left_out if r.rehearsal],
        "Records with synthetic joules (grade S)": [r for r in left_out if not r.rehearsal],
    }
    notes = [
        Note(
            f"{kind} never enter a table; left out: {len(records)} "
            f"({_names(f'{r.id} on {r.host}' for r in records)})."
        )
        for kind, records in kinds.items()
        if records
    ]
    notes += [
        Note(f"Set aside: {path.as_posix()} ({reason}).", loud=True)
        for path, reason in sorted(set_aside)
    ]
    return tuple(notes)


def _how_to_read(records: Sequence[Record]) -> Note:
    judged = [record.quality for record in records]
    margins = _listed(points(-q.margin) for q in judged)
    examples = _listed(f"{q.examples:,}" for q in judged)
    metrics = _listed(q.metric for q in judged)
    return Note(
        "Ratios are variant over baseline, per sample: below 1 the variant needs less. Brackets "
        f"hold 95 % intervals. Quality is {metrics} on {examples} test examples; non-inferior "
        f"means that the lower end of the difference lies above {margins} pp, a margin fixed "
        "beforehand."
    )


def _joules(records: Sequence[Record]) -> Iterator[Note]:
    for grade in MEASURED:
        found = [c for r in records if (c := compared(r, "energy_j", grade))]
        if found:
            yield Note(_what_is_counted(records, grade, found))
    uncounted = [record for record in records if not measured(record)]
    if not uncounted:
        return
    where = "on this host" if len(uncounted) == len(records) else "for some of these records"
    why = sorted({reason for record in uncounted for reason in unavailable(record)})
    reasons = f" ({'; '.join(why)})" if why else ""
    yield Note(f"No energy counter {where}: the finding is seconds and CPU-seconds{reasons}.")


def _what_is_counted(records: Sequence[Record], grade: Grade, found: Sequence[Comparison]) -> str:
    scopes = sorted({comparison.scope for comparison in found})
    sources = sorted({c["source"] for r in records for c in _channels(r, grade)})
    text = (
        f"Joules ({grade}) are gross, from {_HOW[grade]}: {', '.join(sources) or found[0].source}."
        f" Counted: {' or '.join(scopes)}."
    )
    if grade == "A":
        return text
    uncovered = [part for part in _BY_COUNTERS if not all(part in scope for scope in scopes)]
    return f"{text} Not counted: {', '.join([*uncovered, _BEYOND_COUNTERS])}."


def _modelled(records: Sequence[Record]) -> Iterator[Note]:
    found = [c for r in records if (c := compared(r, "energy_j", MODELLED))]
    if not found:
        return
    models = sorted({_model(c) for r in records for c in _channels(r, MODELLED)})
    named = "; ".join(models) or _listed(comparison.source for comparison in found)
    yield Note(
        f"Joules marked modelled (C) come from {named}. They are a model's, not a measurement, and "
        "carry no claim."
    )


def _model(channel: Mapping[str, Any]) -> str:
    detail = channel.get("detail") or {}
    constants = ", ".join(
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in sorted(detail.items())
        if name != "carbon"  # moves no joule
    )
    return f"{channel['source']} ({constants})" if constants else str(channel["source"])


def _side_by_side(records: Sequence[Record]) -> Iterator[Note]:
    """Yield how far measured joules of several meters lie apart; scopes are named, for they differ.

    Models stay out: beside a counter they would pass for one.
    """
    for record in records:
        found = [c for c in record.comparisons if c.measure == "energy_j" and c.grade in MEASURED]
        if len(found) > 1:
            first = found[0].baseline_per_item
            each = (
                f"{c.source} ({c.scope}, {c.grade}) {c.baseline_per_item:.4g}"
                + (f" ({c.baseline_per_item / first - 1:+.1%})" if c is not found[0] else "")
                + f", ratio {ratio(c.ratio)}"
                for c in found
            )
            yield Note(
                f"Meters side by side for {record.label}, seed {record.seed}, joules per inference "
                f"of the baseline: {'; '.join(each)}."
            )


def _carbon(records: Sequence[Record]) -> Iterator[Note]:
    """Yield grams of CO2e, of counted joules only: a model's joules carry no grams either."""
    for grade in MEASURED:
        grams: dict[str, list[str]] = {}
        for record in records:
            found, grid = compared(record, "energy_j", grade), _grid(record)
            if found is None or grid is None:
                continue
            per_joule = _INFERENCES / _JOULES_PER_KWH * grid["intensity_g_per_kwh"]
            where = f"{grid['country']}, {grid['year']}, {grid['source']}"
            grams.setdefault(f"{grid['intensity_g_per_kwh']:.4g} g/kWh ({where})", []).append(
                f"{record.label}, seed {record.seed}: {found.variant_per_item * per_joule:.3g} "
                f"(baseline {found.baseline_per_item * per_joule:.3g})"
            )
        for intensity, each in grams.items():
            yield Note(
                f"Joules ({grade}) as carbon: {'; '.join(each)} g CO2e per {_INFERENCES} "
                f"inferences at {intensity}, PUE 1.0."
            )


def _grid(record: Record) -> Mapping[str, Any] | None:
    """Return the carbon intensity that a meter recorded, with country, year and source."""
    for channels in record.session.meters.values():
        for channel in channels if isinstance(channels, list | tuple) else ():
            if isinstance(channel, Mapping) and (channel.get("detail") or {}).get("carbon"):
                return dict(channel["detail"]["carbon"])
    return None


def _channels(record: Record, grade: Grade) -> Iterator[Mapping[str, Any]]:
    """Yield what the session says of the channels of that grade."""
    for channels in record.session.meters.values():
        for channel in channels if isinstance(channels, list | tuple) else ():
            if isinstance(channel, Mapping) and channel.get("grade") == grade:
                yield channel


def _break_even(records: Sequence[Record]) -> Iterator[Note]:
    words = {"energy_j": "joules", "cpu_s": "CPU-seconds", "wall_s": "seconds"}
    measures = {words[r.break_even.measure] for r in records if r.break_even}
    if measures:
        yield Note(
            "Break-even: inferences until the optimisation has paid for itself, counted in "
            f"{' or '.join(sorted(measures))}."
        )


def _discards(records: Sequence[Record]) -> Iterator[Note]:
    conditions = Counter(d.condition for r in records for d in r.session.discards)
    if conditions:
        lost = sum(conditions.values())
        total = lost + sum(record.comparison.blocks for record in records)
        each = ", ".join(f"{name} {count}" for name, count in sorted(conditions.items()))
        yield Note(
            f"Blocks discarded on a condition, never on their energy: {lost} of {total} ({each})."
        )


def _overhead(records: Sequence[Record]) -> Note:
    """Return what measuring cost, the worst of these records."""
    costs = [record.session.overhead for record in records]
    wall_ms = 1e3 * max(cost.wall_s for cost in costs)
    edges_ms = 1e3 * max(cost.edges_cpu_s for cost in costs)
    charged_j = [
        reading.energy_j
        for cost in costs
        for reading in cost.readings
        if reading.grade in MEASURED and reading.energy_j is not None
    ]
    joules = f" and at most {max(charged_j):.2g} J a counter" if charged_j else ""
    return Note(
        f"Cost of measuring, at most: an empty window is charged {wall_ms:.2g} ms{joules}; reading "
        f"at its edges takes {edges_ms:.2g} CPU-ms outside it; harness and meters take "
        f"{max(cost.cpu_share for cost in costs):.2%} of a core while idling."
    )


def _noise_floor(records: Sequence[Record]) -> Iterator[Note]:
    floors = [r for r in records if r.technique == BASELINE and r.session.valid]
    if not floors:
        yield Note(
            "No valid A/A pair (technique=none) under these conditions: the noise floor is not "
            "known, and no difference in this table is shown to lie above it.",
            loud=True,
        )
    for record in floors:
        shown = [c for c in _once((record.comparison, *record.comparisons)) if c.grade != MODELLED]
        off = [c for c in shown if not contains_one(c.low, c.high)]
        said = ", ".join(f"{_measure(c)} {ratio(c.low)} to {ratio(c.high)}" for c in off or shown)
        if off:
            yield Note(
                f"A/A interval, seed {record.seed}: {said} does NOT contain 1. Differences of this "
                "size come from the harness or the host, not from a technique.",
                loud=True,
            )
        else:
            yield Note(f"A/A interval, seed {record.seed}: {said}; contains 1.")


def _once(comparisons: Iterable[Comparison]) -> list[Comparison]:
    return list({(c.measure, c.grade): c for c in reversed(list(comparisons))}.values())[::-1]


def _measure(comparison: Comparison) -> str:
    words = {
        "energy_j": f"joules ({comparison.grade})",
        "cpu_s": "CPU-seconds",
        "wall_s": "seconds",
    }
    return words[comparison.measure]


def _invalid(records: Sequence[Record]) -> Iterator[Note]:
    for record in records:
        if not record.session.valid:
            yield Note(
                f"Session of {record.label}, seed {record.seed}, is invalid: "
                f"{record.session.reason or 'no reason given'}.",
                loud=True,
            )


def _listed(texts: Iterable[str]) -> str:
    return " or ".join(sorted(set(texts)))


def _names(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - _NAMED
    return ", ".join(ordered[:_NAMED]) + (f" and {more} more" if more > 0 else "")
