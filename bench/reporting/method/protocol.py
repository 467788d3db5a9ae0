"""How the pairs were measured, from the protocols that their records hold.

A protocol of an older or a newer project may lack a key: what it lacks is not described.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from bench.reporting.method.conditions import conditions
from bench.reporting.method.documents import distinct, documents
from bench.reporting.prose import (
    Paragraph,
    Section,
    counted,
    listed,
    paragraph,
    percentage,
    quantity,
    section,
)

CALIBRATIONS = 30
"""Most calibrations of an arm during warm-up."""

LEAST_ALLOWED = 2
"""Discarded blocks that never end a session, however small its protocol's share."""

RUN = 20
"""Requests of one arm before it is the other's turn; the first of them is not counted."""


def described(pairs: pd.DataFrame) -> Section | None:
    """Return what all sessions have in common, and each protocol they were measured under."""
    found = list(documents(pairs, "protocol_json"))
    names = Counter(_name(rules) for rules, _ in found)
    seen: Counter[str] = Counter()
    said = [_design()]
    for rules, group in found:
        name = _name(rules)
        seen[name] += 1
        title = f"Protocol {name}" + (f", variant {seen[name]}" if names[name] > 1 else "")
        said += _one(f"{title} ({counted(len(group), 'pair')})", rules, group)
    return section("Protocol", *said)


def _name(rules: Mapping[str, Any]) -> str:
    return str(rules.get("name") or "without a name")


def _design() -> Paragraph:
    return paragraph(
        "The unit of measurement is the window: passes over batches that lie ready on the device, "
        "as many as fill it by a calibration during warm-up",
        "Clock and cumulative joules are read at its two edges, with the device idle",
        "Four windows make a block, ABBA or BAAB with A the baseline and B the variant, so that a "
        "linear drift falls on both arms alike; the two orders alternate, and the seed draws the "
        "first",
        "A block is discarded on a condition, never for its energy, and another one is measured in "
        "its place",
    )


def _one(title: str, rules: Mapping[str, Any], pairs: pd.DataFrame) -> Iterator[Paragraph]:
    yield paragraph(
        f"{title}: {_windows(rules, pairs)}",
        _lead_in(rules),
        _idle(rules),
        _warm_up(rules),
        _stopping(rules, pairs),
        _latency(rules, pairs),
    )
    yield paragraph(
        _ends_early(rules),
        _validity(rules, pairs),
        "A block is discarded if one of these befalls any of its windows, as far as the host tells",
        items=tuple(conditions(rules, pairs).values()),
    )


def _windows(rules: Mapping[str, Any], pairs: pd.DataFrame) -> str:
    if "window_s" not in rules:
        return "it does not say how long a window is"
    planned_s, ticks = float(rules["window_s"]), int(rules.get("min_ticks", 0))
    needed_s = {ticks * _slowest_s(meters) for meters in distinct(pairs, "meters_json")}
    longer = sorted(length_s for length_s in needed_s if length_s > planned_s)
    text = f"a window is planned to last {quantity(planned_s, 's')}"
    if not longer:
        return text
    return (
        f"{text}, or {listed((quantity(s, 's') for s in longer), 'or')} where the slowest counter "
        f"needs that for {counted(ticks, 'update')}"
    )


def _slowest_s(meters: Mapping[str, Any]) -> float:
    """Return the step of the slowest sensor; windows do not wait for models (grade C)."""
    steps_s = (
        float(channel["step_s"])
        for channels in meters.values()
        for channel in channels
        if channel["grade"] != "C"
    )
    return max(steps_s, default=0.0)


def _lead_in(rules: Mapping[str, Any]) -> str | None:
    pause_s, lead_in_s = float(rules.get("jitter_s", 0)), float(rules.get("lead_in_s", 0))
    pause = f"a random pause of up to {quantity(pause_s, 's')}"
    work = f"{quantity(lead_in_s, 's')} of unmeasured work of the same arm"
    said = [text for text, length_s in ((pause, pause_s), (work, lead_in_s)) if length_s > 0]
    return f"Before each window comes {listed(said)}" if said else None


def _idle(rules: Mapping[str, Any]) -> str | None:
    idle_s = float(rules.get("idle_s", 0))
    if idle_s <= 0:
        return None
    return (
        f"A session begins and ends with {quantity(idle_s, 's')} of idling, which is measured too"
    )


def _warm_up(rules: Mapping[str, Any]) -> str | None:
    if "warmup_s" not in rules or "warmup_tolerance" not in rules:
        return None
    return (
        f"Before the blocks both arms work for {quantity(rules['warmup_s'], 's')} or longer, until "
        f"three calibrations in a row agree within {percentage(rules['warmup_tolerance'])} (after "
        f"{CALIBRATIONS} an arm whatever they say)"
    )


def _stopping(rules: Mapping[str, Any], pairs: pd.DataFrame) -> str | None:
    if not {"min_blocks", "max_blocks", "half_width"} <= rules.keys():
        return None
    least, most = int(rules["min_blocks"]), int(rules["max_blocks"])
    what = " or ".join(
        word
        for word, there in (
            ("joules", pairs["lead"].str.startswith("energy_").any()),
            ("seconds", (~pairs["lead"].str.startswith("energy_")).any()),
        )
        if there
    )
    if least == most:
        return f"Measuring stops after {counted(least, 'block')}"
    return (
        f"Measuring stops once {counted(least, 'block')} are kept and the half-width of the 95 % "
        f"interval of the ratio of {what} is {percentage(rules['half_width'])} or less, at the "
        f"latest after {counted(most, 'block')}: the rule looks at the width, never at what the "
        "ratio says"
    )


def _latency(rules: Mapping[str, Any], pairs: pd.DataFrame) -> str | None:
    timed = pairs[["baseline_latency_requests", "variant_latency_requests"]].stack()
    requests = int(rules.get("latency_requests", 0))
    if requests == 0 or timed.empty:
        return None
    limit = ""
    if "latency_s" in rules:
        limit = f" or {quantity(rules['latency_s'], 's')} have gone by"
    return (
        "After the blocks single examples are answered one after another, the arms taking turns in "
        f"runs of {RUN} of which the first is not counted, until {requests:,} an arm are "
        f"timed{limit}"
    )


def _ends_early(rules: Mapping[str, Any]) -> str | None:
    if not {"max_discarded", "max_blocks"} <= rules.keys():
        return None
    borne = math.floor(max(LEAST_ALLOWED, rules["max_discarded"] * rules["max_blocks"]))
    return f"A session ends early once over {counted(borne, 'block')} are discarded"


def _validity(rules: Mapping[str, Any], pairs: pd.DataFrame) -> str | None:
    reasons = []
    if "max_discarded" in rules:
        reasons.append(f"over {percentage(rules['max_discarded'])} of its blocks are discarded")
    if "max_idle_drift" in rules and pairs["idle_drift"].notna().any():
        limit = percentage(rules["max_idle_drift"])
        reasons.append(f"idle power moves by over {limit} from before to after")
    if "max_drift" in rules and pairs["baseline_drift"].notna().any():
        limit = percentage(rules["max_drift"])
        reasons.append(
            f"the baseline's own figure drifts by over {limit} (a parabola fitted to its logarithm)"
        )
    return f"A session is invalid if {' or if '.join(reasons)}" if reasons else None
