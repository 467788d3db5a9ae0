"""Linear layers whose weights are kept in 4 bits, through bitsandbytes."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula
from transformers.pytorch_utils import Conv1D

from bench.techniques.adapters import adapters, not_adapted

BLOCK = 64
"""Weights that share a scale."""

OUTER_BLOCK = 256
"""Scales that share a scale of their own."""


@functools.cache
def library() -> Any:
    """Return bitsandbytes, after telling torch what its product of matrices computes."""
    import bitsandbytes

    @register_flop_formula(torch.ops.bitsandbytes.gemm_4bit)
    def _operations(
        inputs: Sequence[int], packed: Any, shape: Sequence[int], *_: Any, **__: Any
    ) -> int:
        return 2 * math.prod(inputs) * shape[0]

    return bitsandbytes


class Nf4Linear(nn.Linear):
    """A linear layer with 4-bit weights, multiplied in bfloat16.

    Blocks of weights are divided by their largest magnitude and rounded to 16 quantiles of the
    normal distribution; magnitudes are rounded to 8 bits in turn. Source: Dettmers et al. (2023),
    QLoRA, arXiv:2305.14314, section 3. What it holds are plain tensors, so that it is saved, loaded
    and resumed like any other layer, which the library's own is not.

    Attributes:
        weight: Two weights a byte, the first in the upper half; 7 is zero.
        scales: Of blocks of ``BLOCK`` weights, 8 bits each, before ``offset`` is added.
        outer_scales: Of blocks of ``OUTER_BLOCK`` scales.
        code: What the 256 values of a scale mean.
        offset: Mean of the scales.
    """

    scales: Tensor
    outer_scales: Tensor
    code: Tensor
    offset: Tensor

    def __init__(self, layer: nn.Linear | Conv1D) -> None:
        """Make room for the weights of a layer.

        Args:
            layer: Whose shape, bias and kind it takes.
        """
        outputs, inputs = upright(layer).shape
        super().__init__(inputs, outputs, bias=False, device="meta")
        del self.weight
        blocks = math.ceil(inputs * outputs / BLOCK)
        packed = torch.empty(math.ceil(inputs * outputs / 2), 1, dtype=torch.uint8)
        self.register_buffer("weight", packed)
        self.register_buffer("scales", torch.empty(blocks, dtype=torch.uint8))
        self.register_buffer("outer_scales", torch.empty(math.ceil(blocks / OUTER_BLOCK)))
        self.register_buffer("code", torch.empty(256))
        self.register_buffer("offset", torch.empty(()))
        self.bias = layer.bias
        self.turned = isinstance(layer, Conv1D)
        self.opened_dtype = layer.weight.dtype

    def fill(self, weight: Tensor) -> Nf4Linear:
        """Round a weight, ``(outputs, inputs)``, where it lies, and return the layer."""
        self.weight, state = library().functional.quantize_4bit(
            weight.contiguous(), blocksize=BLOCK, compress_statistics=True, quant_type="nf4"
        )
        self.scales, self.offset = state.absmax, state.offset
        self.outer_scales, self.code = state.state2.absmax, state.state2.code
        return self

    def forward(self, input: Tensor) -> Tensor:
        """Return the product, in the input's dtype."""
        narrow = torch.bfloat16
        bias = None if self.bias is None else self.bias.to(narrow)
        found: Tensor = library().matmul_4bit(
            input.to(narrow), self.weight, quant_state=self._state(), bias=bias
        )
        return found.to(input.dtype)

    def opened(self) -> nn.Linear | Conv1D:
        """Return an ordinary layer with the rounded weights."""
        weight = library().functional.dequantize_4bit(self.weight, self._state())
        layer: nn.Linear | Conv1D
        if self.turned:
            layer, weight = Conv1D(self.out_features, self.in_features), weight.t()
        else:
            layer = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        layer.weight = nn.Parameter(weight.to(self.opened_dtype).contiguous())
        layer.bias = self.bias
        return layer

    def _state(self) -> Any:
        """Return what the library wants to know of the weights."""
        state = library().functional.QuantState
        outer = state(self.outer_scales, code=self.code, blocksize=OUTER_BLOCK, dtype=torch.float32)
        return state(
            self.scales,
            shape=torch.Size((self.out_features, self.in_features)),
            blocksize=BLOCK,
            quant_type="nf4",
            dtype=torch.bfloat16,
            offset=self.offset,
            state2=outer,
        )


def upright(layer: nn.Linear | Conv1D) -> Tensor:
    """Return a layer's weight as ``(outputs, inputs)``."""
    weight = layer.weight.detach()
    return weight.t() if isinstance(layer, Conv1D) else weight


def rounded(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the model with its linear layers in 4 bits, one after the other, on a device."""
    return _replaced(model, lambda layer: Nf4Linear(layer).fill(upright(layer).to(device)))


def shaped(model: nn.Module) -> nn.Module:
    """Return the model with room for 4-bit weights in its linear layers."""
    return _replaced(model, Nf4Linear)


def opened(model: nn.Module) -> nn.Module:
    """Return the model with ordinary linear layers again, adapters as they are."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, Nf4Linear):
            model.set_submodule(name, layer.opened())
    for _, adapter in adapters(model):
        # They were made for layers that are all of one kind.
        cast("Any", adapter).fan_in_fan_out = isinstance(adapter.get_base_layer(), Conv1D)
    return model


def _replaced(model: nn.Module, new: Callable[[nn.Linear | Conv1D], nn.Module]) -> nn.Module:
    spared = re.compile(not_adapted(model) or "(?!)")
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear | Conv1D) and not spared.fullmatch(name):
            model.set_submodule(name, new(layer))
    return model
