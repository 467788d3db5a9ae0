"""The report as a PDF without TeX: findings, tables, figures and method, set by typst.

``report.typ`` is the layout; what it says is handed over as one JSON document, so that no sign in a
record is ever markup. Fonts come with typst and nothing is looked up, so the same records give the
same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import typst

from bench.reporting.cells import Footnotes, Note
from bench.reporting.method import method
from bench.reporting.narrow import Line, strips
from bench.reporting.prose import Paragraph, cited, plain
from bench.reporting.rows import Row, origin
from bench.reporting.sections import Section, Table, assemble
from bench.reporting.selection import Records
from bench.reporting.specs import TableSpec
from bench.reporting.summary import summary
from bench.reporting.tables import MOST_ROWS as MOST_READ
from bench.reporting.tables import PAIRS
from bench.store import write_bytes

NAME = "report.pdf"

MOST_ROWS = 100
MOST_SECTIONS = 30
"""What a reader turns pages for; a table's CSV holds all of it."""

_TITLE = "Joules saved and accuracy paid"
CAPTIONS = {
    "pareto": "Quality against joules or seconds per item with 95 % intervals; the Pareto front",
    "forest": "Ratios of variant over baseline with 95 % intervals",
    "power_trace": "Mean power between the edges of spans of one session, windows shaded",
    "break_even": "What is spent over the number of items served, and the break-even",
    "loss": "Training loss",
    "stacked": "What training, optimising and serving take",
    "interval_by_block": "How the interval narrows block by block",
}
"""What each figure shows, by the name of its files."""


def write(
    records: Records,
    rows: Sequence[Row],
    specs: Sequence[TableSpec],
    figures: Sequence[Path],
    paper: Path,
) -> Path:
    """Write ``report.pdf`` and return its path.

    Args:
        records: What the tables are made of.
        rows: The same, pooled; at least one.
        specs: Of the tables, in the order of the report. The one of single pairs is left out where
            there are more than anybody reads.
        figures: Pictures below ``paper``, of which the vector ones are taken, in their order.
        paper: Folder of the report.
    """
    readable = [spec for spec in specs if spec.name != PAIRS or len(records.pairs) <= MOST_READ]
    tables = [assemble(records, spec) for spec in readable]
    return write_bytes(paper / NAME, compiled(document(rows, tables, figures, paper), paper))


def compiled(said: dict[str, Any], root: Path) -> bytes:
    """Return a document as PDF; the paths of its figures begin at ``root``."""
    layout = files("bench.reporting").joinpath("report.typ").read_bytes()
    text = json.dumps(said, ensure_ascii=False, allow_nan=False)
    # typst's types want the layout and the root to be of one kind, typst itself does not.
    return typst.compile(
        layout,
        root=cast(Any, root),
        sys_inputs={"report": text},
        ignore_system_fonts=True,
        format="pdf",
    )


def document(
    rows: Sequence[Row], tables: Sequence[Table], figures: Sequence[Path], paper: Path
) -> dict[str, Any]:
    """Return what the report says, as ``report.typ`` reads it.

    Args:
        rows: Pooled pairs, at least one.
        tables: In the order of the report.
        figures: As in ``write``.
        paper: Likewise.
    """
    line = origin(rows[0].source.frame)
    sections = method(rows)
    return {
        "title": _TITLE,
        "origin": line,
        "records": line.partition("| ")[2],
        "summary": _passage(summary(rows)),
        "tables": [_table(table) for table in tables if table.sections],
        "left_out": [_note(note) for note in dict.fromkeys(n for t in tables for n in t.notes)],
        "figures": [_figure(path, paper) for path in figures if path.suffix == ".pdf"],
        "method": [
            {"title": part.title, "paragraphs": [_passage(said) for said in part.paragraphs]}
            for part in sections
        ],
        "sources": list(cited(sections)),
    }


def _passage(said: Paragraph) -> dict[str, Any]:
    return {"text": plain(said), "items": list(said.items)}


def _figure(path: Path, paper: Path) -> dict[str, str]:
    name, _, sheet = path.stem.partition("-")
    caption = CAPTIONS.get(name, name)
    return {
        "path": f"/{path.relative_to(paper).as_posix()}",
        "caption": f"{caption} (sheet {sheet})." if sheet else f"{caption}.",
    }


def _table(table: Table) -> dict[str, Any]:
    notes = []
    if (more := len(table.sections) - MOST_SECTIONS) > 0:
        notes.append(Note(f"{more:,} more parts are in tables/{table.name}.csv."))
    return {
        "caption": table.caption,
        "sections": [_section(section, table) for section in table.sections[:MOST_SECTIONS]],
        "notes": [_note(note) for note in notes],
    }


def _section(section: Section, table: Table) -> dict[str, Any]:
    footnotes = Footnotes()
    cells, notes = section.cells[:MOST_ROWS], list(section.notes)
    if len(section.cells) > MOST_ROWS:
        notes.append(
            Note(f"{len(cells)} of {len(section.cells):,} rows; all: tables/{table.name}.csv.")
        )
    found = strips(section.columns, cells, footnotes)
    columns = [{"words": strip.words, "head": _lines(*map(Line, strip.head))} for strip in found]
    lines = [[_lines(*strip.cells[row]) for strip in found] for row in range(len(cells))]
    if table.turned:
        columns, lines = _turned(columns, lines)
    return {
        "title": section.title,
        "columns": columns,
        "rows": lines,
        "footnotes": footnotes.texts,
        "notes": [_note(note) for note in notes],
    }


def _turned(
    columns: list[dict[str, Any]], lines: list[list[Any]]
) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    """Return columns as lines: the first column becomes the heading."""
    every = [
        [column["head"], *cells]
        for column, cells in zip(columns, zip(*lines, strict=True), strict=True)
    ]
    return [{"words": True, "head": head} for head in every[0]], every[1:]


def _lines(*lines: Line) -> list[dict[str, Any]]:
    """Return the lines of a cell that say something, at least one."""
    said = [line for line in lines if line.text or line.mark is not None] or [lines[0]]
    return [{"text": line.text, "mark": line.mark} for line in said]


def _note(note: Note) -> dict[str, Any]:
    return {"loud": note.loud, "text": note.text}
