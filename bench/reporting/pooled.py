"""Ratios of pairs taken together: sessions and seeds of one host, and hosts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.flat import MEASURES
from bench.reporting.pairs import Pairs
from bench.statistics.pooling import LEAST_RANDOM, Pooled, geometric_mean, pool

ARMS = ("baseline", "variant")


def pooled(
    source: Pairs, positions: NDArray[np.intp]
) -> tuple[dict[str, Pooled], dict[str, tuple[float, float]]]:
    """Return ratios and the arms' joules or seconds per sample, by measure.

    A measure that none of the pairs has is absent; those that lack it are not counted in ``units``.

    Args:
        source: All pairs.
        positions: Those to pool, measured alike.
    """
    ratios, per_item = {}, {}
    for measure in MEASURES:
        logs = source.log(f"{measure}_ratio")[positions]
        compared = positions[np.isfinite(logs)]
        if compared.size:
            ratios[measure] = _over_hosts(source, measure, compared)
            means = [source.log(f"{measure}_{arm}_per_item")[compared].mean() for arm in ARMS]
            per_item[measure] = math.exp(means[0]), math.exp(means[1])
    return ratios, per_item


def _over_hosts(source: Pairs, measure: str, positions: NDArray[np.intp]) -> Pooled:
    """Return the ratio of records on one host, or the mean of several hosts, each counted once."""
    hosts = source.codes("host")[0][positions]
    each = [_on_one_host(source, measure, positions[hosts == host]) for host in np.unique(hosts)]
    if len(each) == 1:
        return each[0]
    mean = geometric_mean(each)
    if len(each) < LEAST_RANDOM:
        return replace(mean, method="fixed")
    # Three hosts are a sample of hosts: what counts is how they scatter, not their blocks.
    logs = np.log([host.ratio for host in each])
    sampled = pool(logs, np.zeros(len(each)), np.full(len(each), 2))
    return replace(sampled, blocks=mean.blocks)


def _on_one_host(source: Pairs, measure: str, positions: NDArray[np.intp]) -> Pooled:
    return pool(
        source.log(f"{measure}_ratio")[positions],
        source.column(f"{measure}_log_ratio_sd")[positions],
        source.column("blocks")[positions],
    )
