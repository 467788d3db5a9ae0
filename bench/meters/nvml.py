"""The NVIDIA GPUs that this process may use, and what their sensors say.

NVML is asked directly. zeus 0.16 reads ``CUDA_VISIBLE_DEVICES`` as a list of numbers only: it
raises ValueError on a UUID, takes a duplicate twice, and sees MIG only where that variable names a
slice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.machine import nvidia
from bench.meters import MeterError

_MILLI = 1000.0  # NVML counts in millijoules and milliwatts

_MIG_REFUSED = (
    "MIG is on: NVML counts the joules of the whole board, never those of a slice. Measure the "
    "whole GPU instead: `sudo nvidia-smi -i {number} -mig 0`, and list it by its number"
)


@dataclass(frozen=True, slots=True)
class Gpu:
    """One physical GPU.

    Attributes:
        number: As ``nvidia-smi`` numbers it, whatever CUDA calls it.
        name: Of the product.
        handle: NVML's.
    """

    number: int
    name: str
    handle: Any

    @property
    def component(self) -> str:
        """``gpu:<number>``."""
        return f"gpu:{self.number}"

    def energy_j(self) -> float:
        """Return joules since the driver was loaded; raises what NVML raises."""
        import pynvml

        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(self.handle)) / _MILLI

    def power_instant_w(self) -> float:
        """Return the sensor's own short average (25 ms on A100 and H100, arXiv 2312.02741)."""
        import pynvml

        wanted = [(pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_POWER_SCOPE_GPU)]
        (value,) = pynvml.nvmlDeviceGetFieldValues(self.handle, wanted)
        if value.nvmlReturn != pynvml.NVML_SUCCESS:
            raise pynvml.NVMLError(value.nvmlReturn)
        return float(value.value.uiVal) / _MILLI

    def power_usage_w(self) -> float:
        """Return what NVML's older call says: a mean over 1 s on Ampere and newer, but GA100."""
        import pynvml

        return float(pynvml.nvmlDeviceGetPowerUsage(self.handle)) / _MILLI


POWER_SOURCES: Mapping[str, Callable[[Gpu], float]] = {
    "nvml.power_instant": Gpu.power_instant_w,
    "nvml.power_usage": Gpu.power_usage_w,
}
"""Ways to ask for watts, the sharper first."""


def visible() -> tuple[list[Gpu], dict[str, str]]:
    """Return the GPUs that CUDA leaves visible, and why others of those cannot be read.

    NVML is left initialised: it has no thread or process, and counts who uses it.

    Raises:
        MeterError: There is no NVML, it lists no GPU, or CUDA is told to use MIG slices or none.
    """
    try:
        import pynvml
    except ImportError as err:
        raise MeterError(f"{err}: pip install 'joulebench[measure]'") from err
    try:
        pynvml.nvmlInit()
        numbers = range(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError as err:
        raise MeterError(f"{_said(err)}. It can be read where `nvidia-smi` lists the GPU") from err
    found: dict[int, Gpu] = {}
    missing: dict[int, str] = {}
    uuids = [""] * len(numbers)
    for number in numbers:
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            uuids[number] = pynvml.nvmlDeviceGetUUID(handle)
            if _is_split(pynvml, handle):
                missing[number] = _MIG_REFUSED.format(number=number)
            else:
                found[number] = Gpu(number, pynvml.nvmlDeviceGetName(handle), handle)
        except pynvml.NVMLError as err:
            missing[number] = _said(err)
    chosen = selected(os.environ.get("CUDA_VISIBLE_DEVICES"), uuids)
    _check_order(chosen, found)
    return (
        [found[number] for number in chosen if number in found],
        {f"gpu:{number}": missing[number] for number in chosen if number in missing},
    )


def selected(setting: str | None, uuids: Sequence[str]) -> list[int]:
    """Return the numbers of the GPUs that a value of ``CUDA_VISIBLE_DEVICES`` leaves visible.

    Args:
        setting: The variable's value; ``None`` if it is not set.
        uuids: Of all GPUs in NVML's order.

    Raises:
        MeterError: An entry is a MIG slice, or no GPU is left.
    """
    if any(entry.strip().upper().startswith("MIG") for entry in (setting or "").split(",")):
        raise MeterError(f"CUDA_VISIBLE_DEVICES={setting}: {_MIG_REFUSED.format(number='N')}")
    chosen = nvidia.visible(setting, uuids)
    if not chosen:
        told = "is not set" if setting is None else f"is {setting!r}"
        raise MeterError(
            f"no GPU is visible: NVML lists {len(uuids)} and CUDA_VISIBLE_DEVICES {told}"
        )
    return chosen


def _check_order(chosen: Sequence[int], found: Mapping[int, Gpu]) -> None:
    """Refuse numbers that may mean another GPU: CUDA's own order puts the fastest first.

    Raises:
        MeterError: GPUs of different kinds, picked by number, and CUDA does not number as NVML.
    """
    setting = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    by_number = any(entry.strip().isdecimal() for entry in setting.split(","))
    kinds = {gpu.name for gpu in found.values()}
    if (
        by_number
        and len(kinds) > 1
        and set(chosen) != set(found)
        and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID"
    ):
        raise MeterError(
            f"CUDA_VISIBLE_DEVICES={setting} may mean other GPUs to CUDA than to NVML, as they "
            f"differ ({', '.join(sorted(kinds))}): set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name UUIDs"
        )


def _is_split(pynvml: Any, handle: Any) -> bool:
    try:
        current, _ = pynvml.nvmlDeviceGetMigMode(handle)
    except pynvml.NVMLError:  # a GPU that cannot be split
        return False
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _said(err: Exception) -> str:
    return f"{type(err).__name__}: {err}".rstrip(". ")
