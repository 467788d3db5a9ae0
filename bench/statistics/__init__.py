"""Ratios, differences, break-evens and fronts of pairs, each with its interval.

The unit of replication is the block, whose windows share the machine's slow drift; between records
it is the record. Bootstraps of so few blocks cover 0.82 to 0.91 instead of 0.95, so ratios take
Student's t.

``ratios`` holds what one pair gives, ``pooling`` what several give together, ``quality`` the task
metric, ``lifecycle`` cost against saving, ``front`` and ``hypervolume`` joules against quality. All
are pure functions.

In all of them ``baseline`` (arm A) and ``variant`` (arm B) hold joules or seconds per item,
positive, of shape ``(blocks, 2)``, and ``confidence`` is two-sided, within (0, 1), unless a
function says otherwise. Whatever is outside its stated range raises a ``ValueError`` that names the
problem.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]


def upper_probability(confidence: float) -> float:
    """Return the probability below the upper end of a two-sided interval: 0.975 for 0.95."""
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies within (0, 1), not {confidence}")
    return (1 + confidence) / 2


def t_quantile(confidence: float, degrees: float) -> float:
    """Return how many standard errors Student's interval reaches to either side."""
    return float(special.stdtrit(degrees, upper_probability(confidence)))


def t_interval(values: Floats, confidence: float) -> tuple[float, float]:
    """Return the mean of 2 or more values and the half-width of Student's interval.

    One value has no spread: 0 to infinity is no result, and no JSON either. Source: Student (1908)
    Biometrika 6:1-25.
    """
    if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
        raise ValueError(f"an interval needs at least 2 blocks, finite; got shape {values.shape}")
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    return float(values.mean()), t_quantile(confidence, values.size - 1) * error


def satterthwaite(variances: Floats, degrees: Floats) -> float:
    """Return the degrees of freedom of a sum of independent estimated variances.

    Their own sum where no variance is above 0. Source: Satterthwaite (1946) Biometrics Bulletin
    2:110-114; Welch (1947) Biometrika 34:28-35.
    """
    total = float(variances.sum())
    if total == 0:
        return float(degrees.sum())
    shares = variances / total  # so that squares of tiny variances do not vanish
    return 1 / float((shares**2 / degrees).sum())


def checked_arms(baseline: Floats, variant: Floats) -> tuple[Floats, Floats]:
    """Return both arms as arrays of floats, positive and finite, of one shape ``(blocks, 2)``."""
    a, b = np.asarray(baseline, float), np.asarray(variant, float)
    if a.ndim != 2 or a.shape[1] != 2 or a.shape != b.shape:
        raise ValueError(f"need two arrays of shape (blocks, 2), got {a.shape} and {b.shape}")
    for name, values in (("baseline", a), ("variant", b)):
        if not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(f"{name} has a value that is not finite or not positive")
    return a, b
