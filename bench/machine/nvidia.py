"""NVIDIA's GPUs at the edge of a window: temperature, forced slowdown, whose processes are there.

Only the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves visible are asked: on a shared node the others
are somebody else's.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from bench.machine.load import descendants

_MILLIWATTS_PER_WATT = 1000.0

FORCED = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""Clock event reasons that are no normal way of running: the bits of nvml.h. A software power cap
(0x04) is how a board under load runs, and no reason to throw anything away."""


@functools.cache
def handles() -> Mapping[str, Any]:
    """Return the visible GPUs as ``gpu:<physical number>``, found once per process."""
    try:
        import pynvml

        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except Exception:  # not installed, no driver, wrong versions
        return {}
    found = [ask("nvmlDeviceGetHandleByIndex", index) for index in range(count)]
    uuids = ["" if handle is None else ask("nvmlDeviceGetUUID", handle) or "" for handle in found]
    chosen = visible(os.environ.get("CUDA_VISIBLE_DEVICES"), uuids)
    return {f"gpu:{number}": found[number] for number in chosen if found[number] is not None}


def visible(setting: str | None, uuids: Sequence[str]) -> list[int]:
    """Return the numbers of the GPUs that a value of ``CUDA_VISIBLE_DEVICES`` leaves visible.

    As CUDA has it: numbers or beginnings of UUIDs; an entry that names no GPU, or more than one,
    ends the list.

    Args:
        setting: The variable's value; ``None`` if it is not set.
        uuids: Of all GPUs in NVML's order; empty where it is not known.
    """
    if setting is None:
        return list(range(len(uuids)))
    chosen: list[int] = []
    for entry in (word.strip() for word in setting.split(",")):
        if entry.isdecimal():
            matches = [n for n in range(len(uuids)) if n == int(entry)]
        elif entry.upper().startswith("GPU-"):
            matches = [n for n, uuid in enumerate(uuids) if uuid.lower().startswith(entry.lower())]
        else:
            matches = []
        if len(matches) != 1:
            break
        if matches[0] not in chosen:  # a GPU is counted once
            chosen += matches
    return chosen


def ask(function: str, *arguments: Any) -> Any:
    """Return what NVML answers, or ``None`` if it does not."""
    import pynvml

    try:
        return getattr(pynvml, function)(*arguments)
    except (pynvml.NVMLError, AttributeError):
        return None


def temperature_c(handle: Any) -> float | None:
    """Return the GPU's core temperature in degrees Celsius."""
    found = ask("nvmlDeviceGetTemperature", handle, 0)  # 0: NVML_TEMPERATURE_GPU
    return None if found is None else float(found)


def slowdown(handle: Any) -> str | None:
    """Return why the GPU is held below its clocks right now, ``""`` if it is not."""
    reasons = ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
    if reasons is None:
        return None
    return " and ".join(name for bit, name in FORCED.items() if reasons & bit)


def foreign_pids(handle: Any) -> frozenset[int] | None:
    """Return the processes that compute on the GPU and are not ours.

    In a container NVML may list processes by their numbers outside of it; a list that does not
    hold us and names processes unknown here tells nothing.
    """
    listed = ask("nvmlDeviceGetComputeRunningProcesses", handle)
    if listed is None:
        return None
    pids = {process.pid for process in listed} - {os.getpid()}
    if not pids:
        return frozenset()
    ours = set(descendants())
    same_numbers = len(pids) < len(listed) or bool(pids & ours)
    if not same_numbers and not all(psutil.pid_exists(pid) for pid in pids):
        return None
    return frozenset(pids - ours)


def power_limits_w() -> dict[str, float]:
    """Return the enforced power limit of every visible GPU, in watts."""
    limits_mw = {n: ask("nvmlDeviceGetEnforcedPowerLimit", h) for n, h in handles().items()}
    return {name: mw / _MILLIWATTS_PER_WATT for name, mw in limits_mw.items() if mw is not None}
