"""Watches a folder of results: one look every two seconds for all who view, none inside a window.

A look asks folders for their time of change; records are read, through the reports' cache, only
where something has changed. While windows are measured on this host a look asks the host's lock
once a second and does nothing else. Between blocks, where there is a lead-in to work in, it reads
what running pairs tell; records, which may take longer than that, only if none were read yet.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench import collection, flat, live, locks, store
from bench.collection import SetAside
from bench.dashboard.data import happened
from bench.dashboard.data.changes import Changes
from bench.dashboard.data.folder import BrokenError, Folder, words
from bench.dashboard.data.happened import Event, Failure
from bench.dashboard.data.pairs import prepared
from bench.dashboard.data.running import Running, States
from bench.dashboard.data.sweeps import Sweep, Sweeps
from bench.dashboard.data.system import EVERY_S, System

log = logging.getLogger(__name__)

PERIOD_S = 2.0
RESTING_S = 1.0
"""Seconds between two looks, and between two glances at the lock while windows are measured."""

BEFORE_WINDOW_S = 1.2
"""A look may begin if no window opens for so long: what it finds is pushed within a second."""

_LONGEST_LEAD_IN_S = 60.0

_SHARE = 0.02
"""Most of a core that looking may take: records of 100,000 pairs are looked for more seldom than
what runs."""

_LONGEST_PAUSE_S = 60.0
"""Between two looks for records, however long one has taken."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What there was at one look; never changed.

    Attributes:
        version: Rises whenever anything but the samples of the system has changed.
        records: Rises whenever records or failures have been read anew.
        pairs: As ``pairs.prepared`` gives them, the newest first.
        set_aside: Documents that are no records, with the reason.
        running: Pairs under way, or killed.
        sweeps: Sweeps under way, the newest first.
        failures: Pairs that ended without a record, the newest first.
        events: The newest first.
        holder: What is done on this host under its lock, in words; empty if nothing is, and ``?``
            where whoever does it does not say.
        resting: Whether windows are measured on this host: then this is from between two blocks.
        ready: Whether the records have been read once.
    """

    version: int
    pairs: pd.DataFrame
    records: int = 0
    set_aside: tuple[SetAside, ...] = ()
    running: tuple[Running, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    failures: tuple[Failure, ...] = ()
    events: tuple[Event, ...] = ()
    holder: str = ""
    resting: bool = False
    ready: bool = False


@dataclass
class Watcher:
    """Looks, and holds what it saw last.

    Attributes:
        folder: The results.
        latest: The last snapshot.
        system: The last hour of this machine.
        sweeps: What they say of themselves.
    """

    folder: Folder
    latest: Snapshot = field(init=False)
    system: System = field(init=False)
    sweeps: Sweeps = field(init=False)
    _changes: Changes = field(init=False)
    _stale: bool = False
    _states: States = field(init=False)
    _failures: dict[str, tuple[tuple[int, int], Failure]] = field(default_factory=dict)
    _heard: dict[str, tuple[int, int]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _looking: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self._changes, self._states = Changes(self.folder.root), States(self.folder)
        self.sweeps = Sweeps(self.folder)
        self.system = System(self.folder.root)
        self.latest = Snapshot(0, prepared(flat.SCHEMA.empty_table().to_pandas()))

    def start(self) -> None:
        """Look on in a thread of its own until ``stop``."""
        threading.Thread(target=self._run, name="watcher", daemon=True).start()

    def stop(self) -> None:
        """End the thread after its look."""
        self._stop.set()

    def look(self, records: bool = True) -> None:
        """Look once; while windows are measured only where none is open.

        Args:
            records: Whether to look for records and failures as well.
        """
        with self._looking:
            holder = locks.held_by()
            measuring = holder is not None and holder.get("windows") is True
            if holder is not None and measuring and not self._between_blocks(holder):
                if not self.latest.resting:  # said once, before the first window opens
                    self._set(holder=_said(holder), resting=True)
                return
            last = self.latest
            if not last.ready or (records and not measuring):
                self._stale |= self._changes.look()
            running = self._states.look()
            now = {
                "running": running,
                "sweeps": self.sweeps.look({one.folder for one in running if one.works}),
                "holder": _said(holder),
                "resting": measuring,
            }
            news = self._heard != self._states.events
            self._heard = self._states.events
            if self._stale or not last.ready:
                self._read(now)
                self._stale = False  # not where reading has failed: the next look tries again
            elif news or any(getattr(last, name) != value for name, value in now.items()):
                self._set(**now, events=self._events(last.pairs, last.failures, running))

    def _between_blocks(self, holder: dict[str, Any]) -> bool:
        """Return whether whoever measures has told that no window opens for a while."""
        until_s = self._states.quiet_from_s(holder.get("pid"))
        return until_s is not None and BEFORE_WINDOW_S < until_s - time.time() < _LONGEST_LEAD_IN_S

    def _read(self, now: dict[str, Any]) -> None:
        pairs, set_aside = self._records()
        failures = self._failed()
        self._set(
            **now,
            records=self.latest.records + 1,
            pairs=pairs,
            set_aside=set_aside,
            failures=failures,
            events=self._events(pairs, failures, now["running"]),
            ready=True,
        )

    def _records(self) -> tuple[pd.DataFrame, tuple[SetAside, ...]]:
        try:
            found = collection.read(self.folder.root)
        except (store.StoreError, OSError) as err:
            return self.latest.pairs.iloc[:0], (SetAside(Path(), words(str(err))),)
        inside, outside = [], []
        for relative in found.pairs["folder"]:
            path = f"{relative}/{store.RECORD}" if relative else store.RECORD
            link = (self.folder.root / path).is_symlink()
            reason = None
            if link:
                try:
                    self.folder.path(path)
                except BrokenError as err:
                    reason = str(err)
                    outside.append(SetAside(Path(path), reason))
            inside.append(reason is None)
        pairs = found.pairs if all(inside) else found.pairs[inside]
        return prepared(pairs), (*found.set_aside, *outside)

    def _failed(self) -> tuple[Failure, ...]:
        kept, self._failures = self._failures, {}
        for relative, mark in self._changes.failures.items():
            before = kept.get(relative)
            if before is None or before[0] != mark:
                before = (mark, happened.failure(self.folder, relative, mark[0]))
            self._failures[relative] = before
        found = [failure for _, failure in self._failures.values()]
        return tuple(sorted(found, key=lambda one: -one.when_s))

    def _events(
        self, pairs: pd.DataFrame, failures: tuple[Failure, ...], running: tuple[Running, ...]
    ) -> tuple[Event, ...]:
        hosts = {one.file.split("/")[1] for one in running}
        with contextlib.suppress(OSError, BrokenError):
            base = self.folder.path(live.FOLDER)
            hosts |= {path.name for path in base.iterdir() if path.is_dir()}
        told = happened.told(self.folder, sorted(hosts))
        return happened.merged(told, happened.derived(pairs, failures))

    def _set(self, **changed: Any) -> None:
        self.latest = replace(self.latest, version=self.latest.version + 1, **changed)

    def _run(self) -> None:
        sampled_s = -EVERY_S
        pause_s = records_from_s = 0.0
        while not self._stop.wait(pause_s):
            began_s, worked_s = time.monotonic(), time.process_time()
            records = began_s >= records_from_s
            try:
                self.look(records)
                if not self.latest.resting and began_s - sampled_s >= EVERY_S:
                    sampled_s = began_s
                    self.system.sample()
            except Exception:  # whatever lies in the folder, the next look comes
                log.exception("a look at %s failed; the next one comes", self.folder.root)
            # Of the processor's time: where others keep it busy, a look takes longer and no more.
            rest_s = min((time.process_time() - worked_s) / _SHARE, _LONGEST_PAUSE_S)
            if records:
                records_from_s, rest_s = time.monotonic() + rest_s, 0.0
            pause_s = RESTING_S if self.latest.resting else max(PERIOD_S, rest_s)


def _said(holder: dict[str, Any] | None) -> str:
    return "" if holder is None else words(holder.get("what"), 80) or "?"
