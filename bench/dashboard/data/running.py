"""Pairs that are under way, from what they tell (``bench.live``)."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import psutil

from bench import live
from bench.dashboard.data.folder import BrokenError, Folder, number, words
from bench.machine import host_name

State = Literal["running", "killed", "silent"]

SILENT_S = 900.0
"""A pair of another host that has told nothing for so long may be dead; nobody here can look."""

_BORN_WITHIN_S = 2.0
_MOST_STATE_BYTES = 64_000


@dataclass(frozen=True, slots=True)
class Running:
    """One pair under way, or killed.

    Attributes:
        file: Its state below the results; ``points`` lies beside it.
        id: ``<workload>/<technique>/<run>``.
        folder: Where its record will stand, below the results.
        workload: Name of the workload.
        label: Of the technique.
        metric: What its trainings look at.
        host: First part of its folder.
        act: One of ``live.SHARES``.
        done: Steps, examples or blocks behind it.
        total: Of how many.
        note: What it says itself.
        started_s: Seconds since 1970.
        act_started_s: Likewise.
        told_s: Likewise, of its last word.
        quiet_from_s: Likewise, when its next window may open.
        pid: Of its process.
        log: Its log below the results, if it is in there.
        state: Whether it still runs, as far as can be seen from here.
    """

    file: str
    id: str
    folder: str
    workload: str
    label: str
    metric: str
    host: str
    act: str
    done: float
    total: float
    note: str
    started_s: float
    act_started_s: float
    told_s: float
    quiet_from_s: float | None
    pid: int
    log: str | None
    state: State

    @property
    def works(self) -> bool:
        """Whether it runs, as far as can be seen from here."""
        return self.state != "killed"

    @property
    def points(self) -> str:
        """Where its losses and blocks are."""
        return self.file.removesuffix(".json") + ".jsonl"

    @property
    def share(self) -> float:
        """How much of the act is behind it, a fraction."""
        return min(1.0, max(0.0, self.done / self.total)) if self.total > 0 else 0.0

    @property
    def progress(self) -> float:
        """How much of the pair is behind it, a fraction: acts as ``live.SHARES`` weighs them."""
        acts = list(live.SHARES)
        before = sum(live.SHARES[act] for act in acts[: acts.index(self.act)])
        return before + live.SHARES[self.act] * self.share

    @property
    def left_s(self) -> float | None:
        """Seconds until this act ends if it goes on at its pace; ``None`` before its first step."""
        if self.share <= 0 or self.state != "running":
            return None
        spent_s = self.told_s - self.act_started_s
        return max(0.0, spent_s * (1 - self.share) / self.share)


@dataclass
class States:
    """Reads what running pairs tell, each file once per change.

    Attributes:
        folder: The results.
        broken: States that cannot be read, with the reason.
        events: Files of events, with time of change and size.
    """

    folder: Folder
    broken: dict[str, str] = field(default_factory=dict)
    events: dict[str, tuple[int, int]] = field(default_factory=dict)
    _kept: dict[str, tuple[tuple[int, int], dict[str, Any] | None]] = field(default_factory=dict)

    def look(self) -> tuple[Running, ...]:
        """Return all that are there, the newest first."""
        self._read()
        here = host_name()
        found = [
            running
            for name, (_, document) in self._kept.items()
            if document is not None and (running := _running(name, document, here))
        ]
        return tuple(sorted(found, key=lambda one: (-one.started_s, one.file)))

    def quiet_from_s(self, pid: object) -> float | None:
        """Return when the next window of a process may open, as it told; asks for no process."""
        self._read()
        documents = (document for _, document in self._kept.values() if document is not None)
        told = (
            number(document.get("quiet_from_s"))
            for document in documents
            if document.get("pid") == pid and document.get("act") == "measure"
        )
        return next(told, None)

    def _read(self) -> None:
        """Read what has changed."""
        self.broken = {}
        files = dict(self._files())
        self.events = {name: mark for name, mark in files.items() if name.endswith(live.EVENTS)}
        seen = {name: mark for name, mark in files.items() if name.endswith(".json")}
        self._kept = {name: kept for name, kept in self._kept.items() if name in seen}
        for name, mark in seen.items():
            if name not in self._kept or self._kept[name][0] != mark:
                self._kept[name] = (mark, self._document(name))

    def _files(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yield every state, and files of events, with time of change and size."""
        for host in self.folder.names(live.FOLDER):
            for name in self.folder.names(f"{live.FOLDER}/{host}"):
                relative = f"{live.FOLDER}/{host}/{name}"
                if host.startswith(".") or name.startswith("."):
                    continue  # half written
                if not name.endswith(".json") and name != live.EVENTS:
                    continue
                try:
                    status = os.lstat(self.folder.root / relative)
                except OSError:
                    continue  # it has ended meanwhile
                if stat.S_ISREG(status.st_mode):
                    yield relative, (status.st_mtime_ns, status.st_size)

    def _document(self, name: str) -> dict[str, Any] | None:
        try:
            self.folder.size(name, _MOST_STATE_BYTES)
            return self.folder.document(name)
        except BrokenError as err:
            self.broken[name] = str(err)
            return None


def _running(name: str, document: dict[str, Any], here: str) -> Running | None:
    """Return what a document says; ``None`` for one that is not of this form."""
    numbers: dict[str, Any] = {
        key: number(document.get(key))
        for key in ("done", "total", "started_s", "act_started_s", "told_s")
    }
    pid, act = document.get("pid"), document.get("act")
    if None in numbers.values() or type(pid) is not int:
        return None
    if not isinstance(act, str) or act not in live.SHARES:
        return None
    said: dict[str, Any] = {
        key: words(document.get(key))
        for key in ("id", "folder", "workload", "label", "metric", "host", "note")
    }
    ours = words(document.get("machine")) == here
    return Running(
        file=name,
        act=act,
        pid=pid,
        log=words(document.get("log")) or None,
        quiet_from_s=number(document.get("quiet_from_s")),
        state=_state(ours, pid, number(document.get("born_s")), numbers["told_s"] or 0.0),
        **said,
        **numbers,
    )


def _state(ours: bool, pid: int, born_s: float | None, told_s: float) -> State:
    if not ours:
        return "silent" if time.time() - told_s > SILENT_S else "running"
    try:
        alive = psutil.Process(pid)
        created_s = alive.create_time()
        # A clock that was set since moves all times of creation; whoever has got the number of a
        # dead process began after its last word.
        same = born_s is None or abs(created_s - born_s) < _BORN_WITHIN_S or created_s <= told_s
        return "running" if same and alive.status() != psutil.STATUS_ZOMBIE else "killed"
    except psutil.AccessDenied:
        return "running"
    except (psutil.Error, ValueError, OverflowError):  # no such process, or no such number
        return "killed"
