"""Every number is held against an oracle: hand arithmetic, SciPy, a published table, simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats

from bench import statistics
from bench.statistics import Floats

NAN, INF = math.nan, math.inf


def windows(seed: int, blocks: int, level: float = 1.0, sd: float = 0.05) -> Floats:
    return level * np.exp(np.random.default_rng(seed).normal(0, sd, (blocks, 2)))


# Ratio of joules.


def test_a_block_compares_the_geometric_means_of_its_windows() -> None:
    baseline, variant = np.array([[2.0, 8.0], [1.0, 1.0]]), np.array([[1.0, 4.0], [3.0, 3.0]])
    expected = [math.log(2 / 4), math.log(3 / 1)]
    assert statistics.block_log_ratios(baseline, variant) == pytest.approx(expected)


@pytest.mark.parametrize("bad", [0.0, -1.0, NAN, INF])
@pytest.mark.parametrize("arm", ["baseline", "variant"])
def test_a_value_that_is_no_energy_is_named_with_its_arm(bad: float, arm: str) -> None:
    arms = {"baseline": np.ones((3, 2)), "variant": np.ones((3, 2))}
    arms[arm][1, 0] = bad
    with pytest.raises(ValueError, match=f"{arm} has a value that is not finite or not positive"):
        statistics.block_log_ratios(**arms)


@pytest.mark.parametrize(
    ("a", "b"), [((3, 2), (4, 2)), ((2, 3), (2, 3)), ((6,), (6,)), ((3, 2), (3, 1))]
)
def test_arrays_that_are_no_blocks_of_two_windows_are_refused(
    a: tuple[int, ...], b: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="shape"):
        statistics.block_log_ratios(np.ones(a), np.ones(b))


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_ratio_has_scipys_interval_of_the_mean_log_ratio(confidence: float) -> None:
    baseline, variant = windows(1, 9, 2.0), windows(2, 9, 1.6)
    found = statistics.paired_ratio(baseline, variant, confidence)
    d = statistics.block_log_ratios(baseline, variant)
    interval = stats.ttest_1samp(d, 0).confidence_interval(confidence)
    assert (found.low, found.high) == pytest.approx(
        (math.exp(interval.low), math.exp(interval.high))
    )
    assert found.log_ratio_sd == pytest.approx(stats.tstd(d))
    assert found.baseline_per_item == pytest.approx(stats.gmean(baseline, axis=None))
    assert found.variant_per_item == pytest.approx(stats.gmean(variant, axis=None))
    assert found.ratio == pytest.approx(found.variant_per_item / found.baseline_per_item)
    assert found.blocks == 9
    assert found.p_value == statistics.sign_flip_p(d)
    half = statistics.half_width(d, confidence)
    assert half == pytest.approx(found.high / found.ratio - 1)


def test_two_blocks_give_the_interval_worked_out_by_hand() -> None:
    # d = -0.2 and -0.1: mean -0.15, standard error 0.05, Student's t with 1 degree 12.7062.
    variant = np.exp([[-0.2, -0.2], [-0.1, -0.1]])
    found = statistics.paired_ratio(np.ones((2, 2)), variant)
    assert found.ratio == pytest.approx(math.exp(-0.15))
    assert math.log(found.high) == pytest.approx(-0.15 + 12.7062 * 0.05, abs=1e-5)
    assert math.log(found.low) == pytest.approx(-0.15 - 12.7062 * 0.05, abs=1e-5)
    assert found.p_value == 0.5


@pytest.mark.parametrize("blocks", [0, 1])
def test_fewer_than_two_blocks_have_no_interval(blocks: int) -> None:
    ones = np.ones((blocks, 2))
    with pytest.raises(ValueError, match="at least 2 blocks"):
        statistics.paired_ratio(ones, ones)
    with pytest.raises(ValueError, match="at least 2 blocks"):
        statistics.break_even(1.0, 2 * ones, ones)
    assert statistics.half_width(np.zeros(blocks)) == INF


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, NAN])
def test_a_confidence_outside_0_to_1_is_refused(confidence: float) -> None:
    arms = windows(1, 4), windows(2, 4)
    with pytest.raises(ValueError, match="confidence"):
        statistics.paired_ratio(*arms, confidence)
    with pytest.raises(ValueError, match="confidence"):
        statistics.tango_interval(1, 2, 9, confidence)
    with pytest.raises(ValueError, match="confidence"):
        statistics.blocks_needed(0.01, 0.01, confidence, 40)


def noise(replicates: int, count: int, rng: np.random.Generator) -> Floats:
    """Log noise of methodology 5.3: 4 % linear drift, AR(1) of 2 % and rho 0.9, windows of 1 %."""
    shocks = rng.normal(0, 0.02, (replicates, count))
    slow = shocks.copy()
    for i in range(1, count):
        slow[:, i] = 0.9 * slow[:, i - 1] + math.sqrt(1 - 0.9**2) * shocks[:, i]
    return slow + np.linspace(0, 0.04, count) + rng.normal(0, 0.01, (replicates, count))


def coverage(order: str, blocks: int = 10, replicates: int = 1500) -> float:
    arm = np.array(list(order))
    logs = noise(replicates, arm.size, np.random.default_rng(5)) + math.log(0.8) * (arm == "B")
    hits = 0
    for session in np.exp(logs):
        a, b = (session[arm == name].reshape(blocks, 2) for name in "AB")
        found = statistics.paired_ratio(a, b)
        hits += found.low <= 0.8 <= found.high
    return hits / replicates


def test_interleaved_blocks_cover_the_true_ratio_under_drift() -> None:
    assert 0.93 <= coverage("ABBABAAB" * 5) <= 0.97


def test_one_arm_after_the_other_misses_the_true_ratio_under_drift() -> None:
    assert 0.25 <= coverage("A" * 20 + "B" * 20) <= 0.41  # methodology 5.3: 0.33


# Sign flips.


@pytest.mark.parametrize(("blocks", "expected"), [(1, 1.0), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_blocks_that_all_agree_reach_the_smallest_p(blocks: int, expected: float) -> None:
    assert statistics.sign_flip_p(np.arange(1.0, blocks + 1)) == expected  # methodology 5.4


@pytest.mark.parametrize("blocks", [2, 7, 12, 13])
def test_the_sign_flip_p_is_scipys_exact_permutation_p(blocks: int) -> None:
    d = np.random.default_rng(blocks).normal(0.1, 0.2, blocks)
    exact = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=2**14)
    assert statistics.sign_flip_p(d) == pytest.approx(exact.pvalue, abs=1e-12)


def test_tied_sums_count_as_far_as_the_observed_one() -> None:
    d = np.array([0.1, 0.2, 0.3, -0.4, 0.7, 0.1])
    tenths = np.round(10 * d).astype(int)
    sums = [abs(int(tenths @ signs)) for signs in itertools.product((-1, 1), repeat=6)]
    expected = np.mean([s >= abs(tenths.sum()) for s in sums])
    assert statistics.sign_flip_p(d) == expected
    assert statistics.sign_flip_p(-d) == expected


def test_no_difference_has_a_p_of_one() -> None:
    assert statistics.sign_flip_p(np.zeros(5)) == 1.0
    assert statistics.sign_flip_p(np.array([0.1, 0.2, -0.3])) == 1.0


def test_forty_blocks_are_still_counted_exactly() -> None:
    # Signs of equal steps are coin tosses: 27 or more of 40 alike, either way.
    d = np.where(np.arange(40) < 27, 0.01, -0.01)
    assert statistics.sign_flip_p(d) == pytest.approx(stats.binomtest(27, 40).pvalue, rel=1e-12)


def test_more_blocks_are_sampled_near_the_exact_p() -> None:
    d = np.random.default_rng(3).normal(0.05, 0.2, 40)
    exact = statistics.sign_flip_p(d)
    sampled = statistics.sign_flip_p(np.append(d, 0.0))  # the sign of a 0 changes no sum
    assert sampled == pytest.approx(exact, abs=4 * math.sqrt(exact / 9999))
    assert sampled != exact


@pytest.mark.parametrize("d", [[], [0.1, NAN], [[0.1, 0.2]]])
def test_sign_flips_of_no_vector_are_refused(d: list[float]) -> None:
    with pytest.raises(ValueError, match="sign flips need"):
        statistics.sign_flip_p(np.array(d))


# Sample size.


@pytest.mark.parametrize(
    ("sd", "expected"),
    [
        (0.005, (7, 4, 3, 3)),
        (0.01, (18, 7, 4, 3)),
        (0.02, (64, 18, 7, 5)),
        (0.03, (141, 38, 12, 7)),
        (0.05, (387, 99, 27, 14)),
    ],
)
def test_the_blocks_needed_are_those_of_the_methodology(
    sd: float, expected: tuple[int, ...]
) -> None:
    # Table 5.4 bounds the half-width of the log ratio; the stopping rule's is exp of it, less 1.
    targets = [math.expm1(h) for h in (0.005, 0.01, 0.02, 0.03)]
    assert [statistics.blocks_needed(sd, h, 0.95, 400) for h in targets] == list(expected)


def test_the_blocks_needed_satisfy_the_stopping_rule_and_one_less_does_not() -> None:
    needed = statistics.blocks_needed(0.02, 0.02, 0.95, 40)
    assert needed is not None

    def width(blocks: int) -> float:
        d = np.random.default_rng(0).normal(size=blocks)
        return statistics.half_width(0.02 * d / d.std(ddof=1))

    assert width(needed) <= 0.02 < width(needed - 1)


def test_blocks_beyond_the_cap_are_not_promised() -> None:
    assert statistics.blocks_needed(0.02, math.expm1(0.01), 0.95, most=18) == 18
    assert statistics.blocks_needed(0.02, math.expm1(0.01), 0.95, most=17) is None
    assert statistics.blocks_needed(0.0, 0.01, 0.95, most=40) == 2


@pytest.mark.parametrize(("sd", "target"), [(-0.1, 0.1), (INF, 0.1), (NAN, 0.1), (0.1, 0.0)])
def test_a_sample_size_of_nonsense_is_refused(sd: float, target: float) -> None:
    with pytest.raises(ValueError, match="no sample size"):
        statistics.blocks_needed(sd, target, 0.95, 40)


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
    found = statistics.tango_interval(lost, gained, examples, confidence)
    assert [round(end, digits) for end in found] == [low, high]


@pytest.mark.parametrize(("lost", "gained"), [(15, 5), (3, 11), (1, 0)])
def test_tangos_interval_touches_0_where_mcnemars_test_does(lost: int, gained: int) -> None:
    chi2 = (lost - gained) ** 2 / (lost + gained)
    low, high = statistics.tango_interval(lost, gained, 100, stats.chi2.cdf(chi2, 1))
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
    low, high = statistics.tango_interval(lost, gained, examples)
    assert constrained_score(low, lost, gained, examples) == pytest.approx(1.95996, rel=1e-4)
    assert constrained_score(high, lost, gained, examples) == pytest.approx(-1.95996, rel=1e-4)


@pytest.mark.parametrize(("gained", "examples"), [(0, 1), (0, 400), (3, 40), (39, 40), (40, 40)])
def test_with_nothing_lost_the_upper_end_is_wilsons(gained: int, examples: int) -> None:
    wilson = stats.binomtest(gained, examples).proportion_ci(method="wilson")
    assert statistics.tango_interval(0, gained, examples)[1] == pytest.approx(wilson.high)
    assert statistics.tango_interval(gained, 0, examples)[0] == pytest.approx(-wilson.high)


@pytest.mark.parametrize("examples", [1, 50, 50_000])
def test_with_everything_gained_the_lower_end_follows_by_hand(examples: int) -> None:
    # The nuisance is (1 - delta) / 2, so the squared score is n (1 - delta) / (1 + delta).
    z2 = stats.chi2.ppf(0.95, 1)
    low, high = statistics.tango_interval(0, examples, examples)
    assert (low, high) == pytest.approx(((examples - z2) / (examples + z2), 1.0))
    assert statistics.tango_interval(examples, 0, examples)[0] == -1.0


def test_every_small_table_has_an_ordered_mirrored_interval_around_its_estimate() -> None:
    for lost, gained in itertools.product(range(13), repeat=2):
        examples = 12
        if lost + gained > examples:
            continue
        low, high = statistics.tango_interval(lost, gained, examples)
        assert -1 <= low <= (gained - lost) / examples <= high <= 1
        assert low < high
        assert statistics.tango_interval(gained, lost, examples) == (-high, -low)


@pytest.mark.parametrize("counts", [(-1, 0, 9), (0, -1, 9), (5, 5, 9), (0, 0, 0)])
def test_counts_that_do_not_fit_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        statistics.tango_interval(*counts)


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
            low, high = statistics.tango_interval(lost, gained, examples)
            covered += chance * (low <= gain - lose <= high)
    assert 0.945 <= covered <= 0.957  # methodology 5.6: 0.946 to 0.956


def test_accuracy_counts_what_the_variant_lost_and_gained() -> None:
    baseline = np.array([True] * 7 + [False] + [True] + [False] * 12)
    variant = np.array([False] * 7 + [True] + [True] + [False] * 12)
    found = statistics.paired_accuracy(baseline, variant)
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
        statistics.paired_accuracy(baseline, variant)


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
    found = statistics.bootstrap_difference(agreement, labels, baseline, variant, confidence=0.9)
    assert found.difference == gains.mean()
    assert (found.low, found.high) == tuple(np.quantile(every, (0.05, 0.95)))


def test_the_bootstrap_of_a_correlation_is_scipys() -> None:
    rng = np.random.default_rng(8)
    labels = rng.normal(size=300)
    baseline, variant = (labels + rng.normal(0, sd, 300) for sd in (0.5, 0.6))
    found = statistics.bootstrap_difference(correlation, labels, baseline, variant, resamples=3000)
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
        statistics.bootstrap_difference(correlation, labels, *arms, resamples=50, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first.low != other.low


def test_equal_predictions_differ_by_nothing_on_every_resample() -> None:
    labels = np.arange(30.0)
    found = statistics.bootstrap_difference(correlation, labels, labels**2, labels**2, 100)
    assert found == statistics.PairedDifference(0.0, 0.0, 0.0)


@pytest.mark.parametrize(("count", "other"), [(5, 4), (1, 1)])
def test_a_bootstrap_without_pairs_is_refused(count: int, other: int) -> None:
    zeros = np.zeros(count)
    with pytest.raises(ValueError, match="labels"):
        statistics.bootstrap_difference(agreement, zeros, zeros, np.zeros(other), 10)
    with pytest.raises(ValueError, match="labels"):
        statistics.bootstrap_difference(agreement, zeros, np.zeros(other), zeros, 10)


def test_a_metric_undefined_on_a_resample_is_refused() -> None:
    x = np.array([0.0, 1.0])  # half of all resamples are constant
    with (
        np.errstate(invalid="ignore", divide="ignore"),
        pytest.raises(ValueError, match="not finite"),
    ):
        statistics.bootstrap_difference(correlation, x, x, x, 50)


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
    assert statistics.non_inferiority(low, high, margin=0.01) == expected


@pytest.mark.parametrize("margin", [0.0, -0.01, NAN])
def test_a_margin_that_is_not_positive_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        statistics.non_inferiority(-0.1, 0.1, margin)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.8, 0.99, "below"),
        (0.8, 1.0, "undecided"),
        (0.8, 1.2, "undecided"),
        (1.0, 1.2, "undecided"),
        (1.01, 1.2, "above"),
        (NAN, NAN, "undecided"),
    ],
)
def test_a_ratio_lies_on_a_side_of_1_only_with_its_whole_interval(
    low: float, high: float, expected: str
) -> None:
    assert statistics.direction(low, high) == expected


# Break-even.

SAVING = np.array([[5.0, 7.0], [4.0, 4.0]]), np.array([[2.0, 2.0], [1.5, 2.5]])  # saves 4 and 2


def test_the_break_even_divides_the_cost_by_the_saving_and_its_interval() -> None:
    baseline, variant = windows(1, 8, 2.0), windows(2, 8, 1.5)
    interval = stats.ttest_rel(baseline.mean(axis=1), variant.mean(axis=1)).confidence_interval()
    found = statistics.break_even(600.0, baseline, variant)
    assert found is not None
    assert found.inferences == pytest.approx(600 / (baseline.mean() - variant.mean()))
    assert (found.low, found.high) == pytest.approx((600 / interval.high, 600 / interval.low))


def test_the_break_even_of_two_blocks_follows_by_hand() -> None:
    # Mean 3, standard error 1, Student's t of 50 % with 1 degree tan(pi / 4) = 1: from 2 to 4.
    found = statistics.break_even(12.0, *SAVING, confidence=0.5)
    assert found is not None
    assert (found.low, found.inferences, found.high) == pytest.approx((3.0, 4.0, 6.0))


def test_a_saving_that_may_be_nothing_never_breaks_even() -> None:
    assert statistics.break_even(12.0, *SAVING) is None  # 3 +- 12.7
    assert statistics.break_even(12.0, *SAVING[::-1], confidence=0.5) is None  # it costs
    assert statistics.break_even(0.0, *SAVING) is None


def test_an_optimisation_for_free_breaks_even_at_once() -> None:
    found = statistics.break_even(0.0, *SAVING, confidence=0.5)
    assert found == statistics.PairedBreakEven(0.0, 0.0, 0.0)


@pytest.mark.parametrize("cost", [-1.0, NAN, INF])
def test_a_cost_that_is_no_energy_is_refused(cost: float) -> None:
    with pytest.raises(ValueError, match="cost"):
        statistics.break_even(cost, *SAVING)
