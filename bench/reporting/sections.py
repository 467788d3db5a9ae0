"""Which records enter the table, how they are grouped and ordered, what their cells say."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.records import Record
from bench.reporting import notes
from bench.reporting.cells import Cell
from bench.reporting.claims import BASELINE
from bench.reporting.columns import Column, one_grade
from bench.reporting.notes import Note
from bench.reporting.pairs import title
from bench.store import SetAside

SYNTHETIC = "S"


@dataclass(frozen=True, slots=True)
class Section:
    """Records that may stand under each other: one workload, host, protocol and runtime.

    Attributes:
        workload: Their workload.
        host: The machine.
        protocol: Its name; with the values that tell two of one name apart.
        runtime: Likewise.
        records: The A/A pairs first, then by label and seed.
        notes: What stands under them.
    """

    workload: str
    host: str
    protocol: str
    runtime: str
    records: tuple[Record, ...]
    notes: tuple[Note, ...]

    @property
    def title(self) -> str:
        """What the records have in common, on one line."""
        return f"{self.workload} on {self.host}, protocol {self.protocol}, runtime {self.runtime}"


@dataclass(frozen=True, slots=True)
class Table:
    """All sections and what is to be said of the whole.

    Attributes:
        sections: By workload, host, protocol and runtime.
        notes: What did not enter, by name.
        origin: One line: how many records, and a digest over their ids.
    """

    sections: tuple[Section, ...]
    notes: tuple[Note, ...]
    origin: str


def assemble(records: Iterable[Record], set_aside: Iterable[SetAside] = ()) -> Table:
    """Return the table of these records.

    Rehearsals and records with synthetic joules never enter; they are counted and named.
    """
    ordered = sorted(records, key=lambda r: (r.id, r.host))
    left_out = [r for r in ordered if r.rehearsal or _synthetic(r)]
    entered = [r for r in ordered if not (r.rehearsal or _synthetic(r))]
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in entered:
        groups.setdefault(_conditions(record), []).append(record)
    protocols = _titles([record.protocol for record in entered])
    runtimes = _titles([record.runtime for record in entered])
    sections = []
    for key in sorted(groups):
        rows = tuple(sorted(groups[key], key=_row_order))
        workload, host, protocol, runtime = key
        sections.append(
            Section(
                workload, host, protocols[protocol], runtimes[runtime], rows, notes.of_section(rows)
            )
        )
    ids = "".join(f"{record.host}/{record.id}\n" for record in entered)
    digest = hashlib.sha256(ids.encode()).hexdigest()
    origin = f"{len(entered)} record{'' if len(entered) == 1 else 's'}, sha256 {digest}"
    return Table(tuple(sections), notes.of_collection(left_out, tuple(set_aside)), origin)


def rows(records: Sequence[Record], columns: Sequence[Column]) -> list[list[Cell]]:
    """Return one list of cells per record.

    Raises:
        TableError: A column would show joules of two grades.
    """
    shown = [[column.cell(record) for record in records] for column in columns]
    for column, cells in zip(columns, shown, strict=True):
        one_grade(column.name, records, cells)
    return [list(row) for row in zip(*shown, strict=True)]


def _synthetic(record: Record) -> bool:
    """Whether any joule of the record was made up."""
    phases = itertools.chain(
        record.baseline.phases.values(),
        record.variant.phases.values(),
        record.session.phases.values(),
    )
    grades = {comparison.grade for comparison in (record.comparison, *record.comparisons)}
    grades |= {reading.grade for phase in phases for reading in phase.readings}
    return SYNTHETIC in grades


def _row_order(record: Record) -> tuple[bool, str, int, str]:
    return record.technique != BASELINE, record.label, record.seed, record.id


def _conditions(record: Record) -> tuple[str, ...]:
    return record.workload, record.host, _canonical(record.protocol), _canonical(record.runtime)


def _canonical(settings: dict[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def _titles(settings: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return a title for each of several protocols or runtimes.

    Two that share a name are told apart by the values in which they differ.
    """
    distinct = {_canonical(one): one for one in settings}
    titles = {}
    for key, one in distinct.items():
        namesakes = [other for other in distinct.values() if title(other) == title(one)]
        differing = sorted(
            name
            for name in one
            if any(
                _canonical({name: other.get(name)}) != _canonical({name: one[name]})
                for other in namesakes
            )
        )
        values = ", ".join(f"{name} {one[name]}" for name in differing)
        titles[key] = f"{title(one)} ({values})" if values else title(one)
    return titles
