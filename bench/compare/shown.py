"""A comparison on the terminal, and as JSON."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.compare import Compared, Side
from bench.compare.matching import Named
from bench.compare.rows import Change, QualityChange, Row
from bench.compare.settings import Difference
from bench.reporting.cells import DASH, amount, interval, ratio, ratio_end
from bench.reporting.judging import said
from bench.reporting.scales import scale
from bench.statistics.pooling import LEAST_RANDOM

COMMAND = "python -m bench.compare"

_FINDINGS = {"more": "needs more", "less": "needs less", "undecided": "undecided"}
_CONDITIONS = ("workload", "host", "protocol", "runtime")
_LISTED = 20
_CHARACTERS = 60

Line = tuple[str, str, str, str]


def as_json(before: Side, after: Side, found: Compared) -> dict[str, Any]:
    """Return everything that was found as plain values."""
    plain = dataclasses.asdict(found)
    for row, values in zip(found.rows, plain["rows"], strict=True):
        values["regressed"] = row.regressed
        for measure, change in row.changes.items():
            values["changes"][measure]["shows"] = change.shows
    return {"generated": COMMAND, "a": _described(before), "b": _described(after), **plain}


def show(before: Side, after: Side, found: Compared, console: Console) -> None:
    """Print what was found."""
    for name, side in (("A", before), ("B", after)):
        size = _counted(len(side.pairs), "record")
        console.print(Text(f"{name}: {side.name} ({side.what}), {size}"), soft_wrap=True)
    for conditions, rows in itertools.groupby(found.rows, key=_conditions):
        console.print()
        console.print(Text(conditions, style="bold"))
        console.print(_table(shown := list(rows)))
        for text in itertools.chain.from_iterable(map(_remarks, shown)):
            console.print(Text(text), soft_wrap=True)
    _list(console, "What else differs, A → B", [_setting(found, d) for d in found.differences])
    if found.unchanged:
        pairs = _counted(len(found.unchanged), "pair")
        console.print(f"\nThe same records on both sides: {pairs}")
    for name, only in (("A", found.only_before), ("B", found.only_after)):
        _list(console, f"Only in {name}", [_pair(key) for key in only])
    for name, side in (("A", before), ("B", after)):
        aside = [f"{path.as_posix()}: {reason}" for path, reason in side.set_aside]
        _list(console, f"WARNING: set aside in {name}", aside, "bold yellow")
    _list(console, "How to read this", _notes(found) if found.rows else found.notes)


def _described(side: Side) -> dict[str, Any]:
    aside = [{"path": path.as_posix(), "reason": reason} for path, reason in side.set_aside]
    return {
        "name": side.name,
        "what": side.what,
        "records": len(side.pairs),
        "set_aside": aside,
    }


def _conditions(row: Row) -> str:
    return " · ".join(row.key[name] for name in _CONDITIONS)


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("A → B", justify="right", no_wrap=True)
    table.add_column("B against A [95 %]", justify="right", no_wrap=True)
    table.add_column("finding", overflow="fold")
    for row in rows:
        table.add_row(Text(row.key["label"], style="bold"), _seeds(row))
        for line in _lines(row):
            table.add_row(f" {line[0]}", *line[1:])
        table.add_row()
    return table


def _lines(row: Row) -> Iterator[Line]:
    for measure, change in row.changes.items():
        yield _change(measure, change)
        if change.per_item and measure in row.leading:
            for arm, value in change.per_item.items():
                yield f"  {arm} per item", "", ratio(value), ""
    yield _quality(row.quality)
    for name, (was, now) in row.sizes.items():
        unit = "B" if name.endswith("bytes") else ""
        quotient = ratio(now / was) if was else DASH
        words = name.replace("nonzero_parameters", "nonzero").replace("_", " ")
        yield words, f"{amount(was, unit)} → {amount(now, unit)}", quotient, ""


def _remarks(row: Row) -> Iterator[str]:
    """Yield what is said in words: verdicts that changed, what was not divided and why."""
    label = row.key["label"]
    for name, sides in row.verdicts.items():
        words = " → ".join(", ".join(side) or DASH for side in sides)
        yield f"{label}: {name.replace('_', ' ')} {words}"
    refused: dict[str, list[str]] = {}
    for measure, change in row.changes.items():
        if change.reason:
            refused.setdefault(change.reason, []).append(said(measure))
    for reason, measures in refused.items():
        yield f"{label}: {', '.join(measures)} not divided: {reason}"
    for measure, change in row.changes.items():
        if change.quotient is not None and change.quotient.units < len(row.seeds):
            usable = f"{change.quotient.units} of {len(row.seeds)} seeds"
            yield f"{label}: {said(measure)} of {usable}, which have it on both sides"
    if row.quality.reason:
        yield f"{label}: {row.quality.metric} not compared: {row.quality.reason}"
    yield from (f"{label}: {note}" for note in row.notes)


def _change(measure: str, change: Change) -> Line:
    sides = f"{ratio(change.before.ratio)} → {ratio(change.after.ratio)}"
    if change.quotient is None:
        return said(measure), sides, DASH, "not divided"
    found = change.quotient
    quotient = f"{ratio(found.ratio)} {interval(found.low, found.high, ratio_end)}"
    return said(measure), sides, quotient, _FINDINGS[change.shows]


def _quality(found: QualityChange) -> Line:
    scaled = scale(found.metric)
    name, points = f"{found.metric}, {scaled.step}", scaled.difference
    sides = f"{points(found.before)} → {points(found.after)}"
    if found.change is None:
        return name, sides, DASH, "not compared"
    if found.same_models:
        return name, sides, points(0.0), "same models"
    change = found.change
    shown = f"{points(change.difference)} {interval(change.low, change.high, points)}"
    finding = "higher" if change.low > 0 else "lower" if change.high < 0 else "undecided"
    return name, sides, shown, finding


def _seeds(row: Row) -> str:
    return f"seed {row.seeds[0]}" if len(row.seeds) == 1 else f"{len(row.seeds)} seeds"


def _pair(key: Named) -> str:
    *names, seed = key.values()
    return f"{' · '.join(map(str, names))} · seed {seed}"


def _setting(found: Compared, difference: Difference) -> str:
    was, now = (_short(", ".join(v)) or "absent" for v in (difference.before, difference.after))
    many = difference.rows < len(found.rows)
    where = f" ({difference.rows} of {len(found.rows)} rows)" if many else ""
    return f"{difference.setting}: {was} → {now}{where}"


def _short(text: str) -> str:
    return text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 1]}…"


def _notes(found: Compared) -> list[str]:
    intervals = sum(c.quotient is not None for row in found.rows for c in row.changes.values())
    notes = [
        *found.notes,
        "Ratios are variant over baseline; B against A is the ratio in B over that in A. Where "
        "that is above 1, the variant needs more of what its baseline needs than it did. The "
        "metric is variant minus baseline, in percentage points, or in the unit that it names.",
        "Per item stand joules or seconds in B over those in A; the two were not measured in "
        "turn, so there is no interval.",
        "Brackets hold 95 % intervals, each for itself: of "
        f"{_counted(intervals, 'quotient')} one in twenty lies beside 1 by chance.",
    ]
    quotients = [c.quotient for row in found.rows for c in row.changes.values() if c.quotient]
    if any(quotient.units < LEAST_RANDOM for quotient in quotients):
        notes.append(
            "With one or two seeds an interval speaks of these sessions; how much two sessions of "
            "the same thing differ is not in it. Three seeds tell."
        )
    return notes


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _list(console: Console, title: str, lines: Sequence[str], style: str = "bold") -> None:
    if not lines:
        return
    console.print()
    console.print(Text(title, style=style))
    for line in lines[:_LISTED]:
        console.print(Text(f"  {line}"), soft_wrap=True)
    if len(lines) > _LISTED:
        console.print(f"  … and {len(lines) - _LISTED:,} more: see --json")
