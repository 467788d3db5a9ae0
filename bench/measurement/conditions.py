"""Why a window is thrown away: conditions of the host and the meters, never its energy.

Each check looks at one window (or at one block) and answers with a reason, or with ``None`` if all
is well. What is not known discards nothing. The list is this harness's; limits that a user may move
are knobs of the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.measurement import Span
from bench.measurement.protocol import Protocol
from bench.meters import Channel
from bench.readings import Reading

COUNTERS = ("A", "B", "S")
"""Grades of joules that are counted, by a wall meter, a counter or a simulated one: all are held to
the same conditions."""

SHORTEST = 0.5
"""Share of the planned window that the calibrated work must at least have taken."""

FEWEST_TICKS = 0.8
"""Share of ``protocol.min_ticks`` that is enough: calibration is not exact, and 80 ticks still put
the end-point error at 0.5 % (1 / (sqrt(6) ticks))."""

LEAST_OF_IDLE = 0.9
MOST_OF_LIMIT = 1.05
"""Mean power of a counter lies between these shares of idle power and of the power limit."""

IDLE_TICKS = 20
"""Counter updates that make a stretch of idling a measure of idle power, to 5 % at worst."""

FAULTS_PER_S = 10
"""Major page faults a second that are a storm: at 0.1 ms (flash) to 10 ms (disk) each, 0.1 % to
10 % of the time goes into waiting for storage."""

CROSS_CHECKED = ("counters", "polled")
"""Meters that read the same sensors in two ways."""

TOO_SHORT, TOO_FEW_TICKS = "too short", "too few ticks"
"""Conditions of a window whose work was calibrated while something else disturbed it. The first is
also how a meter begins its reason if spans of this length never have its joules: a tracker that
samples every few seconds. Measuring the block again would not mend it."""

Key = tuple[str, str]
"""Meter and component."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What windows are held against.

    Attributes:
        protocol: Limits that are knobs.
        step_s: Longest time between two updates of each counter, in seconds, where known.
        idle_w: Power of each counter while idling before the session, in watts.
        limit_w: Power limit of each component, in watts.
    """

    protocol: Protocol
    step_s: Mapping[Key, float] = field(default_factory=dict)
    idle_w: Mapping[Key, float] = field(default_factory=dict)
    limit_w: Mapping[str, float] = field(default_factory=dict)


def bounds(
    protocol: Protocol,
    channels: Mapping[str, Sequence[Channel]],
    idle: Span,
    limit_w: Mapping[str, float],
) -> Bounds:
    """Return the bounds of a session.

    Args:
        protocol: The rules.
        channels: What each meter reads.
        idle: Idling before the session; left out where it is too short to tell idle power.
        limit_w: Power limits by component.
    """
    steps_s = {(m, c.component): c.step_s for m, cs in channels.items() for c in cs if c.step_s > 0}
    idle_w = {
        (r.meter, r.component): r.energy_j / idle.wall_s
        for r in idle.readings
        if r.energy_j is not None
        and idle.wall_s >= max(1.0, IDLE_TICKS * steps_s.get((r.meter, r.component), 0.0))
    }
    return Bounds(protocol, steps_s, idle_w, limit_w)


def missing_reading(span: Span, bounds: Bounds) -> str | None:
    """A meter that was opened gave no joules, though windows of this length can have some."""
    for reading in span.readings:
        if reading.energy_j is None and not (reading.reason or "").startswith(TOO_SHORT):
            return f"{reading.meter}/{reading.component}: {reading.reason}"
    return None


def still_counter(span: Span, bounds: Bounds) -> str | None:
    """A hardware counter did not move while the machine worked."""
    for reading in _counted(span):
        if reading.energy_j == 0:
            return f"{reading.meter}/{reading.component} did not move in {span.wall_s:.2f} s"
    return None


def too_short(span: Span, bounds: Bounds) -> str | None:
    """The work went by much faster than when it was calibrated; a rehearsal may, it claims nothing.

    Its calibration takes a tenth of a second, which any process that starts beside it disturbs.
    """
    if span.wall_s < SHORTEST * bounds.protocol.window_s and not bounds.protocol.rehearsal:
        return f"{span.wall_s:.3f} s, the protocol plans {bounds.protocol.window_s:g} s"
    return None


def too_few_ticks(span: Span, bounds: Bounds) -> str | None:
    """The window holds too few updates of a counter: its ends weigh too much."""
    for reading in _counted(span):
        step_s = bounds.step_s.get((reading.meter, reading.component))
        if step_s and span.wall_s / step_s < FEWEST_TICKS * bounds.protocol.min_ticks:
            return (
                f"{reading.meter}/{reading.component}: {span.wall_s / step_s:.0f} updates, "
                f"protocol.min_ticks={bounds.protocol.min_ticks}"
            )
    return None


def disagreement(span: Span, bounds: Bounds) -> str | None:
    """The integral of polled power differs from the counter of the same component."""
    limit = bounds.protocol.max_disagreement
    counter, check = CROSS_CHECKED
    polled = {r.component: r.energy_j for r in _counted(span) if r.meter == check}
    for reading in _counted(span):
        other_j = polled.get(reading.component)
        if reading.meter != counter or other_j is None or not reading.energy_j:
            continue
        if abs(ratio := other_j / reading.energy_j - 1) > limit:
            return f"{reading.component}: {check} {ratio:+.1%} of {counter}, limit {limit:.1%}"
    return None


def implausible_power(span: Span, bounds: Bounds) -> str | None:
    """A counter's mean power lies below idling or above what the component may draw."""
    for reading in _counted(span):
        power_w = (reading.energy_j or 0.0) / span.wall_s
        name = f"{reading.meter}/{reading.component}: {power_w:.4g} W"
        idle_w = bounds.idle_w.get((reading.meter, reading.component), 0.0)
        if power_w < LEAST_OF_IDLE * idle_w:
            return f"{name}, below {LEAST_OF_IDLE:g} of idling ({idle_w:.4g} W)"
        limit_w = bounds.limit_w.get(reading.component, float("inf"))
        if power_w > MOST_OF_LIMIT * limit_w:
            return f"{name}, above {MOST_OF_LIMIT:g} of the power limit ({limit_w:.4g} W)"
    return None


def throttled_gpu(span: Span, bounds: Bounds) -> str | None:
    """A GPU was held below its clocks for heat, hardware protection or a power brake."""
    return next((f"{gpu}: {why}" for gpu, why in span.host.gpu_slowdowns.items()), None)


def throttled_cpu(span: Span, bounds: Bounds) -> str | None:
    """The CPU was slowed down for heat."""
    times = span.host.cpu_throttles
    return f"cores or packages were slowed down for heat, {times} times" if times else None


def foreign_gpu(span: Span, bounds: Bounds) -> str | None:
    """Another process was on the GPU."""
    for gpu, pids in span.host.gpu_foreign.items():
        return f"{gpu}: process {', '.join(map(str, pids))}"
    return None


def steal(span: Span, bounds: Bounds) -> str | None:
    """The hypervisor gave our cores to somebody else."""
    limit = bounds.protocol.max_steal
    if span.steal_share is not None and span.steal_share > limit:
        return f"{span.steal_share:.1%} of the cores, limit {limit:.1%}"
    return None


def foreign_load(span: Span, bounds: Bounds) -> str | None:
    """Other processes used the cores."""
    limit = bounds.protocol.max_foreign
    if span.foreign_share is not None and span.foreign_share > limit:
        return f"{span.foreign_share:.1%} of the cores, limit {limit:.1%}"
    return None


def page_faults(span: Span, bounds: Bounds) -> str | None:
    """Our own pages were fetched from storage: memory is short."""
    faults = span.host.major_faults or 0
    if faults > FAULTS_PER_S * span.wall_s:
        return f"{faults} waited for storage in {span.wall_s:.2f} s, limit {FAULTS_PER_S} a second"
    return None


def temperature_gap(block: Sequence[tuple[str, Span]], bounds: Bounds) -> str | None:
    """The windows of the two arms began at different temperatures, on average over the block."""
    of_arm: dict[str, dict[str, list[float]]] = {}
    for arm, span in block:
        for component, degrees in span.host.start_temperature_c.items():
            of_arm.setdefault(component, {}).setdefault(arm, []).append(degrees)
    for component, arms in of_arm.items():
        knob = "max_gpu_gap_c" if component.startswith("gpu") else "max_cpu_gap_c"
        limit_c = getattr(bounds.protocol, knob)
        if limit_c is None or len(arms) < 2:
            continue
        means_c = {arm: sum(degrees) / len(degrees) for arm, degrees in arms.items()}
        hotter = max(means_c, key=means_c.__getitem__)
        if (gap_c := means_c[hotter] - min(means_c.values())) > limit_c:
            return (
                f"{component}: windows of the {hotter} begin {gap_c:.1f} C hotter, "
                f"protocol.{knob}={limit_c:g}"
            )
    return None


Check = Callable[[Span, Bounds], str | None]

CHECKS: dict[str, Check] = {
    "missing reading": missing_reading,
    "still counter": still_counter,
    "too short": too_short,
    "too few ticks": too_few_ticks,
    "disagreement": disagreement,
    "implausible power": implausible_power,
    "throttled gpu": throttled_gpu,
    "throttled cpu": throttled_cpu,
    "foreign process on the gpu": foreign_gpu,
    "steal": steal,
    "foreign load": foreign_load,
    "page faults": page_faults,
}
"""Of one window."""

BLOCK_CHECKS: dict[str, Callable[[Sequence[tuple[str, Span]], Bounds], str | None]] = {
    "temperature gap": temperature_gap,
}
"""Of the windows of one block, each with the name of its arm."""


def violated(block: Sequence[tuple[str, Span]], bounds: Bounds) -> tuple[str, str] | None:
    """Return name and figure of the first condition that a block fails, or ``None``."""
    return next(_violations(block, bounds), None)


def _violations(block: Sequence[tuple[str, Span]], bounds: Bounds) -> Iterator[tuple[str, str]]:
    for _, span in block:
        for name, check in CHECKS.items():
            if (detail := check(span, bounds)) is not None:
                yield name, detail
    for name, block_check in BLOCK_CHECKS.items():
        if (detail := block_check(block, bounds)) is not None:
            yield name, detail


def _counted(span: Span) -> list[Reading]:
    """Return the readings of counters that were read."""
    return [r for r in span.readings if r.grade in COUNTERS and r.energy_j is not None]
