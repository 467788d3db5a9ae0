"""Small files of the kernel: read once, or again and again through one descriptor."""

from __future__ import annotations

import os
from pathlib import Path

_LONGEST = 64  # bytes; every figure that is read again and again is one number


def text(path: Path) -> str | None:
    """Return what stands in a file, or ``None`` if it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return None


def number(path: Path) -> float | None:
    """Return the number in a file, or ``None`` if there is none."""
    try:
        return float(text(path) or "")
    except ValueError:
        return None


class Gauged:
    """A file of one number that stays open: reading it again takes one system call.

    Args:
        descriptor: Of the opened file, which is closed with this object.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self) -> int | None:
        """Return the number of now, or ``None`` if the kernel does not tell."""
        try:
            return int(os.pread(self._descriptor, _LONGEST, 0))
        except (OSError, ValueError):
            return None

    def __del__(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def kept_open(path: Path) -> Gauged | None:
    """Return the file if it can be opened and holds a number."""
    try:
        file = Gauged(os.open(path, os.O_RDONLY))
    except OSError:
        return None
    return None if file.read() is None else file
