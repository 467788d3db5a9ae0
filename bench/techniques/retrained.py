"""The same model trained anew under another recipe: training joules against training joules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from bench.techniques import Setting, Technique, TechniqueError, Terms


@dataclass(frozen=True)
class Retrained(Technique):
    """The baseline's architecture from its initial weights, with some knobs of training changed.

    What it costs stands beside what the baseline cost; served, both are the same size. For mixed
    precision (Micikevicius et al. 2018, arXiv:1710.03740), gradient accumulation, gradient
    checkpointing (Chen et al. 2016, arXiv:1604.06174), and stopping at a target accuracy.

    Attributes:
        changes: Knobs of ``training`` and their values.
    """

    changes: Mapping[str, Any]

    begins_chain: ClassVar[str] = "it trains from initial weights, so that work would be lost"
    begins_anew: ClassVar[bool] = True
    shrinks: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """Name and what is changed."""
        told = [k if v is True else f"{k} {v}" for k, v in self.changes.items() if k != self.name]
        return f"{self.name} ({', '.join(told)})" if told else self.name

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The baseline's with the changes."""
        return self.changes

    def require(self, terms: Terms) -> None:
        """Refuse changes that are none, and a training that is none."""
        if unknown := sorted(set(self.changes) - set(terms.training)):
            raise TechniqueError(
                f"technique.changes.{unknown[0]}: training has no such knob; it has "
                f"{', '.join(key for key in terms.training if key != '_target_')}"
            )
        self.require_training(
            terms,
            "trains anew, and training.epochs=0 trains nothing: give the baseline a training, such "
            "as training.epochs=3",
        )
        if "accumulation" in self.changes:
            self._require_the_batch(terms)
        if all(terms.training[key] == value for key, value in self.changes.items()):
            same = ", ".join(f"training.{key}={value}" for key, value in self.changes.items())
            raise TechniqueError(
                f"technique={self.name} changes nothing: the baseline has {same} already; give the "
                f"baseline another, such as training.precision=fp32"
            )

    def _require_the_batch(self, terms: Terms) -> None:
        """Refuse an accumulation to another batch: that is another recipe, with other steps."""
        sizes = [
            training["batch_size"] * training["accumulation"]
            for training in (terms.training, {**terms.training, **self.changes})
        ]
        if sizes[0] != sizes[1]:
            raise TechniqueError(
                f"technique.changes: training.batch_size times training.accumulation is "
                f"{sizes[1]}, the baseline's {sizes[0]}: accumulated gradients stand for the same "
                f"batch; give the baseline a batch_size that can be divided, such as 32"
            )

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model with its initial weights."""
        device = setting.device
        return setting.workload.build(setting.seed).to(device)
