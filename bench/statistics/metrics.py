"""Task metrics as plain arithmetic, fast enough to be asked twenty thousand times by a bootstrap.

Where a formula divides by nothing, as for predictions of one class only, the metric is 0: the
convention of scikit-learn, so that every resample has a finite value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from bench.statistics.quality import Metric


def accuracy(labels: NDArray[Any], predictions: NDArray[Any]) -> float:
    """Return the fraction that is right."""
    return float(np.mean(labels == predictions))


def f1(labels: NDArray[Any], predictions: NDArray[Any]) -> float:
    """Return the harmonic mean of precision and recall of class 1, in [0, 1]."""
    hits = float(np.sum((labels == 1) & (predictions == 1)))
    marked = float(np.sum(labels == 1) + np.sum(predictions == 1))
    return 2 * hits / marked if marked else 0.0


def matthews_correlation(labels: NDArray[Any], predictions: NDArray[Any]) -> float:
    """Return the correlation of two classifications into any number of classes, in [-1, 1].

    Source: Gorodkin (2004), Computational Biology and Chemistry 28:367-374, equation 8.
    """
    classes = int(max(labels.max(), predictions.max())) + 1
    pairs = np.bincount(
        labels.astype(np.int64) * classes + predictions.astype(np.int64), minlength=classes**2
    ).reshape(classes, classes)
    true, said, count = pairs.sum(axis=1), pairs.sum(axis=0), pairs.sum()
    covariance = float(pairs.trace() * count - true @ said)
    spread = float(count**2 - true @ true) * float(count**2 - said @ said)
    return covariance / math.sqrt(spread) if spread else 0.0


def pearson(labels: NDArray[Any], predictions: NDArray[Any]) -> float:
    """Return the linear correlation, in [-1, 1]."""
    x, y = labels - np.mean(labels), predictions - np.mean(predictions)
    spread = float(x @ x) * float(y @ y)
    return float(x @ y) / math.sqrt(spread) if spread else 0.0


def spearmanr(labels: NDArray[Any], predictions: NDArray[Any]) -> float:
    """Return the correlation of ranks, ties sharing their mean rank, in [-1, 1]."""
    return pearson(rankdata(labels), rankdata(predictions))


def log_likelihood(labels: NDArray[Any], predictions: NDArray[Any]) -> float:
    """Return the mean log-likelihood of a token in nats: the loss with its sign turned round.

    Args:
        labels: Tokens that each example had to predict.
        predictions: Their summed cross-entropy in nats.
    """
    return -float(np.sum(predictions, dtype=np.float64) / np.sum(labels))


METRICS: Mapping[str, Metric] = {
    "accuracy": accuracy,
    "f1": f1,
    "log_likelihood": log_likelihood,
    "matthews_correlation": matthews_correlation,
    "pearson": pearson,
    "spearmanr": spearmanr,
}
"""By the names that the GLUE metric of ``evaluate`` gives them; of each a higher one is better."""

UNITS: Mapping[str, str] = {"db": "dB", "s": "s"}
"""What names end in where a metric is no fraction, and how the unit is printed."""


def unit(name: str) -> str | None:
    """Return the unit in which a metric's name ends; ``None`` without one."""
    return UNITS.get(name.rpartition("_")[2]) if "_" in name else None


def is_mean(name: str) -> bool:
    """Return whether a metric is the mean of what is predicted, one figure an example.

    Of such a one the unit is in its name, and nothing else has to be said of it: what a workload
    predicts *is* the example's score, in that unit, the higher the better.
    """
    return name not in METRICS and unit(name) is not None


def mean(labels: NDArray[Any], predictions: NDArray[Any]) -> float:
    """Return the mean of the scores that examples have by themselves."""
    return float(np.mean(predictions))
