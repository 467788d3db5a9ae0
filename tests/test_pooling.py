"""Ratios taken together against SciPy, statsmodels, published examples and simulation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from bench.statistics import Floats, pooling, ratios

NAN, INF = math.nan, math.inf


def summary(*records: Floats) -> tuple[list[float], list[float], list[int]]:
    """Return mean, standard deviation and number of each record's log ratios."""
    return (
        [float(d.mean()) for d in records],
        [float(d.std(ddof=1)) for d in records],
        [d.size for d in records],
    )


def logs(seed: int, blocks: int, mean: float = -0.2, sd: float = 0.02) -> Floats:
    return np.random.default_rng(seed).normal(mean, sd, blocks)


# Records of one technique.


def test_one_record_keeps_its_own_interval() -> None:
    d = logs(1, 9)
    found = pooling.pool(*summary(d))
    pair = ratios.paired_ratio(np.ones((9, 2)), np.exp(np.column_stack((d, d))))
    assert (found.ratio, found.low, found.high) == pytest.approx((pair.ratio, pair.low, pair.high))
    assert found.p_value == pytest.approx(stats.ttest_1samp(d, 0).pvalue)
    assert (found.units, found.blocks, found.method, found.df) == (1, 9, "blocks", 8)
    assert found.log_se == pytest.approx(stats.sem(d))


def test_two_records_are_fixed_effects_with_welchs_degrees() -> None:
    # The mean of two sessions is half the difference of one and the other's mirror image.
    first, second = logs(1, 8, -0.2, 0.01), logs(2, 20, -0.3, 0.04)
    welch = stats.ttest_ind(first, -second, equal_var=False)
    interval = welch.confidence_interval()
    found = pooling.pool(*summary(first, second))
    assert found.ratio == pytest.approx(math.exp((first.mean() + second.mean()) / 2))
    assert (found.low, found.high) == pytest.approx(
        (math.exp(interval.low / 2), math.exp(interval.high / 2))
    )
    assert found.p_value == pytest.approx(welch.pvalue)
    assert found.df == pytest.approx(welch.df)
    assert (found.units, found.blocks, found.method) == (2, 28, "fixed")


def test_three_records_are_a_sample_of_records() -> None:
    records = [logs(seed, 8, -0.2 - 0.1 * seed) for seed in range(3)]
    means = [d.mean() for d in records]
    oracle = stats.ttest_1samp(means, 0)
    interval = oracle.confidence_interval()
    found = pooling.pool(*summary(*records))
    assert (found.low, found.high) == pytest.approx(
        (math.exp(interval.low), math.exp(interval.high))
    )
    assert found.ratio == pytest.approx(stats.gmean(np.exp(means)))
    assert found.p_value == pytest.approx(oracle.pvalue)
    assert (found.units, found.blocks, found.method, found.df) == (3, 24, "random", 2)


def test_confidence_widens_the_interval_and_leaves_p_alone() -> None:
    means, sds, blocks = summary(logs(1, 8))
    usual, wide = (pooling.pool(means, sds, blocks, c) for c in (0.95, 0.99))
    assert wide.low < usual.low < usual.high < wide.high
    assert wide.p_value == usual.p_value


def test_random_effects_cover_where_sessions_scatter_and_their_blocks_do_not() -> None:
    # Sessions scatter by 5 %, blocks by 1 %: what blocks alone would say is far too narrow.
    rng = np.random.default_rng(11)
    hits = {"random": 0, "one session": 0}
    for _ in range(1000):
        sessions = rng.normal(math.log(0.8), 0.05, (4, 1)) + rng.normal(0, 0.01, (4, 8))
        for name, records in (("random", sessions), ("one session", sessions[:1])):
            found = pooling.pool(*summary(*records))
            hits[name] += found.low <= 0.8 <= found.high
    assert 930 <= hits["random"] <= 970
    assert hits["one session"] < 300


@pytest.mark.parametrize("units", [1, 2, 3])
def test_records_without_any_spread_have_an_interval_without_width(units: int) -> None:
    means, sds, blocks = [math.log(0.5)] * units, [0.0] * units, [4] * units
    found = pooling.pool(means, sds, blocks)
    assert (found.low, found.ratio, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert found.p_value == 0.0
    assert found.df > 0
    assert pooling.pool([0.0] * units, sds, blocks).p_value == 1.0


def test_one_of_two_records_without_spread_leaves_the_others_degrees() -> None:
    found = pooling.pool([0.1, 0.1], [0.0, 0.02], [8, 5])
    assert found.df == pytest.approx(4)
    assert found.log_se == pytest.approx(0.02 / math.sqrt(5) / 2)


@pytest.mark.parametrize(
    ("means", "sds", "blocks"),
    [
        ([], [], []),
        ([0.1, 0.2], [0.1], [8, 8]),
        ([NAN], [0.1], [8]),
        ([0.1], [-0.1], [8]),
        ([0.1], [INF], [8]),
        ([0.1], [0.1], [1]),
    ],
)
def test_what_is_no_record_is_refused(
    means: list[float], sds: list[float], blocks: list[int]
) -> None:
    with pytest.raises(ValueError, match=r"three vectors|a record has"):
        pooling.pool(means, sds, blocks)


# Tasks.


def test_the_mean_over_tasks_is_geometric() -> None:
    tasks = [pooling.pool([math.log(ratio)], [0.01], [8]) for ratio in (0.25, 1.0, 0.5)]
    found = pooling.geometric_mean(tasks)
    assert found.ratio == pytest.approx(stats.gmean([0.25, 1.0, 0.5]))
    assert (found.units, found.blocks, found.method) == (3, 24, "tasks")


def test_the_mean_over_two_tasks_has_the_interval_of_two_sessions() -> None:
    first, second = logs(3, 8, -0.1, 0.01), logs(4, 12, -0.5, 0.03)
    both = pooling.pool(*summary(first, second))
    found = pooling.geometric_mean([pooling.pool(*summary(d)) for d in (first, second)])
    assert dataclasses.replace(found, method="fixed") == pytest.approx(both)


def test_tasks_of_equal_errors_add_up_their_degrees() -> None:
    # Four equal variances with 7 degrees each: Satterthwaite gives 28, the error halves.
    tasks = [pooling.pool([-0.2], [0.02], [8])] * 4
    found = pooling.geometric_mean(tasks)
    assert found.df == pytest.approx(28)
    assert found.log_se == pytest.approx(tasks[0].log_se / 2)
    assert math.log(found.high) == pytest.approx(-0.2 + stats.t.ppf(0.975, 28) * found.log_se)


def test_no_tasks_have_no_mean() -> None:
    with pytest.raises(ValueError, match="at least one task"):
        pooling.geometric_mean([])


# Many techniques.


def test_holm_multiplies_each_p_by_the_tests_that_are_left() -> None:
    # By hand: sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, never falling.
    assert pooling.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_is_that_of_statsmodels() -> None:
    # statsmodels 0.15.0: multipletests(p, method="holm")[1]; ties and a p that would pass 1.
    p = [0.01, 0.04, 0.03, 0.005, 0.02, 0.8, 0.04, 0.0004]
    expected = [0.06, 0.12, 0.12, 0.035, 0.1, 0.8, 0.12, 0.0032]
    assert pooling.holm(p) == pytest.approx(expected)
    assert list(pooling.holm([0.6, 0.9])) == [1.0, 1.0]
    assert pooling.holm([]).size == 0


@pytest.mark.parametrize("p", [[-0.1], [1.1], [NAN, 0.2], [[0.1]]])
def test_what_is_no_p_value_is_refused(p: list[float]) -> None:
    with pytest.raises(ValueError, match="p-values"):
        pooling.holm(p)


def test_simultaneous_intervals_share_the_error_equally() -> None:
    d = [logs(seed, 8) for seed in range(5)]
    wide = pooling.simultaneous([pooling.pool(*summary(x)) for x in d])
    for x, found in zip(d, wide, strict=True):
        interval = stats.ttest_1samp(x, 0).confidence_interval(0.99)  # 1 - 0.05 / 5
        assert (math.log(found.low), math.log(found.high)) == pytest.approx(tuple(interval))
    assert pooling.simultaneous([]) == ()


def test_simultaneous_intervals_hold_together_and_single_ones_do_not() -> None:
    rng = np.random.default_rng(6)
    missed = {"together": 0, "alone": 0}
    for _ in range(1000):
        alone = [pooling.pool(*summary(d)) for d in rng.normal(0, 0.02, (10, 8))]
        for name, family in (("together", pooling.simultaneous(alone)), ("alone", alone)):
            missed[name] += any(not t.low <= 1 <= t.high for t in family)
    assert missed["together"] <= 70  # 50 expected, its standard error is 7
    assert missed["alone"] >= 340  # 1 - 0.95**10 is 0.40


@pytest.mark.parametrize(
    ("ratio", "p", "expected"),
    [
        (0.8, 0.049, "saves"),
        (1.2, 0.049, "costs"),
        (0.8, 0.05, "undecided"),
        (0.8, NAN, "undecided"),
        (1.0, 0.0, "undecided"),
    ],
)
def test_a_ratio_is_judged_by_its_adjusted_p(ratio: float, p: float, expected: str) -> None:
    assert pooling.energy_verdict(ratio, p) == expected


def test_a_single_technique_is_judged_as_by_its_interval() -> None:
    for seed in range(200):
        found = pooling.pool(*summary(logs(seed, 8, -0.015)))
        judged = pooling.energy_verdict(found.ratio, pooling.holm([found.p_value])[0])
        lies = {"saves": "below", "costs": "above", "undecided": "undecided"}[judged]
        assert ratios.direction(found.low, found.high) == lies
