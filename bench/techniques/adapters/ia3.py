"""Vectors that scale what layers see, or what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peft import IA3Config, PeftConfig
from torch import nn

from bench.techniques.adapters import Adapter, not_adapted, turned


@dataclass(frozen=True)
class Ia3(Adapter):
    """(IA)3: a factor for each feature of keys and values, and for each neuron.

    Factors begin at 1 and do not decay. Source: Liu et al. (2022), arXiv:2205.05638.

    Attributes:
        feedforward: Those of the layers in ``targets`` whose inputs are scaled, not their outputs;
            ``None`` is none of them, or peft's choice where ``targets`` is ``None``, too.
    """

    feedforward: Sequence[str] | None

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        super().__post_init__()
        named = [] if self.targets is None or isinstance(self.targets, str) else self.targets
        if strange := [name for name in self.feedforward or [] if name not in named]:
            raise ValueError(
                f"technique.feedforward has {strange[0]!r}, and technique.targets={self.targets} "
                f"does not: it says which of the layers listed there have their inputs scaled"
            )

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The baseline's without weight decay, where nothing else is said."""
        return {"weight_decay": 0.0, **super().recipe}

    def config(self, model: nn.Module) -> PeftConfig:
        """Return what peft is asked for."""
        targets = self.targets
        return IA3Config(
            target_modules=targets if targets is None or isinstance(targets, str) else [*targets],
            feedforward_modules=None if targets is None else list(self.feedforward or []),
            exclude_modules=not_adapted(model),
            fan_in_fan_out=turned(model),
        )
