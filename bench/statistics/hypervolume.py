"""How much of the plane of cost and quality a set of points dominates."""

from __future__ import annotations

import numpy as np

from bench.statistics import Floats


def hypervolume(cost: Floats, quality: Floats, most_cost: float, least_quality: float) -> float:
    """Return the area dominated by points of low cost and high quality, up to a reference point.

    A point dominates all that costs no less and is no better. What lies beyond the reference in
    either respect adds nothing, and no more does a point that another dominates. The unit is that
    of cost times that of quality.

    Args:
        cost: Of each point, shape ``(points,)``, finite.
        quality: Likewise, higher is better.
        most_cost: Cost of the reference point.
        least_quality: Its quality.

    Source:
        Zitzler and Thiele (1998) PPSN V, LNCS 1498:292-301: the size of the space covered. In two
        dimensions it is a sum of rectangles between the points in order of their cost.
    """
    cost, quality = np.asarray(cost, float), np.asarray(quality, float)
    if cost.ndim != 1 or cost.shape != quality.shape:
        raise ValueError(f"need vectors of one length, got {cost.shape} and {quality.shape}")
    if not (np.isfinite(cost) & np.isfinite(quality)).all():
        raise ValueError(f"costs and qualities are finite, got {cost} and {quality}")
    inside = (cost < most_cost) & (quality > least_quality)
    order = np.argsort(cost[inside])
    edges = np.append(cost[inside][order], most_cost)
    heights = np.maximum.accumulate(quality[inside][order]) - least_quality
    return float((np.diff(edges) * heights).sum())
