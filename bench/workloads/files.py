"""A user's own files as rows of texts, and the row that cannot be used by its file and line.

CSV, TSV, JSON, JSON lines, plain text and Parquet are parsed; nothing in them is run. Formats that
may hold code, such as pickles, are not read at all.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.workloads import WorkloadError

Row = tuple[str, ...]
"""Texts of one row, in the order of the columns that were asked for."""

KINDS = ("parquet", "csv", "tsv", "json", "jsonl", "txt")
"""Endings of files that can be read, the first that is found first."""

_SPACE = re.compile(r"\s*")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

csv.field_size_limit(2**31 - 1)  # the library's own limit of 131,072 is shorter than some texts


def read(file: Path, columns: Sequence[str], optional: Collection[str] = ()) -> list[Row]:
    """Return the rows of a file, in their order.

    Args:
        file: Its ending says what it is. Each line of a ``.txt`` is a row of one column; ``.json``
            and ``.jsonl`` hold objects, in a list or one after the other.
        columns: To read; others are passed over.
        optional: Those of them that may be missing, or empty in the sense of JSON's ``null``.

    Raises:
        WorkloadError: It is of another kind, or a row of it cannot be used: naming file and line.
    """
    return [row for _, row in numbered(file, columns, optional)]


def numbered(
    file: Path, columns: Sequence[str], optional: Collection[str] = ()
) -> list[tuple[int, Row]]:
    """Return the rows of a file, each with the line it begins in; those of Parquet are counted.

    Args:
        file: As with ``read``, like what follows.
        columns: To read.
        optional: Those of them that may be missing.

    Raises:
        WorkloadError: As with ``read``.
    """
    kind = file.suffix.removeprefix(".").lower()
    if kind not in KINDS:
        raise WorkloadError(
            f"{file}: cannot be read; {', '.join(f'.{known}' for known in KINDS)} can. Files that "
            f"may hold code, such as pickles, are not opened"
        )
    if kind == "parquet":
        rows = from_table(_parquet(file, columns, optional), columns, optional, str(file))
        return list(enumerate(rows, start=1))
    if kind == "txt":
        return list(enumerate(_lines_of_text(file, columns), start=1))
    is_json = kind.startswith("json")
    records = _objects(file) if is_json else _separated(file, kind, columns, optional)
    return [
        (line, tuple(_text(record, column, column in optional, file, line) for column in columns))
        for line, record in records
    ]


def from_table(
    table: pa.Table, columns: Sequence[str], optional: Collection[str], where: str
) -> list[Row]:
    """Return the rows of an Arrow table; rows have no lines there and are counted from 1.

    Raises:
        WorkloadError: As with ``read``.
    """
    _require_columns(columns, optional, table.column_names, where)
    found = [_texts(table, column, column in optional, where) for column in columns]
    return list(zip(*found, strict=True))


def _texts(table: pa.Table, column: str, optional: bool, where: str) -> list[str]:
    if column not in table.column_names or (
        optional and pa.types.is_null(table.schema.field(column).type)
    ):
        return [""] * len(table)
    values = table.column(column)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if not (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    ):
        raise WorkloadError(f"{where}: column {column!r} holds {kind}, texts are due")
    try:
        found: list[str | None] = values.to_pylist()
    except UnicodeDecodeError as err:  # which Parquet does not keep out
        row = next(i for i, text in enumerate(values.cast(pa.binary())) if not _is_utf8(text))
        raise WorkloadError(f"{where}, row {row + 1}: {column!r} is not UTF-8") from err
    if None in found and not optional:
        raise _missing(f"{where}, row {found.index(None) + 1}", column)
    return [text or "" for text in found]


def _is_utf8(text: Any) -> bool:
    try:
        (text.as_py() or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _parquet(file: Path, columns: Sequence[str], optional: Collection[str]) -> pa.Table:
    """Return the columns that are wanted and there; others may be far larger than the texts."""
    try:
        with pq.ParquetFile(file) as parquet:
            there = parquet.schema_arrow.names
            _require_columns(columns, optional, there, str(file))
            return parquet.read(columns=[column for column in columns if column in there])
    except (pa.ArrowException, OSError) as err:
        raise WorkloadError(f"{file}: cannot be read as Parquet: {err}") from err


def _lines(file: Path) -> Iterator[str]:
    """Give the lines of a file with their ends, whatever those are.

    Raises:
        WorkloadError: A line is no UTF-8.
    """
    try:
        with file.open("rb") as raw:
            for number, line in enumerate(raw, start=1):
                yield _decoded(line, file, number)
    except OSError as err:
        raise WorkloadError(f"{file}: cannot be read: {err}") from err


def _decoded(line: bytes, file: Path, number: int) -> str:
    if number == 1:
        line = line.removeprefix(_BYTE_ORDER_MARK)
    try:
        return line.decode()
    except UnicodeDecodeError as err:
        raise WorkloadError(
            f"{file}, line {number} is not UTF-8 (byte {err.start + 1}: 0x{line[err.start]:02x}); "
            f"convert the file, say with iconv"
        ) from err


def _lines_of_text(file: Path, columns: Sequence[str]) -> list[Row]:
    if len(columns) != 1:
        raise WorkloadError(
            f"{file}: plain text has no columns, and {', '.join(columns)} are asked for; "
            f"workload.layout=text reads it as one text"
        )
    return [(line.rstrip("\r\n"),) for line in _lines(file)]


def _separated(
    file: Path, kind: str, columns: Sequence[str], optional: Collection[str]
) -> Iterator[tuple[int, Any]]:
    """Give each row of a CSV or TSV, by column, with the line it begins in."""
    reader = csv.reader(_lines(file), delimiter="\t" if kind == "tsv" else ",", strict=True)
    begin = 1
    try:
        header = next(reader, [])
        _require_columns(columns, optional, header, f"{file}, line 1")
        while True:
            begin = reader.line_num + 1
            fields = next(reader, None)
            if fields is None:
                return
            if fields and len(fields) != len(header):
                raise WorkloadError(
                    f"{file}, line {begin}: {len(fields)} fields where the header has "
                    f"{len(header)}; a text that holds the separator wants quotes around it"
                )
            if fields:
                yield begin, dict(zip(header, fields, strict=True))
    except csv.Error as err:
        raise WorkloadError(f"{file}, line {begin}: no row of a table: {err}") from err


def _objects(file: Path) -> Iterator[tuple[int, Any]]:
    """Give each object of a list, or of a sequence without one, with the line it begins in."""
    text, decoder = "".join(_lines(file)), json.JSONDecoder()
    position = _after_space(text, 0)
    listed = text.startswith("[", position)
    line, seen, position = 1, 0, position + listed
    while True:
        position = _after_space(text, position)
        line, seen = line + text.count("\n", seen, position), position
        if listed and text.startswith("]", position):
            position = _after_space(text, position + 1)
            break
        if position == len(text) and not listed:
            break
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as err:
            raise WorkloadError(
                f"{file}, line {line}: no JSON: {err.msg} (line {err.lineno}, column {err.colno})"
            ) from err
        except RecursionError as err:
            raise WorkloadError(f"{file}, line {line}: nested too deeply") from err
        if not isinstance(value, dict):
            raise WorkloadError(
                f"{file}, line {line}: an object with names is due, not {_shown(value)}"
            )
        yield line, value
        position = _after_space(text, position)
        if listed and text.startswith(",", position):
            position += 1
        elif listed and not text.startswith("]", position):
            last = line + text.count("\n", seen, position)
            raise WorkloadError(f"{file}, line {last}: ',' or ']' is due after an object")
    if position < len(text):
        last = line + text.count("\n", seen, position)
        raise WorkloadError(f"{file}, line {last}: there is more after the list has ended")


def _after_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    assert found is not None  # it matches nothing, too
    return found.end()


def _text(record: Mapping[str, Any], column: str, optional: bool, file: Path, line: int) -> str:
    where = f"{file}, line {line}"
    if column not in record and not optional:
        raise _no_column(where, column, list(record))
    value = record.get(column)
    if value is None:
        if optional:
            return ""
        raise _missing(where, column)
    if not isinstance(value, str):
        raise WorkloadError(f"{where}: {column!r} holds {_shown(value)}, a text is due")
    try:
        value.encode()
    except UnicodeEncodeError as err:  # half of a pair, which JSON can spell
        raise WorkloadError(f"{where}: {column!r} is no Unicode text: {err.reason}") from err
    return value


def _shown(value: Any) -> str:
    return f"{value!r:.60}"


def _require_columns(
    columns: Sequence[str], optional: Collection[str], there: Sequence[str], where: str
) -> None:
    for column in columns:
        if there.count(column) > 1:
            raise WorkloadError(f"{where}: {column!r} is the name of several columns")
        if column not in there and column not in optional:
            raise _no_column(where, column, there)


def _no_column(where: str, column: str, there: Sequence[str]) -> WorkloadError:
    return WorkloadError(
        f"{where}: no column {column!r} (there are {', '.join(map(str, there)) or 'none'}); "
        f"workload.columns says what they are called"
    )


def _missing(where: str, column: str) -> WorkloadError:
    return WorkloadError(f"{where}: {column!r} is missing; an empty text would do")
