"""The tables of the paper, written in every format and shown in the terminal.

The same records give the same bytes, whatever their order, the locale or the time zone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.reporting import formats, raw, specs, workbook
from bench.reporting.latex import latex
from bench.reporting.multitask import subjects
from bench.reporting.sections import Table, assemble
from bench.reporting.selection import Records
from bench.reporting.specs import TableSpec
from bench.reporting.terminal import TerminalTable
from bench.store import write_bytes

PAIRS = "pairs"
"""Name of the table of single pairs: its CSV holds every flat column."""

MOST_ROWS = 400
"""Rows that somebody may still read; of more there is only the CSV."""

FORMATS: dict[str, Callable[[Table], bytes]] = {
    "md": lambda table: formats.markdown(table).encode(),
    "csv": lambda table: formats.csv_text(table).encode(),
    "tex": lambda table: latex(table).encode(),
    "json": lambda table: formats.json_text(table).encode(),
    "xlsx": workbook.workbook,
}
"""By the end of a file's name."""


def write(records: Records, chosen: Sequence[TableSpec], out: Path) -> list[Path]:
    """Write every table in every format and return the paths.

    A table of which there is no record is not written.

    Args:
        records: In any order; those that must not enter are named under each table.
        chosen: What the tables show.
        out: Folder of the files; it is made if it is not there.

    Raises:
        TableError: A table would pool or show what must not stand together.
    """
    made: dict[str, bytes] = {}
    for spec in chosen:
        made |= _contents(records, spec)
    # All are made before one is written: a refusal leaves the old files as they are.
    out.mkdir(parents=True, exist_ok=True)
    for spec in chosen:
        for end in FORMATS:
            if (name := f"{spec.name}.{end}") not in made:
                (out / name).unlink(missing_ok=True)  # of an earlier report on other records
    return [write_bytes(out / name, content) for name, content in made.items()]


def shown(records: Records, spec: TableSpec) -> TerminalTable:
    """Return a table for rich to print; columns give way where the console is narrow."""
    return TerminalTable(assemble(records, spec))


def over_tasks(records: Records) -> TableSpec | None:
    """Return the table that sets all these records side by side, a column per task.

    ``None`` unless each is of one of its tasks, and there are several of these.
    """
    for spec in specs.load_all():
        if spec.of == "tasks":
            found = records.rows(spec.grouping, spec.where)
            told = [subjects.measured(row, spec.tasks) for row in found]
            if len({one.task for one in told if one}) > 1 and None not in told:
                return spec
    return None


def _contents(records: Records, spec: TableSpec) -> dict[str, bytes]:
    """Return the files of one table by name."""
    made: dict[str, bytes] = {}
    if spec.name != PAIRS or len(records.pairs) <= MOST_ROWS:
        table = assemble(records, spec)
        forms = FORMATS if _rows_of(table) <= MOST_ROWS else {"csv": FORMATS["csv"]}
        if not table.sections:
            forms = {}  # no record is of what it shows: an empty table would say nothing
        made = {f"{spec.name}.{end}": form(table) for end, form in forms.items()}
    if spec.name == PAIRS:
        made[f"{spec.name}.csv"] = raw.csv_bytes(records.chosen(spec.where), records.origin)
    return made


def _rows_of(table: Table) -> int:
    """Return how many rows a table has in all its sections."""
    return sum(len(section.cells) for section in table.sections)
