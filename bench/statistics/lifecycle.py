"""What an optimisation costs against what it saves: break-even, volume, and energy to accuracy.

Joules add, so savings are differences of arithmetic means, not of logarithms. Seconds do as well
where no joules were counted: cost and saving have one unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bench.statistics import Floats, checked_arms, satterthwaite, t_interval, t_quantile
from bench.statistics.pooling import LEAST_RANDOM


@dataclass(frozen=True, slots=True)
class PairedBreakEven:
    """Inferences after which the saving has repaid the optimisation, with their interval."""

    inferences: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Saving:
    """Share of the baseline's total that is saved, a fraction; negative where it costs more."""

    saving: float
    low: float
    high: float


def block_savings(baseline: Floats, variant: Floats) -> Floats:
    """Return ``mean A - mean B`` per block, ``(blocks,)``, in the unit of the arms."""
    a, b = checked_arms(baseline, variant)
    savings: Floats = a.mean(axis=1) - b.mean(axis=1)
    return savings


def break_even(
    cost: float, baseline: Floats, variant: Floats, confidence: float = 0.95
) -> PairedBreakEven | None:
    """Return after how many inferences the saving has repaid ``cost``, in the arms' unit.

    The cost counts as known, so dividing it by the ends of the saving's t interval keeps the level.
    ``None`` ("never", whatever the cost) unless that interval lies wholly above 0; a cost of 0
    takes 0 inferences. Source: Fieller (1954) J. R. Stat. Soc. B 16:175-185, for a numerator
    without variance.
    """
    _require_costs(np.asarray([cost], float))
    return _known_cost(cost, *t_interval(block_savings(baseline, variant), confidence))


def pooled_break_even(
    costs: ArrayLike,
    savings: ArrayLike,
    saving_sds: ArrayLike,
    blocks: ArrayLike,
    confidence: float = 0.95,
) -> PairedBreakEven | None:
    """Return the break-even of one technique over its records; ``None`` is "never".

    As in ``pooling.pool``: one record's cost is known and its blocks give the saving's interval;
    two are fixed, the interval speaks of these two and their costs; three or more are a sample of
    pairs of cost and saving, both uncertain and perhaps correlated, whose ratio takes Fieller's
    interval. "Never" where the interval of the mean saving is not wholly above 0.

    Args:
        costs: Of each record's optimisation, 0 or more, shape ``(records,)``.
        savings: Mean of its ``block_savings``, in the same unit per inference.
        saving_sds: Their standard deviation, 0 or more.
        blocks: Their number, 2 or more.
        confidence: Of the interval.

    Source:
        Fieller (1954) J. R. Stat. Soc. B 16:175-185.
    """
    spent, saved, sds, counts = (np.asarray(x, float) for x in (costs, savings, saving_sds, blocks))
    _require_costs(spent)
    if not spent.shape == saved.shape == sds.shape == counts.shape:
        raise ValueError(f"{spent.size} costs, {saved.size} savings, {sds.size}, {counts.size}")
    if not (np.isfinite(saved) & np.isfinite(sds) & (sds >= 0) & (counts >= 2)).all():
        raise ValueError(f"a saving is finite, of 2 blocks or more; got {saved}, {sds}, {counts}")
    if spent.size >= LEAST_RANDOM:
        found = _fieller(spent, saved, confidence)
        if found is None or saved.mean() <= 0:
            return None
        return PairedBreakEven(found[0], max(found[1], 0.0), found[2])
    variances = sds**2 / counts
    df = satterthwaite(variances, counts - 1)
    margin = t_quantile(confidence, df) * math.sqrt(variances.sum()) / spent.size
    return _known_cost(float(spent.mean()), float(saved.mean()), margin)


def saving_at_volume(
    cost: float, baseline: Floats, variant: Floats, inferences: float, confidence: float = 0.95
) -> Saving | None:
    """Return ``1 - (cost + V b) / (V a)``: what is saved over a life of ``V`` inferences.

    ``a`` and ``b`` are joules per inference; the cost counts as known. The interval is Fieller's on
    the blocks, so at both ends of ``break_even``'s interval one end of it is 0. ``None`` where so
    few and scattered blocks don't tell the baseline's own joules from 0. Source:
    Fieller (1954) J. R. Stat. Soc. B 16:175-185.
    """
    _require_costs(np.asarray([cost], float))
    if not 0 < inferences < math.inf:
        raise ValueError(f"a number of inferences is positive and finite, not {inferences}")
    a, b = (arm.mean(axis=1) for arm in checked_arms(baseline, variant))
    found = _fieller(cost / inferences + b, a, confidence)
    if found is None:
        return None
    share, low, high = found
    return Saving(1 - share, 1 - high, 1 - low)


def energy_to_accuracy(
    energies_j: Sequence[float], metrics: Sequence[float], target: float
) -> float | None:
    """Return the joules spent when a metric first reached its target; ``None`` if it never did.

    That of the first evaluation at or above the target: nothing is interpolated, since nobody knows
    what the model was worth between two evaluations. Source: energy-to-accuracy (ETA) of You, Chung
    and Chowdhury (2023) Zeus, NSDI.

    Args:
        energies_j: Joules from the start of training to each evaluation, rising.
        metrics: What the evaluation found, higher is better.
        target: Fixed beforehand.
    """
    energies, found = np.asarray(energies_j, float), np.asarray(metrics, float)
    if energies.ndim != 1 or energies.shape != found.shape:
        raise ValueError(f"{energies.shape} energies for {found.shape} metrics")
    if not (np.isfinite(energies) & np.isfinite(found)).all() or (np.diff(energies) < 0).any():
        raise ValueError(f"energies are cumulative, metrics finite; got {energies} and {found}")
    reached = np.flatnonzero(found >= target)
    return float(energies[reached[0]]) if reached.size else None


def _require_costs(costs: Floats) -> None:
    if costs.ndim != 1 or costs.size == 0 or not (np.isfinite(costs) & (costs >= 0)).all():
        raise ValueError(f"a cost is 0 or more and finite, not {', '.join(map(str, costs))}")


def _known_cost(cost: float, saving: float, margin: float) -> PairedBreakEven | None:
    if saving - margin <= 0:
        return None
    return PairedBreakEven(cost / saving, cost / (saving + margin), cost / (saving - margin))


def _fieller(
    numerators: Floats, denominators: Floats, confidence: float
) -> tuple[float, float, float] | None:
    # All ratios r for which t does not reject that numerator - r * denominator has mean 0; None
    # where that is no interval, because the denominator may be 0.
    n, n_margin = t_interval(numerators, confidence)
    d, d_margin = t_interval(denominators, confidence)
    leading = (d - d_margin) * (d + d_margin)
    if leading <= 0:
        return None
    covariance = float(np.cov(numerators, denominators)[0, 1]) / numerators.size
    middle = n * d - t_quantile(confidence, numerators.size - 1) ** 2 * covariance
    # By Cauchy and Schwarz not below 0 but for rounding.
    root = math.sqrt(max(0.0, middle**2 - leading * (n - n_margin) * (n + n_margin)))
    return n / d, (middle - root) / leading, (middle + root) / leading
