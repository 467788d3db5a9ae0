"""Where records lie, and how one gets there whole or not at all.

One pair has one folder, ``results/<host>/<workload>/<technique>/<seed>-<digest>``. It is written
under a hidden name beside its place and renamed, so that a folder with a ``record.json`` is always
complete, whatever was killed when. Process ids in the hidden names belong to this machine: its
name is part of the path.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.records import SCHEMA, Record, RecordError, from_json, to_json
from bench.whole import alive, flush

if TYPE_CHECKING:
    import pandas

log = logging.getLogger(__name__)

RECORD = "record.json"
FAILURE = "failure.json"
DIGEST_CHARACTERS = 12
MOST_BYTES = 16_000_000
"""A record has some 20 kB: what is larger than this is none, and is not read."""

_HIDDEN = re.compile(r"^\.(?P<name>.+)\.(?P<act>writing|replaced)-(?P<pid>\d+)$")
_REASON_CHARACTERS = 200


class StoreError(RuntimeError):
    """The store cannot be read or written; the message says what is meant and the way out."""


def place(root: Path, host: str, workload: str, technique: str, seed: int, digest: str) -> Path:
    """Return the folder of one pair.

    Raises:
        StoreError: A name is not usable as one folder's name.
    """
    for what, name in (("host", host), ("workload", workload), ("technique", technique)):
        if not name or name.startswith(".") or re.search(r"[/\\\x00]", name):
            raise StoreError(
                f"{what} is {name!r}: it names a folder of results, so it must not be empty, "
                "start with a dot or hold a slash; give it another name"
            )
    return root / host / workload / technique / f"{seed}-{digest[:DIGEST_CHARACTERS]}"


def claim(place: Path) -> Path:
    """Return the lock file of whoever sees a pair through, so that nothing is measured twice."""
    return place.parents[3] / ".claims" / f"{_flat(place)}.lock"


def broken_off(place: Path) -> Path:
    """Return the folder in which sessions of a pair that were broken off leave what they spent."""
    return place.parents[3] / ".broken-off" / _flat(place)


def _flat(place: Path) -> str:
    return "--".join(place.parts[-4:])


def find(place: Path) -> Record | None:
    """Return the record of a pair, or ``None`` if it is still to be measured.

    A ``record.json`` that is none is renamed to ``record.json.broken-<n>`` with a warning, so that
    the pair is measured again and the evidence is kept. One that the system does not let us read
    raises ``StoreError``.
    """
    _tidy(place.parent)
    path = place / RECORD
    try:
        return read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as err:
        raise StoreError(f"{path} cannot be read ({err.strerror}); make it readable") from err
    except RecordError as err:
        count = 1
        while (aside := path.with_name(f"{RECORD}.broken-{count}")).exists():
            count += 1
        path.rename(aside)
        log.warning("%s is not a record (%s): set aside as %s", path, err, aside.name)
    return None


def write(
    place: Path, record: Record, tables: Mapping[str, pandas.DataFrame], *, replace: bool = False
) -> Path:
    """Write a record and its tables, all of it or nothing, and return its folder.

    Each of ``tables`` (windows, predictions, trace) becomes ``<name>.parquet``, whose digest the
    record then holds. A folder that holds
    no record, a failure say, is replaced; one that holds a record only with ``replace``.

    Raises:
        StoreError: A record stands there, a figure is not finite, or the system refuses to write.
    """
    try:
        to_json(record)
    except ValueError as err:
        raise StoreError(
            f"the record for {place} holds NaN or infinity, which no figure may be: "
            "a reading that failed is None with a reason"
        ) from err
    staging = _hidden(place, "writing")
    _refuse_record(place, place, replace)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _tidy(place.parent)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        for name, table in tables.items():
            table.to_parquet(
                staging / f"{name}.parquet", engine="pyarrow", compression="zstd", index=False
            )
        files = {path.name: _sha256(path) for path in sorted(staging.iterdir())}
        document = to_json(dataclasses.replace(record, files=files))
        (staging / RECORD).write_text(document, encoding="utf-8", newline="\n")
        for path in (*staging.iterdir(), staging):
            flush(path)
        _publish(staging, place, replace)
    except OSError as err:
        raise StoreError(
            f"{place} cannot be written ({err.strerror or err}); the record was not stored. "
            "Make room or give another folder with store.root=DIR"
        ) from err
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return place


def write_failure(
    place: Path, error: BaseException | str, traceback_text: str, context: Mapping[str, Any]
) -> Path | None:
    """Write what went wrong to ``failure.json`` and return its path.

    A finished record is never touched: where one stands, nothing is written and ``None`` comes
    back. ``context`` is the resolved configuration of the pair.
    """
    if (place / RECORD).exists():
        log.warning("%s keeps its finished record; the failure is not stored: %s", place, error)
        return None
    document = {
        "schema": SCHEMA,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "type": None if isinstance(error, str) else type(error).__name__,
        "error": str(error).strip().partition("\n")[0],
        "traceback": traceback_text,
        "config": context,
    }
    # A failure must not fail to be told: what JSON does not know is written as its text.
    text = json.dumps(document, indent=1, sort_keys=True, default=str, ensure_ascii=False)
    place.mkdir(parents=True, exist_ok=True)
    return write_text(place / FAILURE, text + "\n")


def check_writable(root: Path, free_bytes: int, key: str = "store.root") -> None:
    """Make sure that ``root``, made if need be, can take ``free_bytes``, before hours are spent.

    If it cannot, a ``StoreError`` names the knob (``key``), its value and the way out.
    """
    meant = f"{key} is {str(root)!r}, the folder that is written to"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root) as probe:
            probe.write(b"probe")
        free = shutil.disk_usage(root).free
    except OSError as err:
        raise StoreError(
            f"{meant}, but the system refuses ({err.strerror}); make it a folder that this user "
            f"may write to, or give another: {key}=DIR"
        ) from err
    if free < free_bytes:
        raise StoreError(
            f"{meant}, but its disk has {free / 1e6:.0f} MB free and {free_bytes / 1e6:.0f} MB "
            f"are needed; make room or give a folder on another disk: {key}=DIR"
        )


def write_text(path: Path, text: str) -> Path:
    """Write a text file beside its place, rename it, and return its path."""
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file beside its place, rename it, and return its path."""
    staging = _hidden(path, "writing")
    try:
        staging.write_bytes(content)
        flush(staging)
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)
    return path


def read(path: Path) -> Record:
    """Return the record in a file; every way of not being one is a ``RecordError`` on one line."""
    if (size := path.stat().st_size) > MOST_BYTES:
        raise RecordError(f"{size:,} bytes: no record is so large")
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as err:
        raise RecordError(" ".join(str(err).split())[:_REASON_CHARACTERS]) from err


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hidden(path: Path, act: str) -> Path:
    return path.with_name(f".{path.name}.{act}-{os.getpid()}")


def _refuse_record(folder: Path, place: Path, replace: bool) -> None:
    if not replace and (folder / RECORD).exists():
        raise StoreError(f"{place} already holds a record; remove it or ask for it to be replaced")


def _publish(staging: Path, place: Path, replace: bool) -> None:
    """Rename ``staging`` to ``place``; what stood there is removed once that has happened."""
    retired = _hidden(place, "replaced")
    shutil.rmtree(retired, ignore_errors=True)
    if place.exists():
        place.rename(retired)
    try:
        if retired.exists():
            # Another process may have finished the same pair while this one was writing.
            _refuse_record(retired, place, replace)
            _carry_over(retired, staging)
        staging.rename(place)
        flush(place.parent)
    except (OSError, StoreError):
        if retired.exists() and not place.exists():
            retired.rename(place)
        raise
    shutil.rmtree(retired, ignore_errors=True)


def _carry_over(retired: Path, staging: Path) -> None:
    """Keep what is not ours to remove: records set aside, somebody's notes."""
    for path in retired.iterdir():
        if path.is_file() and path.name not in (RECORD, FAILURE) and path.suffix != ".parquet":
            shutil.copy2(path, staging)


def _tidy(parent: Path) -> None:
    """Finish what processes that were killed had begun in ``parent``."""
    for path in parent.glob(".*"):
        match = _HIDDEN.match(path.name)
        if not match or alive(int(match["pid"])):
            continue
        home = path.with_name(match["name"])
        if match["act"] == "replaced" and not home.exists():
            with contextlib.suppress(OSError):  # another process tidies here, too
                path.rename(home)
        else:
            shutil.rmtree(path, ignore_errors=True)
