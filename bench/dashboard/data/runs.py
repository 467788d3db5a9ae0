"""One pair, opened: its record, or what it tells while it runs, or why it failed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from bench import live, store
from bench.collection.sources import printable
from bench.dashboard.data import blocks, curves
from bench.dashboard.data.folder import BrokenError, Folder, words
from bench.dashboard.data.happened import Failure
from bench.dashboard.data.running import Running
from bench.dashboard.data.sheets import Column, Sheet
from bench.dashboard.data.watching import Snapshot, Watcher
from bench.records import Arm, Record
from bench.reporting.scales import scale

_PLACE = re.compile(r"[^/\0]+(/[^/\0]+){0,5}")
MOST_TEXT = 60_000
"""Characters of a configuration that are shown."""

_LOGS = ".logs/"
_CONFIG = ".hydra/config.yaml"
"""What Hydra keeps of a run beside its log."""

OF_TRAININGS = ("overfitting", "out_of_memory", "resumed", "stopped")


@dataclass(frozen=True, slots=True)
class Opened:
    """What is known of one pair.

    Attributes:
        place: Folder of its record, below the results.
        pair: Its flat row; ``None`` without a record.
        record: The record; ``None`` without one, or where it is broken.
        running: What it tells, while it runs or after a kill.
        failure: Why it ended without a record.
        problem: Why it cannot be shown, if so.
    """

    place: str
    pair: Mapping[str, Any] | None = None
    record: Record | None = None
    running: Running | None = None
    failure: Failure | None = None
    problem: str = ""

    @property
    def there(self) -> bool:
        """Whether anything is known of it."""
        return any((self.record, self.running, self.failure, self.problem))

    @property
    def state(self) -> tuple[bool, bool, bool]:
        """What there is of it; another one is another page."""
        return self.record is not None, self.running is not None, self.failure is not None

    @property
    def title(self) -> str:
        """How pages call it."""
        if self.record is not None:
            return _title(self.record.workload, self.record.label, self.record.seed)
        if self.running is not None:
            return f"{self.running.workload}: {self.running.label}"
        return words(self.place)


def places(snapshot: Snapshot, most: int = 300) -> dict[str, str]:
    """Return pairs that may be opened, with their titles: what runs, what failed, the newest."""
    found = {one.folder: f"▶ {one.workload}: {one.label}" for one in snapshot.running}
    for one in snapshot.failures:
        found.setdefault(one.folder, f"✗ {one.id}")
    newest = snapshot.pairs.head(most)
    for folder, workload, label, seed in zip(
        *(newest[name] for name in ("folder", "workload", "label", "seed")), strict=True
    ):
        found.setdefault(str(folder), _title(workload, label, seed))
    return dict(list(found.items())[:most])


def opened(folder: Folder, snapshot: Snapshot, place: str) -> Opened:
    """Return what is known of a pair by its folder; nothing where the snapshot has none."""
    if not _PLACE.fullmatch(place):
        return Opened(place)
    running = next((one for one in snapshot.running if one.folder == place), None)
    failure = next((one for one in snapshot.failures if one.folder == place), None)
    rows = snapshot.pairs[snapshot.pairs["folder"].eq(place).to_numpy(bool, na_value=False)]
    if rows.empty:
        return Opened(place, running=running, failure=failure)
    pair = {str(name): value for name, value in rows.iloc[0].items()}
    try:
        return Opened(place, pair, folder.record(place), running, failure)
    except BrokenError as err:
        return Opened(place, pair, None, running, failure, str(err))


def waits(snapshot: Snapshot, place: str) -> bool:
    """Return whether a pair is a point of a sweep that has not begun."""
    return any(one.folder == place for sweep in snapshot.sweeps for one in sweep.waiting)


def training(folder: Folder, found: Opened) -> curves.Training:
    """Return the trainings of a pair."""
    if found.record is None:
        told = _told(folder, found)
        metric = "" if found.running is None else found.running.metric
        return curves.under_way(folder, told, metric) if told else curves.Training()
    return curves.finished(folder, found.place, found.record)


def session(folder: Folder, found: Opened) -> blocks.Session:
    """Return the windows of a pair."""
    if found.record is not None and found.pair is not None:
        return blocks.finished(folder, found.pair, found.record.session.discards)
    told = _told(folder, found)
    return blocks.under_way(folder, told) if told else blocks.Session("s")


def _told(folder: Folder, found: Opened) -> str:
    """Return the file of what a pair told, also of one that has failed; nothing without one."""
    if found.running is not None:
        return found.running.points
    parts = found.place.split("/")
    left = f"{live.FOLDER}/{parts[0]}/{parts[-1]}.jsonl"
    return left if found.failure and (folder.root / left).exists() else ""


def metrics(record: Record) -> Sheet:
    """Return the task metrics of both arms, as the test split gave them."""
    names = dict.fromkeys([*record.baseline.metrics, *record.variant.metrics])
    rows = [
        {
            "metric": words(name),
            **{
                arm: _metric(name, found.metrics)
                for arm, found in (("baseline", record.baseline), ("variant", record.variant))
            },
        }
        for name in names
    ]
    columns = ("metric", "baseline", "variant")
    return Sheet("metrics", tuple(Column(name, name, words=True) for name in columns), rows)


def trained(record: Record) -> list[tuple[str, str, str]]:
    """Return what happened to the trainings: arm, kind, text."""
    arms: tuple[tuple[str, Arm], ...] = (("baseline", record.baseline), ("variant", record.variant))
    return [
        (name, words(event.kind), words(f"{event.stage}, step {event.step}: {event.text}", 400))
        for name, arm in arms
        for event in arm.events
    ]


def happened(snapshot: Snapshot, found: Opened) -> list[tuple[str, str, str]]:
    """Return what has happened to the trainings of a pair under way: nothing, kind, text."""
    return [
        ("", event.kind, event.text)
        for event in reversed(snapshot.events)
        if event.folder == found.place and event.kind in OF_TRAININGS
    ]


def configuration(folder: Folder, found: Opened) -> str:
    """Return what was asked for, of a pair in whatever state; nothing where it is not known."""
    if found.record is not None:
        return as_yaml(found.record.config)
    with contextlib.suppress(BrokenError):
        if found.running is not None:
            place = (found.running.log or "").rpartition("/")[0]
            if not place.startswith(_LOGS):
                return ""
            return folder.text(f"{place}/{_CONFIG}")[:MOST_TEXT]
        if found.failure is not None:
            document = folder.document(f"{found.failure.folder}/{store.FAILURE}").get("config")
            return as_yaml(document) if isinstance(document, dict) else ""
    return ""


def as_yaml(document: Mapping[str, Any]) -> str:
    """Return a part of a record as people read it, cut to what a page bears."""
    try:
        text = yaml.safe_dump(dict(document), sort_keys=True, allow_unicode=True)
    except (yaml.YAMLError, RecursionError):
        return "?"
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}\n..."


def log_lines(watcher: Watcher, found: Opened) -> list[str]:
    """Return the last lines of a pair's log, where its place is known."""
    told = (event.log for event in watcher.latest.events if event.folder == found.place)
    place = found.running.log if found.running is not None else next(filter(None, told), None)
    place = place or watcher.sweeps.log_of(found.place)
    if place is None or not place.startswith(_LOGS):
        return []
    with contextlib.suppress(BrokenError):
        return [words(line, 400) for line in watcher.folder.tail(place)[-200:]]
    return []


def traceback_of(folder: Folder, failure: Failure) -> str:
    """Return the traceback of a failure, as it stands in its document."""
    with contextlib.suppress(BrokenError):
        found = folder.document(f"{failure.folder}/{store.FAILURE}").get("traceback")
        if isinstance(found, str):
            return printable(found[-MOST_TEXT:])
    return ""


def _title(workload: str, label: str, seed: object) -> str:
    return words(f"{workload}: {label} ({seed})")


def _metric(name: str, found: Mapping[str, float]) -> str | None:
    value = found.get(name)
    if value is None:
        return None
    if name in ("perplexity", "loss"):
        return f"{value:.3f}"
    of_metric = scale(name)
    return f"{of_metric.value(value)} {of_metric.unit}"
