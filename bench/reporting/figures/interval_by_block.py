"""The ratio of one session as its blocks came in: when the interval was narrow enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.reporting.figures import style, units
from bench.reporting.figures.panels import Material, NothingToDrawError, sheets
from bench.reporting.rows import BASELINE
from bench.statistics import Floats
from bench.statistics.ratios import PairedRatio, paired_ratio

_PANEL_IN = 2.1
_SETTLED = 3


@dataclass(frozen=True, slots=True)
class Running:
    """One session.

    Attributes:
        pair: Its flat row.
        ratios: After 2, 3, ... kept blocks.
    """

    pair: Mapping[str, Any]
    ratios: tuple[PairedRatio, ...]


def draw(material: Material) -> list[Figure]:
    """Return the running interval of the newest session of a technique per host."""
    found, missing = running(material)
    if not found:
        raise NothingToDrawError(" ".join(missing) or "there is no valid session")
    return [_sheet(portion, material.looks, missing) for portion in sheets(found, _PANEL_IN)]


def running(material: Material) -> tuple[list[Running], list[str]]:
    """Return one session per host, and sentences on the hosts that have none."""
    pairs = material.pairs
    valid = pairs["session_valid"].fillna(False).astype(bool) & (pairs["technique"] != BASELINE)
    found, missing = [], []
    for host, of_host in pairs[valid].groupby("host"):
        newest = of_host.sort_values(["started", "id"], ascending=False, kind="stable")
        for position in range(len(newest)):
            pair = {str(name): value for name, value in newest.iloc[position].items()}
            windows = material.beside(pair["folder"], "windows")
            ratios = None if windows is None else _ratios(pair, windows)
            if ratios:
                found.append(Running(pair, ratios))
                break
        else:
            missing.append(f"{host}: no session with windows.parquet.")
    return found, missing


def _ratios(pair: Mapping[str, Any], windows: pd.DataFrame) -> tuple[PairedRatio, ...] | None:
    kept = windows[windows["kept"]].sort_values(["block", "position"])
    per_item = _spent(pair, kept) / kept["items"].to_numpy(float)
    baseline, variant = (
        per_item[(kept["arm"] == arm).to_numpy()].reshape(-1, 2) for arm in ("baseline", "variant")
    )
    if not np.isfinite(per_item).all():
        return None
    return tuple(paired_ratio(baseline[:n], variant[:n]) for n in range(2, len(baseline) + 1))


def _spent(pair: Mapping[str, Any], windows: pd.DataFrame) -> Floats:
    """Return what each window cost in the pair's leading measure, in joules or seconds."""
    if pair["lead"] in ("wall", "cpu"):
        return windows[f"{pair['lead']}_s"].to_numpy(float)
    meter, scope = (pair[f"{pair['lead']}_{name}"] for name in ("source", "scope"))
    columns = [f"{meter}/{component}_j" for component in scope.split("+")]
    joules: Floats = windows[columns].to_numpy(float).sum(axis=1)
    return joules


def _sheet(
    found: Sequence[Running], looks: Mapping[str, style.Look], missing: Sequence[str]
) -> Figure:
    figure, places = style.multiples(len(found), _PANEL_IN, wide=False)
    entries: dict[str, Artist] = {}
    for axes, one in zip(places, found, strict=True):
        label = one.pair["label"]
        _panel(axes, one, looks[label])
        entries[label] = Line2D([], [], color=looks[label].colour, lw=1.4)
    style.legend(figure, entries)
    style.note(figure, ["Band: 95 % interval of the ratio from the blocks so far.", *missing])
    sns.despine(fig=figure)
    return figure


def _panel(axes: Axes, one: Running, look: style.Look) -> None:
    blocks = [ratio.blocks for ratio in one.ratios]
    axes.fill_between(
        blocks,
        [ratio.low for ratio in one.ratios],
        [ratio.high for ratio in one.ratios],
        color=look.colour,
        alpha=0.25,
        lw=0,
    )
    axes.plot(blocks, [ratio.ratio for ratio in one.ratios], color=look.colour, lw=1.4)
    # The first few blocks' wide intervals may leave the axes: what follows is to be seen.
    settled = one.ratios[min(_SETTLED, len(one.ratios)) - 1 :]
    low, high = min(ratio.low for ratio in settled), max(ratio.high for ratio in settled)
    axes.set_ylim(low - 0.2 * (high - low), high + 0.2 * (high - low))
    if axes.get_ylim()[0] < 1 < axes.get_ylim()[1]:
        axes.axhline(1.0, color="0.2", lw=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    pair, measure = one.pair, one.pair["lead"]
    style.title(axes, f"{pair['workload']}, {pair['host']}, seed {pair['seed']}")
    axes.set_xlabel("kept blocks so far")
    axes.set_ylabel(f"{units.quantity(measure)} ratio (1 = baseline)\n{units.grade(measure)}")
