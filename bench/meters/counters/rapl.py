"""RAPL: the counters of CPU packages and their DRAM, read from the powercap files of Linux.

Intel's and, since Linux 5.8, AMD's zones look alike. Only ``package-*`` and ``dram`` are counted:
``core`` and ``uncore`` lie within a package, ``psys`` contains it.

A counter wraps after minutes to hours, on small ranges within a second. Each rise is therefore
taken modulo the range and added up here, in this process and under a lock, by whoever reads: the
meter, or a thread that looks in at least four times per wrap at the greatest possible power. zeus
0.16 counts wraps in a process that looks ten times a second at most, loses 12 % of the joules where
the counter wraps once a second, and is too low by a range between a wrap and its next look.
"""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.machine.powercap import by_counter
from bench.meters import Channel, Counts, counter_grade
from bench.meters.counters.tally import Tally, counts, said

ROOTS = (Path("/sys/class/powercap"), Path("/zeus_sys/class/powercap"))
"""Where zones are; the second is where zeus's documentation mounts them into a container."""

# The class folder lists all zones side by side; a container's mount may be the tree alone.
_PATTERNS = tuple(
    prefix + pattern
    for prefix in ("", "intel-rapl/")
    for pattern in ("intel-rapl:*", "intel-rapl:*/intel-rapl:*")
)

STEP_S = 0.001
"""Longest seconds between two updates: 0.976 ms (Khan 2018)."""

DEFAULT_MAX_W = 1000.0
"""Power that no zone exceeds: twice that of the hottest packages on sale (500 W, 2026)."""

LEAST_MAX_W = 200.0
"""A zone's limits may be set, and switched off, below what it draws: they are trusted from here."""

_LONGEST_S = 1.0
_SHORTEST_S = 0.005
_LOOKS_PER_WRAP = 4


@dataclass(frozen=True, slots=True)
class Zone:
    """One counter.

    Attributes:
        component: ``cpu:0``, ``dram:0``, ...
        folder: Of its files.
        name: As the kernel calls it.
        range_uj: Where it wraps.
        max_w: The greatest power it can count.
        max_w_from: Where that figure is from.
        mirrors: Other zones of that name, which show the same counter.
    """

    component: str
    folder: Path
    name: str
    range_uj: int
    max_w: float
    max_w_from: str
    mirrors: tuple[str, ...] = ()

    @property
    def look_s(self) -> float:
        """Seconds after which it is to be read again."""
        per_wrap_s = self.range_uj * 1e-6 / self.max_w
        return max(_SHORTEST_S, min(_LONGEST_S, per_wrap_s / _LOOKS_PER_WRAP))

    @property
    def channel(self) -> Channel:
        """What the meter tells of it."""
        detail = {
            "zone": str(self.folder),
            "name": self.name,
            "range_j": self.range_uj * 1e-6,
            "max_power_w": self.max_w,
            "max_power_from": self.max_w_from,
            "look_s": self.look_s,
        } | ({"mirrors": list(self.mirrors)} if self.mirrors else {})
        grade = counter_grade(self.component)
        return Channel(self.component, "rapl", grade, STEP_S, detail)

    def read_uj(self) -> int:
        """Return what the counter says.

        Raises:
            OSError: It cannot be read.
            ValueError: It is no number within its range.
        """
        text = (self.folder / "energy_uj").read_text()
        value_uj = int(text)
        if not 0 <= value_uj <= self.range_uj:
            raise ValueError(f"{value_uj} uJ lie outside the range of {self.range_uj} uJ")
        return value_uj


class Rapl:
    """Reads zones, and keeps an eye on them in between.

    Attributes:
        channels: One per zone.
    """

    def __init__(self, zones: Sequence[Zone]) -> None:
        self.channels = tuple(zone.channel for zone in zones)
        self._zones = tuple(zones)
        self._tallies = {z.component: Tally(z.range_uj, z.max_w) for z in zones}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._look_s = min(zone.look_s for zone in zones)
        self._thread = threading.Thread(target=self._watch, name="rapl", daemon=True)
        self.read()
        self._thread.start()

    def read(self) -> Counts:
        """Return the joules of every zone since it was opened."""
        with self._lock:
            return counts(self._tallies, self._sample())

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(self._look_s):
            with self._lock:
                self._sample()

    def _sample(self) -> dict[str, str]:
        """Read every zone and return which failed, with the reason."""
        failures = {}
        for zone in self._zones:
            tally = self._tallies[zone.component]
            before_s = time.monotonic()
            try:
                value_uj = zone.read_uj()
            except (OSError, ValueError) as err:  # gone, forbidden, or garbage
                failures[zone.component] = tally.lose(said(err))
                continue
            if problem := tally.add(value_uj, before_s, time.monotonic()):
                failures[zone.component] = problem
        return failures


def discover(missing: dict[str, str], roots: Iterable[Path] | None = None) -> list[Zone]:
    """Return the packages in the order of their zones, each with its DRAM behind it.

    Args:
        missing: Gets the reason of each component that cannot be read.
        roots: Class folders; ``ROOTS`` if left out.
    """
    roots = ROOTS if roots is None else tuple(roots)
    folders = next((found for root in roots if (found := _folders(root))), {})
    names: dict[tuple[int, ...], str] = {}
    for identity, folder in sorted(folders.items()):
        try:
            names[identity] = (folder / "name").read_text().strip()
        except OSError as err:
            missing[folder.name] = said(err)
    packages = [i for i, name in names.items() if len(i) == 1 and name.startswith("package-")]
    if not packages:
        missing["cpu"] = _absence(roots, folders.values())
        return []
    placed = {folders[identity]: identity for identity in packages}
    counters = by_counter([(names[identity], folders[identity]) for identity in packages])
    drams = _drams([placed[shown[0]] for shown in counters], names)
    zones = []
    for number, (shown, *twins) in enumerate(counters):
        identity = placed[shown]
        mirrors = [str(twin) for twin in twins]
        zones.append(_zone(f"cpu:{number}", shown, names[identity], missing, mirrors))
        if identity in drams:
            zones.append(_zone(f"dram:{number}", folders[drams[identity]], "dram", missing))
        else:
            missing[f"dram:{number}"] = (
                f"{folders[identity]} has no dram zone: this CPU does not count its DRAM"
            )
    return [zone for zone in zones if zone is not None]


def _folders(root: Path) -> dict[tuple[int, ...], Path]:
    """Return the zones below a class folder by their numbers: (0,) is a package, (0, 1) within."""
    found: dict[tuple[int, ...], Path] = {}
    for pattern in _PATTERNS:
        for folder in root.glob(pattern):
            parts = folder.name.split(":")[1:]
            if all(part.isdecimal() for part in parts):
                found.setdefault(tuple(int(part) for part in parts), folder)
    return found


def _drams(
    packages: Sequence[tuple[int, ...]], names: dict[tuple[int, ...], str]
) -> dict[tuple[int, ...], tuple[int, ...]]:
    """Return the DRAM zone of each package: its child, else the zones beside it in order."""
    drams = [identity for identity, name in names.items() if name == "dram"]
    found = {identity[:1]: identity for identity in reversed(drams) if len(identity) > 1}
    beside = iter([identity for identity in drams if len(identity) == 1])
    for package in packages:
        if package not in found and (identity := next(beside, None)) is not None:
            found[package] = identity
    return found


def _zone(
    component: str, folder: Path, name: str, missing: dict[str, str], mirrors: Sequence[str] = ()
) -> Zone | None:
    """Return a zone that has been read once, or say in ``missing`` why it cannot be."""
    try:
        range_uj = int((folder / "max_energy_range_uj").read_text())
        if range_uj <= 0:
            raise ValueError(f"a range of {range_uj} uJ")
        zone = Zone(component, folder, name, range_uj, *greatest_power_w(folder), tuple(mirrors))
        zone.read_uj()
    except PermissionError as err:
        missing[component] = (
            f"{err.filename} is for root only. `sudo chmod a+r {folder.parent}/intel-rapl:*/"
            "energy_uj` opens it until the next boot, a udev rule that runs the same for good"
        )
    except (OSError, ValueError) as err:
        missing[component] = f"{folder} cannot be read: {said(err)}"
    else:
        return zone
    return None


def greatest_power_w(folder: Path) -> tuple[float, str]:
    """Return the power that a zone cannot exceed, and where the figure is from.

    The greatest of its limits (``constraint_*_max_power_uw``, ``constraint_*_power_limit_uw``), not
    below ``LEAST_MAX_W``. Without one, or with one that is no limit, ``DEFAULT_MAX_W``.
    """
    limits_w = []
    for file in (*folder.glob("constraint_*_max_power_uw"), *folder.glob("*_power_limit_uw")):
        with suppress(OSError, ValueError):  # the kernel lists files that have no data
            limits_w.append(int(file.read_text()) * 1e-6)
    greatest_w = max(limits_w, default=0.0)
    if not 0 < greatest_w <= DEFAULT_MAX_W:
        return DEFAULT_MAX_W, "assumed, as the zone has no limit"
    if greatest_w < LEAST_MAX_W:
        return LEAST_MAX_W, f"assumed, as the zone's limit of {greatest_w:g} W may be switched off"
    return greatest_w, "the zone's greatest limit"


def _absence(roots: Sequence[Path], folders: Iterable[Path]) -> str:
    if platform.system() != "Linux":
        return f"RAPL is read on Linux only, this is {platform.system()}"
    if names := ", ".join(sorted(folder.name for folder in folders)):
        return f"{roots[0]} has {names}, of which none is a package"
    return (
        f"{roots[0]} has no intel-rapl zone: a virtual machine usually has none. On bare metal "
        "`sudo modprobe intel_rapl_msr` loads the driver"
    )
