"""How all figures look: sizes, fonts, and which colour a technique has."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from bench.reporting.rows import BASELINE

COLUMN_IN = 3.3
"""Width of one column of a paper."""

PAGE_IN = 6.9
"""Width of two columns."""

SMALL_PT = 7.0
"""The smallest letters; pictures are made at the width at which they are printed."""

GREY = "0.45"
"""Colour of the baseline, and of the A/A pair, which is the baseline twice."""

PALE = "0.86"
"""Colour of the noise floor, and of what is no data."""

_HANDLE_IN = 0.42
_LINE_IN = 1.35 * SMALL_PT / 72
_CHARACTER_EM = 0.56  # of DejaVu Sans, mean over English text
_STRONG = (0, 1, 2, 3, 4, 9)
_MARKERS = ("o", "s", "^", "v", "P", "X", "<", ">")
_DASHES = (
    *((), (5, 1.5), (1.2, 1.2), (6, 1.5, 1.2, 1.5)),
    *((2.5, 1), (8, 2), (6, 1.2, 1.2, 1.2, 1.2, 1.2), (1, 3)),
)
_SUPERSCRIPTS = str.maketrans("-0123456789", "\N{SUPERSCRIPT MINUS}⁰¹²³⁴⁵⁶⁷⁸⁹")

_SETTINGS: dict[str, Any] = {
    **{"font.family": "DejaVu Sans", "font.size": 8.0},
    **{"axes.labelsize": 8.0, "axes.titlesize": 8.0, "axes.titlelocation": "left"},
    **{"xtick.labelsize": SMALL_PT, "ytick.labelsize": SMALL_PT},
    **{"legend.fontsize": SMALL_PT, "legend.frameon": False, "legend.handlelength": 1.6},
    **{"axes.linewidth": 0.6, "lines.linewidth": 1.2, "lines.markersize": 4.5},
    **{"xtick.major.width": 0.6, "ytick.major.width": 0.6},
    **{"xtick.major.size": 3.0, "ytick.major.size": 3.0},
    **{"xtick.minor.width": 0.4, "ytick.minor.width": 0.4},
    **{"xtick.minor.size": 1.8, "ytick.minor.size": 1.8},
    **{"hatch.linewidth": 0.5, "errorbar.capsize": 0.0},
    **{"text.parse_math": False, "pdf.fonttype": 42, "figure.dpi": 100.0},
}


@dataclass(frozen=True, slots=True)
class Look:
    """How one label is drawn wherever it appears.

    Attributes:
        colour: Of its technique.
        marker: Tells labels of one colour apart.
        dashes: Likewise for lines; empty is solid.
    """

    colour: Any
    marker: str
    dashes: tuple[float, ...]

    @property
    def line(self) -> tuple[float, tuple[float, ...] | None]:
        """The dashes as matplotlib takes them."""
        return (0.0, self.dashes or None)


BASELINE_LOOK = Look(GREY, "D", ())


def looks(pairs: pd.DataFrame) -> dict[str, Look]:
    """Return how each label of these pairs is drawn.

    A technique takes the colour that its name points to or, where an older technique has it, the
    next that is free; so one that is measured later takes no colour away. From the seventh on
    colours are shared, and markers and dashes tell apart.
    """
    palette = sns.color_palette("colorblind")
    others = pairs[pairs["technique"] != BASELINE]
    first = others.groupby("technique")["created"].min()
    found = dict.fromkeys(pairs["label"][pairs["technique"] == BASELINE].unique(), BASELINE_LOOK)
    techniques: list[int] = []
    drawn = dict.fromkeys(_STRONG, 0)
    for technique in sorted(first.index, key=lambda name: (first[name], name)):
        wanted = zlib.crc32(technique.encode()) % len(_STRONG)
        slots = [*_STRONG[wanted:], *_STRONG[:wanted]]
        slot = min(slots, key=techniques.count)
        techniques.append(slot)
        for label in sorted(others["label"][others["technique"] == technique].unique()):
            number, drawn[slot] = drawn[slot], drawn[slot] + 1
            found[label] = Look(
                palette[slot], _MARKERS[number % len(_MARKERS)], _DASHES[number % len(_DASHES)]
            )
    return found


@contextmanager
def styled() -> Iterator[None]:
    """Draw with these settings and nobody's own, and leave the caller's as they were."""
    settings: dict[Any, Any] = {
        **{key: kept for key, kept in mpl.rcParamsDefault.items() if "backend" not in key},
        **sns.axes_style("ticks"),
        **_SETTINGS,
    }
    with mpl.rc_context(settings):
        yield


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure that arranges itself; no window and no global state knows of it."""
    layout = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.03, wspace=0.03, hspace=0.04)
    figure = Figure(figsize=(width_in, height_in), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def multiples(panels: int, panel_in: float, wide: bool) -> tuple[Figure, list[Axes]]:
    """Return a figure of so many panels: one in a column, more side by side over the page.

    Args:
        panels: At least one.
        panel_in: Height of each.
        wide: Whether a single one needs the page's width.
    """
    columns = 2 if panels > 1 else 1
    width_in = PAGE_IN if panels > 1 or wide else COLUMN_IN
    figure = new_figure(width_in, panel_in * math.ceil(panels / columns))
    return figure, grid(figure, panels, columns)


def grid(figure: Figure, panels: int, columns: int) -> list[Axes]:
    """Return so many axes in rows of ``columns``, the last row perhaps shorter."""
    rows = math.ceil(panels / columns)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in axes[panels:]:
        unused.remove()
    return list(axes[:panels])


def characters(width_in: float) -> int:
    """Return how many small letters fit into a width."""
    return int(width_in * 72 / (SMALL_PT * _CHARACTER_EM))


def wrapped(text: str, width_in: float) -> str:
    """Return a text broken into lines of small letters; names are broken after ``_`` if they must.

    A name that is still too long keeps its start and its end.
    """
    width = max(characters(width_in), 8)
    parts = [part for word in text.split() for part in _pieces(word, width)]
    lines, line = [], ""
    for part, glue in parts:
        if line and len(line) + len(glue) + len(part) > width:
            lines.append(line)
            line = part
        else:
            line = f"{line}{glue if line else ''}{part}"
    return "\n".join([*lines, line])


def _pieces(word: str, width: int) -> list[tuple[str, str]]:
    if len(word) <= width:
        return [(word, " ")]
    marked = word.replace("_", "_ ").replace("+", "+ ").replace("-", "- ").split()
    short = [
        p if len(p) <= width else f"{p[: width // 2 - 1]}…{p[-(width // 2) :]}" for p in marked
    ]
    return [(short[0], " "), *((piece, "") for piece in short[1:])]


def title(axes: Axes, text: str, labels_in: float = 0.5) -> None:
    """Name a panel; the name is broken where it is wider than the panel, with room for it.

    Args:
        axes: The panel.
        text: Its name.
        labels_in: Width of what stands left of the axes.
    """
    figure = axes.get_figure(root=True)
    spec = axes.get_subplotspec()
    assert figure is not None
    assert spec is not None
    columns = spec.get_gridspec().ncols
    # Titles are larger than the letters in which a width is counted.
    width_in = 0.88 * (float(figure.get_figwidth()) / columns - labels_in)
    lines = wrapped(text, width_in)
    axes.set_title(lines)
    _grow(figure, lines.count("\n") / columns)


def note(figure: Figure, sentences: Iterable[str]) -> None:
    """Write what must be known to read the figure under its axes, once each; make room for it."""
    text = " ".join(dict.fromkeys(sentences))
    width_in = float(figure.get_figwidth())
    lines = wrapped(text, width_in - 0.1)
    figure.supxlabel(lines, x=0.01, ha="left", fontsize=SMALL_PT, color="0.25")
    _grow(figure, lines.count("\n") + 1)


def legend(figure: Figure, entries: Mapping[str, Artist]) -> None:
    """Write the legend above all axes, in as many columns as fit; make room for it."""
    width_in = float(figure.get_figwidth())
    texts = [wrapped(text, width_in - _HANDLE_IN) for text in entries]
    columns = next(
        (n for n in range(len(texts), 1, -1) if _legend_in(texts, n) <= width_in - 0.1), 1
    )
    rows = -(-len(texts) // columns)
    _grow(figure, max(sum(text.count("\n") + 1 for text in texts[::columns]), rows))
    figure.legend(
        list(entries.values()),
        texts,
        loc="outside upper left",
        ncols=columns,
        columnspacing=1.2,
        labelspacing=0.35,
        borderaxespad=0.1,
    )


def _legend_in(texts: Sequence[str], columns: int) -> float:
    """Return the width of a legend; its first columns are the longer ones by one entry."""
    fewest, longer = divmod(len(texts), columns)
    starts = [fewest * n + min(n, longer) for n in range(columns + 1)]
    each = [
        max(len(line) for text in texts[start:end] for line in text.splitlines())
        for start, end in pairwise(starts)
    ]
    return sum(each) * SMALL_PT * _CHARACTER_EM / 72 + len(each) * _HANDLE_IN


def _grow(figure: Figure, lines: float) -> None:
    figure.set_figheight(figure.get_figheight() + lines * _LINE_IN)


def power_of_ten(value: float) -> str:
    """Return a power of ten as it is printed: ``10⁶``."""
    return "10" + str(round(math.log10(value))).translate(_SUPERSCRIPTS)


def decades(axes: Axes, which: str) -> None:
    """Label the ``x`` or ``y`` axis of logarithms with powers of ten, no more than fit."""
    axis = getattr(axes, f"{which}axis")
    low, high = sorted(getattr(axes, f"get_{which}lim")())
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    step = max(1, math.ceil((last - first + 1) / 8))
    axis.set_major_locator(FixedLocator([10.0**n for n in range(first, last + 1, step)]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axis.set_minor_locator(LogLocator(subs=tuple(range(1, 10)), numticks=99))
    axis.set_minor_formatter(NullFormatter())


def ratio_axis(axes: Axes, low: float, high: float) -> None:
    """Make the x axis logarithmic from ``low`` to ``high`` with round ratios on it."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(round_ratios(low, high)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def round_ratios(low: float, high: float) -> list[float]:
    """Return round ratios within a range, nine at most: equally spaced where it is narrow."""
    if high < 1.6 * low:
        ticks = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)
        return [round(float(tick), 9) for tick in ticks if low <= tick <= high]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1, 1.2, 1.5, 2, 3, 4, 5, 6, 7, 8), (1, 2, 3, 5, 7), (1, 2, 5), (1,)):
        found = [m * 10.0**n for n in decades for m in mantissas]
        inside = [ratio for ratio in found if low <= ratio <= high]
        if len(inside) <= 9:
            break
    return inside
