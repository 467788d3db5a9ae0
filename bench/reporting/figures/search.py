"""Quality on held-out examples against joules per item: the trials of one search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.flat import measure_of
from bench.reporting.figures import files, style, units
from bench.reporting.figures.panels import NothingToDrawError
from bench.reporting.fronts import Point, baseline_quality, points, ranked, reference
from bench.reporting.scales import Scale, scale
from bench.reporting.searched import origin
from bench.search import Search

_HEIGHT_IN = 2.6
_NOTE = (
    "Numbers: trials of the Pareto set. Bars: 95 % intervals, of the ratio to the baseline and of "
    "the paired difference to it. Steps: front of the estimates, the baseline among them."
)


def write(search: Search, out: Path) -> list[Path]:
    """Draw a search as PDF and PNG and return the paths; the same trials give the same bytes.

    Args:
        search: With a trial at least that was measured.
        out: Folder of the figures; it is made if it is not there.

    Raises:
        NothingToDrawError: No trial was measured.
    """
    out.mkdir(parents=True, exist_ok=True)
    with style.styled():
        return files.save(f"search_{search.name}", [draw(search)], out, origin(search))


def draw(search: Search) -> Figure:
    """Return quality against joules (seconds without a counter) per item.

    Raises:
        NothingToDrawError: No trial was measured.
    """
    found = points(search)
    if not found:
        raise NothingToDrawError("no trial of the search was measured")
    groups, shown = ranked(search), scale(found[0].quality.metric)
    each = reference(found)
    unit = units.unit(measure_of(found[0].cost), [each * point.cost.high for point in found])
    figure, (axes,) = style.multiples(1, _HEIGHT_IN, wide=False)
    per = each * unit.per
    _front(axes, groups.best, baseline_quality(found), per, shown)
    looks = _looks()
    for look, group in zip(looks.values(), (groups.best, groups.close, groups.beaten), strict=True):
        for point in group:
            _point(axes, point, per, shown, look)
    for point in groups.best:
        axes.annotate(
            str(point.tried.number),
            (per * point.cost.ratio, shown.times * point.quality.variant),
            textcoords="offset points",
            xytext=(3, 3),
            fontsize=style.SMALL_PT,
        )
    _labels(axes, found[0], unit.name, shown)
    style.title(axes, search.name)
    style.legend(figure, _entries(looks))
    style.note(figure, [_NOTE])
    sns.despine(fig=figure)
    return figure


def _looks() -> dict[str, dict[str, Any]]:
    """Return how the points of each group are drawn, the best first."""
    colour = sns.color_palette("colorblind")[0]
    return {
        "Pareto set": {"mfc": colour, "color": colour, "zorder": 4},
        "not told from it": {"mfc": "white", "color": colour, "zorder": 3},
        "dominated": {"mfc": "white", "color": style.PALE, "zorder": 2},
    }


def _entries(looks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the legend."""
    entries: dict[str, Any] = {
        text: Line2D([], [], ls="", marker="o", mfc=look["mfc"], color=look["color"])
        for text, look in looks.items()
    }
    look = style.BASELINE_LOOK
    entries["baseline"] = Line2D([], [], ls="", marker=look.marker, color=look.colour)
    return entries


def _labels(axes: Axes, first: Point, unit: str, shown: Scale) -> None:
    measure, metric = measure_of(first.cost), first.quality.metric.replace("_", " ")
    axes.margins(0.08)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlabel(f"{units.quantity(measure)} per item ({unit})\n{units.grade(measure)}")
    axes.set_ylabel(f"{metric}, held out ({shown.unit})")


def _front(
    axes: Axes, best: Sequence[Point], baseline: float | None, per: float, shown: Scale
) -> None:
    """Draw the baseline, and steps between what no other dominates."""
    corners = [(per * p.cost.ratio, shown.times * p.quality.variant) for p in best]
    if baseline is not None:
        look, at = style.BASELINE_LOOK, (per, shown.times * baseline)
        axes.plot(*at, look.marker, color=look.colour, zorder=3)
        corners.append(at)
    corners.sort(key=lambda corner: (corner[0], -corner[1]))
    front = [c for i, c in enumerate(corners) if all(c[1] > other[1] for other in corners[:i])]
    x, y = zip(*front, strict=True)
    axes.step(x, y, where="post", color=style.PALE, lw=2.5, zorder=0)


def _point(axes: Axes, point: Point, per: float, shown: Scale, look: dict[str, Any]) -> None:
    cost, judged = point.cost, point.quality
    axes.errorbar(
        per * cost.ratio,
        shown.times * judged.variant,
        xerr=[[per * (cost.ratio - cost.low)], [per * (cost.high - cost.ratio)]],
        yerr=[
            [shown.times * (judged.difference - judged.low)],
            [shown.times * (judged.high - judged.difference)],
        ],
        fmt="o",
        elinewidth=0.8,
        **look,
    )
