"""The checks that make a counter grade B, each with its figure, its limit and what to do.

Which checks there are and where their limits lie is this harness's choice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
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
    count = count_for(work, pace.load_s)
    once: dict[Key, float] = {}
    twice: dict[Key, float] = {}
    wall_s = 0.0
    for factor in (1, 2, 2, 1):  # mirrored, so that warming up falls on both alike
        start, started_s = opened.read(slowest_first=True), time.monotonic()
        work(factor * count)
        wall_s += time.monotonic() - started_s
        sums = once if factor == 1 else twice
        for key, energy_j in joules(opened, start, opened.read(slowest_first=False)).items():
            sums[key] = sums.get(key, 0.0) + energy_j
    for key, sensor in found.items():
        if sensor["meter"] != "counters":
            continue
        ratio = twice[key] / once[key] if once.get(key) and key in twice else None
        limit = f"2 within {LINEARITY:.0%}"
        good = ratio is not None and abs(ratio / 2 - 1) <= LINEARITY
        yield _judged("N against 2N", key, ratio, limit, good, _NOISE)
        if key[1].startswith("cpu") and sensor["idle_w"]:
            loaded_w = (once.get(key, 0.0) + twice.get(key, 0.0)) / wall_s
            rise = loaded_w / sensor["idle_w"]
            limit = f"over {1 + RISE:g} of idle power"
            yield _judged("rises under load", key, rise, limit, rise > 1 + RISE, _STILL)
    loaded_j = {key: once[key] + twice[key] for key in once.keys() & twice.keys()}
    yield from _agreement("agreement under load", found, loaded_j, AGREEMENT_LOADED)


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
