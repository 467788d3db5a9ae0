"""Every sensor: where it is, who may read it, how often it moves, how it rests."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from bench.doctor.pace import Pace
from bench.meters import Channel, Counts, Meter, Meters, difference
from bench.readings import MEASURED_GRADES

POWERCAP = Path("/sys/class/powercap")

STEPPED = ("counters",)
"""Meters whose joules move in the counter's own steps: others compute them at every read."""

END_POINT_ERROR = 0.005
"""Relative error of a window's ends that is aimed at."""

Key = tuple[str, str]


def of(opened: Meters) -> dict[Key, dict[str, Any]]:
    """Return what each opened meter says of its channels, by meter and component."""
    return {
        (meter, channel.component): {
            "meter": meter,
            "component": channel.component,
            "source": channel.source,
            "grade": channel.grade,
            **_file(channel),
            "period_s": None,
            "step_j": None,
            "shortest_window_s": None,
            "idle_w": None,
            "noise_w": None,
            "problem": None,
        }
        for meter, channels in opened.channels.items()
        for channel in channels
    }


def unreadable(powercap: Path = POWERCAP) -> list[dict[str, Any]]:
    """Return the RAPL files that are there and closed to us."""
    files = sorted(powercap.glob("intel-rapl:*/energy_uj"))
    return [
        {"path": str(file), **_permission(file)} for file in files if not os.access(file, os.R_OK)
    ]


def watch(found: dict[Key, dict[str, Any]], opened: Meters, pace: Pace) -> None:
    """Read each counter in a tight loop; fill in how often it moves and by how much."""
    for meter in opened.meters:
        channels = opened.channels.get(meter.name, ())
        if meter.name not in STEPPED or not channels:
            continue
        moves = _moves(meter, pace.watch_s)
        for channel in channels:
            sensor, seen = found[(meter.name, channel.component)], moves.get(channel.component, [])
            if len(seen) < 3:
                sensor["problem"] = (
                    f"it moved {len(seen)} times in {pace.watch_s:g} s: a hypervisor may hide it, "
                    "or it stands still"
                )
                continue
            period_s = median(b[0] - a[0] for a, b in pairwise(seen))
            sensor["period_s"] = period_s
            sensor["step_j"] = median(b[1] - a[1] for a, b in pairwise(seen))
            # Each end lags by up to a period, evenly: the difference has sigma = period / sqrt(6).
            sensor["shortest_window_s"] = period_s / (6**0.5 * END_POINT_ERROR)


def rest(found: dict[Key, dict[str, Any]], opened: Meters, pace: Pace) -> dict[Key, float]:
    """Idle in slices; fill in power and noise, and return the joules of the whole rest."""
    edges = [_edge(opened)]
    for _ in range(pace.slices):
        time.sleep(pace.slice_s)
        edges.append(_edge(opened))
    powers_w: dict[Key, list[float]] = {}
    for (start_s, start), (end_s, end) in pairwise(edges):
        for key, energy_j in joules(opened, start, end).items():
            powers_w.setdefault(key, []).append(energy_j / (end_s - start_s))
    for key, sensor in found.items():
        if len(powers := powers_w.get(key, [])) == pace.slices:
            sensor["idle_w"] = fmean(powers)
            sensor["noise_w"] = stdev(powers) if len(powers) > 1 else None
            if sensor["grade"] in MEASURED_GRADES and sensor["idle_w"] == 0:
                sensor["problem"] = "it stands still: a hypervisor may hide it"
        else:
            sensor["problem"] = sensor["problem"] or _why(opened, key, edges)
    return joules(opened, edges[0][1], edges[-1][1])


def joules(
    opened: Meters, start: Mapping[str, Counts], end: Mapping[str, Counts]
) -> dict[Key, float]:
    """Return the joules between two readings of all meters, where there are any."""
    return {
        (r.meter, r.component): r.energy_j
        for r in opened.between(start, end, wait=False)
        if r.energy_j is not None
    }


def _edge(opened: Meters) -> tuple[float, dict[str, Counts]]:
    counts = opened.read(slowest_first=False)
    return time.monotonic(), counts


def _why(opened: Meters, key: Key, edges: list[tuple[float, dict[str, Counts]]]) -> str:
    meter = key[0]
    for (_, start), (_, end) in pairwise(edges):
        for reading in difference(meter, opened.channels[meter], start[meter], end[meter]):
            if reading.component == key[1] and reading.reason:
                return reading.reason
    return "no joules"


def _moves(meter: Meter, seconds: float) -> dict[str, list[tuple[float, float]]]:
    """Return when each component moved, and where to."""
    seen: dict[str, list[tuple[float, float]]] = {}
    last: dict[str, float] = {}
    end_s = time.monotonic() + seconds
    while (now_s := time.monotonic()) < end_s:
        for component, energy_j in meter.read().energy_j.items():
            if last.setdefault(component, energy_j) != energy_j:
                seen.setdefault(component, []).append((now_s, energy_j))
                last[component] = energy_j
    return seen


def _file(channel: Channel) -> dict[str, Any]:
    zone = channel.detail.get("zone")
    if zone is None:
        return {"path": None, "permission": None}
    return {"path": f"{zone}/energy_uj", **_permission(Path(zone) / "energy_uj")}


def _permission(file: Path) -> dict[str, Any]:
    try:
        return {"permission": stat.filemode(file.stat().st_mode)}
    except OSError:
        return {"permission": None}
