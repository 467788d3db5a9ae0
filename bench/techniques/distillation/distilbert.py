"""A student of every second layer, taught by answers and by the last hidden states."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.techniques import Loss, Setting, TechniqueError, Terms
from bench.techniques.distillation.encoders import EncoderStudent, require_same_width
from bench.techniques.distillation.masked_words import MaskedWords
from bench.techniques.distillation.teaching import (
    ask,
    masked_mean,
    seen,
    soft_loss,
    with_answers,
)
from bench.workloads import Batch, Examples
from bench.workloads.language.anatomy import blocks


@dataclass(frozen=True)
class DistilBert(EncoderStudent):
    """DistilBERT's three losses, and the task's own.

    ``alpha_ce * T**2 * KL(teacher / T, student / T) + alpha_task * task loss + alpha_cos * (1 -
    cosine of the last hidden states) + alpha_mlm * masked-LM loss``. There they pre-train a student
    on a large corpus, and answers are words; here they fine-tune one, and answers are those of the
    task, as in that paper's second distillation on SQuAD. Sources: Sanh et al. (2019),
    arXiv:1910.01108, sections 2 to 4; weights and the masking of padding as in its code.

    Attributes:
        temperature: ``T``, at least 1; softens both distributions.
        alpha_ce: Weight of the teacher's answers, 0 or more.
        alpha_task: Weight of the labels, 0 or more.
        alpha_cos: Weight of the direction of the last hidden state of each real token, 0 or more;
            above 0 the student must be as wide as the teacher.
        alpha_mlm: Weight of finding hidden words again, 0 or more; above 0 the student sees each
            batch twice, the second time with words hidden.
    """

    temperature: float
    alpha_ce: float
    alpha_task: float
    alpha_cos: float
    alpha_mlm: float

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        super().__post_init__()
        if self.temperature < 1:
            raise ValueError(f"technique.temperature is {self.temperature}: at least 1")
        for key in ("alpha_ce", "alpha_task", "alpha_cos", "alpha_mlm"):
            if (value := getattr(self, key)) < 0:
                raise ValueError(f"technique.{key} is {value}: a weight, at least 0")
        if not self.alpha_ce and not self.alpha_cos:
            raise ValueError(
                "technique.alpha_ce and technique.alpha_cos are 0: nothing of the teacher is left; "
                "technique=small_model trains without one"
            )

    def require(self, terms: Terms) -> None:
        """Refuse what the teacher cannot teach, and hidden words without a token for them."""
        super().require(terms)
        tokenizer = getattr(terms.workload, "tokenizer", None)
        if self.alpha_mlm and getattr(tokenizer, "mask_token_id", None) is None:
            raise TechniqueError(
                f"technique.alpha_mlm={self.alpha_mlm} hides words, and the tokenizer of "
                f"{terms.workload.name} has no token for a hidden one; technique.alpha_mlm=0 "
                f"leaves that loss out"
            )

    def compare(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse other widths where hidden states are compared."""
        super().compare(student, teacher)
        if self.alpha_cos:
            require_same_width(student, teacher, "technique.alpha_cos=0 leaves them out")

    def examples(self, examples: Examples, setting: Setting) -> Examples:
        """Return the examples with the teacher's answers, if those are all that is wanted."""
        if not setting.workload.answers_repeat or self.alpha_cos:
            return examples
        return with_answers(examples, setting)

    def objective(self, loss: Loss, setting: Setting) -> Loss:
        """Return the sum of the losses, with a head for hidden words where they count."""
        return _Lesson(self, loss, setting)


class _Lesson(nn.Module):
    """The loss as a module, since the head for hidden words is trained with the student."""

    def __init__(self, technique: DistilBert, task: Loss, setting: Setting) -> None:
        super().__init__()
        self.technique = technique
        self.task = task
        self.workload = setting.workload
        self.teacher = (setting.baseline,)  # in a tuple: not a part of this module, never trained
        self.words = _words(technique, setting) if technique.alpha_mlm else None

    def forward(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return loss and the student's outputs."""
        technique, (teacher,) = self.technique, self.teacher
        with seen(self._last(model)) as mine:
            loss, outputs = self.task(model, batch)
        taught, theirs = ask(teacher, self.workload, batch, self._last(teacher))
        loss = technique.alpha_task * loss
        if technique.alpha_ce:
            loss = loss + technique.alpha_ce * soft_loss(outputs, taught, technique.temperature)
        if technique.alpha_cos:
            cosine = F.cosine_similarity(mine["last"].float(), theirs["last"].float(), dim=2)
            loss = loss + technique.alpha_cos * masked_mean(1 - cosine, batch["attention_mask"])
        if self.words is not None:
            loss = loss + technique.alpha_mlm * self.words(model, batch, self.workload)
        return loss, outputs

    def _last(self, model: nn.Module) -> dict[str, nn.Module]:
        return {"last": blocks(model)[-1].layer} if self.technique.alpha_cos else {}


def _words(technique: DistilBert, setting: Setting) -> MaskedWords:
    student = setting.workload.student(technique.student, setting.seed)
    tokenizer = setting.workload.tokenizer  # type: ignore[attr-defined]  # ``require`` has asked
    torch.manual_seed(setting.seed)
    return MaskedWords(student, tokenizer).to(setting.device)
