"""Differences in quality against hand arithmetic, SciPy, published figures and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats

from bench.statistics import Floats, quality

NAN = math.nan


# Tango's interval.


@pytest.mark.parametrize(
    ("lost", "gained", "examples", "confidence", "low", "high", "digits"),
    [
        # Fagerland, Lydersen and Laake (2014) Stat. Med. 33:2850-2875, table V.
        (7, 1, 21, 0.95, -0.517, -0.026, 3),
        # R package PropCIs, scoreci.mp(25, 28, 618, 0.90).
        (25, 28, 618, 0.90, -0.0148, 0.0247, 4),
    ],
)
def test_tangos_interval_is_the_published_one(
    lost: int, gained: int, examples: int, confidence: float, low: float, high: float, digits: int
) -> None:
    found = quality.tango_interval(lost, gained, examples, confidence)
    assert [round(end, digits) for end in found] == [low, high]


@pytest.mark.parametrize(("lost", "gained"), [(15, 5), (3, 11), (1, 0)])
def test_tangos_interval_touches_0_where_mcnemars_test_does(lost: int, gained: int) -> None:
    chi2 = (lost - gained) ** 2 / (lost + gained)
    low, high = quality.tango_interval(lost, gained, 100, stats.chi2.cdf(chi2, 1))
    assert (high if lost > gained else low) == pytest.approx(0, abs=1e-9)


def constrained_score(delta: float, lost: int, gained: int, examples: int) -> float:
    """Score statistic with the nuisance parameter found by climbing the likelihood itself."""
    agreed = examples - lost - gained

    def minus_log_likelihood(q: float) -> float:
        rates = (q, q + delta, 1 - 2 * q - delta)
        return -sum(
            n * math.log(p) for n, p in zip((lost, gained, agreed), rates, strict=True) if n
        )

    bounds = max(0.0, -delta) + 1e-13, (1 - delta) / 2 - 1e-13
    best = optimize.minimize_scalar(
        minus_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-13}
    )
    variance = (2 * best.x + delta - delta**2) / examples
    return ((gained - lost) / examples - delta) / math.sqrt(variance)


@pytest.mark.parametrize(
    ("lost", "gained", "examples"),
    [(7, 1, 21), (12, 9, 408), (0, 4, 50), (4, 0, 50), (20, 1, 21), (0, 0, 30), (300, 40, 9815)],
)
def test_both_ends_score_z_under_a_brute_force_likelihood(
    lost: int, gained: int, examples: int
) -> None:
    low, high = quality.tango_interval(lost, gained, examples)
    assert constrained_score(low, lost, gained, examples) == pytest.approx(1.95996, rel=1e-4)
    assert constrained_score(high, lost, gained, examples) == pytest.approx(-1.95996, rel=1e-4)


@pytest.mark.parametrize(("gained", "examples"), [(0, 1), (0, 400), (3, 40), (39, 40), (40, 40)])
def test_with_nothing_lost_the_upper_end_is_wilsons(gained: int, examples: int) -> None:
    wilson = stats.binomtest(gained, examples).proportion_ci(method="wilson")
    assert quality.tango_interval(0, gained, examples)[1] == pytest.approx(wilson.high)
    assert quality.tango_interval(gained, 0, examples)[0] == pytest.approx(-wilson.high)


@pytest.mark.parametrize("examples", [1, 50, 50_000])
def test_with_everything_gained_the_lower_end_follows_by_hand(examples: int) -> None:
    # The nuisance is (1 - delta) / 2, so the squared score is n (1 - delta) / (1 + delta).
    z2 = stats.chi2.ppf(0.95, 1)
    low, high = quality.tango_interval(0, examples, examples)
    assert (low, high) == pytest.approx(((examples - z2) / (examples + z2), 1.0))
    assert quality.tango_interval(examples, 0, examples)[0] == -1.0


def test_every_small_table_has_an_ordered_mirrored_interval_around_its_estimate() -> None:
    for lost, gained in itertools.product(range(13), repeat=2):
        examples = 12
        if lost + gained > examples:
            continue
        low, high = quality.tango_interval(lost, gained, examples)
        assert -1 <= low <= (gained - lost) / examples <= high <= 1
        assert low < high
        assert quality.tango_interval(gained, lost, examples) == (-high, -low)


@pytest.mark.parametrize("counts", [(-1, 0, 9), (0, -1, 9), (5, 5, 9), (0, 0, 0)])
def test_counts_that_do_not_fit_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        quality.tango_interval(*counts)


def test_tangos_interval_covers_nearly_exactly_at_the_size_of_mrpc() -> None:
    # Exact: the probability of every table that the interval covers, of all likely tables.
    examples, lose, gain = 408, 0.035, 0.025
    tables = list(itertools.product(range(40), range(35)))
    chances = stats.multinomial.pmf(
        [(b, c, examples - b - c) for b, c in tables], examples, (lose, gain, 1 - lose - gain)
    )
    assert chances.sum() > 0.9999
    covered = 0.0
    for (lost, gained), chance in zip(tables, chances, strict=True):
        if chance > 1e-7:
            low, high = quality.tango_interval(lost, gained, examples)
            covered += chance * (low <= gain - lose <= high)
    assert 0.945 <= covered <= 0.957  # methodology 5.6: 0.946 to 0.956


def test_accuracy_counts_what_the_variant_lost_and_gained() -> None:
    baseline = np.array([True] * 7 + [False] + [True] + [False] * 12)
    variant = np.array([False] * 7 + [True] + [True] + [False] * 12)
    found = quality.paired_accuracy(baseline, variant)
    assert found.difference == pytest.approx(-6 / 21)
    assert (round(found.low, 3), round(found.high, 3)) == (-0.517, -0.026)


@pytest.mark.parametrize(
    ("baseline", "variant", "problem"),
    [
        ([True, False], [True], "bool vectors"),
        ([1, 0], [1, 0], "bool vectors"),
        ([[True]], [[True]], "bool vectors"),
        (np.array([], bool), np.array([], bool), "do not fit"),
    ],
)
def test_what_is_no_pair_of_bool_vectors_is_refused(
    baseline: NDArray[np.bool_], variant: NDArray[np.bool_], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        quality.paired_accuracy(baseline, variant)


# Bootstrap of test examples.


def agreement(labels: Floats, predictions: Floats) -> float:
    return float((labels == predictions).mean())


def correlation(labels: Floats, predictions: Floats) -> float:
    return float(np.corrcoef(labels, predictions)[0, 1])


def test_the_bootstrap_finds_the_quantiles_of_all_resamples() -> None:
    labels, baseline = np.array(["a", "b", "a", "b"]), np.array(["a", "b", "b", "b"])
    variant = np.array(["a", "a", "a", "a"])
    gains = np.array([0, -1, 1, -1])  # per example: right with the variant less with the baseline
    every = [gains[list(drawn)].mean() for drawn in itertools.product(range(4), repeat=4)]
    found = quality.bootstrap_difference(agreement, labels, baseline, variant, confidence=0.9)
    assert found.difference == gains.mean()
    assert (found.low, found.high) == tuple(np.quantile(every, (0.05, 0.95)))


def test_the_bootstrap_of_a_correlation_is_scipys() -> None:
    rng = np.random.default_rng(8)
    labels = rng.normal(size=300)
    baseline, variant = (labels + rng.normal(0, sd, 300) for sd in (0.5, 0.6))
    found = quality.bootstrap_difference(correlation, labels, baseline, variant, resamples=3000)
    expected = stats.bootstrap(
        (labels, baseline, variant),
        lambda y, a, b: correlation(y, b) - correlation(y, a),
        paired=True, vectorized=False, method="percentile", n_resamples=3000, rng=1,
    ).confidence_interval  # fmt: skip
    assert found.difference == correlation(labels, variant) - correlation(labels, baseline)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.004)
    assert found.high - found.low > 0.04  # so the tolerance is a tenth of the width


def test_the_bootstrap_repeats_with_its_seed_only() -> None:
    labels = np.random.default_rng(1).normal(size=50)
    arms = np.roll(labels, 1), labels + np.sin(np.arange(50))
    first, again, other = (
        quality.bootstrap_difference(correlation, labels, *arms, resamples=50, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first.low != other.low


def test_equal_predictions_differ_by_nothing_on_every_resample() -> None:
    labels = np.arange(30.0)
    found = quality.bootstrap_difference(correlation, labels, labels**2, labels**2, 100)
    assert found == quality.PairedDifference(0.0, 0.0, 0.0)


@pytest.mark.parametrize(("count", "other"), [(5, 4), (1, 1)])
def test_a_bootstrap_without_pairs_is_refused(count: int, other: int) -> None:
    zeros = np.zeros(count)
    with pytest.raises(ValueError, match="labels"):
        quality.bootstrap_difference(agreement, zeros, zeros, np.zeros(other), 10)
    with pytest.raises(ValueError, match="labels"):
        quality.bootstrap_difference(agreement, zeros, np.zeros(other), zeros, 10)


def test_a_metric_undefined_on_a_resample_is_refused() -> None:
    x = np.array([0.0, 1.0])  # half of all resamples are constant
    with (
        np.errstate(invalid="ignore", divide="ignore"),
        pytest.raises(ValueError, match="not finite"),
    ):
        quality.bootstrap_difference(correlation, x, x, x, 50)


# Verdicts.


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.009, 0.01, "non-inferior"),
        (0.01, 0.02, "non-inferior"),
        (-0.01, 0.01, "inconclusive"),
        (-0.03, 0.01, "inconclusive"),
        (-0.03, -0.01, "inconclusive"),
        (-0.03, -0.011, "inferior"),
    ],
)
def test_quality_is_judged_by_the_end_that_faces_the_margin(
    low: float, high: float, expected: str
) -> None:
    assert quality.non_inferiority(low, high, margin=0.01) == expected


@pytest.mark.parametrize("margin", [0.0, -0.01, NAN])
def test_a_margin_that_is_not_positive_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        quality.non_inferiority(-0.1, 0.1, margin)


# Training seeds.

SEEDS = np.array([0.004, -0.002, 0.001, -0.006, -0.001])


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_difference_over_seeds_has_scipys_paired_interval(confidence: float) -> None:
    baseline = np.array([0.91, 0.92, 0.915, 0.905, 0.91])
    found = quality.seeds_difference(SEEDS, confidence)
    interval = stats.ttest_rel(baseline + SEEDS, baseline).confidence_interval(confidence)
    assert found.difference == pytest.approx(SEEDS.mean())
    assert (found.low, found.high) == pytest.approx(tuple(interval))


def test_both_sources_add_their_variances() -> None:
    # Methodology 5.6 (d) with figures of which each root is exact: sd 0.03 over 9 seeds is an error
    # of 0.01; a discordance of 0.08 on 800 examples one of 0.01; together sqrt(2) as much.
    differences = np.tile([-1.0, 0.0, 1.0], 3)
    differences *= 0.03 / differences.std(ddof=1)
    found = quality.both_sources(differences, np.linspace(0.04, 0.12, 9), 800)
    margin = stats.t.ppf(0.975, 8) * 0.01 * math.sqrt(2)
    assert found.difference == pytest.approx(0, abs=1e-15)
    assert (found.low, found.high) == pytest.approx((-margin, margin))


def test_seeds_that_agree_with_the_baseline_on_every_example_leave_the_seeds_interval() -> None:
    assert quality.both_sources(SEEDS, np.zeros(5), 400) == quality.seeds_difference(SEEDS)


def test_both_sources_cover_new_examples_where_seeds_alone_do_not() -> None:
    # Whether an example is lost depends on the example alone: all seeds say the same, whose spread
    # is none. The truth is that of all examples there could be.
    rng = np.random.default_rng(2)
    hits = {"both": 0, "seeds": 0}
    for _ in range(400):
        lost, gained = rng.multinomial(800, (0.05, 0.03, 0.92))[:2]
        differences = (gained - lost) / 800 + rng.normal(0, 0.001, 6)
        discordances = np.full(6, (lost + gained) / 800)
        both = quality.both_sources(differences, discordances, 800)
        alone = quality.seeds_difference(differences)
        hits["both"] += both.low <= -0.02 <= both.high
        hits["seeds"] += alone.low <= -0.02 <= alone.high
    assert hits["both"] >= 0.94 * 400  # t with 5 degrees on a normal error: 0.99
    assert hits["seeds"] < 0.3 * 400


@pytest.mark.parametrize(
    ("differences", "discordances", "examples"),
    [
        ([0.1], [0.1], 10),
        ([0.1, NAN], [0.1, 0.1], 10),
        ([0.1, 0.2], [0.1], 10),
        ([0.1, 0.2], [0.1, 1.2], 10),
        ([0.1, 0.2], [0.1, 0.2], 0),
    ],
)
def test_seeds_that_do_not_fit_are_refused(
    differences: list[float], discordances: list[float], examples: int
) -> None:
    with pytest.raises(ValueError, match="seeds"):
        quality.both_sources(differences, discordances, examples)


def mean_prediction(labels: Floats, predictions: Floats) -> float:
    return float(predictions.mean())


def test_the_hierarchical_bootstrap_has_the_variance_of_crossed_resampling() -> None:
    # Of a mean it is exact: variances of seeds, examples and remainder (all with ddof 0) over
    # their numbers, the remainder over both (Owen, 2007).
    rng = np.random.default_rng(3)
    gains = rng.normal(0, 0.2, (4, 1)) + rng.normal(0, 1, 40) + rng.normal(0, 0.5, (4, 40))
    rows, columns = gains.mean(axis=1, keepdims=True), gains.mean(axis=0)
    rest = gains - rows - columns + gains.mean()
    variance = rows.var() / 4 + columns.var() / 40 + rest.var() / 160
    found = quality.hierarchical_bootstrap(
        mean_prediction, np.zeros(40), np.zeros((4, 40)), gains, resamples=4000
    )
    margin = stats.t.ppf(0.975, 3) * math.sqrt(variance * 4 / 3)
    assert found.difference == pytest.approx(gains.mean())
    assert (found.high - found.low) / 2 == pytest.approx(margin, rel=0.045)  # 4 standard errors


def test_seeds_without_examples_noise_give_the_paired_interval() -> None:
    variant = np.tile(SEEDS[:, None], (1, 7))
    found = quality.hierarchical_bootstrap(
        mean_prediction, np.zeros(7), np.zeros((5, 7)), variant, resamples=4000
    )
    expected = quality.seeds_difference(SEEDS)
    width = expected.high - expected.low
    assert found.difference == pytest.approx(expected.difference)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.03 * width)


def test_the_hierarchical_bootstrap_repeats_with_its_seed_only() -> None:
    arms = np.zeros((3, 9)), np.random.default_rng(1).normal(size=(3, 9))
    first, again, other = (
        quality.hierarchical_bootstrap(mean_prediction, np.zeros(9), *arms, 50, seed)
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first.low != other.low


@pytest.mark.parametrize(
    ("baseline", "variant"), [((3, 9), (2, 9)), ((3, 8), (3, 8)), ((1, 9), (1, 9)), ((9,), (9,))]
)
def test_predictions_that_are_not_of_seeds_and_examples_are_refused(
    baseline: tuple[int, ...], variant: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="need 2 seeds"):
        quality.hierarchical_bootstrap(
            mean_prediction, np.zeros(9), np.zeros(baseline), np.zeros(variant), 10
        )


def test_a_metric_undefined_on_a_seeds_resample_is_refused() -> None:
    x = np.array([0.0, 1.0])
    with (
        np.errstate(invalid="ignore", divide="ignore"),
        pytest.raises(ValueError, match="not finite"),
    ):
        quality.hierarchical_bootstrap(correlation, x, np.tile(x, (2, 1)), np.tile(x, (2, 1)), 50)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, NAN])
def test_a_confidence_outside_0_to_1_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        quality.tango_interval(1, 2, 9, confidence)
    with pytest.raises(ValueError, match="confidence"):
        quality.both_sources(SEEDS, np.zeros(5), 10, confidence)
