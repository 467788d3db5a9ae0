"""The figures of the paper, as vector PDF and as PNG: the only place that draws.

Nothing of the drawing libraries is imported before something is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from bench.reporting.rows import Row

NAMES = (
    "pareto",
    "forest",
    "power_trace",
    "break_even",
    "loss",
    "stacked",
    "interval_by_block",
)
"""All figures in the order of a paper; each is a module of this package with ``draw``."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was drawn.

    Attributes:
        files: Written, in the order of ``NAMES``; a PDF and a PNG per sheet.
        left_out: Figures that the records hold nothing for, with the reason.
    """

    files: tuple[Path, ...]
    left_out: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Vectors:
    """Figures as SVG, for a page.

    Attributes:
        sheets: Of each figure that the records hold something for, in the order of ``NAMES``.
        left_out: The others, with the reason.
    """

    sheets: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str]


def vector(rows: Iterable[Row], pairs: pd.DataFrame, root: Path) -> Vectors:
    """Return all figures of these records as SVG; letters are outlines, so no font is needed.

    Args:
        rows: As in ``write``.
        pairs: Likewise.
        root: Likewise.
    """
    from bench.reporting.figures import files, style

    sheets: dict[str, tuple[str, ...]] = {}
    left_out: dict[str, str] = {}
    with style.styled():
        for name, drawn in _drawn(rows, pairs, root):
            if isinstance(drawn, str):
                left_out[name] = drawn
            else:
                sheets[name] = tuple(files.svg(sheet) for sheet in drawn)
    return Vectors(sheets, left_out)


def write(rows: Iterable[Row], pairs: pd.DataFrame, root: Path, out: Path) -> Figures:
    """Draw all figures of these records; the same records give the same bytes.

    A figure with nothing in it is not written, and one that an earlier report left is removed.

    Args:
        rows: Pooled pairs, one per technique under one set of conditions.
        pairs: The flat rows that they were made of.
        root: Folder of the results: power, windows and losses lie beside the records.
        out: Folder of the figures; it is made if it is not there.
    """
    from bench.reporting.figures import files, style
    from bench.reporting.rows import origin

    line = origin(pairs)
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    left_out: dict[str, str] = {}
    with style.styled():
        for name, drawn in _drawn(rows, pairs, root):
            if isinstance(drawn, str):
                left_out[name] = drawn
            written += files.save(name, [] if isinstance(drawn, str) else drawn, out, line)
    return Figures(tuple(written), left_out)


def _drawn(
    rows: Iterable[Row], pairs: pd.DataFrame, root: Path
) -> Iterator[tuple[str, list[Figure] | str]]:
    """Yield the sheets of each figure, or why there are none."""
    from importlib import import_module

    from bench.reporting.figures import style
    from bench.reporting.figures.panels import Material, NothingToDrawError
    from bench.reporting.pairs import Pairs

    entering = Pairs.entering(pairs).frame
    material = Material(tuple(rows), entering, root, style.looks(entering))
    for name in NAMES:
        try:
            yield name, import_module(f"{__name__}.{name}").draw(material)
        except NothingToDrawError as nothing:
            yield name, str(nothing)
