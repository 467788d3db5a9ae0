"""What happened lately: what running pairs told, and what records and failures say of the rest."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from bench import live, store
from bench.collection.sources import printable
from bench.dashboard.data.folder import BrokenError, Folder, number, words

MOST_EVENTS = 200


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        at_s: Seconds since 1970.
        kind: As ``bench.live`` names it.
        host: Name of the machine.
        id: Of the pair.
        folder: Of its record, below the results.
        text: For people.
        log: The pair's log below the results, if known.
    """

    at_s: float
    kind: str
    host: str
    id: str
    folder: str
    text: str
    log: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A pair that ended without a record.

    Attributes:
        folder: Where its record would stand, below the results.
        host: First part of the folder.
        workload: Second.
        technique: Third.
        when_s: Seconds since 1970, from the document; of its file where that says nothing.
        kind: Of the error.
        error: What it said, on one line.
    """

    folder: str
    host: str
    workload: str
    technique: str
    when_s: float
    kind: str
    error: str

    @property
    def id(self) -> str:
        """As a record would be called."""
        return self.folder.partition("/")[2]

    @property
    def said(self) -> str:
        """What went wrong, on one line."""
        return f"{self.kind}: {self.error}" if self.kind else self.error


def failure(folder: Folder, relative: str, modified_ns: int) -> Failure:
    """Return what a failure's document says; one that is none is a failure as well."""
    place = printable(relative.removesuffix(f"/{store.FAILURE}"))
    host, workload, technique, *_ = [words(part) for part in place.split("/")] + [""] * 3
    try:
        document = folder.document(relative)
        kind, error = words(document.get("type")), words(document.get("error"))
        when_s = seconds(document.get("when"))
    except BrokenError as err:
        kind, error, when_s = "", str(err), None
    return Failure(
        place, host, workload, technique, when_s or modified_ns * 1e-9, kind, error or "?"
    )


def told(folder: Folder, hosts: list[str]) -> list[Event]:
    """Return the last events that running pairs of these hosts told."""
    found: list[Event] = []
    for host in hosts:
        for name in (live.FORMER_EVENTS, live.EVENTS):
            try:
                lines = folder.lines(f"{live.FOLDER}/{host}/{name}")
            except BrokenError:
                continue
            found += [event for line in lines if (event := _event(line))]
    return found


def derived(pairs: pd.DataFrame, failures: tuple[Failure, ...]) -> list[Event]:
    """Return when the newest pairs were finished and when others failed."""
    newest = pairs.head(MOST_EVENTS)
    columns = ("_created_s", "host", "id", "folder", "label")
    rows = zip(*(newest[name] for name in columns), strict=True)
    found = [
        Event(float(at_s), "finished", words(host), words(id_), str(folder), words(label))
        for at_s, host, id_, folder, label in rows
    ]
    found += [
        Event(one.when_s, "failed", one.host, one.id, one.folder, one.said) for one in failures
    ]
    return found


def merged(told_ones: list[Event], derived_ones: list[Event]) -> tuple[Event, ...]:
    """Return the newest events, what was told and is derived as well only once, newest first."""
    known = {(event.kind, event.folder) for event in told_ones}
    rest = [event for event in derived_ones if (event.kind, event.folder) not in known]
    ordered = sorted(itertools.chain(told_ones, rest), key=lambda event: -event.at_s)
    return tuple(ordered[:MOST_EVENTS])


def seconds(when: object) -> float | None:
    """Return a time of ISO 8601 in seconds since 1970, ``None`` if it is none."""
    if not isinstance(when, str):
        return None
    try:
        return datetime.fromisoformat(when).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _event(line: dict[str, object]) -> Event | None:
    at_s, folder = number(line.get("at_s")), line.get("folder")
    if at_s is None or not isinstance(folder, str):
        return None
    log = words(line.get("log")) or None
    texts = {key: words(line.get(key)) for key in ("kind", "host", "id", "text")}
    return Event(at_s=at_s, folder=printable(folder), log=log, **texts)
