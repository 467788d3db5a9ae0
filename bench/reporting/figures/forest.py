"""Ratios of all techniques under each other, with their intervals and the noise floor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import NullLocator

from bench.reporting.figures import style, units
from bench.reporting.figures.panels import Material, Panel, name, panels
from bench.reporting.items import item_of
from bench.reporting.rows import Row
from bench.statistics.pooling import energy_verdict

LINES = 46
"""Most lines on one sheet, headings included."""

_LINE_IN = 0.165
_AXIS_IN = 0.55
_HEADING_IN = 3.0
_GAP = 0.5  # of a line
_NAME_IN = 2.2
_COLUMNS = ((8.0, "ratio [95 %]"), (92.0, "sessions, blocks"))


@dataclass(frozen=True, slots=True)
class Group:
    """Lines that stay together: a panel, or a part of one that fills more than a sheet."""

    panel: Panel
    rows: tuple[Row, ...]

    @property
    def heading(self) -> str:
        """What the lines have in common, as wide as the axes."""
        return style.wrapped(self.panel.title, _HEADING_IN)

    @property
    def lines(self) -> float:
        """Rows and their heading, with a gap before it."""
        return _GAP + _lines(self.heading) + self.rows_lines

    @property
    def rows_lines(self) -> int:
        """Lines of the rows alone; a long name takes several."""
        return sum(_lines(_name(row)) for row in self.rows)


def draw(material: Material) -> list[Figure]:
    """Return the ratios by the leading measure, one pair of axes per measure and sheet."""
    found = sorted(panels(material.rows), key=lambda panel: panel.measure)
    return [_sheet(material, groups) for groups in _sheets(found)]


def decided(row: Row, measure: str) -> bool:
    """Whether a ratio differs from 1 after the correction for all techniques of its family."""
    return not row.is_noise_floor and (
        energy_verdict(row.ratios[measure].ratio, row.adjusted_p[measure]) != "undecided"
    )


def _name(row: Row) -> str:
    return style.wrapped(name(row), _NAME_IN)


def _lines(text: str) -> int:
    return 1 + text.count("\n")


def _sheets(found: Iterable[Panel]) -> list[list[Group]]:
    sheets: list[list[Group]] = []
    room = 0.0
    for group in (part for panel in found for part in _parts(panel)):
        if group.lines > room:
            sheets.append([])
            room = LINES
        sheets[-1].append(group)
        room -= group.lines
    return sheets


def _parts(panel: Panel) -> Iterator[Group]:
    part: list[Row] = []
    for row in panel.rows:
        if part and Group(panel, (*part, row)).lines > LINES:
            yield Group(panel, tuple(part))
            part = []
        part.append(row)
    yield Group(panel, tuple(part))


def _sheet(material: Material, groups: Sequence[Group]) -> Figure:
    by_measure = [list(same) for _, same in groupby(groups, lambda group: group.panel.measure)]
    lines = [sum(group.lines for group in same) for same in by_measure]
    height_in = sum(lines) * _LINE_IN + len(lines) * _AXIS_IN
    figure = style.new_figure(style.PAGE_IN, height_in)
    axes = figure.subplots(len(lines), 1, squeeze=False, height_ratios=lines).ravel()
    for place, same in zip(axes, by_measure, strict=True):
        _axes(place, same, material)
    floors = any(group.panel.floor for group in groups)
    served = item_of(row for group in groups for row in group.panel.rows)
    style.legend(figure, _legend(floors))
    style.note(
        figure,
        [
            f"Ratio: variant over baseline per {served.use}; below 1 the variant needs less.",
            *(sentence for group in groups for sentence in group.panel.notes),
        ],
    )
    sns.despine(fig=figure, left=True)
    return figure


def _axes(axes: Axes, groups: Sequence[Group], material: Material) -> None:
    measure = groups[0].panel.measure
    ends = [1.0]
    ticks: list[tuple[float, str]] = []
    line = 0.0
    for group in groups:
        axes.text(
            0.0,
            line + _GAP - 0.4,
            group.heading,
            transform=axes.get_yaxis_transform(),
            fontsize=style.SMALL_PT,
            fontweight="bold",
            va="top",
            zorder=3,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
        )
        line += _GAP + _lines(group.heading)
        if group.panel.floor:
            ends += _band(axes, group.panel.floor, measure, line, group.rows_lines)
        for row in group.rows:
            place = line + (_lines(_name(row)) - 1) / 2
            ends += _ratio(axes, row, measure, place, material)
            ticks.append((place, _name(row)))
            line += _lines(_name(row))
    axes.axvline(1.0, color="0.2", lw=0.8, zorder=1)
    for right_pt, heading in _COLUMNS:
        _beside(axes, right_pt, _GAP - 0.4, heading, fontweight="bold", va="top")
    axes.set_ylim(line - 0.4, -0.6)
    axes.set_yticks([place for place, _ in ticks], [text for _, text in ticks])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.94", lw=0.6)
    axes.yaxis.set_minor_locator(NullLocator())
    style.ratio_axis(axes, min(ends) / 1.04, max(ends) * 1.04)
    axes.set_xlabel(f"{units.quantity(measure)} ratio (1 = baseline), {units.grade(measure)}")


def _ratio(
    axes: Axes, row: Row, measure: str, line: float, material: Material
) -> tuple[float, float]:
    found, look = row.ratios[measure], material.look(row)
    axes.errorbar(
        found.ratio,
        line,
        xerr=[[found.ratio - found.low], [found.high - found.ratio]],
        fmt=look.marker,
        color=look.colour,
        mfc=look.colour if decided(row, measure) else "white",
        elinewidth=1.0,
        markersize=3.6,
        zorder=3,
        label=name(row),
    )
    _beside(axes, _COLUMNS[0][0], line, f"{found.ratio:.3f} [{found.low:.3f}, {found.high:.3f}]")
    _beside(axes, _COLUMNS[1][0], line, f"{found.units}, {found.blocks}")
    return found.low, found.high


def _band(axes: Axes, floor: Row, measure: str, line: float, rows: int) -> tuple[float, float]:
    found = floor.ratios[measure]
    axes.add_patch(
        Rectangle(
            (found.low, line - 0.5),
            found.high - found.low,
            rows,
            facecolor=style.PALE,
            edgecolor="none",
            zorder=0,
        )
    )
    return found.low, found.high


def _beside(axes: Axes, right_pt: float, line: float, text: str, **how: Any) -> None:
    """Write a text right of the axes, at a distance that does not depend on their width."""
    axes.annotate(
        text,
        (1.0, line),
        xycoords=axes.get_yaxis_transform(),
        xytext=(right_pt, 0.0),
        textcoords="offset points",
        fontsize=style.SMALL_PT,
        annotation_clip=False,
        **{"va": "center", **how},
    )


def _legend(floors: bool) -> dict[str, Artist]:
    filled = {
        "differs from 1 (p < 0.05 after Holm)": "0.2",
        "undecided": "white",
    }
    entries: dict[str, Artist] = {
        text: Line2D([], [], ls="", marker="o", mfc=inside, mec="0.2")
        for text, inside in filled.items()
    }
    if floors:
        entries["noise floor (A/A interval)"] = Patch(facecolor=style.PALE)
    return entries
