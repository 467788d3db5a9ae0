"""One measurement: idle, warm-up, blocks of windows until the interval is narrow enough, idle.

    idle | warm-up | A B B A | B A A B | A B B A | ... | idle
                     `- each letter: pause, lead-in of that arm, window of that arm

Both arms stand in one process on one device. Their windows are mirrored within a block, so that a
linear drift of the machine falls on both alike; sequential designs cover a third of what they
promise under a drift of 4 %.
"""

from __future__ import annotations

import dataclasses
import gc
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from bench import machine
from bench.measurement import Gauge, Span, validity
from bench.measurement.conditions import (
    COUNTERS,
    TOO_FEW_TICKS,
    TOO_SHORT,
    Bounds,
    bounds,
    violated,
)
from bench.measurement.latency import latencies
from bench.measurement.overhead import calibrate
from bench.measurement.protocol import AGREEING, Protocol
from bench.measurement.windows import ArmName, Window, per_item
from bench.readings import Overhead
from bench.records import Discard, Latency
from bench.statistics.ratios import block_log_ratios, half_width

__all__ = ["ORDERS", "ArmName", "Block", "Load", "Outcome", "Session", "Window", "per_item"]

ORDERS: tuple[tuple[ArmName, ...], ...] = (
    ("baseline", "variant", "variant", "baseline"),
    ("variant", "baseline", "baseline", "variant"),
)


@dataclass(frozen=True, slots=True)
class Load:
    """The work of one arm.

    Attributes:
        run: Runs so many forward passes, one batch each, and nothing else.
        batch_items: Samples of one pass, or what stands for them, such as seconds of audio.
        request: Answers one request: a forward pass of a single example.
    """

    run: Callable[[int], None]
    batch_items: float
    request: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a session measured.

    Attributes:
        started: UTC, ISO 8601.
        idle_before: Span of idling.
        idle_after: Likewise.
        overhead: What measuring itself cost.
        warmup: Span of the warm-up, calibrations included.
        windows: All of them, discarded ones too.
        discards: Why blocks were thrown away.
        latency: Of each arm; empty if the protocol asks for no requests.
        idle_drift: Relative change of idle power; ``None`` without a counter.
        baseline_drift: Relative change of the baseline's figure; ``None`` with too few windows.
        invalid: Why the whole session cannot be used, if so.
    """

    started: str
    idle_before: Span
    idle_after: Span
    overhead: Overhead
    warmup: Span
    windows: tuple[Window, ...]
    discards: tuple[Discard, ...]
    latency: dict[ArmName, Latency]
    idle_drift: float | None
    baseline_drift: float | None
    invalid: str | None


@dataclass(frozen=True, slots=True)
class Block:
    """What a session tells of the block behind it.

    Attributes:
        windows: Its four windows in their order.
        discard: Why it was thrown away, if it was.
        last: Whether no other follows: what comes next is measured without a lead-in.
    """

    windows: tuple[Window, ...]
    discard: Discard | None
    last: bool


Told = Callable[[int, int, float, Block], None]
"""Blocks kept so far, the least still wanted, the interval's half-width, and the latest block."""


@dataclass
class Session:
    """Measures two loads against each other under a protocol.

    Attributes:
        gauge: Clock and meters.
        protocol: The rules.
        loads: Both arms.
        seed: Of the first order and of the pauses.
        headline: From a span to the figure the stopping rule looks at (joules, else seconds).
        tell: Told after every block.
    """

    gauge: Gauge
    protocol: Protocol
    loads: Mapping[ArmName, Load]
    seed: int
    headline: Callable[[Span], float | None]
    tell: Told
    _passes: dict[ArmName, int] = field(default_factory=dict, init=False)

    def run(self) -> Outcome:
        """Measure, and return everything that was seen."""
        started = datetime.now(UTC).isoformat(timespec="seconds")
        draw = random.Random(self.seed)
        idle_before = self._idle()
        overhead = calibrate(self.gauge, idle_before)
        channels = self.gauge.meters.channels
        limits = bounds(self.protocol, channels, idle_before, machine.power_limits_w())
        warmup = self._warm_up()
        # Collections inside a window would be charged to whoever is measured just then.
        gc.collect()
        gc.disable()
        try:
            windows, discards = self._blocks(draw, limits)
        finally:
            gc.enable()
        requests = {arm: load.request for arm, load in self.loads.items()}
        latency = latencies(requests, self.gauge.synchronise, self.protocol)
        idle_after = self._idle()
        drifts = (
            validity.idle_drift(idle_before, idle_after),
            validity.baseline_drift(windows, self.headline),
        )
        return Outcome(
            started,
            idle_before,
            idle_after,
            overhead,
            warmup,
            tuple(windows),
            tuple(discards),
            latency,
            *drifts,
            validity.too_many_discards(windows, discards, self.protocol)
            or validity.too_much_drift(*drifts, self.protocol),
        )

    def _idle(self) -> Span:
        with self.gauge.span("idle") as idle:
            time.sleep(self.protocol.idle_s)
        return idle[0]

    def _warm_up(self) -> Span:
        """Work both arms until they are warm, and find how many passes fill a window."""
        protocol = self.protocol
        with self.gauge.span("warmup") as warmup:
            begin = time.monotonic()
            for arm, load in self.loads.items():
                rates = [self._seconds_per_pass(load)]
                until = begin + protocol.warmup_s * (len(self._passes) + 1) / 2
                while (
                    len(rates) < AGREEING or time.monotonic() < until or not protocol.settled(rates)
                ):
                    rates.append(self._seconds_per_pass(load))
                self._passes[arm] = max(
                    1, round(self._window_s() / float(np.median(rates[-AGREEING:])))
                )
        return warmup[0]

    def _seconds_per_pass(self, load: Load) -> float:
        """Time passes for a quarter of a window."""
        begin = time.monotonic()
        passes = self._work_for(load, self.protocol.window_s / 4)
        return (time.monotonic() - begin) / passes

    def _work_for(self, load: Load, seconds: float) -> int:
        """Work until so many seconds have gone by, one pass at least if any; count the passes."""
        passes, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            load.run(1)
            self.gauge.synchronise()
            passes += 1
        return passes

    def _window_s(self) -> float:
        """The protocol's window, or longer if a counter ticks too slowly for it; models do not."""
        channels = [c for found in self.gauge.meters.channels.values() for c in found]
        steps_s = [channel.step_s for channel in channels if channel.grade in COUNTERS]
        return max(self.protocol.window_s, self.protocol.min_ticks * max(steps_s, default=0.0))

    def _blocks(self, draw: random.Random, limits: Bounds) -> tuple[list[Window], list[Discard]]:
        windows: list[Window] = []
        discards: list[Discard] = []
        first = draw.randrange(2)
        kept, number, enough = 0, 0, False
        while not enough:
            block = self._block(number, ORDERS[(first + number) % 2], draw)
            bad = violated([(window.arm, window.span) for window in block], limits)
            if bad is None:
                kept += 1
            else:
                discards.append(Discard(number, *bad))
                if kept == 0 and bad[0] in (TOO_SHORT, TOO_FEW_TICKS):
                    self._lengthen(block)
                block = [dataclasses.replace(window, kept=False) for window in block]
            windows.extend(block)
            number += 1
            enough = self._enough(windows, kept, len(discards))
            told = Block(tuple(block), discards[-1] if bad else None, enough)
            self.tell(kept, self.protocol.min_blocks, self._half_width(windows), told)
        return windows, discards

    def _block(self, number: int, order: tuple[ArmName, ...], draw: random.Random) -> list[Window]:
        name = "ABBA" if order[0] == "baseline" else "BAAB"
        block = []
        for position, arm in enumerate(order):
            load, passes = self.loads[arm], self._passes[arm]
            time.sleep(draw.uniform(0, self.protocol.jitter_s))
            self._work_for(load, self.protocol.lead_in_s)
            with self.gauge.span("window") as span:
                load.run(passes)
            items = passes * load.batch_items
            block.append(Window(number, name, position, arm, items, span[0], kept=True))
        return block

    def _lengthen(self, block: list[Window]) -> None:
        """Plan more passes for the arms whose windows were short: their calibration was disturbed.

        Only before the first kept block: every kept window of an arm holds the same work.
        """
        for arm in self.loads:
            shortest_s = min(window.span.wall_s for window in block if window.arm == arm)
            if shortest_s < (window_s := self._window_s()):
                self._passes[arm] = math.ceil(self._passes[arm] * window_s / shortest_s)

    def _enough(self, windows: list[Window], kept: int, discarded: int) -> bool:
        """Whether to stop: on the interval's width or a limit, never on what the ratio is."""
        protocol = self.protocol
        if discarded > max(2.0, protocol.max_discarded * protocol.max_blocks):
            return True
        if kept < protocol.min_blocks:
            return False
        return kept >= protocol.max_blocks or self._half_width(windows) <= protocol.half_width

    def _half_width(self, windows: list[Window]) -> float:
        baseline, variant = per_item(windows, self.headline)
        if len(baseline) < 2:
            return float("inf")
        return half_width(block_log_ratios(baseline, variant))
