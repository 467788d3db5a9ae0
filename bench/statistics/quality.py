"""Differences in a task metric, variant minus baseline, and what they prove at a margin.

Differences are of fractions: 0.01 is one percentage point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from bench.statistics import Floats, t_interval, t_quantile, upper_probability

Metric = Callable[[NDArray[Any], NDArray[Any]], float]
"""From labels and predictions to a task metric."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Variant minus baseline of a metric on the same examples, a fraction, with its interval."""

    difference: float
    low: float
    high: float


def tango_interval(
    lost: int, gained: int, examples: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the score interval of ``(gained - lost) / examples``, within [-1, 1].

    Of 1 or more ``examples``, ``lost`` only the baseline got right, ``gained`` only the variant.
    Unlike Wald's, the interval has a width where all agree; at a difference of 0 it is McNemar's
    test. Source: Tango, T. (1998) Statistics in Medicine 17:891-908.
    """
    if min(lost, gained) < 0 or examples < 1 or lost + gained > examples:
        raise ValueError(f"{lost} lost and {gained} gained do not fit {examples} examples")
    z = float(special.ndtri(upper_probability(confidence)))
    # Swapping the arms mirrors the problem, so one solver gives both ends.
    return _tango_low(lost, gained, examples, z), -_tango_low(gained, lost, examples, z)


def paired_accuracy(
    baseline_correct: NDArray[np.bool_], variant_correct: NDArray[np.bool_]
) -> PairedDifference:
    """Return the difference in accuracy with Tango's 95 % interval.

    Both say which examples were right, in the same order: bool, shape ``(examples,)``, not empty.
    """
    a, b = np.asarray(baseline_correct), np.asarray(variant_correct)
    if a.dtype != bool or b.dtype != bool or a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"need two bool vectors, got {a.dtype} {a.shape} and {b.dtype} {b.shape}")
    lost, gained = int((a & ~b).sum()), int((b & ~a).sum())
    low, high = tango_interval(lost, gained, a.size)
    return PairedDifference((gained - lost) / a.size, low, high)


def bootstrap_difference(
    metric: Metric,
    labels: NDArray[Any],
    baseline: NDArray[Any],
    variant: NDArray[Any],
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> PairedDifference:
    """Return the difference in a metric with the percentile bootstrap of test examples.

    For F1, Matthews, Pearson and Spearman on 400 examples or more. ``metric(labels, predictions)``
    is called twice per resample and must be finite on each: a correlation should give 0 where a
    column is constant. The arrays hold the same 2 or more examples along their first axis. Not
    ``scipy.stats.bootstrap``, which casts labels and predictions to one type. Source: Efron and
    Tibshirani (1993) An Introduction to the Bootstrap, chapter 13.
    """
    count, upper, rng = len(labels), upper_probability(confidence), np.random.default_rng(seed)
    if count < 2 or len(baseline) != count or len(variant) != count:
        raise ValueError(f"{count} labels, {len(baseline)} and {len(variant)} predictions")
    differences = np.empty(1 + resamples)
    drawn = np.arange(count)  # the first are the examples themselves
    for i in range(1 + resamples):
        truth = labels[drawn]
        differences[i] = metric(truth, variant[drawn]) - metric(truth, baseline[drawn])
        drawn = rng.integers(count, size=count)
    _require_finite(differences)
    low, high = np.quantile(differences[1:], (1 - upper, upper))
    return PairedDifference(float(differences[0]), float(low), float(high))


def mean_difference(
    baseline: ArrayLike, variant: ArrayLike, confidence: float = 0.95
) -> PairedDifference:
    """Return the difference of two means over the same examples with Student's paired interval.

    For metrics that are means of figures that examples have by themselves. Unlike a bootstrap's the
    interval keeps its promise with a dozen examples. Both hold one figure per example, shape
    ``(examples,)``, 2 or more. Source: Student (1908) Biometrika 6:1-25.
    """
    a, b = np.asarray(baseline, float), np.asarray(variant, float)
    if a.ndim != 1 or a.shape != b.shape or a.size < 2:
        raise ValueError(f"need two vectors of 2 or more, got {a.shape} and {b.shape}")
    middle, margin = t_interval(b - a, confidence)
    return PairedDifference(middle, middle - margin, middle + margin)


def seeds_difference(differences: ArrayLike, confidence: float = 0.95) -> PairedDifference:
    """Return the mean difference over training seeds with Student's interval.

    It speaks of training again on the same test examples; ``both_sources`` adds that the examples
    are a sample too. ``differences`` holds one per seed, variant minus baseline of that seed, shape
    ``(seeds,)``, 2 or more. Source: Student (1908) Biometrika 6:1-25.
    """
    mean, margin = t_interval(_per_seed(differences), confidence)
    return PairedDifference(mean, mean - margin, mean + margin)


def both_sources(
    differences: ArrayLike, discordances: ArrayLike, examples: int, confidence: float = 0.95
) -> PairedDifference:
    """Return the mean difference in accuracy over seeds, where seeds and examples are both samples.

    ``variance = s**2 / seeds + mean discordance / examples``: of the mean over seeds, and of the
    test examples, which all seeds share and more seeds don't average away. The discordance bounds
    the variance of an example's mean difference from above (squares of differences within [-1, 1],
    averaged over seeds), so the interval is no narrower than it should be, and up to twice as wide
    where seeds err on other examples each (``hierarchical_bootstrap`` is nearer). The t has
    ``seeds - 1`` degrees, which are those of the first term; the second is known nearly exactly,
    and Satterthwaite's would be more.

    Args:
        differences: Variant minus baseline of each seed, shape ``(seeds,)``, 2 or more.
        discordances: Share of the examples on which only one arm of that seed is right.
        examples: Number of test examples, the same for all seeds.
        confidence: Of the interval.
    """
    found, shares = _per_seed(differences), np.asarray(discordances, float)
    if shares.shape != found.shape or not ((shares >= 0) & (shares <= 1)).all() or examples < 1:
        raise ValueError(f"discordances {shares} of {examples} examples for {found.size} seeds")
    return of_trainings(found, np.sqrt(shares / examples), confidence)


def of_trainings(
    differences: ArrayLike, errors: ArrayLike, confidence: float = 0.95
) -> PairedDifference:
    """Return the mean difference in any metric over seeds, where seeds and examples are samples.

    ``variance = s**2 / seeds + mean of the squared errors``, as in ``both_sources``, for metrics of
    which each seed's interval over the examples is known; ``hierarchical_bootstrap`` needs all
    predictions.

    Args:
        differences: Variant minus baseline of each seed, shape ``(seeds,)``, 2 or more.
        errors: Standard errors of these for the examples' sake, not negative.
        confidence: Of the interval.
    """
    found, known = _per_seed(differences), np.asarray(errors, float)
    if known.shape != found.shape or not (np.isfinite(known) & (known >= 0)).all():
        raise ValueError(f"standard errors {known} for {found.size} seeds")
    mean, _ = t_interval(found, confidence)
    variance = float(found.var(ddof=1)) / found.size + float((known**2).mean())
    margin = t_quantile(confidence, found.size - 1) * math.sqrt(variance)
    return PairedDifference(mean, mean - margin, mean + margin)


def hierarchical_bootstrap(
    metric: Metric,
    labels: NDArray[Any],
    baseline: NDArray[Any],
    variant: NDArray[Any],
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> PairedDifference:
    """Return the mean difference in a metric over seeds, with seeds and examples resampled.

    Like ``both_sources``, for metrics that are no accuracy. Each resample draws seeds, then
    examples once for all of them: the seeds were tested on the same examples, and drawing them anew
    for each seed would average away what they share. The resamples give the standard error, times
    ``sqrt(seeds / (seeds - 1))`` for what resampling so few lacks, and the interval is Student's
    with ``seeds - 1`` degrees: percentiles over five seeds are as narrow as those over five blocks.
    The metric is called twice per seed and resample. Source of crossed resampling: Owen (2007)
    Ann. Appl. Stat. 1:386-411.

    Args:
        metric: As for ``bootstrap_difference``.
        labels: Shape ``(examples, ...)``, 2 or more, the same for all seeds.
        baseline: Predictions of each seed's baseline, shape ``(seeds, examples, ...)``, 2 seeds or
            more.
        variant: Likewise.
        resamples: How many.
        seed: Of the resampling.
        confidence: Of the interval.
    """
    shape = np.shape(baseline)[:2]
    if shape != np.shape(variant)[:2] or shape[1:] != (len(labels),) or min(shape) < 2:
        raise ValueError(
            f"{len(labels)} labels, predictions of shape {np.shape(baseline)} and "
            f"{np.shape(variant)}: need 2 seeds or more with one prediction per label each"
        )
    seeds, count = shape
    rng = np.random.default_rng(seed)
    differences = np.empty(1 + resamples)
    chosen, drawn = np.arange(seeds), np.arange(count)
    for i in range(1 + resamples):
        truth = labels[drawn]
        differences[i] = np.mean(
            [metric(truth, variant[s][drawn]) - metric(truth, baseline[s][drawn]) for s in chosen]
        )
        chosen, drawn = rng.integers(seeds, size=(seeds,)), rng.integers(count, size=(count,))
    _require_finite(differences)
    error = float(differences[1:].std(ddof=1)) * math.sqrt(seeds / (seeds - 1))
    mean, margin = float(differences[0]), t_quantile(confidence, seeds - 1) * error
    return PairedDifference(mean, mean - margin, mean + margin)


def non_inferiority(
    low: float, high: float, margin: float
) -> Literal["non-inferior", "inferior", "inconclusive"]:
    """Judge the interval of a difference in quality against a loss accepted beforehand (positive).

    With a two-sided 95 % interval this is the one-sided test at 0.025.
    """
    if not margin > 0:
        raise ValueError(f"a margin is positive, not {margin}")
    if low > -margin:
        return "non-inferior"
    return "inferior" if high < -margin else "inconclusive"


def _per_seed(differences: ArrayLike) -> Floats:
    found: Floats = np.asarray(differences, float)
    if found.ndim != 1 or found.size < 2 or not np.isfinite(found).all():
        raise ValueError(f"need the differences of at least 2 seeds, finite; got {found}")
    return found


def _require_finite(differences: Floats) -> None:
    if not np.isfinite(differences).all():
        raise ValueError("the metric is not finite on the examples or on a resample of them")


def _tango_low(lost: int, gained: int, examples: int, z: float) -> float:
    if lost == examples:
        return -1.0  # the score never exceeds 0: nothing speaks against the worst difference
    # The score falls from infinity at -1, where it is undefined, to 0 at the estimate.
    ends, counts = (-1 + 1e-12, (gained - lost) / examples), (lost, gained, examples)
    return float(optimize.brentq(_tango_excess, *ends, args=(*counts, z)))


def _tango_excess(delta: float, lost: int, gained: int, examples: int, z: float) -> float:
    # Probability of "lost" that is most likely if the true difference were delta.
    a = 2 * examples
    b = (2 * examples - gained + lost) * delta - lost - gained
    c = -lost * delta * (1 - delta)
    lost_rate = (math.sqrt(b * b - 4 * a * c) - b) / (2 * a)
    variance = examples * (2 * lost_rate + delta * (1 - delta))
    if variance <= 0:
        return -z  # only at an estimate that leaves no variance, where a score of 0 / 0 is 0
    return (gained - lost - examples * delta) / math.sqrt(variance) - z
