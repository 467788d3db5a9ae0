"""Spans of work and what they cost: the only place where a counter is read.

    meters   |<----------------------------- span --------------------------->|
    clock         |<------------------------ wall ---------------------->|
    device sync   |                     nothing of ours                  |sync

    host   |<------------------------------- span --------------------------------->|

At the start of a span the slow meters are read first and the clock last, at its end the clock first
and the slow meters last, so that our own reading lies outside the clock's span and costs the
counters only the time of one read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench import machine
from bench.meters import Counts, Meters
from bench.readings import Phase, Reading


@dataclass(frozen=True, slots=True)
class Span:
    """What was read around a stretch of work.

    Attributes:
        name: ``idle``, ``warmup``, ``window``, or a phase.
        start_ns: CLOCK_MONOTONIC.
        end_ns: Likewise.
        cpu_s: CPU-seconds of the process tree.
        readings: Joules by meter and component.
        steal_share: Share of all cores that the hypervisor kept, in [0, 1]; ``None`` if unknown.
        foreign_share: Share of all cores that other processes used; ``None`` if unknown.
        host: Temperatures, throttling, others' work on the GPU.
    """

    name: str
    start_ns: int
    end_ns: int
    cpu_s: float
    readings: tuple[Reading, ...]
    steal_share: float | None
    foreign_share: float | None
    host: machine.Circumstances = field(default_factory=machine.Circumstances)

    @property
    def wall_s(self) -> float:
        """Seconds between the two clock reads."""
        return (self.end_ns - self.start_ns) * 1e-9

    def as_phase(self, items: float = 0) -> Phase:
        """Return what the record keeps of it."""
        return Phase(self.wall_s, self.cpu_s, self.readings, items)


@dataclass(frozen=True, slots=True)
class _Edge:
    at_ns: int
    cpu_s: float
    load: machine.HostLoad
    counts: Mapping[str, Counts]
    state: machine.HostState


@dataclass
class Gauge:
    """Clock, CPU time, host load and meters, read together.

    Attributes:
        meters: Opened meters.
        synchronise: Waits until the device is done; called before the clock at both ends.
        spans: Every span measured so far, in order: the trace.
    """

    meters: Meters
    synchronise: Callable[[], None]
    spans: list[Span] = field(default_factory=list)
    _open: list[_Edge] = field(default_factory=list, init=False)

    @contextmanager
    def span(self, name: str, wait: bool = True) -> Iterator[list[Span]]:
        """Measure the block; the span stands in the list that is given once the block has ended.

        A block that raises is measured by nobody.

        Args:
            name: Of the span.
            wait: Whether to wait for joules that come late; else those are missing.
        """
        result: list[Span] = []
        self._open.append(self._start())
        try:
            yield result
            result.append(self._stop(name, self._open[-1], wait))
        finally:
            self._open.pop()
        self.spans.append(result[0])

    def so_far(self) -> tuple[Reading, ...]:
        """Return what the innermost open span has cost until now; a read costs about a millisecond.

        For the progress of long phases. Never called inside a window.
        """
        now = self.meters.read(slowest_first=False)
        return self.meters.between(self._open[-1].counts, now, wait=False)

    def _start(self) -> _Edge:
        self.synchronise()  # what was queued before is charged to nobody
        state = machine.HostState.read()
        counts = self.meters.read(slowest_first=True)
        load = machine.HostLoad.read()
        cpu_s = machine.cpu_seconds()
        return _Edge(time.monotonic_ns(), cpu_s, load, counts, state)

    def _stop(self, name: str, start: _Edge, wait: bool) -> Span:
        self.synchronise()
        end_ns = time.monotonic_ns()
        cpu_s = machine.cpu_seconds() - start.cpu_s
        load = machine.HostLoad.read()  # before the meters, whose work would pass for foreign
        counts = self.meters.read(slowest_first=False)
        state = machine.HostState.read()  # now: joules of a wall meter's log may be waited for
        return Span(
            name,
            start.at_ns,
            end_ns,
            cpu_s,
            self.meters.between(start.counts, counts, wait),
            load.steal_share(start.load),
            load.foreign_share(start.load, cpu_s),
            state.since(start.state),
        )
