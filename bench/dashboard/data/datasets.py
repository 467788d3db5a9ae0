"""Data sets: what records say of theirs, and any file in folders that the viewer was given.

A path that stands in a record is never opened: whoever wrote the record chose it. What may be
looked into are the folders on the command line (``--data DIR``) and, in the hub's cache, the data
sets that the configs name. Of a file its start is read, so that a figure over all of it is given
only where it is known.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.collection.sources import printable
from bench.dashboard.data.folder import BrokenError, Folder, number, words
from bench.dashboard.data.sheets import Column, Sheet
from bench.reporting.cells import amount

ENDS = (".csv", ".tsv", ".json", ".jsonl", ".txt", ".parquet")
MOST_FILES = 500
_MOST_FOLDERS = 5_000


@dataclass(frozen=True, slots=True)
class Found:
    """A file that may be looked into.

    Attributes:
        base: Name of its folder, as ``take.Shelf.folders`` has it.
        relative: Its path in there.
        bytes: Its size.
        where: Name of the folder, for people.
    """

    base: str
    relative: str
    bytes: int
    where: str

    @property
    def name(self) -> str:
        """How links call it."""
        return f"{self.base}/{self.relative}"


def described(pairs: pd.DataFrame) -> Sheet:
    """Return what records say of their data, one row per data set and split."""
    distinct = pairs.drop_duplicates(["workload", "data_json"])
    rows = [
        row
        for workload, text in zip(distinct["workload"], distinct["data_json"], strict=True)
        for row in _splits(words(workload), str(text))
    ]
    return Sheet("data_sets", COLUMNS, rows)


def files(bases: Mapping[str, Folder]) -> list[Found]:
    """Return the data files below some folders, by name, as many as somebody may still read."""
    found: list[Found] = []
    for name, base in bases.items():
        for relative, size in _below(base):
            found.append(Found(name, relative, size, base.root.name))
            if len(found) == MOST_FILES:
                return found
    return found


def listed(found: list[Found]) -> Sheet:
    """Return the files as a table."""
    rows = [
        {"file": one.relative, "where": one.where, "bytes": one.bytes, "folder": one.name}
        for one in found
    ]
    return Sheet("files", _FILES, rows)


def _below(base: Folder) -> Iterator[tuple[str, int]]:
    """Yield data files with their sizes; links to folders are not followed."""
    for looked, (folder, names, entries) in enumerate(os.walk(base.root)):
        names[:] = sorted(name for name in names if not name.startswith("."))
        if looked == _MOST_FOLDERS:  # image folders
            return
        for name in sorted(entries):
            if name.lower().endswith(ENDS) and not name.startswith("."):
                relative = os.path.relpath(os.path.join(folder, name), base.root)  # noqa: PTH118
                with contextlib.suppress(BrokenError):  # a link that leads out, a pipe
                    yield printable(relative), base.size(relative, most_bytes=2**62)


def _splits(workload: str, text: str) -> Iterator[Mapping[str, Any]]:
    """Yield a row per split of one description; of one without splits a single row."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    data = data if isinstance(data, dict) else {}
    source = words(data.get("source"))
    effects = (
        words(json.dumps(data.get("cleaning"), ensure_ascii=False)) if "cleaning" in data else ""
    )
    common = {"workload": workload, "source": source, "cleaning": effects}
    splits = {
        name: part
        for name, part in data.items()
        if isinstance(part, dict) and number(part.get("examples")) is not None
    }
    for name, part in splits.items():
        yield {
            **common,
            "split": words(name),
            "examples": number(part.get("examples")),
            "rows": number(part.get("rows")),
            "mean_tokens": number(part.get("mean_tokens")),
            "cut_off": number(part.get("cut_off", part.get("at_max_length"))),
            "left_out": number(part.get("left_out")),
            "labels_sha256": words(part.get("labels_sha256"))[:12],
        }
    if not splits:
        yield common


def _count(value: float) -> str:
    return f"{value:,.0f}"


COLUMNS = (
    Column("workload", "workload", words=True),
    Column("source", "source", words=True),
    Column("split", "split", words=True),
    Column("examples", "examples", _count),
    Column("rows", "rows", _count),
    Column("mean_tokens", "mean_tokens", lambda value: f"{value:.1f}"),
    Column("cut_off", "cut_off", _count),
    Column("left_out", "bad_rows", _count),
    Column("cleaning", "cleaning", words=True),
    Column("labels_sha256", "digest", words=True),
)
_FILES = (
    Column("file", "file", words=True, link="data"),
    Column("where", "folder", words=True),
    Column("bytes", "size", lambda value: amount(value, "B")),
    Column("folder", "folder", words=True, page=False),
)
