"""Did the session follow its protocol: how long, how many blocks, when to stop, valid or not?"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import stats

from bench.readings import MEASURED_GRADES
from bench.validate import Finding
from bench.validate.case import Case, Columns
from bench.validate.conditions import COUNTERS
from bench.validate.figures import arms_per_item, planned, values_of

LONGEST = 2.0
"""Times the planned window, from which on windows were hardly calibrated to it."""


def check(case: Case) -> Iterator[Finding]:
    """Hold lengths, numbers, stopping and validity against the protocol."""
    yield from _idling(case)
    if (windows := case.tables.get("windows")) is None or len(windows["block"]) == 0:
        return
    yield from _lengths(case, windows)
    yield from _stopping(case, windows)
    yield from _validity(case, windows)


def _idling(case: Case) -> Iterator[Finding]:
    for name in ("idle_before", "idle_after"):
        phase = case.record.session.phases.get(name)
        if phase is None:
            yield case.error("protocol", f"session.phases lacks {name}")
        elif phase.wall_s < 0.99 * case.rules["idle_s"]:
            field = f"session.phases.{name}.wall_s"
            wanted = f"protocol.idle_s={case.rules['idle_s']:g}"
            yield case.error("protocol", f"{field} is {phase.wall_s:.4g}, {wanted}")


def _lengths(case: Case, windows: Columns) -> Iterator[Finding]:
    steps_s = [channel.step_s for channel in case.channels if channel.grade in COUNTERS]
    plan_s = max(case.rules["window_s"], case.rules["min_ticks"] * max(steps_s, default=0.0))
    typical_s = float(np.median(windows["wall_s"]))
    message = f"windows last {typical_s:.4g} s (median), the protocol plans {plan_s:g} s"
    if typical_s < plan_s / LONGEST:
        yield case.error("protocol", message)
    batch = case.record.config["workload"].get("batch_size") or 0
    # A single pass may be longer than any window; several passes are as many as fill one. Of items
    # that are no examples, as seconds of audio, nobody knows how many make a pass.
    counted = windows["items"].dtype.kind in "iu"
    if typical_s > LONGEST * plan_s and counted and (windows["items"] > batch).any():
        yield case.warning("protocol", message)


def _stopping(case: Case, windows: Columns) -> Iterator[Finding]:
    """The rule again, block by block: a block too few or too many shows that somebody chose."""
    rules = case.rules
    found = arms_per_item(windows, values_of(case, windows, planned(case)[0]))
    if found is None:
        return  # a block is broken, and named by the check of blocks
    baseline, variant = found
    kept, wanted = len(baseline), rules["min_blocks"]
    thrown = len(np.unique(windows["block"][~windows["kept"]]))
    gave_up = thrown > max(2.0, rules["max_discarded"] * rules["max_blocks"])
    if kept > rules["max_blocks"]:
        message = f"{kept} blocks are kept, protocol.max_blocks={rules['max_blocks']}"
        yield case.error("stopping", message)
    if kept < wanted:
        if not gave_up:
            yield case.error("stopping", f"{kept} blocks are kept, protocol.min_blocks={wanted}")
        return
    d = np.log(variant).mean(axis=1) - np.log(baseline).mean(axis=1)
    # Rounding may put a width on the other side of the limit.
    narrow, wide = (rules["half_width"] * (1 + side * 1e-9) for side in (-1, 1))
    for blocks in range(wanted, kept):
        if (width := _half_width(d[:blocks])) < narrow:
            yield case.error(
                "stopping",
                f"after {blocks} kept blocks the interval reached ±{width:.2%}, "
                f"protocol.half_width={rules['half_width']:g}, but {kept} were kept",
            )
            break
    if kept < rules["max_blocks"] and not gave_up and (width := _half_width(d)) > wide:
        yield case.error(
            "stopping",
            f"measuring ended after {kept} kept blocks with ±{width:.2%}, "
            f"protocol.half_width={rules['half_width']:g}, max_blocks={rules['max_blocks']}",
        )


def _half_width(d: np.ndarray) -> float:
    if not np.isfinite(d).all():
        return math.inf
    margin = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / math.sqrt(len(d))
    return math.expm1(float(margin))


def _validity(case: Case, windows: Columns) -> Iterator[Finding]:
    session, rules = case.record.session, case.rules
    idle, drift = _idle_drift(case), _baseline_drift(case, windows)
    yield from case.equal("session", "session.idle_drift", session.idle_drift, idle)
    yield from case.equal("session", "session.baseline_drift", session.baseline_drift, drift)
    drifts = not rules["rehearsal"]  # which is too short to tell a drift from noise
    blocks, thrown = len(np.unique(windows["block"])), len(session.discards)
    broken = {
        f"{thrown} of {blocks} blocks are discarded, protocol.max_discarded="
        f"{rules['max_discarded']:g}": thrown > rules["max_discarded"] * blocks,
        f"idle power drifted by {idle or 0:.2%}, protocol.max_idle_drift="
        f"{rules['max_idle_drift']:g}": (
            drifts and idle is not None and abs(idle) > rules["max_idle_drift"]
        ),
        f"the baseline drifted by {drift or 0:.2%}, protocol.max_drift={rules['max_drift']:g}": (
            drifts and drift is not None and drift > rules["max_drift"]
        ),
    }
    why = [reason for reason, holds in broken.items() if holds]
    if session.valid and why:
        yield case.error("session", f"session.valid is True, but {why[0]}")
    if not session.valid and not why:
        yield case.error("session", "session.valid is False, but nothing exceeds the protocol")
    if session.valid is not (session.reason is None):
        message = f"session.valid is {session.valid}, its reason {session.reason!r}"
        yield case.error("session", message)


def _idle_drift(case: Case) -> float | None:
    """The change of idle power, of the counter that moved most; the sign is kept."""
    phases = case.record.session.phases
    if not {"idle_before", "idle_after"} <= phases.keys():
        return None
    powers_w = [
        {
            (r.meter, r.component): r.energy_j / phase.wall_s
            for r in phase.readings
            if r.grade in MEASURED_GRADES and r.energy_j
        }
        for phase in (phases["idle_before"], phases["idle_after"])
    ]
    both = [key for key in powers_w[0] if key in powers_w[1]]
    changes = [powers_w[1][key] / powers_w[0][key] - 1 for key in both]
    return max(changes, key=abs, default=None)


def _baseline_drift(case: Case, windows: Columns) -> float | None:
    """How far a parabola through the baseline's logarithms moves over the session."""
    chosen = windows["kept"] & (windows["arm"] == "baseline")
    values = values_of(case, windows, planned(case)[0])
    if values is None or chosen.sum() < 4 or not (values[chosen] > 0).all():
        return None
    start_ns = windows["start_ns"][chosen]
    if start_ns[-1] <= start_ns[0]:
        return None  # named by the check of the clock
    logs = np.log(values[chosen] / windows["items"][chosen])
    times = (start_ns - start_ns[0]) / (start_ns[-1] - start_ns[0])
    fitted = np.polynomial.Polynomial.fit(times, logs, 2)(times)
    return math.expm1(float(fitted.max() - fitted.min()))
