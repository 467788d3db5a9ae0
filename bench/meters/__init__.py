"""What the harness asks of a meter, and several meters read as one.

A meter is a *cumulative* joule counter per component. Differences are taken in one place
(``bench.measurement``), so overlapping spans cost nothing and a wrap-around is undone inside the
meter that knows its range. A reading that fails is absent from the answer, with its reason in
``Counts.failures``: it is never zero and never an estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.records import Grade, Reading


class MeterError(RuntimeError):
    """A meter that was asked for cannot be read; the message says why and how to mend it."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One component that a meter reads.

    Attributes:
        component: ``cpu:0``, ``gpu:0``, ``dram:0``, ``ram:0``, ``soc:0``, ...
        source: Name of the sensor or model, e.g. ``zeus.rapl`` or ``codecarbon.cpu_load``.
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
    """

    energy_j: Mapping[str, float]
    failures: Mapping[str, str] = field(default_factory=dict)


class Meter(Protocol):
    """A cumulative joule counter. Implementations are dataclasses whose fields are the knobs."""

    name: str

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


def difference(
    meter: str, channels: tuple[Channel, ...], start: Counts, end: Counts
) -> tuple[Reading, ...]:
    """Return what each channel counted between two readings.

    A channel that failed at either end, or whose counter went backwards, gives a reading without
    joules and with the reason.
    """
    readings = []
    for channel in channels:
        name = channel.component
        energy_j, reason = None, start.failures.get(name) or end.failures.get(name)
        if reason is None and (name not in start.energy_j or name not in end.energy_j):
            reason = "not read"
        if reason is None:
            delta_j = end.energy_j[name] - start.energy_j[name]
            if delta_j < 0:
                reason = f"the counter went back by {-delta_j:.6g} J"
            else:
                energy_j = delta_j
        readings.append(Reading(meter, name, channel.source, channel.grade, energy_j, reason))
    return tuple(readings)
