"""A table as Markdown, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence

import pandas

from bench.reporting.cells import Cell, Footnotes, Note
from bench.reporting.columns import Value
from bench.reporting.sections import Section, Table

NOT_THERE = "NA"
"""What stands in CSV and Excel for a missing figure; pandas and R read it as missing."""

REASONS = "missing"
"""Last column of CSV and Excel: which figures are missing, and why."""

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\|*`<>_"} | {"\n": " "})


def superscript(mark: int | None) -> str:
    """Return the number of a footnote as superscript, nothing if there is none."""
    return "" if mark is None else str(mark).translate(_SUPERSCRIPTS)


def figures(table: Table) -> tuple[tuple[str, ...], list[list[Value]]]:
    """Return the names of all raw figures of a table and a line of values per row.

    What a section has in common comes first, why figures are missing last.
    """
    keys = list(dict.fromkeys(name for section in table.sections for name in section.key))
    names = list(dict.fromkeys(name for section in table.sections for name in section.figures))
    names = [name for name in names if name not in keys]
    lines = []
    for section in table.sections:
        for values, missing in zip(section.values, section.missing, strict=True):
            found = dict(zip(section.figures, values, strict=True)) | dict(section.key)
            reasons = [f"{name}: {reason}" for name, reason in missing.items()]
            if lacking := [name for name in names if name not in found]:
                reasons.append(f"{lacking[0]} and the like: a mean over workloads has none")
            row = [found.get(name) for name in (*keys, *names)]
            lines.append([*row, " | ".join(reasons) or "nothing"])
    return (*keys, *names, REASONS), lines


def csv_text(table: Table) -> str:
    """Return raw figures, one column each, after one line that says where they come from."""
    names, lines = figures(table)
    out = io.StringIO()
    out.write(f"# {table.origin}\n")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[_raw(value) for value in line] for line in lines])
    return out.getvalue()


def _raw(value: Value) -> str:
    if value is None:
        return NOT_THERE
    if isinstance(value, bool):
        return str(value).lower()
    return repr(float(value)) if isinstance(value, float) else str(value)


def json_text(table: Table) -> str:
    """Return raw figures and notes; a missing figure is null, an open upper end as well."""
    document = {
        "generated": table.origin,
        "table": table.name,
        "caption": table.caption,
        "sections": [
            {
                "title": section.title,
                **({"common": dict(section.key)} if section.key else {}),
                "rows": [
                    dict(zip(section.figures, map(_plain, values), strict=True))
                    | {REASONS: dict(missing)}
                    for values, missing in zip(section.values, section.missing, strict=True)
                ],
                "notes": [note.text for note in section.notes],
            }
            for section in table.sections
        ],
        "notes": [note.text for note in table.notes],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Value) -> Value:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def markdown(table: Table) -> str:
    """Return the readable columns as Markdown, one table per section."""
    blocks = [f"<!-- {table.origin} -->", f"# {table.caption.translate(MARKDOWN)}"]
    for section in table.sections:
        footnotes = Footnotes()
        if section.title:
            blocks.append(f"## {section.title.translate(MARKDOWN)}")
        blocks.append(_markdown_table(section, footnotes, table.turned))
        marked = [f"{superscript(n)} {text}" for n, text in enumerate(footnotes.texts, 1)]
        under = [f"- {text.translate(MARKDOWN)}" for text in marked]
        under += _markdown_notes(section.notes)
        if under:
            blocks.append("\n".join(under))
    if table.notes:
        blocks += ["## Not in the tables", "\n".join(_markdown_notes(table.notes))]
    return "\n\n".join(blocks) + "\n"


def _markdown_notes(notes: Sequence[Note]) -> list[str]:
    loud = {True: "**Warning:** ", False: ""}
    return [f"- {loud[note.loud]}{note.text.translate(MARKDOWN)}" for note in notes]


def _markdown_table(section: Section, footnotes: Footnotes, turned: bool) -> str:
    headings = [f"{c.heading}, {c.unit}".removesuffix(", ") for c in section.columns]
    shown = [[_markdown_cell(cell, footnotes) for cell in row] for row in section.cells]
    sides = ["left" if column.words else "right" for column in section.columns]
    if turned:
        shown = [list(line) for line in zip(headings, *shown, strict=True)]
        headings, shown = shown[0], shown[1:]
        sides = ["left"] * len(headings)
    frame = pandas.DataFrame(shown, columns=headings, dtype=str)
    return frame.to_markdown(index=False, colalign=sides, disable_numparse=True)


def _markdown_cell(cell: Cell, footnotes: Footnotes) -> str:
    text = f"{cell.text} {cell.below}".strip().translate(MARKDOWN)
    return text + superscript(footnotes.mark(cell))
