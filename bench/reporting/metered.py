"""Notes on where joules come from, what they don't cover, and what they are as carbon."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.readings import Grade
from bench.reporting import judging
from bench.reporting.cells import Note, listed, ratio
from bench.reporting.items import item_of
from bench.reporting.judging import MEASURED
from bench.reporting.measures import MODELLED, grade_of
from bench.reporting.pairs import unavailable
from bench.reporting.rows import Row, scopes_apart

_HOW: dict[Grade, str] = {"A": "a wall meter", "B": "hardware counters"}
_BY_COUNTERS = ("cpu", "dram", "gpu")
_BEYOND_COUNTERS = "mainboard, disks, network, fans and power-supply losses"
_JOULES_PER_KWH = 3.6e6
_INFERENCES = 1000


def joules(rows: Sequence[Row]) -> Iterator[Note]:
    """Yield what was counted and what not, or that nothing was."""
    for measure in MEASURED:
        counted = [row for row in rows if measure in row.ratios]
        if counted:
            yield Note(_what_is_counted(counted, measure))
    uncounted = [row for row in rows if row.lead not in MEASURED]
    if not uncounted:
        return
    what = judging.uncounted({m for row in uncounted for m in row.ratios})
    where = what if len(uncounted) == len(rows) else "for some of these rows"
    why = unavailable(
        text for row in uncounted for text in row.source.distinct("unavailable_json", row.positions)
    )
    reasons = f" ({'; '.join(why)})" if why else ""
    yield Note(f"No energy counter {where}: the finding is seconds and CPU-seconds{reasons}.")


def _what_is_counted(rows: Sequence[Row], measure: str) -> str:
    grade = grade_of(measure)
    assert grade is not None
    scopes = sorted({s for row in rows for s in row.source.distinct(f"{measure}_scope", row.valid)})
    sources = sorted({c["source"] for row in rows for c in _leading(row, measure)})
    text = (
        f"Joules ({grade}) are gross, from {_HOW[grade]}: "
        f"{', '.join(sources) or rows[0].origin_of(measure)}. Counted: {' or '.join(scopes)}."
    )
    if grade == "A":
        return text
    uncovered = [part for part in _BY_COUNTERS if not all(part in scope for scope in scopes)]
    return f"{text} Not counted: {', '.join([*uncovered, _BEYOND_COUNTERS])}."


def not_averaged(rows: Sequence[Row]) -> Iterator[Note]:
    """Yield which joules of rows have no mean, for they cover different parts."""
    for measure in MEASURED:
        if apart := scopes_apart(rows, measure):
            yield Note(f"There is no mean of joules ({grade_of(measure)}): {apart}.", loud=True)


def modelled(rows: Sequence[Row]) -> Iterator[Note]:
    """Yield which model modelled joules come from, with its constants."""
    found = [row for row in rows if MODELLED in row.ratios]
    if found:
        models = sorted({_model(c) for row in found for c in _leading(row, MODELLED)})
        named = "; ".join(models) or listed(row.origin_of(MODELLED) for row in found)
        yield Note(
            f"Joules marked modelled (C) come from {named}. They are a model's, not a measurement, "
            "and carry no claim."
        )


def _model(channel: Mapping[str, Any]) -> str:
    detail = channel.get("detail") or {}
    constants = ", ".join(
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in sorted(detail.items())
        if name != "carbon"  # moves no joule
    )
    return f"{channel['source']} ({constants})" if constants else str(channel["source"])


def _apart(one: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    """Return how far a meter lies from the first one, if both are of one grade and one scope."""
    if one is first or any(one[key] != first[key] for key in ("grade", "scope")):
        return ""
    return f" ({one['baseline_per_item'] / first['baseline_per_item'] - 1:+.1%})"


def side_by_side(rows: Sequence[Row]) -> Iterator[Note]:
    """Yield how far measured joules of several meters lie apart; scopes are named, for they differ.

    Models stay out: beside a counter they would pass for one.
    """
    for row in rows:
        if len(row.valid) != 1:
            continue  # pooled figures of several meters would need pooled intervals of their own
        found = [json.loads(t) for t in row.source.distinct("side_by_side_json", row.valid)]
        if not found:
            continue
        each = (
            f"{c['source']} ({c['scope']}, {c['grade']}) {c['baseline_per_item']:.4g}"
            f"{_apart(c, found[0][0])}, ratio {ratio(c['ratio'])}"
            for c in found[0]
        )
        yield Note(
            f"Meters side by side for {_called(row)}, joules per {item_of([row]).use} of the "
            f"baseline: {'; '.join(each)}."
        )


def carbon(rows: Sequence[Row]) -> Iterator[Note]:
    """Yield grams of CO2e, of counted joules only: a model's joules carry no grams either."""
    for measure in MEASURED:
        grams: dict[str, list[str]] = {}
        for row in rows:
            grid = _grid(row)
            if measure not in row.per_item or grid is None:
                continue
            per_joule = _INFERENCES / _JOULES_PER_KWH * grid["intensity_g_per_kwh"]
            baseline, variant = row.per_item[measure]
            where = f"{grid['country']}, {grid['year']}, {grid['source']}"
            grams.setdefault(f"{grid['intensity_g_per_kwh']:.4g} g/kWh ({where})", []).append(
                f"{_called(row)}: {variant * per_joule:.3g} (baseline {baseline * per_joule:.3g})"
            )
        for intensity, each in grams.items():
            yield Note(
                f"Joules ({grade_of(measure)}) as carbon: {'; '.join(each)} g CO2e per "
                f"{_INFERENCES} {item_of(rows).uses} at {intensity}, PUE 1.0."
            )


def _grid(row: Row) -> Mapping[str, Any] | None:
    """Return the carbon intensity that a meter recorded, with country, year and source."""
    details = (channel.get("detail") or {} for _, channel in _channels(row))
    return next((detail["carbon"] for detail in details if detail.get("carbon")), None)


def _leading(row: Row, measure: str) -> Iterator[Mapping[str, Any]]:
    """Yield the channels that a measure's figures are of: one meter's, of one grade."""
    meters = row.source.distinct(f"{measure}_source", row.valid)
    found = (c for meter, c in _channels(row) if meter in meters)
    yield from (channel for channel in found if channel["grade"] == grade_of(measure))


def _channels(row: Row) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what the sessions say of all channels, with the names of their meters."""
    for text in row.source.distinct("meters_json", row.valid):
        for meter, channels in json.loads(text).items():
            yield from ((meter, channel) for channel in channels)


def _called(row: Row) -> str:
    seed = f", seed {row.key['seed']}" if "seed" in row.key else ""
    return f"{row.key['label']}{seed}"
