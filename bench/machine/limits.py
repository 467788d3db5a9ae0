"""What the machine may draw and use at most."""

from __future__ import annotations

from pathlib import Path

from bench.machine import nvidia
from bench.machine.kernel import number, text
from bench.machine.powercap import by_counter

_POWERCAP = Path("/sys/class/powercap")
_MICROWATTS_PER_WATT = 1e6


def cpu_limit_cores(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return how many cores' time the container may use; ``None`` without a limit.

    Args:
        root: Where control groups are mounted, version 2 or 1.
    """
    words = (text(root / "cpu.max") or "").split()
    if not words:
        quota = text(root / "cpu/cpu.cfs_quota_us")
        words = [quota or "", text(root / "cpu/cpu.cfs_period_us") or ""]
    try:
        quota_us, period_us = (float(word) for word in words)
    except ValueError:  # "max", or no such file
        return None
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def power_limits_w(powercap: Path = _POWERCAP) -> dict[str, float]:
    """Return the watts that each component is held to, where the driver tells.

    Args:
        powercap: Where the kernel lists RAPL zones. A package's limit is the highest of its
            constraints: turbo may exceed the long-term one for a minute.
    """
    packages = sorted(
        (zone for zone in powercap.glob("intel-rapl:*") if zone.name.count(":") == 1),
        key=lambda zone: int(zone.name.partition(":")[2]),
    )
    named = [(text(zone / "name") or "", zone) for zone in packages]
    counters = by_counter([pair for pair in named if pair[0].startswith("package")])
    limits = nvidia.power_limits_w()
    for index, (zone, *_) in enumerate(counters):
        limits_uw = [number(path) or 0.0 for path in zone.glob("constraint_*_power_limit_uw")]
        if text(zone / "enabled") == "1" and max(limits_uw, default=0.0) > 0:
            limits[f"cpu:{index}"] = max(limits_uw) / _MICROWATTS_PER_WATT
    return limits
