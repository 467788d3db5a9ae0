"""Inference in bfloat16."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from bench.techniques import Setting, Technique


@dataclass(frozen=True)
class BF16(Technique):
    """Weights and inputs in bfloat16 when serving; the trained weights are rounded once.

    Half the bytes, and matrix units that double the rate where the processor has them (AMX or
    AVX512-BF16, Ampere and later). Source: Kalamkar et al. (2019), arXiv:1905.12322.
    """

    def convert(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model with every floating tensor rounded to bfloat16."""
        return model.to(torch.bfloat16)
