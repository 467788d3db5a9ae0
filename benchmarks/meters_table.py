"""The findings of ``benchmarks.meters`` as Markdown, each held against its bar."""

from __future__ import annotations

import platform
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

Row = dict[str, Any]

GPU_NAMES = {"50 W": "250 W", "20/100 W at 1 Hz": "100/400 W at 1 Hz"}
BARS = {2.0: 0.5, 10.0: 0.1}
"""Median error in percent that ``counters`` may have, by seconds; with wraps 0.5 at 10 s."""

COST_BAR = 0.005
"""Share of a core that ``counters`` may take in a window."""


def report(errors: list[Row], costs: list[Row], names: list[str], options: dict[str, str]) -> str:
    """Return the findings as Markdown.

    Args:
        errors: One per window, meter and kind of component.
        costs: One per meter.
        names: Of the meters, in the order of their columns.
        options: Of the command.
    """
    cells: dict[tuple[str, str, float], dict[str, list[float | None]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for found in errors:
        key = found["kind"], found["profile"], found["window_s"]
        cells[key][found["meter"]].append(found["error"])
    lines = [*head(options), "| sensor | power | window | " + " | ".join(names) + " |"]
    lines.append("|---|---|---:|" + "---:|" * len(names))
    verdicts = []
    for kind in ("cpu", "gpu"):
        for (what, profile, window_s), by_meter in cells.items():
            if what != kind:
                continue
            texts = [cell(by_meter.get(name)) for name in names]
            sensor, power = ("RAPL", profile) if kind == "cpu" else ("NVML", GPU_NAMES[profile])
            lines.append(f"| {sensor} | {power} | {window_s:g} s | " + " | ".join(texts) + " |")
            verdicts += verdict(
                f"{sensor}, {power}, {window_s:g} s", window_s, by_meter["counters"]
            )
    costs_told, share = cost_table(costs)
    passed = "holds" if share < COST_BAR else "FAILS"
    verdicts.append(f"- {passed}: CPU time in a window, {share:.3%} of a core, bar {COST_BAR:.1%}")
    return "\n".join([*lines, *costs_told, "", "## Bars, for `counters`", "", *verdicts]) + "\n"


def cost_table(costs: list[Row]) -> tuple[list[str], float]:
    """Return what every meter costs, and the share of a core that ``counters`` takes."""
    lines = ["", "## CPU time", "", "| meter alone | cores in a 10 s window | its two readings |"]
    lines.append("|---|---:|---:|")
    for found in costs:
        taken = f"{found['share']:.3%} | {1e3 * found['readings_s']:.1f} ms |"
        lines.append(f"| {found['meter']} | {taken}")
    return lines, next(found["share"] for found in costs if found["meter"] == "counters")


def cell(errors: list[float | None] | None) -> str:
    if errors is None:
        return "-"
    known = [error for error in errors if error is not None and error == error]
    if not known:
        return "no figure"
    missing = f", {len(errors) - len(known)} missing" if len(known) < len(errors) else ""
    return f"{statistics.median(known):+.2f} ({max(map(abs, known)):.2f}){missing}"


def verdict(what: str, window_s: float, errors: list[float | None]) -> Iterator[str]:
    """Hold the median of the absolute errors against the bar of its window."""
    bar = 0.5 if "wraps" in what and window_s == 10 else BARS.get(window_s)
    if bar is None or ("wraps" in what and window_s != 10):
        return
    if None in errors:
        yield f"- FAILS: {what}: a window without joules"
        return
    median = statistics.median(abs(error) for error in errors if error is not None)
    yield f"- {'holds' if median <= bar else 'FAILS'}: {what}: {median:.3f} %, bar {bar:g} %"


def head(options: dict[str, str]) -> Iterator[str]:
    found = {name: version(name) for name in ("codecarbon", "zeus", "nvidia-ml-py")}
    found["joulebench"] = version("joulebench")
    missing = "carbontracker was not run: give `carbontracker=PYTHON` of an environment that has it"
    if python := options.get("carbontracker"):
        ask = "from importlib.metadata import version; print(version('carbontracker'))"
        told = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
        found["carbontracker"], missing = told.stdout.strip(), ""
    texts = ", ".join(f"{name} {number}" for name, number in sorted(found.items()))
    yield from ("# Meters under simulated sensors of known energy", "")
    yield (
        "Made by `python -m benchmarks.meters`. Grade S: it judges meters, never models. Error of "
        "the joules in percent: median, and the greatest in parentheses, of "
        f"{options['repeats']} windows at random phases. `counters`, `polled` and `codecarbon` are "
        "the meters of this package, `zeus` is ZeusMonitor; all of them watch the same windows. "
        "The simulated RAPL counter is updated every 5 ms, a real one every millisecond."
    )
    yield from ("", f"Python {platform.python_version()}, {texts}. {missing}".rstrip(), "")
