"""The findings, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table


def show(findings: dict[str, Any], console: Console) -> None:
    """Print tables of sensors and checks, then what to do, then the conclusion."""
    if findings["channels"] or findings["closed"]:
        console.print(_sensors(findings))
    console.print(_checks(findings))
    for line in _lines(findings):
        # One line each, whatever the width: the commands in it are there to be copied.
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    console.print(findings["conclusion"], style="bold", soft_wrap=True, markup=False)


def _sensors(findings: dict[str, Any]) -> Table:
    table = Table("sensor", "source", "grade", "path", "mode", "period", "step", "idle ± noise")
    for c in findings["channels"]:
        noise = "" if c["noise_w"] is None else f" ± {c['noise_w']:.2g}"
        idle = "?" if c["idle_w"] is None else f"{c['idle_w']:.4g}{noise} W"
        table.add_row(
            f"{c['meter']} {c['component']}",
            c["source"],
            c["grade"],
            c["path"] or "-",
            c["permission"] or "-",
            "-" if c["period_s"] is None else f"{c['period_s'] * 1e3:.3g} ms",
            "-" if c["step_j"] is None else f"{c['step_j']:.3g} J",
            c["problem"] or idle,
        )
    for file in findings["closed"]:
        table.add_row("-", "rapl", "-", file["path"], file["permission"], "-", "-", "closed to us")
    return table


def _checks(findings: dict[str, Any]) -> Table:
    table = Table("check", "of", "figure", "passes if", "verdict")
    for c in findings["checks"]:
        figure = "-" if c["figure"] is None else f"{c['figure']:.4g}"
        table.add_row(c["name"], c["subject"], figure, c["limit"], c["verdict"])
    return table


def _lines(findings: dict[str, Any]) -> Iterator[str]:
    if findings["missing"]:
        yield "Cannot be read:"
    for device, reason in findings["missing"].items():
        yield f"  {device}: {reason}"
    if findings["shortest_window_s"] is not None:
        yield (
            f"Shortest window whose ends are good to 0.5 %: {findings['shortest_window_s']:.2g} s "
            "(protocol.window_s)"
        )
    yield from _machine(findings["machine"], findings["load"])
    todo = [
        f"{c['name']} of {c['subject']} failed: {c['remedy']}"
        for c in findings["checks"]
        if c["verdict"] == "fail"
    ] + findings["advice"]
    if todo:
        yield "What to do:"
    for line in todo:
        yield f"  {line}"


def _machine(environment: dict[str, Any], load: dict[str, Any]) -> Iterator[str]:
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
        f"{_percent(load['foreign_share'])} of all cores, heat events of the CPU "
        f"{_or_unknown(load['cpu_throttles'])}"
    )
    for name, degrees in load["temperature_c"].items():
        yield f"  {name}: {degrees:.0f} C"
    for process in load["busy"]:
        yield f"  {process['name']} ({process['pid']}): {process['cores']:.2f} cores"


def _or_unknown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"
