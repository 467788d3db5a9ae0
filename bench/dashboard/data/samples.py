"""The start of a data file: rows, columns, classes, lengths, and rows that are broken."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.dashboard.data.folder import BrokenError, Folder, shown, words
from bench.dashboard.data.sheets import Column, Sheet

START_BYTES = 8_000_000
"""How much of a text file is read."""

MOST_ROWS = 20_000
"""Rows that are looked at, of whatever kind of file."""

MOST_COLUMNS = 40
MOST_SAMPLES = 8
MOST_BAD = 20
MOST_CLASSES = 20
_BETWEEN = (",", " ", "\t", "\r", "\n")
_LABELS = ("label", "labels", "target", "class", "y")

Row = Mapping[str, Any]


@dataclass
class Look:
    """What the start of a file holds.

    Attributes:
        name: Of the file.
        rows: Rows looked at.
        whole: Whether these are all.
        total: Rows of the whole file; ``None`` where only its start was read.
        names: Of the columns, as the file has them.
        columns: One per column: name, kind, missing, distinct values, mean length.
        classes: Column of the labels and how often each occurs; empty without one.
        samples: The first rows.
        bad: Where rows are broken, and how.
        bad_rows: How many.
    """

    name: str
    rows: int = 0
    whole: bool = True
    total: int | None = None
    names: list[str] = field(default_factory=list)
    columns: list[dict[str, Any]] = field(default_factory=list)
    classes: tuple[str, dict[str, int]] = ("", {})
    samples: list[dict[str, Any]] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    bad_rows: int = 0

    @property
    def column_sheet(self) -> Sheet:
        """The columns as a table."""
        return Sheet("columns", COLUMNS, self.columns)

    @property
    def sample_sheet(self) -> Sheet:
        """The first rows as a table; names of columns are the data's own."""
        places = tuple(
            Column(f"c{n}", "", words=True, literal=column["name"])
            for n, column in enumerate(self.columns)
        )
        rows = [
            {f"c{n}": words(_text(row.get(name)), 160) for n, name in enumerate(self.names)}
            for row in self.samples
        ]
        return Sheet("samples", places, rows)


def look(base: Folder, relative: str) -> Look:
    """Return what the start of a file holds.

    Raises:
        BrokenError: It is none of the kinds, or cannot be read.
    """
    end = "." + relative.rpartition(".")[2].lower()
    reader = _READERS.get(end)
    if reader is None:
        raise BrokenError(f"{shown(relative)}: no data file of a kind that is known here")
    found = Look(shown(relative))
    rows: list[Row] = []
    for row in reader(base, relative, found):
        if len(rows) == MOST_ROWS:
            found.whole = False
            break
        rows.append(row)
    found.rows = len(rows)
    if found.whole and found.total is None:
        found.total = len(rows)
    _summarise(rows, found)
    return found


def _whole_lines(base: Folder, relative: str, found: Look) -> str:
    text, found.whole = base.start(relative, START_BYTES)
    return text if found.whole else text[: text.rfind("\n") + 1]


def _separated(separator: str) -> Callable[[Folder, str, Look], Iterator[Row]]:
    def read(base: Folder, relative: str, found: Look) -> Iterator[Row]:
        lines = csv.reader(
            io.StringIO(_whole_lines(base, relative, found), newline=""), delimiter=separator
        )
        try:
            names = [words(name, 80) or f"column {n}" for n, name in enumerate(next(lines, []))]
            for line in lines:
                if len(line) == len(names):
                    yield dict(zip(names, line, strict=True))
                elif line:
                    _bad(found, lines.line_num, f"{len(line)} fields, not {len(names)}")
        except csv.Error as err:  # where quotes lead astray, nobody knows where the next row begins
            found.whole = False
            _bad(found, lines.line_num, str(err))

    return read


def _json_lines(base: Folder, relative: str, found: Look) -> Iterator[Row]:
    for place, line in enumerate(_whole_lines(base, relative, found).splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as err:
            _bad(found, place, f"not JSON ({err})")
            continue
        if isinstance(value, dict):
            yield value
        else:
            _bad(found, place, "no object")


def _json(base: Folder, relative: str, found: Look) -> Iterator[Row]:
    """Yield the objects of a list, also of one below ``data``, or of columns of equal length."""
    text, found.whole = base.start(relative, START_BYTES)
    if not found.whole:
        yield from _first_objects(text, found)
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise BrokenError(f"{shown(relative)}: not JSON ({words(str(err), 80)})") from err
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    if isinstance(value, dict) and value and all(isinstance(v, list) for v in value.values()):
        value = [dict(zip(value, row, strict=False)) for row in zip(*value.values(), strict=False)]
    if not isinstance(value, list):
        raise BrokenError(f"{shown(relative)}: JSON, but no list of rows")
    found.total = len(value)
    for place, row in enumerate(value, 1):
        if isinstance(row, dict):
            yield row
        else:
            _bad(found, place, "no object")


def _first_objects(text: str, found: Look) -> Iterator[Row]:
    """Yield the objects of a long list of which only the start was read."""
    reader, end = json.JSONDecoder(), text.find("[") + 1
    for place in range(1, 2 * MOST_ROWS):
        while text[end : end + 1] in _BETWEEN:
            end += 1
        try:
            value, end = reader.raw_decode(text, end)
        except (ValueError, RecursionError):
            return  # where the start ends
        if isinstance(value, dict):
            yield value
        else:
            _bad(found, place, "no object")


def _text_lines(base: Folder, relative: str, found: Look) -> Iterator[Row]:
    for line in _whole_lines(base, relative, found).splitlines():
        yield {"text": line}


def _parquet(base: Folder, relative: str, found: Look) -> Iterator[Row]:
    base.size(relative, most_bytes=2**62)
    try:
        with pq.ParquetFile(base.path(relative)) as file:
            found.total = file.metadata.num_rows
            names = [n for n in file.schema_arrow.names if _plain(file.schema_arrow.field(n).type)]
            read_bytes = 0
            for batch in file.iter_batches(batch_size=100, columns=names[:MOST_COLUMNS]):
                yield from batch.to_pylist()
                read_bytes += batch.nbytes
                if read_bytes > START_BYTES:
                    found.whole = False
                    return
    except (OSError, ValueError, pa.ArrowException) as err:
        raise BrokenError(f"{shown(relative)}: no table ({words(str(err), 80)})") from err


def _plain(kind: pa.DataType) -> bool:
    """Whether values can be shown: pictures and the like are left out, and never unpacked."""
    return not (
        pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    )


_READERS: dict[str, Callable[[Folder, str, Look], Iterator[Row]]] = {
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".jsonl": _json_lines,
    ".json": _json,
    ".txt": _text_lines,
    ".parquet": _parquet,
}


def _summarise(rows: list[Row], found: Look) -> None:
    names = list(dict.fromkeys(str(name) for row in rows[:1_000] for name in row))[:MOST_COLUMNS]
    found.names = names
    found.samples = [dict(row) for row in rows[:MOST_SAMPLES]]
    found.columns = [_column(name, [row.get(name) for row in rows]) for name in names]
    distinct = {name: c["distinct"] for name, c in zip(names, found.columns, strict=True)}
    few = [name for name in names if 2 <= distinct[name] <= MOST_CLASSES < len(rows)]
    labels = [name for name in names if name.lower() in _LABELS and name in few]
    chosen = next(iter([*labels, *sorted(few, key=lambda name: distinct[name])]), None)
    if chosen is not None:
        counts = Counter(_text(row.get(chosen)) for row in rows)
        classes = {words(k, 60) or "-": n for k, n in counts.most_common(MOST_CLASSES)}
        found.classes = (words(chosen, 80), classes)


def _column(name: str, values: Iterable[Any]) -> dict[str, Any]:
    every = list(values)
    there = [value for value in every if value is not None and value != ""]
    lengths = [len(value) for value in there if isinstance(value, str)]
    kinds = Counter(type(value).__name__ for value in there)
    return {
        "name": words(name, 80),
        "kind": ", ".join(kind for kind, _ in kinds.most_common(3)),
        "missing": len(every) - len(there),
        "distinct": len({_text(value) for value in there}),
        "mean_length": float(np.mean(lengths)) if lengths else None,
    }


def _bad(found: Look, place: int, why: str) -> None:
    found.bad_rows += 1
    if len(found.bad) < MOST_BAD:
        found.bad.append(f"{found.name}:{place}: {words(why, 120)}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


COLUMNS = (
    Column("name", "column", words=True),
    Column("kind", "type", words=True),
    Column("missing", "missing", lambda value: f"{value:,}"),
    Column("distinct", "distinct", lambda value: f"{value:,}"),
    Column("mean_length", "mean_length", lambda value: f"{value:.1f}"),
)
