"""A stand-in for pynvml: boards whose counter and power are what the test says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class NvmlError(Exception):
    """What NVML raises."""


class GpuIsLost(NvmlError):  # noqa: N818  # as pynvml names it
    """The board has fallen off the bus."""

    def __str__(self) -> str:
        return "GPU is lost"


Said = float | Exception


@dataclass
class Board:
    """One board. Each figure is said in turn, the last one for ever.

    Attributes:
        name: Of the product.
        energies_j: Joules of its counter; empty if it has none.
        powers_w: Its instant power; empty if it does not tell.
        usages_w: What the older call says; likewise.
        split: Whether MIG is on.
    """

    name: str = "H100"
    energies_j: list[Said] = field(default_factory=lambda: [1e6])
    powers_w: list[Said] = field(default_factory=lambda: [250.0])
    usages_w: list[Said] = field(default_factory=list)
    split: bool = False


def uuid(number: int) -> str:
    return f"GPU-{number}abc0000-0000-0000-0000-000000000000"


def _milli(figures: list[Said]) -> int:
    if not figures:
        raise NvmlError("Not Supported")
    said = figures.pop(0) if len(figures) > 1 else figures[0]
    if isinstance(said, Exception):
        raise said
    return round(said * 1e3)


def pynvml(boards: Sequence[Board]) -> Any:
    """Return what ``import pynvml`` is to find."""

    def fields(board: Board, wanted: list[tuple[int, int]]) -> list[Any]:
        assert wanted == [(186, 0)]  # NVML_FI_DEV_POWER_INSTANT, as nvml.h numbers it
        return [SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=_milli(board.powers_w)))]

    def mig_mode(board: Board) -> list[int]:
        if not board.split:
            raise NvmlError("Not Supported")
        return [1, 1]

    return SimpleNamespace(
        NVMLError=NvmlError,
        NVML_SUCCESS=0,
        NVML_DEVICE_MIG_ENABLE=1,
        NVML_FI_DEV_POWER_INSTANT=186,
        NVML_POWER_SCOPE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(boards),
        nvmlDeviceGetHandleByIndex=lambda number: boards[number],
        nvmlDeviceGetUUID=lambda board: uuid([b is board for b in boards].index(True)),
        nvmlDeviceGetName=lambda board: board.name,
        nvmlDeviceGetMigMode=mig_mode,
        nvmlDeviceGetTotalEnergyConsumption=lambda board: _milli(board.energies_j),
        nvmlDeviceGetFieldValues=fields,
        nvmlDeviceGetPowerUsage=lambda board: _milli(board.usages_w),
    )
