"""How the host is at the edge of a window, and what befell it between two edges.

Read outside the clock, cheaply: files stay open, devices are found once per process.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.machine import nvidia
from bench.machine.kernel import Gauged, kept_open, text

_MILLIDEGREES_PER_DEGREE = 1000.0

_PACKAGE_LABELS = {"coretemp": "Package id", "k10temp": "Tctl", "zenpower": "Tdie"}
"""Drivers of CPU temperature and how they label the whole package."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What befell the host during a span. What could not be read is absent or ``None``.

    Attributes:
        start_temperature_c: Degrees Celsius of each component at the start.
        cpu_throttles: How often cores and packages were slowed down for heat.
        gpu_slowdowns: GPU to the reason for which it was held below its clocks at either edge.
        gpu_foreign: GPU to the processes of others that were on it at either edge.
        major_faults: Page faults of ours that waited for storage.
    """

    start_temperature_c: Mapping[str, float] = field(default_factory=dict)
    cpu_throttles: int | None = None
    gpu_slowdowns: Mapping[str, str] = field(default_factory=dict)
    gpu_foreign: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    major_faults: int | None = None


@dataclass(frozen=True, slots=True)
class Sensors:
    """What can be asked at an edge.

    Attributes:
        temperatures: Component to its file, in thousandths of a degree.
        throttles: Counters of heat events: one per physical core, one per package.
        gpus: Component to NVML's handle.
    """

    temperatures: Mapping[str, Gauged]
    throttles: tuple[Gauged, ...]
    gpus: Mapping[str, Any]

    @classmethod
    def find(cls, sys: Path = Path("/sys")) -> Sensors:
        """Look for all of them.

        Args:
            sys: Where the kernel shows its devices.
        """
        return cls(_temperatures(sys), _throttles(sys), nvidia.handles())


@functools.cache
def _found_once() -> Sensors:
    return Sensors.find()


@dataclass(frozen=True, slots=True)
class HostState:
    """How the host is now; the fields are those of ``Circumstances``, not yet subtracted."""

    temperature_c: Mapping[str, float] = field(default_factory=dict)
    cpu_throttles: int | None = None
    gpu_slowdowns: Mapping[str, str] = field(default_factory=dict)
    gpu_foreign: Mapping[str, frozenset[int]] = field(default_factory=dict)
    major_faults: int | None = None

    @classmethod
    def read(cls, sensors: Sensors | None = None) -> HostState:
        """Ask every sensor.

        Args:
            sensors: Those of this machine if left out.
        """
        sensors = sensors or _found_once()
        cpus = {name: file.read() for name, file in sensors.temperatures.items()}
        degrees = {
            name: None if value is None else value / _MILLIDEGREES_PER_DEGREE
            for name, value in cpus.items()
        } | {name: nvidia.temperature_c(gpu) for name, gpu in sensors.gpus.items()}
        counts = [file.read() for file in sensors.throttles]
        slowdowns = {name: nvidia.slowdown(gpu) for name, gpu in sensors.gpus.items()}
        foreign = {name: nvidia.foreign_pids(gpu) for name, gpu in sensors.gpus.items()}
        return cls(
            {name: value for name, value in degrees.items() if value is not None},
            sum(c for c in counts if c is not None) if counts and None not in counts else None,
            {name: reason for name, reason in slowdowns.items() if reason},
            {name: pids for name, pids in foreign.items() if pids},
            _major_faults(),
        )

    def since(self, start: HostState) -> Circumstances:
        """Return what befell the host since ``start``."""
        gpus = sorted(start.gpu_foreign.keys() | self.gpu_foreign.keys())
        none: frozenset[int] = frozenset()
        return Circumstances(
            start.temperature_c,
            _risen(start.cpu_throttles, self.cpu_throttles),
            {**start.gpu_slowdowns, **self.gpu_slowdowns},
            {
                gpu: tuple(
                    sorted(start.gpu_foreign.get(gpu, none) | self.gpu_foreign.get(gpu, none))
                )
                for gpu in gpus
            },
            _risen(start.major_faults, self.major_faults),
        )


def _risen(start: int | None, end: int | None) -> int | None:
    return None if start is None or end is None else end - start


def _major_faults() -> int | None:
    """Return the page faults of this process and its ended children that waited for storage."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(who).ru_majflt for who in whose)


def _temperatures(sys: Path) -> dict[str, Gauged]:
    """Return the package temperatures as ``cpu:0`` and so on, in the order of their drivers."""
    found: list[Gauged] = []
    folders = sorted(sys.glob("class/hwmon/hwmon*"), key=lambda f: (len(f.name), f.name))
    for folder in folders:
        wanted = _PACKAGE_LABELS.get(text(folder / "name") or "")
        for label in sorted(folder.glob("temp*_label")) if wanted else ():
            if (text(label) or "").startswith(wanted or ""):
                file = kept_open(label.with_name(label.name.replace("_label", "_input")))
                found += [file] if file else []
    return {f"cpu:{index}": file for index, file in enumerate(found)}


def _throttles(sys: Path) -> tuple[Gauged, ...]:
    """Return one counter per core and one per package; hardware threads repeat their core's."""
    chosen: dict[tuple[str, str | None], Path] = {}
    for cpu in sorted((sys / "devices/system/cpu").glob("cpu[0-9]*")):
        for name, siblings in (
            ("core_throttle_count", "thread_siblings_list"),
            ("package_throttle_count", "package_cpus_list"),
        ):
            path = cpu / "thermal_throttle" / name
            if path.exists():
                # Without a topology every thread counts for itself: a few too many do no harm.
                whose = text(cpu / "topology" / siblings) or cpu.name
                chosen.setdefault((name, whose), path)
    return tuple(file for path in chosen.values() if (file := kept_open(path)) is not None)
