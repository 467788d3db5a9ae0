"""Where a search is kept so that several workers share it and a kill loses nothing.

    <store.root>/.searches/<study>/journal.log   Optuna's journal: one line per event, only appended
                                   search.json   what was tried, found and spent, after each trial
                                   search.lease  held while it is decided who tries what
                                   workers/      a locked file for each worker that is alive
                                   records/      the pairs, as below results/

Nothing here needs more of a disk than that files can be made exclusively and, where workers of
several hosts are to tell who of them died, locked between hosts: no database.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from filelock import FileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from bench.machine import host_name

JOURNAL = "journal.log"


def journal(folder: Path) -> JournalStorage:
    """Return the storage in a folder, made if it is not there."""
    path = (folder / JOURNAL).resolve()
    return JournalStorage(JournalFileBackend(str(path), _MendingLock(path)))


class _MendingLock(JournalFileOpenLock):
    """The journal's lock, whoever takes which finds a journal that ends in a whole line.

    A writer that dies, or whose disk is full, in the middle of a line would otherwise spoil the
    journal for good: the next line would be written behind the torn one.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def acquire(self) -> bool:
        """Wait for the lock, and mend what its last holder may have left."""
        held = super().acquire()
        try:
            mend(self._path)
        except BaseException:
            self.release()
            raise
        return held


def mend(path: Path) -> None:
    """Cut off what stands behind the last whole line of a journal."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            return
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        os.fsync(file.fileno())


class Presence:
    """That of a process at work on a search: alive as long as it holds the lock of its file.

    The kernel lets go of the lock when the process ends, however it ends, so that nobody needs to
    send signs of life while windows are measured.
    """

    def __init__(self, folder: Path) -> None:
        """Take a new file in the folder of the workers."""
        folder.mkdir(parents=True, exist_ok=True)
        self.name = f"{host_name()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._file = folder / f"{self.name}.lock"
        self._lock = FileLock(self._file, mode=0o666)
        self._lock.acquire(timeout=0)

    def close(self) -> None:
        """Leave the search."""
        self._lock.release()
        self._file.unlink(missing_ok=True)


def alive(folder: Path, name: str) -> bool:
    """Return whether a worker other than this process's own is alive; remove a dead one's file."""
    file = folder / f"{name}.lock"
    if not file.exists():
        return False
    lock = FileLock(file, mode=0o666)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    file.unlink(missing_ok=True)
    return False
