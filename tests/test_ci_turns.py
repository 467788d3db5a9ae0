"""Two sides taking turns, under a clock that moves only when somebody works, and what follows."""

from __future__ import annotations

import dataclasses
import itertools
import math
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.ci import conclusion, gate, sides, turns
from bench.ci.conclusion import Subject, concluded
from bench.ci.instruments import Measure, Taken
from bench.ci.results import Result
from bench.ci.rules import FIRST_SHARE, FRESH_SHARE, read, rules_for
from bench.ci.turns import Rules, block_logs, take_turns
from bench.folders import conf_folder
from bench.measurement.conditions import Bounds
from bench.measurement.protocol import Protocol
from bench.statistics.ratios import paired_ratio

CALL_S = 0.001
CPU_S = Measure("cpu_s", "process tree", "clock", "none", "no energy counter on this host")
OWN = dataclasses.replace(read(conf_folder() / "check" / "own.yaml"), jitter_s=0.0)
MACHINE = read(conf_folder() / "check" / "machine.yaml")


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class FakeSide:
    """Costs ``cost_s`` CPU-seconds a call, times whatever the hour demands."""

    clock: FakeClock
    cost_s: float
    hour: Callable[[float], float] = lambda now_s: 1.0
    steal_share: float | None = None
    cores: list[int] = dataclasses.field(default_factory=list)

    def warm_up(self, protocol: Protocol, window_s: float, warmup_s: float) -> float:
        self.clock.sleep(warmup_s)
        return CALL_S

    def window(self, calls: int, lead_in: int, core: int) -> Taken:
        self.cores.append(core)
        self.clock.sleep(lead_in * CALL_S)
        begun_s, length_s = self.clock.now_s, calls * CALL_S
        self.clock.sleep(length_s)
        spent_s = calls * self.cost_s * self.hour(begun_s + length_s / 2)
        ends_ns = (round(begun_s * 1e9), round(self.clock.now_s * 1e9))
        return Taken("window", *ends_ns, spent_s, (), self.steal_share, None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.setattr(turns, "time", fake)
    return fake


def rules(most_s: float = 60.0, half_width: float = 0.015, protocol: Protocol = OWN) -> Rules:
    return Rules(protocol, CPU_S, Bounds(protocol), protocol.window_s, half_width, most_s)


def result(found: turns.Turns, limit: float | None, how: Rules) -> Result:
    return concluded(Subject("tests/test_x.py::test_y", "pair", limit), found, how)


def test_a_fifth_more_work_is_a_ratio_of_one_point_two_and_fails(clock: FakeClock) -> None:
    sides = {"baseline": FakeSide(clock, 0.002), "variant": FakeSide(clock, 0.0024)}
    found = result(take_turns(sides, rules(), seed=0), 1.05, rules())
    assert (found.ratio, found.low, found.high) == pytest.approx((1.2, 1.2, 1.2))
    assert (found.baseline_per_call, found.per_call) == pytest.approx((0.002, 0.0024))
    assert found.verdict == "fails"
    assert found.blocks == OWN.min_blocks  # no noise: narrow at once
    assert len(found.values) == 2 * found.blocks


def test_a_drift_of_a_tenth_falls_on_both_sides_alike(clock: FakeClock) -> None:
    def dearer(now_s: float) -> float:
        return math.exp(0.1 * (now_s - 100) / 10)

    sides = {"baseline": FakeSide(clock, 1.0, dearer), "variant": FakeSide(clock, 1.0, dearer)}
    found = result(take_turns(sides, rules(), seed=0), 1.05, rules())
    assert max(found.baseline_values) > 1.05 * min(found.baseline_values)
    assert found.ratio == pytest.approx(1, abs=1e-9)
    assert found.verdict == "passes"


def test_blocks_are_mirrored_and_take_turns_in_beginning(clock: FakeClock) -> None:
    sides = {"baseline": FakeSide(clock, 1.0), "variant": FakeSide(clock, 1.0)}
    windows = take_turns(sides, rules(), seed=0).windows
    blocks = ["".join(w.arm[0] for w in windows[i : i + 4]) for i in range(0, len(windows), 4)]
    assert set(blocks) == {"bvvb", "vbbv"}
    assert all(one != other for one, other in itertools.pairwise(blocks))
    assert windows[0].span.end_ns <= windows[1].span.start_ns  # never at the same time


def test_all_windows_of_a_block_begin_on_one_core_and_blocks_on_many(clock: FakeClock) -> None:
    cores: list[int] = []  # of both sides, in order
    sides = {arm: FakeSide(clock, 1.0, cores=cores) for arm in ("baseline", "variant")}
    take_turns(sides, rules(), seed=0)
    of_blocks = [set(cores[i : i + 4]) for i in range(0, len(cores), 4)]
    assert all(len(block) == 1 for block in of_blocks)
    assert len(set().union(*of_blocks)) > len(of_blocks) / 2


def test_a_side_moves_to_a_core_and_may_use_all_of_its_own_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_to: list[set[int]] = []
    monkeypatch.setattr(sides.os, "sched_getaffinity", lambda pid: {6, 2, 3}, raising=False)
    monkeypatch.setattr(
        sides.os, "sched_setaffinity", lambda pid, cores: set_to.append(set(cores)), raising=False
    )
    for core in (0, 1, 2, 3):
        sides.move_to(core)
    assert set_to[::2] == [{2}, {3}, {6}, {2}]
    assert set_to[1::2] == [{2, 3, 6}] * 4


def test_no_block_is_begun_that_would_not_end_in_time(clock: FakeClock) -> None:
    draw = np.random.default_rng(0)
    noisy = FakeSide(clock, 1.0, lambda now_s: math.exp(draw.normal(0, 0.5)))
    begun_s = clock.now_s
    found = take_turns({"baseline": noisy, "variant": noisy}, rules(most_s=10.0), seed=0)
    assert 9.0 < clock.now_s - begun_s <= 10.0
    assert len(found.windows) // 4 > OWN.min_blocks


def test_measuring_stops_at_the_width_that_was_asked_for(clock: FakeClock) -> None:
    draw = np.random.default_rng(1)
    noisy = FakeSide(clock, 1.0, lambda now_s: math.exp(draw.normal(0, 0.05)))
    found = take_turns({"baseline": noisy, "variant": noisy}, rules(most_s=600.0), seed=0)
    logs = block_logs(found.windows, CPU_S)
    widths = [
        math.expm1(stats.t.ppf(0.975, n - 1) * logs[:n].std(ddof=1) / math.sqrt(n))
        for n in range(OWN.min_blocks, logs.size + 1)
    ]
    assert widths[-1] <= 0.015
    assert all(width > 0.015 for width in widths[:-1])


def test_blocks_that_others_disturbed_are_thrown_away_and_say_so(clock: FakeClock) -> None:
    stolen = FakeSide(clock, 1.0, steal_share=0.5)
    how = rules(most_s=600.0, protocol=MACHINE)
    found = result(take_turns({"baseline": stolen, "variant": stolen}, how, seed=0), 1.05, how)
    assert found.verdict == "invalid"
    assert found.blocks == 0
    assert found.discarded == 35  # more than a share of 0.34 of 100 blocks
    assert found.reason is not None
    assert "steal" in found.reason


def test_a_block_whose_figure_could_not_be_read_is_thrown_away(clock: FakeClock) -> None:
    class Shared(FakeSide):
        def window(self, calls: int, lead_in: int, core: int) -> Taken:
            taken = super().window(calls, lead_in, core)
            lost = len(self.cores) == 3
            return dataclasses.replace(taken, instructions=None if lost else 1000 * calls)

    counted = Measure("instructions", "this process", "perf_event", "none", "asked for")
    how = dataclasses.replace(rules(), measure=counted)
    sides = {"baseline": Shared(clock, 1.0), "variant": Shared(clock, 1.0)}
    found = result(take_turns(sides, how, seed=0), 1.05, how)
    assert (found.verdict, found.ratio, found.discarded) == ("passes", pytest.approx(1), 1)


def test_a_stage_of_a_check_of_joules_has_blocks_enough_for_an_interval(clock: FakeClock) -> None:
    """With four blocks the t quantile is 3.2, with ten 2.3."""
    draw = np.random.default_rng(3)
    noisy = FakeSide(clock, 1.0, lambda now_s: math.exp(draw.normal(0, 0.05)))
    for share, least in ((FIRST_SHARE, 4), (FRESH_SHARE, 10)):
        how = rules(most_s=share * 50, protocol=dataclasses.replace(MACHINE, jitter_s=0.05))
        found = result(take_turns({"baseline": noisy, "variant": noisy}, how, seed=0), 1.05, how)
        assert found.blocks >= least


def test_a_function_alone_has_a_figure_and_no_baseline(clock: FakeClock) -> None:
    found = take_turns({"variant": FakeSide(clock, 0.003)}, rules(), seed=0)
    assert {window.order for window in found.windows} == {"BBBB"}
    alone = concluded(Subject("t", "alone", 1.05), found, rules())
    assert alone.verdict == "no baseline"
    assert (alone.per_call, alone.ratio) == (pytest.approx(0.003), None)


def test_too_little_time_for_an_interval_is_no_verdict(clock: FakeClock) -> None:
    sides = {"baseline": FakeSide(clock, 1.0), "variant": FakeSide(clock, 2.0)}
    found = take_turns(sides, rules(), seed=0)
    one_block = dataclasses.replace(found, windows=found.windows[:4])
    short = result(one_block, 1.05, rules())
    assert short.verdict == "invalid"
    assert short.reason is not None
    assert "--joules-max-time" in short.reason


def test_the_interval_is_that_of_the_pairs_of_a_paper(clock: FakeClock) -> None:
    draw = np.random.default_rng(2)
    sides = {
        arm: FakeSide(clock, cost, lambda now_s: math.exp(draw.normal(0, 0.03)))
        for arm, cost in (("baseline", 1.0), ("variant", 1.04))
    }
    found = result(take_turns(sides, rules(), seed=0), 1.05, rules())
    oracle = paired_ratio(
        np.reshape(found.baseline_values, (-1, 2)), np.reshape(found.values, (-1, 2))
    )
    assert (found.ratio, found.low, found.high) == pytest.approx(
        (oracle.ratio, oracle.low, oracle.high)
    )
    assert found.baseline_per_call == pytest.approx(oracle.baseline_per_item)


def undecided(ratio: float, sd: float, blocks: int, limit: float) -> Result:
    margin = stats.t.ppf(0.975, blocks - 1) * sd / math.sqrt(blocks)
    low, high = ratio * math.exp(-margin), ratio * math.exp(margin)
    plain = Result(
        **{"test": "t", "kind": "pair", "measure": "cpu_s", "scope": "", "source": "clock"},
        **{"grade": "none", "note": None, "host_class": "", "against": None, "discarded": 0},
        **{"calls": 1, "spent_s": 1.0, "limit": limit, "blocks": blocks, "ratio": ratio},
        **{"low": low, "high": high, "log_ratio_sd": sd},
        verdict=gate.verdict(low, high, limit),
    )
    assert plain.verdict == "undecided"
    return plain


def test_the_blocks_still_wanted_are_the_fewest_that_decide() -> None:
    found = undecided(ratio=1.03, sd=0.08, blocks=20, limit=1.05)
    more = conclusion.more_blocks(found)
    assert more is not None

    def high(blocks: int) -> float:
        return 1.03 * math.exp(stats.t.ppf(0.975, blocks - 1) * 0.08 / math.sqrt(blocks))

    assert high(20 + more) <= 1.05 < high(20 + more - 1)


def test_no_number_of_blocks_tells_a_ratio_from_itself() -> None:
    assert conclusion.more_blocks(undecided(1.05, 0.08, 20, 1.05)) is None
    assert conclusion.more_blocks(undecided(1.0501, 0.08, 20, 1.05)) is None


class FakeInstruments:
    """Measures CPU-seconds, as far as the rules need to know."""

    measure = CPU_S

    def window_s(self, protocol: Protocol) -> float:
        return protocol.window_s

    def bounds(self, protocol: Protocol) -> Bounds:
        return Bounds(protocol)


@pytest.mark.parametrize(
    ("limit", "half_width"),
    [(None, 0.015), (1.05, 0.015), (1.02, 1.02 ** (1 / 3) - 1), (1.0, 0.015)],
)
def test_a_close_limit_asks_for_a_narrow_interval(limit: float | None, half_width: float) -> None:
    made = rules_for(FakeInstruments(), limit, 60.0)  # type: ignore[arg-type]
    assert made.half_width == pytest.approx(half_width)
    assert (made.window_s, made.protocol.name) == (0.1, "own")


def test_the_width_that_is_asked_for_stands_above_that_of_the_limit() -> None:
    for asked in (0.002, 0.05):
        made = rules_for(FakeInstruments(), 1.02, 60.0, asked)  # type: ignore[arg-type]
        assert made.half_width == asked


@pytest.mark.parametrize(("slow_s", "call_s"), [(0.3, 0.001), (0.001, 0.001), (0.0, 0.02)])
def test_a_side_is_warm_after_the_time_it_was_given_and_not_told_by_its_first_call(
    monkeypatch: pytest.MonkeyPatch, slow_s: float, call_s: float
) -> None:
    clock, calls = FakeClock(), itertools.count()
    monkeypatch.setattr(sides, "time", clock)

    def function() -> None:
        clock.sleep(slow_s if next(calls) == 0 else call_s)

    side = sides.LocalSide(function, FakeInstruments())  # type: ignore[arg-type]
    begun_s = clock.now_s
    assert side.warm_up(OWN, 0.1, 1.0) == pytest.approx(call_s)
    # The last calibration that begins within the time may end behind it, and is short.
    assert 1.0 <= clock.now_s - begun_s < 1.1


def test_a_function_that_takes_longer_than_its_warm_up_is_called_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock()
    monkeypatch.setattr(sides, "time", clock)
    side = sides.LocalSide(lambda: clock.sleep(3.0), FakeInstruments())  # type: ignore[arg-type]
    assert side.warm_up(OWN, 0.1, 1.0) == 3.0
    assert clock.now_s == 106.0


def test_threads_of_a_window_are_traced_as_little_as_its_own() -> None:
    """Coverage traces threads as well, and on one side of a job alone."""
    seen: set[str] = set()

    def tracer(frame: Any, event: str, argument: Any) -> None:
        seen.add(threading.current_thread().name)

    def work(name: str) -> None:
        thread = threading.Thread(target=sum, args=([],), name=name)
        thread.start()
        thread.join()

    before = threading.gettrace()
    threading.settrace(tracer)
    try:
        with sides._untraced():
            work("in a window")
        assert threading.gettrace() is tracer
        work("afterwards")
    finally:
        threading.settrace(before)
    assert seen == {"afterwards"}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="older ones do not reach running threads")
def test_a_thread_that_ran_before_a_window_is_not_traced_in_it_either() -> None:
    seen: list[str] = []
    asked, answered = queue.SimpleQueue[str | None](), queue.SimpleQueue[None]()

    def noticed(word: str) -> None:
        pass

    def tracer(frame: Any, event: str, argument: Any) -> None:
        if frame.f_code is noticed.__code__:
            seen.append(frame.f_locals["word"])

    def serve() -> None:
        while (word := asked.get()) is not None:
            noticed(word)
            answered.put(None)

    def ask(word: str) -> None:
        asked.put(word)
        answered.get()

    before, own = threading.gettrace(), sys.gettrace()
    threading.settrace(tracer)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        ask("before")
        with sides._untraced():
            ask("in a window")
        ask("afterwards")
        assert sys.gettrace() is own
    finally:
        threading.settrace(before)
        asked.put(None)
        thread.join()
    assert seen == ["before", "afterwards"]


def test_windows_grow_short_with_the_time_there_is() -> None:
    assert rules_for(FakeInstruments(), 1.05, 0.8).window_s == pytest.approx(0.01)  # type: ignore[arg-type]


def test_a_misspelt_knob_of_a_check_is_refused_with_its_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "own.yaml"
    path.write_text((conf_folder() / "check" / "own.yaml").read_text() + "windows_s: 1\n")
    with pytest.raises(ValueError, match=r"own\.yaml.*windows_s"):
        read(path)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.06, 1.2, "fails"),
        (1.0501, 1.2, "fails"),
        (1.05, 1.2, "undecided"),
        (0.9, 1.06, "undecided"),
        (0.9, 1.05, "passes"),
    ],
)
def test_a_check_fails_only_if_all_of_its_interval_is_above_the_limit(
    low: float, high: float, verdict: str
) -> None:
    assert gate.verdict(low, high, 1.05) == verdict
    assert gate.verdict(low, high, None) == "no limit"


def test_a_limit_is_read_from_its_word() -> None:
    assert gate.limit_of("ratio:1.05") == 1.05


@pytest.mark.parametrize("text", ["1.05", "ratio:", "ratio:5%", "mean:1.05", "ratio:-1", "ratio:0"])
def test_a_word_that_is_no_limit_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(gate.GateError, match=r"ratio:1\.05 allows 5 % more"):
        gate.limit_of(text)
