"""The figures of the paper, as vector PDF and as PNG: the only place that draws.

Nothing of the drawing libraries is imported before something is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

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


def write(rows: Iterable[Row], pairs: pd.DataFrame, root: Path, out: Path) -> Figures:
    """Draw all figures of these records; the same records give the same bytes.

    A figure with nothing in it is not written, and one that an earlier report left is removed.

    Args:
        rows: Pooled pairs, one per technique under one set of conditions.
        pairs: The flat rows that they were made of.
        root: Folder of the results: power, windows and losses lie beside the records.
        out: Folder of the figures; it is made if it is not there.
    """
    from importlib import import_module

    from bench.reporting.figures import files, style
    from bench.reporting.figures.panels import Material, NothingToDrawError
    from bench.reporting.pairs import Pairs
    from bench.reporting.rows import origin

    entering = Pairs.entering(pairs).frame
    material = Material(tuple(rows), entering, root, style.looks(entering))
    line = origin(pairs)
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    left_out: dict[str, str] = {}
    with style.styled():
        for name in NAMES:
            try:
                sheets = import_module(f"{__name__}.{name}").draw(material)
            except NothingToDrawError as nothing:
                sheets, left_out[name] = [], str(nothing)
            written += files.save(name, sheets, out, line)
    return Figures(tuple(written), left_out)
