"""A result in words and figures, for terminals, tables and failures."""

from __future__ import annotations

import math

from bench.ci.results import TITLES, UNITS, Result

_PREFIXES = {-3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T"}

_MOST_DIGITS = 6

NOT_JOULES = "no joule is claimed"


def scaled(value: float | None, unit: str) -> str:
    """Return a positive figure with three digits and a prefix: ``2.41 ms``."""
    if value is None:
        return "—"
    power = 0
    while value >= 999.5 and power < max(_PREFIXES):
        value, power = value / 1000, power + 1
    while 0 < value < 0.9995 and power > min(_PREFIXES):
        value, power = value * 1000, power - 1
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {_PREFIXES[power]}{unit}".rstrip()


def interval(result: Result) -> str:
    """Return ratio and interval: ``1.20 [1.18, 1.22]``; a dash without a ratio."""
    if result.ratio is None or result.interval is None:
        return "—"
    low, high = result.interval
    digits = 3 if high - low < 0.02 else 2
    # As many as show on which side of the limit an end lies, for that is the verdict.
    ends = [end for end in (low, high) if end != result.limit]
    while digits < _MOST_DIGITS and result.limit in [round(end, digits) for end in ends]:
        digits += 1
    return f"{result.ratio:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def change(result: Result) -> str:
    """Return what a call takes, of the baseline before an arrow if there is one."""
    unit = UNITS[result.measure]
    now = scaled(result.per_call, unit)
    if result.baseline_per_call is None:
        return now
    return f"{scaled(result.baseline_per_call, unit)} → {now}"


def measured(result: Result) -> str:
    """Return what was compared: ``joules (cpu:0+gpu:0, grade B)``, ``CPU-seconds``."""
    title = TITLES[result.measure]
    if result.measure == "energy_j":
        return f"{title} ({result.scope}, grade {result.grade})"
    return title


def outcome(result: Result) -> str:
    """Return the verdict with what it takes to understand it."""
    words: str = result.verdict
    if result.verdict == "undecided":
        words += f", {more(result)}"
    if result.limit is not None and result.verdict in ("passes", "fails", "undecided"):
        words += f" (limit {result.limit:g})"
    return words


def more(result: Result) -> str:
    """Return what would decide an undecided check."""
    if result.kind == "stored":
        return "runs of other days scatter as much; python -m bench.ci measures both in turns"
    if result.low is not None and result.limit is not None and result.low > result.limit:
        return "two fresh processes would have to find it, too"
    if result.more_blocks is None:
        return "the ratio is too near to the limit for any number of blocks one would wait for"
    blocks = "block" if result.more_blocks == 1 else "blocks"
    seconds = math.ceil(result.more_blocks * result.blocks_s / result.blocks)
    return (
        f"about {result.more_blocks} more {blocks}, {seconds} s, would decide if the ratio stays: "
        "--joules-max-time, --joules-half-width"
    )


def failure(result: Result) -> str:
    """Return why a check fails: what, how much, how sure, against what."""
    unit = f"{TITLES[result.measure]} per call"
    lines = [
        f"{result.test} costs more than --joules-fail=ratio:{result.limit:g} allows",
        f"  what:      {unit}, {change(result)}",
        f"  how much:  {result.ratio:.3g} times the baseline",
        f"  how sure:  95 % interval {interval(result)}, {result.blocks} blocks in turns, "
        f"{result.discarded} discarded, {result.blocks_s:.0f} s",
    ]
    if result.kind == "stored":
        lines[3] = f"  how sure:  95 % interval {interval(result)}, {result.blocks} blocks"
    lines.append(f"  against:   {result.against or 'the function given as baseline'}")
    if result.reason:
        lines.append(f"  note:      {result.reason}")
    if result.note:
        lines.append(f"  measure:   {TITLES[result.measure]}, {result.note}; {NOT_JOULES}")
    return "\n".join(lines)


def first_line(problem: object) -> str:
    """Return a message without what was printed before it: that stands in the job's own output."""
    return str(problem).partition("\n")[0]
