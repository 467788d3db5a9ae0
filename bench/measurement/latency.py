"""From request to answer, one example at a time: what a user waits for.

Requests of both arms take turns in short runs, so that a drift of the machine falls on both alike.
No meter is read: a single request is far shorter than any counter's tick.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from bench.measurement.protocol import Protocol
from bench.measurement.windows import ArmName
from bench.records import Latency

RUN = 20
"""Requests of one arm before it is the other's turn."""

P90_REQUESTS = 1_000
P99_REQUESTS = 10_000
"""Fewest requests for a quantile: 100 beyond it (MLPerf Inference rules, load generator)."""


def latencies(
    requests: Mapping[ArmName, Callable[[], None]],
    synchronise: Callable[[], None],
    protocol: Protocol,
) -> dict[ArmName, Latency]:
    """Return the latency of each arm; empty if the protocol asks for no requests.

    Args:
        requests: Answers one request of an arm.
        synchronise: Waits until the device is done.
        protocol: How many requests an arm, and how many seconds at most.
    """
    if protocol.latency_requests == 0:
        return {}
    for ask in requests.values():
        _timed(ask, synchronise)  # the first of a shape may compile
    seconds: dict[ArmName, list[float]] = {arm: [] for arm in requests}
    end = time.monotonic() + protocol.latency_s
    while _fewest(seconds) < protocol.latency_requests and time.monotonic() < end:
        for arm, ask in requests.items():
            seconds[arm] += [_timed(ask, synchronise) for _ in range(RUN)][1:]  # caches are cold
    return {arm: _latency(np.array(times)) for arm, times in seconds.items()}


def _timed(ask: Callable[[], None], synchronise: Callable[[], None]) -> float:
    begin = time.perf_counter()
    ask()
    synchronise()
    return time.perf_counter() - begin


def _fewest(seconds: Mapping[ArmName, list[float]]) -> int:
    return min(map(len, seconds.values()))


def _latency(times: np.ndarray) -> Latency:
    p50, p90, p99 = (float(quantile) for quantile in np.quantile(times, (0.5, 0.9, 0.99)))
    return Latency(
        requests=times.size,
        p50_s=p50,
        p90_s=p90 if times.size >= P90_REQUESTS else None,
        p99_s=p99 if times.size >= P99_REQUESTS else None,
    )
