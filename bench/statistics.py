"""Ratios, differences and break-evens of a pair, each with its interval.

The unit of replication is the block, whose windows share the machine's slow drift. Bootstraps of so
few blocks cover 0.82 to 0.91 instead of 0.95, so a ratio takes Student's t.

``baseline`` (arm A) and ``variant`` (arm B) hold joules or seconds per item, positive, of shape
``(blocks, 2)``, and ``confidence`` is two-sided, within (0, 1), unless a function says otherwise.
Whatever is outside its stated range raises a ``ValueError`` that names the problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Floats = NDArray[np.float64]

EXACT_BLOCKS = 40
"""Most blocks whose 2**blocks sign vectors are all counted: halves of 2**20 sums fit memory."""


@dataclass(frozen=True, slots=True)
class PairedRatio:
    """Variant over baseline.

    Attributes:
        ratio: Geometric mean over the blocks, positive; below 1 the variant needs less.
        low: Lower end of the interval.
        high: Upper end.
        p_value: Two-sided sign-flip p of "no difference", within (0, 1].
        log_ratio_sd: Standard deviation of the blocks' log ratios (repeatability).
        blocks: Number of blocks, 2 or more.
        baseline_per_item: Geometric mean of all baseline windows, in the unit of the input.
        variant_per_item: Likewise; ``ratio`` is their quotient.
    """

    ratio: float
    low: float
    high: float
    p_value: float
    log_ratio_sd: float
    blocks: int
    baseline_per_item: float
    variant_per_item: float


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Variant minus baseline of a metric on the same examples, a fraction, with its interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedBreakEven:
    """Inferences after which the saving has repaid the optimisation, with their interval."""

    inferences: float
    low: float
    high: float


def block_log_ratios(baseline: Floats, variant: Floats) -> Floats:
    """Return ``mean ln B - mean ln A`` per block, ``(blocks,)``: negative where B needed less."""
    a, b = _windows(baseline, variant)
    d: Floats = np.log(b).mean(axis=1) - np.log(a).mean(axis=1)
    return d


def paired_ratio(baseline: Floats, variant: Floats, confidence: float = 0.95) -> PairedRatio:
    """Return the ratio of the arms with Student's t interval on the blocks' log ratios.

    On logarithms, because a ratio's noise multiplies. Fewer than 2 blocks are a ``ValueError``:
    they have no finite interval. Source: Student (1908) Biometrika 6:1-25.
    """
    d = block_log_ratios(baseline, variant)
    centre, margin = _t_interval(d, confidence)
    return PairedRatio(
        ratio=math.exp(centre),
        low=math.exp(centre - margin),
        high=math.exp(centre + margin),
        p_value=sign_flip_p(d),
        log_ratio_sd=float(d.std(ddof=1)),
        blocks=d.size,
        baseline_per_item=math.exp(np.log(baseline).mean()),
        variant_per_item=math.exp(np.log(variant).mean()),
    )


def sign_flip_p(d: Floats) -> float:
    """Return the two-sided p of a mean at least as far from 0 under random signs.

    ``d`` holds the log ratios of 1 or more blocks. No p is below ``2 / 2**blocks``: 6 blocks can
    reach 0.05. Exact up to ``EXACT_BLOCKS``: a sum over all blocks is one over the first half plus
    one over the second, so sorting one half counts all 2**K sums in 2**(K/2) memory. Beyond, 9,999
    seeded random sign vectors. Source: Fisher (1935) The Design of Experiments, section 21; halves:
    Horowitz and Sahni (1974) J. ACM 21:277-292.
    """
    if np.ndim(d) != 1 or np.size(d) == 0 or not np.isfinite(d).all():
        raise ValueError(f"sign flips need a vector of finite values, got shape {np.shape(d)}")
    if len(d) > EXACT_BLOCKS:
        return float(
            stats.permutation_test((d,), np.mean, permutation_type="samples", rng=0).pvalue
        )
    # The same sum in another order differs in its last bits and must still count as equal.
    threshold = abs(float(np.sum(d))) - 1e-12 * float(np.abs(d).sum())
    first, second = _signed_sums(d[: len(d) // 2]), np.sort(_signed_sums(d[len(d) // 2 :]))
    upper = first.size * second.size - int(np.searchsorted(second, threshold - first).sum())
    return min(1.0, 2 * upper * 0.5 ** len(d))


def half_width(d: Floats, confidence: float = 0.95) -> float:
    """Return ``high / ratio - 1`` of the interval that log ratios ``d`` give, 0.02 for 2 %.

    Infinite for fewer than 2 blocks. Stop on this, never on significance, to keep the coverage.
    """
    return math.inf if len(d) < 2 else math.expm1(_t_interval(np.asarray(d), confidence)[1])


def blocks_needed(
    log_ratio_sd: float, target_half_width: float, confidence: float, most: int
) -> int | None:
    """Return the fewest blocks, 2 or more, whose ``half_width`` reaches the target.

    ``None`` if even ``most`` would not do. ``log_ratio_sd`` is that of a pilot, 0 or more; the
    target is relative and positive, 0.02 for 2 %.
    """
    if not 0 <= log_ratio_sd < math.inf or not target_half_width > 0:
        raise ValueError(f"no sample size for sd {log_ratio_sd}, half-width {target_half_width}")
    blocks = np.arange(2, most + 1)
    margins = stats.t.ppf(_upper(confidence), blocks - 1) * log_ratio_sd / np.sqrt(blocks)
    enough = blocks[margins <= math.log1p(target_half_width)]
    return int(enough[0]) if enough.size else None


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
    z = float(stats.norm.ppf(_upper(confidence)))
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
    metric: Callable[[NDArray[Any], NDArray[Any]], float],
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
    count, upper, rng = len(labels), _upper(confidence), np.random.default_rng(seed)
    if count < 2 or len(baseline) != count or len(variant) != count:
        raise ValueError(f"{count} labels, {len(baseline)} and {len(variant)} predictions")
    differences = np.empty(1 + resamples)
    drawn = np.arange(count)  # the first are the examples themselves
    for i in range(1 + resamples):
        truth = labels[drawn]
        differences[i] = metric(truth, variant[drawn]) - metric(truth, baseline[drawn])
        drawn = rng.integers(count, size=count)
    if not np.isfinite(differences).all():
        raise ValueError("the metric is not finite on the examples or on a resample of them")
    low, high = np.quantile(differences[1:], (1 - upper, upper))
    return PairedDifference(float(differences[0]), float(low), float(high))


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


def direction(low: float, high: float) -> Literal["below", "above", "undecided"]:
    """Say on which side of 1 the interval of a ratio lies; touching 1 is undecided."""
    if high < 1:
        return "below"
    return "above" if low > 1 else "undecided"


def break_even(
    cost: float, baseline: Floats, variant: Floats, confidence: float = 0.95
) -> PairedBreakEven | None:
    """Return after how many inferences the saving has repaid ``cost``, in the arms' unit.

    The saving of a block is ``mean A - mean B``, arithmetic because joules add. The cost counts as
    known, so dividing it by the ends of the saving's t interval keeps the level. ``None`` ("never",
    whatever the cost) unless that interval lies wholly above 0; a cost of 0 takes 0 inferences.
    Source: Fieller (1954) J. R. Stat. Soc. B 16:175-185, for a numerator without variance.
    """
    if not 0 <= cost < math.inf:
        raise ValueError(f"a cost is 0 or more and finite, not {cost}")
    a, b = _windows(baseline, variant)
    savings: Floats = a.mean(axis=1) - b.mean(axis=1)
    saving, margin = _t_interval(savings, confidence)
    if saving - margin <= 0:
        return None
    return PairedBreakEven(cost / saving, cost / (saving + margin), cost / (saving - margin))


def _windows(baseline: Floats, variant: Floats) -> tuple[Floats, Floats]:
    a, b = np.asarray(baseline, float), np.asarray(variant, float)
    if a.ndim != 2 or a.shape[1] != 2 or a.shape != b.shape:
        raise ValueError(f"need two arrays of shape (blocks, 2), got {a.shape} and {b.shape}")
    for name, values in (("baseline", a), ("variant", b)):
        if not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(f"{name} has a value that is not finite or not positive")
    return a, b


def _upper(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies within (0, 1), not {confidence}")
    return (1 + confidence) / 2


def _t_interval(values: Floats, confidence: float) -> tuple[float, float]:
    # Mean and half-width. One block has no spread: 0 to infinity is no result, and no JSON either.
    if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
        raise ValueError(f"an interval needs at least 2 blocks, finite; got shape {values.shape}")
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    quantile = float(stats.t.ppf(_upper(confidence), values.size - 1))
    return float(values.mean()), quantile * error


def _signed_sums(d: Floats) -> Floats:
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate((sums - value, sums + value))
    return sums


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
