"""The findings of ``benchmarks.regressions``: read back, and as a table beside their bars."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from scipy import stats

TITLES = {
    "pair": "`joules.pair`, one process",
    "against": "`python -m bench.ci --against`, base commit in turns",
    "pytest-benchmark": "pytest-benchmark, `--benchmark-compare-fail=mean:5%`",
}

FALSE_ALARMS = 0.05
DETECTED = {10: 0.80, 20: 0.95}
"""Least share of planted percents that must fail."""

LONGEST_S = 60.0

RUNS = 50
"""Of each planted amount and each judge, or no bar can be said to hold."""


def made_before(kept: Path, setting: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a file holds; a last line that was broken off is taken out of it."""
    if not kept.exists():
        return []
    lines = kept.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if whole != lines:
        kept.write_text("".join(whole), encoding="utf-8")
    found = [json.loads(line) for line in whole]
    for one in found:
        if (other := {key: one.get(key) for key in setting}) != setting:
            raise SystemExit(
                f"{kept} holds findings of {other}, this run is of {setting}: one table cannot "
                "hold both. Name another file, kept=FILE"
            )
    return found


def report(
    found: Sequence[dict[str, Any]], model: str, max_s: float, limit: float, cores: int
) -> str:
    """Return the table.

    Args:
        found: One entry per run and judge.
        model: ``numpy`` or ``torch``.
        max_s: Seconds that a check was given.
        limit: Ratio above which it fails.
        cores: Of the machine that everything shared.
    """
    hosts = sorted({one["host_class"] for one in found if "host_class" in one})
    lines = [
        "# Planted regressions, by `python -m benchmarks.regressions`",
        "",
        f"A forward pass of 100 small layers ({model} {version(model)}, one thread) gets so many "
        f"percent more work. Every judge is asked about the same two versions, in fresh processes "
        f"and in random order, on {cores} cores that another process uses all the time and a "
        f"second one about half of it. {', '.join(hosts)}; Python {platform.python_version()}, "
        f"pytest-benchmark {version('pytest-benchmark')}. Measure: CPU-seconds, since there is no "
        f"energy counter; limit {limit:g}; {max_s:g} s a check at most. In brackets the 95 % "
        "interval of the share (Clopper and Pearson, 1934). pytest-benchmark compares mean seconds "
        "of the clock of two runs, one after the other.",
    ]
    for mode, title in TITLES.items():
        mine = [one for one in found if one["mode"] == mode]
        if mine:
            lines += ["", f"## {title}", "", *_table(mode, mine)]
    return "\n".join([*lines, ""])


def _table(mode: str, found: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| planted | runs | fails | median ratio | undecided | seconds: median, most | bar | |"
    yield "|---:|---:|---:|---:|---:|---:|---|---|"
    for extra in sorted({one["extra"] for one in found}):
        runs = [one for one in found if one["extra"] == extra]
        failed = sum(one["failed"] for one in runs)
        ratios = [one["ratio"] for one in runs if one["ratio"] is not None]
        walls_s = [one["wall_s"] for one in runs]
        undecided = sum(one["verdict"] == "undecided" for one in runs)
        bar, holds = _bar(mode, extra, failed / len(runs), max(walls_s))
        if holds and len(runs) < RUNS:
            holds = "too few runs"
        yield (
            "| "
            + " | ".join(
                (
                    f"{extra} %",
                    str(len(runs)),
                    _share(failed, len(runs)),
                    f"{median(ratios):.3f}" if ratios else "—",
                    "" if mode == "pytest-benchmark" else str(undecided),
                    f"{median(walls_s):.0f}, {max(walls_s):.0f}",
                    bar,
                    holds,
                )
            )
            + " |"
        )


def _share(hits: int, of: int) -> str:
    interval = stats.binomtest(hits, of).proportion_ci(0.95)
    return f"{hits / of:.0%} [{interval.low:.0%}, {interval.high:.0%}]"


def _bar(mode: str, extra: int, share: float, longest_s: float) -> tuple[str, str]:
    """Return what is asked of a row, and whether it holds; nothing of pytest-benchmark."""
    if mode == "pytest-benchmark":
        return "", ""
    in_time = longest_s <= LONGEST_S
    if extra in DETECTED:
        bar, met = f"≥ {DETECTED[extra]:.0%}", share >= DETECTED[extra]
    elif extra == 5:  # the limit itself: either answer is right
        bar, met = "", True
    else:
        bar, met = f"≤ {FALSE_ALARMS:.0%}", share <= FALSE_ALARMS
    bar = f"{bar}, ≤ {LONGEST_S:g} s".removeprefix(", ")
    return bar, "holds" if met and in_time else "FAILS"
