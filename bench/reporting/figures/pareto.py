"""Accuracy against joules per inference: which techniques are worth having."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bench.reporting.figures import style, units
from bench.reporting.figures.panels import Material, Panel, name, panels, sheets
from bench.reporting.scales import scale
from bench.statistics.front import Estimates, on_front

_NOTE = (
    "Bars: 95 % intervals, of the ratio to the baseline and of the paired difference in accuracy. "
    "Steps: front of the estimates. Dominated: beyond the intervals."
)

_PANEL_IN = 2.3
_CROWD = 8  # most points in one column


@dataclass(frozen=True, slots=True)
class Points:
    """What is drawn in one panel, the baseline first.

    Attributes:
        names: Of each point.
        cost: Joules or seconds per inference.
        quality: The task metric, a fraction.
        front: Which are on the Pareto front.
    """

    names: tuple[str, ...]
    cost: Estimates
    quality: Estimates
    front: NDArray[np.bool_]


def points(panel: Panel) -> Points:
    """Return the points of a panel.

    The baseline is the A/A pair; without one it is drawn without an interval.
    """
    names = [name(row) for row in panel.rows]
    costs = [panel.cost(row) for row in panel.rows]
    qualities = []
    for row in panel.rows:
        found = row.quality
        middle = found.variant - found.difference
        qualities.append((found.variant, middle + found.low, middle + found.high))
    if panel.floor is None:
        accuracy = float(np.mean([row.quality.baseline for row in panel.techniques]))
        names.insert(0, "baseline")
        costs.insert(0, (panel.reference,) * 3)
        qualities.insert(0, (accuracy,) * 3)
    cost, quality = _estimates(costs), _estimates(qualities)
    return Points(tuple(names), cost, quality, on_front(cost, quality))


def draw(material: Material) -> list[Figure]:
    """Return accuracy against joules (seconds without a counter) per inference."""
    return [_sheet(material, found) for found in sheets(panels(material.rows), _PANEL_IN)]


def _sheet(material: Material, found: Sequence[Panel]) -> Figure:
    figure, places = style.multiples(len(found), _PANEL_IN, wide=len(found[0].rows) > _CROWD)
    for axes, panel in zip(places, found, strict=True):
        _panel(axes, panel, material)
    style.legend(figure, _markers(material, found) | _filled())
    style.note(figure, [_NOTE, *(line for panel in found for line in panel.notes)])
    sns.despine(fig=figure)
    return figure


def _panel(axes: Axes, panel: Panel, material: Material) -> None:
    found = points(panel)
    unit = units.unit(panel.measure, found.cost.value)
    metrics = sorted({row.quality.metric for row in panel.rows})
    shown = scale(metrics[0])
    x, x_low, x_high = (
        unit.per * values for values in (found.cost.value, found.cost.low, found.cost.high)
    )
    y, y_low, y_high = (
        shown.times * values
        for values in (found.quality.value, found.quality.low, found.quality.high)
    )
    order = np.lexsort((-y, x))
    best = order[y[order] >= np.maximum.accumulate(y[order])]
    axes.step(x[best], y[best], where="post", color=style.PALE, lw=2.5, zorder=0)
    for i, (text, look) in enumerate(zip(found.names, _looks(material, panel), strict=True)):
        axes.errorbar(
            x[i],
            y[i],
            xerr=[[x[i] - x_low[i]], [x_high[i] - x[i]]],
            yerr=[[y[i] - y_low[i]], [y_high[i] - y[i]]],
            fmt=look.marker,
            color=look.colour,
            mfc=look.colour if found.front[i] else "white",
            elinewidth=0.8,
            zorder=3 if found.front[i] else 2,
            label=text,
        )
    axes.margins(0.08)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    style.title(axes, panel.title)
    per = f"{units.quantity(panel.measure)} per {panel.item.use} ({unit.name})"
    axes.set_xlabel(f"{per}\n{units.grade(panel.measure)}")
    axes.set_ylabel(f"{' or '.join(metrics).replace('_', ' ')} ({shown.unit})")


def _looks(material: Material, panel: Panel) -> list[style.Look]:
    baseline = [] if panel.floor else [style.BASELINE_LOOK]
    return baseline + [material.look(row) for row in panel.rows]


def _markers(material: Material, found: Sequence[Panel]) -> dict[str, Line2D]:
    return {
        text: Line2D([], [], ls="", marker=look.marker, color=look.colour)
        for panel in found
        for text, look in zip(points(panel).names, _looks(material, panel), strict=True)
    }


def _filled() -> dict[str, Line2D]:
    return {
        text: Line2D([], [], ls="", marker="o", mfc=inside, mec="0.2")
        for text, inside in (("on the Pareto front", "0.2"), ("dominated", "white"))
    }


def _estimates(each: Sequence[tuple[float, float, float]]) -> Estimates:
    value, low, high = np.array(each, float).T
    return Estimates(value, low, high)
