"""Cost against saving: hand arithmetic, SciPy and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from bench.statistics import Floats, lifecycle

NAN, INF = math.nan, math.inf


def windows(seed: int, blocks: int, level: float = 1.0, sd: float = 0.05) -> Floats:
    return level * np.exp(np.random.default_rng(seed).normal(0, sd, (blocks, 2)))


# Break-even.

SAVING = np.array([[5.0, 7.0], [4.0, 4.0]]), np.array([[2.0, 2.0], [1.5, 2.5]])  # saves 4 and 2


def test_the_break_even_divides_the_cost_by_the_saving_and_its_interval() -> None:
    baseline, variant = windows(1, 8, 2.0), windows(2, 8, 1.5)
    interval = stats.ttest_rel(baseline.mean(axis=1), variant.mean(axis=1)).confidence_interval()
    found = lifecycle.break_even(600.0, baseline, variant)
    assert found is not None
    assert found.inferences == pytest.approx(600 / (baseline.mean() - variant.mean()))
    assert (found.low, found.high) == pytest.approx((600 / interval.high, 600 / interval.low))


def test_the_break_even_of_two_blocks_follows_by_hand() -> None:
    # Mean 3, standard error 1, Student's t of 50 % with 1 degree tan(pi / 4) = 1: from 2 to 4.
    found = lifecycle.break_even(12.0, *SAVING, confidence=0.5)
    assert found is not None
    assert (found.low, found.inferences, found.high) == pytest.approx((3.0, 4.0, 6.0))


def test_a_saving_that_may_be_nothing_never_breaks_even() -> None:
    assert lifecycle.break_even(12.0, *SAVING) is None  # 3 +- 12.7
    assert lifecycle.break_even(12.0, *SAVING[::-1], confidence=0.5) is None  # it costs
    assert lifecycle.break_even(0.0, *SAVING) is None


def test_an_optimisation_for_free_breaks_even_at_once() -> None:
    found = lifecycle.break_even(0.0, *SAVING, confidence=0.5)
    assert found == lifecycle.PairedBreakEven(0.0, 0.0, 0.0)


@pytest.mark.parametrize("cost", [-1.0, NAN, INF])
def test_a_cost_that_is_no_energy_is_refused(cost: float) -> None:
    with pytest.raises(ValueError, match="cost"):
        lifecycle.break_even(cost, *SAVING)


def test_one_block_has_no_break_even() -> None:
    with pytest.raises(ValueError, match="at least 2 blocks"):
        lifecycle.break_even(1.0, np.full((1, 2), 2.0), np.ones((1, 2)))


# Break-even over records.


def test_one_record_pools_to_its_own_break_even() -> None:
    baseline, variant = windows(1, 8, 2.0), windows(2, 8, 1.5)
    d = lifecycle.block_savings(baseline, variant)
    assert d == pytest.approx(baseline.mean(axis=1) - variant.mean(axis=1))
    found = lifecycle.pooled_break_even([600.0], [d.mean()], [d.std(ddof=1)], [8])
    own = lifecycle.break_even(600.0, baseline, variant)
    assert found is not None
    assert own is not None
    assert (found.low, found.inferences, found.high) == pytest.approx(
        (own.low, own.inferences, own.high)
    )


def test_two_records_divide_their_mean_cost_by_their_mean_saving() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.normal(2.0, 0.1, 8), rng.normal(1.5, 0.3, 12)
    interval = stats.ttest_ind(first, -second, equal_var=False).confidence_interval()
    found = lifecycle.pooled_break_even(
        [500.0, 700.0],
        [first.mean(), second.mean()],
        [first.std(ddof=1), second.std(ddof=1)],
        [8, 12],
    )
    assert found is not None
    assert found.inferences == pytest.approx(600 / ((first.mean() + second.mean()) / 2))
    assert (found.low, found.high) == pytest.approx((1200 / interval.high, 1200 / interval.low))


COSTS, SAVINGS = np.array([500.0, 640.0, 580.0, 610.0]), np.array([2.1, 1.8, 2.2, 1.9])


def test_three_or_more_records_take_the_ratios_that_t_does_not_reject() -> None:
    found = lifecycle.pooled_break_even(COSTS, SAVINGS, np.full(4, 0.1), np.full(4, 8))
    assert found is not None
    assert found.inferences == pytest.approx(COSTS.mean() / SAVINGS.mean())

    def excess(inferences: float) -> float:
        return float(stats.ttest_1samp(COSTS - inferences * SAVINGS, 0).pvalue) - 0.05

    ends = [optimize.brentq(excess, *bracket) for bracket in ((0, 291), (291.5, 2000))]
    assert (found.low, found.high) == pytest.approx(tuple(ends))


def test_costs_that_are_all_the_same_leave_the_savings_uncertainty() -> None:
    found = lifecycle.pooled_break_even(np.full(4, 600.0), SAVINGS, np.full(4, 0.1), np.full(4, 8))
    interval = stats.ttest_1samp(SAVINGS, 0).confidence_interval()
    assert found is not None
    assert (found.low, found.high) == pytest.approx((600 / interval.high, 600 / interval.low))


def test_a_cost_that_may_be_nothing_may_break_even_at_once() -> None:
    found = lifecycle.pooled_break_even([0.0, 0.0, 9.0], [2.0, 2.1, 1.9], [0.1] * 3, [8] * 3)
    assert found is not None
    assert found.low == 0.0
    assert found.inferences == pytest.approx(1.5)


def test_records_whose_mean_saving_may_be_nothing_never_break_even() -> None:
    sds, blocks = [0.1] * 3, [8] * 3
    assert lifecycle.pooled_break_even([5.0] * 3, [1.0, -0.5, 2.0], sds, blocks) is None
    assert lifecycle.pooled_break_even([5.0] * 3, [-1.0, -1.1, -0.9], sds, blocks) is None
    assert lifecycle.pooled_break_even([5.0] * 2, [0.01, 0.02], sds[:2], blocks[:2]) is None


@pytest.mark.parametrize(
    ("costs", "savings", "sds", "blocks", "problem"),
    [
        ([], [], [], [], "cost"),
        ([-1.0], [1.0], [0.1], [8], "cost"),
        ([1.0, 1.0], [1.0], [0.1], [8], "2 costs, 1 savings"),
        ([1.0], [NAN], [0.1], [8], "a saving is"),
        ([1.0], [1.0], [-0.1], [8], "a saving is"),
        ([1.0], [1.0], [0.1], [1], "a saving is"),
    ],
)
def test_records_that_do_not_fit_have_no_break_even(
    costs: list[float], savings: list[float], sds: list[float], blocks: list[int], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        lifecycle.pooled_break_even(costs, savings, sds, blocks)


# Saving at a volume.


def test_the_saving_at_a_volume_follows_by_hand() -> None:
    # e_A 5, e_B 2, cost 12: after 6 inferences 12 + 6 * 2 = 24 of 30.
    found = lifecycle.saving_at_volume(12.0, *SAVING, 6.0, confidence=0.5)
    assert found is not None
    assert found.saving == pytest.approx(1 - 24 / 30)
    assert found.low < found.saving < found.high


def test_the_saving_passes_0_where_the_break_even_says() -> None:
    baseline, variant = windows(1, 8, 2.0), windows(2, 8, 1.5)
    repaid = lifecycle.break_even(600.0, baseline, variant)
    assert repaid is not None
    at = [
        lifecycle.saving_at_volume(600.0, baseline, variant, volume)
        for volume in (repaid.low, repaid.inferences, repaid.high)
    ]
    assert all(at)
    ends = [found and (found.low, found.saving, found.high)[2 - i] for i, found in enumerate(at)]
    assert ends == pytest.approx([0.0, 0.0, 0.0], abs=1e-12)


def test_the_saving_without_cost_takes_the_ratios_that_t_does_not_reject() -> None:
    baseline, variant = windows(3, 6, 2.0), windows(4, 6, 1.6)
    a, b = baseline.mean(axis=1), variant.mean(axis=1)
    found = lifecycle.saving_at_volume(0.0, baseline, variant, 1.0)
    assert found is not None
    for saving in (found.low, found.high):
        assert stats.ttest_1samp(b - (1 - saving) * a, 0).pvalue == pytest.approx(0.05)
    assert found.saving == pytest.approx(1 - b.mean() / a.mean())


def test_a_volume_at_which_little_was_served_costs_more_than_it_saves() -> None:
    found = lifecycle.saving_at_volume(600.0, windows(1, 8, 2.0), windows(2, 8, 1.5), 1.0)
    assert found is not None
    assert found.high < -100


def test_a_baseline_that_may_be_nothing_gives_no_share() -> None:
    baseline = np.array([[1.0, 1.0], [9.0, 9.0]])  # 5 +- 51
    assert lifecycle.saving_at_volume(1.0, baseline, baseline / 2, 10.0) is None


@pytest.mark.parametrize("volume", [0.0, -1.0, NAN, INF])
def test_a_volume_that_is_no_number_of_inferences_is_refused(volume: float) -> None:
    with pytest.raises(ValueError, match="inferences"):
        lifecycle.saving_at_volume(1.0, *SAVING, volume)


# Energy to accuracy.


def test_the_energy_to_accuracy_is_that_of_the_first_evaluation_that_reaches_it() -> None:
    energies, accuracies = [100.0, 200.0, 300.0, 400.0], [0.5, 0.9, 0.85, 0.95]
    assert lifecycle.energy_to_accuracy(energies, accuracies, 0.9) == 200.0
    assert lifecycle.energy_to_accuracy(energies, accuracies, 0.91) == 400.0  # not between
    assert lifecycle.energy_to_accuracy(energies, accuracies, 0.4) == 100.0


def test_a_target_that_was_never_reached_took_no_energy_that_is_known() -> None:
    assert lifecycle.energy_to_accuracy([100.0, 200.0], [0.5, 0.6], 0.61) is None
    assert lifecycle.energy_to_accuracy([], [], 0.5) is None


@pytest.mark.parametrize(
    ("energies", "accuracies", "problem"),
    [
        ([1.0, 2.0], [0.5], "energies for"),
        ([2.0, 1.0], [0.5, 0.6], "cumulative"),
        ([1.0, 2.0], [0.5, NAN], "finite"),
    ],
)
def test_evaluations_that_do_not_fit_are_refused(
    energies: list[float], accuracies: list[float], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        lifecycle.energy_to_accuracy(energies, accuracies, 0.5)
