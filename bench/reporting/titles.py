"""Titles of sections: what their rows have in common, and what tells two of one name apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bench.reporting.pairs import told_apart

Key = tuple[Any, ...]
"""Values of the columns that rows of one section share."""


def titles(keys: Collection[Key], names: Sequence[str]) -> dict[Key, str]:
    """Return what tells sections apart, for a reader.

    Values of JSON are given in brackets behind the name that they belong to, where two of one name
    differ: two protocols, say. Without such a name they stand for themselves.

    Args:
        keys: Of all sections.
        names: Of their columns.
    """
    shown: dict[Key, dict[str, str]] = {key: {} for key in keys}
    for place, name in enumerate(names):
        called = _called(name)
        for key, said in (_apart(keys, place, names) if name != called else {}).items():
            if said:
                before = shown[key].get(called)
                shown[key][called] = f"{before} ({said})" if before else said
        if name == called:
            for key in keys:
                shown[key][name] = str(key[place])
    return {key: _title(parts) for key, parts in shown.items()}


def _title(shown: Mapping[str, str]) -> str:
    """Return ``WORKLOAD on HOST, protocol P, runtime R`` of those that are given."""
    start = " on ".join(shown[name] for name in ("workload", "host") if name in shown)
    rest = [f"{name} {value}" for name, value in shown.items() if name not in ("workload", "host")]
    return ", ".join([start, *rest] if start else rest)


def _called(name: str) -> str:
    """Return the column whose values a column of JSON explains."""
    return "workload" if name == "recipe_json" else name.removesuffix("_json")


def _apart(keys: Collection[Key], place: int, names: Sequence[str]) -> dict[Key, str]:
    called = _called(names[place])
    namesakes: dict[Any, list[Key]] = defaultdict(list)
    for key in keys:
        namesakes[key[names.index(called)] if called in names else None].append(key)
    said: dict[Key, str] = {}
    for alike in namesakes.values():
        texts = {key[place] for key in alike}
        differing = told_apart(texts) if len(texts) > 1 else {}
        said |= {key: differing.get(key[place], "") for key in alike}
    return said
