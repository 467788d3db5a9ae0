"""The table for the terminal: two lines per record, columns giving way where it is narrow."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from bench.reporting.cells import Footnotes
from bench.reporting.columns import Column
from bench.reporting.formats import superscript
from bench.reporting.narrow import Line, Strip, strips
from bench.reporting.pairs import readable_columns
from bench.reporting.sections import Section, Table

_GAP = 2
_WORDS = 20
"""Columns of words are wrapped to this width before another column gives way for them."""


class TerminalTable:
    """A table that rich prints as wide as its console is."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield each section, then the notes on all of them."""
        for section in self.table.sections:
            yield from _section(section, options.max_width)
        yield from _notes(self.table)


def _section(section: Section, width: int) -> RenderResult:
    every = readable_columns(section.records)
    columns = _fitting(section, every, width)
    footnotes = Footnotes()
    shown = strips(section.records, columns, footnotes)
    grid = RichTable(
        box=box.SIMPLE_HEAD, leading=1, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
    )
    for strip in shown:
        grid.add_column(
            Text("\n".join(strip.head).rstrip()),
            justify="left" if strip.words else "right",
            no_wrap=not strip.words,
            overflow="fold",
        )
    for row in zip(*(strip.cells for strip in shown), strict=True):
        grid.add_row(*(_cell(lines) for lines in row))
    yield Text(section.title, style="bold")
    yield grid
    for number, text in enumerate(footnotes.texts, 1):
        yield _indented(f"{superscript(number)} {text}", "dim")
    yield from _notes(section)
    if dropped := [column.heading for column in every if column not in columns]:
        yield _indented(f"Too narrow for {', '.join(dropped)}: see pairs.md and pairs.csv.", "dim")
    yield Text()


def _fitting(section: Section, columns: Sequence[Column], width: int) -> tuple[Column, ...]:
    """Return the columns that fit, the least important left out first."""
    kept = strips(section.records, columns, Footnotes())
    while sum(map(_width, kept)) + _GAP * (len(kept) - 1) > width:
        last = max(strip.rank for strip in kept)
        if last == 0:
            break
        kept = [strip for strip in kept if strip.rank < last]
    return tuple(column for strip in kept for column in strip.columns)


def _width(strip: Strip) -> int:
    texts = [*strip.head]
    texts += [line.text + superscript(line.mark) for lines in strip.cells for line in lines]
    natural = max(map(cell_len, texts))
    return min(natural, _WORDS) if strip.words else natural


def _cell(lines: tuple[Line, Line]) -> Text:
    first, second = (line.text + superscript(line.mark) for line in lines)
    return Text.assemble(first, ("\n" if second else ""), (second, "dim"))


def _notes(noted: Section | Table) -> RenderResult:
    for note in noted.notes:
        if note.loud:
            yield _indented(f"WARNING: {note.text}", "bold yellow")
        else:
            yield _indented(note.text, "dim")


def _indented(text: str, style: str) -> Padding:
    return Padding(Text(text, style=style), (0, 0, 0, 2))
