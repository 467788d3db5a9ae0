"""What else happens on the machine: other processes, steal, throttling, clock policy."""

from __future__ import annotations

from typing import Any

import psutil

from bench import machine

BUSY_CORES = 0.05
"""Below it a process is not worth a line."""

Spent = dict[tuple[int, float], tuple[str, float]]
"""Number and start of a process to its name and CPU-seconds."""


class Lookout:
    """Notes how the machine is, to tell later what it did meanwhile."""

    def __init__(self) -> None:
        self._spent = spent()
        self._own_s = machine.cpu_seconds()
        self._load = machine.HostLoad.read()
        self._state = machine.HostState.read()

    def told(self, seconds: float) -> dict[str, Any]:
        """Return what happened in the ``seconds`` since."""
        load, own_s = machine.HostLoad.read(), machine.cpu_seconds() - self._own_s
        befell = machine.HostState.read().since(self._state)
        return {
            "window_s": seconds,
            "steal_share": load.steal_share(self._load),
            "foreign_share": load.foreign_share(self._load, own_s),
            "busy": busy(self._spent, spent(), seconds),
            "temperature_c": dict(befell.start_temperature_c),
            "cpu_throttles": befell.cpu_throttles,
            "gpu_slowdowns": dict(befell.gpu_slowdowns),
            "gpu_processes": {gpu: list(pids) for gpu, pids in befell.gpu_foreign.items()},
        }


def spent() -> Spent:
    """Return name and CPU-seconds of every process but ours, by number and start."""
    own = {child.pid for child in psutil.Process().children(recursive=True)}
    own.add(psutil.Process().pid)
    found: Spent = {}
    for process in psutil.process_iter():
        try:
            times = process.cpu_times()
            if process.pid not in own:
                key = process.pid, process.create_time()
                found[key] = process.name(), times.user + times.system
        except psutil.Error:  # it has gone, or is not ours to see
            continue
    return found


def busy(start: Spent, end: Spent, window_s: float) -> list[dict[str, Any]]:
    """Return the other processes that worked, the busiest first."""
    cores = {key: (end[key][1] - start[key][1]) / window_s for key in end.keys() & start.keys()}
    busiest = sorted((key for key in cores if cores[key] >= BUSY_CORES), key=lambda k: -cores[k])
    return [{"pid": key[0], "name": end[key][0], "cores": cores[key]} for key in busiest]


def advice(environment: dict[str, Any], load: dict[str, Any]) -> list[str]:
    """Return what to do about this machine before measuring on it."""
    found = []
    governor = environment["cpu"]["governor"]
    if governor not in (None, "performance"):
        found.append(
            f"the governor is {governor}: `sudo cpupower frequency-set -g performance` steadies it"
        )
    if load["cpu_throttles"]:
        found.append(f"the CPU was slowed down for heat {load['cpu_throttles']} times: cool it")
    found += [f"{gpu} is held down: {why}" for gpu, why in load["gpu_slowdowns"].items()]
    for gpu, pids in load["gpu_processes"].items():
        found.append(f"{gpu} has processes of others: {', '.join(map(str, pids))}; end them")
    if (load["steal_share"] or 0) > 0.01:  # protocol.max_steal of conf/protocol/paper.yaml
        found.append(
            f"the hypervisor keeps {load['steal_share']:.1%}: measure on a host of its own"
        )
    return found
