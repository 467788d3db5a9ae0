"""Single weights set to zero: the negative control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import nn
from torch.nn.utils import prune
from transformers.pytorch_utils import Conv1D

from bench.techniques import Setting, Technique, TechniqueError, Terms, fine_tuning
from bench.techniques.tied import tables

UPDATES = 20
"""Times that the masks grow during the fine-tuning."""

GROWING = 0.75
"""Share of the fine-tuning in which masks grow; the rest recovers under the last of them."""


@dataclass(frozen=True)
class UnstructuredPruning(Technique):
    """Set the smallest weights to zero; dense kernels multiply by them all the same.

    Readers of the pruning literature expect a saving here, and there is none: no byte, no
    operation, no joule less. Masks are removed before saving, so that at least nothing is added.
    Sources: magnitude, Han et al. (2015), arXiv:1506.02626; cubic schedule, Zhu and Gupta (2017),
    arXiv:1710.01878, section 3.

    Attributes:
        ratio: Fraction of the weights of convolutions and linear layers that become 0, in (0, 1).
            An output layer that is the table of embeddings, too, stays as it is.
        scope: ``global`` takes the smallest of all layers together, ``layer`` the same fraction of
            each.
        epochs: Passes of fine-tuning in which the masks grow; 0 prunes at once and leaves it.
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
        fine_tuning.require_possible(self.epochs, self.learning_rate)

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
        """Fine-tuning under growing masks."""
        return fine_tuning.recipe(self.epochs, self.learning_rate, fine_tuning.TO_THE_END)

    def require(self, terms: Terms) -> None:
        """Refuse models without such layers, and to undo what was learnt."""
        fine_tuning.require_gentle(self.epochs, self.learning_rate, terms)
        if not _weights(terms.workload.build(seed=0)):
            raise TechniqueError(
                f"technique={self.name} prunes convolutions and linear layers, and "
                f"{terms.workload.name} has none"
            )

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model with masks that hide nothing yet, or everything at once."""
        for module, name in _weights(model):
            prune.identity(module, name)
        if self.epochs == 0:
            self._hide(model, self.ratio)
        return model

    def after_step(self, model: nn.Module, done: float) -> None:
        """Let the masks grow as far as the cubic schedule says, some twenty times."""
        grown = int(min(1.0, done / GROWING) * UPDATES) / UPDATES
        if grown > getattr(model, "masks_grown", 0.0):
            model.masks_grown = grown  # type: ignore[assignment]
            self._hide(model, self.ratio * (1 - (1 - grown) ** 3))

    def convert(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model without masks: zeros among its weights."""
        self._hide(model, self.ratio)  # a training that ended early has its masks half grown
        for module, name in _weights(model):
            prune.remove(module, name)
        return model

    def _hide(self, model: nn.Module, wanted: float) -> None:
        """Hide weights until the wanted fraction is hidden; those hidden once stay so."""
        weights = _weights(model)
        share = _share_of_the_rest(weights, wanted)
        if self.scope == "global":
            prune.global_unstructured(weights, prune.L1Unstructured, amount=share)
            return
        for module, name in weights:
            prune.l1_unstructured(module, name, amount=share)


def _weights(model: nn.Module) -> list[tuple[nn.Module, str]]:
    kinds = (nn.Conv1d, nn.ConvTranspose1d, nn.Conv2d, nn.Linear, Conv1D)
    shared = tables(model)
    layers = [module for module in model.modules() if isinstance(module, kinds)]
    # A mask acts in the layer's own forward: whoever shares its weight would be trained without.
    return [(m, "weight") for m in layers if id(getattr(m, "weight_orig", m.weight)) not in shared]


def _share_of_the_rest(weights: list[tuple[nn.Module, str]], wanted: float) -> float:
    masks = [getattr(module, f"{name}_mask") for module, name in weights]
    hidden = 1 - sum(float(m.sum()) for m in masks) / sum(m.numel() for m in masks)
    return max(0.0, (wanted - hidden) / (1 - hidden))
