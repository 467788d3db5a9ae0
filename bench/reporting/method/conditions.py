"""On which conditions blocks and sessions are thrown away, and how many were.

Limits that no protocol holds are the measuring code's, which a report cannot import: it needs
sensors. They are repeated here, and a test holds both together.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from bench.reporting.method.documents import distinct
from bench.reporting.prose import (
    Section,
    counted,
    listed,
    paragraph,
    percentage,
    quantity,
    section,
)

SHORTEST = 0.5
FEWEST_TICKS = 0.8
LEAST_OF_IDLE = 0.9
MOST_OF_LIMIT = 1.05
FAULTS_PER_S = 10

_NAMED = 5

Rules = Mapping[str, Any]


def conditions(rules: Rules, pairs: pd.DataFrame) -> dict[str, str]:
    """Return what makes a block be thrown away, by the name that a discard has in a record.

    Only conditions that the hosts of these pairs can be held to (without a counter none can stand
    still), and of limits that are knobs only those that the protocol has.
    """
    channels = {
        (meter, channel["component"], channel["grade"])
        for meters in distinct(pairs, "meters_json")
        for meter, found in meters.items()
        for channel in found
    }
    gpus = any(found.get("gpus") for found in distinct(pairs, "environment_json"))
    said = dict(_of_the_host(rules, gpus))
    if channels:
        said["missing reading"] = (
            "a meter gave no joules, though windows of this length can have some"
        )
    if any(grade == "B" for _, _, grade in channels):
        said |= _of_counters(rules)
    polled = {part for meter, part, _ in channels if meter == "polled"}
    if polled & {part for meter, part, _ in channels if meter == "counters"}:
        said |= _over(
            rules,
            "max_disagreement",
            "disagreement",
            "polled power and its counter differed by over {}",
        )
    return said


def _of_the_host(rules: Rules, gpus: bool) -> Iterator[tuple[str, str]]:
    if "window_s" in rules:
        yield "too short", f"a window took less than {quantity(SHORTEST * rules['window_s'], 's')}"
    yield from _over(rules, "max_steal", "steal", "the hypervisor kept over {} of the cores' time")
    yield from _over(
        rules, "max_foreign", "foreign load", "other processes used over {} of the cores' time"
    )
    yield "page faults", f"over {FAULTS_PER_S} page faults a second waited for storage"
    yield "throttled cpu", "a core or a package was slowed down for heat"
    gaps_c = {"CPU packages": rules.get("max_cpu_gap_c")}
    if gpus:
        yield (
            "throttled gpu",
            "a GPU was held below its clocks for heat, protection or a power brake",
        )
        yield "foreign process on the gpu", "another process was on a GPU"
        gaps_c["GPUs"] = rules.get("max_gpu_gap_c")
    limits = [
        f"{quantity(c, 'degrees Celsius')} ({what})" for what, c in gaps_c.items() if c is not None
    ]
    if limits:
        yield (
            "temperature gap",
            f"the windows of one arm began warmer by over {listed(limits, 'or')}, on average",
        )


def _of_counters(rules: Rules) -> Iterator[tuple[str, str]]:
    yield "still counter", "a counter did not move"
    if rules.get("min_ticks"):
        fewest = FEWEST_TICKS * rules["min_ticks"]
        yield "too few ticks", f"a counter was updated fewer than {fewest:g} times in a window"
    yield (
        "implausible power",
        f"a counter's mean power lay below {LEAST_OF_IDLE:g} of idling or above {MOST_OF_LIMIT:g} "
        "of the power limit",
    )


def _over(rules: Rules, key: str, name: str, text: str) -> Iterator[tuple[str, str]]:
    if key in rules:
        yield name, text.format(percentage(rules[key]))


def discarded(pairs: pd.DataFrame) -> Section | None:
    """Return how many blocks were thrown away and why, and which sessions were."""
    lost = int(pairs["discarded"].sum())
    blocks = counted(int(pairs["blocks"].sum()) + lost, "block")
    said = f"None of {blocks} was discarded"
    if lost:
        causes: Counter[str] = Counter()
        for text, times in pairs["discards_json"].value_counts().items():
            causes.update({c: n * times for c, n in Counter(json.loads(str(text))).items()})
        each = ", ".join(f"{count:,} for {name}" for name, count in sorted(causes.items()))
        said = f"Of {blocks} {lost:,} {'was' if lost == 1 else 'were'} discarded: {each}"
    bad = pairs[~pairs["session_valid"].astype(bool)].sort_values(["host", "id"])
    if bad.empty:
        return section("Discards", paragraph(said, "Every session is valid"))
    invalid = f"{'is' if len(bad) == 1 else 'are'} invalid, and no ratio of theirs is used"
    named = [f"{r.id} on {r.host}: {r.session_reason}" for r in bad.head(_NAMED).itertuples()]
    if len(bad) > _NAMED:
        named.append(f"and {len(bad) - _NAMED:,} more")
    sessions = f"{len(bad):,} of {counted(len(pairs), 'session')} {invalid}"
    return section("Discards", paragraph(said, sessions, items=named))
