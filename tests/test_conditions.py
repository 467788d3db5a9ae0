"""Each condition that discards a window or a block, at and beyond its limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_measurement import PROTOCOL

from bench.machine import Circumstances
from bench.measurement import Span, conditions
from bench.measurement.conditions import Bounds
from bench.meters import Channel
from bench.readings import Reading

COUNTER = Reading("counters", "cpu:0", "zeus.rapl", "B", 50.0)
POLLED = Reading("polled", "cpu:0", "polled.rapl", "B", 50.0)
BOUNDS = Bounds(
    replace(PROTOCOL, min_ticks=100),
    step_s={("counters", "cpu:0"): 0.01},
    idle_w={("counters", "cpu:0"): 20.0},
    limit_w={"cpu:0": 100.0},
)


def window(**changes: Any) -> Span:
    """One second at 50 W on a quiet machine."""
    return replace(Span("window", 0, 10**9, 1.0, (COUNTER,), 0.0, 0.0), **changes)


def counted(energy_j: float | None, **changes: Any) -> tuple[Reading, ...]:
    return (replace(COUNTER, energy_j=energy_j, **changes),)


def host(**changes: Any) -> Circumstances:
    return Circumstances(**changes)


@pytest.mark.parametrize(
    ("changes", "condition", "detail"),
    [
        ({"readings": counted(None, reason="lost")}, "missing reading", "lost"),
        ({"readings": counted(0.0)}, "still counter", "did not move in 1.00 s"),
        ({"readings": counted(0.0, grade="S")}, "still counter", "did not move"),
        ({"readings": counted(0.0, grade="A")}, "still counter", "did not move"),
        ({"end_ns": 4 * 10**8}, "too short", "0.400 s"),
        ({"end_ns": 79 * 10**7}, "too few ticks", "79 updates, protocol.min_ticks=100"),
        (
            {"readings": (COUNTER, replace(POLLED, energy_j=53.0))},
            "disagreement",
            "cpu:0: polled +6.0% of counters, limit 5.0%",
        ),
        (
            {"readings": (COUNTER, replace(POLLED, energy_j=47.0))},
            "disagreement",
            "polled -6.0% of counters",
        ),
        ({"readings": counted(17.9)}, "implausible power", "17.9 W, below 0.9 of idling (20 W)"),
        ({"readings": counted(105.1)}, "implausible power", "105.1 W, above 1.05 of the power"),
        ({"host": host(gpu_slowdowns={"gpu:1": "power brake"})}, "throttled gpu", "gpu:1: power"),
        ({"host": host(cpu_throttles=3)}, "throttled cpu", "3 times"),
        ({"host": host(gpu_foreign={"gpu:0": (7, 9)})}, "foreign process on the gpu", "7, 9"),
        ({"steal_share": 0.02}, "steal", "2.0% of the cores, limit 1.0%"),
        ({"foreign_share": 0.06}, "foreign load", "6.0% of the cores, limit 5.0%"),
        ({"host": host(major_faults=11)}, "page faults", "11 waited for storage in 1.00 s"),
    ],
)
def test_each_condition_discards_with_its_figure(
    changes: dict[str, Any], condition: str, detail: str
) -> None:
    found = conditions.violated([("baseline", window(**changes))], BOUNDS)
    assert found is not None
    assert found[0] == condition
    assert detail in found[1]


def test_windows_of_a_rehearsal_may_be_short() -> None:
    short = [("variant", window(end_ns=10**6, readings=()))]
    assert conditions.violated(short, BOUNDS) is not None
    rehearsal = replace(BOUNDS, protocol=replace(PROTOCOL, rehearsal=True))
    assert conditions.violated(short, rehearsal) is None


def test_every_condition_of_a_window_has_a_case_above() -> None:
    (cases,) = (
        mark.args[1]
        for mark in test_each_condition_discards_with_its_figure.pytestmark  # type: ignore[attr-defined]
    )
    assert {condition for _, condition, _ in cases} == set(conditions.CHECKS)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"steal_share": None, "foreign_share": None, "host": host()},
        {"readings": counted(0.0, grade="C")},
        {"readings": counted(1e9, component="dram:0")},  # no limit is known of it
        {"readings": (*counted(50.0), *counted(None, meter="tracker", reason="too short (1 s)"))},
        {"readings": (COUNTER, replace(POLLED, energy_j=90.0, meter="tracker"))},
        {"readings": (COUNTER, replace(POLLED, energy_j=52.4))},
        {"readings": (COUNTER, replace(POLLED, energy_j=90.0, grade="C"))},
        {"readings": (COUNTER, replace(POLLED, energy_j=90.0, component="gpu:0"))},
        {"readings": counted(18.1)},
        {"readings": counted(104.9)},
        {"end_ns": 81 * 10**7},
        {"host": host(cpu_throttles=0, major_faults=10, start_temperature_c={"cpu:0": 99.0})},
    ],
)
def test_a_window_is_never_discarded_within_its_limits_or_for_what_is_unknown(
    changes: dict[str, Any],
) -> None:
    assert conditions.violated([("baseline", window(**changes))], BOUNDS) is None


def block(component: str, *degrees: float) -> list[tuple[str, Span]]:
    arms = ("baseline", "variant", "variant", "baseline")
    return [
        (arm, window(host=host(start_temperature_c={component: d})))
        for arm, d in zip(arms, degrees, strict=True)
    ]


@pytest.mark.parametrize(
    ("component", "degrees", "detail"),
    [
        ("gpu:0", (60, 63.5, 63.5, 60), "gpu:0: windows of the variant begin 3.5 C hotter"),
        ("gpu:0", (63.5, 60, 60, 63.5), "protocol.max_gpu_gap_c=3"),
        ("cpu:0", (60, 66, 66, 60), "6.0 C hotter, protocol.max_cpu_gap_c=5"),
        ("cpu:0", (60, 64, 64, 60), None),
        ("gpu:0", (60, 62, 64, 66), None),  # a linear rise falls on both arms alike
    ],
)
def test_arms_that_begin_at_different_temperatures_lose_their_block(
    component: str, degrees: tuple[float, ...], detail: str | None
) -> None:
    found = conditions.violated(block(component, *degrees), BOUNDS)
    if detail is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] == "temperature gap"
        assert detail in found[1]


def test_null_allows_any_temperature() -> None:
    rules = replace(BOUNDS, protocol=replace(PROTOCOL, max_gpu_gap_c=None))
    assert conditions.violated(block("gpu:0", 40, 80, 80, 40), rules) is None


def test_idle_power_is_taken_from_idling_that_is_long_enough_for_the_counter() -> None:
    channels = {
        "counters": (Channel("cpu:0", "x", "B", step_s=0.001), Channel("gpu:0", "x", "B", 0.1))
    }
    readings = (COUNTER, replace(COUNTER, component="gpu:0", energy_j=100.0))
    long = window(readings=readings, end_ns=2 * 10**9)
    found = conditions.bounds(PROTOCOL, channels, long, {})
    assert found.idle_w == {("counters", "cpu:0"): 25.0, ("counters", "gpu:0"): 50.0}
    assert found.step_s == {("counters", "cpu:0"): 0.001, ("counters", "gpu:0"): 0.1}
    short = window(readings=readings, end_ns=10**9)  # ten ticks of the GPU's counter
    assert set(conditions.bounds(PROTOCOL, channels, short, {}).idle_w) == {("counters", "cpu:0")}
