"""What a column of a table is: what it says of a row, and which raw figures stand behind it.

Joules have one column per grade, because a wall meter, a counter and a model don't measure the
same thing. A cell that shows joules says their grade and source, so that ``one_grade`` can refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from bench.readings import Grade
from bench.reporting.cells import Cell
from bench.reporting.pairs import TableError
from bench.reporting.rows import Row

T = TypeVar("T")
Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column of a table.

    Attributes:
        name: How messages call it.
        heading: What is printed above it.
        unit: Printed below the heading; empty if there is none.
        cell: What it says of a row.
        figures: Names of the raw figures behind the cell, with the unit as suffix: columns of CSV.
        values: Their values; ``None`` if missing, for the reason of the cell's footnote or ``why``.
        words: Whether it holds words, which are set left and may be wrapped.
        stacked: Whether narrow formats set it on the second line of the column before it.
        rank: The higher, the sooner it gives way where the page is narrow; 0 never does.
        measure: Prefix of ``flat.MEASURES`` if it is one of several that show the same of several
            measures; where nothing has that measure the others speak for it.
        uncounted: Whether it is wanted only where a row has no counted joules.
        why: Why figures are missing, where not for the reason of the cell's footnote.
    """

    name: str
    heading: str
    unit: str
    cell: Callable[[T], Cell]
    figures: tuple[str, ...] = ()
    values: Callable[[T], tuple[Value, ...]] = lambda _: ()
    words: bool = False
    stacked: bool = False
    rank: int = 0
    measure: str | None = None
    uncounted: bool = False
    why: Callable[[T], str] = lambda _: ""


class Named(Protocol):
    """Whatever a row shows: messages call it by its name."""

    @property
    def name(self) -> str:
        """How messages call it."""


def one_grade(name: str, rows: Sequence[Named], cells: Sequence[Cell]) -> None:
    """Make sure that a column's joules are all of one grade.

    Raises:
        TableError: Two grades meet; the message names them, their sources and the records.
    """
    seen: dict[Grade, tuple[str, str]] = {}
    for row, cell in zip(rows, cells, strict=True):
        if cell.grade is not None:
            seen.setdefault(cell.grade, (cell.source, row.name))
    if len(seen) > 1:
        met = " and ".join(
            f"grade {grade} from {source} ({record})"
            for grade, (source, record) in sorted(seen.items())
        )
        raise TableError(
            f"column {name} would show {met}: joules of two grades don't share a column; "
            "give each grade its own"
        )


def mean(row: Row, column: str) -> float | None:
    """Return the mean of a flat column over those pairs of a row that have it.

    All pairs count, not only those of valid sessions: it is for what was made and evaluated, which
    no session can spoil.
    """
    values = row.made(column).astype(float)
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None
