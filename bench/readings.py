"""A joule and how it was obtained."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Grade = Literal["A", "B", "C", "S", "none"]
"""How a joule was obtained: wall meter, hardware counter, model, synthetic (tests), not at all."""

MEASURED_GRADES: frozenset[str] = frozenset({"A", "B"})
"""Grades that may carry a headline."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Joules of one component over one phase or window.

    Attributes:
        meter: Name of the meter, e.g. ``counters``.
        component: What was metered, e.g. ``cpu:0``, ``gpu:1``, ``dram:0``.
        source: Where the figure comes from, e.g. ``rapl``, ``codecarbon.cpu_load``.
        grade: How it was obtained.
        energy_j: Joules, gross; ``None`` if the reading failed.
        reason: Why ``energy_j`` is missing; ``None`` when it is there.
    """

    meter: str
    component: str
    source: str
    grade: Grade
    energy_j: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """One accounted span of work.

    Attributes:
        wall_s: Seconds on a monotonic clock.
        cpu_s: CPU-seconds of the process tree.
        readings: Joules by meter and component.
        items: Samples processed (training examples, inferences), or what stands for them, such as
            seconds of audio; 0 where that means nothing.
    """

    wall_s: float
    cpu_s: float
    readings: tuple[Reading, ...] = ()
    items: float = 0


def total(phases: Iterable[Phase]) -> Phase:
    """Return phases as one; what took no time and was not read counts for none.

    Joules of the same meter and component are added; what one of the phases lacks is missing in
    the sum, with its reason, and so is what came from two sources: half a sum is no sum.
    """
    taken = [phase for phase in phases if phase.wall_s > 0 or phase.readings]
    keys = dict.fromkeys((r.meter, r.component) for phase in taken for r in phase.readings)
    return Phase(
        sum(phase.wall_s for phase in taken),
        sum(phase.cpu_s for phase in taken),
        tuple(_sum(meter, component, taken) for meter, component in keys),
    )


def _sum(meter: str, component: str, phases: Sequence[Phase]) -> Reading:
    found = [
        reading
        for phase in phases
        for reading in phase.readings
        if (reading.meter, reading.component) == (meter, component)
    ]
    first = found[0]
    origins = {(reading.source, reading.grade) for reading in found}
    reason = next((r.reason or "not read" for r in found if r.energy_j is None), None)
    if len(origins) > 1:
        reason = f"read from {' and '.join(sorted(source for source, _ in origins))}"
    elif len(found) < len(phases):
        reason = f"not read in {len(phases) - len(found)} of {len(phases)} phases"
    energies_j = [reading.energy_j for reading in found if reading.energy_j is not None]
    energy_j = None if reason is not None else sum(energies_j)
    return Reading(meter, component, first.source, first.grade, energy_j, reason)


def joules(readings: Iterable[Reading], meter: str, grade: Grade, scope: str) -> float | None:
    """Return the joules of one meter and grade; ``None`` unless all that it covers was read.

    Args:
        readings: Of one phase or window.
        meter: Name of the meter.
        grade: Of the joules.
        scope: Components, joined by ``+``. Of each kind at least one must be there: a training may
            take two GPUs where serving takes one, but not do without the processor's joules.
    """
    found = [r for r in readings if (r.meter, r.grade) == (meter, grade)]
    energies_j = [reading.energy_j for reading in found]
    if None in energies_j or not _kinds(scope.split("+")) <= _kinds(r.component for r in found):
        return None
    return sum(energy_j for energy_j in energies_j if energy_j is not None)


def _kinds(components: Iterable[str]) -> set[str]:
    return {component.partition(":")[0] for component in components}


@dataclass(frozen=True, slots=True)
class Logged:
    """One logged point of a training.

    Attributes:
        stage: What was trained: ``train``, or the label of a technique's stage.
        step: Optimiser steps done in this stage.
        loss: Mean training loss since the point before, in nats; ``None`` at a validation.
        learning_rate: At this step; ``None`` at a validation.
        metric: The workload's, on the validation part; ``None`` elsewhere.
        wall_s: Seconds since the stage began, in a training that was interrupted since it went on.
        readings: Joules since then.
        validation_loss: Mean loss on the validation part, in nats; ``None`` elsewhere.
    """

    stage: str
    step: int
    loss: float | None
    learning_rate: float | None
    metric: float | None
    wall_s: float
    readings: tuple[Reading, ...]
    validation_loss: float | None = None


_Timed = TypeVar("_Timed", Phase, Logged)


def uncounted(part: _Timed, reason: str) -> _Timed:
    """Return a phase, or a point of a training, whose joules are missing for a reason."""
    readings = tuple(
        dataclasses.replace(reading, energy_j=None, reason=reason) for reading in part.readings
    )
    return dataclasses.replace(part, readings=readings)


ELSEWHERE = re.compile(r"(made|searched) on .+ and measured on (?P<here>[^:]+): ")
"""A reason that ``elsewhere`` gave."""


def elsewhere(done: str, there: str, here: str) -> str:
    """Return why what was done on one machine is not held against what is measured on another.

    Args:
        done: ``made`` or ``searched``.
        there: Name of the machine that did it.
        here: Of the one that measures.
    """
    return f"{done} on {there} and measured on {here}: joules of two machines are not held together"


def is_elsewhere(phase: Phase) -> bool:
    """Return whether a phase is without joules because another machine went through it."""
    return any(ELSEWHERE.match(reading.reason or "") for reading in phase.readings)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a training.

    Attributes:
        stage: What was trained: ``train``, or the label of a technique's stage.
        step: Optimiser steps done in this stage.
        kind: ``overfitting``, ``out_of_memory``, ``resumed`` or ``stopped``.
        text: What and why, for people.
    """

    stage: str
    step: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Overhead:
    """What measuring itself costs, from windows without work and from idling.

    Attributes:
        windows: Empty windows that were measured.
        wall_s: Seconds that an empty window is charged; median.
        cpu_s: CPU-seconds that an empty window is charged; median.
        readings: Joules that an empty window is charged, by meter and component; mean.
        edges_wall_s: Seconds that reading at both edges takes, outside the clock; median.
        edges_cpu_s: CPU-seconds of the same; median.
        cpu_share: CPU-seconds of harness and meters per second of idling, in cores.
    """

    windows: int
    wall_s: float
    cpu_s: float
    readings: tuple[Reading, ...]
    edges_wall_s: float
    edges_cpu_s: float
    cpu_share: float
