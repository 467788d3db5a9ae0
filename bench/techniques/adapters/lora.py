"""Updates of low rank: LoRA, and two ways of scaling them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from peft import LoraConfig, PeftConfig
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN
from torch import nn
from transformers import PreTrainedModel

from bench.techniques.adapters import ALL_LINEAR, Adapter, not_adapted, turned

VARIANTS = ("lora", "rslora", "dora")


@dataclass(frozen=True)
class Lora(Adapter):
    """The product of two narrow matrices beside each weight: ``W + scale * B A``.

    Sources: Hu et al. (2021), arXiv:2106.09685; rank-stabilised: Kalajdzievski (2023),
    arXiv:2312.03732; DoRA: Liu et al. (2024), arXiv:2402.09353.

    Attributes:
        variant: ``lora``: the scale is ``alpha / rank``; ``rslora``: ``alpha / sqrt(rank)``, so
            that updates do not shrink as the rank grows; ``dora``: ``lora`` for the direction of
            each row of the weight, while its length is trained by itself.
        rank: Rows of ``A``, columns of ``B``.
        alpha: Numerator of the scale.
        dropout: Of what goes into ``A`` while training, in [0, 1).
    """

    variant: Literal["lora", "rslora", "dora"]
    rank: int
    alpha: int
    dropout: float

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        super().__post_init__()
        if self.variant not in VARIANTS:
            raise ValueError(f"technique.variant is {self.variant!r}: one of {', '.join(VARIANTS)}")
        for key in ("rank", "alpha"):
            if (value := getattr(self, key)) < 1:
                raise ValueError(f"technique.{key} is {value}: at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"technique.dropout must be in [0, 1), got {self.dropout}: a fraction")

    @property
    def sized(self) -> str:
        """Name and rank."""
        return f"{self.name} r{self.rank}"

    def config(self, model: nn.Module) -> PeftConfig:
        """Return what peft is asked for; it takes all linear layers of what it does not know."""
        targets = self.targets
        if targets is None and isinstance(model, PreTrainedModel):
            targets = None if model.config.model_type in KNOWN else ALL_LINEAR
        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            use_rslora=self.variant == "rslora",
            use_dora=self.variant == "dora",
            target_modules=targets if targets is None or isinstance(targets, str) else [*targets],
            exclude_modules=not_adapted(model),
            fan_in_fan_out=turned(model),
        )
