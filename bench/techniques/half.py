"""Inference in half the bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from bench.techniques import Setting, Technique, TechniqueError, Terms

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Half(Technique):
    """Weights and inputs in 16 bits when serving; the trained weights are rounded once.

    Half the bytes, and matrix units that double the rate where the processor has them: AMX or
    AVX512-BF16, NVIDIA from Volta (fp16) and Ampere (bf16) on. Sources: Kalamkar et al. (2019),
    arXiv:1905.12322; Micikevicius et al. (2018), arXiv:1710.03740.

    Attributes:
        dtype: ``bf16`` (8 bits of exponent, runs everywhere) or ``fp16`` (5 bits: GPUs only).
    """

    dtype: Literal["bf16", "fp16"]

    ends_chain: ClassVar[str] = (
        "its weights are rounded to 16 bits, which are neither trained nor quantized"
    )

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        if self.dtype not in DTYPES:
            raise ValueError(f"technique.dtype is {self.dtype!r}: one of {', '.join(DTYPES)}")

    def require(self, terms: Terms) -> None:
        """Refuse fp16 on a CPU, where it is emulated."""
        if self.dtype == "fp16" and terms.device.type == "cpu":
            raise TechniqueError(
                "technique.dtype=fp16 needs a GPU: CPUs emulate it in fp32; technique=bf16 runs"
            )

    def convert(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model with every floating tensor rounded that the workload gives up."""
        return setting.rounded(model, DTYPES[self.dtype])
