"""Hardware energy counters of CPU package, DRAM, GPU and SoC: whatever this machine has.

Nothing is modelled: a device whose counter cannot be read is named in ``missing`` with its reason.
The components of this meter never contain one another, so that they may be added: ``psys`` zones
and a Jetson's separate rails are left out where they would be counted twice.

A reading that fails, a counter that runs backwards or stands too high for the time, or was not
looked at for too long has lost joules: every span around that has none, and says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.util import Finalize
from typing import Protocol

from bench.meters import Channel, Counts, MeterError
from bench.meters.counters import devices, rapl


class _Part(Protocol):
    @property
    def channels(self) -> Sequence[Channel]: ...
    def read(self) -> Counts: ...
    def close(self) -> None: ...


@dataclass
class Counters:
    """Every hardware energy counter that this machine has.

    Attributes:
        name: ``counters``.
        missing: Devices that cannot be read, with the reason and the way out.
    """

    name: str = field(default="counters", init=False)
    missing: dict[str, str] = field(default_factory=dict, init=False)
    _parts: list[_Part] = field(default_factory=list, init=False, repr=False)
    _at_exit: Finalize | None = field(default=None, init=False, repr=False)

    def open(self) -> tuple[Channel, ...]:
        """Find the counters, and start what follows them.

        Raises:
            MeterError: No counter can be read; the message says why for every kind of device.
        """
        self.close()
        self.missing.clear()
        # A Jetson is followed in a child process that is no daemon. A process that multiprocessing
        # started waits for such children: without this it would hang if an error skipped close().
        self._at_exit = Finalize(None, self.close, exitpriority=1)
        sensors = devices.gpus(self.missing) + devices.chips(self.missing)
        self._parts += [sensor for sensor in sensors if self._answers(sensor)]
        # Last, so that it is read nearest to the clock at the start of a span: it is the fastest.
        if zones := rapl.discover(self.missing):
            self._parts.append(rapl.Rapl(zones))
        if not self._parts:
            self.close()
            reasons = "\n".join(f"  {device}: {reason}" for device, reason in self.missing.items())
            raise MeterError(
                "meter.counters: this machine has no energy counter that can be read. Mend one of "
                f"these, or choose meter=all or meter=none:\n{reasons}"
            )
        return tuple(channel for part in self._parts for channel in part.channels)

    def read(self) -> Counts:
        """Return cumulative joules now; a device that fails is in ``failures`` with its reason."""
        answers = [part.read() for part in self._parts]
        return Counts(
            {name: joules for a in answers for name, joules in a.energy_j.items()},
            {name: reason for a in answers for name, reason in a.failures.items()},
            {name: lost for a in answers for name, lost in a.breaks.items()},
        )

    def close(self) -> None:
        """End threads and child processes."""
        parts, self._parts = self._parts, []
        for part in parts:
            part.close()
        if self._at_exit is not None:
            self._at_exit.cancel()
            self._at_exit = None

    def _answers(self, sensor: devices.Sensor) -> bool:
        """Return whether a first reading succeeds; if not, say why in ``missing``."""
        failures = sensor.read().failures
        if failures:
            sensor.close()
            source = sensor.channels[0].source
            hint = ". meter=polled integrates its power instead" if source == "nvml" else ""
            self.missing |= {n: f"{source} cannot be read: {r}{hint}" for n, r in failures.items()}
        return not failures
