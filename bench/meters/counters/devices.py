"""Counters other than RAPL: NVIDIA GPUs by NVML; AMD's GPUs, Apple's and Jetson's chips by zeus."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.meters import Channel, Counts, MeterError, counter_grade, nvml
from bench.meters.counters.tally import Tally, counts, said

_MICRO_PER_MILLI = 1e3
_MICRO = 1e6

# Longest seconds between two updates of a counter. NVML: 20 to 100 ms by board (arXiv 2312.02741).
# Jetson: zeus adds up the sensor's power ten times a second.
_STEP_S = {"nvml": 0.1, "zeus.jetson": 0.1}

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


@dataclass
class Sensor:
    """Channels that are read in one call.

    Attributes:
        channels: What it reads.
        read_uj: Returns their cumulative microjoules in that order, or raises whatever it likes.
        stop: Ends what ``zeus`` started for it.
    """

    channels: tuple[Channel, ...]
    read_uj: Callable[[], Sequence[float | None]]
    stop: Callable[[], None] = lambda: None
    _tallies: dict[str, Tally] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Begin at no joules."""
        self._tallies = {channel.component: Tally() for channel in self.channels}

    def read(self) -> Counts:
        """Return the joules since the first reading; a failure costs all that lies around it."""
        before_s = time.monotonic()
        try:
            values_uj = dict(zip(self._tallies, self.read_uj(), strict=True))
            if silent := [name for name, value in values_uj.items() if value is None]:
                raise ValueError(f"the device did not tell {', '.join(silent)}")
        except Exception as err:  # drivers raise anything; a window must be discarded, not lost
            failures = {name: tally.lose(said(err)) for name, tally in self._tallies.items()}
            return counts(self._tallies, failures)
        after_s = time.monotonic()
        problems = {
            name: self._tallies[name].add(value, before_s, after_s)
            for name, value in values_uj.items()
            if value is not None
        }
        return counts(self._tallies, {n: problem for n, problem in problems.items() if problem})

    def close(self) -> None:
        """End what was started."""
        self.stop()


def gpus(missing: dict[str, str]) -> list[Sensor]:
    """Return the GPUs that CUDA leaves visible, by physical number; else AMD's through zeus."""
    try:
        found, lacking = nvml.visible()
    except MeterError as err:
        missing["gpu"] = str(err)
        return _amd_gpus(missing)
    missing |= lacking
    return [_nvidia(gpu) for gpu in found]


def _nvidia(gpu: nvml.Gpu) -> Sensor:
    grade = counter_grade(gpu.component, gpu.name)
    channel = Channel(gpu.component, "nvml", grade, _STEP_S["nvml"], {"device": gpu.name})
    return Sensor((channel,), lambda: (gpu.energy_j() * _MICRO,))


def _amd_gpus(missing: dict[str, str]) -> list[Sensor]:
    """Return what AMD SMI counts; ``missing`` keeps NVML's reason if there is none."""
    _quieten()
    try:
        from zeus.device.gpu.amd import AMDGPUs, amdsmi_is_available

        if not amdsmi_is_available():
            return []
        cards = AMDGPUs().gpus
    except ImportError:  # what NVML's reason says of installing holds here too
        return []
    except Exception as err:  # the library, the driver, HIP_VISIBLE_DEVICES
        missing["gpu"] = f"{said(err)}. It can be read where `amd-smi` lists the GPU"
        return []
    del missing["gpu"]
    sensors = []
    for card in cards:
        name = f"gpu:{card.gpu_index}"
        try:
            device, counted = card.get_name(), card.supports_get_total_energy_consumption()
        except Exception as err:  # as above
            missing[name] = said(err)
            continue
        if counted:
            channel = Channel(name, "zeus.amdsmi", "B", 0.0, {"device": device})
            sensors.append(Sensor((channel,), _amd_reader(card)))
        else:
            missing[name] = f"{device} has no energy counter"
    return sensors


def _amd_reader(card: Any) -> Callable[[], Sequence[float | None]]:
    return lambda: (card.get_total_energy_consumption() * _MICRO_PER_MILLI,)


def chips(missing: dict[str, str]) -> list[Sensor]:
    """Return the figures of an Apple or Jetson chip; elsewhere there is nothing to miss."""
    if platform.machine() not in ("arm64", "aarch64"):
        return []
    _quieten()
    try:
        from zeus.device import get_soc

        soc = get_soc()
        available = soc.get_available_metrics()
    except Exception as err:  # library, permission or chip
        missing["soc"] = f"{said(err)}. On Apple silicon: pip install 'zeus[apple]'"
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

    def read_uj() -> Sequence[float | None]:
        measured = soc.get_total_energy_consumption()
        values_mj = [getattr(measured, figure) for figure in figures]
        return [None if mj is None else mj * _MICRO_PER_MILLI for mj in values_mj]

    return [Sensor(channels, read_uj, lambda: _stop_chip(soc))]


def _stop_chip(soc: Any) -> None:
    """End the Jetson monitor's process; zeus 0.16 would hand out the stopped one again."""
    if hasattr(soc, "_stop_process"):
        import zeus.device.soc

        soc._stop_process()
        zeus.device.soc._soc = None


def _quieten() -> None:
    """Let zeus tell errors only: what it warns of, ``missing`` says."""
    logging.getLogger("zeus").setLevel(logging.ERROR)
