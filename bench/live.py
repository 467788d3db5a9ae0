"""What a running pair is doing, told to whoever watches, at most about once a second.

    <results>/.live/<host>/<run>.json    where a pair is now; gone once it has ended, left by a kill
    <results>/.live/<host>/<run>.jsonl   its losses and blocks so far; kept where it ended badly
    <results>/.live/<host>/events.jsonl  what happened on this host, the newest last

``<run>`` is the last folder of the pair's place. Nothing is told inside a window: trainings tell
between two steps, sessions between two blocks. What cannot be written is not told, and stops
nothing: the record holds all of it in the end.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.interruption import Interrupted
from bench.isolation import log_file
from bench.machine import host_name

FOLDER = ".live"
EVENTS = "events.jsonl"
FORMER_EVENTS = "events.1.jsonl"
SCHEMA = 1

SHARES = {
    "baseline": 0.30,
    "variant": 0.30,
    "evaluate_baseline": 0.05,
    "evaluate_variant": 0.05,
    "measure": 0.30,
}
"""The acts of a pair in their order, and how much of it each is taken for: what is made before is
skipped, and nobody knows beforehand what will take longest."""

_MOST_EVENTS_BYTES = 4_000_000
_REASON_CHARACTERS = 200

_NOT_TOLD = (OSError, TypeError, ValueError)
"""A full disk, a folder that is gone, a figure that JSON does not have: nothing to fail for."""


@dataclass(frozen=True)
class Live:
    """Of which pair is told, and where; it goes with the work into other processes.

    Attributes:
        file: Where the pair is now; beside it lies what came in.
        about: What never changes: names, and which process it is.
    """

    file: Path
    about: Mapping[str, Any]

    @property
    def points(self) -> Path:
        """Where losses and blocks are added."""
        return self.file.with_suffix(".jsonl")

    def begin(self, act: str, note: str) -> None:
        """Tell that an act begins, or waits."""
        Teller(self, act).tell(0, 1, note)

    def event(self, kind: str, text: str = "") -> None:
        """Add what happened.

        Args:
            kind: ``started``, ``making``, ``saved``, ``discard``, ``finished``, ``prepared``,
                ``interrupted``, ``failed``, or one of a training: ``overfitting``,
                ``out_of_memory``, ``resumed``, ``stopped``.
            text: For people.
        """
        kept = {name: self.about[name] for name in ("id", "folder", "host", "log")}
        _append(self.file.with_name(EVENTS), {**kept, "kind": kind, "text": text})


@contextlib.contextmanager
def told(place: Path, host: str, label: str, metric: str, end: str = "finished") -> Iterator[Live]:
    """Tell of a pair while the block runs.

    Args:
        place: Folder of its record: ``<results>/<host>/<workload>/<technique>/<run>``.
        host: Name of the machine.
        label: Of the technique, with the knobs that tell two of them apart.
        metric: Of the workload: what its trainings look at.
        end: Kind of the event that a good end is: ``finished``, or ``prepared``.
    """
    results, (workload, technique, run) = place.parents[3], place.parts[-3:]
    live = Live(
        results / FOLDER / host / f"{run}.json",
        {
            "schema": SCHEMA,
            "id": f"{workload}/{technique}/{run}",
            "folder": place.relative_to(results).as_posix(),
            "workload": workload,
            "technique": technique,
            "label": label,
            "metric": metric,
            "host": host,
            "machine": host_name(),  # the host's folder may be called otherwise (store.host)
            "pid": os.getpid(),
            "born_s": _born_s(),
            "started_s": time.time(),
            "log": _log_below(results),
        },
    )
    with contextlib.suppress(OSError):
        live.file.parent.mkdir(parents=True, exist_ok=True)
        live.points.unlink(missing_ok=True)
        events = live.file.with_name(EVENTS)
        if events.exists() and events.stat().st_size > _MOST_EVENTS_BYTES:
            events.replace(events.with_name(FORMER_EVENTS))
    live.event("started")
    try:
        yield live
    except (Interrupted, KeyboardInterrupt, SystemExit) as err:
        live.event("interrupted", _line(err))
        raise
    except BaseException as err:
        live.event("failed", f"{type(err).__name__}: {_line(err)}")
        raise
    else:
        live.event(end)
        with contextlib.suppress(OSError):
            live.points.unlink(missing_ok=True)
    finally:
        with contextlib.suppress(OSError):
            live.file.unlink(missing_ok=True)


class Teller:
    """Tells how far one act of a pair is; without a pair to tell of, nothing.

    Args:
        live: The pair.
        act: One of ``SHARES``.
        every_s: Least time between two writes, in seconds.
    """

    def __init__(self, live: Live | None, act: str, every_s: float = 1.0) -> None:
        self.live = live
        self.act = act
        self._every_s = every_s
        self._next_s = -math.inf
        self._began_s = time.time()

    def tell(
        self, done: float, total: float, note: str = "", quiet_from_s: float | None = None
    ) -> None:
        """Say how far it is; one comparison of clocks unless it is time to write.

        Args:
            done: Steps, examples or blocks behind it.
            total: Of how many.
            note: For people.
            quiet_from_s: When the next window may open, in seconds since 1970: until then a viewer
                on this host may work. ``None`` lets it rest as long as windows are measured.
        """
        now_s = time.monotonic()
        if self.live is None or now_s < self._next_s:
            return
        self._next_s = now_s + self._every_s
        state = {
            "act": self.act,
            "act_started_s": self._began_s,
            "done": done,
            "total": total,
            "note": note,
            "quiet_from_s": quiet_from_s,
            "told_s": time.time(),
        }
        half = self.live.file.with_name(f".{self.live.file.name}.writing")
        with contextlib.suppress(*_NOT_TOLD):
            half.write_text(json.dumps({**self.live.about, **state}, allow_nan=False))
            half.replace(self.live.file)

    def point(self, **figures: Any) -> None:
        """Add what came in: a logged point of a training, or a block."""
        if self.live is not None:
            _append(self.live.points, {"act": self.act, **figures})

    def event(self, kind: str, text: str) -> None:
        """Add what happened."""
        if self.live is not None:
            self.live.event(kind, text)


def _born_s() -> float | None:
    """Return when this process began, in seconds since 1970; ``None`` where that cannot be seen."""
    with contextlib.suppress(psutil.Error, OSError):
        return psutil.Process().create_time()
    return None


def _line(err: BaseException) -> str:
    return " ".join(str(err).split())[:_REASON_CHARACTERS]


def _append(file: Path, entry: Mapping[str, Any]) -> None:
    """Add one line with its time, in one write, so that lines of two processes do not mix."""
    with contextlib.suppress(*_NOT_TOLD):
        line = json.dumps({"at_s": time.time(), **entry}, allow_nan=False) + "\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(file, flags, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def _log_below(results: Path) -> str | None:
    """Return where this process logs to, relative to the results, if it is in there."""
    found = log_file()
    if found is None:
        return None
    with contextlib.suppress(ValueError):
        return Path(found).resolve().relative_to(results.resolve()).as_posix()
    return None
