"""Two sides taking turns in blocks until the interval is narrow enough, or time is up.

    warm-up A | warm-up B | A B B A | B A A B | A B B A | ...
                            `- each letter: pause, lead-in of that side, window of that side

All windows of a block begin on one core, drawn anew for each block.

``measurement.session`` does the same for a paper, where both arms stand in one process and time is
no matter. Here a side may live in another process, and a check ends within its minute: blocks are
mirrored, started at random, discarded and counted by the same rules.
"""

from __future__ import annotations

import dataclasses
import random
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.ci.instruments import Measure
from bench.ci.sides import Side
from bench.measurement.conditions import TOO_SHORT, Bounds, violated
from bench.measurement.protocol import Protocol
from bench.measurement.session import ORDERS
from bench.measurement.windows import ArmName, Window, per_item
from bench.records import Discard
from bench.statistics import Floats
from bench.statistics.ratios import block_log_ratios, half_width

WARMUP_SHARE = 0.05
"""Of all the time there is, for the warm-up of one side at most."""

_CORES = 1 << 16
"""More than a machine has: which of its own it is, a side finds out."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How two sides are measured.

    Attributes:
        protocol: Windows, blocks, what to discard.
        measure: What is compared.
        bounds: What windows are held against.
        window_s: Length of a window, in seconds.
        half_width: Relative half-width of the interval at which measuring stops.
        most_s: Seconds after which no block is begun.
    """

    protocol: Protocol
    measure: Measure
    bounds: Bounds
    window_s: float
    half_width: float
    most_s: float


@dataclass(frozen=True, slots=True)
class Turns:
    """What was measured.

    Attributes:
        windows: All of them, discarded ones too.
        discards: Why blocks were thrown away.
        calls: In a window of each side.
        spent_s: Seconds, warm-up included.
    """

    windows: tuple[Window, ...]
    discards: tuple[Discard, ...]
    calls: dict[ArmName, int]
    spent_s: float


def block_logs(windows: Sequence[Window], measure: Measure) -> Floats:
    """Return what the interval is made of, one figure per kept block.

    Of two sides the log ratio, variant over baseline; of the variant alone the mean logarithm per
    call of its four windows. Empty if a figure is missing.
    """
    baseline, variant = per_item(windows, measure.of)
    if baseline.size:
        return block_log_ratios(baseline, variant)
    logs: Floats = np.log(variant).reshape(-1, 4).mean(axis=1)
    return logs


def take_turns(sides: Mapping[ArmName, Side], rules: Rules, seed: int) -> Turns:
    """Measure, and return all that was seen.

    Args:
        sides: Both, or the variant alone, whose blocks then hold four windows of its own.
        rules: Of this check.
        seed: Of the first order and of the pauses.
    """
    return _Match(dict(sides), rules, random.Random(seed)).run()


def seed_of(test: str) -> int:
    """Return the seed of a test's first order and pauses: the same in every run."""
    return zlib.crc32(test.encode())


class _Match:
    def __init__(self, sides: dict[ArmName, Side], rules: Rules, draw: random.Random) -> None:
        self._sides, self._rules, self._draw = sides, rules, draw
        self._begun_s = time.monotonic()
        self._longest_s = 0.0
        self._plans: dict[ArmName, tuple[int, int]] = {}
        self._windows: list[Window] = []
        self._discards: list[Discard] = []

    def run(self) -> Turns:
        first = self._draw.randrange(2)
        self._plan()
        number = 0
        while not self._enough(number):
            self._block(number, ORDERS[(first + number) % 2])
            number += 1
        calls = {arm: plan[0] for arm, plan in self._plans.items()}
        return Turns(tuple(self._windows), tuple(self._discards), calls, self._spent_s())

    def _spent_s(self) -> float:
        return time.monotonic() - self._begun_s

    def _plan(self) -> None:
        """Warm both sides up, and find how many calls fill a lead-in and a window."""
        rules = self._rules
        warmup_s = min(rules.protocol.warmup_s, WARMUP_SHARE * rules.most_s)
        # Where time is short and windows with it, so are lead-ins.
        lead_in_s = rules.protocol.lead_in_s * min(1.0, rules.window_s / rules.protocol.window_s)
        for arm, side in self._sides.items():
            call_s = side.warm_up(rules.protocol, rules.window_s, warmup_s)
            lead_in = round(lead_in_s / call_s)  # none for calls of a second
            self._plans[arm] = max(1, round(rules.window_s / call_s)), lead_in

    def _block(self, number: int, order: tuple[ArmName, ...]) -> None:
        begun_s = time.monotonic()
        name = "ABBA" if order[0] == "baseline" else "BAAB"
        if len(self._sides) == 1:
            order, name = tuple(self._sides) * 4, "BBBB"
        core = self._draw.randrange(_CORES)
        block = [self._window(number, name, place, arm, core) for place, arm in enumerate(order)]
        bad = violated([(window.arm, window.span) for window in block], self._rules.bounds)
        if bad is None and any(self._rules.measure.of(window.span) is None for window in block):
            bad = ("missing reading", f"{self._rules.measure.name} could not be read")
        if bad is not None:
            nothing_kept = len(self._windows) == 4 * len(self._discards)
            self._discards.append(Discard(number, *bad))
            if nothing_kept and bad[0] == TOO_SHORT:
                self._plan()  # the warm-up was disturbed; every kept window holds the same work
            block = [dataclasses.replace(window, kept=False) for window in block]
        self._windows += block
        self._longest_s = max(self._longest_s, time.monotonic() - begun_s)

    def _window(self, number: int, order: str, place: int, arm: ArmName, core: int) -> Window:
        calls, lead_in = self._plans[arm]
        time.sleep(self._draw.uniform(0, self._rules.protocol.jitter_s))
        span = self._sides[arm].window(calls, lead_in, core)
        return Window(number, order, place, arm, calls, span, kept=True)

    def _enough(self, blocks: int) -> bool:
        """Whether to stop: on the interval's width, a limit or the time, never on the ratio."""
        protocol = self._rules.protocol
        kept = blocks - len(self._discards)
        if len(self._discards) > max(2.0, protocol.max_discarded * protocol.max_blocks):
            return True
        if blocks >= 2 and self._spent_s() + self._longest_s > self._rules.most_s:
            return True
        if kept < protocol.min_blocks:
            return False
        found = block_logs(self._windows, self._rules.measure)
        return kept >= protocol.max_blocks or half_width(found) <= self._rules.half_width
