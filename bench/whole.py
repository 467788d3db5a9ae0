"""Files and folders that are there whole or not at all, whatever is killed or full.

They are written under a name of their writer's own beside their place, brought to the disk and
renamed: two writers on two hosts never write into the same file.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from platform import node

_MARK = ".making-"


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``folder`` when the block ends well.

    What the block leaves when it fails is removed, and so is what processes of this host that were
    killed had left. If another host has been faster, its folder stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _tidy(folder)
    half = _own(folder)
    half.mkdir()
    try:
        yield half
        for path in (*half.rglob("*"), half):
            flush(path)
        _publish(half, folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)  # nothing after a success


def write_beside(text: str, file: Path) -> None:
    """Write a file whole or not at all."""
    half = _own(file)
    try:
        half.write_text(text)
        flush(half)
        half.replace(file)
    finally:
        half.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk: a rename may get there first."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _publish(half: Path, folder: Path) -> None:
    try:
        half.replace(folder)
    except OSError:
        if not folder.is_dir():
            raise
        return  # somebody else has made the same
    flush(folder.parent)


def _own(path: Path) -> Path:
    return path.with_name(f"{path.name}{_MARK}{_host()}-{os.getpid()}")


def _host() -> str:
    return re.sub(r"[^\w.]+", "_", node())


def _tidy(folder: Path) -> None:
    for left in folder.parent.glob(f"{folder.name}{_MARK}{_host()}-*"):
        pid = int(left.name.rpartition("-")[2])
        # Ours is not there yet: containers that start anew have the names and numbers of the last.
        if pid == os.getpid() or not alive(pid):
            shutil.rmtree(left, ignore_errors=True)


def alive(pid: int) -> bool:
    """Return whether a process of this host is there, whoever's it is."""
    try:
        os.kill(pid, 0)
    except OSError as err:
        return isinstance(err, PermissionError)  # alive, but somebody else's
    return True
