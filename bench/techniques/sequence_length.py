"""Fewer tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.techniques import Setting, Technique, TechniqueError, Terms, fine_tuning
from bench.workloads import Workload

_LOOKED_AT = 256
"""Texts of the test split, at the least, among which one must be longer."""


@dataclass(frozen=True)
class SequenceLength(Technique):
    """Texts cut to their first tokens before the model, which is fine-tuned to them.

    Operations fall with the number of tokens, those of attention with its square. The token that
    closes a text stays the last one, as tokenizers leave it; of two texts the second is cut first.

    Attributes:
        length: Tokens of what the model sees, at least 3.
        epochs: Passes of fine-tuning, charged to the technique; 0 for none.
        learning_rate: Peak of the fine-tuning; ``None`` takes the baseline's.
    """

    length: int
    epochs: float
    learning_rate: float | None

    shrinks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        if self.length < 3:
            raise ValueError(
                f"technique.length is {self.length}: at least 3 tokens, two of which mark the ends"
            )
        fine_tuning.require_possible(self.epochs, self.learning_rate)

    @property
    def label(self) -> str:
        """Name and tokens."""
        return f"{self.name} {self.length}"

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """Fine-tuning."""
        return fine_tuning.recipe(self.epochs, self.learning_rate)

    def require(self, terms: Terms) -> None:
        """Refuse workloads without tokens, or that answer each, and a length that cuts nothing."""
        examples = terms.workload.test_examples()
        step = max(1, len(examples) // _LOOKED_AT)
        batch = examples.__getitems__(range(0, len(examples), step))
        tokens = batch.get("input_ids")
        if tokens is None or "targets" in batch:
            lacks = "has none" if tokens is None else "answers every token of them"
            raise TechniqueError(
                f"technique={self.name} cuts texts, and {terms.workload.name} {lacks}: take a "
                f"workload that answers texts, such as workload=bert"
            )
        if tokens.shape[1] <= self.length:
            raise TechniqueError(
                f"technique.length={self.length} cuts nothing: {terms.workload.name} has up to "
                f"{tokens.shape[1]} tokens a text; take fewer"
            )

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model, which sees fewer tokens from now on."""
        return self._shortened(model)

    def restore(
        self, model: nn.Module, tensors: Mapping[str, Tensor], workload: Workload
    ) -> nn.Module:
        """Return a fresh model that sees as many."""
        return self._shortened(model)

    def _shortened(self, model: nn.Module) -> nn.Module:
        # A hook, not a module around it: names of tensors stay, which other stages go by.
        model.register_forward_pre_hook(partial(_cut, self.length), with_kwargs=True)
        return model


def _cut(
    length: int, model: nn.Module, args: tuple[Any, ...], inputs: dict[str, Tensor]
) -> tuple[tuple[Any, ...], dict[str, Tensor]]:
    """Return what the model is called with, texts cut and closed."""
    tokens = inputs["input_ids"]
    if tokens.shape[1] <= length:
        return args, inputs
    count = inputs["attention_mask"].sum(dim=1, keepdim=True)
    close = torch.where(count > length, tokens.gather(1, count - 1), tokens[:, length - 1 : length])
    shorter = {name: value[:, :length] for name, value in inputs.items()}
    shorter["input_ids"] = torch.cat([tokens[:, : length - 1], close], dim=1)
    return args, shorter
