"""The table of pairs, written for the paper and shown in the terminal.

The same records give the same bytes, whatever their order, the locale or the time zone.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.records import Record
from bench.reporting.formats import csv_text, markdown
from bench.reporting.latex import latex
from bench.reporting.sections import assemble
from bench.reporting.terminal import TerminalTable
from bench.store import SetAside, write_text

NAME = "pairs"


def write(
    records: Iterable[Record], set_aside: Iterable[SetAside], out: Path, command: str
) -> list[Path]:
    """Write ``pairs.md``, ``pairs.csv`` and ``pairs.tex`` and return their paths.

    Args:
        records: In any order; those that must not enter are named under the table.
        set_aside: Documents that are no records, named likewise.
        out: Folder of the files; it is made if it is not there.
        command: The command that makes them, for their first line.

    Raises:
        TableError: A column would show joules of two grades.
    """
    table = assemble(records, set_aside)
    texts = {"md": markdown, "csv": csv_text, "tex": latex}
    # All are made before one is written: a refusal leaves the old files as they are.
    made = {suffix: make(table, command) for suffix, make in texts.items()}
    out.mkdir(parents=True, exist_ok=True)
    return [write_text(out / f"{NAME}.{suffix}", text) for suffix, text in made.items()]


def terminal(records: Iterable[Record], set_aside: Iterable[SetAside]) -> TerminalTable:
    """Return the same table for rich to print; columns give way where the console is narrow."""
    return TerminalTable(assemble(records, set_aside))
