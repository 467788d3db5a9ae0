"""Which documents lie below a folder and which of them have changed, found without opening one."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bench import store

_TICK_NS = 2_000_000_000
"""Longest step of a file system's clock (FAT's): what changed within it may change once more
without showing it."""


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
        leaf_ns: Time of change of its folder if no other folder lies in there; else 0.
    """

    folder: str
    modified_ns: int
    size: int
    leaf_ns: int


@dataclass(frozen=True, slots=True)
class Known:
    """The documents of the last time: the attributes of ``Source``, one list each."""

    places: dict[str, int] = field(default_factory=dict)
    modified_ns: Sequence[int] = ()
    size: Sequence[int] = ()
    leaf_ns: Sequence[int] = ()

    def sources(self, same: Mapping[int, int]) -> Iterator[Source]:
        """Yield those that have not changed, given their places and their ``leaf_ns`` now."""
        for folder, place in self.places.items():
            if place in same:
                yield Source(folder, self.modified_ns[place], self.size[place], same[place])


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies below a root, in no order.

    Attributes:
        same: Places of the known documents that have not changed, with their ``leaf_ns`` now.
        changed: All others.
        set_aside: What cannot be looked at, and what has a record's name and is no file.
    """

    same: dict[int, int] = field(default_factory=dict)
    changed: list[Source] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)


def listing(root: Path, known: Known) -> Listing:
    """Return the documents below a root.

    Hidden folders are skipped (artefacts, logs, half-written records), links to folders are not
    followed.
    """
    looking = _Looking(known)
    waiting = [("", str(root), 0)]
    while waiting:
        folder, path, changed_ns = waiting.pop()
        try:
            waiting += looking.into(folder, path, changed_ns)
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

    def into(self, folder: str, path: str, changed_ns: int) -> list[tuple[str, str, int]]:
        """Look into one folder and return those in it that are to be looked into."""
        record: os.stat_result | None = None
        leaf, waiting = True, []
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.name == store.RECORD:
                    record = self._document(folder, entry)
                elif entry.is_dir(follow_symlinks=False):
                    leaf = False
                    inner = f"{folder}/{entry.name}" if folder else entry.name
                    if not entry.name.isascii() and (shown := printable(inner)) != inner:
                        self.found.set_aside.append(SetAside(Path(shown), "its name is not UTF-8"))
                        continue
                    inner_ns = entry.stat(follow_symlinks=False).st_mtime_ns
                    if not self._unopened(inner, entry.path, inner_ns):
                        waiting.append((inner, entry.path, inner_ns))
        if record:
            self._add(folder, record, changed_ns if leaf else 0)
        return waiting

    def _unopened(self, folder: str, path: str, changed_ns: int) -> bool:
        """Take a folder that held only a record and has not changed since, without opening it.

        Two questions to the system instead of five: 100,000 folders feel it.
        """
        known, place = self._known, self._known.places.get(folder)
        if place is None or known.leaf_ns[place] != changed_ns:
            return False
        try:
            record = os.stat(f"{path}/{store.RECORD}")  # noqa: PTH116 - a Path takes longer
        except OSError:
            return False
        if record.st_mtime_ns == known.modified_ns[place] and record.st_size == known.size[place]:
            self.found.same[place] = changed_ns
            return True
        if not stat.S_ISREG(record.st_mode):
            return False
        self._add(folder, record, changed_ns)
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

    def _add(self, folder: str, record: os.stat_result, leaf_ns: int) -> None:
        leaf_ns = leaf_ns if leaf_ns < self._settled_ns else 0
        known, place = self._known, self._known.places.get(folder)
        is_now = record.st_mtime_ns, record.st_size
        if place is not None and (known.modified_ns[place], known.size[place]) == is_now:
            self.found.same[place] = leaf_ns
        else:
            modified_ns = record.st_mtime_ns if record.st_mtime_ns < self._settled_ns else 0
            self.found.changed.append(Source(folder, modified_ns, record.st_size, leaf_ns))
