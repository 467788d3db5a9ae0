"""From windows to a result: ratio, interval, and what they say of the limit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from bench.ci import gate
from bench.ci.instruments import host_class
from bench.ci.results import Kind, Result
from bench.ci.turns import Rules, Turns, block_logs
from bench.measurement.validity import too_many_discards
from bench.measurement.windows import per_item
from bench.statistics import Floats, t_interval
from bench.statistics.ratios import blocks_needed

CONFIDENCE = 0.95

MOST_S = 900.0
"""More than this nobody waits for."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What was checked.

    Attributes:
        test: Node id.
        kind: What it was compared with.
        limit: Ratio above which it fails; ``None`` for none.
        against: Name of the baseline; ``None`` without one, or in a pair.
    """

    test: str
    kind: Kind
    limit: float | None
    against: str | None = None


def concluded(subject: Subject, turns: Turns, rules: Rules) -> Result:
    """Return what windows taken in turns say."""
    measure = rules.measure
    result = Result(
        test=subject.test,
        kind=subject.kind,
        measure=measure.name,
        scope=measure.scope,
        source=measure.source,
        grade=measure.grade,
        note=measure.note,
        host_class=host_class(),
        limit=subject.limit,
        against=subject.against,
        blocks=sum(window.kept for window in turns.windows) // 4,
        discarded=len(turns.discards),
        calls=turns.calls["variant"],
        baseline_calls=turns.calls.get("baseline", 0),
        spent_s=turns.spent_s,
        verdict="invalid",
        reason=too_many_discards(turns.windows, turns.discards, rules.protocol),
    )
    baseline, variant = per_item(turns.windows, measure.of)
    if result.blocks < 2 or not variant.size:
        return replace(result, reason=result.reason or _too_little(result))
    found = _described(result, baseline, variant)
    if not baseline.size:
        return found if found.reason else replace(found, verdict="no baseline")
    return _compared(found, block_logs(turns.windows, measure))


def _too_little(result: Result) -> str:
    if result.blocks >= 2:
        return f"{result.measure} could not be read in every window"
    return (
        f"{result.blocks} blocks in {result.spent_s:.0f} s are too few for an interval: "
        "--joules-max-time gives more, or call something shorter"
    )


def _described(result: Result, baseline: Floats, variant: Floats) -> Result:
    """Add what a call takes."""
    logs: Floats = np.log(variant).reshape(result.blocks, -1).mean(axis=1)
    centre, margin = t_interval(logs, CONFIDENCE)
    return replace(
        result,
        per_call=math.exp(centre),
        low_per_call=math.exp(centre - margin),
        high_per_call=math.exp(centre + margin),
        baseline_per_call=math.exp(np.log(baseline).mean()) if baseline.size else None,
        values=tuple(variant.ravel().tolist()),
        baseline_values=tuple(baseline.ravel().tolist()),
        block_logs=tuple(logs.tolist()),
    )


def _compared(result: Result, log_ratios: Floats) -> Result:
    """Add the ratio, and the verdict of a valid check."""
    centre, margin = t_interval(log_ratios, CONFIDENCE)
    result = replace(
        result,
        ratio=math.exp(centre),
        low=math.exp(centre - margin),
        high=math.exp(centre + margin),
        log_ratio_sd=float(log_ratios.std(ddof=1)),
    )
    if result.reason is not None:
        return result
    verdict = gate.verdict(math.exp(centre - margin), math.exp(centre + margin), result.limit)
    more = more_blocks(result) if verdict == "undecided" else None
    return replace(result, verdict=verdict, more_blocks=more)


def more_blocks(result: Result) -> int | None:
    """Return the blocks it would take until the interval leaves the limit, if the ratio stays.

    ``None`` if as many as fit into ``MOST_S`` would not do: the ratio is the limit, as far as
    anyone can tell.
    """
    if result.ratio is None or result.limit is None or result.log_ratio_sd is None:
        return None
    room = abs(math.log(result.ratio / result.limit))
    if room == 0:
        return None
    most = result.blocks + round(MOST_S * result.blocks / result.spent_s)
    needed = blocks_needed(result.log_ratio_sd, math.expm1(room), CONFIDENCE, most)
    return None if needed is None else max(1, needed - result.blocks)
