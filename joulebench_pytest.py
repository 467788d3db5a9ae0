"""What pytest loads: options and the fixture ``joules``. Whatever weighs is imported on first use.

A project that has this package installed and never asks for the fixture pays for this file alone.
The file lies beside ``bench`` and not in it: to load it must not import ``bench``, for many a
project has a folder of that name, and Python keeps the first that it has found.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bench.ci.fixture import Joules

_MEASURES = ("auto", "energy_j", "cpu_s", "wall_s", "instructions")
_MOST_S = 50.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what can be asked for; every option's name begins with ``--joules``."""
    group = parser.getgroup("joules", "energy checks (joulebench)")
    group.addoption(
        "--joules-fail",
        metavar="ratio:LIMIT",
        type=_limit,
        help="fail a check whose ratio to its baseline lies above LIMIT with its whole 95 %% "
        "interval: ratio:1.05 allows 5 %% more",
    )
    group.addoption(
        "--joules-measure",
        choices=_MEASURES,
        default="auto",
        help="what is compared; auto takes counted joules where there are some, else CPU-seconds",
    )
    group.addoption(
        "--joules-max-time",
        metavar="SECONDS",
        type=float,
        default=_MOST_S,
        help="what a check may take; it ends sooner once its interval is narrow, and later only "
        "if two blocks take longer (default: %(default)g)",
    )
    group.addoption(
        "--joules-half-width",
        metavar="FRACTION",
        type=float,
        help="measure until the 95 %% interval of the ratio is this narrow, 0.005 for half a "
        "percent to each side (default: 0.015, or a third of what the limit leaves)",
    )
    group.addoption(
        "--joules-baseline",
        metavar="PATH",
        type=Path,
        help="compare joules.measure with stored runs on hosts of this class: a file of "
        "--benchmark-json, or a folder such as .benchmarks. More robust: python -m bench.ci",
    )
    group.addoption(
        "--joules-disable",
        action="store_true",
        help="call each function once and skip the rest of the test: nothing is measured",
    )
    group.addoption(
        "--joules-markdown", metavar="FILE", type=Path, help="write a table for a pull request"
    )
    group.addoption(
        "--joules-action",
        metavar="FILE",
        type=Path,
        help="write JSON for github-action-benchmark (tool: customSmallerIsBetter)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Join ``python -m bench.ci`` if it called us; write what was asked for, checks or none."""
    most_s: float = config.getoption("joules_max_time")
    if not 0 < most_s < float("inf"):
        raise pytest.UsageError(f"--joules-max-time={most_s:g}: it takes seconds above 0, e.g. 50")
    half_width: float | None = config.getoption("joules_half_width")
    if half_width is not None and not 0 < half_width < 1:
        raise pytest.UsageError(
            f"--joules-half-width={half_width:g}: it takes a fraction of 1, e.g. 0.01"
        )
    files = [config.getoption(name) for name in ("joules_markdown", "joules_action")]
    called = "JOULEBENCH_CI_LINK" in os.environ
    if (called or any(files)) and (problem := _other_bench()):
        raise pytest.UsageError(problem)
    if called:
        from bench.ci.worker import Worker

        Worker.join(config)
    # Workers of pytest-xdist report to us, whose tests we do not see.
    if any(files) or (config.getoption("dist", "no") != "no" and _other_bench() is None):
        _listen(config)


def _listen(config: pytest.Config) -> None:
    from bench.ci.reports import Reports

    Reports.register(config)


@pytest.fixture
def joules(request: pytest.FixtureRequest) -> Joules:
    """Compare what functions cost: ``joules.pair(baseline, candidate)``, ``joules.measure(f)``.

    Counted joules where the host has a counter, else CPU-seconds, and said so. The test fails if
    --joules-fail is given and the whole interval of the ratio lies above its limit.
    """
    if problem := _other_bench():
        pytest.fail(problem, pytrace=False)
    from bench.ci.fixture import Joules

    _listen(request.config)
    return Joules(request.config, request.node)


def _limit(text: str) -> float:
    """Return the limit that ``--joules-fail`` names; asked for only where it is given."""
    if problem := _other_bench():
        raise argparse.ArgumentTypeError(problem)
    from bench.ci.gate import limit_of

    return limit_of(text)


def _other_bench() -> str | None:
    """Say so if the package ``bench`` that Python finds here is not ours."""
    found = importlib.util.find_spec("bench")  # which imports nothing
    if found is None:
        return "joulebench's plugin is there and its package, bench, is not: install it again"
    folders = list(found.submodule_search_locations or ())
    if any(Path(folder, "ci", "link.py").is_file() for folder in folders):
        return None
    place = found.origin or ", ".join(folders)
    return (
        f"joulebench's own package is called bench, and so is {place}, which Python finds first: "
        "energy checks need the name. Rename that one; where nothing imports it, it is enough that "
        "its parent folder is not on the path: pytest for python -m pytest, pythonpath = src"
    )
