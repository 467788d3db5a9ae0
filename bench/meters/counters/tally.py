"""The joules of one counter since it was opened: wraps undone, losses counted, nothing guessed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.meters import Counts

TOLERATED_POWER = 1.5
"""Times the greatest power, from which on a rise is taken for a counter that jumped."""

TOLERATED_S = 0.05
"""Seconds that a counter's update may lag: fifty of RAPL's (0.976 ms, Khan 2018)."""

_MICRO = 1e-6


@dataclass(slots=True)
class Tally:
    """Adds up the rises of a counter.

    Attributes:
        range_uj: Where the counter begins anew; infinite if it never does.
        max_w: The greatest power there can be; infinite if nobody knows.
        energy_uj: Sum of the rises.
        losses: How often joules were lost.
        reason: Why, the last time.
    """

    range_uj: float = math.inf
    max_w: float = math.inf
    energy_uj: float = 0
    losses: int = 0
    reason: str = ""
    _last: tuple[float, float] | None = field(default=None, repr=False)

    def add(self, value_uj: float, before_s: float, after_s: float) -> str | None:
        """Take a reading; return why it lost joules, if it did. It is the next one's start anyway.

        Args:
            value_uj: What the counter says.
            before_s: Monotonic seconds when it was asked.
            after_s: And when it had answered.
        """
        last, self._last = self._last, (value_uj, before_s)
        if last is None:
            return None
        elapsed_s, rise_uj = after_s - last[1], value_uj - last[0]
        problem = self._problem(rise_uj, elapsed_s)
        if problem is None:
            self.energy_uj += rise_uj if rise_uj >= 0 else rise_uj + self.range_uj
            return None
        self._count(problem)
        return problem

    def lose(self, reason: str) -> str:
        """Note that the counter could not be read: what it counted meanwhile is lost."""
        self._last = None
        self._count(reason)
        return reason

    def _count(self, reason: str) -> None:
        self.losses, self.reason = self.losses + 1, reason

    def _problem(self, rise_uj: float, elapsed_s: float) -> str | None:
        """Return why a rise says nothing about joules.

        A wrap and a jump back look alike. What tells them apart is the power that a wrap would
        mean; it can do so only while the range is more than ``max_w`` fills in the time.
        """
        back = f"the counter went back by {-rise_uj * _MICRO:.6g} J"
        if math.isinf(self.range_uj):
            return back if rise_uj < 0 else None
        if elapsed_s * self.max_w > self.range_uj * _MICRO:
            return (
                f"not read for {elapsed_s:.3g} s, in which a counter of "
                f"{self.range_uj * _MICRO:.6g} J may have wrapped more than once"
            )
        gain_j = (rise_uj % self.range_uj) * _MICRO
        if gain_j > TOLERATED_POWER * self.max_w * (elapsed_s + TOLERATED_S):
            meant = f"would mean {gain_j:.6g} J in {elapsed_s:.3g} s, at most {self.max_w:g} W"
            return f"{back}, and a wrap {meant}" if rise_uj < 0 else f"the counter's rise {meant}"
        return None


def counts(tallies: Mapping[str, Tally], failures: Mapping[str, str]) -> Counts:
    """Return what a meter answers: joules of what did not fail, and every loss so far."""
    return Counts(
        {name: t.energy_uj * _MICRO for name, t in tallies.items() if name not in failures},
        failures,
        {name: (t.losses, t.reason) for name, t in tallies.items() if t.losses},
    )


def said(err: Exception) -> str:
    """Return an exception as a reason."""
    return f"{type(err).__name__}: {err}".rstrip(". ")
