"""A table for the terminal: two lines per row, columns giving way where it is narrow."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from bench.reporting.cells import Footnotes, Note
from bench.reporting.formats import superscript
from bench.reporting.narrow import Line, Strip, strips
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
        shown = _turned if self.table.turned else _section
        for section in self.table.sections:
            yield from shown(section, self.table.name, options.max_width)
        yield from _notes(self.table.notes)


def _section(section: Section, name: str, width: int) -> RenderResult:
    every = strips(section.columns, section.cells, Footnotes())
    kept = _fitting(every, width)
    footnotes = Footnotes()
    cells = tuple(tuple(row[place] for place in _places(every, kept)) for row in section.cells)
    columns = tuple(column for strip in kept for column in strip.columns)
    shown = strips(columns, cells, footnotes)
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
    yield from _under(section, footnotes)
    if dropped := [column.heading for column in section.columns if column not in columns]:
        files = f"see {name}.md and {name}.csv"
        yield _indented(f"Too narrow for {', '.join(dropped)}: {files}.", "dim")
    yield Text()


def _turned(section: Section, _: str, width: int) -> RenderResult:
    """Yield rows as columns and columns as lines, the first of which is the heading."""
    footnotes = Footnotes()
    names = max(cell_len(column.heading) for column in section.columns)
    each = max(_WORDS, (width - names) // len(section.cells) - _GAP)
    grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    grid.add_column(Text(section.columns[0].heading), no_wrap=True)
    for row in section.cells:
        grid.add_column(Text(row[0].text), overflow="fold", max_width=each)
    for place, column in enumerate(section.columns[1:], 1):
        cells = [row[place] for row in section.cells]
        grid.add_row(
            Text(column.heading),
            *(Text(cell.text + superscript(footnotes.mark(cell))) for cell in cells),
        )
    yield grid
    yield from _under(section, footnotes)
    yield Text()


def _under(section: Section, footnotes: Footnotes) -> RenderResult:
    for number, text in enumerate(footnotes.texts, 1):
        yield _indented(f"{superscript(number)} {text}", "dim")
    yield from _notes(section.notes)


def _fitting(shown: Sequence[Strip], width: int) -> list[Strip]:
    """Return the columns that fit, the least important left out first."""
    kept = list(shown)
    while sum(map(_width, kept)) + _GAP * (len(kept) - 1) > width:
        last = max(strip.rank for strip in kept)
        if last == 0:
            break
        kept = [strip for strip in kept if strip.rank < last]
    return kept


def _places(every: Sequence[Strip], kept: Sequence[Strip]) -> list[int]:
    """Return the places of the columns that some strips are made of."""
    places: list[int] = []
    start = 0
    for strip in every:
        if strip in kept:
            places += range(start, start + len(strip.columns))
        start += len(strip.columns)
    return places


def _width(strip: Strip) -> int:
    texts = [*strip.head]
    texts += [line.text + superscript(line.mark) for lines in strip.cells for line in lines]
    natural = max(map(cell_len, texts))
    return min(natural, _WORDS) if strip.words else natural


def _cell(lines: tuple[Line, Line]) -> Text:
    first, second = (line.text + superscript(line.mark) for line in lines)
    return Text.assemble(first, ("\n" if second else ""), (second, "dim"))


def _notes(notes: Sequence[Note]) -> RenderResult:
    for note in notes:
        if note.loud:
            yield _indented(f"WARNING: {note.text}", "bold yellow")
        else:
            yield _indented(note.text, "dim")


def _indented(text: str, style: str) -> Padding:
    return Padding(Text(text, style=style), (0, 0, 0, 2))
