"""Columns of the conditions of measurement: one row per host, protocol, runtime and device."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.reporting.cells import Cell, amount, missing
from bench.reporting.columns import Column
from bench.reporting.pairs import Pairs, grouped, unavailable

BY = ("host", "protocol", "protocol_json", "runtime", "runtime_json", "served_on_json")

_OWN = ("name", "rehearsal")
"""Values of a protocol that say nothing of how it measures."""

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """Pairs that were measured under one protocol and runtime on one device.

    Attributes:
        key: The values of ``BY``.
        source: All pairs of the report.
        positions: Those of this setting.
    """

    key: dict[str, Any]
    source: Pairs
    positions: NDArray[np.intp]

    @property
    def name(self) -> str:
        """How messages call it: by its first pair."""
        return self.source.name(self.positions[0])

    def of(self, column: str) -> NDArray[Any]:
        """Return one flat column of its pairs."""
        found: NDArray[Any] = self.source.column(column)[self.positions]
        return found

    def documents(self, column: str) -> list[Any]:
        """Return the distinct values of a JSON column, parsed, in the order of their text."""
        texts = self.source.distinct(column, self.positions)
        return [found for text in texts if (found := json.loads(text)) is not None]


def settings(source: Pairs) -> tuple[Setting, ...]:
    """Return the settings of the pairs that enter a report, in the order of ``BY``."""
    return tuple(
        Setting({name: source.column(name)[at[0]] for name in BY}, source, at)
        for at in grouped(source, BY)
    )


def _fact(
    name: str, heading: str, said: Callable[[Facts], Iterable[str]], absent: str
) -> Column[Setting]:
    """Return the column of something that the environment tells; several values are all named."""

    def values(setting: Setting) -> list[str]:
        found = setting.documents("environment_json")
        return list(dict.fromkeys(text for facts in found for text in said(facts) if text))

    return _words(name, heading, values, absent)


def _words(
    name: str, heading: str, said: Callable[[Setting], list[str]], absent: str
) -> Column[Setting]:
    def cell(setting: Setting) -> Cell:
        found = said(setting)
        return Cell("; ".join(found)) if found else missing(absent)

    return Column(
        name=name,
        heading=heading,
        unit="",
        cell=cell,
        figures=(name,),
        values=lambda setting: ("; ".join(said(setting)) or None,),
        words=True,
    )


def _cpu(facts: Facts) -> Iterable[str]:
    yield (facts.get("cpu") or {}).get("model") or ""


def _cores(facts: Facts) -> Iterable[str]:
    cpu = facts.get("cpu") or {}
    if cpu.get("cores"):
        yield f"{cpu['cores']} cores, {cpu.get('threads')} threads"
    if facts.get("cpu_limit_cores"):
        yield f"{facts['cpu_limit_cores']:g} usable"
    if cpu.get("virtual"):
        yield "virtual machine"


def _clock(facts: Facts) -> Iterable[str]:
    cpu = facts.get("cpu") or {}
    if cpu.get("governor"):
        yield f"governor {cpu['governor']}"
    if cpu.get("turbo") is not None:
        yield f"turbo {'on' if cpu['turbo'] else 'off'}"


def _gpus(facts: Facts) -> Iterable[str]:
    for gpu in facts.get("gpus") or ():
        limit = gpu.get("power_limit_w")
        driver = f", driver {gpu['driver']}" if gpu.get("driver") else ""
        yield f"{gpu.get('name')}{driver}" + (f", limit {limit:g} W" if limit else "")


def _versions(facts: Facts) -> Iterable[str]:
    if facts.get("python"):
        yield f"Python {facts['python']}"
    libraries = facts.get("libraries") or {}
    yield from (f"{n} {libraries[n]}" for n in ("joulebench", "torch") if libraries.get(n))


def _source(facts: Facts) -> Iterable[str]:
    source = facts.get("source") or {}
    if source.get("commit"):
        yield source["commit"][:12] + (" with changes" if source.get("dirty") else "")


def _device(setting: Setting) -> list[str]:
    return [
        f"{served.get('device')}, {served.get('torch_threads')} torch threads"
        for served in setting.documents("served_on_json")
        if served.get("device")
    ]


def _meters(setting: Setting) -> list[str]:
    components: dict[tuple[str, str, str], list[str]] = {}
    for meters in setting.documents("meters_json"):
        for meter, channels in meters.items():
            for channel in channels:
                key = channel["grade"], meter, channel["source"]
                parts = components.setdefault(key, [])
                parts += [] if channel["component"] in parts else [channel["component"]]
    return [
        f"grade {grade}: {meter}, {source} ({', '.join(parts)})"
        for (grade, meter, source), parts in sorted(components.items())
    ]


def _measuring(setting: Setting) -> list[str]:
    versions = setting.source.distinct("measuring_version", setting.positions)
    return [f"version {version}" for version in versions]


def _without(setting: Setting) -> list[str]:
    return unavailable(setting.source.distinct("unavailable_json", setting.positions))


def _protocol(setting: Setting) -> list[str]:
    return [f"{setting.key['protocol']}: {_listed(setting.key['protocol_json'])}"]


def _runtime(setting: Setting) -> list[str]:
    return [f"{setting.key['runtime']}: {_listed(setting.key['runtime_json'])}"]


def _listed(settings_json: str) -> str:
    values = json.loads(settings_json)
    return ", ".join(
        f"{name} {json.dumps(value).strip(chr(34))}"
        for name, value in sorted(values.items())
        if name not in _OWN
    )


def _memory(setting: Setting) -> list[str]:
    sizes = {facts.get("memory_bytes") for facts in setting.documents("environment_json")}
    return [amount(size, "B") for size in sorted(size for size in sizes if size)]


def _idle(setting: Setting) -> list[str]:
    said = []
    for grade in ("a", "b"):
        power_w = setting.of(f"idle_power_{grade}_w").astype(float)
        known = power_w[np.isfinite(power_w)]
        if known.size:
            said.append(f"{np.median(known):.1f} W (grade {grade.upper()}, median of sessions)")
    return said


def _sessions(setting: Setting) -> list[str]:
    valid = setting.of("session_valid").astype(bool)
    starts = setting.source.distinct("started", setting.positions)
    days = sorted({started[:10] for started in starts if started})
    when = " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "no date"
    invalid = f", {int((~valid).sum())} invalid" if not valid.all() else ""
    return [f"{len(valid)} pairs{invalid}, {when}"]


def _host(setting: Setting) -> list[str]:
    return [str(setting.key["host"])]


COLUMNS: dict[str, Column[Setting]] = {
    column.name: column
    for column in (
        _words("host", "host", _host, "the record names no host"),
        _words("protocol", "protocol", _protocol, "the record names no protocol"),
        _words("runtime", "runtime", _runtime, "the record names no runtime"),
        _words("device", "served on", _device, "the record does not say what models ran on"),
        _fact("cpu", "CPU", _cpu, "the system does not tell its CPU"),
        _fact("cores", "cores", _cores, "the system does not tell its cores"),
        _words("memory", "memory", _memory, "the system does not tell its memory"),
        _fact("clock", "clock policy", _clock, "the system shows neither governor nor turbo"),
        _fact("gpus", "GPUs, drivers", _gpus, "no GPU was seen"),
        _fact("system", "system", lambda f: [f.get("platform") or ""], "not in the record"),
        _fact("versions", "versions", _versions, "the record holds no versions"),
        _fact("commit", "source", _source, "measured outside a git checkout"),
        _words("measuring", "measuring code", _measuring, "the record names no version"),
        _words("meters", "meters", _meters, "no meter gave joules"),
        _words("unavailable", "no reading from", _without, "every meter asked for was read"),
        _words("idle_power", "idle power", _idle, "no counter tells the power of idling"),
        _words("sessions", "sessions", _sessions, "no session"),
    )
}
"""By the name that a table's YAML gives them."""
