"""What a search for good knobs has tried, found and spent, as frozen data.

``search.json`` in the search's folder holds it: tables and figures are made of it, and a pair that
takes what was found is charged what finding it has cost. Needs neither torch nor Optuna.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench import codec
from bench.findings import Comparison, MeasureName, Quality
from bench.readings import Grade, Phase, joules, total

DOCUMENT = "search.json"
SCHEMA = 1
"""Number of the document's layout; a rename or a change of meaning raises it."""

State = Literal["complete", "pruned", "failed"]


class SearchError(ValueError):
    """A search that cannot be read, gone on with or charged; the message has the way out."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one trial has cost.

    Attributes:
        made: Making of artefacts, by their digest. Each counts for the first trial that took it,
            whoever made it; a baseline only where its training is searched, too.
        evaluated: Looking at the variant: its held-out and its test examples.
        measured: All that sessions took, those that were broken off or came to nothing included.
        wall_s: The whole trial by the clock, with all that nobody read a counter for.
    """

    made: dict[str, Phase]
    evaluated: Phase
    measured: Phase
    wall_s: float


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial: a pair with knobs that the search has drawn.

    Attributes:
        number: In the order in which they were begun.
        state: ``pruned`` had lost too much on the held-out examples and was not measured.
        technique: Name of its technique; empty if it could not even be built.
        label: As printed in tables.
        knobs: Drawn values by key, such as ``technique.ratio``.
        quality: Of both arms on held-out examples of the training split, which nobody trains on.
        comparison: Of the measure that the search minimises; ``None`` if it was not measured.
        spent: What it has cost.
        record: ``id`` of its record, below the search's folder.
        reason: Why it is not complete.
        command: Measures a pair with these knobs.
        hosts: Names of the machines that made, evaluated and measured it.
    """

    number: int
    state: State
    technique: str
    label: str
    knobs: dict[str, Any]
    quality: Quality | None
    comparison: Comparison | None
    spent: Spent
    record: str | None
    reason: str | None
    command: str
    hosts: tuple[str, ...]

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"trial {self.number}"


@dataclass(frozen=True, slots=True)
class Search:
    """All trials of one search.

    Attributes:
        name: Of the study.
        workload: Name of the workload.
        protocol: Name of the protocol.
        sampler: What has drawn the knobs.
        floor: Loss of the metric, a positive number, beyond which a trial is not measured.
        measure: What is minimised, variant over baseline.
        scope: Components added up, or what the seconds are of.
        source: Meter of the joules; ``clock`` for seconds.
        grade: Of the joules; ``none`` for seconds.
        tried: Finished trials, in the order of their numbers.
        schema: Layout number.
    """

    name: str
    workload: str
    protocol: str
    sampler: str
    floor: float | None
    measure: MeasureName
    scope: str
    source: str
    grade: Grade
    tried: tuple[Tried, ...]
    schema: int = SCHEMA

    @property
    def energy_j(self) -> float | None:
        """Joules spent so far by the meter of the search; ``None`` without, or if one is missing.

        A trial whose training failed leaves no account of it: its joules are in no sum.
        """
        if self.measure != "energy_j":
            return None
        spent = charged(self.tried, ())
        return joules(spent.readings, self.source, self.grade, self.scope)

    @property
    def wall_s(self) -> float:
        """Seconds of all trials, one after the other."""
        return sum(tried.spent.wall_s for tried in self.tried)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of all machines that had a part in it."""
        return tuple(sorted({host for tried in self.tried for host in tried.hosts}))


def read(folder: Path) -> Search:
    """Return what a search's folder holds.

    Raises:
        SearchError: It is no folder of a search.
    """
    path = folder / DOCUMENT
    meant = f"search={folder}: give the folder of a search, one below <store.root>/.searches"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise SearchError(f"{meant}; {path} cannot be read ({err.strerror})") from err
    except ValueError as err:
        raise SearchError(f"{meant}; {path} is not JSON ({err})") from err
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise SearchError(
            f"{path}: schema is {schema!r}, this version of joulebench reads {SCHEMA}; search "
            f"again, or charge it with the version that wrote it"
        )
    try:
        return codec.decode(Search, document)
    except codec.CodecError as err:
        raise SearchError(f"{path}: {err}; search again") from err


def require(search: Search, workload: str, technique: str) -> None:
    """Refuse to charge a pair for a search that was not for it.

    Raises:
        SearchError: The message names both.
    """
    techniques = sorted({tried.technique for tried in search.tried if tried.technique})
    if search.workload != workload or technique not in techniques:
        raise SearchError(
            f"search={search.name} tried {', '.join(techniques) or 'nothing'} on "
            f"{search.workload}, and this pair is {technique} on {workload}: search=null charges "
            f"it nothing, or name the search that found its knobs"
        )


def charged(tried: Iterable[Tried], own: Container[str]) -> Phase:
    """Return what trials have spent, but for making artefacts that a record accounts for itself.

    Args:
        tried: All of a search, also those that came to nothing.
        own: Digests of these artefacts.
    """
    phases: list[Phase] = []
    for one in tried:
        phases += [phase for digest, phase in one.spent.made.items() if digest not in own]
        phases += [one.spent.evaluated, one.spent.measured]
    return total(phases)
