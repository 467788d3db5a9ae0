"""Channels beside each other in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from bench.techniques import Technique, TechniqueError, Terms


@dataclass(frozen=True)
class ChannelsLast(Technique):
    """Kernels of convolutions stored with the channel last, which most matrix units want.

    The same numbers in another order: no byte less. ``runtime.memory_format=channels_last`` gives
    it to both arms instead. Source: PyTorch tutorial "Channels Last Memory Format".
    """

    shrinks = False

    def require(self, terms: Terms) -> None:
        """Refuse models without images."""
        one = terms.workload.test_examples().__getitems__([0])
        if not any(value.dim() == 4 for value in one.values()):
            raise TechniqueError(
                f"technique=channels_last orders the channels of images: "
                f"{terms.workload.name} has none"
            )

    def deploy(self, model: nn.Module) -> nn.Module:
        """Return the model with its four-dimensional weights reordered."""
        return model.to(memory_format=torch.channels_last)
