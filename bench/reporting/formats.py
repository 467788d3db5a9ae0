"""The table as Markdown and as CSV."""

from __future__ import annotations

import csv
import io

import pandas

from bench.records import Record
from bench.reporting.cells import Cell, Footnotes
from bench.reporting.columns import Column, Value
from bench.reporting.pairs import every_column, readable_columns
from bench.reporting.sections import Section, Table, rows

NOT_THERE = "NA"
"""What stands in CSV for a missing figure; pandas and R read it as missing."""

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\|*`<>"} | {"\n": " "})


def superscript(mark: int | None) -> str:
    """Return the number of a footnote as superscript, nothing if there is none."""
    return "" if mark is None else str(mark).translate(_SUPERSCRIPTS)


def csv_text(table: Table, command: str) -> str:
    """Return raw figures, one column each, after one line that says where they come from.

    A missing figure is ``NA``, and the last column names the reason.
    """
    columns = every_column()
    figures = [figure for column in columns for figure in column.figures]
    out = io.StringIO()
    out.write(f"# {command}: {table.origin}\n")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*(figure.name for figure in figures), "missing"])
    for section in table.sections:
        for record, cells in zip(section.records, rows(section.records, columns), strict=True):
            values = [_raw(figure.value(record)) for figure in figures]
            writer.writerow([*values, _reasons(record, columns, cells)])
    return out.getvalue()


def _raw(value: Value) -> str:
    if value is None:
        return NOT_THERE
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


def _reasons(record: Record, columns: tuple[Column, ...], cells: list[Cell]) -> str:
    reasons = [
        f"{column.name}: {cell.note or 'not known'}"
        for column, cell in zip(columns, cells, strict=True)
        if any(figure.value(record) is None for figure in column.figures)
    ]
    return " | ".join(reasons) or "nothing"


def markdown(table: Table, command: str) -> str:
    """Return the readable columns as Markdown, one table per section."""
    blocks = [f"<!-- {command}: {table.origin} -->"]
    for section in table.sections:
        footnotes = Footnotes()
        heading = section.title.translate(_MARKDOWN)
        blocks += [f"## {heading}", _markdown_table(section, footnotes)]
        marked = [f"{superscript(n)} {text}" for n, text in enumerate(footnotes.texts, 1)]
        blocks.append("\n".join(f"- {text.translate(_MARKDOWN)}" for text in marked))
        blocks[-1] += ("\n" if marked else "") + _markdown_notes(section)
    if table.notes:
        blocks.append("## Not in the tables")
        blocks.append(_markdown_notes(table))
    return "\n\n".join(blocks) + "\n"


def _markdown_notes(noted: Section | Table) -> str:
    loud = {True: "**Warning:** ", False: ""}
    return "\n".join(f"- {loud[n.loud]}{n.text.translate(_MARKDOWN)}" for n in noted.notes)


def _markdown_table(section: Section, footnotes: Footnotes) -> str:
    columns = readable_columns(section.records)
    headings = [f"{column.heading}, {column.unit}".removesuffix(", ") for column in columns]
    shown = [
        [_markdown_cell(cell, footnotes) for cell in row] for row in rows(section.records, columns)
    ]
    frame = pandas.DataFrame(shown, columns=headings, dtype=str)
    sides = ["left" if column.words else "right" for column in columns]
    return frame.to_markdown(index=False, colalign=sides, disable_numparse=True)


def _markdown_cell(cell: Cell, footnotes: Footnotes) -> str:
    text = f"{cell.text} {cell.below}".strip().translate(_MARKDOWN)
    return text + superscript(footnotes.mark(cell))
