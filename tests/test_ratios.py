"""The ratio of one pair against hand arithmetic, SciPy, published figures and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from bench.statistics import Floats, ratios

NAN, INF = math.nan, math.inf


def windows(seed: int, blocks: int, level: float = 1.0, sd: float = 0.05) -> Floats:
    return level * np.exp(np.random.default_rng(seed).normal(0, sd, (blocks, 2)))


# Ratio of joules.


def test_a_block_compares_the_geometric_means_of_its_windows() -> None:
    baseline, variant = np.array([[2.0, 8.0], [1.0, 1.0]]), np.array([[1.0, 4.0], [3.0, 3.0]])
    expected = [math.log(2 / 4), math.log(3 / 1)]
    assert ratios.block_log_ratios(baseline, variant) == pytest.approx(expected)


@pytest.mark.parametrize("bad", [0.0, -1.0, NAN, INF])
@pytest.mark.parametrize("arm", ["baseline", "variant"])
def test_a_value_that_is_no_energy_is_named_with_its_arm(bad: float, arm: str) -> None:
    arms = {"baseline": np.ones((3, 2)), "variant": np.ones((3, 2))}
    arms[arm][1, 0] = bad
    with pytest.raises(ValueError, match=f"{arm} has a value that is not finite or not positive"):
        ratios.block_log_ratios(**arms)


@pytest.mark.parametrize(
    ("a", "b"), [((3, 2), (4, 2)), ((2, 3), (2, 3)), ((6,), (6,)), ((3, 2), (3, 1))]
)
def test_arrays_that_are_no_blocks_of_two_windows_are_refused(
    a: tuple[int, ...], b: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="shape"):
        ratios.block_log_ratios(np.ones(a), np.ones(b))


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_ratio_has_scipys_interval_of_the_mean_log_ratio(confidence: float) -> None:
    baseline, variant = windows(1, 9, 2.0), windows(2, 9, 1.6)
    found = ratios.paired_ratio(baseline, variant, confidence)
    d = ratios.block_log_ratios(baseline, variant)
    interval = stats.ttest_1samp(d, 0).confidence_interval(confidence)
    assert (found.low, found.high) == pytest.approx(
        (math.exp(interval.low), math.exp(interval.high))
    )
    assert found.log_ratio_sd == pytest.approx(stats.tstd(d))
    assert found.baseline_per_item == pytest.approx(stats.gmean(baseline, axis=None))
    assert found.variant_per_item == pytest.approx(stats.gmean(variant, axis=None))
    assert found.ratio == pytest.approx(found.variant_per_item / found.baseline_per_item)
    assert found.blocks == 9
    assert found.p_value == ratios.sign_flip_p(d)
    half = ratios.half_width(d, confidence)
    assert half == pytest.approx(found.high / found.ratio - 1)


def test_two_blocks_give_the_interval_worked_out_by_hand() -> None:
    # d = -0.2 and -0.1: mean -0.15, standard error 0.05, Student's t with 1 degree 12.7062.
    variant = np.exp([[-0.2, -0.2], [-0.1, -0.1]])
    found = ratios.paired_ratio(np.ones((2, 2)), variant)
    assert found.ratio == pytest.approx(math.exp(-0.15))
    assert math.log(found.high) == pytest.approx(-0.15 + 12.7062 * 0.05, abs=1e-5)
    assert math.log(found.low) == pytest.approx(-0.15 - 12.7062 * 0.05, abs=1e-5)
    assert found.p_value == 0.5


@pytest.mark.parametrize("blocks", [0, 1])
def test_fewer_than_two_blocks_have_no_interval(blocks: int) -> None:
    ones = np.ones((blocks, 2))
    with pytest.raises(ValueError, match="at least 2 blocks"):
        ratios.paired_ratio(ones, ones)
    assert ratios.half_width(np.zeros(blocks)) == INF


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, NAN])
def test_a_confidence_outside_0_to_1_is_refused(confidence: float) -> None:
    arms = windows(1, 4), windows(2, 4)
    with pytest.raises(ValueError, match="confidence"):
        ratios.paired_ratio(*arms, confidence)
    with pytest.raises(ValueError, match="confidence"):
        ratios.blocks_needed(0.01, 0.01, confidence, 40)


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
        found = ratios.paired_ratio(a, b)
        hits += found.low <= 0.8 <= found.high
    return hits / replicates


def test_interleaved_blocks_cover_the_true_ratio_under_drift() -> None:
    assert 0.93 <= coverage("ABBABAAB" * 5) <= 0.97


def test_one_arm_after_the_other_misses_the_true_ratio_under_drift() -> None:
    assert 0.25 <= coverage("A" * 20 + "B" * 20) <= 0.41  # methodology 5.3: 0.33


# Sign flips.


@pytest.mark.parametrize(("blocks", "expected"), [(1, 1.0), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_blocks_that_all_agree_reach_the_smallest_p(blocks: int, expected: float) -> None:
    assert ratios.sign_flip_p(np.arange(1.0, blocks + 1)) == expected  # methodology 5.4


@pytest.mark.parametrize("blocks", [2, 7, 12, 13])
def test_the_sign_flip_p_is_scipys_exact_permutation_p(blocks: int) -> None:
    d = np.random.default_rng(blocks).normal(0.1, 0.2, blocks)
    exact = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=2**14)
    assert ratios.sign_flip_p(d) == pytest.approx(exact.pvalue, abs=1e-12)


def test_tied_sums_count_as_far_as_the_observed_one() -> None:
    d = np.array([0.1, 0.2, 0.3, -0.4, 0.7, 0.1])
    tenths = np.round(10 * d).astype(int)
    sums = [abs(int(tenths @ signs)) for signs in itertools.product((-1, 1), repeat=6)]
    expected = np.mean([s >= abs(tenths.sum()) for s in sums])
    assert ratios.sign_flip_p(d) == expected
    assert ratios.sign_flip_p(-d) == expected


def test_no_difference_has_a_p_of_one() -> None:
    assert ratios.sign_flip_p(np.zeros(5)) == 1.0
    assert ratios.sign_flip_p(np.array([0.1, 0.2, -0.3])) == 1.0


def test_forty_blocks_are_still_counted_exactly() -> None:
    # Signs of equal steps are coin tosses: 27 or more of 40 alike, either way.
    d = np.where(np.arange(40) < 27, 0.01, -0.01)
    assert ratios.sign_flip_p(d) == pytest.approx(stats.binomtest(27, 40).pvalue, rel=1e-12)


def test_more_blocks_are_sampled_near_the_exact_p() -> None:
    d = np.random.default_rng(3).normal(0.05, 0.2, 40)
    exact = ratios.sign_flip_p(d)
    sampled = ratios.sign_flip_p(np.append(d, 0.0))  # the sign of a 0 changes no sum
    assert sampled == pytest.approx(exact, abs=4 * math.sqrt(exact / 9999))
    assert sampled != exact


@pytest.mark.parametrize("d", [[], [0.1, NAN], [[0.1, 0.2]]])
def test_sign_flips_of_no_vector_are_refused(d: list[float]) -> None:
    with pytest.raises(ValueError, match="sign flips need"):
        ratios.sign_flip_p(np.array(d))


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
    assert [ratios.blocks_needed(sd, h, 0.95, 400) for h in targets] == list(expected)


def test_the_blocks_needed_satisfy_the_stopping_rule_and_one_less_does_not() -> None:
    needed = ratios.blocks_needed(0.02, 0.02, 0.95, 40)
    assert needed is not None

    def width(blocks: int) -> float:
        d = np.random.default_rng(0).normal(size=blocks)
        return ratios.half_width(0.02 * d / d.std(ddof=1))

    assert width(needed) <= 0.02 < width(needed - 1)


def test_blocks_beyond_the_cap_are_not_promised() -> None:
    assert ratios.blocks_needed(0.02, math.expm1(0.01), 0.95, most=18) == 18
    assert ratios.blocks_needed(0.02, math.expm1(0.01), 0.95, most=17) is None
    assert ratios.blocks_needed(0.0, 0.01, 0.95, most=40) == 2


@pytest.mark.parametrize(("sd", "target"), [(-0.1, 0.1), (INF, 0.1), (NAN, 0.1), (0.1, 0.0)])
def test_a_sample_size_of_nonsense_is_refused(sd: float, target: float) -> None:
    with pytest.raises(ValueError, match="no sample size"):
        ratios.blocks_needed(sd, target, 0.95, 40)


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
    assert ratios.direction(low, high) == expected


# Robust estimates.


def test_the_hodges_lehmann_estimate_is_the_pseudomedian_of_r() -> None:
    # Hollander and Wolfe (1973) Nonparametric Statistical Methods: depression of nine patients at
    # two visits, data of the example of R's wilcox.test; with conf.int = TRUE it says -0.46.
    before = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
    after = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
    assert math.log(ratios.robust(after - before).hodges_lehmann) == pytest.approx(-0.46)


def test_a_wild_block_moves_neither_robust_estimate_much() -> None:
    d = np.array([-0.23, -0.22, -0.21, -0.20, 5.0])
    # Without the lowest and the highest of five; Walsh averages: median of 15, the eighth.
    assert ratios.robust(d).trimmed == pytest.approx(math.exp(-0.21))
    assert ratios.robust(d).hodges_lehmann == pytest.approx(math.exp(-0.21))
    assert math.exp(d.mean()) > 2


def test_robust_estimates_of_even_blocks_agree_with_the_ratio() -> None:
    d = np.array([-0.3, -0.25, -0.2, -0.15, -0.1, -0.05])
    found = ratios.robust(d)
    assert found.hodges_lehmann == pytest.approx(math.exp(d.mean()))
    assert found.trimmed == pytest.approx(math.exp(d.mean()))


def test_robust_estimates_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="robust estimates need"):
        ratios.robust(np.array([]))


# Smallest saving that shows.


@pytest.mark.parametrize(
    ("blocks", "power", "effect"),
    [
        # statsmodels 0.15.0: TTestPower().solve_power(nobs=blocks, alpha=0.05, power=power,
        # alternative="two-sided"), in standard deviations.
        (2, 0.8, 11.54988975),
        (3, 0.8, 3.26404355),
        (8, 0.8, 1.15603527),
        (8, 0.9, 1.34180237),
        (20, 0.8, 0.66044165),
        (40, 0.9, 0.52563757),
    ],
)
def test_the_smallest_saving_is_that_of_statsmodels_power(
    blocks: int, power: float, effect: float
) -> None:
    found = ratios.smallest_detectable(0.02, blocks, power)
    assert found == pytest.approx(1 - math.exp(-0.02 * effect), rel=3e-6)


def test_the_smallest_saving_shows_in_four_of_five_simulated_sessions() -> None:
    saving = ratios.smallest_detectable(0.03, 8)
    d = np.random.default_rng(4).normal(math.log(1 - saving), 0.03, (20_000, 8))
    high = d.mean(axis=1) + stats.t.ppf(0.975, 7) * stats.sem(d, axis=1)
    assert (high < 0).mean() == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / 20_000))


def test_a_host_without_noise_shows_any_saving() -> None:
    assert ratios.smallest_detectable(0.0, 8) == 0.0


def test_less_power_than_the_error_rate_needs_no_saving() -> None:
    assert ratios.smallest_detectable(0.02, 8, power=0.02) == 0.0


@pytest.mark.parametrize(
    ("sd", "blocks", "power"), [(-0.1, 8, 0.8), (NAN, 8, 0.8), (0.1, 1, 0.8), (0.1, 8, 1.0)]
)
def test_a_smallest_saving_of_nonsense_is_refused(sd: float, blocks: int, power: float) -> None:
    with pytest.raises(ValueError, match="no power"):
        ratios.smallest_detectable(sd, blocks, power)
