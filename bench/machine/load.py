"""Whose work the cores did: ours, others', or another guest's."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class HostLoad:
    """What the machine has done since it started, in seconds summed over its cores.

    Linux counts in ticks of 10 ms per core: over a window of 10 s, two readings are good to 0.2 %
    of a core. Elsewhere every field is ``None``.

    Attributes:
        total_s: All time, idle included.
        busy_s: Time spent working, for anyone.
        steal_s: Time a hypervisor gave to other guests although there was work here.
    """

    total_s: float | None = None
    busy_s: float | None = None
    steal_s: float | None = None

    @classmethod
    def read(cls, stat: Path = Path("/proc/stat")) -> HostLoad:
        """Return the figures of now, from one short read.

        Args:
            stat: The kernel's file.
        """
        try:
            with stat.open() as file:
                ticks = [int(word) for word in file.readline().split()[1:9]]
            user, nice, system, idle, iowait, irq, softirq, steal = ticks
        except (OSError, ValueError):
            return cls()
        per_s = os.sysconf("SC_CLK_TCK")
        busy = user + nice + system + irq + softirq  # user contains the time of guests
        return cls((busy + idle + iowait + steal) / per_s, busy / per_s, steal / per_s)

    def steal_share(self, since: HostLoad) -> float | None:
        """Return the fraction of all cores' time that a hypervisor took since ``since``."""
        return _share(_minus(self.steal_s, since.steal_s), _minus(self.total_s, since.total_s))

    def foreign_share(self, since: HostLoad, own_cpu_s: float) -> float | None:
        """Return the fraction of all cores' time that other processes used since ``since``.

        Args:
            since: The earlier reading.
            own_cpu_s: CPU-seconds of our process tree between the two (``cpu_seconds``).
        """
        busy_s = _minus(self.busy_s, since.busy_s)
        foreign_s = None if busy_s is None else max(busy_s - own_cpu_s, 0.0)
        return _share(foreign_s, _minus(self.total_s, since.total_s))


def cpu_seconds() -> float:
    """Return the CPU-seconds of this process and its children so far, dead or alive.

    Children are counted in ticks of 10 ms. A child that ends between two calls is not lost: its
    time goes over to this process when it is waited for.
    """
    ended = os.times()
    seconds = time.process_time() + ended.children_user + ended.children_system
    for pid in descendants():
        try:
            spent = psutil.Process(pid).cpu_times()
        except psutil.Error:  # it has gone, and was waited for or will be
            continue
        seconds += spent.user + spent.system
        # What it waited for itself; macOS and Windows do not tell.
        seconds += getattr(spent, "children_user", 0.0) + getattr(spent, "children_system", 0.0)
    return seconds


def descendants() -> list[int]:
    """Return our children and theirs, by number.

    Linux lists them per thread of the parent: some 10 us a thread, where asking every process of
    the host for its parent takes 1.5 ms for 90 processes and grows with them.
    """
    try:
        return _below(os.getpid())
    except OSError:  # not Linux, or a kernel built without these lists
        try:
            return [child.pid for child in psutil.Process().children(recursive=True)]
        except psutil.Error:
            return []


def _below(pid: int) -> list[int]:
    found: list[int] = []
    for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  # at every edge: no objects
        try:
            children = [
                int(word)
                for word in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
            ]
        except FileNotFoundError:
            if thread == str(pid) == str(os.getpid()):
                raise  # this thread is alive: it is the list that is not there
            continue  # the thread has ended meanwhile
        for child in children:
            found.append(child)
            with contextlib.suppress(OSError):  # it has ended meanwhile
                found += _below(child)
    return found


def _minus(end: float | None, start: float | None) -> float | None:
    return None if end is None or start is None else end - start


def _share(part_s: float | None, total_s: float | None) -> float | None:
    return None if part_s is None or not total_s else part_s / total_s
