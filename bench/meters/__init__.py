"""What the harness asks of a meter, and several meters read as one.

A meter is a *cumulative* joule counter per component. Differences are taken in one place
(``bench.measurement``), so overlapping spans cost nothing and a wrap-around is undone inside the
meter that knows its range. A reading that fails is absent from the answer, with its reason in
``Counts.failures``: it is never zero and never an estimate.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from bench.readings import Grade, Reading

RIG_VARIABLES: Mapping[str, str] = {
    "cpu": "RAPL_RIG",
    "dram": "RAPL_RIG",
    "gpu": "FAKE_NVML_PROFILE",
}
"""Environment variables that the simulated sensors of the tests set, by kind of component."""


class MeterError(RuntimeError):
    """A meter that was asked for cannot be read; the message says why and how to mend it."""


def counter_grade(component: str, device: str = "") -> Grade:
    """Return the grade of a hardware counter: B, or S where its sensor is simulated.

    Args:
        component: What the counter counts; ``cpu`` in ``cpu:0`` is its kind.
        device: The device's own name: the simulated GPU calls itself a fake.
    """
    variable = RIG_VARIABLES.get(component.partition(":")[0], "")
    return "S" if variable in os.environ or "fake" in device.lower() else "B"


@dataclass(frozen=True, slots=True)
class Channel:
    """One component that a meter reads.

    Attributes:
        component: ``cpu:0``, ``gpu:0``, ``dram:0``, ``ram:0``, ``soc:0``, ...
        source: Name of the sensor or model, e.g. ``rapl`` or ``codecarbon.cpu_load``.
        grade: How its joules are obtained.
        step_s: Longest time between two updates of the counter, in seconds; 0 if unknown.
        detail: Constants of a model, paths of a counter: whatever a reader needs to judge it.
    """

    component: str
    source: str
    grade: Grade
    step_s: float = 0.0
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counts:
    """Joules since some origin, per component.

    Attributes:
        energy_j: Cumulative joules of each component that could be read.
        failures: Component to reason, for each that could not.
        breaks: Component to how often it has lost joules since the origin, and why the last time. A
            span during which that number rose has no joules, even if it was read well at both ends.
        at_s: Epoch seconds of the reading, of a meter whose joules come later (``LateMeter``).
    """

    energy_j: Mapping[str, float]
    failures: Mapping[str, str] = field(default_factory=dict)
    breaks: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    at_s: float | None = None


class Meter(Protocol):
    """A cumulative joule counter. Implementations are dataclasses whose fields are the knobs."""

    name: str
    missing: dict[str, str]
    """Devices of its kind that it cannot read, with the reason; filled by ``open``."""

    def open(self) -> tuple[Channel, ...]:
        """Start reading and return what can be read, at least one channel.

        Raises:
            MeterError: Nothing can be read here. The message names the file, permission or library
                that is missing and the command or knob that mends it.
        """
        ...

    def read(self) -> Counts:
        """Return cumulative joules now. Must be cheap, and must not look anything up."""
        ...

    def close(self) -> None:
        """Stop threads and processes; reading again needs ``open``. Closing twice is harmless."""
        ...


@runtime_checkable
class LateMeter(Protocol):
    """A meter whose joules somebody else writes down, and later: ``read`` notes the time only."""

    name: str

    def settled(self, start: Counts, end: Counts, wait: bool) -> tuple[Counts, Counts]:
        """Return both readings with their joules.

        Called when the span's clock has stopped, so that waiting costs nobody anything.

        Args:
            start: What ``read`` returned at the start of a span.
            end: At its end.
            wait: Whether to wait for joules that are not there yet; else they are missing.
        """
        ...


def difference(
    meter: str, channels: tuple[Channel, ...], start: Counts, end: Counts
) -> tuple[Reading, ...]:
    """Return what each channel counted between two readings.

    A channel that failed at either end, whose counter went backwards or lost joules in between
    gives a reading without joules and with the reason.
    """
    readings = []
    for channel in channels:
        name = channel.component
        energy_j, reason = None, start.failures.get(name) or end.failures.get(name)
        if reason is None and (name not in start.energy_j or name not in end.energy_j):
            reason = "not read"
        if reason is None and start.breaks.get(name) != end.breaks.get(name):
            reason = end.breaks[name][1] if name in end.breaks else "the meter was reopened"
        if reason is None:
            delta_j = end.energy_j[name] - start.energy_j[name]
            if delta_j < 0:
                reason = f"the counter went back by {-delta_j:.6g} J"
            else:
                energy_j = delta_j
        readings.append(Reading(meter, name, channel.source, channel.grade, energy_j, reason))
    return tuple(readings)


@dataclass
class Meters:
    """Several meters read as one.

    Attributes:
        meters: Fastest to read first: the fastest is read nearest to the clock.
        required: Whether a meter that cannot be opened is an error, or only named.
        channels: What each opened meter reads, by its name.
        unavailable: Why the others could not be opened, by their name; of those that could, which
            devices they lack, as ``<meter>/<component>``.
    """

    meters: tuple[Meter, ...]
    required: bool
    channels: dict[str, tuple[Channel, ...]] = field(default_factory=dict, init=False)
    unavailable: dict[str, str] = field(default_factory=dict, init=False)

    def __enter__(self) -> Meters:
        """Open what can be opened.

        Raises:
            MeterError: A meter cannot be opened and ``required`` is set.
        """
        self.unavailable.clear()
        for meter in self.meters:
            try:
                self.channels[meter.name] = meter.open()
                self.unavailable |= {f"{meter.name}/{k}": v for k, v in meter.missing.items()}
            except MeterError as err:
                if self.required:
                    self.__exit__()
                    raise
                self.unavailable[meter.name] = str(err)
        return self

    def __exit__(self, *_: object) -> None:
        """Close what was opened."""
        for meter in self._open:
            meter.close()
        self.channels.clear()

    @property
    def _open(self) -> list[Meter]:
        return [meter for meter in self.meters if meter.name in self.channels]

    def read(self, slowest_first: bool) -> dict[str, Counts]:
        """Return what every open meter has counted so far.

        Args:
            slowest_first: True at the start of a span, so that the slow meters' own work lies
                before it; False at its end, so that it lies behind.
        """
        order = reversed(self._open) if slowest_first else iter(self._open)
        return {meter.name: meter.read() for meter in order}

    def between(
        self, start: Mapping[str, Counts], end: Mapping[str, Counts], wait: bool = True
    ) -> tuple[Reading, ...]:
        """Return every channel's joules between two answers of ``read``.

        Args:
            start: The first answer.
            end: The second.
            wait: Whether meters whose joules come late may take their time.
        """
        late = {meter.name: meter for meter in self._open if isinstance(meter, LateMeter)}
        readings: list[Reading] = []
        for name, channels in self.channels.items():
            ends = start[name], end[name]
            if name in late:
                ends = late[name].settled(*ends, wait)
            readings.extend(difference(name, channels, *ends))
        return tuple(readings)
