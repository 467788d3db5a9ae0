"""JSON documents between the processes of one job, over a socket in a folder of their own.

The folder is for this user alone, and what comes over the line is data, never objects.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

VERSION = 2
"""Of what is said over the line; a base commit with another version cannot be talked to."""

LINK, SIDE, TREE, OTHER = (f"JOULEBENCH_CI_{name}" for name in ("LINK", "SIDE", "TREE", "OTHER"))
"""Environment variables of a side: its socket, its name, its own tree, and the head's if it is not
its own. They are taken away as soon as they are read: a test may start pytest, too."""

_LOOK_S = 0.2
_MOST_BYTES = 1 << 16


class LinkError(RuntimeError):
    """The other end is gone, or never came; the message says what was expected."""


class Line:
    """One end of a line.

    Args:
        connection: Connected; closed with the line.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        self._connection = connection
        self._heard = b""  # kept here: whoever waits may be taken out of it by a signal

    @classmethod
    def to(cls, path: str) -> Line:
        """Connect to an exchange's socket.

        Raises:
            LinkError: Nobody listens there.
        """
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
        except OSError as err:
            connection.close()
            raise LinkError(f"nobody answers at {path} ({err.strerror})") from err
        return cls(connection)

    def send(self, document: Mapping[str, Any]) -> None:
        """Send one document.

        Raises:
            LinkError: Nobody listens any more.
        """
        try:
            self._connection.sendall(json.dumps(document, allow_nan=False).encode() + b"\n")
        except TimeoutError:  # of a signal's handler: this socket has none
            raise
        except OSError as err:
            raise LinkError(f"the other side has hung up ({err.strerror})") from err

    def receive(self) -> dict[str, Any] | None:
        """Wait, asleep, for the next document; ``None`` if the other end is closed."""
        while b"\n" not in self._heard:
            try:
                more = self._connection.recv(_MOST_BYTES)
            except ConnectionError:  # it was killed
                return None
            if not more:
                return None
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        document = json.loads(line)
        if not isinstance(document, dict):
            raise LinkError(f"expected an object over the line, got {type(document).__name__}")
        return document

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class Exchange:
    """Where the sides of a job call.

    Args:
        folder: For this user alone; the socket lies in it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "line")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.path)
        self._socket.listen()
        self._socket.settimeout(_LOOK_S)

    def close(self) -> None:
        """Take no more calls."""
        self._socket.close()

    def accept(self, expected: Callable[[], bool]) -> Line | None:
        """Wait for the next call; ``None`` once nobody is to be expected.

        Args:
            expected: Whether somebody may still call: their process runs.
        """
        while expected():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            return Line(connection)
        return None
