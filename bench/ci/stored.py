"""A baseline of another day: runs that pytest-benchmark has stored, of the same host class.

A session differs from another by more than its code: two of one pair on a shared virtual machine
gave 0.50 and 0.65. From three stored runs on their own spread makes the interval; one or two do not
show how runs scatter, and the result says so. ``python -m bench.ci --against`` measures both sides
in turns instead, and is what a gate should stand on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.ci import gate
from bench.ci.conclusion import CONFIDENCE
from bench.ci.results import Result
from bench.statistics import Floats, satterthwaite, t_quantile
from bench.statistics.pooling import LEAST_RANDOM

MOST_RUNS = 10
"""Of the class, the latest: what a commit of last year cost is no baseline of this one."""

_NO_BASELINE = ("fails", "invalid")
"""Verdicts of runs that are none: a failure, tried again, would be held against itself."""

_SAME = ("host_class", "measure", "scope", "source", "grade")
"""What two runs must share for their figures to be divided."""


class StoredError(ValueError):
    """The stored runs cannot be read; the message names the file."""


@dataclass(frozen=True, slots=True)
class Run:
    """One stored run of a test.

    Attributes:
        path: Its file.
        at: When it was written, UTC, ISO 8601; empty if nobody noted it.
        logs: Mean logarithm per call, block by block.
        info: What else was stored with it.
    """

    path: Path
    at: str
    logs: Floats
    info: dict[str, Any]


def beside(result: Result, where: Path) -> Result:
    """Return the result of a function alone with its ratio to stored runs of the same test.

    Args:
        result: Of this run.
        where: A file that pytest-benchmark wrote, or a folder of them; of a folder the latest
            ``MOST_RUNS`` count. One that is not there yet is no baseline, as before the first run.

    Raises:
        StoredError: There is no such file, or it is not pytest-benchmark's.
    """
    if result.verdict == "invalid":
        return result
    runs = sorted(_runs(where, result.test), key=lambda run: run.at)
    alike = [run for run in runs if all(run.info.get(k) == getattr(result, k) for k in _SAME)]
    alike = alike[-MOST_RUNS:]
    if not alike:
        return replace(result, kind="stored", reason=_unlike(result, runs, where))
    centre, margin = (
        _scattered(result, alike) if len(alike) >= LEAST_RANDOM else _fixed(result, alike)
    )
    low, high = math.exp(centre - margin), math.exp(centre + margin)
    return replace(
        result,
        kind="stored",
        against=f"{len(alike)} stored run{'s' * (len(alike) > 1)} ({where})",
        ratio=math.exp(centre),
        low=low,
        high=high,
        baseline_per_call=math.exp(np.mean([run.logs.mean() for run in alike])),
        verdict=gate.verdict(low, high, result.limit),
        reason=None if len(alike) >= LEAST_RANDOM else _few(len(alike)),
    )


def _scattered(result: Result, runs: list[Run]) -> tuple[float, float]:
    """Return log ratio and margin, from how the stored runs scatter: one more run would, too.

    Source: prediction interval of one further observation, Hahn and Meeker (1991) Statistical
    Intervals, section 4.2.
    """
    means = np.array([run.logs.mean() for run in runs])
    error = float(means.std(ddof=1)) * math.sqrt(1 + 1 / means.size)
    centre = float(np.mean(result.block_logs) - means.mean())
    return centre, t_quantile(CONFIDENCE, means.size - 1) * error


def _fixed(result: Result, runs: list[Run]) -> tuple[float, float]:
    """Return log ratio and margin of these runs as they are. Source: Welch (1947)."""
    now = np.asarray(result.block_logs)
    parts = [(now, 1.0), *((run.logs, 1.0 / len(runs)) for run in runs)]
    variances = np.array([w**2 * logs.var(ddof=1) / logs.size for logs, w in parts])
    degrees = np.array([float(logs.size - 1) for logs, _ in parts])
    centre = float(now.mean() - np.mean([run.logs.mean() for run in runs]))
    quantile = t_quantile(CONFIDENCE, satterthwaite(variances, degrees))
    return centre, quantile * math.sqrt(float(variances.sum()))


def _few(runs: int) -> str:
    return (
        f"{runs} stored run{'s' * (runs > 1)}: how runs scatter is not in the interval; "
        f"{LEAST_RANDOM} or more show it"
    )


def _unlike(result: Result, runs: list[Run], where: Path) -> str:
    if not runs:
        there = "has no run of this test that did not fail" if where.exists() else "is not there"
        return f"{where} {there}: --benchmark-autosave stores runs in .benchmarks"
    run = runs[-1]
    key = next(key for key in _SAME if run.info.get(key) != getattr(result, key))
    return (
        f"{where} has no run of this {key.replace('_', ' ')}: this is {getattr(result, key)}, "
        f"{run.path.name} is of {run.info.get(key)}"
    )


def _runs(where: Path, test: str) -> Iterator[Run]:
    """Yield the runs of one test that did not fail, in the order of their files' names."""
    if where.suffix == ".json" and not where.exists():
        raise StoredError(
            f"--joules-baseline={where}: there is no such file; pytest-benchmark's "
            "--benchmark-json=FILE writes one, --benchmark-autosave a folder, .benchmarks"
        )
    for path in [where] if where.is_file() else sorted(where.rglob("*.json")):
        at, entries = _read(path)
        for entry in entries:
            info = entry.get("extra_info")
            if entry.get("fullname") != test or not isinstance(info, dict):
                continue
            if info.get("verdict") in _NO_BASELINE:
                continue
            logs = info.get("block_logs")
            if isinstance(logs, list) and len(logs) >= 2 and all(map(_finite, logs)):
                yield Run(path, at, np.array(logs, float), info)


def _read(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """Return when a file was written, and its benchmarks."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        entries = [entry for entry in document["benchmarks"] if isinstance(entry, dict)]
        return str(document.get("datetime", "")), entries
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise StoredError(
            f"--joules-baseline: {path} is no file of pytest-benchmark, or broken off "
            f"({type(err).__name__}: {err}); remove it, or name another"
        ) from err


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
