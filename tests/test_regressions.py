"""The table of planted regressions: what is kept of a broken-off run, and which bars hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.regressions_table import RUNS, made_before, report

SETTING = {"max_s": 50.0, "cpu": "a CPU"}


def found(extra: int, failed: bool, **changes: Any) -> dict[str, Any]:
    plain = {"mode": "pair", "extra": extra, "failed": failed, "ratio": 1 + extra / 100}
    return plain | {"verdict": "passes", "wall_s": 20.0, "host_class": "a CPU"} | changes


def row(extra: int, failures: int, runs: int = RUNS, **changes: Any) -> str:
    findings = [found(extra, number < failures, **changes) for number in range(runs)]
    text = report(findings, "numpy", 50.0, 1.05, 2)
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {extra} % |")]
    return line


@pytest.mark.parametrize(
    ("extra", "failures", "holds"),
    [(0, 2, True), (0, 3, False), (2, 3, False), (10, 40, True), (10, 39, False), (20, 47, False)],
)
def test_a_share_is_held_against_its_bar(extra: int, failures: int, holds: bool) -> None:
    """Of 50: at most 2 false alarms (4 %), at least 40 (80 %) and 48 (95 %, rounded up) found."""
    assert row(extra, failures).endswith("| holds |" if holds else "| FAILS |")


def test_a_share_has_its_exact_interval() -> None:
    """None of 50: the upper end is 1 - 0.025 ** (1 / 50), 7.1 %."""
    assert "| 0% [0%, 7%] |" in row(0, 0)


def test_a_check_that_takes_more_than_a_minute_does_not_hold() -> None:
    assert row(20, 50, wall_s=61.0).endswith("| FAILS |")


def test_a_few_runs_say_nothing_of_a_bar() -> None:
    assert row(20, 2, runs=2).endswith("| too few runs |")


def test_a_broken_off_run_goes_on_from_its_last_whole_line(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    assert made_before(kept, SETTING) == []
    whole = json.dumps(found(0, False) | SETTING) + "\n"
    kept.write_text(whole + '{"mode": "pa')
    assert made_before(kept, SETTING) == [found(0, False) | SETTING]
    assert kept.read_text() == whole


def test_findings_of_another_machine_are_not_gone_on_from(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_text(json.dumps(found(0, False) | SETTING | {"cpu": "another"}) + "\n")
    with pytest.raises(SystemExit, match=r"kept\.jsonl.*another.*kept=FILE"):
        made_before(kept, SETTING)
