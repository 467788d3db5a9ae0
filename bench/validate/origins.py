"""Where do the joules come from: grades, sources, units, and a second file that tells the same?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from bench.readings import Phase, Reading
from bench.validate import Finding
from bench.validate.case import Case, Columns

GRADES: Mapping[str, str] = {
    "codecarbon.rapl": "BS",
    "codecarbon.emi": "BS",
    "codecarbon.pynvml": "BS",
    "codecarbon.amdsmi": "BS",
    "codecarbon": "C",
    "impact_tracker": "CS",
    "wall": "AS",
    "rapl": "BS",
    "nvml": "BS",
    "zeus": "BS",
}
"""Grades that a source can have, by its name or by the first part of it. Others are believed."""

MOST_W = {"A": 50_000.0}
MOST_OTHERS_W = 5_000.0
"""Mean power that nothing exceeds: a rack at the wall, a component (boards draw up to 1.4 kW)."""
LEAST_W = 1e-3
"""Mean power below which no sensor of a running machine stays; joules in kWh are far below. Models
may say 0."""
SENSED = ("A", "B", "S")
"""Grades of sensors, real and simulated."""
MOST_APART = 300.0
"""Times that the mean power of two phases may differ on one component: an idle package of 0.5 W
works at 150 W. Joules in mJ or kJ are 1,000 times off."""
SHORTEST_S = 0.5
"""Seconds from which on a phase has a mean power: shorter ones are a few updates of a counter."""

LITTLE_MORE = 1.001
"""Of a phase, what its training may have logged: meters that interpolate see an edge anew."""


def check(case: Case) -> Iterator[Finding]:
    """Hold every reading against the session's channels, against physics and against the trace."""
    yield from _grades(case)
    yield from _powers(case)
    yield from _trace(case)
    yield from _training(case)


def _phases(case: Case) -> Iterator[tuple[str, Phase]]:
    record = case.record
    overhead = record.session.overhead
    yield "session.overhead", Phase(overhead.wall_s, overhead.cpu_s, overhead.readings)
    for name, phase in record.session.phases.items():
        yield f"session.phases.{name}", phase
    for arm in ("baseline", "variant"):
        for name, phase in getattr(record, arm).phases.items():
            yield f"{arm}.phases.{name}", phase


def _grades(case: Case) -> Iterator[Finding]:
    known = {(c.meter, c.component): (c.source, c.grade) for c in case.channels}
    seen = [(f"session.meters.{c.meter}", c.source, c.grade) for c in case.channels]
    for field, phase in _phases(case):
        for r in phase.readings:
            seen.append((field, r.source, r.grade))
            source, grade = known.get((r.meter, r.component), (r.source, r.grade))
            # Another process may have found other sensors; one sensor has one grade everywhere.
            elsewhere = not (field.startswith("session") or field.endswith("infer"))
            if (r.source, r.grade) != (source, grade) and not (elsewhere and r.source != source):
                yield case.error(
                    "grade",
                    f"{field}: {r.meter}/{r.component} is {r.source} of grade {r.grade}, "
                    f"session.meters says {source} of grade {grade}",
                )
            if (r.energy_j is None) is (r.reason is None):
                message = f"{field}: {r.meter}/{r.component} needs joules or a reason, not both"
                yield case.error("reading", message)
    for field, source, grade in dict.fromkeys(seen):
        allowed = GRADES.get(source) or GRADES.get(source.partition(".")[0])
        if allowed is not None and grade not in allowed:
            message = f"{field}: {source} is of grade {grade}, it can be {' or '.join(allowed)}"
            yield case.error("grade", message)


def _powers(case: Case) -> Iterator[Finding]:
    """Mean powers are possible, and alike in all phases: a slip of a unit is neither."""
    working: dict[Reading, float] = {}
    for arm in (case.record.variant, case.record.baseline):
        if "infer" in arm.phases:
            working |= _mean_w(arm.phases["infer"])
    for field, phase in _phases(case):
        for key, power_w in _mean_w(phase).items():
            what = f"{field}: mean power of {key.meter}/{key.component} is {power_w:.4g} W"
            modelled = key.grade not in SENSED
            least_w, most_w = LEAST_W * (not modelled), MOST_W.get(key.grade, MOST_OTHERS_W)
            if not least_w <= power_w <= most_w:
                message = f"{what}, possible is {least_w:g} to {most_w:g} W: are its joules joules?"
                yield case.error("power", message)
            usual_w = 0.0 if modelled else working.get(key, 0.0)
            if usual_w > 0 and not 1 / MOST_APART <= power_w / usual_w <= MOST_APART:
                message = f"{what}, while serving {usual_w:.4g} W: {power_w / usual_w:.3g} times"
                yield case.error("power", message)


def _mean_w(phase: Phase) -> dict[Reading, float]:
    """Return watts by reading; its joules are left out, so that readings of phases are equal."""
    if phase.wall_s < SHORTEST_S:
        return {}
    return {
        dataclasses.replace(r, energy_j=None): r.energy_j / phase.wall_s
        for r in phase.readings
        if r.energy_j is not None
    }


def _trace(case: Case) -> Iterator[Finding]:
    """The trace holds the power of every window once more, and of idling and warm-up."""
    windows, trace = case.tables.get("windows"), case.tables.get("trace")
    if windows is None or trace is None:
        return
    joules = trace["power_w"] * (trace["end_ns"] - trace["start_ns"]) * 1e-9
    for channel in case.channels:
        rows = (trace["meter"] == channel.meter) & (trace["component"] == channel.component)
        name = f"{channel.meter}/{channel.component}"
        for column in ("source", "grade"):
            odd = set(trace[column][rows]) - {getattr(channel, column)}
            if odd:
                message = f"trace.parquet: {column} of {name} is {odd.pop()}"
                yield case.error("grade", f"{message}, expected {getattr(channel, column)}")
        rows &= trace["span"] == "window"
        if channel.column not in windows:
            yield case.error("trace", f"windows.parquet lacks the column {channel.column}")
            continue
        edges = [(t["start_ns"], t["end_ns"]) for t in (windows, trace)]
        if not all(np.array_equal(a, b[rows]) for a, b in zip(*edges, strict=True)):
            yield case.error("trace", f"trace.parquet: windows of {name} are at other times")
            continue
        far = ~np.isclose(windows[channel.column], joules[rows], rtol=1e-6, equal_nan=True)
        for row in np.flatnonzero(far)[:1]:
            yield case.error(
                "trace",
                f"{channel.column} of block {windows['block'][row]}, window "
                f"{windows['position'][row]} is {windows[channel.column][row]:.8g}, the trace's "
                f"power gives {joules[rows][row]:.8g} ({far.sum()} windows)",
            )
    yield from _outside_windows(case, trace)


def _outside_windows(case: Case, trace: Columns) -> Iterator[Finding]:
    for span, place, phase_name in (
        ("idle", 0, "idle_before"),
        ("warmup", 0, "warmup"),
        ("idle", -1, "idle_after"),
    ):
        phase = case.record.session.phases.get(phase_name)
        if phase is None:
            continue  # named by the check of the session
        for reading in phase.readings:
            rows = np.flatnonzero(
                (trace["span"] == span)
                & (trace["meter"] == reading.meter)
                & (trace["component"] == reading.component)
            )
            field = f"{reading.meter}/{reading.component} of session.phases.{phase_name}"
            if not rows.size:
                yield case.error("trace", f"trace.parquet lacks {field}")
                continue
            row = rows[place]
            seconds = float(trace["end_ns"][row] - trace["start_ns"][row]) * 1e-9
            wall = f"session.phases.{phase_name}.wall_s"
            yield from case.equal("trace", wall, phase.wall_s, seconds)
            joules = float(trace["power_w"][row]) * seconds
            expected = None if np.isnan(joules) else joules
            yield from case.equal("trace", field, reading.energy_j, expected)


def _training(case: Case) -> Iterator[Finding]:
    """What was logged while training only grows, and stays within the phase that it is part of."""
    if (logged := case.tables.get("training")) is None:
        return
    for arm, name in (("baseline", "train"), ("variant", "optimise")):
        phase = getattr(case.record, arm).phases.get(name)
        of_arm = logged["arm"] == arm
        if phase is None:
            continue
        if not of_arm.any():
            if phase.items > 0:
                message = f"training.parquet has no row of the {arm}, which trained"
                yield case.warning("training", f"{message} on {phase.items:.0f} examples")
            continue
        wholes = {"wall_s": phase.wall_s} | {
            f"{r.meter}/{r.component}_j": r.energy_j for r in phase.readings
        }
        resumed = any(event.kind == "resumed" for event in getattr(case.record, arm).events)
        runs = list(_runs(logged, of_arm, resumed))
        for column in ("step", *wholes):
            if column not in logged:
                continue
            if any((np.diff(logged[column][rows]) < 0).any() for rows in runs):
                yield case.error("training", f"training.parquet: {column} of the {arm} falls")
            whole = wholes.get(column)
            last = float(sum(logged[column][rows][-1] for rows in runs))
            if whole is None or np.isnan(last):
                continue
            field = f"{arm}.phases.{name}, {column}"
            least_s = 0.5 * phase.wall_s
            reached = sum(logged["wall_s"][rows][-1] for rows in runs) >= least_s
            if last > whole * LITTLE_MORE or (reached and whole > 10 * last):
                message = f"{field} is {whole:.6g}, its training logged {last:.6g} until its end"
                yield case.error("training", message)


def _runs(logged: Columns, of_arm: NDArray[np.bool_], resumed: bool) -> Iterator[NDArray[np.intp]]:
    """Yield the rows of each stage; of one that was resumed, those of each process."""
    for stage in dict.fromkeys(logged["stage"][of_arm]):
        rows = np.flatnonzero(of_arm & (logged["stage"] == stage))
        anew = np.flatnonzero(np.diff(logged["wall_s"][rows]) < 0) + 1 if resumed else ()
        yield from np.split(rows, anew)
