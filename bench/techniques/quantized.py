"""Linear layers in 8, 4 or floating 8 bits, through torchao."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torchao.quantization import (
    Float8DynamicActivationFloat8WeightConfig,
    Int4WeightOnlyConfig,
    Int8DynamicActivationInt8WeightConfig,
    Int8WeightOnlyConfig,
    quantize_,
)

from bench.techniques import SHAPE, Setting, Technique, TechniqueError, Terms
from bench.techniques.tied import tables
from bench.workloads import Workload, WorkloadError

SCHEMES: dict[str, Any] = {
    "int8_weight_only": Int8WeightOnlyConfig,
    "int8_dynamic": Int8DynamicActivationInt8WeightConfig,
    "int4_weight_only": Int4WeightOnlyConfig,
    "float8_dynamic": Float8DynamicActivationFloat8WeightConfig,
}
CAPABILITY = {"int4_weight_only": (8, 0), "float8_dynamic": (8, 9)}
"""Least compute capability of an NVIDIA GPU; whoever is not named here runs on CPUs, too."""

LEAST_SHARE = 0.1
"""Share of the parameters in linear layers below which there is nothing worth quantizing."""

SAVED = 3
"""Bytes that one byte of an integer saves of a number in fp32."""


@dataclass(frozen=True)
class Quantized(Technique):
    """Weights of linear layers in few bits; convolutions stay as they are.

    ``int8_dynamic`` also rounds activations, with scales found anew at every call. Source: torchao
    (``quantize_``); Dettmers et al. (2022), arXiv:2208.07339, for dynamic activations.

    Attributes:
        scheme: ``int8_weight_only``, ``int8_dynamic``, ``int4_weight_only`` (GPUs from compute
            capability 8.0 on) or ``float8_dynamic`` (from 8.9 on).
        embeddings: Whether tables of embeddings become integers, too, a scale for each row. They
            are only looked up, so that bytes fall and joules do not.
    """

    scheme: Literal["int8_weight_only", "int8_dynamic", "int4_weight_only", "float8_dynamic"]
    embeddings: bool

    ends_chain: ClassVar[str] = "its packed weights are neither trained nor pruned"

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        if self.scheme not in SCHEMES:
            raise ValueError(f"technique.scheme is {self.scheme!r}: one of {', '.join(SCHEMES)}")

    def require(self, terms: Terms) -> None:
        """Refuse models of convolutions, and hardware without such kernels."""
        least = CAPABILITY.get(self.scheme)
        if least is not None:
            _require_gpu(self.scheme, least, terms.device)
        model = terms.workload.build(seed=0)
        layers = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
        known = tables(model)
        shared = sum(weight.numel() for weight in layers if id(weight) in known)
        linear = sum(weight.numel() for weight in layers) - shared
        share = linear / sum(p.numel() for p in model.parameters())
        if share < LEAST_SHARE:
            raise TechniqueError(
                f"technique.scheme={self.scheme} quantizes linear layers, which hold {share:.0%} "
                f"of the parameters of {terms.workload.name}: {_way_out(terms.workload)}"
            )
        if shared >= SAVED * linear and not self.embeddings:
            raise TechniqueError(
                f"technique.scheme={self.scheme} would make {terms.workload.name} larger: its "
                f"output layer is its table of embeddings, which stays as it is, and would be kept "
                f"a second time in integers; technique.embeddings=true takes both"
            )

    def convert(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model with packed weights."""
        return self._quantized(model)

    def pack(self, model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return packed weights as the plain tensors inside them, and their shapes."""
        plain: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            parts = _parts(tensor)
            if parts is None:
                plain[name] = tensor
                continue
            plain[SHAPE + name] = torch.tensor(tensor.shape)
            plain |= {f"{name}.{part}": getattr(tensor, part) for part in parts}
        return plain

    def restore(
        self, model: nn.Module, tensors: Mapping[str, Tensor], workload: Workload
    ) -> nn.Module:
        """Return a fresh model with packed weights."""
        return self._quantized(model)

    def _quantized(self, model: nn.Module) -> nn.Module:
        quantize_(model, SCHEMES[self.scheme]())
        if self.embeddings:
            for name, table in list(model.named_modules()):
                if isinstance(table, nn.Embedding):
                    model.set_submodule(name, _IntegerEmbedding(table))
        return model

    def unpack(self, model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights packed again out of the plain tensors inside them."""
        state = {}
        for name, fresh in model.state_dict().items():
            parts = _parts(fresh)
            if parts is None:
                state[name] = tensors[name]
                continue
            _, context = fresh.__tensor_flatten__()
            inner = {part: tensors[f"{name}.{part}"] for part in parts}
            state[name] = type(fresh).__tensor_unflatten__(
                inner, context, fresh.shape, fresh.stride()
            )
        return state


class _IntegerEmbedding(nn.Module):
    """A table of embeddings in 8-bit integers, each row with a scale of its own.

    torchao's own makes the whole table floating-point again at every call.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        weight = table.weight.detach()
        scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
        self.register_buffer("weight", (weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, rows: Tensor) -> Tensor:
        return self.weight[rows] * self.scale[rows]


def _parts(tensor: Tensor) -> list[str] | None:
    """Return the names of the plain tensors inside a packed one; ``None`` for a plain one."""
    if type(tensor.data) is Tensor or not hasattr(tensor, "__tensor_flatten__"):
        return None
    names, _ = tensor.__tensor_flatten__()
    return list(names)


def _way_out(workload: Workload) -> str:
    """Return which technique to take for a workload of other layers than linear ones."""
    try:
        workload.require("export")
    except WorkloadError:
        return "there are no integers for the rest of it; technique=bf16 halves its bytes"
    return "technique=int8_static takes convolutions, too"


def _require_gpu(scheme: str, least: tuple[int, int], device: torch.device) -> None:
    have = torch.cuda.get_device_capability() if device.type == "cuda" else None
    if have is None or have < least:
        found = "there is none" if have is None else f"this one has {have[0]}.{have[1]}"
        raise TechniqueError(
            f"technique.scheme={scheme} needs an NVIDIA GPU of compute capability {least[0]}."
            f"{least[1]} or more, and {found}; technique=int8_dynamic runs on CPUs"
        )
