"""Pairs of two sides that are of the same thing, seed by seed.

Pairs that both sides hold as they are, as two commits of growing results do, tell of no change.
Where a seed was measured again, only the new is held against the old.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.compare.sides import CompareError, Side
from bench.reporting.pairs import Pairs

ROW = ("workload", "host", "protocol", "runtime", "technique", "label")
"""What matching pairs share, beside the seed. Protocol and runtime by name: their values may have
changed, which is what a reader wants to see beside what came of it."""

_PRINT = "fingerprint"

Key = tuple[Any, ...]
Named = dict[str, str | int]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some of the pairs of one side."""

    source: Pairs
    places: NDArray[np.intp]

    def of(self, column: str) -> NDArray[Any]:
        """Return one flat column of them."""
        return self.source.column(column)[self.places]

    def where(self, holds: NDArray[np.bool_]) -> Part:
        """Return those of them for which something holds."""
        return Part(self.source, self.places[holds])

    def distinct(self, column: str) -> tuple[str, ...]:
        """Return the values of a column that are there, as words, in order."""
        return tuple(sorted({str(value) for value in self.of(column) if value is not None}))

    def __len__(self) -> int:
        return len(self.places)


def joined(parts: Sequence[Part]) -> Part:
    """Return parts of one side as one."""
    return Part(parts[0].source, np.concatenate([part.places for part in parts]))


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """The pairs of one row.

    Attributes:
        key: Values of ``ROW``, both where they differ.
        seeds: The seed of each part, that of B where they differ.
        before: The pairs in A, one part per seed.
        after: Those in B.
    """

    key: dict[str, str]
    seeds: tuple[int, ...]
    before: tuple[Part, ...]
    after: tuple[Part, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """What was found on both sides.

    Attributes:
        matches: What was measured again.
        unchanged: What both sides hold as it is, as values of ``ROW`` and a seed.
        only_before: Likewise, what only A has.
        only_after: Likewise, what only B has.
        notes: What a reader must know.
    """

    matches: tuple[Match, ...]
    unchanged: tuple[Named, ...]
    only_before: tuple[Named, ...]
    only_after: tuple[Named, ...]
    notes: tuple[str, ...]


def matched(before: Side, after: Side) -> Matched:
    """Match the pairs of two sides.

    Two records are held against each other whatever they are of. Else pairs match that share
    ``ROW`` and the seed; where each side has one host, the two hosts may differ.

    Raises:
        CompareError: They have nothing in common.
    """
    was, now = _parts(before, after)
    columns, notes = _columns(was, now)
    groups = [{(): was}, {(): now}]
    if not (before.single and after.single):
        groups = [_groups(part, (*columns, "seed")) for part in (was, now)]
    else:
        notes = ()
    common = sorted(groups[0].keys() & groups[1].keys())
    if not common:
        raise CompareError(_nothing_in_common((before, after), (was, now)))
    rows: dict[Key, list[tuple[Part, Part]]] = {}
    unchanged = []
    for key in common:
        if again := _again(groups[0][key], groups[1][key]):
            rows.setdefault(key[:-1], []).append(again)
        else:
            unchanged.append(_named(groups[1][key]))
    only_before, only_after = (
        tuple(_named(group) for key, group in sorted(found.items()) if key not in common)
        for found in groups
    )
    matches = tuple(_match(pairs) for pairs in rows.values())
    return Matched(matches, tuple(unchanged), only_before, only_after, notes)


def _parts(before: Side, after: Side) -> tuple[Part, Part]:
    """Return all pairs of both sides, with a number that says whether two are the same."""
    both = pd.concat([before.pairs, after.pairs], ignore_index=True).drop(columns="folder")
    prints = pd.util.hash_pandas_object(both, index=False).to_numpy()
    split = len(before.pairs)
    frames = (
        side.pairs.assign(**{_PRINT: found})
        for side, found in ((before, prints[:split]), (after, prints[split:]))
    )
    was, now = (Part(Pairs(frame), np.arange(len(frame))) for frame in frames)
    return was, now


def _again(was: Part, now: Part) -> tuple[Part, Part] | None:
    """Return what to hold against each other of one seed; ``None`` if nothing has changed."""
    new, old = (
        ~np.isin(part.of(_PRINT), other.of(_PRINT)) for part, other in ((now, was), (was, now))
    )
    if not new.any() and not old.any():
        return None
    return (was.where(old) if old.any() else was), (now.where(new) if new.any() else now)


def _match(pairs: Sequence[tuple[Part, Part]]) -> Match:
    before, after = (tuple(pair[side] for pair in pairs) for side in (0, 1))
    seeds = tuple(int(part.of("seed")[0]) for part in after)
    return Match(_both_keys(joined(before), joined(after)), seeds, before, after)


def _columns(before: Part, after: Part) -> tuple[Key, tuple[str, ...]]:
    hosts = before.distinct("host"), after.distinct("host")
    if set(hosts[0]) & set(hosts[1]) or len(hosts[0]) > 1 or len(hosts[1]) > 1:
        return ROW, ()
    note = f"Measured on two hosts, {hosts[0][0]} and {hosts[1][0]}: a change may be the host's."
    return tuple(column for column in ROW if column != "host"), (note,)


def _groups(part: Part, columns: Sequence[str]) -> dict[Key, Part]:
    codes = np.stack([part.source.codes(column)[0] for column in columns])
    values = [part.source.codes(column)[1] for column in columns]
    groups, which = np.unique(codes, axis=1, return_inverse=True)
    order = np.argsort(which, kind="stable")
    ends = np.cumsum(np.bincount(which))[:-1]
    return {
        tuple(value[code] for value, code in zip(values, group, strict=True)): Part(
            part.source, places
        )
        for group, places in zip(groups.T, np.split(order, ends), strict=True)
    }


def _both_keys(before: Part, after: Part) -> dict[str, str]:
    values = {c: (before.distinct(c), after.distinct(c)) for c in ROW}
    return {
        column: " → ".join(dict.fromkeys(", ".join(side) for side in found))
        for column, found in values.items()
    }


def _named(part: Part) -> Named:
    return {name: part.distinct(name)[0] for name in ROW} | {"seed": int(part.of("seed")[0])}


def _nothing_in_common(sides: Sequence[Side], parts: Sequence[Part]) -> str:
    lines = ["A and B have no pair in common: nothing can be compared."]
    for column in (*ROW, "seed"):
        values = [", ".join(part.distinct(column)) for part in parts]
        if values[0] != values[1]:
            lines.append(
                f"  {column}: {values[0]} in {sides[0].name}, {values[1]} in {sides[1].name}"
            )
    lines.append("Give two single records (their folders) to hold unlike pairs against each other.")
    return "\n".join(lines)
