"""Every pair as a dish: preheating, simmering, boiling, finishing, ready, or burnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.dashboard.data import curves
from bench.dashboard.data.folder import Folder, words
from bench.dashboard.data.happened import Failure
from bench.dashboard.data.running import Running
from bench.dashboard.data.sheets import Column, Sheet, clock
from bench.dashboard.data.sweeps import Waiting
from bench.dashboard.data.watching import Snapshot

STAGES = ("preheating", "simmering", "boiling", "finishing", "ready", "burnt")
SIMMERS_TO, BOILS_TO = 0.3, 0.7


@dataclass(frozen=True, slots=True)
class Dish:
    """One pair.

    Attributes:
        key: Tells dishes apart.
        folder: Of its record, below the results.
        title: Workload and technique.
        host: Name of the machine.
        stage: One of ``STAGES``.
        progress: A fraction.
        act: What it is at, one of ``live.SHARES``; empty for one that has not begun or has ended.
        said: What it says itself, or the verdict of a ready one.
        power_w: Latest mean watts; ``None`` without joules.
        meter: Whose watts, with their grade.
        left_s: Seconds until the act ends at its pace; ``None`` where nobody can know.
        reason: Why it is burnt.
        pid: Of the process that was killed, if that is the reason.
        heard: When something was heard of it last, where that is long ago and on another host.
    """

    key: str
    folder: str
    title: str
    host: str
    stage: str
    progress: float
    act: str = ""
    said: str = ""
    power_w: float | None = None
    meter: str = ""
    left_s: float | None = None
    reason: str = ""
    pid: int | None = None
    heard: str = ""


def stage_of(progress: float) -> str:
    """Return what a share of the work is called in a kitchen."""
    if progress <= 0:
        return "preheating"
    if progress <= SIMMERS_TO:
        return "simmering"
    return "boiling" if progress <= BOILS_TO else "finishing"


def count(snapshot: Snapshot) -> int:
    """Return how many dishes there are."""
    return len(_first(snapshot)) + len(snapshot.pairs)


def dishes(snapshot: Snapshot, folder: Folder, start: int, most: int) -> list[Dish]:
    """Return a portion of all dishes: what cooks, what waits, what is burnt, then what is ready.

    Args:
        snapshot: Of the results.
        folder: The same, for the power of what cooks.
        start: Place of the first.
        most: How many.
    """
    first = _first(snapshot)
    found = [_unfinished(one, folder) for one in first[start : start + most]]
    begin = max(0, start - len(first))
    return found + _of_pairs(snapshot.pairs.iloc[begin : begin + most - len(found)])


def sheet(snapshot: Snapshot, folder: Folder) -> Sheet:
    """Return all dishes as a table."""
    rows = [
        {
            "title": dish.title,
            "host": dish.host,
            "stage": dish.stage,
            "progress": dish.progress,
            "act": dish.act,
            "said": dish.said,
            "power_w": dish.power_w,
            "meter": dish.meter,
            "left_s": dish.left_s,
            "heard": dish.heard,
            "reason": dish.reason if dish.pid is None else f"its process ({dish.pid}) is gone",
            "folder": dish.folder,
        }
        for dish in dishes(snapshot, folder, 0, count(snapshot))
    ]
    return Sheet("kitchen", COLUMNS, rows)


def _first(snapshot: Snapshot) -> list[Running | Waiting | Failure]:
    """Return all that is not ready."""
    return [*_cooking(snapshot), *_waiting(snapshot), *_failed(snapshot)]


def _cooking(snapshot: Snapshot) -> Sequence[Running]:
    killed = [one.folder for one in snapshot.running if one.state == "killed"]
    places = snapshot.pairs["folder"]
    # A pair that was killed and measured since is ready; its last word is history.
    done = set(places[places.isin(killed).to_numpy(bool)]) if killed else set()
    return [one for one in snapshot.running if one.folder not in done]


def _failed(snapshot: Snapshot) -> Sequence[Failure]:
    again = {one.folder for one in snapshot.running if one.works}
    again |= {one.folder for one in _waiting(snapshot)}
    return [one for one in snapshot.failures if one.folder not in again]


def _waiting(snapshot: Snapshot) -> Sequence[Waiting]:
    """Return points of sweeps that have not begun, each once."""
    return list(dict.fromkeys(one for sweep in snapshot.sweeps for one in sweep.waiting))


def _unfinished(one: Running | Waiting | Failure, folder: Folder) -> Dish:
    if isinstance(one, Running):
        return _of_running(one, folder)
    if isinstance(one, Failure):
        return _of_failure(one)
    key = f"waiting {one.folder}"
    return Dish(key, one.folder, one.name, one.host, "preheating", 0.0)


def _of_running(one: Running, folder: Folder) -> Dish:
    killed = one.state == "killed"
    watts = None if killed else curves.under_way(folder, one.points, one.metric).watts
    return Dish(
        key=one.file,
        folder=one.folder,
        title=f"{one.workload}: {one.label}",
        host=one.host,
        stage="burnt" if killed else stage_of(one.progress),
        progress=one.progress,
        act=one.act,
        said=one.note,
        power_w=None if watts is None or one.act == "measure" else watts[0],
        meter="" if watts is None else watts[1],
        left_s=one.left_s,
        pid=one.pid if killed else None,
        heard=clock(one.told_s) if one.state == "silent" else "",
    )


def _of_failure(one: Failure) -> Dish:
    return Dish(
        key=f"failed {one.folder}",
        folder=one.folder,
        title=f"{one.workload}: {one.technique}",
        host=one.host,
        stage="burnt",
        progress=0.0,
        reason=one.said,
    )


def _of_pairs(pairs: pd.DataFrame) -> list[Dish]:
    columns = ("folder", "workload", "label", "host", "_verdict")
    rows = zip(*(pairs[name] for name in columns), strict=True)
    return [
        Dish(
            key=str(folder),
            folder=str(folder),
            title=words(f"{workload}: {label}"),
            host=words(host),
            stage="ready",
            progress=1.0,
            said=words(verdict),
        )
        for folder, workload, label, host, verdict in rows
    ]


COLUMNS = (
    Column("title", "dish", words=True, link="run"),
    Column("host", "host", words=True),
    Column("stage", "state", words=True, said=True),
    Column("progress", "progress", lambda value: f"{value:.0%}"),
    Column("act", "doing", words=True),
    Column("said", "said", words=True),
    Column("power_w", "power", lambda value: f"{value:.0f} W"),
    Column("meter", "sensor", words=True),
    Column("left_s", "left", lambda value: f"{value:.0f} s"),
    Column("heard", "heard", words=True),
    Column("reason", "reason", words=True),
    Column("folder", "folder", words=True, page=False),
)
