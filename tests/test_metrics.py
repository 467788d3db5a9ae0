"""Task metrics agree with scikit-learn and scipy, also where nothing varies."""

from __future__ import annotations

import warnings
from pathlib import Path

import evaluate
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from bench.statistics.metrics import METRICS
from bench.workloads import language

RNG = np.random.default_rng(3)
CLASSES = {
    "random": (RNG.integers(2, size=500), RNG.integers(2, size=500)),
    "three classes": (RNG.integers(3, size=500), RNG.integers(3, size=500)),
    "all right": (np.array([0, 1, 1, 0]), np.array([0, 1, 1, 0])),
    "all wrong": (np.array([0, 1, 1, 0]), np.array([1, 0, 0, 1])),
    "one class said": (np.array([0, 1, 1, 0]), np.zeros(4, int)),
    "one class there": (np.ones(4, int), np.array([0, 1, 1, 0])),
    "one class in both": (np.zeros(4, int), np.zeros(4, int)),
    "one example": (np.array([1]), np.array([0])),
}
SCORES = {
    "random": (RNG.normal(size=500), RNG.normal(size=500)),
    "ties": (RNG.integers(4, size=300).astype(float), RNG.integers(4, size=300).astype(float)),
    "one line": (np.arange(9.0), 2 * np.arange(9.0) + 1),
}
CONSTANT = (np.arange(5.0), np.full(5, 2.5))


@pytest.fixture(params=CLASSES, ids=str)
def classes(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    return CLASSES[request.param]


@pytest.fixture(params=SCORES, ids=str)
def scores(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    return SCORES[request.param]


def hub_like(task: str, labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    module = Path(language.__file__).with_name("glue_metric.py")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return evaluate.load(str(module), task).compute(
            predictions=predictions.tolist(), references=labels.tolist()
        )


def test_classes_are_scored_as_scikit_learn_scores_them(
    classes: tuple[np.ndarray, np.ndarray],
) -> None:
    labels, said = classes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = {
            "accuracy": sklearn.metrics.accuracy_score(labels, said),
            "matthews_correlation": sklearn.metrics.matthews_corrcoef(labels, said),
        }
        if labels.max() < 2 and said.max() < 2:
            wanted["f1"] = sklearn.metrics.f1_score(labels, said, zero_division=0.0)
    for name, value in wanted.items():
        assert METRICS[name](labels, said) == pytest.approx(value, abs=1e-9)
        assert METRICS[name](labels.astype(float), said.astype(float)) == METRICS[name](
            labels, said
        )


def test_scores_are_correlated_as_scipy_correlates_them(
    scores: tuple[np.ndarray, np.ndarray],
) -> None:
    for name, of in (("pearson", scipy.stats.pearsonr), ("spearmanr", scipy.stats.spearmanr)):
        assert METRICS[name](*scores) == pytest.approx(of(*scores).statistic, abs=1e-9)


def test_log_likelihood_is_a_mean_over_tokens_and_higher_is_better() -> None:
    tokens, nats = np.array([1, 3]), np.array([4.0, 2.0])
    assert METRICS["log_likelihood"](tokens, nats) == -(4.0 + 2.0) / (1 + 3)
    assert METRICS["log_likelihood"](tokens, nats / 2) == -0.75


@pytest.mark.parametrize("name", ["pearson", "spearmanr"])
def test_a_constant_column_correlates_with_nothing(name: str) -> None:
    assert METRICS[name](*CONSTANT) == 0
    assert METRICS[name](*CONSTANT[::-1]) == 0


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("cola", ["matthews_correlation"]),
        ("sst2", ["accuracy"]),
        ("mrpc", ["accuracy", "f1"]),
        ("qqp", ["accuracy", "f1"]),
    ],
)
def test_the_packaged_module_gives_glues_metrics(
    task: str, names: list[str], classes: tuple[np.ndarray, np.ndarray]
) -> None:
    labels, said = (np.minimum(column, 1) for column in classes)
    found = hub_like(task, labels, said)
    assert sorted(found) == names
    for name in names:
        assert found[name] == pytest.approx(METRICS[name](labels, said), abs=1e-9)


def test_the_packaged_module_correlates_scores(scores: tuple[np.ndarray, np.ndarray]) -> None:
    found = hub_like("stsb", *scores)
    assert sorted(found) == ["pearson", "spearmanr"]
    for name, value in found.items():
        assert value == pytest.approx(METRICS[name](*scores), abs=1e-9)


@pytest.mark.parametrize("task", ["cola", "stsb"])
def test_predictions_of_one_kind_are_warned_of_and_count_nothing(task: str) -> None:
    module = Path(language.__file__).with_name("glue_metric.py")
    with pytest.warns(UserWarning, match="is 0|as 0"):
        found = evaluate.load(str(module), task).compute(
            predictions=[1, 1, 1, 1], references=[0, 1, 1, 0]
        )
    assert set(found.values()) == {0.0}
