"""When two losses part for good, and when they only wobble."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from test_training import run
from tiny import CONF, RECIPE, Nobody, tiny_lm

from bench.training import Course, task_loss, train
from bench.training.overfitting import Overfitting
from bench.training.splitting import Part
from bench.workloads import Examples


def follow(pairs: list[tuple[float, float]]) -> list[tuple[int, str]]:
    """Return the looks at which something was flagged, given training and validation losses."""
    seen, flagged = Overfitting(), []
    for step, (training, validation) in enumerate(pairs):
        seen.trained(training)
        if (wrong := seen.looked(step, validation)) is not None:
            flagged.append((step, wrong))
    return flagged


def test_a_validation_loss_a_tenth_above_its_best_is_flagged_while_training_falls_on() -> None:
    found = follow([(3.6, 3.6), (2.0, 3.0), (1.0, 3.1), (0.5, 3.31), (0.3, 3.5)])
    assert [step for step, _ in found] == [3, 4]
    told = found[0][1]
    assert "validation loss is 3.310, 10.3% above its best of 3.000 at step 1" in told
    assert "fell from 2.000 to 0.500" in told
    assert "training=regularised" in told


def test_three_rises_in_a_row_are_a_trend() -> None:
    assert [s for s, _ in follow([(3, 3), (2, 2.00), (1.9, 2.01), (1.8, 2.02), (1.7, 2.03)])] == [4]


def test_a_training_loss_that_collapses_alone_is_flagged() -> None:
    found = follow([(3.6, 3.6), (1.0, 2.0), (0.002, 2.05)])
    assert [step for step, _ in found] == [2]
    assert "collapsed from 3.600 to 0.002" in found[0][1]


@pytest.mark.parametrize(
    "pairs",
    [
        [(3.6, 3.5), (3.0, 3.1), (2.8, 2.9), (2.7, 2.85), (2.6, 2.84)],  # healthy
        [(3.0, 3.0), (2.0, 2.2), (1.9, 2.3), (1.85, 2.25), (1.8, 2.3), (1.7, 2.28)],  # wobbles
        [(2.3, 2.3), (0.5, 0.4), (0.05, 0.06), (0.003, 0.02)],  # an easy task, learned
        [(3.0, 3.0), (2.0, 2.0), (2.5, 2.6), (3.0, 3.3)],  # diverging: both rise
    ],
)
def test_what_is_no_overfitting_is_not_flagged(pairs: list[tuple[float, float]]) -> None:
    assert follow(pairs) == []


on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="seeds were tried on the CPU")

BY_HEART = replace(
    RECIPE,
    epochs=200.0,
    optimizer="adamw",
    learning_rate=0.02,
    schedule="constant",
    warmup=8.0,
    batch_size=16,
    validation=0.36,
    evaluate_every=4,
)
"""64 rows of noise, a high rate, two hundred epochs."""


@on_cpu
def test_noise_learned_by_heart_is_flagged_once_and_stopped_in_time() -> None:
    warned = run(replace(BY_HEART, epochs=20.0), augmented=False)
    assert [kind for _, kind, _ in warned.events] == ["overfitting"]
    stopped = run(replace(BY_HEART, guard="stop"), augmented=False)
    assert stopped.events[0] == warned.events[0]
    assert stopped.told[-1][0] == stopped.events[0][0]
    assert stopped.validation[-1] < 1.2 * min(stopped.validation)
    assert run(replace(BY_HEART, epochs=20.0, guard="off"), augmented=False).events == []


# A language model on few rows: what the issue of every fine-tune looks like.


@dataclass(frozen=True)
class Few:
    """The first rows of a workload's training split; everything else as it is."""

    workload: Any
    count: int

    def train_examples(self) -> Examples:
        return Part(self.workload.train_examples(), range(self.count))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.workload, name)


class Looks(Nobody):
    def __init__(self) -> None:
        self.losses: list[float] = []
        self.kinds: list[str] = []

    def validated(self, step: int, loss: float, metric: float) -> None:
        self.losses.append(loss)

    def noted(self, step: int, kind: str, text: str) -> None:
        self.kinds.append(kind)


def fine_tuned(rows: int, **changes: Any) -> Looks:
    workload: Any = Few(tiny_lm(), rows)
    recipe = replace(FINE_TUNE, **changes)
    looks = Looks()
    course = Course(workload, recipe, task_loss(workload, recipe), 0)
    train(workload.build(0), course, looks)
    return looks


FINE_TUNE = replace(BY_HEART, warmup=0.0, validation=0.1, evaluate_every=8)
"""The same high rate; the generated tasks have rows of their own to look at."""


@on_cpu
def test_a_fine_tune_on_64_rows_is_stopped_before_it_is_a_fifth_above_its_best() -> None:
    found = fine_tuned(64, guard="stop")
    assert found.kinds == ["overfitting"]
    assert found.losses[-1] < 1.2 * min(found.losses)


@on_cpu
def test_the_regularised_preset_ends_on_the_same_rows_before_anything_is_flagged() -> None:
    with initialize_config_dir(str(CONF), version_base=None):
        preset = compose("training/regularised").training
    names = ("regularised", "validation", "evaluate_every", "patience", "restore_best")
    found = fine_tuned(64, **{name: preset[name] for name in names})
    assert found.kinds == ["stopped"]


@on_cpu
def test_a_healthy_run_on_1600_rows_is_not_flagged() -> None:
    assert fine_tuned(1600, epochs=2.0, learning_rate=0.003).kinds == []
