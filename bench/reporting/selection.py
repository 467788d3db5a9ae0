"""Which pairs a table is made of, pooled once for all tables that pool them alike."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bench.collection import SetAside
from bench.reporting.pairs import Pairs, TableError
from bench.reporting.rows import BY, Row, origin, rows


@dataclass(frozen=True)
class Records:
    """What tables, figures and texts are made of.

    Attributes:
        pairs: All flat rows of the store.
        set_aside: Documents that are none.
        results: Folder that they lie in.
    """

    pairs: pd.DataFrame
    set_aside: tuple[SetAside, ...]
    results: Path
    _chosen: dict[str, Pairs] = field(default_factory=dict)
    _rows: dict[str, tuple[Row, ...]] = field(default_factory=dict)

    @cached_property
    def origin(self) -> str:
        """One line that names the command and the records."""
        return origin(self.chosen({}))

    @property
    def enter(self) -> bool:
        """Whether any of them may enter a report."""
        return not self.chosen({}).frame.empty

    def under(self, folders: Iterable[str]) -> Records:
        """Return the records in or below some folders, given relative to the results."""
        tops = tuple(f"{folder}/" for folder in folders)
        ours = (self.pairs["folder"] + "/").str.startswith(tops)
        return Records(self.pairs[ours], self.set_aside, self.results)

    def chosen(self, where: Mapping[str, Any]) -> Pairs:
        """Return the pairs that may enter a report and have what is asked for.

        Args:
            where: By column a value, or a list of which one will do; words may be patterns with
                ``*`` and ``?``.
        """
        key = json.dumps(where, sort_keys=True, default=str)
        if key not in self._chosen:
            keep = pd.Series(True, self.pairs.index)
            for name, wanted in where.items():
                patterns = [str(one) for one in (wanted if isinstance(wanted, list) else [wanted])]
                kept = [v for v in self.pairs[name].unique() if _fits(str(v), patterns)]
                keep &= self.pairs[name].isin(kept)
            self._chosen[key] = Pairs.entering(self.pairs if keep.all() else self.pairs[keep])
        return self._chosen[key]

    def rows(self, by: Sequence[str] = BY, where: Mapping[str, Any] | None = None) -> Sequence[Row]:
        """Return the chosen pairs, pooled.

        Raises:
            TableError: They must not be pooled, or were measured by different versions of the
                measuring code.
        """
        key = json.dumps([list(by), where or {}], sort_keys=True, default=str)
        if key not in self._rows:
            source = self.chosen(where or {})
            _require_one_version(source)
            self._rows[key] = rows(source, by)
        return self._rows[key]


def _fits(value: str, patterns: Sequence[str]) -> bool:
    return any(value == pattern or fnmatch.fnmatchcase(value, pattern) for pattern in patterns)


def _require_one_version(source: Pairs) -> None:
    codes, versions = source.codes("measuring_version")
    if len(versions) > 1:
        newest = len(versions) - 1
        old, new = (source.name((codes == place).argmax()) for place in (0, newest))
        raise TableError(
            f"{old} was measured by version {versions[0]} of the measuring code and {new} by "
            f"version {versions[newest]}: their figures don't share a column. Measure the older "
            "ones again (force=true), keep them in a folder of their own, or choose one in the "
            f"table's YAML: where: {{measuring_version: {versions[newest]}}}"
        )
