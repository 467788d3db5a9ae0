"""A wall meter (grade A): what a PDU, a smart plug or an analyser writes to a log, over our spans.

The log lags behind by a sample. So ``read`` only notes the time, which costs nothing, and the
joules are worked out in ``settled`` when the span's clock has stopped: it waits until the log has
passed the end of the span. The log's clock is compared with ours whenever a line is seen to arrive.

A meter at the wall counts everything behind it: the one component is ``wall``, and it contains
what the counters of the same machine count.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.meters import RIG_VARIABLES, Channel, Counts, MeterError
from bench.meters.wall.log import Layout, Log, LogError
from bench.readings import Grade

# Month first: so MLCommons' power-dev (compliance/check.py) reads what PTDaemon writes.
_PTDAEMON_TIME = "%m-%d-%Y %H:%M:%S.%f"
_PRESETS = {
    "plain": {"time": "time", "power": "power_w", "format": "epoch_s"},
    "ptdaemon": {"time": "Time", "power": "Watts", "format": _PTDAEMON_TIME},
}
_LOOK_EVERY_S = 0.02  # only while waiting, never inside a span
_FEWEST_SAMPLES = 3


@dataclass
class Wall:
    """A power meter's log that is written while we measure.

    Attributes:
        log: The file.
        layout: ``plain``: the first line names the columns; ``ptdaemon``: ``Time,..,Watts,..``.
        time_column: Name of the column of times; ``None``: the layout's.
        power_w_column: Name of the column of watts; ``None``: the layout's.
        energy_j_column: Name of a column of cumulative joules, which is then read instead.
        time_format: ``epoch_s``, ``iso8601`` or a pattern of ``strptime``; ``None``: the layout's.
            Times without a zone are local.
        clock_offset_s: Seconds to add to the log's times to get ours.
        max_clock_error_s: Most that a line's time may differ from ours when it arrives.
        max_lag_s: Longest wait for the log to pass the end of a span; at least two of its periods.
        device: What writes it; the source is ``wall.<device>``. ``None``: the layout's name.
        name: ``wall``.
        missing: Empty: it has one component or cannot be opened.
    """

    log: str | None = None
    layout: str = "plain"
    time_column: str | None = None
    power_w_column: str | None = None
    energy_j_column: str | None = None
    time_format: str | None = None
    clock_offset_s: float = 0.0
    max_clock_error_s: float = 0.8
    max_lag_s: float = 5.0
    device: str | None = None
    name: str = field(default="wall", init=False)
    missing: dict[str, str] = field(default_factory=dict, init=False)
    _log: Log | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.layout not in _PRESETS:
            choices = " or ".join(_PRESETS)
            raise ValueError(f"meter.wall.layout={self.layout!r} should be {choices}")
        if self.power_w_column and self.energy_j_column:
            raise ValueError(
                f"meter.wall.power_w_column={self.power_w_column!r} and energy_j_column="
                f"{self.energy_j_column!r}: one of them is read, leave the other null"
            )
        for knob in ("max_clock_error_s", "max_lag_s"):
            if not getattr(self, knob) > 0:
                raise ValueError(f"meter.wall.{knob}={getattr(self, knob)!r} should be above 0")

    def open(self) -> tuple[Channel, ...]:
        """Wait for the log's next line, and compare its clock with ours.

        Raises:
            MeterError: There is no log, it is not being written, or its clock is not ours.
        """
        self.close()
        if self.log is None:
            raise MeterError(
                "meter.wall.log is not set: name the CSV file that the power meter's logger writes "
                "(meter.wall.log=power.csv); its columns are meter.wall.time_column and "
                "power_w_column or energy_j_column"
            )
        self._log = log = Log(Path(self.log), self._layout(), self.clock_offset_s)
        try:
            log.open()
            error_s = self._first_error_s(log)
        except (OSError, LogError) as err:
            self.close()
            said = str(err) if self.log in str(err) else f"{self.log}: {err}"
            raise MeterError(f"meter.wall.log={self.log!r} cannot be used: {said}") from err
        return (self._channel(log, error_s),)

    def read(self) -> Counts:
        """Return the time; ``settled`` returns the joules."""
        return Counts({}, at_s=time.time())

    def settled(self, start: Counts, end: Counts, wait: bool) -> tuple[Counts, Counts]:
        """Return the joules between two readings, once the log has got that far."""
        if self._log is None or start.at_s is None or end.at_s is None:
            return start, end
        try:
            self._follow(self._log, end.at_s, wait)
            energy_j = self._log.joules(start.at_s, end.at_s)
        except LogError as err:
            return start, Counts({}, {"wall": str(err)}, at_s=end.at_s)
        return Counts({"wall": 0.0}, at_s=start.at_s), Counts({"wall": energy_j}, at_s=end.at_s)

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def _layout(self) -> Layout:
        preset = _PRESETS[self.layout]
        return Layout(
            self.time_column or preset["time"],
            self.energy_j_column or self.power_w_column or preset["power"],
            self.time_format or preset["format"],
            cumulative=self.energy_j_column is not None,
            paired=self.layout == "ptdaemon",
        )

    def _channel(self, log: Log, error_s: float) -> Channel:
        rigged = any(variable in os.environ for variable in RIG_VARIABLES.values())
        grade: Grade = "S" if rigged or log.simulated else "A"
        detail: dict[str, Any] = {
            "log": self.log,
            "layout": self.layout,
            "column": log.layout.value_column,
            "period_s": round(log.period_s, 4),
            "clock_offset_s": self.clock_offset_s,
            "clock_error_s": round(error_s, 3),
            "rule": "trapezoid, edges interpolated",
        }
        return Channel("wall", f"wall.{self.device or self.layout}", grade, log.period_s, detail)

    def _first_error_s(self, log: Log) -> float:
        """Wait until a line arrives; return how far its clock is from ours."""
        deadline_s = time.monotonic() + self.max_lag_s
        arrived = False
        while not (arrived and len(log.times_s) >= _FEWEST_SAMPLES):
            if time.monotonic() > deadline_s:
                raise LogError(
                    f"{len(log.times_s)} samples, {'few' if arrived else 'none'} of them arrived "
                    f"in meter.wall.max_lag_s={self.max_lag_s:g}. Is its writer running, and does "
                    "it flush every line? For a slow one raise it above two sampling periods"
                )
            time.sleep(_LOOK_EVERY_S)
            arrived |= log.update()
            if log.broken:
                raise LogError(log.broken)
        if self.max_lag_s < 2 * log.period_s:
            raise LogError(
                f"it samples every {log.period_s:.3g} s: meter.wall.max_lag_s={self.max_lag_s:g} "
                "should be at least twice that"
            )
        self._check_clock(log, just_arrived=True)
        return time.time() - log.times_s[-1]

    def _follow(self, log: Log, until_s: float, wait: bool) -> None:
        """Read on until the log has passed a time, or for ``max_lag_s``."""
        just_arrived = False
        while True:
            if log.update():
                self._check_clock(log, just_arrived)
            passed = bool(log.times_s) and log.times_s[-1] >= until_s
            if passed or log.broken or not wait or time.time() > until_s + self.max_lag_s:
                return
            time.sleep(_LOOK_EVERY_S)
            just_arrived = True

    def _check_clock(self, log: Log, just_arrived: bool) -> None:
        """Refuse a log whose clock is not ours.

        Args:
            log: The log.
            just_arrived: Whether the newest line is known to be as young as the last look; else it
                may be older and can only be found to lie in the future.
        """
        error_s = time.time() - log.times_s[-1]
        if -self.max_clock_error_s <= error_s and (
            error_s <= self.max_clock_error_s or not just_arrived
        ):
            return
        where = "behind" if error_s > 0 else "ahead of"
        raise LogError(
            f"its clock is {abs(error_s):.2f} s {where} ours, more than "
            f"meter.wall.max_clock_error_s={self.max_clock_error_s:g}. Set both by NTP, or "
            f"meter.wall.clock_offset_s={self.clock_offset_s + error_s:.2f}; if the time zone or "
            "the order of day and month differ, meter.wall.time_format; if lines come in "
            "bundles, let the writer flush each"
        )
