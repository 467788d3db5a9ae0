"""Sweeps under way: how far each is, and which points wait (``bench.sweeping.outcomes``)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from pathlib import PurePath

from bench import codec
from bench.collection.sources import printable
from bench.dashboard.data.folder import BrokenError, Folder, words
from bench.readings import Grade
from bench.sweeping.outcomes import OUTCOME, PLAN, Outcome, Plan, seconds_left

LOGS = ".logs"
"""Folder of sweeps and single runs below the results, one each, named by when it began."""

LOG = "joulebench.log"
"""Name of a log in there, as Hydra calls it after ``hydra.job.name``."""

LATEST = 50
"""Of these the newest are looked at."""

SILENT_S = 900.0
"""A sweep of which nothing runs, and that has said nothing for so long, was broken off."""

_PARTS = 4
"""Folders of a record's place below the results: host, workload, technique, run."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A point that has not begun.

    Attributes:
        folder: Where its record will stand, below the results.
        name: For people.
    """

    folder: str
    name: str

    @property
    def host(self) -> str:
        """Where it will run."""
        return self.folder.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep that is under way.

    Attributes:
        folder: Its own, below the results.
        points: How many there are.
        done: How many have ended, one way or another.
        failed: How many of these failed.
        ends_s: Seconds since 1970, when it will end at its pace; ``None`` where nobody can know.
        spent: Joules so far, by grade.
        waiting: Points that have not begun, as far as this sweep's host knew where they will lie.
    """

    folder: str
    points: int
    done: int
    failed: int
    ends_s: float | None
    spent: tuple[tuple[Grade, float], ...]
    waiting: tuple[Waiting, ...]


@dataclass
class _Known:
    """What has been read of one sweep."""

    plan: Plan
    places: tuple[str, ...]
    latest_s: float
    read: bool = False
    found: dict[int, Outcome] = field(default_factory=dict)

    @property
    def done(self) -> dict[int, Outcome]:
        """Points that have ended; what was interrupted goes on."""
        return {n: one for n, one in self.found.items() if one.status != "interrupted"}

    def alive(self, running: Set[str]) -> bool:
        """Return whether it may still be at work, as far as can be seen from here."""
        if time.time() - self.latest_s <= SILENT_S:
            return True
        # A sweep whose points run elsewhere does not know where their records will lie.
        return not running.isdisjoint(self.places) if self.plan.here else bool(running)


@dataclass
class Sweeps:
    """Reads plans once, and each outcome once it is there.

    Attributes:
        folder: The results.
    """

    folder: Folder
    _known: dict[str, _Known | None] = field(default_factory=dict)

    def look(self, running: Set[str]) -> tuple[Sweep, ...]:
        """Return the sweeps that are under way, the newest first.

        Args:
            running: Folders of the pairs that run.
        """
        before = self._known
        self._known = {
            name: before[name] if name in before else self._planned(name) for name in self._names()
        }
        found = []
        for name, known in self._known.items():
            if known is None or (known.read and not known.alive(running)):
                continue
            self._outcomes(name, known)
            if known.alive(running) and len(known.done) < len(known.plan.points):
                found.append(_under_way(name, known, running))
        return tuple(found)

    def log_of(self, place: str) -> str | None:
        """Return the log of the newest sweep that has measured a pair; it may be gone by now.

        Args:
            place: Folder of its record, below the results.
        """
        for name, known in list(self._known.items()):
            if known is not None and place in known.places:
                number = known.places.index(place)
                if not known.plan.points[number].measured:
                    return f"{LOGS}/{name}/{number}/{LOG}"
        return None

    def _names(self) -> list[str]:
        names = self.folder.names(LOGS)[::-1][:LATEST]
        return [name for name in names if (self.folder.root / LOGS / name / PLAN).exists()]

    def _planned(self, name: str) -> _Known | None:
        """Return what a sweep's plan says; ``None`` for what is none."""
        try:
            plan = codec.decode(Plan, self.folder.document(f"{LOGS}/{name}/{PLAN}"))
        except (BrokenError, codec.CodecError):
            return None
        return _Known(plan, tuple(_below(point.place) for point in plan.points), plan.started_s)

    def _outcomes(self, name: str, known: _Known) -> None:
        """Read what is new; what was interrupted may have gone on under the same number."""
        known.read = True
        for number in range(len(known.plan.points)):
            kept = known.found.get(number)
            if kept is not None and kept.status != "interrupted":
                continue
            relative = f"{LOGS}/{name}/{number}/{OUTCOME}"
            try:
                modified_s = os.lstat(self.folder.root / relative).st_mtime
                known.found[number] = codec.decode(Outcome, self.folder.document(relative))
            except (OSError, BrokenError, codec.CodecError):
                continue
            known.latest_s = max(known.latest_s, modified_s)


def _under_way(name: str, known: _Known, running: Set[str]) -> Sweep:
    plan, done = known.plan, known.done
    left_s = seconds_left(plan, done, known.latest_s - plan.started_s)
    return Sweep(
        folder=f"{LOGS}/{name}",
        points=len(plan.points),
        done=len(done),
        failed=sum(outcome.status == "failed" for outcome in done.values()),
        ends_s=None if left_s is None else known.latest_s + left_s,
        spent=_spent(known.found.values()),
        waiting=tuple(
            Waiting(place, words(point.name))
            for number, (place, point) in enumerate(zip(known.places, plan.points, strict=True))
            if place and number not in done and not point.measured and place not in running
        ),
    )


def _spent(found: Iterable[Outcome]) -> tuple[tuple[Grade, float], ...]:
    """Return joules by grade: those of two are never added."""
    sums: dict[Grade, float] = {}
    for outcome in found:
        if outcome.grade is not None and outcome.energy_j is not None:
            sums[outcome.grade] = sums.get(outcome.grade, 0.0) + outcome.energy_j
    return tuple(sorted(sums.items()))


def _below(place: str | None) -> str:
    """Return a record's place below the results, wherever these lay when the plan was made."""
    parts = PurePath(place).parts[-_PARTS:] if place else ()
    return printable("/".join(parts)) if len(parts) == _PARTS else ""
