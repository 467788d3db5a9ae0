"""A result as one of pytest-benchmark's, so that its JSON, storage and comparisons hold it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from bench.ci.results import TITLES, Result

_OURS = ("values", "baseline_values", "test")
"""Fields that pytest-benchmark has a place of its own for."""


@dataclass(frozen=True, slots=True)
class Windows:
    """What becomes one benchmark.

    Attributes:
        fullname: Node id, by which stored runs are found again.
        values: Per call of each window.
        calls: In a window.
        extra_info: What stands beside its statistics.
    """

    fullname: str
    values: tuple[float, ...]
    calls: int
    extra_info: dict[str, Any]


def hand_over(
    config: pytest.Config, result: Result, params: dict[str, str], param: str | None
) -> None:
    """Add a result to what pytest-benchmark prints, stores and compares, if it is there.

    A round is a window. Its columns are headed as seconds; of joules and instructions the group
    says what they are.

    Args:
        config: Of the session that reports, not of a worker of pytest-xdist.
        result: Whose candidate, and baseline, become one benchmark each.
        params: Names and values of a parametrised test.
        param: Its id.
    """
    session = getattr(config, "_benchmarksession", None)
    if session is None or result.per_call is None:
        return
    own = Windows(result.test, result.values, result.calls, extra_info(result))
    entries = [own]
    if result.kind == "pair":
        name = f"{result.test} (baseline)"
        entries.append(Windows(name, result.baseline_values, result.baseline_calls, {}))
    for windows in entries:
        session.benchmarks.append(_benchmark(windows, _group(result), params, param))


def extra_info(result: Result) -> dict[str, Any]:
    """Return what stands in a benchmark's ``extra_info``: joules, grade, interval, ratio, ...

    ``joules`` are per call, and ``None`` where none were counted.
    """
    plain = dataclasses.asdict(result)
    joules = result.per_call if result.measure == "energy_j" else None
    rest = {name: value for name, value in plain.items() if name not in _OURS}
    return {"joules": joules, "interval": result.interval, **rest}


def _benchmark(windows: Windows, group: str, params: dict[str, str], param: str | None) -> Any:
    from pytest_benchmark.stats import Metadata

    stand_in = SimpleNamespace(
        name=_name(windows.fullname),
        fullname=windows.fullname,
        group=group,
        param=param,
        params=params or None,
        extra_info=windows.extra_info,
        cprofile_stats=None,
        has_error=False,
    )
    make: Any = Metadata  # without types
    made = make(stand_in, iterations=windows.calls, options={"timer": "joulebench"})
    for value in windows.values:
        made.update(value * windows.calls)  # it divides by the iterations
    return made


def _name(fullname: str) -> str:
    """Return a node id without file and classes; its parameters may hold colons, too."""
    test, bracket, param = fullname.partition("::")[2].partition("[")
    return f"{test.rpartition('::')[2]}{bracket}{param}"


def _group(result: Result) -> str:
    title = f"joules: {TITLES[result.measure]} per call"
    if result.measure == "energy_j":
        return f"{title}, grade {result.grade} (for s read J)"
    return f"{title} (for s read instructions)" if result.measure == "instructions" else title
