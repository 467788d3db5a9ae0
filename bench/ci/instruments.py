"""What can be measured on this host, and one window of it.

Counted joules lead. Without a counter CPU-seconds do: of all that a shared runner can tell they
move least with what others do, and they are named as what they are. Joules are never modelled here.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass

from bench import machine
from bench.ci.instructions import Instructions
from bench.ci.results import MeasureName
from bench.measurement import Gauge, Span
from bench.measurement.conditions import Bounds
from bench.measurement.figures import CPU, WALL, Figure, available
from bench.measurement.protocol import Protocol
from bench.meters import MeterError, Meters
from bench.meters.counters import Counters
from bench.readings import Grade

WANTED = ("auto", "energy_j", "cpu_s", "wall_s", "instructions")
"""What ``--joules-measure`` takes."""

MACHINE_WIDE: tuple[MeasureName, ...] = ("energy_j", "wall_s")
"""What others on the machine are charged to, too: no business of a busy host."""

_NO_COUNTER = "no energy counter on this host (python -m bench.doctor says why)"

_CPU = "cpu:"
"""How the name of a package begins that has a counter; without one, ``cpu`` is what is missing."""


@dataclass(frozen=True, slots=True)
class Taken(Span):
    """A window, with what else was counted during it.

    Attributes:
        instructions: Retired in user mode by this process; ``None`` if nobody counted them.
    """

    instructions: int | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """What is compared.

    Attributes:
        name: ``energy_j``, ``cpu_s``, ``wall_s`` or ``instructions``.
        scope: Components added up, or what the seconds or instructions are of.
        source: Meter; ``clock``, or ``perf_event``.
        grade: Of the joules; ``none`` for all else.
        note: Why it is not joules; ``None`` if it is.
    """

    name: MeasureName
    scope: str
    source: str
    grade: Grade
    note: str | None = None

    @classmethod
    def of_figure(cls, figure: Figure, note: str | None = None) -> Measure:
        """Return a figure of ``bench.measurement`` as a measure."""
        return cls(figure.measure, figure.scope, figure.source, figure.grade, note)

    def of(self, span: Span) -> float | None:
        """Return its figure of a window; ``None`` if it could not be read."""
        if self.name == "instructions":
            count = span.instructions if isinstance(span, Taken) else None
            return None if count is None else float(count)
        return Figure(self.name, self.scope, self.source, self.grade).of(span)


@dataclass
class Instruments:
    """What a side measures with; open until ``close``.

    Attributes:
        measure: What is compared.
        gauge: Clock and meters.
        counter: Of instructions; ``None`` unless they are the measure.
    """

    measure: Measure
    gauge: Gauge
    counter: Instructions | None = None

    @classmethod
    def open(cls, wanted: str) -> Instruments:
        """Open what is wanted; ``auto`` takes counted joules, else CPU-seconds.

        Where a CPU has a counter that this user may not read, the joules of all else are not what
        a test costs: ``auto`` does not take them.

        Args:
            wanted: One of ``WANTED``.

        Raises:
            MeterError: Joules are asked for, and no counter can be read.
            InstructionsError: Likewise, instructions.
        """
        counters = Counters()
        read = (counters,) if wanted in ("auto", "energy_j") else ()
        try:
            meters = Meters(read, required=wanted == "energy_j").__enter__()
        except MeterError as err:
            raise MeterError(
                f"--joules-measure={wanted}: no counter can be read; cpu_s needs none. {err}"
            ) from err
        gauge = Gauge(meters, synchronise)
        leading = available(meters.channels)[0]
        closed = [
            f"the counter of {name} cannot be read: {why}"
            for name, why in counters.missing.items()
            if name.startswith(_CPU) and wanted == "auto"
        ]
        if leading.measure == "energy_j" and not closed:
            return cls(Measure.of_figure(leading), gauge)
        if wanted == "instructions":
            measure = Measure("instructions", "this process", "perf_event", "none", "asked for")
            return cls(measure, gauge, Instructions.open())
        if wanted == "wall_s":
            return cls(Measure.of_figure(WALL, "asked for"), gauge)
        meters.__exit__()  # what is left counts for nothing, and is no reason to discard a window
        note = "; ".join(closed) or _NO_COUNTER
        return cls(Measure.of_figure(CPU, note if read else "asked for"), gauge)

    def take(self, work: Callable[[], None]) -> Taken:
        """Do the work, and return what was read around it."""
        counted = None
        with self.gauge.span("window") as found:
            begun = None if self.counter is None else self.counter.read()
            work()
            if self.counter is not None and begun is not None:
                counted = self.counter.read().since(begun)
        self.gauge.spans.clear()  # a session keeps them as its trace; nobody asks for ours
        span = found[0]
        parts = {field.name: getattr(span, field.name) for field in dataclasses.fields(Span)}
        if self.measure.name not in MACHINE_WIDE:  # nor is a GPU that somebody else works on
            parts["host"] = dataclasses.replace(span.host, gpu_foreign={})
        return Taken(**parts, instructions=counted)

    def bounds(self, protocol: Protocol) -> Bounds:
        """Return what windows are held against.

        As others on the machine stop, the same work is done in less time: no reason to discard a
        window of which only the process's own seconds or instructions count.
        """
        if self.measure.name not in MACHINE_WIDE:
            protocol = dataclasses.replace(protocol, window_s=protocol.window_s / 100)
        return Bounds(protocol, {k: s for k, s in self._steps_s().items() if s > 0})

    def window_s(self, protocol: Protocol) -> float:
        """Return the protocol's window, or a longer one if a counter ticks too slowly for it."""
        slowest_s = max(self._steps_s().values(), default=0.0)
        return max(protocol.window_s, protocol.min_ticks * slowest_s)

    def _steps_s(self) -> dict[tuple[str, str], float]:
        channels = self.gauge.meters.channels
        return {(m, c.component): c.step_s for m, found in channels.items() for c in found}

    def close(self) -> None:
        """Close meters and counter."""
        self.gauge.meters.__exit__()
        if self.counter is not None:
            self.counter.close()
            self.counter = None


def synchronise() -> None:
    """Wait until torch's device is done, if the test has brought torch along."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()


@functools.cache
def host_class() -> str:
    """Return what two hosts must share for their figures to be compared: CPU and threads."""
    cpu = machine.cpu()
    cores = machine.cpu_limit_cores()
    limit = "" if cores is None else f", limited to {cores:g} cores"
    return f"{cpu['model'] or 'unknown CPU'}, {cpu['usable_threads'] or '?'} threads{limit}"
