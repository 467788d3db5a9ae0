"""What else differs between two measurements: configuration, protocol, versions, machine."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bench.compare.matching import Part

_WORDS = (
    *("workload", "technique", "label", "seed", "host", "protocol", "runtime"),
    "measuring_version",
)
_JSON = {
    "recipe_json": "",  # its keys are training and workload
    "technique_json": "technique",
    "protocol_json": "protocol",
    "runtime_json": "runtime",
    "served_on_json": "served_on",
    "environment_json": "environment",
    "meters_json": "meters",
    "unavailable_json": "unavailable",
    "data_json": "data",
}
"""Columns that hold settings, and what the paths of those settings begin with."""

_TOLD_ELSEWHERE = "environment.served_on"

Values = tuple[str, ...]
Found = tuple[str, Values, Values]


@dataclass(frozen=True, slots=True)
class Difference:
    """One setting that differs.

    Attributes:
        setting: Its path, e.g. ``environment.libraries.torch``.
        before: Its values in A, words as they are, the rest as JSON; none if it is not there.
        after: Its values in B.
        rows: In how many of the matched rows.
    """

    setting: str
    before: Values
    after: Values
    rows: int


def differing(before: Part, after: Part) -> Iterator[Found]:
    """Yield the settings that differ between the pairs of one row, with their values."""
    for column in _WORDS:
        values = before.distinct(column), after.distinct(column)
        if values[0] != values[1]:
            yield column, *values
    for column, prefix in _JSON.items():
        values = before.distinct(column), after.distinct(column)
        if values[0] != values[1]:
            yield from _within(prefix, *values)


def counted(found: Iterable[Found]) -> tuple[Difference, ...]:
    """Return each difference once, with the number of rows that have it, by setting."""
    rows = Counter(found)
    return tuple(Difference(*one, rows[one]) for one in sorted(rows))


@functools.cache
def _within(prefix: str, before: Values, after: Values) -> tuple[Found, ...]:
    """Return what differs between the documents of two sides; rows often share theirs."""
    sides = [[dict(_leaves(prefix, json.loads(text))) for text in side] for side in (before, after)]
    paths = sorted({path for side in sides for leaves in side for path in leaves})
    found = []
    for path in paths:
        first, second = (
            tuple(sorted({leaves[path] for leaves in side if path in leaves})) for side in sides
        )
        if first != second and not path.startswith(_TOLD_ELSEWHERE):
            found.append((path, first, second))
    return tuple(found)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}" if path else key, inner)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for number, inner in enumerate(value):
            yield from _leaves(f"{path}[{number}]", inner)
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
