"""Polled power of NVIDIA GPUs, integrated by the trapezoid rule: for boards without a counter.

A source of its own, never added to a counter's joules. The sensor is a hardware one, hence grade B;
what it leaves out is said in the channel: A100 and H100 look at a quarter of the time only, and
NVML's older call is a mean over a second (arXiv 2312.02741). Every reading of the meter polls once
more, so that the integral's edges lie where the span's do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

from bench.meters import Channel, Counts, MeterError, counter_grade, nvml

SENSOR_S = 0.1
"""Longest seconds between two updates of a board's power sensor (arXiv 2312.02741)."""

GAP_PERIODS = 10
"""Polls that may be late in a row before the power in between counts as unknown."""

_NOTES = {
    "nvml.power_instant": "the sensor's own short average: 25 of every 100 ms on A100 and H100",
    "nvml.power_usage": "a mean over 1 s on Ampere and newer, but GA100",
}


def trapezoid_j(samples: list[tuple[float, float]], start_s: float, end_s: float) -> float | None:
    """Return the joules between two moments, the power at both interpolated.

    Args:
        samples: Seconds and watts, the seconds rising.
        start_s: Not before the first sample.
        end_s: Not after the last one, and after ``start_s``.

    Returns:
        ``None`` where fewer than two samples are given or they do not cover the span.
    """
    if len(samples) < 2 or not samples[0][0] <= start_s < end_s <= samples[-1][0]:
        return None
    energy_j = 0.0
    for (t0_s, w0), (t1_s, w1) in pairwise(samples):
        begin_s, stop_s = max(t0_s, start_s), min(t1_s, end_s)
        if begin_s < stop_s:
            slope = (w1 - w0) / (t1_s - t0_s)
            energy_j += (stop_s - begin_s) * (w0 + slope * ((begin_s + stop_s) / 2 - t0_s))
    return energy_j


@dataclass
class Integral:
    """The joules of one sensor so far.

    Attributes:
        longest_s: Seconds between two samples from which on the power in between is unknown.
        energy_j: Sum over all pairs of neighbouring samples.
        losses: How often there was a gap.
        reason: Why, the last time.
    """

    longest_s: float
    energy_j: float = 0.0
    losses: int = 0
    reason: str = ""
    _last: tuple[float, float] | None = field(default=None, repr=False)

    def add(self, at_s: float, power_w: float) -> None:
        """Take a sample."""
        last, self._last = self._last, (at_s, power_w)
        if last is None:
            return
        gap_s = at_s - last[0]
        if gap_s > self.longest_s:
            self._count(f"no sample for {gap_s:.3g} s, polled power is unknown in between")
        else:
            self.energy_j += trapezoid_j([last, (at_s, power_w)], last[0], at_s) or 0.0

    def lose(self, reason: str) -> None:
        """Note that there is no sample: the power since the last one is unknown."""
        self._last = None
        self._count(reason)

    def _count(self, reason: str) -> None:
        self.losses, self.reason = self.losses + 1, reason


@dataclass
class Polled:
    """Power of every visible NVIDIA GPU, polled by a thread.

    Attributes:
        period_s: Seconds between two polls; half a sensor's update period.
        only_without_counter: Leave out the GPUs that count their joules themselves.
        name: ``polled``.
        missing: GPUs whose power cannot be read, with the reason.
    """

    period_s: float = 0.05
    only_without_counter: bool = False
    name: str = field(default="polled", init=False)
    missing: dict[str, str] = field(default_factory=dict, init=False)
    _sensors: dict[str, Callable[[], float]] = field(default_factory=dict, init=False, repr=False)
    _integrals: dict[str, Integral] = field(default_factory=dict, init=False, repr=False)
    # Made by ``open``: a meter is configured in one process and read in another.
    _lock: Any = field(default=None, init=False, repr=False, compare=False)
    _closed: Any = field(default=None, init=False, repr=False, compare=False)
    _thread: threading.Thread | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0.001 <= self.period_s <= SENSOR_S:
            raise ValueError(
                f"meter.polled.period_s={self.period_s!r} should lie between 0.001 and {SENSOR_S}: "
                "more seldom than the sensor is updated, load that comes and goes is missed"
            )

    def open(self) -> tuple[Channel, ...]:
        """Find the sensors and start polling.

        Raises:
            MeterError: There is no power to poll; the message says why.
        """
        self.close()
        try:
            gpus, self.missing = nvml.visible()
        except MeterError as err:
            raise MeterError(f"meter.polled: {err}") from err
        wanted = [gpu for gpu in gpus if not (self.only_without_counter and _counts(gpu))]
        if gpus and not wanted:
            raise MeterError(
                "meter.polled: every visible GPU has an energy counter, which meter=counters reads"
            )
        channels = [channel for gpu in wanted if (channel := self._connect(gpu)) is not None]
        if not channels:
            told = "\n".join(f"  {name}: {reason}" for name, reason in self.missing.items())
            raise MeterError(f"meter.polled: no GPU tells its power:\n{told}")
        self._lock, self._closed = threading.Lock(), threading.Event()
        self.read()
        self._thread = threading.Thread(target=self._poll, name="polled", daemon=True)
        self._thread.start()
        return tuple(channels)

    def read(self) -> Counts:
        """Return cumulative joules up to now, from a sample that is taken now."""
        with self._lock:
            failures = self._sample()
            integrals = self._integrals.items()
            return Counts(
                {name: i.energy_j for name, i in integrals if name not in failures},
                failures,
                {name: (i.losses, i.reason) for name, i in integrals if i.losses},
            )

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._closed.set()
            self._thread.join()
            self._thread = None
        self._sensors.clear()
        self._integrals.clear()

    def _connect(self, gpu: nvml.Gpu) -> Channel | None:
        """Take the sharpest sensor that answers; else say in ``missing`` why there is none."""
        for source, power_w in nvml.POWER_SOURCES.items():
            try:
                _watts(power_w, gpu)
            except Exception as err:  # drivers raise anything
                self.missing[gpu.component] = f"{source} cannot be read: {_said(err)}"
                continue
            self.missing.pop(gpu.component, None)
            self._sensors[gpu.component] = partial(_watts, power_w, gpu)
            self._integrals[gpu.component] = Integral(GAP_PERIODS * self.period_s)
            detail = {"device": gpu.name, "period_s": self.period_s, "power": _NOTES[source]}
            grade = counter_grade(gpu.component, gpu.name)
            return Channel(gpu.component, source, grade, SENSOR_S, detail)
        return None

    def _poll(self) -> None:
        due_s = time.monotonic() + self.period_s
        while not self._closed.wait(max(0.0, due_s - time.monotonic())):
            with self._lock:
                self._sample()
            # A poll that came late shifts the next ones: they are not made up for in a burst.
            due_s = max(due_s + self.period_s, time.monotonic())

    def _sample(self) -> dict[str, str]:
        """Poll every sensor and return which failed, with the reason."""
        failures = {}
        for name, power_w in self._sensors.items():
            before_s = time.monotonic()
            try:
                watts = power_w()
            except Exception as err:  # drivers raise anything; a window must be discarded, not lost
                failures[name] = _said(err)
                self._integrals[name].lose(failures[name])
                continue
            self._integrals[name].add((before_s + time.monotonic()) / 2, watts)
        return failures


def _counts(gpu: nvml.Gpu) -> bool:
    try:
        return gpu.energy_j() > 0
    except Exception:  # as in Polled._sample: whatever it raises, there is no counter
        return False


def _watts(power_w: Callable[[nvml.Gpu], float], gpu: nvml.Gpu) -> float:
    """Return what a sensor says; no board that is on draws nothing."""
    watts = power_w(gpu)
    if not watts > 0:
        raise ValueError(f"the sensor said {watts:g} W")
    return watts


def _said(err: Exception) -> str:
    return f"{type(err).__name__}: {err}".rstrip(". ")
