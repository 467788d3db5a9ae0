"""Why a window is thrown away: conditions of the host and the meters, never its energy.

Each check looks at one span and answers with a reason, or with ``None`` if all is well.
Source: the conditions of ``protocol`` and the methodology's list of discards; a window is never
discarded for being an outlier.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.measurement import Span
from bench.measurement.protocol import Protocol

SHORTEST = 0.5
"""Share of the planned window that the calibrated work must at least have taken."""

Check = Callable[[Span, Protocol], str | None]


def missing_reading(span: Span, protocol: Protocol) -> str | None:
    """A meter that was opened gave no joules."""
    for reading in span.readings:
        if reading.energy_j is None:
            return f"{reading.meter}/{reading.component}: {reading.reason}"
    return None


def still_counter(span: Span, protocol: Protocol) -> str | None:
    """A hardware counter did not move while the machine worked."""
    for reading in span.readings:
        if reading.grade == "B" and reading.energy_j == 0:
            return f"{reading.meter}/{reading.component} did not move in {span.wall_s:.2f} s"
    return None


def too_short(span: Span, protocol: Protocol) -> str | None:
    """The work went by much faster than when it was calibrated."""
    if span.wall_s < SHORTEST * protocol.window_s:
        return f"{span.wall_s:.3f} s, the protocol plans {protocol.window_s:g} s"
    return None


def steal(span: Span, protocol: Protocol) -> str | None:
    """The hypervisor gave our cores to somebody else."""
    if span.steal_share is not None and span.steal_share > protocol.max_steal:
        return f"{span.steal_share:.1%} of the cores, limit {protocol.max_steal:.1%}"
    return None


def foreign_load(span: Span, protocol: Protocol) -> str | None:
    """Other processes used the cores."""
    if span.foreign_share is not None and span.foreign_share > protocol.max_foreign:
        return f"{span.foreign_share:.1%} of the cores, limit {protocol.max_foreign:.1%}"
    return None


CHECKS: dict[str, Check] = {
    "missing reading": missing_reading,
    "still counter": still_counter,
    "too short": too_short,
    "steal": steal,
    "foreign load": foreign_load,
}


def violated(span: Span, protocol: Protocol) -> tuple[str, str] | None:
    """Return name and figure of the first condition that ``span`` fails, or ``None``."""
    for name, check in CHECKS.items():
        if (detail := check(span, protocol)) is not None:
            return name, detail
    return None
