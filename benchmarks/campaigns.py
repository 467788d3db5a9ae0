"""Simulated measurements whose true ratio is known.

A session's log energy has a linear drift of 4 %, slow noise that one window hands on to the next
(AR(1), rho 0.9, standard deviation 2 %), noise of each window (1 %), and in one of twenty windows
something that only ever adds to it (exponential, mean 8 %).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.statistics import Floats

DRIFT = 0.04
SLOW_SD = 0.02
SLOW_RHO = 0.9
WINDOW_SD = 0.01
SPIKE_RATE = 0.05
SPIKE_MEAN = 0.08


@dataclass(frozen=True)
class Campaigns:
    """Many sessions of one pair.

    Attributes:
        baseline: Joules per item, 1 J but for drift and noise, shape ``(sessions, blocks, 2)``.
        variant: Likewise, the ratio times as much.
        own_level: Mean of drift and slow noise over each session's windows with the mean of what
            varies between windows: by what a joule of that session is dearer, ``(sessions,)``.
        level: Its expectation.
    """

    baseline: Floats
    variant: Floats
    own_level: Floats
    level: float


def campaigns(
    rng: np.random.Generator,
    ratios: float | Floats,
    sessions: int,
    blocks: int,
    spikes: bool = True,
    interleaved: bool = True,
) -> Campaigns:
    """Return simulated sessions.

    Args:
        rng: Where chance comes from.
        ratios: True ratio, or one for each session.
        sessions: How many.
        blocks: Of each: two windows of either arm.
        spikes: Whether something adds to one of twenty windows.
        interleaved: ABBA and BAAB in turn with random start; otherwise all A, then all B.
    """
    windows = 4 * blocks
    common = slow_noise(rng, sessions, windows) + np.linspace(0, DRIFT, windows)
    logs = common + rng.normal(0, WINDOW_SD, common.shape)
    if spikes:
        hit = rng.random(common.shape) < SPIKE_RATE
        logs += hit * rng.exponential(SPIKE_MEAN, common.shape)
    is_variant = orders(rng, sessions, blocks, interleaved)
    joules = np.exp(logs)
    shape = sessions, blocks, 2
    # The mean of an exponential's exponential is 1 / (1 - mean).
    spike_level = 1 + spikes * SPIKE_RATE * (1 / (1 - SPIKE_MEAN) - 1)
    window_level = math.exp(WINDOW_SD**2 / 2) * spike_level
    drift_level = float(np.exp(np.linspace(0, DRIFT, windows)).mean())
    return Campaigns(
        baseline=joules[~is_variant].reshape(shape),
        variant=joules[is_variant].reshape(shape) * np.reshape(ratios, (-1, 1, 1)),
        own_level=np.exp(common).mean(axis=1) * window_level,
        level=drift_level * math.exp(SLOW_SD**2 / 2) * window_level,
    )


def slow_noise(rng: np.random.Generator, sessions: int, windows: int) -> Floats:
    """Return stationary AR(1) noise, ``(sessions, windows)``."""
    noise = rng.normal(0, SLOW_SD, (sessions, windows))
    for i in range(1, windows):
        noise[:, i] = SLOW_RHO * noise[:, i - 1] + math.sqrt(1 - SLOW_RHO**2) * noise[:, i]
    return noise


def orders(
    rng: np.random.Generator, sessions: int, blocks: int, interleaved: bool
) -> NDArray[np.bool_]:
    """Return which windows are the variant's, ``(sessions, 4 * blocks)``."""
    if not interleaved:
        return np.tile(np.arange(4 * blocks) >= 2 * blocks, (sessions, 1))
    mirrored = (np.arange(blocks) + rng.integers(2, size=(sessions, 1))) % 2 == 1
    inner = np.tile([False, True, True, False], blocks)
    return np.asarray(inner ^ np.repeat(mirrored, 4, axis=1))
