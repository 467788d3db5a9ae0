"""A table of any kind as cells and figures: which rows it has, how they are grouped and ordered."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.reporting import catalogue, hosts, means, metered, notes
from bench.reporting.cells import DASH, Cell, Note, listed
from bench.reporting.columns import Column, Value, one_grade
from bench.reporting.items import SAMPLES, Item, item_of
from bench.reporting.judging import MEASURED
from bench.reporting.multitask import Group, Line, pivot, published, subjects
from bench.reporting.multitask import columns as over_tasks
from bench.reporting.multitask import notes as of_tasks
from bench.reporting.pairs import Pairs, TableError, left_out
from bench.reporting.rows import Row
from bench.reporting.scales import scale
from bench.reporting.selection import Records
from bench.reporting.specs import TableSpec
from bench.reporting.titles import titles

Cells = tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """Rows that stand under each other.

    Attributes:
        title: What they have in common, on one line.
        key: The same by column, for formats without titles.
        columns: Those that are worth reading here.
        cells: One line per row, a cell per column.
        figures: Names of the raw figures.
        values: One line per row, a value per figure.
        missing: Per row, why figures are missing, by the name of their column.
        notes: What stands under them.
    """

    title: str
    key: Mapping[str, Value]
    columns: tuple[Column[Any], ...]
    cells: Cells
    figures: tuple[str, ...]
    values: tuple[tuple[Value, ...], ...]
    missing: tuple[Mapping[str, str], ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """All sections of one table and what is to be said of the whole.

    Attributes:
        name: Of its files.
        caption: What it shows.
        sections: By what their rows have in common.
        notes: What did not enter, by name.
        origin: One line: the command and the records.
        turned: Whether columns are set as lines: for few rows of many words.
    """

    name: str
    caption: str
    sections: tuple[Section, ...]
    notes: tuple[Note, ...]
    origin: str
    turned: bool


def assemble(records: Records, spec: TableSpec) -> Table:
    """Return a table of these records.

    Rehearsals and records with synthetic joules never enter; they are counted and named.

    Raises:
        TableError: Rows would pool or show what must not stand together.
    """
    if spec.of == "hosts":
        sections = _of_hosts(records.chosen(spec.where), spec)
    elif spec.of == "tasks":
        sections = _of_tasks(records, spec)
    else:
        found = records.rows(spec.grouping, spec.where)
        sections = _of_techniques(found, spec, records.results)
        if spec.summary:
            sections += _of_means(found, spec)
    return Table(
        name=spec.name,
        caption=spec.caption,
        sections=tuple(sections),
        notes=notes.of_collection(left_out(records.pairs), records.set_aside),
        origin=records.origin,
        turned=spec.of == "hosts",
    )


def _of_techniques(found: Sequence[Row], spec: TableSpec, results: Path) -> list[Section]:
    every = _columns(spec, lambda name: catalogue.technique_columns(name, spec.inferences, results))
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in _ordered(found, spec, every):
        groups[tuple(row.key[name] for name in spec.section_key)].append(row)
    titled = titles(groups, spec.section_key)
    order = sorted(groups, key=lambda key: [(value is not None, value) for value in key])
    return [
        section(
            titled[key],
            {name: groups[key][0].key[name] for name in spec.sections},
            groups[key],
            _named_metric(every, groups[key]),
            notes.of_section(groups[key], spec.notes),
            item_of(groups[key]),
        )
        for key in order
    ]


def _of_tasks(records: Records, spec: TableSpec) -> list[Section]:
    """Return rows over tasks; none if no record is of one of them."""
    found = records.rows(spec.grouping, subjects.where(spec.tasks) | spec.where)
    known = published.read(spec.published) if spec.published else ()
    return [_of_group(group, spec) for group in pivot.groups(found, spec.tasks, known)]


def _of_group(group: Group, spec: TableSpec) -> Section:
    columns = _columns(spec, lambda name: over_tasks.COLUMNS[name](group))
    under = of_tasks.of_group(group, spec.notes)
    return section(group.title, group.key, group.lines, columns, under)


def _columns(
    spec: TableSpec, named: Callable[[str], Sequence[Column[Any]]]
) -> tuple[Column[Any], ...]:
    """Return the columns asked for; joules of a grade stand beside what is stacked below them."""
    stacks: list[list[list[Column[Any]]]] = []
    for entry in spec.columns:
        found = named(entry.column)
        if entry.heading is not None:
            found = [dataclasses.replace(column, heading=entry.heading) for column in found]
        if not entry.stacked:
            stacks.append([[column] for column in found])
        elif stacks and [len(stack) for stack in stacks[-1]] == [1] * len(found):
            for stack, column in zip(stacks[-1], found, strict=True):
                stack.append(dataclasses.replace(column, stacked=True))
        else:
            raise TableError(
                f"table {spec.name}: columns: {entry.column} cannot be stacked on what stands "
                "before it: only one column on one, or one per grade on one per grade"
            )
    return tuple(column for group in stacks for stack in group for column in stack)


_UNMARKED = {"quality": "", "difference": "[95 %]"}
"""Units of the columns of quality where each of their cells says its own."""


def _named_metric(columns: Sequence[Column[Any]], found: Sequence[Row]) -> list[Column[Any]]:
    """Return the columns with the one of quality under the name of the section's metric."""
    metrics = listed(row.quality.metric.replace("_", " ") for row in found)
    shown = [
        dataclasses.replace(c, heading=metrics) if c.heading == "quality" else c for c in columns
    ]
    if all(scale(row.quality.metric).mark for row in found):  # cells name their unit
        shown = [dataclasses.replace(c, unit=_UNMARKED.get(c.name, c.unit)) for c in shown]
    return shown


def _ordered(
    found: Sequence[Row], spec: TableSpec, columns: Sequence[Column[Any]]
) -> Sequence[Row]:
    """Return rows in the order asked for; a missing figure comes last either way."""
    ordered = list(found)
    for entry in reversed(spec.order):
        name, falling = entry.removeprefix("-"), entry.startswith("-")
        read = _reader(name, columns, spec)
        present = [row for row in ordered if read(row) is not None]
        absent = [row for row in ordered if read(row) is None]
        ordered = [*sorted(present, key=read, reverse=falling), *absent]
    return sorted(ordered, key=lambda row: not row.is_noise_floor)


def _reader(name: str, columns: Sequence[Column[Any]], spec: TableSpec) -> Any:
    if name in spec.grouping:
        return lambda row: row.key[name]
    for column in columns:
        if name in column.figures:
            place = column.figures.index(name)
            return lambda row: column.values(row)[place]
    known = [*spec.grouping, *(figure for column in columns for figure in column.figures)]
    raise TableError(f"table {spec.name}: order: {name} is none of {', '.join(known)}")


def _of_means(found: Sequence[Row], spec: TableSpec) -> list[Section]:
    """Return the means over workloads, a section for each set of workloads under one condition."""
    names = ("workload", *(n for n in spec.section_key if n not in means.WORKLOAD))
    groups: dict[tuple[Any, ...], list[means.Mean]] = defaultdict(list)
    for mean in means.geometric_means(found):
        over = f"geometric mean over {', '.join(mean.workloads)}"
        groups[over, *(mean.key[name] for name in names[1:])].append(mean)
    titled = titles(groups, names)
    note = "Each workload counts once; the interval speaks of these workloads and of no others."
    return [
        section(
            titled[key][0].upper() + titled[key][1:],
            {n: v for n, v in zip(names, key, strict=True) if n in ("workload", *spec.sections)},
            members,
            means.COLUMNS,
            (Note(note), *metered.not_averaged([row for one in members for row in one.rows])),
        )
        for key, members in groups.items()
    ]


def _of_hosts(chosen: Pairs, spec: TableSpec) -> list[Section]:
    found = hosts.settings(chosen)
    if not found:
        return []
    return [section("", {}, found, _columns(spec, lambda name: (hosts.COLUMNS[name],)), ())]


def section(
    title: str,
    key: Mapping[str, Value],
    items: Sequence[Any],
    columns: Sequence[Column[Any]],
    under: tuple[Note, ...],
    item: Item = SAMPLES,
) -> Section:
    """Return rows as cells and figures; headings say what an item is.

    Raises:
        TableError: A column would show joules of two grades.
    """
    columns = [
        dataclasses.replace(c, heading=item.said(c.heading), unit=item.said(c.unit))
        for c in columns
    ]
    shown = {column.name: tuple(column.cell(item) for item in items) for column in columns}
    for name, cells in shown.items():
        one_grade(name, items, cells)
    readable, empty = _readable(columns, shown, items)
    if empty:
        said = (f"{c.heading} ({'; '.join(_reasons(shown[c.name]))})" for c in empty)
        under = (*under, Note(f"Not shown, for want of any figure: {', '.join(said)}."))
    values = [[column.values(item) for column in columns] for item in items]
    missing = (
        {
            column.name: column.why(items[row]) or shown[column.name][row].note or "not known"
            for column, found in zip(columns, values[row], strict=True)
            if None in found
        }
        for row in range(len(items))
    )
    return Section(
        title=title,
        key=key,
        columns=readable,
        cells=tuple(zip(*(shown[column.name] for column in readable), strict=True)),
        figures=tuple(name for column in columns for name in column.figures),
        values=tuple(tuple(value for found in row for value in found) for row in values),
        missing=tuple(missing),
        notes=under,
    )


def _readable(
    columns: Sequence[Column[Any]], shown: Mapping[str, Sequence[Cell]], items: Sequence[Any]
) -> tuple[tuple[Column[Any], ...], list[Column[Any]]]:
    """Return the columns worth reading, and those that would be but for want of any figure."""
    wanted = [c for c in columns if not c.uncounted or not all(map(_counted, items))]
    empty = [c for c in wanted if all(cell.text == DASH for cell in shown[c.name])]
    readable: list[Column[Any]] = []
    for column, before in zip(columns, (None, *columns), strict=False):
        if column not in wanted or column in empty:
            continue
        # A second line can hold one thing: an interval, or what is stacked there.
        alone = before not in readable or any(
            cell.below for one in (before, column) if one for cell in shown[one.name]
        )
        readable.append(dataclasses.replace(column, stacked=False) if alone else column)
    # A column per grade: the notes say which grades there are, so those that are not need no word.
    return tuple(readable), [column for column in empty if column.measure is None]


def _reasons(cells: Sequence[Cell]) -> list[str]:
    """Return the distinct reasons of missing figures, in their order, three at most."""
    reasons = list(dict.fromkeys(cell.note or "not known" for cell in cells))
    return reasons[:3] + (["and others"] if len(reasons) > 3 else [])


def _counted(item: Row | means.Mean | Line) -> bool:
    return any(measure in item.ratios for measure in MEASURED)
