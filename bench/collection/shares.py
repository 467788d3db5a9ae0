"""Many documents read by several processes.

Processes of our own and not of ``multiprocessing``, which in every new one runs the script again
that asked: a few lines of somebody's notebook must not need a guard because results have grown.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from bench.collection.parsing import Parsed, joined, parse
from bench.collection.sources import SetAside

log = logging.getLogger(__name__)

WORTH_A_PROCESS = 2_000
"""Fewest documents, about a second's work, for which starting another process pays."""

_ASIDE = b"set_aside"


def parse_in_shares(root: Path, folders: Sequence[str]) -> Parsed:
    """Return ``parse(root, folders)``, rows in another order, by as many processes as it pays."""
    shares = min(_cpus(), len(folders) // WORTH_A_PROCESS)
    if shares < 2:
        return parse(root, folders)
    with tempfile.TemporaryDirectory() as scratch:
        others = [
            _Share(root, folders[number::shares], Path(scratch, str(number)))
            for number in range(1, shares)
        ]
        try:
            return joined([parse(root, folders[::shares]), *(other.wait() for other in others)])
        finally:
            for other in others:
                other.stop()


def write(part: Parsed, path: Path) -> None:
    """Write what was read for another process."""
    aside = json.dumps([(found.path.as_posix(), found.reason) for found in part.set_aside])
    table = part.table.replace_schema_metadata({_ASIDE: aside.encode()})
    with pa.ipc.new_stream(str(path), table.schema) as stream:
        stream.write_table(table)


def _read(path: Path) -> Parsed:
    with pa.ipc.open_stream(path.read_bytes()) as stream:
        table = stream.read_all()
    aside = json.loads(table.schema.metadata[_ASIDE])
    return Parsed(
        table.replace_schema_metadata(None),
        [SetAside(Path(where), reason) for where, reason in aside],
    )


class _Share:
    """Documents that a process of their own reads."""

    def __init__(self, root: Path, folders: Sequence[str], scratch: Path) -> None:
        self._root, self._folders = root, folders
        scratch.mkdir()
        asked, self._found = scratch / "asked.json", scratch / "found.arrow"
        asked.write_text(json.dumps(folders), encoding="utf-8")
        words = [str(root), str(asked), str(self._found)]
        command = [sys.executable, "-m", "bench.collection.reader", *words]
        path = os.pathsep.join(sys.path)
        self._process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path})

    def wait(self) -> Parsed:
        """Return what it has found; read here what it could not."""
        if self._process.wait() == 0:
            return _read(self._found)
        log.warning(
            "a process that was to read %d of the records failed (exit status %d); "
            "they are read without it",
            len(self._folders),
            self._process.returncode,
        )
        return parse(self._root, self._folders)

    def stop(self) -> None:
        """End it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
