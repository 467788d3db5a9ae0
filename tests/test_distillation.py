"""Students: smaller, taught by the baseline's answers, or not taught at all."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import RECIPE, Net, Noise, Tiny, trained_looking
from torch import Tensor, nn

from bench.techniques import Setting, TechniqueError, Terms
from bench.techniques.distillation.hinton import Distillation
from bench.techniques.distillation.small import SmallModel
from bench.techniques.distillation.teaching import TEACHER
from bench.training import task_loss
from bench.workloads import WorkloadError

TEACHING = Distillation("distillation", "narrow", None, None, 4.0, 0.9, {}, 0.0)


class Narrow(Net):
    """``Net`` with half the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 4)


@dataclass(frozen=True)
class School(Tiny):
    augmented: bool = False

    @property
    def answers_repeat(self) -> bool:
        return not self.augmented

    def student(self, name: str, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return Narrow()


class Repeating(School):
    """Its student is the baseline's own architecture."""

    def student(self, name: str, seed: int) -> nn.Module:
        return self.build(seed)


def setting(**knobs: Any) -> Setting:
    workload = School(**knobs)
    return Setting(workload, trained_looking(workload.build(0)).requires_grad_(False), 0)


def lesson(technique: Distillation, where: Setting) -> tuple[Tensor, Tensor, Tensor, nn.Module]:
    """Return loss, the student's and the teacher's outputs on a batch, and the objective."""
    student = technique.prepare(where.baseline, where).eval()
    objective = technique.objective(task_loss(where.workload, RECIPE), where)
    batch = where.workload.test_examples().__getitems__(range(10))
    loss, outputs = objective(student, batch)
    return loss, outputs, where.workload.forward(where.baseline, batch), objective  # type: ignore[return-value]


@pytest.mark.parametrize(("temperature", "alpha"), [(1.0, 1.0), (4.0, 0.9), (2.0, 0.5)])
def test_the_loss_is_hintons(temperature: float, alpha: float) -> None:
    where = setting()
    technique = replace(TEACHING, temperature=temperature, alpha=alpha)
    loss, student, teacher, _ = lesson(technique, where)
    # By hand: sum of p ln(p / q) over classes, mean over examples.
    p = (teacher / temperature).softmax(1)
    q = (student / temperature).softmax(1)
    soft = (p * (p / q).log()).sum(1).mean()
    labels = where.workload.test_examples().__getitems__(range(10))["labels"]
    hard = -student.log_softmax(1)[range(10), labels].mean()
    wanted = alpha * temperature**2 * soft + (1 - alpha) * hard
    torch.testing.assert_close(loss, wanted)


def test_a_student_that_answers_as_its_teacher_has_nothing_left_to_learn() -> None:
    where = setting()
    technique = replace(TEACHING, alpha=1.0)
    objective = technique.objective(task_loss(where.workload, RECIPE), where)
    batch = where.workload.test_examples().__getitems__(range(10))
    loss, _ = objective(where.baseline, batch)
    assert float(loss) == pytest.approx(0.0, abs=1e-6)


def test_hints_add_the_distance_of_projected_features_and_the_projection_is_learnt() -> None:
    where = setting()
    technique = replace(TEACHING, hints={"conv2": "conv2"}, hint_weight=2.0)
    with_hints, _, _, objective = lesson(technique, where)
    plain, *_ = lesson(replace(TEACHING), where)
    (projection,) = list(objective.parameters())
    assert projection.shape == (32, 16, 1, 1)
    student = technique.prepare(where.baseline, where).eval()
    pixels = where.workload.test_examples().__getitems__(range(10))["pixels"]

    def features(model: Any) -> Tensor:
        return model.conv2(F.relu(model.bn1(model.conv1(pixels))))

    gap = (F.conv2d(features(student), projection) - features(where.baseline)).square().mean()
    torch.testing.assert_close(with_hints - plain, 2.0 * gap)
    with_hints.backward()
    assert projection.grad is not None
    assert all(p.grad is None for p in where.baseline.parameters())


def test_the_teacher_is_no_part_of_what_is_trained() -> None:
    where = setting()
    objective = TEACHING.objective(task_loss(where.workload, RECIPE), where)
    assert isinstance(objective, nn.Module)
    objective.train()
    assert not where.baseline.training
    assert list(objective.parameters()) == []


def test_answers_are_kept_where_examples_stay_the_same_and_asked_for_where_not() -> None:
    where = setting()
    examples = TEACHING.examples(where.workload.train_examples(), where)
    assert len(examples) == 100
    batch = examples.__getitems__([7, 3])
    asked = where.workload.forward(
        where.baseline, where.workload.train_examples().__getitems__([7, 3])
    )
    torch.testing.assert_close(batch[TEACHER], asked)
    # With kept answers the teacher itself stays silent.
    silent = replace(where, baseline=nn.Module())
    objective = replace(TEACHING).objective(task_loss(where.workload, RECIPE), where)
    objective.teacher = (silent.baseline,)  # type: ignore[attr-defined]
    loss, _ = objective(Narrow(), batch)
    assert math.isfinite(loss.item())

    changing = setting(augmented=True)
    plain = changing.workload.train_examples()
    assert TEACHING.examples(plain, changing) is plain


def test_a_student_starts_from_weights_of_its_seed_and_trains_as_the_baseline() -> None:
    small = SmallModel("small_model", "narrow", None, None)
    where = setting()
    one, two = (small.prepare(where.baseline, where) for _ in range(2))
    other = small.prepare(where.baseline, replace(where, seed=1))
    assert torch.equal(one.fc.weight, two.fc.weight)  # type: ignore[arg-type]
    assert not torch.equal(one.fc.weight, other.fc.weight)  # type: ignore[arg-type]
    assert (small.recipe, small.label) == ({}, "small_model narrow")
    assert replace(small, epochs=2.0, learning_rate=0.1).recipe == {
        "epochs": 2.0,
        "learning_rate": 0.1,
    }


def test_features_that_cannot_be_matched_are_refused() -> None:
    where = setting()
    technique = replace(TEACHING, hints={"fc": "conv2"}, hint_weight=1.0)
    told = r"fc of narrow is \(2, 4\), conv2 of the baseline \(2, 32, 8, 8\)"
    with pytest.raises(TechniqueError, match=told):
        technique.objective(task_loss(where.workload, RECIPE), where)


TERMS = Terms(School(), {}, "eager", torch.device("cpu"))


@pytest.mark.parametrize("hints", [{"conv9": "conv2"}, {"conv2": "conv9"}])
def test_hints_at_layers_that_are_not_there_are_refused_before_training(
    hints: dict[str, str],
) -> None:
    technique = replace(TEACHING, hints=hints, hint_weight=1.0)
    with pytest.raises(TechniqueError, match=r"no layer conv9; layers are conv1, bn1"):
        technique.require(TERMS)


@pytest.mark.parametrize("technique", [TEACHING, SmallModel("small_model", "narrow", None, None)])
def test_a_student_that_is_no_smaller_is_refused_before_training(technique: SmallModel) -> None:
    technique.require(TERMS)
    # As of ``Net``: 16 and 32 channels, with running means, variances and a count in each norm.
    baseline = 4 * (16 * 28 + 4 * 16 + 32 * 16 * 9 + 4 * 32 + 4 * 33) + 2 * 8
    told = rf"student=narrow has {baseline:,} bytes of weights and the baseline {baseline:,}:"
    with pytest.raises(TechniqueError, match=told):
        technique.require(replace(TERMS, workload=Repeating()))
    technique.require(replace(TERMS, workload=Repeating(), alone=False))  # a chain goes on with it


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"temperature": 0.5}, r"technique\.temperature is 0\.5: at least 1"),
        ({"alpha": 0.0}, r"technique\.alpha must be in \(0, 1\], got 0\.0.*small_model"),
        ({"hints": {"a": "b"}}, r"technique\.hint_weight is 0\.0: above 0"),
        ({"epochs": 0}, r"technique\.epochs is 0: above 0, or null"),
    ],
)
def test_impossible_knobs_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(TEACHING, **changes)


def test_a_workload_without_other_models_says_so() -> None:
    with pytest.raises(WorkloadError, match=r"technique\.student=narrow: tiny knows no other mod"):
        Tiny().student("narrow", 0)


def test_examples_of_the_training_split_are_the_ones_that_are_taught() -> None:
    where = setting()
    taught = TEACHING.examples(Noise(100, augmented=False), where).__getitems__([0, 1])
    assert torch.equal(taught["labels"], torch.tensor([0, 1]))
