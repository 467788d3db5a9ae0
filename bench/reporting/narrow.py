"""Rows of two lines, for pages that are too narrow for one: the terminal and LaTeX.

An interval stands below its estimate, and a stacked column below the one before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.reporting.cells import Cell, Footnotes
from bench.reporting.columns import Column
from bench.reporting.sections import Cells


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a cell, and the number of its footnote."""

    text: str
    mark: int | None = None


@dataclass(frozen=True, slots=True)
class Strip:
    """One column of two-line rows.

    Attributes:
        columns: What it is made of: one column, or two of which the second is stacked.
        head: Its heading, on two lines.
        cells: Two lines per row.
    """

    columns: tuple[Column[Any], ...]
    head: tuple[str, str]
    cells: tuple[tuple[Line, Line], ...]

    @property
    def words(self) -> bool:
        """Whether it is set left and may be wrapped."""
        return self.columns[0].words

    @property
    def rank(self) -> int:
        """The higher, the sooner it gives way."""
        return self.columns[0].rank


def strips(columns: Sequence[Column[Any]], cells: Cells, footnotes: Footnotes) -> list[Strip]:
    """Return the columns as strips; notes are numbered in the order in which they are read."""
    stacks: list[list[int]] = []
    for index, column in enumerate(columns):
        if column.stacked and stacks:
            stacks[-1].append(index)
        else:
            stacks.append([index])
    lines = []
    for row in cells:
        pairs = [_pair([(columns[index], row[index]) for index in stack]) for stack in stacks]
        upper = [_line(first, footnotes) for first, _ in pairs]
        lower = [_line(second, footnotes) for _, second in pairs]
        lines.append(list(zip(upper, lower, strict=True)))
    return [
        Strip(
            tuple(columns[index] for index in stack),
            _head([columns[index] for index in stack]),
            tuple(row[position] for row in lines),
        )
        for position, stack in enumerate(stacks)
    ]


def _head(stack: Sequence[Column[Any]]) -> tuple[str, str]:
    first = stack[0]
    if len(stack) == 1:
        return first.heading, first.unit
    return first.heading, "" if first.words else stack[1].heading


def _pair(stack: Sequence[tuple[Column[Any], Cell]]) -> tuple[Cell, Cell]:
    """Return what stands above and what stands below."""
    column, first = stack[0]
    if len(stack) > 1:
        below, second = stack[1]
        # Below a word a figure says what it is; below a figure the heading does.
        text = f"{below.heading} {second.text}" if column.words else second.text
        return first, Cell(text, note=second.note)
    if first.below:
        return Cell(first.text), Cell(first.below, note=first.note)  # marked at its end
    return first, Cell("")


def _line(cell: Cell, footnotes: Footnotes) -> Line:
    return Line(cell.text, footnotes.mark(cell))
