"""Axes, lines and points as options of ECharts: how all pictures look."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Options = dict[str, Any]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31")
"""Okabe and Ito's colours, which the colour-blind tell apart, but for yellow; the last is ours."""

NEUTRAL = "#808790"
"""Of text and axes: readable on light and on dark."""

FAINT = "rgba(128, 135, 144, 0.25)"
BARS = "rgba(128, 135, 144, 0.7)"
"""Of grids and of intervals."""

SHORT = "value => value >= 1e4 || value < 1e-2 ? value.toExponential(0) : String(value)"
"""How powers of ten are written. What stands behind ``:formatter`` is run in the browser: it is a
word of ours, and the only one."""


def line(name: str, data: Sequence[Any], colour: str) -> dict[str, Any]:
    """Return a line; one without a name stays out of the legend."""
    return {
        "type": "line",
        "name": name,
        "data": [plain(point) for point in data],
        "color": colour,
        "showSymbol": 0 < len(data) < 30 and bool(name),
        "symbolSize": 5,
        "silent": not name,
        "tooltip": {"show": bool(name)},
        "lineStyle": {"width": 1.6},
    }


def scatter(name: str, data: Sequence[Any], style: Mapping[str, Any]) -> dict[str, Any]:
    """Return points: two figures each, or ``name`` and ``value``."""
    return {
        "type": "scatter",
        "name": name,
        "data": [plain(point) for point in data],
        "symbolSize": 9,
        "itemStyle": dict(style),
    }


def plain(point: Any) -> Any:
    """Return a point in which every figure is finite or missing.

    A tuple: the library of the pages would watch each of a thousand lists for changes.
    """
    if isinstance(point, dict):
        return {**point, "value": plain(point["value"])}
    return tuple(None if isinstance(x, float) and not math.isfinite(x) else x for x in point)


def at_one(axis: str) -> dict[str, Any]:
    """Return a dashed line at 1 on ``xAxis`` or ``yAxis``."""
    return {
        "silent": True,
        "symbol": "none",
        "label": {"show": False},
        "lineStyle": {"color": NEUTRAL, "type": "dashed"},
        "data": [{axis: 1}],
    }


def chart(series: list[dict[str, Any]], x: str, y: str) -> Options:
    """Return a picture of some series; ``x`` and ``y`` say what is on the axes, with units."""
    names = [one["name"] for one in series if one["name"]]
    text = {"color": NEUTRAL}
    axis = {
        "type": "value",
        "scale": True,
        "axisLabel": {**text, "hideOverlap": True},
        "nameTextStyle": dict(text),
        "axisLine": {"lineStyle": {"color": NEUTRAL}},
        "splitLine": {"lineStyle": {"color": FAINT}},
    }
    return {
        "animation": False,
        "aria": {"enabled": True},
        "textStyle": dict(text),
        "legend": {"data": names, "top": 0, "type": "scroll", "textStyle": dict(text)},
        "grid": {"top": 48, "left": 12, "right": 24, "bottom": 36, "containLabel": True},
        "tooltip": {"trigger": "axis", "renderMode": "richText", "confine": True},
        "xAxis": {**axis, "name": x, "nameLocation": "middle", "nameGap": 26},
        "yAxis": {**axis, "name": y},
        "series": series,
    }


def logarithmic(options: Options) -> Options:
    """Return a picture with both axes logarithmic."""
    axes = {}
    for name in ("xAxis", "yAxis"):
        label = {**options[name]["axisLabel"], ":formatter": SHORT}
        axes[name] = {**options[name], "type": "log", "axisLabel": label}
    return {**options, **axes}


def counted(options: Options) -> Options:
    """Return a picture whose x axis counts: no fractions on it."""
    return {**options, "xAxis": {**options["xAxis"], "minInterval": 1}}
