"""Files below one folder and nowhere else, read up to a size, and named where they are broken."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench import store
from bench.collection.sources import printable, said
from bench.records import Record, RecordError

MOST_TABLE_BYTES = 64_000_000
"""Largest Parquet file that is read, on disk and unpacked; windows have some 20 kB."""

MOST_VALUES = 10_000_000
"""Most values of such a table: a run of equal ones takes a few bytes however long it is."""

TAIL_BYTES = 64_000
"""How much of the end of a file that grows is read."""

POINTS_BYTES = 1_000_000
"""How much of what a running pair has told is read: a point has some 2 kB, and there are some 20 of
each training and as many blocks."""

_SHOWN = 200


class BrokenError(Exception):
    """Something that cannot be shown; the message says why, on one line."""


@dataclass(frozen=True)
class Folder:
    """What may be read.

    Attributes:
        root: Resolved; nothing outside is ever opened.
    """

    root: Path

    @classmethod
    def of(cls, root: Path) -> Folder:
        """Return the folder behind a path, which need not be there."""
        return cls(root.resolve())

    def path(self, relative: str) -> Path:
        """Return where something below lies, links resolved.

        Raises:
            BrokenError: It leads out, or is no path.
        """
        try:
            found = self.root.joinpath(relative).resolve()
        except (OSError, RuntimeError, ValueError) as err:  # a ring of links, a null character
            raise BrokenError(f"{shown(relative)}: no path") from err
        if not found.is_relative_to(self.root):
            raise BrokenError(f"{shown(relative)}: leads out of the folder of the results")
        return found

    def names(self, relative: str) -> list[str]:
        """Return what a folder below holds, sorted; nothing where there is none to look into."""
        try:
            with os.scandir(self.path(relative)) as entries:
                return sorted(entry.name for entry in entries)
        except (OSError, BrokenError):
            return []

    def size(self, relative: str, most_bytes: int = store.MOST_BYTES) -> int:
        """Return the bytes of a plain file.

        Raises:
            BrokenError: It is none, or larger than is read.
        """
        path = self.path(relative)
        try:
            status = path.stat()
        except OSError as err:
            raise BrokenError(f"{shown(relative)}: {said(err)}") from err
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, a device has no end
            raise BrokenError(f"{shown(relative)}: not a file")
        if status.st_size > most_bytes:
            raise BrokenError(
                f"{shown(relative)}: {status.st_size:,} bytes, of which {most_bytes:,} are read"
            )
        return status.st_size

    def text(self, relative: str, most_bytes: int = store.MOST_BYTES) -> str:
        """Return a file's text; what is not UTF-8 in it is replaced.

        Raises:
            BrokenError: It cannot be read.
        """
        self.size(relative, most_bytes)
        return self._bytes(relative, 0, most_bytes).decode(errors="replace")

    def start(self, relative: str, most_bytes: int) -> tuple[str, bool]:
        """Return the start of a file's text, however long it is, and whether that is all.

        Raises:
            BrokenError: It cannot be read.
        """
        size = self.size(relative, most_bytes=2**62)
        return self._bytes(relative, 0, most_bytes).decode(errors="replace"), size <= most_bytes

    def tail(self, relative: str, most_bytes: int = TAIL_BYTES) -> list[str]:
        """Return the last whole lines of a file that grows, however long it is.

        Raises:
            BrokenError: It cannot be read.
        """
        begin = max(0, self.size(relative, most_bytes=2**62) - most_bytes)
        lines = self._bytes(relative, begin, most_bytes).decode(errors="replace").split("\n")
        return [line for line in lines[bool(begin) :] if line]

    def document(self, relative: str) -> dict[str, Any]:
        """Return a JSON object; what is no finite number in it is ``None``.

        Raises:
            BrokenError: It is none.
        """
        return parsed(self.text(relative), relative)

    def record(self, place: str) -> Record:
        """Return the record in the folder of a pair.

        Raises:
            BrokenError: There is none that this version can read.
        """
        relative = f"{place}/{store.RECORD}"
        try:
            self.size(relative)
            return store.read(self.path(relative))
        except (OSError, RecordError) as err:
            raise BrokenError(f"{shown(relative)}: {words(str(err))}") from err

    def lines(self, relative: str, most_bytes: int = TAIL_BYTES) -> list[dict[str, Any]]:
        """Return the JSON objects on the last lines of a file; other lines are passed over.

        Raises:
            BrokenError: It cannot be read.
        """
        found = []
        for line in self.tail(relative, most_bytes):
            try:
                found.append(parsed(line, relative))
            except BrokenError:
                continue
        return found

    def table(self, relative: str) -> pd.DataFrame:
        """Return a Parquet file's columns of figures and words, its size unpacked looked at first.

        Words stay categories: one that stands in every row is in the memory once.

        Raises:
            BrokenError: It is none, or too large.
        """
        self.size(relative, MOST_TABLE_BYTES)
        try:
            source = self.path(relative)
            schema = pq.read_schema(source)
            worded = [field.name for field in schema if _of_words(field.type)]
            with pq.ParquetFile(source, read_dictionary=worded) as file:
                groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]
                unpacked = sum(group.total_byte_size for group in groups)
                values = file.metadata.num_rows * file.metadata.num_columns
                if unpacked > MOST_TABLE_BYTES or values > MOST_VALUES:
                    raise BrokenError(
                        f"{shown(relative)}: {unpacked:,} bytes, {values:,} values unpacked"
                    )
                figures = [field.name for field in schema if _of_figures(field.type)]
                table: pd.DataFrame = file.read(columns=[*figures, *worded]).to_pandas()
        except (OSError, ValueError, pa.ArrowException) as err:
            raise BrokenError(f"{shown(relative)}: no table ({_line(err)})") from err
        return table

    def _bytes(self, relative: str, begin: int, most_bytes: int) -> bytes:
        try:
            # Without waiting: what was a file a moment ago may be a pipe by now.
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
            descriptor = os.open(self.path(relative), flags)
            with os.fdopen(descriptor, "rb") as file:
                file.seek(begin)
                return file.read(most_bytes)
        except OSError as err:
            raise BrokenError(f"{shown(relative)}: {said(err)}") from err


def parsed(text: str, name: str) -> dict[str, Any]:
    """Return the JSON object in a text; what is no finite number in it is ``None``.

    Raises:
        BrokenError: It is none; the message begins with ``name``.
    """
    try:
        found = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError) as err:
        raise BrokenError(f"{shown(name)}: not JSON ({_line(err)})") from err
    if not isinstance(found, dict):
        raise BrokenError(f"{shown(name)}: JSON, but no object")
    return found


def number(value: object) -> float | None:
    """Return a finite number, ``None`` for everything else, true and false included."""
    if isinstance(value, np.generic):  # a cell of a frame
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer of 400 digits
        return None


def words(value: object, most: int = _SHOWN) -> str:
    """Return a text on one line that can be shown, cut to its start; nothing for what is none."""
    if not isinstance(value, str):
        return ""
    plain = "".join(sign if sign.isprintable() else " " for sign in value[: 2 * most])
    short = " ".join(plain.split())
    return short if len(short) <= most else f"{short[:most]}..."


def shown(relative: str) -> str:
    """Return a path as a message names it."""
    return words(printable(relative)) or "?"


def columns(frame: pd.DataFrame, needed: Sequence[str], name: str) -> pd.DataFrame:
    """Return a table once it has the columns that are needed.

    Raises:
        BrokenError: One is missing.
    """
    if missing := [column for column in needed if column not in frame]:
        raise BrokenError(f"{shown(name)}: lacks {', '.join(missing)}")
    return frame


def _of_words(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _of_figures(kind: pa.DataType) -> bool:
    """Whether a column holds numbers, or none at all: where nothing was trained all are empty."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _line(err: BaseException) -> str:
    return words(str(err), 120) or type(err).__name__
