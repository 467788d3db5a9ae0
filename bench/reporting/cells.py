"""One place of a table, and how figures are printed in it.

Records hold fractions, joules and seconds; percent, kilo and rounding happen here and only here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bench.readings import Grade

DASH = "—"
_PREFIXES = ("n", "µ", "m", "", "k", "M", "G", "T", "P")
_ONE = _PREFIXES.index("")
_MOST_MORE = 4
"""Digits beyond the usual ones; what lies nearer to a threshold than these tell is taken for it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a column says of one record.

    Attributes:
        text: The figure or the word.
        below: What qualifies it: an interval, the other arm. Beside it where there is room.
        note: Footnote; a missing figure always has one.
        grade: Grade of the joules it shows, ``None`` if it shows none.
        source: Where those joules come from.
    """

    text: str
    below: str = ""
    note: str | None = None
    grade: Grade | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence or two under a table; a loud one must not be overlooked."""

    text: str
    loud: bool = False


def missing(reason: str) -> Cell:
    """Return a dash with the reason as its footnote: what is missing is never blank, never 0."""
    return Cell(DASH, note=reason)


@dataclass(slots=True)
class Footnotes:
    """The notes of one table, numbered in the order in which they are first met."""

    texts: list[str] = field(default_factory=list)

    def mark(self, cell: Cell) -> int | None:
        """Return the number of the cell's note, ``None`` if it has none."""
        if cell.note is None:
            return None
        if cell.note not in self.texts:
            self.texts.append(cell.note)
        return self.texts.index(cell.note) + 1


def listed(texts: Iterable[str]) -> str:
    """Return distinct texts in alphabetical order: ``a or b``."""
    return " or ".join(sorted(set(texts)))


def percent(fraction: float, digits: int = 2) -> str:
    """Return a fraction as percent without the sign: 0.932 is ``93.20``."""
    return _minus(f"{100 * fraction:.{digits}f}")


def points(fraction: float, more: int = 0) -> str:
    """Return a difference of fractions in percentage points, always signed unless it is zero."""
    return signed(100 * fraction, digits=2 + more)


def signed(value: float, more: int = 0, *, plus: str = "+", digits: int = 3) -> str:
    """Return so many decimals, with a sign unless it is zero."""
    text = f"{value:{plus}.{digits + more}f}"
    return text.lstrip("+-") if float(text) == 0 else _minus(text)


def ratio(value: float) -> str:
    """Return a ratio with three decimals, fewer where it is large and two digits where small."""
    if value >= 9.9995:
        return f"{value:.1f}"
    return f"{value:.3f}" if value >= 0.0995 or value == 0 else f"{value:#.2g}"


def ratio_end(value: float) -> str:
    """Return an end of a ratio's interval, on the side of 1 on which it is: that is the verdict."""
    if ratio(value) != ratio(1.0):
        return ratio(value)
    return told_apart(value, 1.0, lambda number, more: f"{number:.{3 + more}f}")


def told_apart(value: float, threshold: float, show: Callable[[float, int], str]) -> str:
    """Return a figure with as many more digits as show on which side of a threshold it lies.

    Args:
        value: The figure.
        threshold: What it was held against.
        show: From a figure and the number of digits beyond the usual ones to its text.
    """
    if not math.isclose(value, threshold, rel_tol=1e-9):
        for more in range(_MOST_MORE + 1):
            if (text := show(value, more)) != show(threshold, more):
                return text
    return show(value, 0)


def interval(low: float, high: float, show: Callable[[float], str]) -> str:
    """Return both ends of a 95 % interval in brackets."""
    return f"[{show(low)}, {show(high)}]"


def amount(value: float, unit: str = "") -> str:
    """Return three digits with a metric prefix: 171 000 is ``171 k``, with ``J`` ``171 kJ``.

    Prefixes below one are for units only: counts have none, and no more do bytes.
    """
    least = -_ONE if unit not in ("", "B") else 0
    most = len(_PREFIXES) - 1 - _ONE
    step = 0 if value == 0 else math.floor(math.log10(abs(value))) // 3
    step = min(max(step, least), most)
    if float(f"{abs(value) / 1000.0**step:.3g}") >= 1000 and step < most:
        step += 1
    digits = f"{value / 1000.0**step:#.3g}".rstrip(".")
    return _minus(f"{digits} {_PREFIXES[_ONE + step]}{unit}".rstrip())


def probability(p: float) -> str:
    """Return a p-value with three decimals, below 0.001 only that."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def arrow(baseline: float, variant: float, unit: str) -> str:
    """Return both arms' amounts: ``94.0 MB → 47.9 MB``."""
    return f"{amount(baseline, unit)} → {amount(variant, unit)}"


def seconds(value: float) -> str:
    """Return seconds: whole from a hundred on, three digits below."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}".rstrip(".")


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}", 1) if text.startswith("-") else text
