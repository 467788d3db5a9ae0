"""What a ratio or a difference has become from one measurement of it to the next."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from bench.statistics import Floats, satterthwaite, t_quantile
from bench.statistics.pooling import LEAST_RANDOM, Pooled, pool
from bench.statistics.quality import PairedDifference, seeds_difference


def quotient(before: Sequence[Pooled], after: Sequence[Pooled], confidence: float = 0.95) -> Pooled:
    """Return the ratios after over the ratios before, as a geometric mean over matched seeds.

    One or two seeds leave the error of their blocks, which add up: the interval speaks of these
    sessions and not of how two sessions of the same thing differ. Three or more are a sample of
    repetitions: t on their log quotients, whatever the blocks say. Above 1 the variant needs more
    of what the baseline needs than it did.

    Args:
        before: One ratio per seed, at least one.
        after: Those of the same seeds, in the same order.
        confidence: Of the interval.

    Source:
        Errors of different size: Welch (1947) Biometrika 34:28-35.
    """
    _require_matched(before, after)
    count = len(before)
    blocks = sum(ratio.blocks for ratio in (*before, *after))
    logs = [np.log([ratio.ratio for ratio in side]) for side in (before, after)]
    changes: Floats = logs[1] - logs[0]
    if count >= LEAST_RANDOM:
        sampled = pool(changes, np.zeros(count), np.full(count, 2), confidence)
        return dataclasses.replace(sampled, blocks=blocks)
    variances = np.array([ratio.log_se**2 for ratio in (*before, *after)])
    df = satterthwaite(variances, np.array([ratio.df for ratio in (*before, *after)]))
    mean, error = float(changes.mean()), math.sqrt(variances.sum()) / count
    margin = t_quantile(confidence, df) * error
    return Pooled(
        ratio=math.exp(mean),
        low=math.exp(mean - margin),
        high=math.exp(mean + margin),
        p_value=2 * float(special.stdtr(df, -abs(mean) / error)) if error else float(mean == 0),
        units=count,
        blocks=blocks,
        method="blocks" if count == 1 else "fixed",
        log_se=error,
        df=df,
    )


def difference_of_differences(
    before: Sequence[PairedDifference], after: Sequence[PairedDifference]
) -> PairedDifference:
    """Return the differences after minus the differences before, as a mean over matched seeds.

    One or two seeds keep the shape of their own 95 % intervals, which are not symmetric: their
    distances to either side add up in squares, as if the two were independent. Both answer the
    same test examples, which makes them more alike than that: the interval errs on the wide side.
    Three or more are a sample: Student's t on what each has become.

    Args:
        before: One difference per seed, at least one.
        after: Those of the same seeds, in the same order.

    Source:
        Zou and Donner (2008) Statist. Med. 27:1693-1702, equation 5 (MOVER).
    """
    _require_matched(before, after)
    changes = [b.difference - a.difference for a, b in zip(before, after, strict=True)]
    if len(changes) >= LEAST_RANDOM:
        return seeds_difference(changes)
    mean = sum(changes) / len(changes)
    down = [b.difference - b.low for b in after] + [a.high - a.difference for a in before]
    up = [b.high - b.difference for b in after] + [a.difference - a.low for a in before]
    return PairedDifference(
        mean, mean - math.hypot(*down) / len(changes), mean + math.hypot(*up) / len(changes)
    )


def _require_matched(before: Sequence[object], after: Sequence[object]) -> None:
    if not before or len(before) != len(after):
        raise ValueError(
            f"need the same seeds twice, at least one; got {len(before)}, {len(after)}"
        )
