"""The Pareto front with uncertainty: cases by hand, and properties of random ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.statistics import Floats
from bench.statistics.front import Estimates, on_front

INF = math.inf


def around(values: list[float] | Floats, half: float | Floats) -> Estimates:
    value = np.asarray(values, float)
    return Estimates(value, value - half, value + half)


def test_a_cheaper_point_of_equal_quality_takes_the_dearer_one_off() -> None:
    front = on_front(around([1.0, 0.5, 0.25], 0.02), around([0.99, 0.99, 0.99], 0.01))
    assert front.tolist() == [False, False, True]


def test_a_point_whose_cost_cannot_be_told_from_a_better_ones_stays() -> None:
    quality = around([0.90, 0.90], 0.0)
    assert on_front(around([0.52, 0.50], 0.011), quality).tolist() == [True, True]
    assert on_front(around([0.52, 0.50], 0.009), quality).tolist() == [False, True]


def test_intervals_that_only_touch_do_not_tell_points_apart() -> None:
    quality = around([0.5, 0.5], 0.0)
    assert on_front(around([1.5, 0.5], 0.5), quality).tolist() == [True, True]


def test_a_point_of_the_same_cost_goes_for_a_clearly_better_one() -> None:
    cost = around([0.505, 0.500], 0.02)
    assert on_front(cost, around([0.80, 0.90], 0.01)).tolist() == [False, True]
    assert on_front(cost, around([0.895, 0.90], 0.01)).tolist() == [True, True]


def test_a_cheaper_point_of_lower_quality_takes_none_off() -> None:
    # Even where the intervals of quality meet: nothing says that the dearer one is no better.
    front = on_front(around([1.0, 0.5], 0.01), around([0.91, 0.90], 0.05))
    assert front.tolist() == [True, True]


def test_a_point_whose_interval_is_unknown_is_never_beaten_in_that() -> None:
    cost = Estimates(np.array([1.0, 0.5]), np.array([-INF, 0.49]), np.array([INF, 0.51]))
    assert on_front(cost, around([0.9, 0.9], 0.0)).tolist() == [True, True]


def test_equal_points_all_stay_and_no_points_have_no_front() -> None:
    assert on_front(around([1.0, 1.0], 0.0), around([0.5, 0.5], 0.0)).tolist() == [True, True]
    assert on_front(around([], 0.0), around([], 0.0)).tolist() == []


def dominated(cost: Floats, quality: Floats, i: int, j: int) -> bool:
    """Whether j is no worse than i in both and better in one, as bare numbers."""
    no_worse = cost[j] <= cost[i] and quality[j] >= quality[i]
    return bool(no_worse and (cost[j] < cost[i] or quality[j] > quality[i]))


@pytest.mark.parametrize("seed", range(30))
def test_the_front_holds_that_of_the_bare_estimates_and_stands_in_for_the_rest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost, quality = np.round(rng.random(12), 1), np.round(rng.random(12), 1)  # with ties
    halves = rng.random((2, 12)) * 0.15
    front = on_front(around(cost, halves[0]), around(quality, halves[1]))
    bare = [not any(dominated(cost, quality, i, j) for j in range(12)) for i in range(12)]
    assert on_front(around(cost, 0.0), around(quality, 0.0)).tolist() == bare
    for i in range(12):
        assert front[i] or not bare[i]
        assert front[i] or any(
            front[j] and cost[j] <= cost[i] and quality[j] >= quality[i] for j in range(12)
        )


def test_what_is_no_interval_around_its_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"points \[1\] lie outside"):
        Estimates(np.array([1.0, 2.0]), np.array([0.9, 2.1]), np.array([1.1, 2.2]))
    with pytest.raises(ValueError, match="points"):
        Estimates(np.array([math.nan]), np.array([0.9]), np.array([1.1]))
    with pytest.raises(ValueError, match="one length"):
        Estimates(np.ones(2), np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="2 costs for 1 qualities"):
        on_front(around([1.0, 2.0], 0.0), around([1.0], 0.0))
