"""How often the intervals hold the truth, in simulated campaigns whose truth is known.

    python -m benchmarks.coverage                     under two minutes on one core
    python -m benchmarks.coverage repeats=2000 sweeps=1000 seed=1 out=FILE

The functions are those that the reports call. Every figure has its Monte-Carlo standard error, and
stands beside the bar it is held against.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from bench.statistics import Floats
from bench.statistics.lifecycle import block_savings, break_even, pooled_break_even
from bench.statistics.pooling import Pooled, energy_verdict, holm, pool
from bench.statistics.quality import tango_interval
from bench.statistics.ratios import block_log_ratios, half_width, paired_ratio
from benchmarks.campaigns import campaigns
from benchmarks.coverage_table import Finding, Section, report

ROOT = Path(__file__).parents[1]
RATIO = 0.8
NEAR_95 = (0.93, 0.97)
TANGO_BAR = (0.94, 0.96)
FALSE_CLAIMS_BAR = (0.0, 0.05)
BIAS_BAR = 0.001
SIZES = (8, 20)

# The stopping rule of conf/protocol/paper.yaml.
MIN_BLOCKS, MAX_BLOCKS, HALF_WIDTH = 8, 40, 0.02

SCATTER = 0.03
"""Standard deviation of the log ratio between sessions or seeds, where they differ."""
COST_SCATTER = 0.05
"""Likewise of what the optimisation cost."""

TECHNIQUES = 10
TEST_SETS = {277: "RTE", 408: "MRPC", 872: "SST-2", 9815: "MNLI"}
DISCORDANCE = (
    (0.005, 0.005),
    (0.015, 0.015),
    (0.025, 0.015),
    (0.04, 0.04),
    (0.05, 0.03),
    (0.07, 0.05),
)
"""Shares of examples lost and gained: int8 changes 1 to 3 %, a distilled model 6 to 12 %."""
LEAST_DISCORDANT = 8
"""Fewest differing examples to be expected for which the bar is asked: below, tables are too few
for any interval to cover nearly exactly."""

Told = Callable[[str], None]
"""Told of each row that is begun."""


@dataclass(frozen=True)
class Plan:
    """How much is simulated.

    Attributes:
        repeats: Campaigns behind each coverage. 2,000 leave a standard error of 0.004, where spikes
            lie 0.001 from the bar; this many leave 0.0009.
        sweeps: A/A sweeps behind each share of false claims.
        seed: Of everything.
    """

    repeats: int = 40_000
    sweeps: int = 1_000
    seed: int = 0


def share(hits: list[bool]) -> tuple[float, float]:
    """Return the share of hits and its standard error."""
    found = float(np.mean(hits))
    return found, math.sqrt(found * (1 - found) / len(hits))


def coverage(
    what: str, intervals: list[tuple[float, float, float]], bar: tuple[float, float] | None
) -> Finding:
    """Hold ratios with their intervals against ``RATIO``; the bias is that of the logarithm."""
    found, error = share([low <= RATIO <= high for _, low, high in intervals])
    logs = np.log([ratio for ratio, _, _ in intervals])
    bias, bias_error = float(logs.mean()) - math.log(RATIO), float(stats.sem(logs))
    width = float(np.median([high / ratio - 1 for ratio, _, high in intervals]))
    holds = None if bar is None else abs(bias) < BIAS_BAR and bar[0] <= found <= bar[1]
    biased = f"{bias:+.3%} ± {bias_error:.3%}"
    return Finding(what, found, error, bar, (biased, f"{width:.1%}"), holds)


def ratio_rows(plan: Plan, rng: np.random.Generator, told: Told) -> Iterator[Finding]:
    """Yield the coverage of one session's ratio."""
    for interleaved, spikes, blocks in itertools.product((True, False), (True, False), SIZES):
        design = "ABBA/BAAB" if interleaved else "all A, then all B"
        what = f"{design}, {blocks} blocks{', spikes' if spikes else ''}"
        told(what)
        made = campaigns(rng, RATIO, plan.repeats, blocks, spikes, interleaved)
        pairs = [paired_ratio(a, b) for a, b in zip(made.baseline, made.variant, strict=True)]
        found = [(pair.ratio, pair.low, pair.high) for pair in pairs]
        yield coverage(what, found, NEAR_95 if interleaved else None)
    what = f"ABBA/BAAB, spikes, {MIN_BLOCKS} blocks, then until ±{HALF_WIDTH:.0%}, at most"
    what += f" {MAX_BLOCKS}"
    told(what)
    made = campaigns(rng, RATIO, plan.repeats, MAX_BLOCKS)
    found = []
    for a, b in zip(made.baseline, made.variant, strict=True):
        d = block_log_ratios(a, b)
        blocks = MIN_BLOCKS
        while blocks < MAX_BLOCKS and half_width(d[:blocks]) > HALF_WIDTH:
            blocks += 1
        pair = paired_ratio(a[:blocks], b[:blocks])
        found.append((pair.ratio, pair.low, pair.high))
    yield coverage(what, found, NEAR_95)


def pooled_rows(plan: Plan, rng: np.random.Generator, told: Told) -> Iterator[Finding]:
    """Yield the coverage of the ratio over several sessions or seeds of 8 blocks each."""
    cases = ((2, 0.0, True), (2, 0.0, False), (3, SCATTER, True), (5, SCATTER, True))
    for records, scatter, spikes in (*cases, (2, SCATTER, True)):
        what = f"{records} records, {f'scatter {scatter:.0%}' if scatter else 'no scatter'}"
        what += ", spikes" if spikes else ""
        told(what)
        found = []
        true = RATIO * np.exp(rng.normal(0, scatter, plan.repeats * records))
        for several in pooled(rng, true, records, spikes=spikes):
            found.append((several.ratio, several.low, several.high))
        meant = records > 2 or not scatter
        yield coverage(f"{what}: {several.method}", found, NEAR_95 if meant else None)


def pooled(
    rng: np.random.Generator, ratios: Floats, records: int, blocks: int = 8, spikes: bool = True
) -> list[Pooled]:
    """Measure each true ratio in a session of its own, and pool every so many in a row."""
    made = campaigns(rng, ratios, ratios.size, blocks, spikes)
    d = np.log(made.variant).mean(axis=2) - np.log(made.baseline).mean(axis=2)
    means, sds = (x.reshape(-1, records) for x in (d.mean(axis=1), d.std(axis=1, ddof=1)))
    return [pool(m, s, np.full(records, blocks)) for m, s in zip(means, sds, strict=True)]


def break_even_rows(plan: Plan, rng: np.random.Generator, told: Told) -> Iterator[Finding]:
    """Yield the coverage of the break-even: of one session, then over five."""
    cost = 1000.0
    for spikes, blocks in itertools.product((True, False), SIZES):
        told(f"break-even, {blocks} blocks")
        made = campaigns(rng, RATIO, plan.repeats, blocks, spikes)
        found = [break_even(cost, a, b) for a, b in zip(made.baseline, made.variant, strict=True)]
        for whose, levels in (("any", np.full(plan.repeats, made.level)), ("own", made.own_level)):
            hits = [
                one is not None and one.low <= cost / ((1 - RATIO) * level) <= one.high
                for one, level in zip(found, levels, strict=True)
            ]
            what = f"1 session, {blocks} blocks{', spikes' if spikes else ''}"
            never = f"{np.mean([one is None for one in found]):.1%}"
            level_of = "the machine's level" if whose == "any" else "that session's level"
            bar = NEAR_95 if spikes and whose == "any" else None
            yield Finding(what, *share(hits), bar, (level_of, never))
    told("break-even over records")
    yield pooled_break_evens(plan, rng, cost)


def pooled_break_evens(plan: Plan, rng: np.random.Generator, mean_cost: float) -> Finding:
    """Five seeds, each with a cost and a ratio of its own."""
    records, blocks = 5, 8
    size = plan.repeats, records
    # Means of 1, so that the truth is the quotient of the means.
    costs = mean_cost * np.exp(rng.normal(-(COST_SCATTER**2) / 2, COST_SCATTER, size))
    ratios = RATIO * np.exp(rng.normal(-(SCATTER**2) / 2, SCATTER, size))
    made = campaigns(rng, ratios.ravel(), ratios.size, blocks)
    savings = np.array(
        [block_savings(a, b) for a, b in zip(made.baseline, made.variant, strict=True)]
    )
    means, sds = (x.reshape(size) for x in (savings.mean(axis=1), savings.std(axis=1, ddof=1)))
    found = [
        pooled_break_even(c, m, s, np.full(records, blocks))
        for c, m, s in zip(costs, means, sds, strict=True)
    ]
    true = mean_cost / ((1 - RATIO) * made.level)
    hits = [one is not None and one.low <= true <= one.high for one in found]
    what = f"{records} seeds of {blocks} blocks, spikes, uncertain costs"
    never = f"{np.mean([one is None for one in found]):.1%}"
    return Finding(what, *share(hits), NEAR_95, ("the machine's level", never))


def tango_rows(told: Told) -> Iterator[Finding]:
    """Yield the coverage of Tango's interval, exactly: summed over all likely tables."""
    for examples, (lose, gain) in itertools.product(TEST_SETS, DISCORDANCE):
        what = f"{TEST_SETS[examples]}, n = {examples}"
        told(f"Tango, {what}")
        covered = tango_coverage(examples, lose, gain)
        bar = TANGO_BAR if examples * (lose + gain) >= LEAST_DISCORDANT else None
        yield Finding(what, covered, None, bar, (f"{lose:.1%}", f"{gain:.1%}"))


def tango_coverage(examples: int, lose: float, gain: float) -> float:
    """Return the probability that the interval holds the true difference, within 1e-6."""
    beyond = 1e-7
    counts = [
        np.arange(stats.binom.ppf(beyond, examples, p), stats.binom.isf(beyond, examples, p) + 1)
        for p in (lose, gain)
    ]
    lost, gained = (x.ravel().astype(int) for x in np.meshgrid(*counts, indexing="ij"))
    tables = np.column_stack((lost, gained, examples - lost - gained))
    chances = stats.multinomial.pmf(tables, examples, (lose, gain, 1 - lose - gain))
    covered = 0.0
    for b, c, chance in zip(lost, gained, chances, strict=True):
        if chance > 1e-12:
            low, high = tango_interval(int(b), int(c), examples)
            covered += chance * (low <= gain - lose <= high)
    return float(covered)


def sweep_rows(plan: Plan, rng: np.random.Generator, told: Told) -> Iterator[Finding]:
    """Yield how many A/A sweeps claim anything at all, after Holm and without."""
    for records, blocks in ((1, 8), (1, 20), (3, 8)):
        what = f"{records} record{'s' if records > 1 else ''} a technique, {blocks} blocks each"
        told(what)
        techniques = pooled(rng, np.ones(plan.sweeps * TECHNIQUES * records), records, blocks)
        sweeps = [techniques[i : i + TECHNIQUES] for i in range(0, len(techniques), TECHNIQUES)]
        plain, plain_error = share([claims(s, [t.p_value for t in s]) for s in sweeps])
        after = share([claims(s, list(holm([t.p_value for t in s]))) for s in sweeps])
        yield Finding(what, *after, FALSE_CLAIMS_BAR, (f"{plain:.3f} ± {plain_error:.3f}",))


def claims(techniques: list[Pooled], p_values: list[float]) -> bool:
    """Whether anything is said to save or to cost."""
    verdicts = [energy_verdict(t.ratio, p) for t, p in zip(techniques, p_values, strict=True)]
    return any(verdict != "undecided" for verdict in verdicts)


def sections(plan: Plan, told: Told) -> list[Section]:
    """Simulate everything."""
    streams = iter(np.random.default_rng(plan.seed).spawn(4))
    return [
        Section("ratio", list(ratio_rows(plan, next(streams), told))),
        Section("pooled", list(pooled_rows(plan, next(streams), told))),
        Section("tango", list(tango_rows(told))),
        Section("break-even", list(break_even_rows(plan, next(streams), told))),
        Section("sweeps", list(sweep_rows(plan, next(streams), told))),
    ]


def main(words: list[str]) -> None:
    """Simulate and write the table."""
    options = dict(word.split("=", 1) for word in words)
    plan = Plan(**{k: int(options[k]) for k in ("repeats", "sweeps", "seed") if k in options})
    found = sections(plan, lambda what: print(what, file=sys.stderr, flush=True))
    text = report(found, plan.repeats, plan.sweeps, plan.seed)
    out = Path(options.get("out", ROOT / "paper" / "benchmarks" / "coverage.md"))
    out.parent.mkdir(parents=True, exist_ok=True)
    half = out.with_suffix(".writing")
    half.write_text(text, encoding="utf-8")
    half.replace(out)
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
