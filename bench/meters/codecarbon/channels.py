"""What CodeCarbon counts, by component, and how it obtains it: source, grade and constants."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bench.meters import Channel, counter_grade
from bench.meters.codecarbon.calibration import Calibration
from bench.meters.codecarbon.tracker import watched

# CodeCarbon 3.3's ways to read a CPU. Counters: our source, longest seconds between two updates.
_CPU_COUNTERS = {"intel_rapl": ("codecarbon.rapl", 0.001), "windows_emi": ("codecarbon.emi", 0.0)}
_CPU_FORMULAS = {
    "cpu_load": "tdp_w * (0.1 + 0.9 * load**3), load of all cores from 0 to 1",
    "constant": "0.5 * tdp_w",
}
_POLLED = {"AppleSiliconChip": "powermetrics", "Raspberry": "raspberry_pmic"}
_LOAD_STEP_S = 0.01  # the kernel counts load in ticks of 10 ms
_GPU_STEP_S = 0.1  # NVML's energy counter: 20 to 100 ms by board (arXiv 2312.02741)
_WATTS_PER_THREAD = 4  # codecarbon.core.cpu.DEFAULT_POWER_PER_CORE

# Named as its origin in CodeCarbon's repository ("Get carbon intensity by country").
_CARBON_SOURCE = "CodeCarbon's table, from Our World in Data and Ember"


def carbon_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a country's carbon intensity with year and source, of a row of CodeCarbon's table."""
    return {
        "country": row["country_name"],
        "intensity_g_per_kwh": float(row["carbon_intensity"]),
        "year": int(row["year"]),
        "source": _CARBON_SOURCE,
    }


def channels_of(
    tracker: Any,
    totals: Any,
    forced_w: float | None,
    calibration: Calibration | None,
    carbon: Mapping[str, Any],
) -> dict[str, Channel | str]:
    """Return what CodeCarbon counts, by component; a string says why it is not counted.

    Args:
        tracker: CodeCarbon's, started.
        totals: What it handed over last.
        forced_w: The CPU's TDP from the configuration, if any.
        calibration: Of this machine's CPU, if any.
        carbon: Of the country (``carbon_of``).
    """
    common = {
        "codecarbon": totals.codecarbon_version,
        "country_iso_code": totals.country_iso_code,
        "sample_s": tracker._measure_power_secs,
        "pue": totals.pue,
        "carbon": dict(carbon),
    }
    found: dict[str, Channel | str] = {}
    for part in tracker._hardware:
        # Apple's and the Raspberry's parts say which they are, the others by their class.
        name = str(getattr(part, "chip_part", type(part).__name__)).lower()
        if type(part).__name__ in _POLLED:
            source = f"codecarbon.{_POLLED[type(part).__name__]}"
            found[name] = Channel(name, source, "C", 0.0, common)
        elif name == "cpu":
            found[name] = _cpu(part, totals, forced_w, calibration, common)
        elif name == "gpu":
            found[name] = _gpu(part, common)
        else:
            constants = {"power_w": part.total_power().W, "memory_gib": totals.ram_total_size}
            found[name] = Channel(name, "codecarbon.ram_model", "C", 0.0, common | constants)
    return found


def _cpu(
    part: Any,
    totals: Any,
    forced_w: float | None,
    calibration: Calibration | None,
    common: dict[str, Any],
) -> Channel | str:
    mode = part._mode
    if mode in _CPU_COUNTERS:
        source, step_s = _CPU_COUNTERS[mode]
        zones = [zone.path for zone in getattr(part._intel_interface, "_rapl_files", ())]
        if mode == "intel_rapl" and not zones:
            return "CodeCarbon chose RAPL and found no zone in it, so it would count zero"
        detail = {"model": part.get_model(), "zones": zones}
        return Channel("cpu", source, counter_grade("cpu"), step_s, common | detail)
    if calibration is not None and mode == "cpu_load":
        line = "idle_w + (full_load_w - idle_w) * load, load of all cores from 0 to 1"
        detail = {"model": part.get_model(), **dataclasses.asdict(calibration), "formula": line}
        return Channel("cpu", "codecarbon.calibrated", "C", _LOAD_STEP_S, common | detail)
    tdp_from = "CodeCarbon's table of CPUs"
    if forced_w is not None:
        tdp_from = "meter.codecarbon.cpu_power_w"
    elif part._is_generic_tdp:
        tdp_from = "a constant, as CodeCarbon has no figure for this CPU"
    elif part._tdp == _WATTS_PER_THREAD * totals.cpu_count:
        tdp_from = f"{_WATTS_PER_THREAD} W per thread, as CodeCarbon does not know this CPU"
    detail = {"model": part.get_model(), "tdp_w": part._tdp, "tdp_from": tdp_from}
    detail["formula"] = _CPU_FORMULAS.get(mode, "power that is polled")
    return Channel("cpu", f"codecarbon.{mode}", "C", _LOAD_STEP_S, common | detail)


def _gpu(part: Any, common: dict[str, Any]) -> Channel | str:
    devices = watched(part)
    if not devices:
        return "CUDA_VISIBLE_DEVICES leaves CodeCarbon no GPU, so it would count zero"
    library = "amdsmi" if type(devices[0]).__name__.startswith("AMD") else "pynvml"
    names = [f"{device.gpu_index}: {device._gpu_name}" for device in devices]
    if all(device._has_counter for device in devices):
        grade, detail = counter_grade("gpu", " ".join(names)), {"gpus": names}
        return Channel("gpu", f"codecarbon.{library}", grade, _GPU_STEP_S, common | detail)
    common = common | {"gpus": names, "formula": "power, polled once a second, times seconds"}
    return Channel("gpu", f"codecarbon.{library}_power", "C", 1.0, common)
