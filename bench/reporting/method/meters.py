"""Which meters were read, by grade, and what they don't cover."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.reporting import metered
from bench.reporting.judging import MEASURED
from bench.reporting.method.documents import distinct, documents
from bench.reporting.pairs import unavailable
from bench.reporting.prose import (
    Paragraph,
    Section,
    Sentence,
    listed,
    paragraph,
    quantity,
    section,
)
from bench.reporting.rows import Row

_KINDS = {
    "A": "a wall meter",
    "B": "a hardware sensor",
    "C": "a model, which is no measurement and carries no claim",
}
_PARTS = {"cpu": "CPU packages", "dram": "memory", "gpu": "GPUs"}
_BEYOND_COUNTERS = ("the mainboard", "disks", "network", "fans", "losses of the power supply")
_BEYOND_WALL = ("cooling", "losses of the data centre (PUE)")
_CITED = {"nvml": "you2023", "zeus": "you2023", "codecarbon": "codecarbon"}
"""Whose library reads a source, by the first part of its name."""


@dataclass(frozen=True, slots=True, order=True)
class _Way:
    """One way in which joules were obtained, the same on all hosts that have it."""

    grade: str
    meter: str
    source: str
    step_s: float
    constants: str


def described(rows: Sequence[Row], pairs: pd.DataFrame) -> Section | None:
    """Return what was read, how good it is, and what it leaves out."""
    return section(
        "Meters", _read(pairs), _not_covered(pairs), *_absent(pairs), _carbon(rows, pairs)
    )


def _read(pairs: pd.DataFrame) -> Paragraph:
    found: dict[_Way, tuple[set[str], set[str]]] = {}
    for described, group in documents(pairs, "meters_json"):
        for way, component in _ways(described):
            components, hosts = found.setdefault(way, (set(), set()))
            components.add(component)
            hosts.update(group["host"].unique())
    if not found:
        return paragraph("No meter gave any joules: the findings are seconds and CPU-seconds")
    everywhere = set(pairs["host"].unique())
    items = [_way(way, *found[way], everywhere) for way in sorted(found)]
    grades = [grade for grade in _KINDS if any(way.grade == grade for way in found)]
    return paragraph(
        "Joules are gross: nothing is subtracted for idling",
        f"Grade {listed(f'{grade} comes from {_KINDS[grade]}' for grade in grades)}",
        "Joules of different grades are never added, divided or put in one column",
        Sentence("These were read", _sources(found)),
        items=items,
    )


def _ways(described: Mapping[str, Any]) -> Iterator[tuple[_Way, str]]:
    for meter, channels in described.items():
        for channel in channels:
            constants = _constants(channel) if channel["grade"] == "C" else ""
            way = _Way(
                channel["grade"], meter, channel["source"], float(channel["step_s"]), constants
            )
            yield way, channel["component"]


def _constants(channel: Mapping[str, Any]) -> str:
    """Return a model's constants; carbon intensity moves no joule."""
    detail = channel.get("detail") or {}
    return ", ".join(
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in sorted(detail.items())
        if name != "carbon" and not isinstance(value, dict | list)
    )


def _way(way: _Way, components: set[str], hosts: set[str], everywhere: set[str]) -> str:
    how = "integrated power of" if way.meter == "polled" else "joules of"
    text = f"grade {way.grade}, {way.source}: {how} {listed(sorted(components))}"
    if way.step_s > 0 and way.grade != "C":
        text += f", updated every {quantity(1000 * way.step_s, 'ms')} or faster"
    if way.constants:
        text += f" ({way.constants})"
    return text if hosts == everywhere else f"{text}; on {listed(sorted(hosts))}"


def _sources(ways: Iterable[_Way]) -> tuple[str, ...]:
    keys = {_CITED[root] for way in ways if (root := way.source.partition(".")[0]) in _CITED}
    if any(way.meter == "impact_tracker" for way in ways):
        keys.add("henderson2020")
    return tuple(sorted(keys))


def _not_covered(pairs: pd.DataFrame) -> Paragraph:
    said: list[Sentence | str] = []
    for measure in MEASURED:
        for scope in sorted(pairs[f"{measure}_scope"].dropna().unique()):
            grade = measure[-1].upper()
            said.append(f"Joules of {scope} (grade {grade}) do not cover {_beyond(grade, scope)}")
    if any(
        channel["component"].startswith("gpu") and channel["grade"] == "B"
        for described in distinct(pairs, "meters_json")
        for channels in described.values()
        for channel in channels
    ):
        said.append(
            Sentence(
                "The sensor of a GPU board has a gain error of its own, of several percent, which "
                "cancels in a ratio on one board and stays in absolute joules",
                ("yang2023",),
            )
        )
    return paragraph(*said)


def _beyond(grade: str, scope: str) -> str:
    if grade == "A":
        return listed(_BEYOND_WALL, "or")
    parts = [words for part, words in _PARTS.items() if part not in scope]
    return listed([*parts, *_BEYOND_COUNTERS, *_BEYOND_WALL], "or")


def _carbon(rows: Sequence[Row], pairs: pd.DataFrame) -> Paragraph:
    if not any(metered.carbon(rows)):
        return paragraph()
    grids = sorted(
        {
            f"{grid['intensity_g_per_kwh']:.4g} g/kWh ({grid['country']}, {grid['year']}, "
            f"{grid['source']})"
            for described in distinct(pairs, "meters_json")
            for channels in described.values()
            for channel in channels
            if (grid := (channel.get("detail") or {}).get("carbon"))
        }
    )
    return paragraph(
        f"Carbon is applied to counted joules afterwards, at {listed(grids, 'or')} and a PUE of "
        "1.0; it is part of no figure called energy"
    )


def _absent(pairs: pd.DataFrame) -> Iterator[Paragraph]:
    """Yield why hosts without counted joules have none."""
    uncounted = pairs[pairs["energy_a_ratio"].isna() & pairs["energy_b_ratio"].isna()]
    for host, group in uncounted.groupby("host", sort=True):
        reasons = unavailable(group["unavailable_json"])
        why = f" ({'; '.join(reasons)})" if reasons else ""
        yield paragraph(
            f"On {host} no energy counter could be read{why}: the finding there is seconds, and no "
            "joule is claimed"
        )
