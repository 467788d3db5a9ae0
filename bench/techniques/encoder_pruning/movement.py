"""Single weights that move towards zero set to it: a negative control for encoders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bench.techniques import Setting, Technique, Terms, fine_tuning
from bench.techniques.encoder_pruning import blocks_of

WARM_UP, COOL_DOWN = 0.1, 0.2
"""Share of the fine-tuning before the first weight is hidden, and after the last.

The authors' settings for SQuAD: 5,400 and 10,800 of about 55,000 steps.
"""


@dataclass(frozen=True)
class MovementPruning(Technique):
    """Set those weights to zero that fine-tuning moves towards zero, wherever they started.

    Each weight of the encoder's linear layers has a score; the forward pass hides the weights with
    the lowest ones, and the backward pass takes the derivative by the mask for that by the score:
    ``dL/dS = dL/dW' * W`` with ``W' = W * mask``, also where the mask is 0, so that weights come
    back. Scores fall where a step moves the weight towards 0. Hidden weights grow in number by a
    cubic schedule. Pooler, classifier and embeddings stay whole; the last, which the authors
    freeze, are trained on. Masks are gone before saving: no byte, no operation, no joule less.
    Source: Sanh et al. (2020), arXiv:2005.07683, section 4, the hard version with top-v.

    Scores are trained by the run's optimiser at the learning rate of the weights. The authors take
    1e-2 for them, which comes to the same: scores begin at 0, are not decayed, and only their order
    counts, so that a rate ten times as high makes all of them ten times as large. The authors begin
    with the pretrained encoder; here, as in every technique, it is the trained baseline.

    Attributes:
        ratio: Fraction of the weights that become 0, in (0, 1).
        scope: ``layer`` takes the lowest scores of each linear layer, as the authors' commands do;
            ``global`` those of all together.
        epochs: Passes of fine-tuning in which scores are learned, above 0.
        learning_rate: Peak of the fine-tuning; ``None`` takes the baseline's.
    """

    ratio: float
    scope: Literal["layer", "global"]
    epochs: float
    learning_rate: float | None

    shrinks: ClassVar[bool] = False
    undone_by_training: ClassVar[str] = "training would fill its zeros again"

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        if not 0 < self.ratio < 1:
            raise ValueError(
                f"technique.ratio must be in (0, 1), got {self.ratio}: it is the fraction of "
                f"weights set to zero, so 90 % is 0.9"
            )
        if self.scope not in ("layer", "global"):
            raise ValueError(f"technique.scope is {self.scope!r}: layer or global")
        if self.epochs <= 0:
            raise ValueError(
                f"technique.epochs is {self.epochs}: scores are learned while fine-tuning, so it "
                f"must be above 0; technique=unstructured_pruning needs none"
            )
        if self.learning_rate is not None and self.learning_rate <= 0:
            raise ValueError(
                f"technique.learning_rate is {self.learning_rate}: above 0, or null for the "
                f"baseline's"
            )

    @property
    def label(self) -> str:
        """Name and ratio."""
        return f"{self.name} {self.ratio:g}"

    @property
    def sparsity(self) -> str:
        """Zeros anywhere."""
        return "unstructured"

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """Fine-tuning under masks that are learned."""
        return fine_tuning.recipe(self.epochs, self.learning_rate, fine_tuning.TO_THE_END)

    def require(self, terms: Terms) -> None:
        """Refuse models that are no encoders."""
        blocks_of(terms.workload.build(seed=0), self.name)

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model with scores beside its weights, none of which is hidden yet."""
        for layer in self._linear(model):
            parametrize.register_parametrization(layer, "weight", _Scored(layer.weight))
        return model

    def after_step(self, model: nn.Module, done: float) -> None:
        """Hide the weights with the lowest scores, as many as the schedule says."""
        self._hide(model, self.ratio * _grown(done))

    def convert(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model without scores and masks: zeros among its weights."""
        self._hide(model, self.ratio)  # a training that reached its target early is behind schedule
        for layer in self._linear(model):
            parametrize.remove_parametrizations(layer, "weight")
        return model

    def _linear(self, model: nn.Module) -> list[nn.Linear]:
        return [
            layer
            for block in blocks_of(model, self.name)
            for layer in (block.query, block.key, block.value, block.output, block.up, block.down)
        ]

    @torch.no_grad()
    def _hide(self, model: nn.Module, share: float) -> None:
        parts = [_scored(layer) for layer in self._linear(model)]
        for together in [parts] if self.scope == "global" else [[part] for part in parts]:
            scores = torch.cat([part.scores for part in together])
            count = round(share * len(scores))
            kept = torch.ones_like(scores, dtype=torch.bool)
            kept[scores.topk(count, largest=False, sorted=False).indices] = False
            for part, mask in zip(
                together, kept.split([part.scores.numel() for part in together]), strict=True
            ):
                part.kept.copy_(mask.view_as(part.kept))


def _scored(layer: Any) -> Any:
    return layer.parametrizations.weight[0]


class _Scored(nn.Module):
    """A weight times its mask, whose gradient goes to the scores."""

    kept: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        # One dimension, since the optimiser decays parameters that have two.
        self.scores = nn.Parameter(torch.zeros(weight.numel(), device=weight.device))
        self.register_buffer("kept", torch.ones_like(weight, dtype=torch.bool))

    def forward(self, weight: Tensor) -> Tensor:
        scores = self.scores.view_as(weight)
        return weight * (self.kept + (scores - scores.detach()))


def _grown(done: float) -> float:
    """Return the share of the ratio that is hidden after this share of the training."""
    progress = (done - WARM_UP) / (1 - WARM_UP - COOL_DOWN)
    return 1 - (1 - min(1.0, max(0.0, progress))) ** 3
