"""Ratios of several records taken together: sessions, hosts, seeds, tasks and techniques.

A record speaks of one session on one host. What several say together depends on how many they are;
``Pooled.method`` tells which question was answered, so that a text claims no more.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from bench.statistics import Floats, satterthwaite, t_quantile

LEAST_RANDOM = 3
"""Fewest records whose spread may stand for that of records not made: two leave 1 degree."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """A ratio over one or more records or tasks, variant over baseline.

    Attributes:
        ratio: Geometric mean of the units' ratios, each counted once; below 1 it needs less.
        low: Lower end of Student's interval.
        high: Upper end.
        p_value: Two-sided p of "no difference" by the same t, within [0, 1].
        units: Records or tasks pooled, 1 or more.
        blocks: Blocks in all of them.
        method: What the interval speaks of. ``blocks``: the one session of one record. ``fixed``:
            these two records, as they are; a third may lie elsewhere. ``random``: any record of
            the kind, from the spread between three or more. ``tasks``: these tasks.
        log_se: Standard error of the log ratio.
        df: Degrees of freedom of the t, positive.
    """

    ratio: float
    low: float
    high: float
    p_value: float
    units: int
    blocks: int
    method: Literal["blocks", "fixed", "random", "tasks"]
    log_se: float
    df: float


def pool(
    log_ratios: ArrayLike, log_ratio_sds: ArrayLike, blocks: ArrayLike, confidence: float = 0.95
) -> Pooled:
    """Return the ratio of one technique over its records: sessions, hosts or seeds.

    One record keeps its own interval. Two give no idea of how records scatter: their means are
    fixed effects, the error is that of their blocks. Three or more are a sample: t on their means,
    whatever the blocks say. Records count alike, however many blocks
    each has. Where no spread is seen at all the interval has no width and p is 0, or 1 at a ratio
    of exactly 1.

    Args:
        log_ratios: Natural logarithm of each record's ratio, shape ``(records,)``, not empty.
        log_ratio_sds: Standard deviation of its blocks' log ratios, 0 or more.
        blocks: Its number of blocks, 2 or more.
        confidence: Of the interval.

    Source:
        Fixed effects of two: Welch (1947) Biometrika 34:28-35.
    """
    means, sds, counts = (np.asarray(x, float) for x in (log_ratios, log_ratio_sds, blocks))
    if means.ndim != 1 or means.size == 0 or not means.shape == sds.shape == counts.shape:
        raise ValueError(
            f"need three vectors of one length, got {means.shape}, {sds.shape} and {counts.shape}"
        )
    if not (np.isfinite(means) & np.isfinite(sds) & (sds >= 0) & (counts >= 2)).all():
        raise ValueError(
            f"a record has a log ratio, a spread of 0 or more and 2 blocks or more; got {means}, "
            f"{sds} and {counts}"
        )
    units, total = means.size, int(counts.sum())
    variances = sds**2 / counts
    if units < LEAST_RANDOM:
        error = math.sqrt(variances.sum()) / units
        df = satterthwaite(variances, counts - 1)
        method: Literal["blocks", "fixed", "random"] = "blocks" if units == 1 else "fixed"
    else:
        error, df, method = float(means.std(ddof=1)) / math.sqrt(units), units - 1.0, "random"
    return _student(float(means.mean()), error, df, confidence, (units, total), method)


def geometric_mean(tasks: Sequence[Pooled], confidence: float = 0.95) -> Pooled:
    """Return the geometric mean of one technique's ratios over its tasks, 1 or more.

    Tasks are the ones meant, no sample of others: how far their ratios lie apart is no error. With
    log ratios ``m`` of standard errors ``s``, measured independently, the mean of T logs has the
    variance ``sum(s ** 2) / T ** 2``. Each ``s`` is estimated, so Student's t has Satterthwaite's
    degrees of freedom. Never the arithmetic mean of percentages: Fleming and Wallace (1986) Commun.
    ACM 29:218-221.

    Means of parts of a task may be taken as tasks: a mean knows its own error and degrees.
    """
    if not tasks:
        raise ValueError("a geometric mean needs at least one task")
    log_ratios = np.array([math.log(task.ratio) for task in tasks])
    variances = np.array([task.log_se**2 for task in tasks])
    error = math.sqrt(variances.sum()) / len(tasks)
    df = satterthwaite(variances, np.array([task.df for task in tasks]))
    sizes = len(tasks), sum(task.blocks for task in tasks)
    return _student(float(log_ratios.mean()), error, df, confidence, sizes, "tasks")


def holm(p_values: ArrayLike) -> Floats:
    """Return the p-values adjusted for their number, in their order, each at most 1.

    Calling what stays below 0.05 a difference errs at all in at most 5 % of families, whatever
    depends on whatever. A family is what one table compares: all its techniques but the A/A pair.
    Source: Holm (1979) Scand. J. Statist. 6:65-70.
    """
    p = np.asarray(p_values, float)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values are a vector within [0, 1], got {p}")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def simultaneous(techniques: Sequence[Pooled], confidence: float = 0.95) -> tuple[Pooled, ...]:
    """Return the techniques with intervals that hold all at once with ``confidence``.

    Bonferroni's: each interval takes an equal share of the error. Dunnett's would be narrower where
    all techniques are held against the same baseline sample with one common variance. Here every
    pair has baseline windows of its own and a repeatability of its own; what is shared (a baseline
    artefact over techniques of one seed) may correlate them in ways that Bonferroni allows.
    p-values stay as they are: see ``holm``. Source: Dunn (1961) J. Am. Stat. Assoc. 56:52-64.
    """
    if not techniques:
        return ()
    each = 1 - (1 - confidence) / len(techniques)
    widened = []
    for technique in techniques:
        margin = t_quantile(each, technique.df) * technique.log_se
        low, high = (technique.ratio * math.exp(side * margin) for side in (-1, 1))
        widened.append(dataclasses.replace(technique, low=low, high=high))
    return tuple(widened)


def energy_verdict(
    ratio: float, adjusted_p: float, alpha: float = 0.05
) -> Literal["saves", "costs", "undecided"]:
    """Say what a ratio shows, by its p-value adjusted for the other techniques (``holm``)."""
    if not adjusted_p < alpha or ratio == 1:
        return "undecided"
    return "saves" if ratio < 1 else "costs"


def _student(
    log_ratio: float,
    error: float,
    df: float,
    confidence: float,
    sizes: tuple[int, int],
    method: Literal["blocks", "fixed", "random", "tasks"],
) -> Pooled:
    margin = t_quantile(confidence, df) * error
    if error > 0:
        p_value = 2 * float(special.stdtr(df, -abs(log_ratio) / error))
    else:
        p_value = float(log_ratio == 0)
    return Pooled(
        ratio=math.exp(log_ratio),
        low=math.exp(log_ratio - margin),
        high=math.exp(log_ratio + margin),
        p_value=p_value,
        units=sizes[0],
        blocks=sizes[1],
        method=method,
        log_se=error,
        df=df,
    )
