"""LoRA over weights in 4 bits."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import torch
from torch import nn

from bench.techniques import Setting, TechniqueError, Terms
from bench.techniques.adapters import nf4
from bench.techniques.adapters.lora import Lora


@dataclass(frozen=True)
class QLora(Lora):
    """LoRA while the weights beside it are rounded to NF4: an eighth of their bytes in training.

    Merged, the rounded weights are widened again before the adapters are added, which loses nothing
    more, and the model is an ordinary one of full size; unmerged it is served in 4 bits. Source:
    Dettmers et al. (2023), arXiv:2305.14314.
    """

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        super().__post_init__()
        if self.variant == "dora":
            raise ValueError(
                "technique.variant=dora needs the length of each row of the weights, which are in "
                "4 bits here: lora or rslora; or technique=dora"
            )

    def require(self, terms: Terms) -> None:
        """Refuse what has no GPU, or lacks the library."""
        if terms.device.type != "cuda":
            raise TechniqueError(
                f"technique={self.name} trains beside weights in 4 bits on NVIDIA GPUs, and this "
                f"pair is served on {terms.device.type}: technique=lora runs there"
            )
        if importlib.util.find_spec("bitsandbytes") is None:
            raise TechniqueError(
                f"technique={self.name} needs bitsandbytes, which is not installed: "
                f"pip install bitsandbytes"
            )
        super().require(terms)

    def kept(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model with its linear layers in 4 bits."""
        return nf4.rounded(model, device)

    def shaped(self, model: nn.Module) -> nn.Module:
        """Return a fresh model with room for weights in 4 bits."""
        return nf4.shaped(model)

    def convert(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return an ordinary model, if adapters are to be merged."""
        return super().convert(nf4.opened(model) if self.merged else model, setting)
