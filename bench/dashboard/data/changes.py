"""Whether anything below the results has changed, seen without opening a record.

A record gets to its place by a rename, which changes the folder above it: asking the folders of
techniques for their time of change finds every new pair, however many there are already. Only
folders without a record are looked into each time, since a failure may be written there.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench import store

_DEPTH = 3
"""Folders between the root and a pair: host, workload, technique."""

_TICK_NS = 2_000_000_000
"""Longest step of a file system's clock: what changed within it may change once more unseen."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A folder as it was: its time of change, whether that is settled, and what is in it."""

    modified_ns: int
    settled: bool
    folders: tuple[str, ...]
    unfinished: tuple[str, ...] = ()


@dataclass
class Changes:
    """Remembers folders from look to look.

    Attributes:
        root: The results.
        failures: Files that tell of failures, with time of change and size.
    """

    root: Path
    failures: dict[str, tuple[int, int]] = field(default_factory=dict)
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def look(self) -> bool:
        """Return whether records or failures may have changed since the last look."""
        before, self._seen = self._seen, {}
        changed = False
        waiting = [("", 0)]
        unfinished: list[str] = []
        while waiting:
            folder, depth = waiting.pop()
            now = self._folder(folder, depth, before.get(folder))
            if now is None:
                continue
            self._seen[folder] = now
            known = before.get(folder)
            changed |= known is None or _content(known, depth) != _content(now, depth)
            unfinished += [f"{folder}/{name}" for name in now.unfinished]
            waiting += [(f"{folder}/{name}" if folder else name, depth + 1) for name in now.folders]
        changed |= before.keys() != self._seen.keys()
        failures = dict(self._failures(unfinished))
        changed |= failures != self.failures
        self.failures = failures
        return changed

    def _folder(self, folder: str, depth: int, known: _Seen | None) -> _Seen | None:
        path = self.root / folder
        try:
            modified_ns = path.stat().st_mtime_ns
            if known and known.settled and known.modified_ns == modified_ns:
                if known.unfinished:
                    return self._finished_since(folder, known)
                return known
            settled = modified_ns < time.time_ns() - _TICK_NS
            with os.scandir(path) as entries:
                folders = tuple(
                    sorted(
                        entry.name
                        for entry in entries
                        if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
                    )
                )
        except (OSError, ValueError):
            return None
        if depth < _DEPTH:
            return _Seen(modified_ns, settled, folders)
        return _Seen(modified_ns, settled, (), self._without_record(folder, folders))

    def _finished_since(self, folder: str, known: _Seen) -> _Seen:
        """Return the folder with pairs whose record was copied into them since."""
        unfinished = self._without_record(folder, known.unfinished)
        return _Seen(known.modified_ns, known.settled, (), unfinished)

    def _without_record(self, folder: str, names: tuple[str, ...]) -> tuple[str, ...]:
        base = self.root / folder
        return tuple(name for name in names if not (base / name / store.RECORD).exists())

    def _failures(self, unfinished: list[str]) -> list[tuple[str, tuple[int, int]]]:
        found = []
        for folder in unfinished:
            relative = f"{folder}/{store.FAILURE}"
            try:
                status = os.lstat(self.root / relative)
            except OSError:
                continue
            found.append((relative, (status.st_mtime_ns, status.st_size)))
        return found


def _content(seen: _Seen, depth: int) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """Return what tells that a folder has changed; the root does by our own cache in it as well."""
    return (seen.modified_ns if depth else 0), seen.folders, seen.unfinished
