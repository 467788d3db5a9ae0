"""Which documents lie below a folder and which of them have changed, found without opening one."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bench import store

_TICK_NS = 2_000_000_000
"""Longest step of a file system's clock (FAT's): what changed within it may change once more
without showing it."""


_DEPTH = 4
"""Folders between the root and a record: host, workload, technique, seed and digest."""


class SetAside(NamedTuple):
    """What is no record this version can read; ``path`` is relative to the root."""

    path: Path
    reason: str


class Source(NamedTuple):
    """A document, and what tells whether it is still the same.

    Attributes:
        folder: Where it lies, relative to the root, with forward slashes; empty in the root itself.
        modified_ns: Its time of change; 0 if too young to be relied on.
        size: In bytes.
    """

    folder: str
    modified_ns: int
    size: int


@dataclass(frozen=True, slots=True)
class Known:
    """The documents of the last time: the attributes of ``Source``, one list each."""

    places: dict[str, int] = field(default_factory=dict)
    modified_ns: Sequence[int] = ()
    size: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies below a root, in no order.

    Attributes:
        same: Places of the known documents that have not changed.
        changed: All others.
        set_aside: What cannot be looked at, and what has a record's name and is no file.
    """

    same: list[int] = field(default_factory=list)
    changed: list[Source] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)


def listing(root: Path, known: Known) -> Listing:
    """Return the documents below a root.

    Hidden folders are skipped (artefacts, logs, half-written records), links to folders are not
    followed, and in the folder of a pair, as deep as the store puts it, no other pair is looked
    for.
    """
    looking = _Looking(known)
    waiting = [("", str(root), 0)]
    while waiting:
        folder, path, depth = waiting.pop()
        try:
            waiting += looking.into(folder, path, depth)
        except OSError as err:
            looking.found.set_aside.append(SetAside(Path(folder), said(err)))
    return looking.found


def said(err: OSError) -> str:
    """Return what the system says, without the folder's name, which differs between machines."""
    return err.strerror or type(err).__name__


def printable(text: str) -> str:
    """Return text in which what no file could be written with is escaped."""
    return text.encode(errors="backslashreplace").decode()


class _Looking:
    def __init__(self, known: Known) -> None:
        self.found = Listing()
        self._known = known
        self._settled_ns = time.time_ns() - _TICK_NS

    def into(self, folder: str, path: str, depth: int) -> list[tuple[str, str, int]]:
        """Look into one folder and return those in it that are to be looked into."""
        record: os.stat_result | None = None
        waiting = []
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.name == store.RECORD:
                    record = self._document(folder, entry)
                elif entry.is_dir(follow_symlinks=False):
                    inner = f"{folder}/{entry.name}" if folder else entry.name
                    if not entry.name.isascii() and (shown := printable(inner)) != inner:
                        self.found.set_aside.append(SetAside(Path(shown), "its name is not UTF-8"))
                    elif depth + 1 < _DEPTH or not self._unopened(inner, entry.path):
                        waiting.append((inner, entry.path, depth + 1))
        if record:
            self._add(folder, record)
        return waiting if record is None or depth < _DEPTH else []

    def _unopened(self, folder: str, path: str) -> bool:
        """Take a known pair without opening its folder: one question to the system, not four."""
        if folder not in self._known.places:
            return False
        try:
            record = os.stat(f"{path}/{store.RECORD}")  # noqa: PTH116 - a Path takes longer
        except OSError:
            return False
        if not stat.S_ISREG(record.st_mode):
            return False
        self._add(folder, record)
        return True

    def _document(self, folder: str, entry: os.DirEntry[str]) -> os.stat_result | None:
        try:
            status = entry.stat()
            reason = "" if stat.S_ISREG(status.st_mode) else "not a file"
        except OSError as err:
            reason = said(err)
        if not reason:
            return status
        self.found.set_aside.append(SetAside(Path(folder, store.RECORD), reason))
        return None

    def _add(self, folder: str, record: os.stat_result) -> None:
        known, place = self._known, self._known.places.get(folder)
        modified_ns, size = record.st_mtime_ns, record.st_size
        if (
            place is not None
            and modified_ns == known.modified_ns[place]
            and size == known.size[place]
        ):
            self.found.same.append(place)
        else:
            relied_on = modified_ns if modified_ns < self._settled_ns else 0
            self.found.changed.append(Source(folder, relied_on, size))
