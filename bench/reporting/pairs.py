"""The flat frame of pairs: which of them enter a report, and which may be pooled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.flat import MEASURES

SAME = (
    *("measuring_version", "recipe_json", "protocol_json", "runtime_json", "technique_json"),
    *("metric", "quality_margin", "data_json"),
)
"""What all pairs of one row must share: else their figures answer different questions."""

SAME_ON_ONE_HOST = (
    "served_on_json",
    *(f"{measure}_{origin}" for measure in MEASURES for origin in ("scope", "source")),
)
"""What a family must share on each host: threads, device, components added up, and the meter."""

_WAYS_OUT = {
    "measuring_version": "Measure the older ones again (force=true), or keep them in a folder of "
    "their own",
}


class TableError(ValueError):
    """A table that must not be made; the message names what cannot stand together."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows of ``flat.SCHEMA`` whose columns are wanted many times.

    Attributes:
        frame: The rows.
    """

    frame: pd.DataFrame
    _columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    _codes: dict[str, tuple[NDArray[np.intp], list[Any]]] = field(default_factory=dict)

    @classmethod
    def entering(cls, frame: pd.DataFrame) -> Pairs:
        """Return the pairs that may enter a report: no rehearsals, no joules that were made up."""
        stays = ~(_flag(frame, "rehearsal") | _flag(frame, "synthetic"))
        return cls(frame if stays.all() else frame[stays])

    def column(self, name: str) -> NDArray[Any]:
        """Return a column; a missing figure is NaN, a missing word ``None``.

        Raises:
            TableError: There is no such column.
        """
        if name not in self._columns:
            if name not in self.frame:
                raise TableError(f"there is no column {name!r} of pairs; bench/flat.py lists them")
            values = self.frame[name]
            if values.dtype.kind in "biuf":
                self._columns[name] = values.to_numpy()
            else:
                self._columns[name] = words = values.to_numpy(object, copy=True)
                words[values.isna().to_numpy()] = None
        return self._columns[name]

    def log(self, name: str) -> NDArray[np.float64]:
        """Return the natural logarithm of a column of positive figures, NaN where missing."""
        if (key := f"log {name}") not in self._columns:
            self._columns[key] = np.log(self.column(name).astype(float))
        return self._columns[key]

    def codes(self, name: str) -> tuple[NDArray[np.intp], list[Any]]:
        """Return the values of a column as places in the sorted list of those that occur.

        A missing one is -1.
        """
        if name not in self._codes:
            kept = self.frame[name].dtype if name in self.frame else None
            if isinstance(kept, pd.CategoricalDtype) and kept.categories.is_monotonic_increasing:
                places = np.asarray(self.frame[name].cat.codes, np.intp)
                self._codes[name] = places, list(kept.categories)
            else:
                # As pandas holds it: words made objects first take five times longer.
                found = self.column(name) if kept is None else self.frame[name]
                codes, values = pd.factorize(found, sort=True)
                self._codes[name] = codes.astype(np.intp, copy=False), values.tolist()
        return self._codes[name]

    def distinct(self, name: str, positions: NDArray[np.intp]) -> list[Any]:
        """Return the values of a column that some pairs have, each once, in order."""
        codes, values = self.codes(name)
        return [values[code] for code in np.unique(codes[positions]) if code >= 0]

    def name(self, position: int | np.intp) -> str:
        """Return how messages call a pair."""
        return f"{self.column('id')[position]} on {self.column('host')[position]}"


def left_out(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Return the names of the pairs that never enter a report, by what they are."""
    rehearsal, synthetic = _flag(frame, "rehearsal"), _flag(frame, "synthetic")
    kinds = {
        "Rehearsals": rehearsal,
        "Records with synthetic joules (grade S)": synthetic & ~rehearsal,
    }
    return {
        kind: sorted(frame["id"][which] + " on " + frame["host"][which])
        for kind, which in kinds.items()
        if which.any()
    }


def grouped(source: Pairs, by: Sequence[str]) -> list[NDArray[np.intp]]:
    """Return the positions of the pairs that share the values of ``by``, groups in their order.

    Within a group they are ordered by seed, session and name, however the frame is ordered.
    """
    if not len(source.frame):
        return []
    within = ("seed", "session_number", "host", "id")
    codes = np.stack([source.codes(name)[0] for name in by])
    order = np.lexsort([source.codes(name)[0] for name in within[::-1]] + list(codes[::-1]))
    ordered = codes[:, order]
    starts = np.flatnonzero((ordered[:, 1:] != ordered[:, :-1]).any(axis=0)) + 1
    return list(np.split(order, starts))


def require_poolable(source: Pairs, groups: Sequence[NDArray[np.intp]]) -> None:
    """Make sure that the pairs of each group answer the same question.

    Raises:
        TableError: Two of one group do not; the message names them and the way out.
    """
    scopes = (f"{measure}_scope" for measure in MEASURES)  # hosts that are pooled, too
    for column in (*SAME, *scopes):
        _require_alike(source, _numbered(source, groups), column, "be pooled")


def require_comparable(source: Pairs, families: Sequence[NDArray[np.intp]]) -> None:
    """Make sure that the pairs of each family were measured alike, on each of its hosts.

    Raises:
        TableError: Two of one family were not; the message names them and the way out.
    """
    hosts, names = source.codes("host")
    for column in SAME_ON_ONE_HOST:
        units = _numbered(source, families) * len(names) + hosts
        _require_alike(source, units, column, "stand in one table")


def _numbered(source: Pairs, groups: Sequence[NDArray[np.intp]]) -> NDArray[np.intp]:
    number = np.zeros(len(source.frame), np.intp)
    for place, positions in enumerate(groups):
        number[positions] = place
    return number


def unavailable(documents: Iterable[str | None]) -> list[str]:
    """Return why meters could not be opened, without how to mend that, which is no finding.

    Args:
        documents: Values of the flat column ``unavailable_json``.
    """
    said = set()
    for text in {text for text in documents if text}:
        for name, reason in json.loads(text).items():
            first = " ".join(reason.partition("\n")[0].partition(". ")[0].split()).rstrip(".")
            said.add(first if name in first else f"{name}: {first}")
    return sorted(said)


def told_apart(values: Iterable[str]) -> dict[str, str]:
    """Return what tells several JSON objects apart: of each the values in which they differ."""
    objects = {value: flattened(json.loads(value)) for value in values}
    keys = differing(objects.values())
    return {
        value: ", ".join(f"{key} {written(one.get(key))}".strip() for key in keys)
        for value, one in objects.items()
    }


def differing(objects: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the keys that have more than one value in several flat objects, in order."""
    each = list(objects)
    keys = sorted({key for one in each for key in one})
    return [key for key in keys if len({json.dumps(one.get(key)) for one in each}) > 1]


def flattened(value: Any, path: str = "") -> dict[str, Any]:
    """Return the values of a nested object by their dotted keys; null as a whole has none."""
    if value is None and not path:
        return {}
    if not isinstance(value, Mapping) or not value:
        return {path: value}
    return {
        name: inner
        for key, below in value.items()
        for name, inner in flattened(below, f"{path}.{key}" if path else str(key)).items()
    }


def written(value: Any) -> str:
    """Return a value as a configuration has it."""
    return value if isinstance(value, str) else json.dumps(value)


def _require_alike(source: Pairs, group: NDArray[np.intp], column: str, what: str) -> None:
    codes, values = source.codes(column)
    if column == "data_json":
        codes, values = _of_the_test(codes, values)
    known = np.flatnonzero(codes >= 0)
    _, firsts, which = np.unique(group[known], return_index=True, return_inverse=True)
    odd = np.flatnonzero(codes[known] != codes[known[firsts]][which])
    if not odd.size:
        return
    other = known[odd[0]]
    first = known[firsts][which[odd[0]]]
    unlike = [values[codes[position]] for position in (first, other)]
    if column.endswith("_json"):
        unlike = list(told_apart(unlike).values())
    way_out = _WAYS_OUT.get(
        column, f"Add {column} to by: and sections: in the table's YAML to tell them apart"
    )
    raise TableError(
        f"{source.name(first)} and {source.name(other)} cannot {what}: "
        f"{column.removesuffix('_json')} is {unlike[0]} for one and {unlike[1]} for the other. "
        f"{way_out}, or choose one in the table's YAML with where:"
    )


def _of_the_test(
    codes: NDArray[np.intp], values: Sequence[str]
) -> tuple[NDArray[np.intp], list[str]]:
    # Where data came from may differ, what was asked of the models may not.
    tests = [json.dumps((json.loads(v) or {}).get("test"), sort_keys=True) for v in values]
    distinct = sorted(set(tests))
    places = np.array([*(distinct.index(test) for test in tests), -1], np.intp)
    return places[codes], distinct


def _flag(frame: pd.DataFrame, name: str) -> pd.Series[bool]:
    return frame[name].fillna(False).astype(bool)
