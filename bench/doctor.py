"""``python -m bench.doctor``: which joules can be had on this machine, and what is in the way.

Exit status 0 if a hardware counter or a wall meter can be read (grade B or A), 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.meters import Meters
from bench.meters.codecarbon import CodeCarbon
from bench.meters.counters import Counters
from bench.readings import MEASURED_GRADES, Reading

WINDOW_S = 1.0
"""Seconds that meters and machine are watched: ten updates of the slowest counter."""

_BUSY_CORES = 0.05  # below it a process is not worth a line


def examine() -> dict[str, Any]:
    """Open every meter, watch the machine for a second, and return the findings as plain data.

    Returns:
        ``channels`` (each with watts, or the problem it has), ``missing`` (meter and device to
        reason), ``machine`` (its fingerprint), ``load`` (steal, foreign work, busy processes),
        ``measured`` (whether grade A or B is there) and ``conclusion``.
    """
    # The country moves grams of CO2 only, and none are shown here.
    meters = (Counters(), CodeCarbon(country_iso_code="USA"))
    with Meters(meters, required=False) as opened:
        own_s, processes, load = machine.cpu_seconds(), _spent(), machine.HostLoad.read()
        start, started_s = opened.read(slowest_first=True), time.monotonic()
        time.sleep(WINDOW_S)
        window_s, end = time.monotonic() - started_s, opened.read(slowest_first=False)
        channels = [_finding(reading, window_s) for reading in opened.between(start, end)]
        now, own_s = machine.HostLoad.read(), machine.cpu_seconds() - own_s
        missing = dict(_missing(meters, opened.unavailable))
        busy = _busy(processes, _spent(), window_s)
    measured = [c for c in channels if c["grade"] in MEASURED_GRADES and c["problem"] is None]
    return {
        "channels": channels,
        "missing": missing,
        "machine": machine.fingerprint(),
        "load": {
            "window_s": window_s,
            "steal_share": now.steal_share(load),
            "foreign_share": now.foreign_share(load, own_s),
            "busy": busy,
        },
        "measured": bool(measured),
        "conclusion": _conclusion(channels, measured),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the findings and return the exit status.

    Args:
        arguments: Command line; ``sys.argv`` if left out.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    options = parser.parse_args(arguments)
    findings = examine()
    if options.json:
        print(json.dumps(findings, indent=1, sort_keys=True))
    else:
        _show(findings, Console())
    return 0 if findings["measured"] else 1


def _finding(reading: Reading, window_s: float) -> dict[str, Any]:
    problem, energy_j = reading.reason, reading.energy_j
    if energy_j == 0:
        problem = "it stands still: a hypervisor may hide it"
    return {
        "meter": reading.meter,
        "component": reading.component,
        "source": reading.source,
        "grade": reading.grade,
        "power_w": None if problem or energy_j is None else energy_j / window_s,
        "problem": problem,
    }


def _missing(
    meters: tuple[Counters, CodeCarbon], unavailable: dict[str, str]
) -> Iterator[tuple[str, str]]:
    for meter in meters:
        for device, reason in meter.missing.items():
            yield f"{meter.name} {device}", reason
        if meter.name in unavailable and not meter.missing:
            yield meter.name, unavailable[meter.name]


def _conclusion(channels: list[dict[str, Any]], measured: list[dict[str, Any]]) -> str:
    if measured:
        parts = ", ".join(f"{c['component']} ({c['source']})" for c in measured)
        return f"grade {min(c['grade'] for c in measured)} available: {parts}"
    if any(c["grade"] == "S" for c in channels):
        return "simulated sensors only (grade S): good for tests, never for a table"
    return (
        "no energy counter that works: seconds and CPU-seconds are the finding, joules are "
        "modelled (grade C)"
    )


def _spent() -> dict[tuple[int, float], tuple[str, float]]:
    """Return name and CPU-seconds of every process but ours, by number and start."""
    own = {child.pid for child in psutil.Process().children(recursive=True)}
    own.add(psutil.Process().pid)
    spent = {}
    for process in psutil.process_iter():
        try:
            times = process.cpu_times()
            if process.pid not in own:
                key = process.pid, process.create_time()
                spent[key] = process.name(), times.user + times.system
        except psutil.Error:  # it has gone, or is not ours to see
            continue
    return spent


def _busy(
    start: dict[tuple[int, float], tuple[str, float]],
    end: dict[tuple[int, float], tuple[str, float]],
    window_s: float,
) -> list[dict[str, Any]]:
    """Return the other processes that worked, the busiest first."""
    cores = {key: (end[key][1] - start[key][1]) / window_s for key in end.keys() & start.keys()}
    busiest = sorted((key for key in cores if cores[key] >= _BUSY_CORES), key=lambda k: -cores[k])
    return [{"pid": key[0], "name": end[key][0], "cores": cores[key]} for key in busiest]


def _show(findings: dict[str, Any], console: Console) -> None:
    table = Table("meter", "component", "source", "grade", "watts or problem")
    for c in findings["channels"]:
        watts = c["problem"] or f"{c['power_w']:.4g} W"
        table.add_row(c["meter"], c["component"], c["source"], c["grade"], watts)
    if findings["channels"]:
        console.print(table)
    if findings["missing"]:
        console.print("Cannot be read:")
    for device, reason in findings["missing"].items():
        # One line each, whatever the width: the command in it is there to be copied.
        console.print(f"  {device}: {reason}", soft_wrap=True, markup=False, highlight=False)
    for line in _described(findings["machine"], findings["load"]):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    console.print(findings["conclusion"], style="bold", soft_wrap=True, markup=False)


def _described(environment: dict[str, Any], load: dict[str, Any]) -> Iterator[str]:
    cpu = environment["cpu"]
    yield f"CPU: {_or_unknown(cpu['model'])}, {cpu['cores']} cores, {cpu['threads']} threads"
    for gpu in environment["gpus"] or []:
        yield f"GPU {gpu['index']}: {_or_unknown(gpu['name'])}, driver {_or_unknown(gpu['driver'])}"
    if not environment["gpus"]:
        yield "GPU: none that NVML lists"
    yield (
        f"governor {_or_unknown(cpu['governor'])}, turbo {_or_unknown(cpu['turbo'])}, "
        f"virtual machine {_or_unknown(cpu['virtual'])}, SGX {_or_unknown(cpu['sgx'])}"
    )
    yield (
        f"over {load['window_s']:.1f} s: steal {_percent(load['steal_share'])}, other processes "
        f"{_percent(load['foreign_share'])} of all cores"
    )
    for process in load["busy"]:
        yield f"  {process['name']} ({process['pid']}): {process['cores']:.2f} cores"


def _or_unknown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"


if __name__ == "__main__":
    sys.exit(main())
