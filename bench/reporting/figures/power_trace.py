"""Power over the time of one session: the windows of both arms, idling, what was discarded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench.reporting.figures import style, units
from bench.reporting.figures.panels import Material, NothingToDrawError
from bench.reporting.rows import BASELINE

MEASURES = ("energy_a", "energy_b", "energy_c")
"""Where power may come from, the best first; a model's is said to be one."""

HOSTS = 4
"""Most hosts on one sheet."""

_NS_PER_S = 1e9
_SPAN = ["start_ns", "end_ns", "span"]
_HATCH = "/////"
_DRAWN = ("start_s", "end_s", "power_w")


@dataclass(frozen=True, slots=True)
class Trace:
    """The session that stands for a host.

    Attributes:
        pair: Its flat row.
        measure: Prefix of the measure whose meter gives the power.
        spans: ``start_s``, ``end_s`` since the session began, ``power_w`` (NaN where a component is
            missing), ``span``, and for windows ``arm`` and ``kept``.
    """

    pair: Mapping[str, Any]
    measure: str
    spans: pd.DataFrame


def draw(material: Material) -> list[Figure]:
    """Return the newest session per host, of the best grade that was read there."""
    found, missing = traces(material)
    if not found:
        raise NothingToDrawError(" ".join(missing) or "there is no valid session")
    return [
        _sheet(material, found[start : start + HOSTS], missing)
        for start in range(0, len(found), HOSTS)
    ]


def traces(material: Material) -> tuple[list[Trace], list[str]]:
    """Return one session per host, and sentences on the hosts that have none."""
    found, missing = [], []
    valid = material.pairs[material.pairs["session_valid"].fillna(False).astype(bool)]
    for host, pairs in sorted(valid.groupby("host"), key=lambda group: str(group[0])):
        trace = _of_host(material, pairs)
        if trace is None:
            missing.append(f"{host}: no session with joules of any meter and a trace.")
        else:
            found.append(trace)
    return found, missing


def _of_host(material: Material, pairs: pd.DataFrame) -> Trace | None:
    for measure in MEASURES:
        metered = pairs[pairs[f"{measure}_ratio"].notna()]
        # A technique shows more than the baseline against itself; names settle what is equally new.
        order = (
            metered.copy()
            .assign(technique_first=metered["technique"] != BASELINE)
            .sort_values(["technique_first", "started", "id"], ascending=False, kind="stable")
        )
        for position in range(len(order)):
            pair = {str(name): value for name, value in order.iloc[position].items()}
            spans = _spans(material, pair, measure)
            if spans is not None:
                return Trace(pair, measure, spans)
    return None


def _spans(material: Material, pair: Mapping[str, Any], measure: str) -> pd.DataFrame | None:
    trace = material.beside(pair["folder"], "trace")
    windows = material.beside(pair["folder"], "windows")
    if trace is None or windows is None:
        return None
    ours = (trace["meter"] == pair[f"{measure}_source"]) & (trace["grade"] == measure[-1].upper())
    components = trace[ours].pivot(index=_SPAN, columns="component", values="power_w")
    # The sum of some components is not the power of all.
    total: pd.DataFrame = components.sum(axis=1, skipna=False).rename("power_w").reset_index()
    if total["power_w"].isna().all():
        return None
    spans = total.merge(windows[["start_ns", "arm", "kept"]], on="start_ns", how="left")
    began_ns = spans["start_ns"].min()
    return spans.assign(
        start_s=(spans["start_ns"] - began_ns) / _NS_PER_S,
        end_s=(spans["end_ns"] - began_ns) / _NS_PER_S,
    )


def _sheet(material: Material, found: list[Trace], missing: list[str]) -> Figure:
    figure = style.new_figure(style.PAGE_IN, 1.75 * len(found))
    entries: dict[str, Artist] = {}
    for axes, trace in zip(style.grid(figure, len(found), 1), found, strict=True):
        entries |= _axes(axes, trace, material.looks)
    style.legend(figure, entries)
    lost = [
        f"{trace.pair['host']}: power of {count} spans could not be read."
        for trace in found
        if (count := int(trace.spans["power_w"].isna().sum()))
    ]
    style.note(
        figure,
        [
            "Mean power between the edges of a span, so areas are joules; nothing reads within one,"
            " or between two.",
            *lost,
            *missing,
        ],
    )
    sns.despine(fig=figure)
    return figure


def _axes(axes: Axes, trace: Trace, looks: Mapping[str, style.Look]) -> dict[str, Artist]:
    pair, spans = trace.pair, trace.spans
    names = {"baseline": "window of the baseline", "variant": f"window of {pair['label']}"}
    colours = {"baseline": style.GREY, "variant": looks[pair["label"]].colour}
    if pair["technique"] == BASELINE:
        names["variant"], colours["variant"] = "window of the baseline again (A/A)", "0.7"
    idle = spans["arm"].isna()
    kept = ~idle & spans["kept"].fillna(True).astype(bool)
    entries: dict[str, Artist] = {"idle, warm-up": _bars(axes, spans[idle], style.PALE)}
    for arm in ("baseline", "variant"):
        of_arm = spans["arm"] == arm
        entries[names[arm]] = _bars(axes, spans[of_arm & kept], colours[arm])
        if (of_arm & ~kept).any():
            _bars(axes, spans[of_arm & ~kept], colours[arm], hatch=_HATCH)
            entries["discarded block"] = Patch(fc="white", ec="0.3", hatch=_HATCH, lw=0.3)
    style.title(
        axes,
        f"{pair['host']}: {pair['workload']}, {pair['label']}, seed {pair['seed']}, "
        f"{str(pair['started'])[:10]}; {units.how(trace.measure)}, "
        f"{pair[f'{trace.measure}_scope']}",
    )
    modelled = "modelled power" if trace.measure == "energy_c" else "power"
    axes.set_ylabel(f"{modelled} (W)\ngrade {trace.measure[-1].upper()}")
    axes.set_xlabel("time since the session began (s)")
    axes.margins(x=0.005)
    return entries


def _bars(axes: Axes, spans: pd.DataFrame, colour: Any, hatch: str | None = None) -> Artist:
    """Draw spans as bars whose areas are joules, and return what the legend shows for them."""
    start_s, end_s, power_w = (spans[name].to_numpy(float) for name in _DRAWN)
    axes.bar(
        start_s,
        power_w,
        end_s - start_s,
        align="edge",
        facecolor="white" if hatch else colour,
        edgecolor=colour,
        hatch=hatch,
        linewidth=0.3,
    )
    return Patch(facecolor=colour)
