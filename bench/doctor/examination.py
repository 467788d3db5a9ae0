"""The whole examination, from opening the meters to the verdict."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from bench import machine
from bench.doctor import checks, sensors
from bench.doctor.pace import AA, Pace
from bench.doctor.surroundings import Lookout, advice
from bench.doctor.work import products
from bench.locks import host_lock
from bench.measurement.protocol import Protocol
from bench.meters import Meter, Meters
from bench.meters.codecarbon import CodeCarbon
from bench.meters.counters import Counters
from bench.meters.polled import Polled
from bench.progress import Bar
from bench.readings import MEASURED_GRADES

UDEV = (
    "# /etc/udev/rules.d/99-joulebench.rules; the group `joules` may read RAPL from the next boot "
    "on\n"
    'SUBSYSTEM=="powercap", ACTION=="add", KERNEL=="intel-rapl:*", '
    'RUN+="/bin/chgrp joules /sys%p/energy_uj", RUN+="/bin/chmod 0440 /sys%p/energy_uj"'
)
OPENING = (
    "sudo groupadd -f joules && sudo usermod -aG joules $USER",
    "sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=powercap -c add",
)
"""Commands that make the rule work now; the group counts from the next login on. Files that all
may read are simpler (chmod a+r) and open a side channel to all users (CVE-2020-8694)."""


def examine(
    quick: bool = False, pace: Pace | None = None, protocol: Protocol = AA
) -> dict[str, Any]:
    """Look at every sensor and return the findings as plain data.

    Args:
        quick: Leave out the checks under load, about a minute.
        pace: How long to look.
        protocol: Of the A/A pair.
    """
    pace = pace or (Pace(slices=6) if quick else Pace())
    # The country moves grams of CO2 only, and none are shown here.
    meters = (Counters(), Polled(), CodeCarbon(country_iso_code="USA"))
    alone = contextlib.nullcontext() if quick else host_lock("python -m bench.doctor", windows=True)
    with alone, Meters(meters, required=False) as opened, Bar("doctor") as bar:
        found = sensors.of(opened)
        bar.tell(1, 4, "watching the counters move")
        sensors.watch(found, opened, pace)
        bar.tell(2, 4, "idling")
        lookout, started_s = Lookout(), time.monotonic()
        idle_j = sensors.rest(found, opened, pace)
        load = lookout.told(time.monotonic() - started_s)
        made = list(checks.at_rest(found, idle_j))
        if quick:
            made += checks.skipped("--quick leaves it out")
        else:
            bar.tell(3, 4, "working")
            work = products()
            made += checks.under_load(found, opened, work, pace)
            made.append(checks.same_twice(opened, work, protocol))
        missing = dict(_missing(meters, opened.unavailable))
    return _findings(list(found.values()), made, load, missing, quick)


def _findings(
    channels: list[dict[str, Any]],
    made: list[checks.Check],
    load: dict[str, Any],
    missing: dict[str, str],
    quick: bool,
) -> dict[str, Any]:
    environment = machine.fingerprint()
    closed = sensors.unreadable()
    failed = [check for check in made if check.verdict == "fail"]
    counted = [c for c in channels if c["grade"] in MEASURED_GRADES and c["problem"] is None]
    shortest = [c["shortest_window_s"] for c in channels if c["shortest_window_s"] is not None]
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": machine.host_name(),
        "quick": quick,
        "channels": channels,
        "closed": closed,
        "missing": missing,
        "checks": checks.as_data(made),
        "shortest_window_s": max(shortest, default=None),
        "machine": environment,
        "load": load,
        "advice": advice(environment, load) + ([UDEV, *OPENING] if closed else []),
        "measured": bool(counted) and not failed,
        "conclusion": _conclusion(channels, counted, failed),
    }


def _missing(meters: tuple[Meter, ...], unavailable: dict[str, str]) -> Iterator[tuple[str, str]]:
    for meter in meters:
        for device, reason in meter.missing.items():
            yield f"{meter.name} {device}", reason
        if meter.name in unavailable and not meter.missing:
            yield meter.name, unavailable[meter.name]


def _conclusion(
    channels: list[dict[str, Any]], counted: list[dict[str, Any]], failed: list[checks.Check]
) -> str:
    if counted and failed:
        names = ", ".join(sorted({f"{check.name} ({check.subject})" for check in failed}))
        return f"counters are there, but not to be trusted yet: {names} failed"
    if counted:
        parts = ", ".join(f"{c['component']} ({c['source']})" for c in counted)
        return f"grade {min(c['grade'] for c in counted)} available: {parts}"
    if any(c["grade"] == "S" for c in channels):
        return "simulated sensors only (grade S): good for tests, never for a table"
    return (
        "no energy counter that works: seconds and CPU-seconds are the finding, joules are "
        "modelled (grade C)"
    )
