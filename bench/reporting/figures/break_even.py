"""What the optimisation and its use cost together, against the number of inferences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.reporting.figures import style, units
from bench.reporting.figures.panels import (
    Material,
    NothingToDrawError,
    Panel,
    panels,
    sheets,
)
from bench.reporting.judging import cost_column
from bench.reporting.rows import Row

BASELINE = "baseline"

_PANEL_IN = 2.3
_CROWD = 6
_POINTS = 200
_AROUND = 10.0  # how far the axis reaches beyond the break-evens, as a factor


def draw(material: Material) -> list[Figure]:
    """Return joules (seconds without a counter) of optimisation and inferences together.

    Training the baseline is in none of the lines: it came before the choice.
    """
    shown = [
        panel
        for panel in panels(material.rows)
        if any(spent(panel, row) is not None for row in panel.techniques)
    ]
    if not shown:
        raise NothingToDrawError("no technique's optimisation has a cost in the leading measure")
    return [_sheet(material, found) for found in sheets(shown, _PANEL_IN)]


def spent(panel: Panel, row: Row) -> float | None:
    """Return what the optimisation cost once, in joules or seconds: mean over the pairs.

    ``None`` where it is missing for a pair, or where nothing was done.
    """
    costs = row.of(cost_column("optimise", panel.measure)).astype(float)
    if not costs.size or not np.isfinite(costs).all():
        return None
    return float(costs.mean())


def _sheet(material: Material, found: Sequence[Panel]) -> Figure:
    figure, places = style.multiples(len(found), _PANEL_IN, wide=len(found[0].rows) > _CROWD)
    entries: dict[str, Artist] = {BASELINE: Line2D([], [], color=style.GREY)}
    missing: list[str] = []
    for axes, panel in zip(places, found, strict=True):
        entries |= _panel(axes, panel, material)
        missing += [*panel.missing, *_never(panel)]
    if any(row.break_even for panel in found for row in panel.techniques):
        entries["break-even with 95 % interval"] = Line2D(
            [], [], color="0.2", marker="o", mfc="white", lw=0.8
        )
    style.legend(figure, entries)
    style.note(
        figure,
        [
            "Bands: 95 % intervals of the ratio. The baseline's training is in none of the lines.",
            *missing,
        ],
    )
    sns.despine(fig=figure)
    return figure


def _panel(axes: Axes, panel: Panel, material: Material) -> dict[str, Artist]:
    drawn = [(row, cost) for row in panel.techniques if (cost := spent(panel, row)) is not None]
    inferences = np.geomspace(*_range(panel, drawn), _POINTS)
    axes.plot(inferences, panel.reference * inferences, color=style.GREY, label=BASELINE)
    entries: dict[str, Artist] = {}
    for row, cost in drawn:
        look, label = material.look(row), str(row.key["label"])
        each, low, high = panel.cost(row)
        axes.fill_between(
            inferences,
            cost + low * inferences,
            cost + high * inferences,
            color=look.colour,
            alpha=0.25,
            lw=0,
        )
        axes.plot(
            inferences, cost + each * inferences, color=look.colour, ls=look.line, label=label
        )
        entries[label] = Line2D([], [], color=look.colour, ls=look.line)
        if row.break_even is not None:
            _mark(axes, row.break_even, cost, each, look, float(inferences[-1]))
    axes.set(xscale="log", yscale="log", xlim=(inferences[0], inferences[-1]))
    style.decades(axes, "x")
    style.decades(axes, "y")
    style.title(axes, panel.title)
    uses, unit = panel.item.uses, units.base(panel.measure)
    axes.set_xlabel(f"number of {uses}")
    axes.set_ylabel(f"optimisation + {uses} ({unit})\n{units.grade(panel.measure)}")
    return entries


def _mark(
    axes: Axes,
    found: tuple[float, float, float | None],
    cost: float,
    each: float,
    look: style.Look,
    edge: float,
) -> None:
    at, low, high = found
    if at <= 0:
        return  # a logarithm knows no 0; the lines show who needs less from the start
    axes.errorbar(
        at,
        cost + each * at,
        xerr=[[at - low], [(edge if high is None else high) - at]],
        fmt=look.marker,
        color=look.colour,
        mfc="white",
        elinewidth=0.8,
        zorder=3,
    )


def _range(panel: Panel, drawn: Sequence[tuple[Row, float]]) -> tuple[float, float]:
    """Return the numbers of inferences that are worth showing, as powers of ten."""
    ends = [
        end
        for row, _ in drawn
        if row.break_even
        for end in row.break_even[:2] + ((row.break_even[2],) if row.break_even[2] else ())
        if end > 0
    ]
    # Without any break-even: where the inferences cost what the optimisations did.
    ends = ends or [max(cost, panel.reference) / panel.reference for _, cost in drawn]
    low, high = max(1.0, min(ends) / _AROUND), max(ends) * _AROUND
    return 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high))


def _never(panel: Panel) -> list[str]:
    return [
        f"{row.key['label']} ({panel.title}): {row.break_even_reason}."
        for row in panel.techniques
        if row.break_even is None
    ]
