"""A student that imitates its teacher layer by layer, and then its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.techniques import Loss, Setting, Technique, TechniqueError, Terms, fine_tuning
from bench.techniques.distillation.encoders import EncoderStudent, layer_map, width
from bench.techniques.distillation.small import SmallModel
from bench.techniques.distillation.teaching import (
    ask,
    distance,
    masked_mean,
    seen,
    with_answers,
)
from bench.workloads import Batch, Examples, Workload
from bench.workloads.language.anatomy import blocks, embeddings


@dataclass(frozen=True)
class TinyBert(EncoderStudent):
    """TinyBERT's distillation for a task: first what happens inside, then the answers.

    The general distillation on a large corpus that comes before it there is left out, as is their
    augmentation of the data. Source: Jiao et al. (2020), arXiv:1909.10351, section 3, equations 7
    to 10; every layer weighs the same, as there.

    Attributes:
        prediction_epochs: Passes of the second stage; ``None`` takes as many as the baseline.
            ``epochs`` and ``learning_rate`` are those of the first.
        prediction_learning_rate: Peak of the second stage; ``None`` takes the baseline's.
        embedding_weight: Of the output of the embeddings, 0 or more.
        hidden_weight: Of every layer's output, 0 or more.
        attention_weight: Of every layer's attention, 0 or more; above 0 the student must have as
            many heads as the teacher.
    """

    prediction_epochs: float | None
    prediction_learning_rate: float | None
    embedding_weight: float
    hidden_weight: float
    attention_weight: float

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        super().__post_init__()
        for key in ("prediction_epochs", "prediction_learning_rate"):
            if (value := getattr(self, key)) is not None and value <= 0:
                raise ValueError(f"technique.{key} is {value}: above 0, or null for the baseline's")
        weights = ("embedding_weight", "hidden_weight", "attention_weight")
        for key in weights:
            if (value := getattr(self, key)) < 0:
                raise ValueError(f"technique.{key} is {value}: a weight, at least 0")
        if not any(getattr(self, key) for key in weights):
            raise ValueError(
                f"{', '.join(f'technique.{key}' for key in weights)} are 0: the first stage would "
                f"teach nothing; technique=distillation teaches answers only"
            )

    @property
    def stages(self) -> tuple[Technique, ...]:
        """What happens inside, and then the answers."""
        return (Intermediate(self.name, self), Prediction(self.name, self))

    def compare(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse layers and heads that cannot be held against each other."""
        super().compare(student, teacher)
        mine, theirs = blocks(student), blocks(teacher)
        for number, taught_by in enumerate(layer_map(teacher, student), start=1):
            few, many = mine[number - 1].heads, theirs[taught_by - 1].heads
            if self.attention_weight and few != many:
                raise TechniqueError(
                    f"technique.student has {few} heads in layer {number}, the baseline {many} in "
                    f"layer {taught_by}: attention is compared head by head, so take a student "
                    f"with as many, or technique.attention_weight=0"
                )


@dataclass(frozen=True)
class Intermediate(Technique):
    """The first stage: embeddings, hidden states and attention.

    Attributes:
        plan: The technique that this is a stage of.
    """

    plan: TinyBert

    begins_chain: ClassVar[str] = SmallModel.begins_chain

    @property
    def label(self) -> str:
        """The technique's label and the stage."""
        return f"{self.plan.label} intermediate"

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The baseline's, where nothing else is said; the task is not learnt yet, nor looked at.

        Its loss on the validation part is no sign either: the student is not trained for it.
        """
        return {**self.plan.recipe, **fine_tuning.TO_THE_END, "guard": "off"}

    def require(self, terms: Terms) -> None:
        """Refuse what this baseline cannot teach."""
        self.plan.require(terms)

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the student with its initial weights."""
        return self.plan.prepare(model, setting)

    def objective(self, loss: Loss, setting: Setting) -> Loss:
        """Return the distance inside, with a projection to train; labels do not count."""
        return _Imitation(self.plan, setting)

    def restore(
        self, model: nn.Module, tensors: Mapping[str, Tensor], workload: Workload
    ) -> nn.Module:
        """Return the student."""
        return self.plan.restore(model, tensors, workload)


@dataclass(frozen=True)
class Prediction(Technique):
    """The second stage: the teacher's answers, of the student that the first stage has made.

    Attributes:
        plan: The technique that this is a stage of.
    """

    plan: TinyBert

    @property
    def label(self) -> str:
        """The technique's label and the stage."""
        return f"{self.plan.label} prediction"

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The baseline's, where nothing else is said."""
        asked = {
            "epochs": self.plan.prediction_epochs,
            "learning_rate": self.plan.prediction_learning_rate,
        }
        return {key: value for key, value in asked.items() if value is not None}

    def examples(self, examples: Examples, setting: Setting) -> Examples:
        """Return the examples with the teacher's answers, if those count and stay the same."""
        if not setting.workload.answers_repeat or _is_regression(examples, setting):
            return examples
        return with_answers(examples, setting)

    def objective(self, loss: Loss, setting: Setting) -> Loss:
        """Return the cross-entropy with the teacher's answers at temperature 1.

        Labels do not count, except for a regression, whose loss is the task's own: one output has
        no distribution, and the authors' code takes the labels there, too.
        """
        workload, teacher = setting.workload, setting.baseline

        def lesson(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
            task, outputs = loss(model, batch)
            if outputs.shape[1] == 1:
                return task, outputs
            taught, _ = ask(teacher, workload, batch, {})
            return F.cross_entropy(outputs.float(), taught.float().softmax(dim=1)), outputs

        return lesson


class _Imitation(nn.Module):
    """The distance inside as a module, since its projection is trained with the student.

    One projection takes embeddings and all hidden states to the teacher's width, as in the authors'
    code; it starts as the identity where both are equally wide, so that few examples suffice.
    """

    def __init__(self, plan: TinyBert, setting: Setting) -> None:
        super().__init__()
        self.plan = plan
        self.workload = setting.workload
        self.teacher = (setting.baseline,)  # in a tuple: not a part of this module, never trained
        student = setting.workload.student(plan.student, setting.seed)
        self.taught_by = layer_map(setting.baseline, student)
        self.heads = [block.heads for block in blocks(student)]
        narrow, wide = width(student), width(setting.baseline)
        torch.manual_seed(setting.seed)
        self.projection = nn.Linear(narrow, wide, bias=False)
        if narrow == wide:
            nn.init.eye_(self.projection.weight)
        self.projection.to(setting.device)

    def forward(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return loss and the student's outputs."""
        plan, (teacher,) = self.plan, self.teacher
        own = range(1, len(self.taught_by) + 1)
        with seen(self._watched(model, own)) as mine:
            outputs = self.workload.forward(model, batch)
        with torch.no_grad(), seen(self._watched(teacher, self.taught_by)) as theirs:
            self.workload.forward(teacher, batch)
        loss = torch.zeros((), device=outputs.device)
        for place in (0, *own):
            if weight := plan.hidden_weight if place else plan.embedding_weight:
                name = f"hidden {place}"
                gap = distance(self.projection(mine[name]), theirs[name], batch)
                loss = loss + weight * gap
        if plan.attention_weight:
            for place, heads in zip(own, self.heads, strict=True):
                one, other = (
                    scores(shown[f"query {place}"], shown[f"key {place}"], heads)
                    for shown in (mine, theirs)
                )
                gap = score_distance(one, other, batch["attention_mask"])
                loss = loss + plan.attention_weight * gap
        return loss, outputs

    def _watched(self, model: nn.Module, numbers: Sequence[int]) -> dict[str, nn.Module]:
        """Return embeddings and layers, numbered from 1 on, by their place among the student's."""
        watched = {"hidden 0": embeddings(model)}
        there = blocks(model)
        for place, number in enumerate(numbers, start=1):
            block = there[number - 1]
            if self.plan.hidden_weight:
                watched[f"hidden {place}"] = block.layer
            if self.plan.attention_weight:
                watched |= {f"query {place}": block.query, f"key {place}": block.key}
        return watched


def scores(query: Tensor, key: Tensor, heads: int) -> Tensor:
    """Return attention before its softmax, ``(batch, heads, length, length)``.

    Queries and keys are the outputs of their linear layers, ``(batch, length, heads * size)``:
    seen there, they are the same whatever kernel computes the attention.
    """
    queries, keys = (
        part.float().unflatten(2, (heads, -1)).transpose(1, 2) for part in (query, key)
    )
    size: int = queries.shape[3]
    return queries @ keys.transpose(2, 3) / size**0.5


def score_distance(one: Tensor, other: Tensor, mask: Tensor) -> Tensor:
    """Return the mean squared distance of attention scores between real tokens.

    The authors' code sets scores of padded keys to 0 in both and divides by all pairs, and it keeps
    padded queries and padded hidden states. A batch that is padded further would then weigh its
    layers otherwise and teach what nobody reads, so here only real tokens count anywhere.
    """
    pairs = mask[:, None, :, None] * mask[:, None, None, :]
    return masked_mean((one - other).square(), pairs)


def _is_regression(examples: Examples, setting: Setting) -> bool:
    device = setting.device
    one = {name: value.to(device) for name, value in examples.__getitems__([0]).items()}
    with torch.no_grad():
        return setting.workload.forward(setting.baseline, one).shape[1] == 1
