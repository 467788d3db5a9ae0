"""Hardware energy counters of GPU, CPU package, DRAM and SoC, through zeus's device layer.

Nothing is modelled: a device whose counter cannot be read is named in ``missing`` with its reason.
The components of this meter never contain one another, so that they may be added: ``psys`` zones
and a Jetson's separate rails are left out where they would be counted twice.

Limit, known: zeus learns of a RAPL wrap-around from a process that looks once a second, ten times a
second near the top of the range. A counter that wraps about that often loses joules, and a reading
between a wrap and the next look is too low by the whole range; the latter is caught here, because
the counter then seems to run backwards. Ordinary ranges wrap after minutes to hours.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from bench.meters import Channel, Counts, MeterError, counter_grade

_MILLIJOULES_PER_JOULE = 1000.0

_RAPL_ROOT = Path("/sys/class/powercap/intel-rapl")

# Longest seconds between two updates of a counter. RAPL: 0.976 ms (Khan 2018). NVML: 20 to 100 ms
# by board (arXiv 2312.02741). Jetson: zeus adds up the sensor's power ten times a second.
_STEP_S = {"zeus.rapl": 0.001, "zeus.nvml": 0.1, "zeus.jetson": 0.1}

# Apple's figures lie beside one another; a Jetson's total contains its other two.
_JETSON_TOTAL = "total_energy_mj"
_SOC_COMPONENTS = {
    "cpu_total_mj": "soc:cpu",
    "gpu_mj": "soc:gpu",
    "gpu_sram_mj": "soc:gpu_sram",
    "dram_mj": "soc:dram",
    "ane_mj": "soc:ane",
    "cpu_energy_mj": "soc:cpu",
    "gpu_energy_mj": "soc:gpu",
    _JETSON_TOTAL: "soc:total",
}


@dataclass(frozen=True, slots=True)
class _Sensor:
    """Channels that are read in one call, in millijoules as zeus counts."""

    channels: tuple[Channel, ...]
    read_mj: Callable[[], Sequence[float | None]]
    stop: Callable[[], None] = lambda: None

    @property
    def names(self) -> list[str]:
        return [channel.component for channel in self.channels]

    def read_j(self) -> dict[str, float]:
        """Return the joules of every channel, or raise whatever the driver raises."""
        values_mj = dict(zip(self.names, self.read_mj(), strict=True))
        if silent := [name for name, value in values_mj.items() if value is None]:
            raise ValueError(f"the device did not tell {', '.join(silent)}")
        return {n: v / _MILLIJOULES_PER_JOULE for n, v in values_mj.items() if v is not None}


@dataclass
class Counters:
    """Every hardware energy counter that this machine has.

    Attributes:
        name: ``counters``.
        missing: Devices that cannot be read, with the reason and the way out.
    """

    name: str = field(default="counters", init=False)
    missing: dict[str, str] = field(default_factory=dict, init=False)
    _sensors: list[_Sensor] = field(default_factory=list, init=False, repr=False)
    _last_j: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _breaks: dict[str, tuple[int, str]] = field(default_factory=dict, init=False, repr=False)
    _at_exit: Finalize | None = field(default=None, init=False, repr=False)

    def open(self) -> tuple[Channel, ...]:
        """Find the counters, and start what zeus needs to follow them.

        Raises:
            MeterError: No counter can be read; the message says why for every kind of device.
        """
        self.close()
        try:
            import zeus.device  # noqa: F401  # takes half a second, and --help should not wait
        except ImportError as err:
            raise MeterError(f"meter.counters: {err}: pip install 'joulebench[measure]'") from err
        logging.getLogger("zeus").setLevel(logging.ERROR)  # what it warns of, `missing` says
        self.missing.clear()
        found = _gpu_sensors(self.missing) + _cpu_sensors(self.missing) + _soc_sensors(self.missing)
        # zeus follows RAPL in child processes that are not daemons. A process started by
        # multiprocessing waits for such children before it ends: without this it would hang if an
        # error skipped close().
        self._at_exit = Finalize(None, self.close, exitpriority=1)
        self._sensors = [sensor for sensor in found if self._answers(sensor)]
        if not self._sensors:
            self.close()
            reasons = "\n".join(f"  {device}: {reason}" for device, reason in self.missing.items())
            raise MeterError(
                "meter.counters: this machine has no energy counter that can be read. Mend one of "
                f"these, or choose meter=all or meter=none:\n{reasons}"
            )
        return tuple(channel for sensor in self._sensors for channel in sensor.channels)

    def read(self) -> Counts:
        """Return cumulative joules now; a device that fails is in ``failures`` with its reason."""
        energy_j: dict[str, float] = {}
        failures: dict[str, str] = {}
        for sensor in self._sensors:
            try:
                values_j = sensor.read_j()
            except Exception as err:  # drivers raise anything; a window must be discarded, not lost
                failures.update(dict.fromkeys(sensor.names, _said(err)))
                continue
            for name, value_j in values_j.items():
                if reason := self._went_back(name, value_j):
                    failures[name] = reason
                else:
                    energy_j[name] = value_j
        return Counts(energy_j, failures, dict(self._breaks))

    def close(self) -> None:
        """End zeus's child processes."""
        sensors, self._sensors = self._sensors, []
        for sensor in sensors:
            sensor.stop()
        self._last_j.clear()
        self._breaks.clear()
        if self._at_exit is not None:
            self._at_exit.cancel()
            self._at_exit = None

    def _went_back(self, name: str, value_j: float) -> str | None:
        """Return why a value below the last is no reading: a restart, or a wrap not yet seen."""
        last_j = self._last_j.get(name, value_j)
        self._last_j[name] = value_j
        if value_j >= last_j:
            return None
        reason = f"the counter went back by {last_j - value_j:.6g} J"
        self._breaks[name] = (self._breaks.get(name, (0, ""))[0] + 1, reason)
        return reason

    def _answers(self, sensor: _Sensor) -> bool:
        """Return whether a first reading succeeds; if not, say why in ``missing``."""
        try:
            sensor.read_j()
        except Exception as err:  # as in read()
            sensor.stop()
            reason = f"{sensor.channels[0].source} cannot be read: {_said(err)}"
            self.missing.update(dict.fromkeys(sensor.names, reason))
            return False
        return True


def _said(err: Exception) -> str:
    return f"{type(err).__name__}: {err}".rstrip(". ")


def _gpu_sensors(missing: dict[str, str]) -> list[_Sensor]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves visible, named by their physical number."""
    from zeus.device import get_gpus

    try:
        gpus = get_gpus().gpus
    except Exception as err:  # no driver, no library, MIG, an unreadable CUDA_VISIBLE_DEVICES
        missing["gpu"] = (
            f"{_said(err)}. It can be read where `nvidia-smi` (or `amd-smi`) lists it and "
            "CUDA_VISIBLE_DEVICES is unset or lists whole GPUs by number"
        )
        return []
    sensors = []
    for gpu in gpus:
        name = f"gpu:{gpu.gpu_index}"
        try:
            device, counts = gpu.get_name(), gpu.supports_get_total_energy_consumption()
        except Exception as err:  # as above
            missing[name] = _said(err)
            continue
        if not counts:
            missing[name] = f"{device} has no energy counter, and polled power is none"
            continue
        source = "zeus.amdsmi" if type(gpu).__name__.startswith("AMD") else "zeus.nvml"
        grade = counter_grade(name, device)
        channel = Channel(name, source, grade, _STEP_S.get(source, 0.0), {"device": device})
        sensors.append(_Sensor((channel,), _gpu_reader(gpu)))
    return sensors


def _gpu_reader(gpu: Any) -> Callable[[], Sequence[float | None]]:
    return lambda: (gpu.get_total_energy_consumption(),)


def _cpu_sensors(missing: dict[str, str]) -> list[_Sensor]:
    """Return the RAPL packages with their DRAM, numbered in the order of their zones."""
    from zeus.device import get_cpus

    try:
        cpus = get_cpus()
        root = Path(getattr(cpus, "rapl_dir", _RAPL_ROOT))
        zones = [root / f"intel-rapl:{cpu.cpu_index}" for cpu in cpus.cpus]
        names = [(zone / "name").read_text().strip() for zone in zones]
    except Exception as err:  # zeus wraps most, not all
        missing["cpu"] = _rapl_reason(err)
        return []
    sensors: list[_Sensor] = []
    for cpu, zone, name in zip(cpus.cpus, zones, names, strict=True):
        # psys is the whole platform: it contains the packages.
        if not name.startswith("package"):
            continue
        number = len(sensors)
        sensors.append(_cpu_sensor(cpu, number, {"zone": str(zone), "name": name}))
        if len(sensors[-1].channels) == 1:
            missing[f"dram:{number}"] = f"{zone} has no dram zone: this CPU does not count its DRAM"
    if not sensors:
        missing["cpu"] = f"{root} has no zone whose name begins with 'package'"
    return sensors


def _cpu_sensor(cpu: Any, number: int, detail: dict[str, str]) -> _Sensor:
    kinds = ("cpu", "dram") if cpu.supports_get_dram_energy_consumption() else ("cpu",)
    channels = tuple(
        Channel(f"{kind}:{number}", "zeus.rapl", counter_grade(kind), _STEP_S["zeus.rapl"], detail)
        for kind in kinds
    )

    def read_mj() -> Sequence[float | None]:
        measured = cpu.get_total_energy_consumption()
        return (measured.cpu_mj, measured.dram_mj)[: len(channels)]

    def stop() -> None:
        # zeus 0.16 ends its wrap-around watchers at the end of the process only, and has no call
        # for it. A watcher that is None is started anew by the next reading.
        for zone in (getattr(cpu, "rapl_file", None), getattr(cpu, "dram", None)):
            watcher = getattr(zone, "_wraparound_tracker", None)
            if zone is not None and watcher is not None:
                watcher._stop()
                zone._wraparound_tracker = None

    return _Sensor(channels, read_mj, stop)


def _rapl_reason(err: Exception) -> str:
    cause = err if isinstance(err, PermissionError) else err.__cause__
    if isinstance(cause, PermissionError):
        return (
            f"{cause.filename} is for root only. `sudo chmod -R a+r {_RAPL_ROOT}*` opens it until "
            "the next boot, a udev rule that runs the same opens it for good"
        )
    if platform.system() != "Linux":
        return f"RAPL is read on Linux only, this is {platform.system()}"
    if not _RAPL_ROOT.exists():
        return (
            f"{_RAPL_ROOT} does not exist: a virtual machine usually has none. On bare metal "
            "`sudo modprobe intel_rapl_msr` loads the driver"
        )
    return _said(err)


def _soc_sensors(missing: dict[str, str]) -> list[_Sensor]:
    """Return the figures of an Apple or Jetson chip; elsewhere there is nothing to miss."""
    if platform.machine() not in ("arm64", "aarch64"):
        return []
    from zeus.device import get_soc

    try:
        soc = get_soc()
        available = soc.get_available_metrics()
    except Exception as err:  # library, permission or chip
        missing["soc"] = f"{_said(err)}. On Apple silicon: pip install 'zeus[apple]'"
        return []
    figures = [figure for figure in _SOC_COMPONENTS if figure in available]
    if _JETSON_TOTAL in figures:
        figures = [_JETSON_TOTAL]
    if not figures:
        missing["soc"] = "the chip's monitor lists no figure"
        return []
    source = "zeus.jetson" if type(soc).__name__ == "Jetson" else "zeus.apple"
    step_s, grade = _STEP_S.get(source, 0.0), counter_grade("soc")
    channels = tuple(Channel(_SOC_COMPONENTS[f], source, grade, step_s) for f in figures)

    def read_mj() -> Sequence[float | None]:
        measured = soc.get_total_energy_consumption()
        return [getattr(measured, figure) for figure in figures]

    def stop() -> None:
        # Only the Jetson's monitor is a process; zeus 0.16 would hand out the stopped one again.
        if hasattr(soc, "_stop_process"):
            import zeus.device.soc

            soc._stop_process()
            zeus.device.soc._soc = None

    return [_Sensor(channels, read_mj, stop)]
