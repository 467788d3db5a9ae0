"""Latency of single requests: arms in turn, quantiles only where there are enough of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_measurement import PROTOCOL

from bench.measurement import latency
from bench.measurement.latency import RUN, latencies
from bench.records import Latency


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def perf_counter(self) -> float:
        return self.now_s

    monotonic = perf_counter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(latency, "time", clock)
    return clock


def asked(clock: Clock, log: list[str], name: str, seconds: list[float]) -> object:
    def ask() -> None:
        clock.now_s += seconds[log.count(name) % len(seconds)]
        log.append(name)

    return ask


def measure(clock: Clock, requests: int, limit_s: float) -> tuple[dict[str, Latency], list[str]]:
    log: list[str] = []
    arms = {
        "baseline": asked(clock, log, "baseline", [0.010, 0.020]),
        "variant": asked(clock, log, "variant", [0.005]),
    }
    rules = replace(PROTOCOL, latency_requests=requests, latency_s=limit_s)
    return latencies(arms, lambda: None, rules), log  # type: ignore[arg-type, return-value]


def test_no_requests_are_made_where_none_are_wanted(clock: Clock) -> None:
    assert measure(clock, 0, 60.0) == ({}, [])


def test_arms_take_turns_in_short_runs_after_one_request_each(clock: Clock) -> None:
    _, log = measure(clock, 30, 60.0)
    turn = ["baseline"] * RUN + ["variant"] * RUN
    assert log == ["baseline", "variant", *turn, *turn]


def test_quantiles_are_those_of_the_requests(clock: Clock) -> None:
    found, _ = measure(clock, 1000, 1e6)
    times = np.array([0.010, 0.020] * 1000)
    assert found["variant"].p50_s == pytest.approx(0.005)
    assert found["variant"].p90_s == pytest.approx(0.005)
    assert found["baseline"].requests >= 1000
    assert found["baseline"].p90_s == pytest.approx(np.quantile(times, 0.9))
    assert found["baseline"].p99_s is None  # that takes 10,000


def test_a_slow_model_ends_by_time_and_has_no_tail(clock: Clock) -> None:
    found, log = measure(clock, 1000, 1.0)
    assert (
        found["baseline"].requests
        == found["variant"].requests
        == log.count("variant") - 1 - (log.count("variant") - 1) // RUN
    )
    assert found["baseline"].p90_s is None
