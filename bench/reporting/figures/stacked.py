"""What training, optimising and a stated number of inferences cost together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from bench.reporting.columns import mean
from bench.reporting.figures import style, units
from bench.reporting.figures.panels import Material, Panel, panels, sheets
from bench.reporting.items import item_of
from bench.reporting.judging import cost_column

WITHOUT_TRAINING = 1_000_000
"""Inferences that are counted where no training was measured."""

_AXIS_IN = 0.75
_BAR_IN = 0.26
_LINE_IN = 0.13
_NAME_IN = 1.25
_HATCH = "//////"
_DARK = "0.3"


@dataclass(frozen=True, slots=True)
class Bar:
    """What one technique costs, in joules or seconds.

    Attributes:
        name: Of the technique, or of the baseline.
        colour: Its colour.
        training: Of the baseline, which all need; ``None`` if it was not measured.
        optimisation: 0 for the baseline; ``None`` if it was not measured.
        inference: Of all inferences.
        low: Lower end of the 95 % interval of ``inference``.
        high: Upper end.
    """

    name: str
    colour: Any
    training: float | None
    optimisation: float | None
    inference: float
    low: float
    high: float


def draw(material: Material) -> list[Figure]:
    """Return stacked joules (seconds without a counter) per technique."""
    drawn = [(panel, bars(panel, material)) for panel in panels(material.rows)]
    panel_in = _AXIS_IN + max(sum(_height_in(bar) for bar in each) for _, each in drawn)
    return [_sheet(found, panel_in) for found in sheets(drawn, panel_in)]


def inferences(panel: Panel) -> int:
    """Return how many inferences are counted: the power of ten nearest to the training's cost.

    So that neither hides the other; the rule is the same for all, and the axis says the number.
    """
    training = _training(panel)
    if not training:
        return WITHOUT_TRAINING
    return int(10 ** max(0, round(math.log10(training / panel.reference))))


def bars(panel: Panel, material: Material) -> list[Bar]:
    """Return the bars of a panel, the baseline's first."""
    number, training = inferences(panel), _training(panel)
    use = number * panel.reference
    found = [Bar("baseline", style.GREY, training, 0.0, use, use, use)]
    for row in panel.techniques:
        each, low, high = (number * cost for cost in panel.cost(row))
        found.append(
            Bar(
                str(row.key["label"]),
                material.look(row).colour,
                training,
                mean(row, cost_column("optimise", panel.measure)),
                each,
                low,
                high,
            )
        )
    return found


def _training(panel: Panel) -> float | None:
    """Return the mean over all trainings of the panel, ``None`` if none was measured."""
    column = cost_column("train", panel.measure)
    each = np.concatenate([row.made(column).astype(float) for row in panel.techniques])
    each = each[np.isfinite(each)]
    return float(each.mean()) if each.size else None


def _sheet(found: Sequence[tuple[Panel, list[Bar]]], panel_in: float) -> Figure:
    figure, places = style.multiples(len(found), panel_in, wide=False)
    missing: list[str] = []
    served = item_of(row for panel, _ in found for row in panel.rows)
    for axes, (panel, each) in zip(places, found, strict=True):
        _panel(axes, panel, each)
        missing += [*panel.missing, *_unmeasured(panel, each)]
    style.legend(
        figure,
        {
            "training of the baseline": Patch(facecolor=_DARK),
            "optimisation": Patch(facecolor="white", edgecolor=_DARK, hatch=_HATCH, lw=0.5),
            f"{served.uses}, with 95 % interval": Patch(facecolor="0.7"),
        },
    )
    style.note(figure, missing)
    sns.despine(fig=figure)
    return figure


def _height_in(bar: Bar) -> float:
    lines = 1 + style.wrapped(bar.name, _NAME_IN).count("\n")
    return max(_BAR_IN, lines * _LINE_IN + 0.04)


def _panel(axes: Axes, panel: Panel, drawn: Sequence[Bar]) -> None:
    ends = [(bar.training or 0) + (bar.optimisation or 0) + bar.high for bar in drawn]
    unit = units.unit(panel.measure, ends)
    for line, bar in enumerate(drawn):
        made = unit.per * (bar.training or 0.0)
        ready = made + unit.per * (bar.optimisation or 0.0)
        end = ready + unit.per * bar.inference
        axes.barh(line, made, color=_DARK, height=0.7)
        axes.barh(
            line,
            ready - made,
            left=made,
            height=0.7,
            facecolor="white",
            edgecolor=bar.colour,
            hatch=_HATCH,
            lw=0.5,
        )
        axes.barh(line, end - ready, left=ready, color=bar.colour, height=0.7, label=bar.name)
        if bar.high > bar.low:
            sides = [
                [unit.per * (bar.inference - bar.low)],
                [unit.per * (bar.high - bar.inference)],
            ]
            axes.errorbar(end, line, xerr=sides, fmt="none", ecolor="0.1", elinewidth=0.8)
    axes.set_yticks(range(len(drawn)), [style.wrapped(bar.name, _NAME_IN) for bar in drawn])
    axes.set_ylim(len(drawn) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    style.title(axes, panel.title, labels_in=_NAME_IN + 0.1)
    used = f"{style.power_of_ten(inferences(panel))} {panel.item.uses}"
    spent = f"{units.quantity(panel.measure)} with {used} ({unit.name})"
    axes.set_xlabel(f"{spent}\n{units.grade(panel.measure)}")


def _unmeasured(panel: Panel, drawn: Sequence[Bar]) -> list[str]:
    found = []
    if drawn[0].training is None:
        found.append(f"{panel.title}: no training was measured.")
    lost = [bar.name for bar in drawn if bar.optimisation is None]
    if lost:
        found.append(f"{panel.title}: optimisation not measured of {', '.join(lost)}.")
    return found
