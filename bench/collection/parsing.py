"""Documents read, checked and made rows of one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from bench import flat, store
from bench.collection.sources import SetAside, printable, said
from bench.records import RecordError

JSON = tuple(name for name in flat.SCHEMA.names if name.endswith("_json"))
"""Columns of long texts, most of which are the same from pair to pair."""

COLUMNS = pa.schema(
    pa.field(f.name, pa.dictionary(pa.int32(), pa.string()) if f.name in JSON else f.type)
    for f in flat.SCHEMA
)
"""``flat.SCHEMA``, each text of the columns ``JSON`` held once."""

_AT_ONCE = 1_000
_UNFIT = (pa.ArrowException, OverflowError, UnicodeError)
"""A count beyond 64 bits, half a character: JSON, but nothing that a table holds."""


class Parsed(NamedTuple):
    """Records as rows of ``COLUMNS``, and the documents that are none."""

    table: pa.Table
    set_aside: list[SetAside]


def parse(root: Path, folders: Sequence[str]) -> Parsed:
    """Read the documents in some folders, whose names are relative to the root.

    Whatever is wrong with one is the reason why it is set aside, and stops nothing.
    """
    parts = [folders[at : at + _AT_ONCE] for at in range(0, len(folders), _AT_ONCE)]
    return joined([_part(root, part) for part in parts])


def joined(parts: Sequence[Parsed]) -> Parsed:
    """Return what several calls have read as if it was one."""
    tables = [part.table for part in parts] or [COLUMNS.empty_table()]
    return Parsed(pa.concat_tables(tables), [aside for part in parts for aside in part.set_aside])


def _part(root: Path, folders: Sequence[str]) -> Parsed:
    rows: list[dict[str, Any]] = []
    reasons: dict[str, str] = {}
    for folder in folders:
        try:
            rows.append(_row(root, folder))
        except RecordError as err:
            reasons[folder] = printable(str(err))
        except OSError as err:
            reasons[folder] = said(err)
    try:
        table = pa.Table.from_pylist(rows, flat.SCHEMA)
    except _UNFIT:
        reasons |= {row["folder"]: why for row in rows if (why := _misfit(row))}
        table = pa.Table.from_pylist([r for r in rows if r["folder"] not in reasons], flat.SCHEMA)
    return Parsed(
        table.cast(COLUMNS),
        [SetAside(Path(folder, store.RECORD), why) for folder, why in reasons.items()],
    )


def _row(root: Path, folder: str) -> dict[str, Any]:
    record = store.read(root / folder / store.RECORD)
    try:
        return flat.row(record, folder)
    except (AttributeError, KeyError, TypeError, ValueError) as err:
        # config, environment and the like may hold anything that is JSON.
        text = " ".join(str(err).split())
        raise RecordError(f"one of its free parts is of another shape than ours: {text}") from err


def _misfit(row: dict[str, Any]) -> str | None:
    for column in flat.SCHEMA:
        try:
            pa.scalar(row.get(column.name), column.type)
        except _UNFIT as err:
            return f"{column.name} does not fit a table: {' '.join(str(err).split())}"
    return None
