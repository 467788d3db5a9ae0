"""Whole layers of an encoder dropped, then fine-tuned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from bench.techniques import SHAPE, Setting, Technique, TechniqueError, Terms, fine_tuning
from bench.techniques.encoder_pruning import blocks_of
from bench.workloads import Workload
from bench.workloads.language.anatomy import keep_layers, layers

STRATEGIES = ("top", "alternate", "bottom")


@dataclass(frozen=True)
class LayerDropping(Technique):
    """Drop layers by where they stand; no data, no search.

    Source: Sajjad et al. (2020), Poor Man's BERT (On the effect of dropping layers of pre-trained
    transformer models), arXiv:2004.03844, section 3, which drops them before any fine-tuning; here,
    as in every technique, the trained baseline is what is made smaller.

    Attributes:
        ratio: Fraction of the layers dropped, in (0, 1), to the nearest whole one; ``None`` where
            ``keep`` is given.
        keep: Layers that stay; ``None`` where ``ratio`` is given.
        strategy: ``top`` drops the last ones, ``bottom`` the first ones, ``alternate`` every second
            one from the last but one down: the source's odd-alternate, of twelve layers to eight
            the ones numbered 11, 9, 7 and 5 from 1.
        epochs: Passes of fine-tuning afterwards, charged to the technique; 0 for none.
        learning_rate: Peak of the fine-tuning; ``None`` takes the baseline's.
    """

    ratio: float | None
    keep: int | None
    strategy: Literal["top", "alternate", "bottom"]
    epochs: float
    learning_rate: float | None

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        if (self.ratio is None) == (self.keep is None):
            raise ValueError(
                f"technique.ratio={self.ratio} and technique.keep={self.keep}: one of them says "
                f"how much to drop, the other is null"
            )
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise ValueError(
                f"technique.ratio must be in (0, 1), got {self.ratio}: it is the fraction of "
                f"layers dropped, so half of them is 0.5"
            )
        if self.keep is not None and self.keep < 1:
            raise ValueError(f"technique.keep is {self.keep}: at least one layer stays")
        if self.strategy not in STRATEGIES:
            raise ValueError(
                f"technique.strategy is {self.strategy!r}: one of {', '.join(STRATEGIES)}"
            )
        fine_tuning.require_possible(self.epochs, self.learning_rate)

    @property
    def label(self) -> str:
        """Name, how much is dropped, and from where."""
        amount = f"{self.ratio:g}" if self.ratio is not None else f"to {self.keep}"
        return f"{self.name} {amount} ({self.strategy})"

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """Fine-tuning."""
        return fine_tuning.recipe(self.epochs, self.learning_rate)

    def require(self, terms: Terms) -> None:
        """Refuse models that are no encoders, and amounts that leave nothing or everything."""
        self._kept(len(blocks_of(terms.workload.build(seed=0), self.name)))

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model with fewer layers.

        Raises:
            TechniqueError: It is no encoder, or the amount leaves nothing or everything.
        """
        keep_layers(model, self._kept(len(blocks_of(model, self.name))))
        return model

    def restore(
        self, model: nn.Module, tensors: Mapping[str, Tensor], workload: Workload
    ) -> nn.Module:
        """Return the model with as many layers as are saved.

        Those that were left have been numbered anew, so the first ones stay here, whichever they
        were; their values are loaded afterwards.
        """
        there = layers(model)
        place = next(name for name, module in model.named_modules() if module is there)
        numbered = re.compile(rf"({re.escape(SHAPE)})?{re.escape(place)}\.(\d+)\.")
        saved = {int(found[2]) for name in tensors if (found := numbered.match(name))}
        keep_layers(model, range(len(saved)))
        return model

    def _kept(self, there: int) -> list[int]:
        """Return which of so many layers stay, numbered from 0."""
        if self.keep is not None:
            left, asked = self.keep, f"technique.keep={self.keep}"
        else:
            left, asked = there - round((self.ratio or 0) * there), f"technique.ratio={self.ratio}"
        if not 1 <= left < there:
            raise TechniqueError(
                f"{asked} leaves {left} of {there} layers: at least one stays and one goes"
            )
        goes = there - left
        if self.strategy == "alternate" and goes > there // 2:
            raise TechniqueError(
                f"{asked} drops {goes} of {there} layers, and technique.strategy=alternate at most "
                f"every second one, {there // 2}: take technique.strategy=top"
            )
        dropped = {
            "top": range(left, there),
            "alternate": range(there - 2, there - 2 - 2 * goes, -2),
            "bottom": range(goes),
        }[self.strategy]
        return [index for index in range(there) if index not in dropped]
