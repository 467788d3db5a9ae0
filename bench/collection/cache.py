"""All rows in one Parquet file, so that a report need not read every record again.

The file may be deleted at any time, and is not believed if it does not fit.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import pkgutil
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench import flat
from bench.collection.parsing import COLUMNS
from bench.collection.sources import Known, Source
from bench.records import SCHEMA

log = logging.getLogger(__name__)

NAME = ".pairs.parquet"
"""A hidden file below the root of the results."""

_SOURCE = tuple(f"source_{name}" for name in Source._fields[1:])
"""Columns that tell whether a row's document is still the same, beside ``folder``."""

_STORED = pa.schema([*COLUMNS, *((name, pa.int64()) for name in _SOURCE)])

_TAG = b"joulebench"
SHAPES_ROWS = (
    *("codec.py", "collection/parsing.py", "findings.py", "flat.py", "readings.py", "records.py"),
    "store.py",
    "whole.py",
)
_ABANDONED_S = 3600.0
_UNREADABLE = (OSError, pa.ArrowException)


class CacheError(ValueError):
    """The file broke off while it was read."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What was kept: nothing, unless there is a file.

    Attributes:
        known: The documents, in the order of the rows.
    """

    known: Known = field(default_factory=Known)
    _rows: Future[pa.Table] | None = None

    def rows(self) -> pa.Table:
        """Return the rows, of ``COLUMNS``.

        Raises:
            CacheError: Of the file, which is checked page by page.
        """
        try:
            return self._rows.result() if self._rows else COLUMNS.empty_table()
        except _UNREADABLE as err:
            raise CacheError(str(err)) from err


def load(root: Path) -> Stored:
    """Return what is kept below a root, if it is of this version.

    The rows are read in the background, while the caller asks for what has changed.
    """
    try:
        file = pq.ParquetFile(root / NAME, page_checksum_verification=True)
        columns = file.schema_arrow
        if (columns.metadata or {}).get(_TAG) != _version() or not columns.equals(_STORED):
            raise pa.ArrowInvalid("it is of another version")
        known = _known(file.read(["folder", *_SOURCE]))
    except FileNotFoundError:
        return Stored()
    except _UNREADABLE as err:
        log.info("%s is made anew: %s", NAME, err)
        return Stored()
    reading = ThreadPoolExecutor(1)
    rows = reading.submit(_rows, file)
    reading.shutdown(wait=False)
    return Stored(known, rows)


def _rows(file: pq.ParquetFile) -> pa.Table:
    with file:
        return file.read(COLUMNS.names).replace_schema_metadata(None)


def _known(sources: pa.Table) -> Known:
    folders = sources["folder"].to_pylist()
    places = {folder: place for place, folder in enumerate(folders)}
    return Known(places, *(sources[name].to_numpy().tolist() for name in _SOURCE))


def save(root: Path, table: pa.Table, known: Known, changed: Iterable[Source]) -> None:
    """Write the rows whole or not at all; a folder that may not be written to has no cache.

    Args:
        root: Folder of the results.
        table: Rows of ``COLUMNS``.
        known: Their documents as they were stored.
        changed: Those among them that are new or have changed.
    """
    now = dict(zip(known.places, zip(known.modified_ns, known.size, strict=True), strict=True))
    now |= {source.folder: source[1:] for source in changed}
    each = [now[folder] for folder in table["folder"].to_pylist()]
    for number, name in enumerate(_SOURCE):
        table = table.append_column(name, pa.array([s[number] for s in each], pa.int64()))
    tagged = table.replace_schema_metadata({_TAG: _version()})
    staging = root / f"{NAME}.writing-{os.getpid()}"
    try:
        _tidy(root)
        try:
            pq.write_table(tagged, staging, compression="zstd", write_page_checksum=True)
            staging.replace(root / NAME)
        finally:
            staging.unlink(missing_ok=True)
    except OSError as err:
        log.info("no cache beside the records, the next report reads them all again: %s", err)


@functools.cache
def _version() -> bytes:
    """Return what changes whenever a record may give another row."""
    digest = hashlib.sha256(flat.SCHEMA.to_string().encode())
    for name in SHAPES_ROWS:
        digest.update(pkgutil.get_data("bench", name) or b"")
    return f"{SCHEMA}-{digest.hexdigest()}".encode()


def _tidy(root: Path) -> None:
    """Remove what writers that were killed left behind."""
    for path in root.glob(f"{NAME}.writing-*"):
        if path.stat().st_mtime < time.time() - _ABANDONED_S:
            path.unlink(missing_ok=True)
