"""Results in words, in files, and beside runs of another day."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench import codec
from bench.ci import instructions, outputs, storage, stored, words
from bench.ci.instructions import Count, Instructions, InstructionsError
from bench.ci.results import Result

TEST = "tests/test_model.py::test_inference"
NOTE = "no energy counter on this host"


def made(**changes: Any) -> Result:
    plain: dict[str, Any] = {
        **{"test": TEST, "kind": "against", "measure": "cpu_s", "scope": "process tree"},
        **{"source": "clock", "grade": "none", "note": NOTE, "host_class": "a CPU, 2 threads"},
        **{"limit": 1.05, "against": "origin/main at 0123456789", "blocks": 24, "discarded": 1},
        **{"calls": 40, "spent_s": 12.0, "verdict": "fails", "per_call": 0.00289},
        **{"low_per_call": 0.00285, "high_per_call": 0.00293, "baseline_per_call": 0.00241},
        **{"ratio": 1.2, "low": 1.18, "high": 1.22, "log_ratio_sd": 0.04},
        **{"values": (0.0029, 0.0028), "baseline_values": (0.0024, 0.0025)},
        **{"block_logs": (-5.85, -5.83, -5.86)},
    }
    return Result(**(plain | changes))


def test_a_result_survives_the_way_between_processes() -> None:
    there = json.loads(json.dumps(dataclasses.asdict(made())))
    assert codec.decode(Result, there) == made()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00241, "2.41 ms"),
        (0.0241, "24.1 ms"),
        (0.9996, "1.00 s"),
        (999.6, "1.00 ks"),
        (12.34, "12.3 s"),
        (2.41e-7, "241 ns"),
        (0.0, "0.00 s"),
        (None, "—"),
    ],
)
def test_a_figure_has_three_digits_and_a_prefix(value: float | None, text: str) -> None:
    assert words.scaled(value, "s") == text


def test_a_failure_says_what_how_much_how_sure_and_against_what() -> None:
    told = words.failure(made(reason="measured anew in fresh processes"))
    for part in (
        TEST,
        "--joules-fail=ratio:1.05",
        "CPU-seconds per call, 2.41 ms → 2.89 ms",
        "1.2 times the baseline",
        "95 % interval 1.20 [1.18, 1.22], 24 blocks in turns, 1 discarded, 12 s",
        "origin/main at 0123456789",
        "measured anew in fresh processes",
        "no energy counter on this host; no joule is claimed",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("low", "high", "limit", "text"),
    [
        (1.0513, 1.22, 1.05, "1.200 [1.051, 1.220]"),  # 1.05 would not fail
        (1.0, 1.05002, 1.05, "1.20000 [1.00000, 1.05002]"),  # 1.05 would pass
        (1.05, 1.22, 1.05, "1.20 [1.05, 1.22]"),
        (1.0513, 1.22, None, "1.20 [1.05, 1.22]"),
    ],
)
def test_an_interval_is_printed_on_the_side_of_the_limit_where_it_is(
    low: float, high: float, limit: float | None, text: str
) -> None:
    assert words.interval(made(low=low, high=high, limit=limit)) == text


def test_joules_are_named_with_scope_and_grade_and_nothing_else_is_called_joules() -> None:
    counted = made(measure="energy_j", scope="cpu:0+dram:0", source="rapl", grade="B", note=None)
    assert words.measured(counted) == "joules (cpu:0+dram:0, grade B)"
    assert "2.41 mJ → 2.89 mJ" in words.failure(counted)
    assert "no joule" not in words.failure(counted)
    assert "mJ" not in words.failure(made())


def test_an_undecided_check_says_what_would_decide_it() -> None:
    open_ = made(verdict="undecided", low=1.04, more_blocks=14)
    # 24 blocks took 12 seconds.
    assert "undecided, about 14 more blocks, 7 s, would decide" in words.outcome(open_)
    assert "--joules-half-width" in words.outcome(open_)
    # Of a second measurement, which alone gave the blocks.
    anew = dataclasses.replace(open_, spent_s=18.0, first_s=6.0)
    assert "about 14 more blocks, 7 s, would decide" in words.outcome(anew)
    assert "24 blocks in turns, 1 discarded, 12 s" in words.failure(anew)
    of_another_day = made(verdict="undecided", kind="stored")
    assert "undecided, runs of other days scatter as much" in words.outcome(of_another_day)
    near = made(verdict="undecided", low=1.04)
    assert "too near to the limit" in words.outcome(near)
    of_the_first_processes = made(verdict="undecided")
    assert "undecided, two fresh processes would have" in words.outcome(of_the_first_processes)


def test_the_table_has_a_row_a_test_and_what_must_be_known_below() -> None:
    passing = made(test="tests/test_model.py::test_small", verdict="passes", ratio=1.0, low=0.99)
    text = outputs.markdown([made(reason="twice"), passing], "Energy checks")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == 2
    assert rows[0] == (
        f"| `{TEST}` | CPU-seconds | 2.41 ms → 2.89 ms | 1.20 [1.18, 1.22] | "
        "❌ fails (limit 1.05) |"
    )
    assert f"- `{TEST}`: twice" in text
    assert text.count("no joule is claimed") == 1


def test_a_name_from_a_test_neither_ends_a_cell_nor_becomes_a_tag() -> None:
    row = outputs.markdown([made(test="t.py::test[a|b`<img src=x>]")], "x").splitlines()[4]
    assert row.replace("\\|", "").count("|") == 6
    assert "<img" not in row
    assert row.count("`") == 2


def test_the_benchmark_action_gets_figures_of_which_smaller_is_better() -> None:
    """Keys of github-action-benchmark's custom format: name, unit, value; range and extra."""
    figure, ratio = json.loads(outputs.action_json([made()]))
    assert (figure["unit"], figure["value"]) == ("s", 0.00289)
    assert figure["range"] == "0.00285 to 0.00293"
    assert (ratio["unit"], ratio["value"], ratio["range"]) == ("ratio", 1.2, "1.18 to 1.22")
    assert {"name", "unit", "value", "range", "extra"} == set(figure) == set(ratio)


def test_without_a_figure_there_is_nothing_to_plot() -> None:
    nothing = made(per_call=None, ratio=None, low=None, high=None, verdict="invalid")
    assert json.loads(outputs.action_json([nothing])) == []


# Stored runs.


def run(path: Path, logs: np.ndarray, at: str = "", **changes: Any) -> None:
    """Write a run as pytest-benchmark does, with what we add to it."""
    plain: dict[str, Any] = {"kind": "alone", "verdict": "no baseline"}
    found = made(block_logs=tuple(logs.tolist()), **(plain | changes))
    entry = {"fullname": TEST, "extra_info": storage.extra_info(found), "stats": {}}
    path.write_text(json.dumps({"benchmarks": [entry], "datetime": at}))


def alone(logs: np.ndarray) -> Result:
    nothing = {"ratio": None, "low": None, "high": None, "baseline_per_call": None}
    return made(
        kind="alone",
        verdict="no baseline",
        against=None,
        block_logs=tuple(logs.tolist()),
        **nothing,
    )


def test_one_stored_run_gives_welchs_interval_and_says_what_is_not_in_it(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    then, now = draw.normal(-6.0, 0.02, 14), draw.normal(-5.8, 0.05, 20)
    run(tmp_path / "0001_base.json", then)
    found = stored.beside(alone(now), tmp_path)
    oracle = stats.ttest_ind(now, then, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((math.exp(oracle.low), math.exp(oracle.high)))
    assert found.ratio == pytest.approx(math.exp(now.mean() - then.mean()))
    assert (found.verdict, found.kind) == ("fails", "stored")
    assert found.reason is not None
    assert "how runs scatter is not in the interval" in found.reason


def test_three_stored_runs_scatter_and_so_may_this_one(tmp_path: Path) -> None:
    for number, mean in enumerate((-6.0, -5.9, -6.1)):
        run(tmp_path / f"{number:04}_base.json", np.array([mean - 0.001, mean + 0.001]))
    found = stored.beside(alone(np.array([-5.9, -5.8])), tmp_path)
    error = 0.1 * math.sqrt(1 + 1 / 3)  # the standard deviation of the three means is 0.1
    margin = stats.t.ppf(0.975, 2) * error
    assert found.ratio == pytest.approx(math.exp(0.15))
    assert (found.low, found.high) == pytest.approx(
        (math.exp(0.15 - margin), math.exp(0.15 + margin))
    )
    assert (found.verdict, found.reason) == ("undecided", None)


def test_runs_of_another_host_class_or_measure_are_no_baseline(tmp_path: Path) -> None:
    run(tmp_path / "a.json", np.array([-6.0, -6.1]), host_class="another CPU, 64 threads")
    found = stored.beside(alone(np.array([-5.9, -5.8])), tmp_path)
    assert (found.verdict, found.ratio) == ("no baseline", None)
    assert found.reason is not None
    assert "a CPU, 2 threads" in found.reason
    assert "another CPU, 64 threads" in found.reason


def test_a_run_that_failed_is_no_baseline_of_its_own_repetition(tmp_path: Path) -> None:
    logs = np.array([-6.0, -6.1])
    for number, verdict in enumerate(("fails", "invalid")):
        run(tmp_path / f"{number}.json", logs + 1, verdict=verdict)
    found = stored.beside(alone(logs + 1), tmp_path)
    assert (found.verdict, found.ratio) == ("no baseline", None)
    assert found.reason is not None
    assert "has no run of this test that did not fail" in found.reason
    run(tmp_path / "good.json", logs, verdict="undecided")
    found = stored.beside(alone(logs + 1), tmp_path)
    assert found.verdict == "fails"
    assert found.ratio == pytest.approx(math.e)


def test_a_baseline_that_is_not_there_or_no_run_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(stored.StoredError, match=r"none\.json.*--benchmark-json"):
        stored.beside(alone(np.array([-5.9, -5.8])), tmp_path / "none.json")
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(stored.StoredError, match=r"other\.json.*remove it"):
        stored.beside(alone(np.array([-5.9, -5.8])), tmp_path / "other.json")
    (tmp_path / "other.json").write_text('{"benchmarks": [')
    with pytest.raises(stored.StoredError, match="broken off"):
        stored.beside(alone(np.array([-5.9, -5.8])), tmp_path)


def test_before_the_first_run_there_is_no_baseline_and_no_failure(tmp_path: Path) -> None:
    found = stored.beside(alone(np.array([-5.9, -5.8])), tmp_path / ".benchmarks")
    assert (found.verdict, found.ratio) == ("no baseline", None)
    assert found.reason is not None
    assert ".benchmarks is not there: --benchmark-autosave" in found.reason


def test_of_many_stored_runs_the_latest_count(tmp_path: Path) -> None:
    latest = [-6.0 + 0.01 * number for number in range(stored.MOST_RUNS)]
    days = range(1, len(latest) + 3)
    for day, mean in zip(days, [-1.0, -1.0, *latest], strict=True):
        name = tmp_path / f"{99 - day}.json"  # the order of names is the wrong one
        run(name, np.array([mean - 0.001, mean + 0.001]), at=f"2026-01-{day:02}T00:00:00+00:00")
    found = stored.beside(alone(np.array([-5.9, -5.8])), tmp_path)
    assert found.ratio == pytest.approx(math.exp(-5.85 - np.mean(latest)))
    assert found.against == f"10 stored runs ({tmp_path})"


def test_what_pytest_benchmark_stores_beside_its_statistics() -> None:
    extra = storage.extra_info(made(measure="energy_j", grade="B", note=None))
    assert extra["joules"] == 0.00289
    assert (extra["grade"], extra["ratio"], extra["interval"]) == ("B", 1.2, (1.18, 1.22))
    assert storage.extra_info(made())["joules"] is None


def test_the_group_says_what_pytest_benchmarks_columns_are() -> None:
    assert storage._group(made()) == "joules: CPU-seconds per call"
    assert storage._group(made(measure="energy_j", grade="B")).endswith("grade B (for s read J)")


@pytest.mark.parametrize(
    ("fullname", "name"),
    [
        ("tests/test_model.py::test_a", "test_a"),
        ("tests/test_model.py::TestModel::test_a (baseline)", "test_a (baseline)"),
        ("tests/test_model.py::test_a[std::vector-[x]]", "test_a[std::vector-[x]]"),
        ("tests/[x]/test_model.py::TestModel::test_a[b::c]", "test_a[b::c]"),
    ],
)
def test_a_benchmark_is_named_as_pytest_names_its_test(fullname: str, name: str) -> None:
    assert storage._name(fullname) == name


# Instructions.


def test_the_kernels_structure_has_its_first_published_size() -> None:
    """PERF_ATTR_SIZE_VER0 of include/uapi/linux/perf_event.h is 64."""
    assert instructions._ATTRIBUTES.size == 64
    assert struct.calcsize("=QQQ") == instructions._ANSWER.size == 24


def test_where_there_is_no_such_call_another_measure_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(instructions.platform, "machine", lambda: "riscv64")
    with pytest.raises(InstructionsError, match="choose cpu_s"):
        Instructions.open()


def test_a_counter_that_was_shared_once_counts_again_afterwards() -> None:
    first, shared, later = Count(100, 0), Count(150, 7), Count(350, 7)
    assert shared.since(first) is None
    assert later.since(shared) == 200


def test_twice_the_work_retires_twice_the_instructions() -> None:
    try:
        counter = Instructions.open()
    except InstructionsError as err:
        pytest.skip(str(err))

    def spent(rounds: int) -> int:
        begun = counter.read()
        sum(range(rounds))
        found = counter.read().since(begun)
        assert found is not None
        return found

    spent(1_000_000)
    one, two = spent(1_000_000), spent(2_000_000)
    counter.close()
    assert two / one == pytest.approx(2, rel=0.05)
