"""How this machine is: processor, memory, disk, GPUs and power, sampled every few seconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.machine import host_name
from bench.machine.kernel import kept_open, number, text
from bench.machine.nvidia import ask, handles

EVERY_S = 5.0
KEPT = 720
"""Samples that are kept: an hour."""

_POWERCAP = Path("/sys/class/powercap")
_UJ_PER_J = 1e6
_MW_PER_W = 1e3


@dataclass(frozen=True, slots=True)
class Sample:
    """The machine at one moment. What cannot be read is ``None`` or absent, never 0.

    Attributes:
        at_s: Seconds since 1970.
        cpu: Share of all cores that worked since the last sample, in [0, 1].
        memory: Share of the memory in use.
        disk: Share of the results' disk in use.
        read_bytes_per_s: From all disks, since the last sample.
        written_bytes_per_s: Likewise.
        gpu: Share of the time in which each GPU worked.
        gpu_memory: Share of its memory in use.
        power_w: Watts by counter, such as ``cpu:0 (RAPL)``; gross, of that component alone.
    """

    at_s: float
    cpu: float | None
    memory: float | None
    disk: float | None
    read_bytes_per_s: float | None
    written_bytes_per_s: float | None
    gpu: dict[str, float] = field(default_factory=dict)
    gpu_memory: dict[str, float] = field(default_factory=dict)
    power_w: dict[str, float] = field(default_factory=dict)


class System:
    """Samples, and keeps the last hour.

    Args:
        root: The results, whose disk is looked at.
        powercap: Where the kernel shows RAPL's counters.
    """

    def __init__(self, root: Path, powercap: Path = _POWERCAP) -> None:
        self.host = host_name()
        self.samples: deque[Sample] = deque(maxlen=KEPT)
        self._root = root
        self._zones = list(_zones(powercap))
        self._energy_uj: dict[str, int] = {}
        self._disk_bytes: tuple[int, int] | None = None
        self._last_s: float | None = None

    def sample(self) -> None:
        """Take one sample; rates need two."""
        now_s = time.monotonic()
        since_s = None if self._last_s is None else now_s - self._last_s
        self._last_s = now_s
        busy = psutil.cpu_percent(None)
        gpus = handles()
        rates = {name: ask("nvmlDeviceGetUtilizationRates", gpu) for name, gpu in gpus.items()}
        held = {name: ask("nvmlDeviceGetMemoryInfo", gpu) for name, gpu in gpus.items()}
        read, written = self._disk(since_s)
        self.samples.append(
            Sample(
                at_s=time.time(),
                cpu=None if since_s is None else busy / 100,
                memory=psutil.virtual_memory().percent / 100,
                disk=self._full(),
                read_bytes_per_s=read,
                written_bytes_per_s=written,
                gpu={name: rate.gpu / 100 for name, rate in rates.items() if rate is not None},
                gpu_memory={n: m.used / m.total for n, m in held.items() if m is not None},
                power_w={**self._rapl(since_s), **_nvml(gpus)},
            )
        )

    def _full(self) -> float | None:
        try:
            return float(psutil.disk_usage(str(self._root)).percent) / 100
        except OSError:
            return None

    def _disk(self, since_s: float | None) -> tuple[float | None, float | None]:
        try:
            counted = psutil.disk_io_counters()
        except (OSError, RuntimeError):  # none in some containers
            counted = None
        if counted is None:
            return None, None
        before, now = self._disk_bytes, (counted.read_bytes, counted.write_bytes)
        self._disk_bytes = now
        if before is None or not since_s:
            return None, None
        return max(0, now[0] - before[0]) / since_s, max(0, now[1] - before[1]) / since_s

    def _rapl(self, since_s: float | None) -> dict[str, float]:
        """Return the watts of each package since the last sample; a counter may have wrapped."""
        found = {}
        for name, file, range_uj in self._zones:
            energy_uj = file.read()
            if energy_uj is None:
                continue
            before = self._energy_uj.get(name)
            self._energy_uj[name] = energy_uj
            if before is not None and since_s:
                rise_uj = energy_uj - before
                rise_uj += range_uj if rise_uj < 0 else 0
                found[f"{name} (RAPL)"] = rise_uj / _UJ_PER_J / since_s
        return found


def _zones(powercap: Path) -> Iterator[tuple[str, Any, float]]:
    """Yield the packages whose counter may be read; their parts are within them."""
    for zone in sorted(powercap.glob("intel-rapl:[0-9]*")):
        if zone.name.count(":") != 1 or not (text(zone / "name") or "").startswith("package"):
            continue
        file, range_uj = kept_open(zone / "energy_uj"), number(zone / "max_energy_range_uj")
        if file is not None and range_uj:
            yield f"cpu:{(text(zone / 'name') or '').rpartition('-')[2]}", file, range_uj


def _nvml(gpus: Any) -> dict[str, float]:
    found_mw = {name: ask("nvmlDeviceGetPowerUsage", gpu) for name, gpu in gpus.items()}
    return {f"{n} (NVML)": mw / _MW_PER_W for n, mw in found_mw.items() if mw is not None}
