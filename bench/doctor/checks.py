"""The checks that make a counter grade B, each with its figure, its limit and what to do.

Which checks there are and where their limits lie is this harness's choice.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bench.doctor.pace import AA, Pace
from bench.doctor.sensors import Key, joules
from bench.doctor.work import Work, count_for
from bench.measurement import Gauge
from bench.measurement.conditions import COUNTERS, CROSS_CHECKED
from bench.measurement.figures import available
from bench.measurement.protocol import Protocol
from bench.measurement.session import Load, Session, per_item
from bench.meters import Meters
from bench.progress import Bar
from bench.statistics.ratios import paired_ratio

AGREEMENT_LOADED = 0.05
AGREEMENT_IDLE = 0.10
LINEARITY = 0.02

RISE = 0.05
"""Share of idle power by which a package must rise when all cores work."""

_AGREEMENT = (
    "trust neither for absolute joules; `nvidia-smi -q -d POWER` names the sensor, a newer driver "
    "may mend the counter, and a wall meter (meter=wall) decides"
)
_NOISE = (
    "stop what else runs (listed below), choose longer windows (protocol.window_s), and set the "
    "governor: `sudo cpupower frequency-set -g performance`"
)
_AT_REST = ("gpu", "soc:gpu", "soc:ane")
"""What the components that the load leaves idle begin with: twice the time is twice their joules
whatever their counter is worth, so it proves nothing."""

_LOST = "a reading was lost meanwhile: run it again, and see what the log says of the sensor"
_CHANCE = "once in twenty by chance: run it again; then "
_STILL = (
    "in a virtual machine ask for the host's counters to be passed through; on bare metal "
    "`sudo modprobe -r intel_rapl_msr && sudo modprobe intel_rapl_msr`"
)


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        name: What was checked.
        subject: Meter and component.
        figure: What was found; ``None`` if it could not be.
        limit: What would pass, in words.
        verdict: ``skipped`` decides nothing.
        remedy: What to do, or why it was skipped.
    """

    name: str
    subject: str
    figure: float | None
    limit: str
    verdict: Literal["pass", "fail", "skipped"]
    remedy: str | None = None


def at_rest(found: Mapping[Key, dict[str, Any]], idle_j: Mapping[Key, float]) -> Iterator[Check]:
    """Check what idling tells: that counters move, and that they agree with polled power."""
    for key, sensor in found.items():
        if sensor["meter"] == "counters":
            moves = sensor["problem"] is None
            limit = "moves; seconds between two updates"
            yield _judged("update period", key, sensor["period_s"], limit, moves, _STILL)
    yield from _agreement("agreement at idle", found, idle_j, AGREEMENT_IDLE)


def under_load(
    found: Mapping[Key, dict[str, Any]], opened: Meters, work: Work, pace: Pace
) -> Iterator[Check]:
    """Run N, 2N, 2N and N products; check linearity, agreement and that packages notice."""
    if all(sensor["meter"] not in CROSS_CHECKED for sensor in found.values()):
        yield Check("N against 2N", "", None, "", "skipped", "there is no counter to check")
        return
    drawn = _draw(found, opened, work, count_for(work, pace.load_s))
    loaded = {key: sensor for key, sensor in found.items() if not key[1].startswith(_AT_REST)}
    for key, sensor in found.items():
        if sensor["meter"] != "counters":
            continue
        if key in loaded:
            yield from _counter_under_load(key, sensor["idle_w"], drawn)
        else:
            subject = f"{key[0]}/{key[1]}"
            why = "the load works on the CPU, so this was idle; a wall meter checks its counter"
            yield Check("N against 2N", subject, None, "", "skipped", why)
    both_j = {key: sum(drawn.joules(key)) for key in loaded.keys() - drawn.lost}
    yield from _agreement("agreement under load", loaded, both_j, AGREEMENT_LOADED)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Joules of N and of 2N products, each done twice; components of which a reading was lost."""

    once: Mapping[Key, float]
    twice: Mapping[Key, float]
    lost: Set[Key]
    wall_s: float

    def joules(self, key: Key) -> tuple[float, float]:
        return self.once[key], self.twice[key]


def _draw(found: Collection[Key], opened: Meters, work: Work, count: int) -> _Drawn:
    sums: dict[int, dict[Key, float]] = {1: {}, 2: {}}
    lost: set[Key] = set()
    wall_s = 0.0
    for factor in (1, 2, 2, 1):  # mirrored, so that warming up falls on both alike
        start, started_s = opened.read(slowest_first=True), time.monotonic()
        work(factor * count)
        wall_s += time.monotonic() - started_s
        spent_j = joules(opened, start, opened.read(slowest_first=False))
        lost |= set(found) - spent_j.keys()
        for key, energy_j in spent_j.items():
            sums[factor][key] = sums[factor].get(key, 0.0) + energy_j
    return _Drawn(sums[1], sums[2], lost, wall_s)


def _counter_under_load(key: Key, idle_w: float | None, drawn: _Drawn) -> Iterator[Check]:
    limit = f"2 within {LINEARITY:.0%}"
    if key in drawn.lost:
        yield _judged("N against 2N", key, None, limit, False, _LOST)
        return
    once_j, twice_j = drawn.joules(key)
    ratio = twice_j / once_j if once_j else None
    good = ratio is not None and abs(ratio / 2 - 1) <= LINEARITY
    yield _judged("N against 2N", key, ratio, limit, good, _NOISE)
    if key[1].startswith("cpu") and idle_w:
        rise = (once_j + twice_j) / drawn.wall_s / idle_w
        limit = f"over {1 + RISE:g} of idle power"
        yield _judged("rises under load", key, rise, limit, rise > 1 + RISE, _STILL)


def same_twice(opened: Meters, work: Work, protocol: Protocol = AA) -> Check:
    """Measure the same load against itself as any pair is measured: the interval contains 1."""
    figure = available(opened.channels, "cpu")[0]  # which the load works on
    load = Load(work, batch_items=1, request=lambda: work(1))

    with Bar("A/A pair") as bar:

        def tell(kept: int, wanted: int, half_width: float, _: object) -> None:
            bar.tell(kept, max(wanted, kept), f"interval ±{half_width:.1%}")

        gauge = Gauge(opened, lambda: None)
        arms = {"baseline": load, "variant": load}
        outcome = Session(gauge, protocol, arms, 0, figure.of, tell).run()  # type: ignore[arg-type]
    baseline, variant = per_item(outcome.windows, figure.of)
    subject = f"{figure.source}/{figure.scope}"
    if len(baseline) < 2:
        first = next((f"{d.condition}: {d.detail}" for d in outcome.discards), "no joules")
        return Check("A/A", subject, None, "interval contains 1", "fail", first)
    found = paired_ratio(baseline, variant)
    limit = f"interval contains 1; it is {found.low:.4f} to {found.high:.4f}"
    holds = found.low <= 1 <= found.high
    return Check("A/A", subject, found.ratio, limit, *_verdict(holds, _CHANCE + _NOISE))


def skipped(reason: str) -> Iterator[Check]:
    """Name the checks that were not made."""
    for name in ("agreement under load", "N against 2N", "rises under load", "A/A"):
        yield Check(name, "", None, "", "skipped", reason)


def as_data(checks: list[Check]) -> list[dict[str, Any]]:
    """Return them as plain data."""
    return [asdict(check) for check in checks]


def _agreement(
    name: str, found: Mapping[Key, dict[str, Any]], spent_j: Mapping[Key, float], limit: float
) -> Iterator[Check]:
    """Compare counter and polled power of every component that has both."""
    counter, polled = CROSS_CHECKED
    both = [c for m, c in found if m == counter and (polled, c) in found]
    for component in both:
        counter_j, polled_j = spent_j.get((counter, component)), spent_j.get((polled, component))
        ratio = polled_j / counter_j if counter_j and polled_j is not None else None
        good = ratio is not None and abs(ratio - 1) <= limit
        wanted = f"polled power over counter, 1 within {limit:.0%}"
        yield _judged(name, (counter, component), ratio, wanted, good, _AGREEMENT)
    alone = [c for m, c in found if m == counter and c not in both]
    for component in alone if any(s["grade"] in COUNTERS for s in found.values()) else ():
        reason = "no polled power of this component to hold the counter against"
        yield Check(name, f"{counter}/{component}", None, "", "skipped", reason)


def _judged(
    name: str, key: Key, figure: float | None, limit: str, holds: bool, remedy: str
) -> Check:
    return Check(name, f"{key[0]}/{key[1]}", figure, limit, *_verdict(holds, remedy))


def _verdict(holds: bool, remedy: str) -> tuple[Literal["pass", "fail"], str | None]:
    return ("pass", None) if holds else ("fail", remedy)
