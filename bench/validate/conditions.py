"""Was every block kept or discarded on the conditions of the protocol, and on nothing else?

The conditions are those of ``bench.measurement.conditions``, computed anew from the columns of
windows.parquet. Three leave no trace in a record and are believed: slowdowns of a GPU, others'
processes on it, and power above the limit of a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.readings import Phase
from bench.validate import Finding
from bench.validate.case import Case, Channel, Columns

COUNTERS = ("A", "B", "S")
SHORTEST = 0.5
FEWEST_TICKS = 0.8
LEAST_OF_IDLE = 0.9
MOST_OF_LIMIT = 1.05
IDLE_TICKS = 20
FAULTS_PER_S = 10
CROSS_CHECKED = ("counters", "polled")
TOO_SHORT = "too short"
"""As in ``bench.measurement.conditions``, which says why; a test holds them equal."""

BELIEVED = ("throttled gpu", "foreign process on the gpu")
"""Conditions whose evidence is in no column."""
TOO_HIGH = "of the power limit"
"""How a discard ends that was held against a limit of power; the record keeps none of a CPU."""

Values = NDArray[Any]


class Criterion(NamedTuple):
    """One figure of every window with its limit.

    Attributes:
        condition: As a discard names it.
        field: What is held against the limit.
        values: One per window; NaN, where unknown, violates nothing.
        limits: Likewise, or one for all.
        sign: 1 if the limit is an upper one, -1 if a lower one.
    """

    condition: str
    field: str
    values: Values
    limits: Values | float
    sign: int

    @property
    def violated(self) -> Values:
        """Whether each window violates it."""
        return np.asarray(self.sign * (self.values - self.limits) > 0)


def check(case: Case) -> Iterator[Finding]:
    """Hold kept blocks against the limits, and discards against their windows."""
    if (windows := case.tables.get("windows")) is None:
        return
    criteria = [*_of_host(case, windows), *_of_meters(case, windows), *_gaps(case, windows)]
    for criterion in criteria:
        rows = np.flatnonzero(criterion.violated & windows["kept"])
        for row in rows[:1]:
            limit = np.broadcast_to(criterion.limits, len(criterion.values))[row]
            yield case.error(
                "conditions",
                f"block {windows['block'][row]} is kept, but {criterion.field} is "
                f"{criterion.values[row]:.6g}, limit {limit:.6g} ({criterion.condition}; "
                f"{len(rows)} windows)",
            )
    yield from _discards(case, windows, criteria)


def _discards(case: Case, windows: Columns, criteria: list[Criterion]) -> Iterator[Finding]:
    known = {criterion.condition for criterion in criteria}
    for discard in case.record.session.discards:
        of_block = windows["block"] == discard.block
        what = f"block {discard.block} is discarded for {discard.condition!r}"
        if discard.condition in BELIEVED or TOO_HIGH in discard.detail:
            continue
        if discard.condition not in known:
            yield case.error("discards", f"{what}, which is none of the conditions of this session")
        elif not any(
            (criterion.violated & of_block).any()
            for criterion in criteria
            if criterion.condition == discard.condition
        ):
            message = f"{what} ({discard.detail}), but none of its windows violates that"
            yield case.error("discards", message)


def _of_host(case: Case, windows: Columns) -> Iterator[Criterion]:
    rules, wall_s = case.rules, windows["wall_s"]
    shortest_s = 0.0 if rules.get("rehearsal") else SHORTEST * rules["window_s"]
    yield Criterion("too short", "wall_s", wall_s, shortest_s, -1)
    yield Criterion("throttled cpu", "cpu_throttles", windows["cpu_throttles"], 0.0, 1)
    yield Criterion("steal", "steal_share", windows["steal_share"], rules["max_steal"], 1)
    foreign = windows["foreign_share"]
    yield Criterion("foreign load", "foreign_share", foreign, rules["max_foreign"], 1)
    faults = windows["major_faults"]
    yield Criterion("page faults", "major_faults", faults, FAULTS_PER_S * wall_s, 1)


def _of_meters(case: Case, windows: Columns) -> Iterator[Criterion]:
    wall_s, rules = windows["wall_s"], case.rules
    for channel in case.channels:
        joules = windows.get(channel.column)
        if joules is None:
            continue  # named by the check of origins
        name = f"{channel.meter}/{channel.component}"
        missing = np.isnan(joules) & (not _never_there(case, channel))
        yield Criterion("missing reading", f"{name} missing", missing.astype(float), 0.0, 1)
        if channel.grade not in COUNTERS:
            continue
        still = (joules == 0).astype(float)
        yield Criterion("still counter", f"{name} at rest", still, 0.0, 1)
        if channel.step_s > 0:
            ticks = np.where(np.isnan(joules), np.nan, wall_s / channel.step_s)
            limit = FEWEST_TICKS * rules["min_ticks"]
            yield Criterion("too few ticks", f"updates of {name}", ticks, limit, -1)
        yield from _power(case, channel, joules / wall_s)
        if channel.meter == CROSS_CHECKED[0]:
            other = windows.get(f"{CROSS_CHECKED[1]}/{channel.component}_j")
            if other is not None:
                gap = np.abs(other / np.where(joules == 0, np.nan, joules) - 1)
                limit = rules["max_disagreement"]
                yield Criterion("disagreement", f"{name} against polled", gap, limit, 1)


def _power(case: Case, channel: Channel, power_w: Values) -> Iterator[Criterion]:
    """Mean power is at least that of idling, and at most what the component may draw."""
    field = f"power of {channel.meter}/{channel.component}, W"
    idle = case.record.session.phases["idle_before"]
    idle_j = _joules(idle, channel)
    if idle_j is not None and idle.wall_s >= max(1.0, IDLE_TICKS * channel.step_s):
        limit = LEAST_OF_IDLE * idle_j / idle.wall_s
        yield Criterion("implausible power", field, power_w, limit, -1)
    if (limit_w := _limit_w(case, channel.component)) is not None:
        yield Criterion("implausible power", field, power_w, MOST_OF_LIMIT * limit_w, 1)


def _limit_w(case: Case, component: str) -> float | None:
    for gpu in case.record.environment.get("gpus") or ():
        if component == f"gpu:{gpu['index']}":
            limit_w: float | None = gpu["power_limit_w"]
            return limit_w
    return None


def _never_there(case: Case, channel: Channel) -> bool:
    """Return whether windows are too short for this meter, as its reason in the record says."""
    phases = (arm.phases.get("infer") for arm in (case.record.baseline, case.record.variant))
    return any(
        (reading.reason or "").startswith(TOO_SHORT)
        for phase in phases
        if phase is not None
        for reading in phase.readings
        if (reading.meter, reading.component) == (channel.meter, channel.component)
    )


def _gaps(case: Case, windows: Columns) -> Iterator[Criterion]:
    """Degrees between the arms of a block at the start of their windows, on every window of it."""
    for column in windows:
        if not column.endswith("_start_c"):
            continue
        knob = "max_gpu_gap_c" if column.startswith("gpu") else "max_cpu_gap_c"
        if (limit_c := case.rules[knob]) is None:
            continue
        gaps = np.full(len(windows["block"]), np.nan)
        for number in np.unique(windows["block"]):
            of_block = (windows["block"] == number) & ~np.isnan(windows[column])
            arms = [windows[column][of_block & (windows["arm"] == arm)] for arm in _ARMS]
            if all(len(degrees) for degrees in arms):
                gaps[windows["block"] == number] = abs(arms[0].mean() - arms[1].mean())
        yield Criterion("temperature gap", f"gap of {column}", gaps, limit_c, 1)


_ARMS = ("baseline", "variant")


def _joules(phase: Phase, channel: Channel) -> float | None:
    for reading in phase.readings:
        if (reading.meter, reading.component) == (channel.meter, channel.component):
            return reading.energy_j
    return None
