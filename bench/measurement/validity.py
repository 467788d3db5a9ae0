"""Why a whole session cannot be used: too much thrown away, or a machine that drifted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.measurement import Span
from bench.measurement.protocol import Protocol
from bench.measurement.windows import Window
from bench.readings import MEASURED_GRADES
from bench.records import Discard

_NS_PER_S = 1e9


def too_many_discards(
    windows: Sequence[Window], discards: Sequence[Discard], protocol: Protocol
) -> str | None:
    """Say so if more than the protocol's share of blocks was thrown away."""
    blocks = len(windows) // 4
    if len(discards) <= protocol.max_discarded * blocks:
        return None
    return (
        f"{len(discards)} of {blocks} blocks discarded, protocol.max_discarded="
        f"{protocol.max_discarded:g}; the first: {discards[0].condition}, {discards[0].detail}"
    )


def idle_drift(before: Span, after: Span) -> float | None:
    """Return how far idle power moved, of the component that moved most, as a signed fraction.

    ``None`` without counters: a model's idle says nothing of the machine.
    """
    drifts = [
        (two.energy_j / after.wall_s) / (one.energy_j / before.wall_s) - 1
        for one, two in zip(before.readings, after.readings, strict=True)
        if one.grade in MEASURED_GRADES and one.energy_j and two.energy_j
    ]
    return max(drifts, key=abs, default=None)


def baseline_drift(
    windows: Sequence[Window], figure: Callable[[Span], float | None]
) -> float | None:
    """Return how far the baseline's figure per sample moved over the session, 0 or more.

    Its logarithm is fitted by a parabola over time; the drift is how far the parabola moves.

    Args:
        windows: Of the session.
        figure: From a span to the figure that leads: joules, else seconds.

    Returns:
        A fraction; ``None`` with fewer than four windows of the baseline, or with one missing.
    """
    kept = [w for w in windows if w.kept and w.arm == "baseline"]
    values = [figure(w.span) for w in kept]
    if len(kept) < 4 or any(value is None or value <= 0 for value in values):
        return None
    per_item = [value / w.items for value, w in zip(values, kept, strict=True) if value is not None]
    times_s = np.array([w.span.start_ns - kept[0].span.start_ns for w in kept]) / _NS_PER_S
    scaled = times_s / times_s[-1]
    fitted = np.polyval(np.polyfit(scaled, np.log(per_item), 2), scaled)
    return float(np.expm1(np.ptp(fitted)))


def too_much_drift(idle: float | None, baseline: float | None, protocol: Protocol) -> str | None:
    """Say so if idle power or the baseline drifted further than the protocol allows.

    A rehearsal's two blocks of windows of 50 ms drift with whatever else the machine does.
    """
    if protocol.rehearsal:
        return None
    if idle is not None and abs(idle) > protocol.max_idle_drift:
        return f"idle power drifted by {idle:+.1%}, {protocol.max_idle_drift=:g}"
    if baseline is not None and baseline > protocol.max_drift:
        return (
            f"the baseline's figure per sample drifted by {baseline:.1%} over the session, "
            f"{protocol.max_drift=:g}"
        )
    return None
