"""GLUE's metrics as a module of ``evaluate``: like the hub's ``glue``, but inside the package.

``evaluate`` fetches a metric by name from a hub; by its path this one needs no network. What is
computed, and by which library, is what the hub's module computes. Source: Wang et al. (2019),
arXiv:1804.07461, table 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef

REGRESSION = ("stsb",)
WITH_F1 = ("mrpc", "qqp")


class Glue(evaluate.Metric):
    """Metrics of one task, named by ``config_name``."""

    def _info(self) -> evaluate.MetricInfo:
        kind = "float64" if self.config_name in REGRESSION else "int64"
        return evaluate.MetricInfo(
            description="GLUE, one task",
            citation="Wang et al. (2019), arXiv:1804.07461",
            inputs_description="predictions and references, one each per example",
            features=datasets.Features(
                {"predictions": datasets.Value(kind), "references": datasets.Value(kind)}
            ),
        )

    def _compute(
        self, predictions: Sequence[float], references: Sequence[float]
    ) -> dict[str, float]:
        said, true = np.asarray(predictions), np.asarray(references)
        if self.config_name == "cola":
            if len(set(said.tolist())) == 1:
                warnings.warn(
                    "all predictions are of one class: Matthews' correlation is 0", stacklevel=2
                )
            return {"matthews_correlation": float(matthews_corrcoef(true, said))}
        if self.config_name in REGRESSION:
            return {
                "pearson": _correlation(pearsonr, true, said),
                "spearmanr": _correlation(spearmanr, true, said),
            }
        scores = {"accuracy": float(np.mean(true == said))}
        if self.config_name in WITH_F1:
            scores["f1"] = float(f1_score(true, said, zero_division=0.0))
        return scores


def _correlation(of: Any, true: np.ndarray, said: np.ndarray) -> float:
    if np.ptp(true) == 0 or np.ptp(said) == 0:
        warnings.warn("one column is constant: the correlation is taken as 0", stacklevel=2)
        return 0.0
    return float(of(true, said).statistic)
