"""What all lessons share: a teacher's answers, kept or asked for, and how far a student is off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.techniques import Setting
from bench.workloads import Batch, Examples, Workload, lengths_of

TEACHER = "teacher_outputs"
"""Name under which kept answers of the teacher stand in a batch."""

_BATCH = 128


@dataclass(frozen=True)
class _Taught:
    """Examples with the teacher's answers beside them."""

    examples: Examples
    answers: Tensor

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def lengths(self) -> Sequence[int] | None:
        return lengths_of(self.examples)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        return {**self.examples.__getitems__(indices), TEACHER: self.answers[list(indices)]}


def with_answers(examples: Examples, setting: Setting) -> Examples:
    """Return the examples with the teacher's answers beside them: one forward pass for each."""
    return _Taught(examples, _answers(examples, setting))


def _answers(examples: Examples, setting: Setting) -> Tensor:
    device = setting.device
    lengths = lengths_of(examples)
    order: Sequence[int] = range(len(examples))
    if lengths is not None:  # texts of like length together, or half of the work is padding
        order = sorted(order, key=lengths.__getitem__)
    found = []
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            indices = order[start : start + _BATCH]
            batch = {k: v.to(device) for k, v in examples.__getitems__(indices).items()}
            found.append(setting.workload.forward(setting.baseline, batch).cpu())
    answered = torch.cat(found)
    answers = torch.empty_like(answered)
    answers[list(order)] = answered
    return answers


def ask(
    teacher: nn.Module, workload: Workload, batch: Batch, watched: Mapping[str, nn.Module]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the teacher's answers to a batch, and what the watched of its modules gave.

    Answers that are kept in the batch are taken from there; modules have then given nothing.
    """
    if TEACHER in batch:
        return batch[TEACHER], {}
    with torch.no_grad(), seen(watched) as shown:
        answers = workload.forward(teacher, batch)
    return answers, shown


@contextmanager
def seen(watched: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Give the outputs of modules, by the names given, of whatever runs inside the block.

    Of a module that returns several tensors it is the first, as with layers of transformers.
    """
    shown: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            shown[name] = output[0] if isinstance(output, tuple) else output

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in watched.items()]
    try:
        yield shown
    finally:
        for hook in hooks:
            hook.remove()


def soft_loss(outputs: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Return how far answers are from the teacher's, a mean over examples.

    ``T**2 * KL(teacher / T, student / T)`` in nats, over classes. A single output, as of a
    regression, is no distribution: its softmax is always 1 and would teach nothing. There it is the
    mean squared error of the outputs, whatever the temperature. Sources: Hinton et al. (2015),
    arXiv:1503.02531, section 2, which tends to the squared error for a high ``T`` (section 2.1);
    Ba and Caruana (2014), arXiv:1312.6184, section 2.2, for regression on a teacher's outputs.

    Args:
        outputs: Of the student, ``(batch, classes)``, or ``(batch, 1)`` for a regression.
        taught: Of the teacher, likewise.
        temperature: ``T``.
    """
    if outputs.shape[1] == 1:
        return F.mse_loss(outputs.float(), taught.float())
    divergence = F.kl_div(
        F.log_softmax(outputs.float() / temperature, dim=1),
        F.log_softmax(taught.float() / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return temperature**2 * divergence


def distance(one: Tensor, other: Tensor, batch: Batch) -> Tensor:
    """Return the mean squared distance of two features; of texts, over their real tokens."""
    squares = (one.float() - other.float()).square()
    if "attention_mask" not in batch or squares.dim() != 3:
        return squares.mean()
    return masked_mean(squares, batch["attention_mask"].unsqueeze(2))


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the values where the mask, broadcast to them, is 1 and not 0."""
    weights = mask.to(values.dtype).expand_as(values)
    return (values * weights).sum() / weights.sum()
