"""What a table shows, from its YAML: which rows, grouped how, in which order, which columns."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from bench import codec
from bench.flat import SCHEMA
from bench.folders import conf_folder
from bench.reporting import catalogue, hosts, multitask, notes
from bench.reporting.multitask import notes as over_tasks
from bench.reporting.multitask import published
from bench.reporting.pairs import TableError

_VALUES = {"workload": "recipe_json", "protocol": "protocol_json", "runtime": "runtime_json"}
"""Names are not enough: two of one name with other values are never pooled."""

_IDENTIFYING = {"technique": "technique", "label": "technique", "seed": "seed"}
_IDENTIFYING |= dict.fromkeys(("session_number", "id"), "seed")
"""Grouping columns that a column of another name shows."""


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One entry under ``columns:``.

    Attributes:
        column: Name in ``catalogue``.
        heading: Printed instead of the column's own.
        stacked: Whether narrow formats set it below the column before it.
    """

    column: str
    heading: str | None = None
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table of the paper.

    Attributes:
        name: Of its files.
        caption: What it shows, without a full stop.
        of: What a row is: a technique under one set of conditions, a host and how it measured, or
            a technique over tasks.
        columns: In their order.
        where: Flat columns and the values, or patterns of values, of the pairs that enter.
        by: Flat columns whose values tell rows apart; whatever else differs is pooled.
        sections: Those of ``by`` that rows of one section have in common.
        order: Figures or grouping columns by which rows are ordered, with ``-`` the largest first;
            the A/A pair always leads.
        notes: Kinds of notes that stand under each section.
        summary: Whether a mean over workloads follows, and which.
        inferences: Over which a life-cycle saving is counted.
        place: In a report that holds several; the rest follow by name.
        tasks: Of a table over tasks, its columns of tasks.
        published: Of a table over tasks, the benchmark whose published scores stand beside.
    """

    name: str
    caption: str
    of: Literal["techniques", "hosts", "tasks"]
    columns: tuple[ColumnSpec, ...]
    where: dict[str, Any] = field(default_factory=dict)
    by: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    summary: Literal["geometric_mean"] | None = None
    inferences: float = 1e6
    place: int | None = None
    tasks: tuple[multitask.Task, ...] = ()
    published: str | None = None

    def __post_init__(self) -> None:
        """Refuse names that nothing has, and groupings that no reader could see."""
        for entry in self.columns:
            if not catalogue.is_metric(entry.column, self.of):
                _require_known("columns", entry.column, catalogue.names(self.of))
        for key, names in (("where", self.where), ("by", self.by)):
            for name in names:
                _require_known(key, name, SCHEMA.names)
        for name in self.sections:
            _require_known("sections", name, self.by)
        for kind in self.notes:
            _require_known("notes", kind, over_tasks.KINDS if self.of == "tasks" else notes.KINDS)
        if not self.columns:
            raise TableError("columns: is empty, and so would be the table")
        each = [entry.column for entry in self.columns]
        if twice := sorted({name for name in each if each.count(name) > 1}):
            raise TableError(f"columns: {', '.join(twice)} would be there twice")
        if not self.inferences > 0:
            raise TableError(f"inferences: {self.inferences:g} is no number of inferences")
        if self.of != "techniques" and (self.by or self.summary):
            raise TableError(
                f"by: and summary: are for tables of techniques; one of {self.of} has none"
            )
        self._require_tasks()
        shown = {*self.sections, *(entry.column for entry in self.columns)}
        for name in self.by:
            if name not in shown and _IDENTIFYING.get(name) not in shown:
                raise TableError(
                    f"by: has {name}, but neither sections: nor columns: shows it, so that rows "
                    "could not be told apart"
                )

    def _require_tasks(self) -> None:
        """Refuse columns of tasks where there can be none, and none where there must be some."""
        if self.of != "tasks":
            if self.tasks or self.published:
                raise TableError(f"tasks: and published: are for of: tasks, not for {self.of}")
            return
        if self.order:
            raise TableError("order: is not for tables of tasks: a model's baseline leads there")
        names = [task.task for task in self.tasks]
        if not names or len(set(names)) < len(names):
            raise TableError(
                "tasks: has each task once, at least one: {task: mrpc, heading: MRPC}; there are "
                f"{', '.join(names) or 'none'}"
            )
        for task in self.tasks:
            if task.counts_with is not None:
                _require_known("counts_with", task.counts_with, names)
        if self.published is not None:
            _require_known("published", self.published, published.names())

    @property
    def grouping(self) -> tuple[str, ...]:
        """Columns to group by: ``by`` with the values behind each name."""
        if self.of != "techniques":
            return hosts.BY if self.of == "hosts" else multitask.BY
        return tuple(dict.fromkeys(n for name in self.by for n in (name, _VALUES.get(name, name))))

    @property
    def section_key(self) -> tuple[str, ...]:
        """Columns that rows of one section share, with the values behind each name."""
        return tuple(
            dict.fromkeys(n for name in self.sections for n in (name, _VALUES.get(name, name)))
        )


def tables() -> tuple[str, ...]:
    """Return the names of the tables that are there."""
    return tuple(sorted(path.stem for path in (conf_folder() / "table").glob("*.yaml")))


def load_all() -> tuple[TableSpec, ...]:
    """Return all tables that are there, in the order of a report.

    Raises:
        TableError: One says what no table can; the message names file and key.
    """
    last = len(tables())
    found = (load(name) for name in tables())
    return tuple(sorted(found, key=lambda spec: last if spec.place is None else spec.place))


def load(name: str) -> TableSpec:
    """Return a table by its name in ``conf/table``, or by the path of a YAML file.

    Raises:
        TableError: There is none, or it says what no table can; the message names file and key.
    """
    path = Path(name) if name.endswith(".yaml") else conf_folder() / "table" / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as err:
        where = f"{path} ({err.strerror})" if name.endswith(".yaml") else f"table={name}"
        raise TableError(
            f"{where}: there is no such table; {_nearest(name, tables())}, or give a file: "
            "table=FILE.yaml"
        ) from err
    try:
        return _read(yaml.safe_load(text), path.stem)
    except yaml.YAMLError as err:
        raise TableError(f"{path} is no YAML: {' '.join(str(err).split())}") from err
    except (TableError, codec.CodecError) as err:
        raise TableError(f"{path}: {err}") from err


def _read(document: Any, name: str) -> TableSpec:
    if not isinstance(document, dict):
        raise TableError(f"a table is a mapping of keys, this is {document!r}")
    for key in document:
        _require_known("key", key, [f.name for f in fields(TableSpec) if f.name != "name"])
    columns = document.get("columns")
    if isinstance(columns, list):
        columns = [{"column": entry} if isinstance(entry, str) else entry for entry in columns]
        for entry in columns:
            for key in entry if isinstance(entry, dict) else ():
                _require_known("columns", key, [f.name for f in fields(ColumnSpec)])
    return codec.decode(TableSpec, {**document, "name": name, "columns": columns}, "table")


def _require_known(key: str, name: object, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        said = f"{key}: {name}" if key != "key" else f"{name}:"
        raise TableError(f"{said} is not known here; {_nearest(str(name), names)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are {', '.join(names)}" if names else "there are none"
