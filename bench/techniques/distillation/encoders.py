"""Students that are encoders of the BERT family: what they start from, and who teaches whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from bench.techniques import Setting, TechniqueError, Terms
from bench.techniques.distillation.small import SmallModel
from bench.workloads import WorkloadError
from bench.workloads.language.anatomy import blocks, layers


@dataclass(frozen=True)
class EncoderStudent(SmallModel):
    """An encoder with fewer layers than the baseline, perhaps narrower ones.

    Attributes:
        initial: What the student starts from. ``teacher``: each layer from the last of those of the
            fine-tuned teacher that it stands for, everything else from the teacher, too.
            ``pretrained``: what the workload gives, which is published weights, or random ones for
            a student that is narrower; the same start as that of ``technique=small_model``.
    """

    initial: Literal["teacher", "pretrained"]

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        super().__post_init__()
        if self.initial not in ("teacher", "pretrained"):
            raise ValueError(f"technique.initial is {self.initial!r}: teacher or pretrained")

    def require(self, terms: Terms) -> None:
        """Refuse models that are no encoders, and students that this baseline cannot teach."""
        try:
            blocks(terms.workload.build(seed=0))
        except WorkloadError as err:
            raise TechniqueError(
                f"technique={self.name}: {err}; technique=distillation teaches any model"
            ) from err
        super().require(terms)

    def compare(self, student: nn.Module, teacher: nn.Module) -> None:
        """Refuse a student that cannot take its teacher's weights."""
        super().compare(student, teacher)
        if self.initial == "teacher":
            inherited(student, teacher)

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the student with its initial weights, or with the teacher's."""
        student = super().prepare(model, setting)
        if self.initial == "teacher":
            student.load_state_dict(inherited(student, setting.baseline))
        return student


def layer_map(teacher: nn.Module, student: nn.Module) -> tuple[int, ...]:
    """Return, for each layer of the student, the layer of the teacher it stands for, from 1 on.

    ``g(m) = m * N / M`` for layer ``m`` of ``M``, so for six of twelve the second, the fourth, ...
    and the last. Sources: Jiao et al. (2020), arXiv:1909.10351, section 3.1, with its "uniform"
    strategy; Sun et al. (2019), arXiv:1908.09355, for PKD-skip. DistilBERT, too, takes one of two.

    Raises:
        TechniqueError: The teacher's layers cannot be shared out evenly.
    """
    of_teacher, of_student = len(blocks(teacher)), len(blocks(student))
    if of_teacher % of_student:
        raise TechniqueError(
            f"technique.student has {of_student} layers and the baseline {of_teacher}: each layer "
            f"of the student stands for equally many, so their number must divide {of_teacher}"
        )
    step = of_teacher // of_student
    return tuple(range(step, of_teacher + 1, step))


def width(model: nn.Module) -> int:
    """Return the number of features of an encoder's hidden states."""
    return blocks(model)[0].query.in_features


def require_same_width(student: nn.Module, teacher: nn.Module, otherwise: str) -> None:
    """Refuse hidden states of different widths, which nothing here projects.

    Raises:
        TechniqueError: With the way out, as given.
    """
    if (narrow := width(student)) != (wide := width(teacher)):
        raise TechniqueError(
            f"technique.student is {narrow} wide and the baseline {wide}: hidden states are "
            f"compared as they are; {otherwise}, and technique=tinybert learns a projection"
        )


def inherited(student: nn.Module, teacher: nn.Module) -> dict[str, Tensor]:
    """Return the state in which a student starts from its teacher's weights.

    Raises:
        TechniqueError: They are built differently, or of different widths.
    """
    listed = layers(student)
    (place,) = (name for name, module in student.named_modules() if module is listed)
    taken = layer_map(teacher, student)

    def source(name: str) -> str:
        if not name.startswith(f"{place}."):
            return name
        index, _, rest = name.removeprefix(f"{place}.").partition(".")
        return f"{place}.{taken[int(index)] - 1}.{rest}"

    own, theirs = student.state_dict(), teacher.state_dict()
    state = {}
    for name, tensor in own.items():
        found = theirs.get(source(name))
        if found is None or found.shape != tensor.shape:
            there = "not there" if found is None else tuple(found.shape)
            raise TechniqueError(
                f"technique.initial=teacher: {name} of the student is {tuple(tensor.shape)}, "
                f"{source(name)} of the baseline {there}; technique.initial=pretrained starts from "
                f"weights of the student's own"
            )
        state[name] = found
    return state
