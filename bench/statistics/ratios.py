"""The ratio of one pair: its interval, its test, its robust companions, and its sample size."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, stats

from bench.statistics import Floats, checked_arms, t_interval, t_quantile, upper_probability

EXACT_BLOCKS = 40
"""Most blocks whose 2**blocks sign vectors are all counted: halves of 2**20 sums fit memory."""

TRIMMED = 0.2
"""Share of the blocks that a trimmed mean leaves out at either end."""


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
class Robust:
    """The ratio as two estimators see it that a few wild blocks cannot move.

    Attributes:
        hodges_lehmann: Exponential of the median of all blocks' Walsh averages.
        trimmed: Exponential of the mean without the lowest and the highest 20 % of the blocks.
    """

    hodges_lehmann: float
    trimmed: float


def block_log_ratios(baseline: Floats, variant: Floats) -> Floats:
    """Return ``mean ln B - mean ln A`` per block, ``(blocks,)``: negative where B needed less."""
    a, b = checked_arms(baseline, variant)
    d: Floats = np.log(b).mean(axis=1) - np.log(a).mean(axis=1)
    return d


def paired_ratio(baseline: Floats, variant: Floats, confidence: float = 0.95) -> PairedRatio:
    """Return the ratio of the arms with Student's t interval on the blocks' log ratios.

    On logarithms, because a ratio's noise multiplies. Fewer than 2 blocks are a ``ValueError``:
    they have no finite interval. Source: Student (1908) Biometrika 6:1-25.
    """
    d = block_log_ratios(baseline, variant)
    centre, margin = t_interval(d, confidence)
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
    _require_log_ratios(d, "sign flips")
    if len(d) > EXACT_BLOCKS:
        return float(
            stats.permutation_test((d,), np.mean, permutation_type="samples", rng=0).pvalue
        )
    # The same sum in another order differs in its last bits and must still count as equal.
    threshold = abs(float(np.sum(d))) - 1e-12 * float(np.abs(d).sum())
    first, second = _signed_sums(d[: len(d) // 2]), np.sort(_signed_sums(d[len(d) // 2 :]))
    upper = first.size * second.size - int(np.searchsorted(second, threshold - first).sum())
    return min(1.0, 2 * upper * 0.5 ** len(d))


def robust(d: Floats) -> Robust:
    """Return the ratio by two robust estimators, from the log ratios of 1 or more blocks.

    For sensitivity beside ``paired_ratio``, which keeps every valid block. Source: Hodges and
    Lehmann (1963) Ann. Math. Statist. 34:598-611; Tukey and McLaughlin (1963) Sankhya A 25:331-352.
    """
    _require_log_ratios(d, "robust estimates")
    walsh = (np.add.outer(d, d) / 2)[np.triu_indices(len(d))]
    return Robust(
        hodges_lehmann=math.exp(np.median(walsh)),
        trimmed=math.exp(stats.trim_mean(d, TRIMMED)),
    )


def half_width(d: Floats, confidence: float = 0.95) -> float:
    """Return ``high / ratio - 1`` of the interval that log ratios ``d`` give, 0.02 for 2 %.

    Infinite for fewer than 2 blocks. Stop on this, never on significance, to keep the coverage.
    """
    return math.inf if len(d) < 2 else math.expm1(t_interval(np.asarray(d), confidence)[1])


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
    margins = (
        stats.t.ppf(upper_probability(confidence), blocks - 1) * log_ratio_sd / np.sqrt(blocks)
    )
    enough = blocks[margins <= math.log1p(target_half_width)]
    return int(enough[0]) if enough.size else None


def smallest_detectable(
    log_ratio_sd: float, blocks: int, power: float = 0.8, confidence: float = 0.95
) -> float:
    """Return the smallest saving, a fraction within [0, 1), that a host is likely to show.

    True savings at least as large put the whole interval below 1 with probability ``power``, within
    (0, 1), or more.

    Args:
        log_ratio_sd: Standard deviation of the blocks' log ratios of an A/A pair, 0 or more.
        blocks: That a pair will have, 2 or more.
        power: Probability of showing it.
        confidence: Of the interval.

    Source:
        Noncentral t: Johnson and Welch (1940) Biometrika 31:362-389.
    """
    if not 0 <= log_ratio_sd < math.inf or blocks < 2 or not 0 < power < 1:
        raise ValueError(f"no power {power} for sd {log_ratio_sd} and {blocks} blocks")
    shift = _detectable_shift(blocks, power, confidence)
    return -math.expm1(-shift * log_ratio_sd / math.sqrt(blocks))


# A root is searched for; a table asks for the same blocks many times.
@functools.cache
def _detectable_shift(blocks: int, power: float, confidence: float) -> float:
    """Return the saving in standard errors of the mean log ratio."""
    degrees, critical = blocks - 1, t_quantile(confidence, blocks - 1)

    def excess(shift: float) -> float:
        return float(stats.nct.sf(critical, degrees, shift)) - power

    # Chance fails where the spread comes out wide or the mean low: half of it each is enough.
    each = (1 - power) / 2
    enough = critical * math.sqrt(stats.chi2.isf(each, degrees) / degrees) + stats.norm.isf(each)
    # With no effect the interval lies below 1 in (1 - confidence) / 2 of all cases.
    return float(optimize.brentq(excess, 0.0, enough)) if excess(0.0) < 0 else 0.0


def direction(low: float, high: float) -> Literal["below", "above", "undecided"]:
    """Say on which side of 1 the interval of a ratio lies; touching 1 is undecided."""
    if high < 1:
        return "below"
    return "above" if low > 1 else "undecided"


def _require_log_ratios(d: Floats, what: str) -> None:
    if np.ndim(d) != 1 or np.size(d) == 0 or not np.isfinite(d).all():
        raise ValueError(f"{what} need a vector of finite values, got shape {np.shape(d)}")


def _signed_sums(d: Floats) -> Floats:
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate((sums - value, sums + value))
    return sums
