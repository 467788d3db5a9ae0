"""The area that a set of points dominates: rectangles by hand, and Optuna's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from optuna._hypervolume import compute_hypervolume

from bench.statistics.hypervolume import hypervolume


def of(points: list[tuple[float, float]], most: float = 1.0, least: float = 0.5) -> float:
    cost, quality = np.array(points, float).reshape(-1, 2).T
    return hypervolume(cost, quality, most, least)


def test_one_point_dominates_the_rectangle_to_the_reference() -> None:
    assert of([(0.25, 0.9)]) == pytest.approx(0.75 * 0.4)


def test_two_points_dominate_the_union_of_their_rectangles() -> None:
    # From 0.2 to 0.6 the height is 0.1, from 0.6 to 1 it is 0.4.
    assert of([(0.6, 0.9), (0.2, 0.6)]) == pytest.approx(0.4 * 0.1 + 0.4 * 0.4)


def test_a_dominated_point_and_one_beyond_the_reference_add_nothing() -> None:
    alone = of([(0.25, 0.9)])
    assert of([(0.25, 0.9), (0.3, 0.8), (0.25, 0.9)]) == pytest.approx(alone)
    assert of([(0.25, 0.9), (1.0, 0.99), (1.2, 1.0), (0.1, 0.5), (0.05, 0.2)]) == pytest.approx(
        alone
    )


def test_no_points_dominate_nothing() -> None:
    assert of([]) == 0.0


@pytest.mark.parametrize("seed", range(10))
def test_random_points_dominate_what_optuna_says(seed: int) -> None:
    points = np.random.default_rng(seed).random((15, 2))
    losses = points * [1.0, -1.0]  # both are minimised there
    inside = losses[(losses < [0.9, -0.1]).all(axis=1)]
    assert hypervolume(points[:, 0], points[:, 1], 0.9, 0.1) == pytest.approx(
        compute_hypervolume(inside, np.array([0.9, -0.1]))
    )


def test_what_is_no_set_of_points_is_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        hypervolume(np.ones(2), np.ones(3), 1.0, 0.0)
    with pytest.raises(ValueError, match="finite"):
        of([(math.nan, 0.9)])
