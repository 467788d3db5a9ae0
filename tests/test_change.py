"""What a ratio has become: Welch's test, paired tests, Newcombe's published intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from bench.statistics.change import difference_of_differences, quotient
from bench.statistics.pooling import Pooled, pool
from bench.statistics.quality import PairedDifference

DRAW = np.random.default_rng(5)


def session(logs: np.ndarray) -> Pooled:
    """One record whose blocks have these log ratios."""
    return pool([logs.mean()], [logs.std(ddof=1)], [logs.size])


def test_one_seed_is_welchs_test_on_the_blocks_of_both_sessions() -> None:
    before, after = DRAW.normal(-0.5, 0.02, 8), DRAW.normal(-0.47, 0.05, 20)
    found = quotient([session(before)], [session(after)])
    expected = stats.ttest_ind(after, before, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert math.log(found.ratio) == pytest.approx(after.mean() - before.mean())
    assert (math.log(found.low), math.log(found.high)) == pytest.approx(interval)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.df == pytest.approx(expected.df)
    assert (found.units, found.blocks, found.method) == (1, 28, "blocks")


def test_two_seeds_halve_the_summed_errors_of_their_blocks() -> None:
    before = [pool([math.log(r)], [0.04], [16]) for r in (0.5, 0.6)]
    after = [pool([math.log(r)], [0.04], [16]) for r in (0.6, 0.6)]
    found = quotient(before, after)
    assert found.ratio == pytest.approx(math.sqrt(1.2))
    assert found.log_se == pytest.approx(math.sqrt(4 * 0.01**2) / 2)
    assert found.df == pytest.approx(4 * 15)
    assert found.low == pytest.approx(found.ratio * math.exp(-stats.t.ppf(0.975, 60) * 0.01))
    assert found.method == "fixed"


def test_three_seeds_are_the_paired_test_on_their_log_ratios() -> None:
    before, after = DRAW.normal(-0.5, 0.03, 5), DRAW.normal(-0.45, 0.03, 5)
    found = quotient(*([pool([x], [0.01], [8]) for x in side] for side in (before, after)))
    expected = stats.ttest_rel(after, before)
    interval = expected.confidence_interval(0.95)
    assert (math.log(found.low), math.log(found.high)) == pytest.approx(interval)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.units, found.blocks, found.method) == (5, 80, "random")


def test_the_same_ratio_without_spread_has_no_width_and_is_no_difference() -> None:
    one = pool([0.25], [0.0], [8])
    found = quotient([one], [one])
    assert (found.ratio, found.low, found.high, found.p_value) == (1.0, 1.0, 1.0, 1.0)


def test_the_interval_covers_the_truth_in_95_of_100_pairs_of_sessions() -> None:
    """Simulation with known truth: 0.30 log units, spreads and block counts unlike."""
    covered = 0
    for _ in range(2000):
        before, after = DRAW.normal(0.0, 0.02, 8), DRAW.normal(0.3, 0.06, 12)
        found = quotient([session(before)], [session(after)])
        covered += found.low <= math.exp(0.3) <= found.high
    assert 0.935 <= covered / 2000 <= 0.965


@pytest.mark.parametrize(
    ("after", "before", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_intervals_that_are_not_symmetric_combine_as_newcombe_published(
    after: tuple[int, int], before: tuple[int, int], low: float, high: float
) -> None:
    """Newcombe (1998) Statist. Med. 17:873-890, table II, method 10, of which MOVER is the rule."""

    def proportion(count: int, of: int) -> PairedDifference:
        return PairedDifference(count / of, *proportion_confint(count, of, method="wilson"))

    found = difference_of_differences([proportion(*before)], [proportion(*after)])
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_two_seeds_of_a_metric_halve_their_summed_distances() -> None:
    before = [PairedDifference(-0.01, -0.03, 0.02)] * 2
    after = [PairedDifference(0.02, -0.02, 0.05), PairedDifference(0.00, -0.04, 0.03)]
    found = difference_of_differences(before, after)
    assert found.difference == pytest.approx(0.02)
    assert found.low == pytest.approx(0.02 - math.sqrt(2 * 0.04**2 + 2 * 0.03**2) / 2)
    assert found.high == pytest.approx(0.02 + math.sqrt(2 * 0.03**2 + 2 * 0.02**2) / 2)


def test_three_seeds_of_a_metric_are_the_paired_test() -> None:
    before, after = DRAW.normal(-0.01, 0.002, 4), DRAW.normal(0.0, 0.002, 4)
    wide = [[PairedDifference(float(d), d - 1, d + 1) for d in side] for side in (before, after)]
    found = difference_of_differences(*wide)
    interval = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_seeds_that_do_not_match_are_refused() -> None:
    one = pool([0.25], [0.01], [8])
    with pytest.raises(ValueError, match="need the same seeds twice, at least one; got 1, 2"):
        quotient([one], [one, one])
    with pytest.raises(ValueError, match="got 0, 0"):
        difference_of_differences([], [])
