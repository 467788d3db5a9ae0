"""A student taught by the baseline's answers, and on request by its features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.techniques import Loss, Setting, TechniqueError, Terms
from bench.techniques.distillation.small import SmallModel
from bench.techniques.distillation.teaching import ask, distance, seen, soft_loss, with_answers
from bench.workloads import Batch, Examples


@dataclass(frozen=True)
class Distillation(SmallModel):
    """Hinton's loss: the teacher's softened answers beside the labels.

    ``alpha * T**2 * KL(teacher / T, student / T) + (1 - alpha) * task loss``, and ``hint_weight``
    times the mean squared distance of features through a learned projection. The teacher is the
    pair's baseline; its forward passes are charged to the technique, once per example where the
    training split is not augmented and its answers can be kept. Where there is one output and no
    classes, the squared error of the student's and the teacher's takes the place of ``T**2 * KL``.
    Sources: Hinton et al. (2015), arXiv:1503.02531, section 2; hints: Romero et al. (2015),
    FitNets, arXiv:1412.6550, section 2.2; one output: ``teaching.soft_loss``.

    Attributes:
        temperature: ``T``, at least 1; softens both distributions.
        alpha: Share of the teacher, in (0, 1]; 1 ignores the labels.
        hints: Layers of the student whose features should match a layer of the teacher, by name;
            empty for none.
        hint_weight: Weight of that match, 0 or more.
    """

    temperature: float
    alpha: float
    hints: Mapping[str, str]
    hint_weight: float

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        super().__post_init__()
        if self.temperature < 1:
            raise ValueError(f"technique.temperature is {self.temperature}: at least 1")
        if not 0 < self.alpha <= 1:
            raise ValueError(
                f"technique.alpha must be in (0, 1], got {self.alpha}: it is the teacher's share "
                f"of the loss; technique=small_model trains without a teacher"
            )
        if self.hint_weight < 0 or (self.hints and not self.hint_weight):
            raise ValueError(
                f"technique.hint_weight is {self.hint_weight}: above 0 for technique.hints to count"
            )

    def compare(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse hints at layers that are not there."""
        super().compare(student, teacher)
        _require_layers(student, self.hints.keys())
        _require_layers(teacher, self.hints.values())

    def require(self, terms: Terms) -> None:
        """Refuse what cannot be taught, and a course of no epochs: nothing would be learnt."""
        self.require_training(
            terms,
            "teaches for as many epochs as the baseline had, and training.epochs=0: "
            "technique.epochs=3 teaches for three; technique=small_model takes the student as it "
            "is",
        )
        super().require(terms)

    def examples(self, examples: Examples, setting: Setting) -> Examples:
        """Return the examples with the teacher's answers, if those stay the same."""
        if not setting.workload.answers_repeat or self.hints:
            return examples
        return with_answers(examples, setting)

    def objective(self, loss: Loss, setting: Setting) -> Loss:
        """Return Hinton's loss, with projections of features to train where hints are given."""
        return _Lesson(self, loss, setting)


class _Lesson(nn.Module):
    """The loss as a module, since its projections are trained with the student."""

    def __init__(self, technique: Distillation, task: Loss, setting: Setting) -> None:
        super().__init__()
        self.technique = technique
        self.task = task
        self.workload = setting.workload
        self.teacher = (setting.baseline,)  # in a tuple: not a part of this module, never trained
        self.projections = _projections(technique, setting)

    def forward(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return loss and the student's outputs."""
        technique, (teacher,) = self.technique, self.teacher
        with seen(_named(model, technique.hints.keys())) as shown:
            loss, outputs = self.task(model, batch)
        watched = _named(teacher, technique.hints.values())
        taught, features = ask(teacher, self.workload, batch, watched)
        counting = self.workload.decisions
        soft = soft_loss(counting(outputs, batch), counting(taught, batch), technique.temperature)
        loss = technique.alpha * soft + (1 - technique.alpha) * loss
        for projection, (of_student, of_teacher) in zip(
            self.projections, technique.hints.items(), strict=True
        ):
            gap = distance(projection(shown[of_student]), features[of_teacher], batch)
            loss = loss + technique.hint_weight * gap
        return loss, outputs


def _named(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
    return {name: model.get_submodule(name) for name in names}


def _require_layers(model: nn.Module, names: Iterable[str]) -> None:
    known = dict(model.named_modules())
    if unknown := [name for name in names if name not in known]:
        raise TechniqueError(
            f"technique.hints: there is no layer {', '.join(unknown)}; layers are "
            f"{', '.join(name for name, _ in model.named_children())} and what is inside them"
        )


def _projections(technique: Distillation, setting: Setting) -> nn.ModuleList:
    """Return, from each feature of the student to one of the teacher, a layer to learn.

    Raises:
        TechniqueError: The features differ in more than channels.
    """
    if not technique.hints:
        return nn.ModuleList()
    student = setting.workload.student(technique.student, setting.seed)
    device = setting.device
    batch = setting.workload.plain_train_examples().__getitems__(range(2))
    found = []
    shapes = [
        _shapes(model.to(device).eval(), names, batch, setting)
        for model, names in (
            (student, list(technique.hints)),
            (setting.baseline, list(technique.hints.values())),
        )
    ]
    for (mine, theirs), (small, large) in zip(technique.hints.items(), zip(*shapes, strict=True)):  # noqa: B905
        images = len(small) == 4  # whose channels come second; those of texts come last
        rest = slice(2, None) if images else slice(1, -1)
        if len(small) != len(large) or small[rest] != large[rest]:
            raise TechniqueError(
                f"technique.hints: {mine} of {technique.student} is {tuple(small)}, {theirs} of "
                f"the baseline {tuple(large)}: only the number of channels may differ"
            )
        found.append(
            nn.Conv2d(small[1], large[1], 1, bias=False)
            if images
            else nn.Linear(small[-1], large[-1], bias=False)
        )
    return nn.ModuleList(found).to(device)


def _shapes(
    model: nn.Module, names: Sequence[str], batch: Batch, setting: Setting
) -> list[torch.Size]:
    device = next(model.parameters()).device
    with torch.no_grad(), seen(_named(model, names)) as shown:
        setting.workload.forward(model, {k: v.to(device) for k, v in batch.items()})
    return [shown[name].shape for name in names]
