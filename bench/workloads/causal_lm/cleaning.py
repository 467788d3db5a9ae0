"""Rows taken out or mended, by steps that are switched on by name, and what each has done."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bench.workloads.files import Row

STEPS = ("unicode", "empty", "duplicates")
"""In the order in which they are done: two texts may be equal once they are normalised."""

_HELD_OUT_FIRST = ("test", "validation", "train")


def cleaned(
    tables: Mapping[str, Sequence[Row]], steps: Collection[str], required: Sequence[int]
) -> tuple[dict[str, list[Row]], dict[str, Any]]:
    """Return the rows that are left of each split, and the effect of each step, counted by split.

    Args:
        tables: Rows by split, or under one other name where they are yet to be split.
        steps: ``unicode`` brings texts into normal form C (Unicode Standard Annex 15), so that
            one letter is one letter however it was typed; ``empty`` drops rows in which a required
            text is blank; ``duplicates`` keeps the first of equal rows within a split, and drops
            from the training split what is held out, too, and from validation what is tested on.
        required: Places of the texts that must not be blank.
    """
    rows = {name: list(table) for name, table in tables.items()}
    effects: dict[str, Any] = {}
    if "unicode" in steps:
        effects["unicode"] = {"changed_texts": _normalise(rows)}
    if "empty" in steps:
        effects["empty"] = {"dropped_rows": _drop_empty(rows, required)}
    if "duplicates" in steps:
        effects["duplicates"] = {
            "dropped_within": _drop_within(rows),
            "dropped_across": _drop_across(rows),
        }
    return rows, effects


def _normalise(rows: dict[str, list[Row]]) -> dict[str, int]:
    changed = {}
    for name, table in rows.items():
        normal = [tuple(unicodedata.normalize("NFC", text) for text in row) for row in table]
        changed[name] = sum(
            one != other
            for before, after in zip(table, normal, strict=True)
            for one, other in zip(before, after, strict=True)
        )
        rows[name] = normal
    return changed


def _drop_empty(rows: dict[str, list[Row]], required: Sequence[int]) -> dict[str, int]:
    dropped = {}
    for name, table in rows.items():
        rows[name] = [row for row in table if all(row[place].strip() for place in required)]
        dropped[name] = len(table) - len(rows[name])
    return dropped


def _drop_within(rows: dict[str, list[Row]]) -> dict[str, int]:
    dropped = {}
    for name, table in rows.items():
        rows[name] = list(dict.fromkeys(table))
        dropped[name] = len(table) - len(rows[name])
    return dropped


def _drop_across(rows: dict[str, list[Row]]) -> dict[str, int]:
    dropped = {}
    held: set[Row] = set()
    for name in (name for name in _HELD_OUT_FIRST if name in rows):
        table = rows[name]
        rows[name] = [row for row in table if row not in held]
        dropped[name] = len(table) - len(rows[name])
        held.update(rows[name])
    return dropped
