"""What measuring itself costs: windows in which nothing happens, idling with the meters open."""

from __future__ import annotations

import dataclasses
import time
from statistics import median

from bench import machine
from bench.measurement import Gauge, Span
from bench.readings import Overhead, total

NAME = "null"
"""Of the span of an empty window."""

WINDOWS = 5
"""Empty windows that are measured; one more before them finds the sensors."""


def calibrate(gauge: Gauge, idle: Span) -> Overhead:
    """Measure empty windows, and return what they are charged and what their edges take.

    Args:
        gauge: With its meters open.
        idle: A stretch of idling with the same meters open.
    """
    _empty(gauge)
    taken = [_empty(gauge) for _ in range(WINDOWS)]
    charged = total(span.as_phase() for span, _, _ in taken)
    return Overhead(
        windows=WINDOWS,
        wall_s=median(span.wall_s for span, _, _ in taken),
        cpu_s=median(span.cpu_s for span, _, _ in taken),
        readings=tuple(
            r if r.energy_j is None else dataclasses.replace(r, energy_j=r.energy_j / WINDOWS)
            for r in charged.readings
        ),
        edges_wall_s=median(wall_s - span.wall_s for span, wall_s, _ in taken),
        edges_cpu_s=median(cpu_s - span.cpu_s for span, _, cpu_s in taken),
        cpu_share=idle.cpu_s / idle.wall_s if idle.wall_s > 0 else 0.0,
    )


def _empty(gauge: Gauge) -> tuple[Span, float, float]:
    """Return an empty window, and wall and CPU-seconds with its edges."""
    cpu_s, wall_s = machine.cpu_seconds(), time.monotonic()
    with gauge.span(NAME, wait=False) as span:
        pass
    wall_s = time.monotonic() - wall_s
    return span[0], wall_s, machine.cpu_seconds() - cpu_s
