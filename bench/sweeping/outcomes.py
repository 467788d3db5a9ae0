"""How each point of a sweep has gone, in files that every process and host can read."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench import codec
from bench.interruption import Interrupted
from bench.readings import Grade, Phase
from bench.whole import write_beside

log = logging.getLogger("bench")

OUTCOME = "outcome.json"
PLAN = "plan.json"

MOST_NAMED = 20
"""Points of one kind that are named; of more it is said how many they are."""

Status = Literal["measured", "prepared", "skipped", "failed", "interrupted"]

_BEST_FIRST: tuple[Grade, ...] = ("A", "B", "C", "S")


@dataclass(frozen=True)
class Outcome:
    """How a point has gone.

    Attributes:
        name: Of the point, for people.
        status: What has become of it; ``skipped``: it was measured already.
        place: Folder of its record.
        why: First line of what went wrong.
        wall_s: Seconds that it took.
        energy_j: Joules that it took, of one meter; ``None`` where none are counted or modelled.
        grade: How they were obtained.
        verdict: What the record says, in a word: ``saves``, ``slower``, ``undecided``, ``A/A``.
        baseline: What it was compared with, by the name of the artefact.
        baseline_train_s: Seconds that training that took, for this point or an earlier one.
    """

    name: str
    status: Status
    place: str
    why: str | None
    wall_s: float
    energy_j: float | None = None
    grade: Grade | None = None
    verdict: str | None = None
    baseline: str | None = None
    baseline_train_s: float | None = None


@dataclass(frozen=True)
class Planned:
    """A point of a sweep before it starts.

    Attributes:
        name: For people.
        place: Folder of its record, where this host will measure it.
        measured: Whether its record stands there.
        estimate_s: Seconds that it will take by earlier records; ``None`` without any like it.
    """

    name: str
    place: str | None
    measured: bool
    estimate_s: float | None


@dataclass(frozen=True)
class Plan:
    """All points of a sweep.

    Attributes:
        points: In the order of their numbers.
        started_s: Epoch seconds.
        results: Folder of the records.
        paper: Folder of the paper.
        here: Whether this host sees them through.
    """

    points: tuple[Planned, ...]
    started_s: float
    results: str
    paper: str
    here: bool


@dataclass
class Ledger:
    """What is noted of a point while it is seen through.

    Attributes:
        status: Unless it fails.
        spent: What was done for it and not for an earlier point.
        verdict: Of its record.
        baseline: Name of the artefact, once it is there.
        baseline_train_s: Seconds that training it took.
    """

    status: Status = "measured"
    spent: tuple[Phase, ...] = ()
    verdict: str | None = None
    baseline: str | None = None
    baseline_train_s: float | None = None


@contextlib.contextmanager
def noted(folder: Path | None, name: str, place: Path) -> Iterator[Ledger]:
    """Note how the block ends in ``folder``, if there is one, and say how far the sweep is.

    Args:
        folder: Of this point in the sweep's folder; ``None`` outside of a sweep.
        name: Of the point.
        place: Folder of its record.
    """
    begin, ledger = time.monotonic(), Ledger()
    why: str | None = None
    try:
        yield ledger
    except (Interrupted, KeyboardInterrupt, SystemExit) as err:
        ledger.status, why = "interrupted", str(err)  # submitit leaves to be requeued by the last
        raise
    except BaseException as err:
        ledger.status = "failed"
        why = (str(err).strip() or type(err).__name__).partition("\n")[0]
        raise
    finally:
        if folder is not None:
            energy_j, grade = joules(ledger.spent)
            _tell(
                folder,
                Outcome(
                    *(name, ledger.status, str(place), why, time.monotonic() - begin),
                    *(energy_j, grade, ledger.verdict),
                    *(ledger.baseline, ledger.baseline_train_s),
                ),
            )


def _tell(folder: Path, outcome: Outcome) -> None:
    """Write the outcome; a disk that is full must not hide why the point has failed."""
    try:
        write_beside(codec.encode(outcome), folder / OUTCOME)
        if (plan := read_plan(folder.parent)) is not None:
            log.info(progress(plan, read(folder.parent)))
    except (OSError, ValueError) as err:
        log.warning("%s: how it went could not be noted: %s", outcome.name, err)


def joules(phases: Iterable[Phase]) -> tuple[float | None, Grade | None]:
    """Return the joules of phases, of the best grade and the first meter of it, with the grade.

    Joules of two grades or two meters are never added; readings that are missing are left out.
    """
    readings = [r for phase in phases for r in phase.readings if r.energy_j is not None]
    for grade in _BEST_FIRST:
        of_grade = [reading for reading in readings if reading.grade == grade]
        if of_grade:
            meter = of_grade[0].meter
            return sum(r.energy_j or 0.0 for r in of_grade if r.meter == meter), grade
    return None, None


def write_plan(plan: Plan, sweep: Path) -> None:
    """Write what is going to be done into the sweep's folder."""
    sweep.mkdir(parents=True, exist_ok=True)
    write_beside(codec.encode(plan), sweep / PLAN)


def read_plan(sweep: Path) -> Plan | None:
    """Return what was going to be done, if it was written down."""
    try:
        return codec.decode(Plan, json.loads((sweep / PLAN).read_text()))
    except FileNotFoundError:
        return None


def read(sweep: Path) -> dict[int, Outcome]:
    """Return the outcomes so far by the number of their point."""
    return {
        int(file.parent.name): codec.decode(Outcome, json.loads(file.read_text()))
        for file in sweep.glob(f"*/{OUTCOME}")
        if file.parent.name.isdecimal()
    }


def progress(plan: Plan, found: dict[int, Outcome]) -> str:
    """Return one line: points that are done, joules so far, time left."""
    words = [f"sweep: {len(found)} of {len(plan.points)} points done"]
    failed = sum(outcome.status == "failed" for outcome in found.values())
    if failed:
        words[0] += f", {failed} failed"
    words += spent_words(found.values())
    left_s = seconds_left(plan, found, time.time() - plan.started_s)
    if left_s:
        words.append(f"about {duration(left_s)} left")
    return "; ".join(words)


def spent_words(found: Iterable[Outcome]) -> list[str]:
    """Return joules by grade in words: those of two grades are never added."""
    sums: dict[Grade, float] = {}
    for outcome in found:
        if outcome.grade is not None and outcome.energy_j is not None:
            sums[outcome.grade] = sums.get(outcome.grade, 0.0) + outcome.energy_j
    kinds = {"A": "counted", "B": "counted", "C": "modelled", "S": "simulated"}
    return [
        f"{sums[grade]:.0f} J so far ({kinds[grade]}, {grade})"
        for grade in _BEST_FIRST
        if grade in sums
    ]


def seconds_left(plan: Plan, found: dict[int, Outcome], elapsed_s: float) -> float | None:
    """Return how long the rest will take: at the pace so far, else by earlier records.

    Points weigh what earlier records say, or what the others of this sweep took; several processes
    are faster together, which the pace knows.
    """
    worked = {n: o for n, o in found.items() if o.status in ("measured", "prepared")}
    usual_s = sum(o.wall_s for o in worked.values()) / len(worked) if worked else None
    weights = [
        0.0 if point.measured else point.estimate_s or usual_s or 0.0 for point in plan.points
    ]
    rest = sum(weight for number, weight in enumerate(weights) if number not in found)
    done = sum(weights[number] for number in worked if number < len(weights))
    if done > 0:
        return elapsed_s * rest / done
    return rest or None


def named(names: Sequence[str], kind: str = "") -> list[str]:
    """Return a line for each name, ``MOST_NAMED`` at most, and how many more there are.

    Args:
        names: Of points, with what is to be said of them.
        kind: What they have in common, before each name.
    """
    kind = f"{kind}: " if kind else ""
    lines = [f"  {kind}{name}" for name in names[:MOST_NAMED]]
    if len(names) > MOST_NAMED:
        lines.append(f"  {kind}{len(names) - MOST_NAMED} more")
    return lines


def duration(seconds: float) -> str:
    """Return a duration in words: ``40 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
