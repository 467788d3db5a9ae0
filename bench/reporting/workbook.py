"""A table as an Excel workbook: raw figures as numbers, and the notes on a second sheet."""

from __future__ import annotations

import datetime
import io
import math
from typing import Any

import xlsxwriter

from bench.reporting.columns import Value
from bench.reporting.formats import NOT_THERE, figures
from bench.reporting.sections import Table

_WRITTEN = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC).replace(tzinfo=None)
"""A date in every file, so that the same records give the same bytes; Excel knows no time zones."""

_WIDEST = 40


def workbook(table: Table) -> bytes:
    """Return the workbook; its first line names the command and the records."""
    names, lines = figures(table)
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True})
    book.set_properties({"title": table.caption, "comments": table.origin, "created": _WRITTEN})
    head = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
    sheet = book.add_worksheet("figures")
    sheet.write_string(0, 0, table.origin)
    sheet.freeze_panes(2, 0)
    for place, name in enumerate(names):
        sheet.write_string(1, place, name, head)
        texts = [name, *(_text(line[place]) for line in lines)]
        sheet.set_column(place, place, min(max(map(len, texts)) + 1, _WIDEST))
    for number, line in enumerate(lines, 2):
        for place, value in enumerate(line):
            _write(sheet, number, place, value)
    if lines:
        sheet.autofilter(1, 0, 1 + len(lines), len(names) - 1)
    _notes(book, table)
    book.close()
    return out.getvalue()


def _write(sheet: Any, row: int, column: int, value: Value) -> None:
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, int | float) and math.isfinite(value):
        sheet.write_number(row, column, value)
    else:
        sheet.write_string(row, column, _text(value))


def _text(value: Value) -> str:
    return NOT_THERE if value is None else str(value)


def _notes(book: Any, table: Table) -> None:
    sheet = book.add_worksheet("notes")
    wrapped = book.add_format({"text_wrap": True, "valign": "top"})
    sheet.set_column(0, 0, 2 * _WIDEST)
    texts = [table.origin, table.caption]
    for section in table.sections:
        texts += [section.title, *(note.text for note in section.notes)]
    texts += [note.text for note in table.notes]
    for row, text in enumerate(filter(None, texts)):
        sheet.write_string(row, 0, text, wrapped)
