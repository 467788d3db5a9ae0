"""A joule and how it was obtained."""

from __future__ import annotations

import dataclasses
import re
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


ELSEWHERE = re.compile(r"(made|searched) on .+ and measured on .+")
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
