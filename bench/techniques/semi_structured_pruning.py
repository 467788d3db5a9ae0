"""Two of every four weights: the one sparsity that GPUs have units for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.techniques import SHAPE, Setting, Technique, TechniqueError, Terms, fine_tuning

VALUES, PLACES = ".kept", ".places"
"""Suffixes of what is saved of a weight: the two values of every four, and where they stood."""

LEAST_CAPABILITY = (8, 0)
MULTIPLE = 64
"""Both sides of a weight are a multiple of this, as the sparse kernels ask."""


@dataclass(frozen=True)
class SemiStructuredPruning(Technique):
    """Keep the two largest of every four weights of linear layers, in bfloat16.

    Sources: Mishra et al. (2021), arXiv:2104.08378; ``torch.sparse.to_sparse_semi_structured``.

    Attributes:
        epochs: Passes of fine-tuning after which the smaller two of four are dropped once more,
            charged to the technique; 0 drops once.
        learning_rate: Peak of the fine-tuning; ``None`` takes the baseline's.
    """

    epochs: float
    learning_rate: float | None

    ends_chain: ClassVar[str] = "its packed weights are neither trained nor quantized"

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        fine_tuning.require_possible(self.epochs, self.learning_rate)

    @property
    def sparsity(self) -> str:
        """Two of four."""
        return "2:4"

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """Fine-tuning."""
        return fine_tuning.recipe(self.epochs, self.learning_rate)

    def require(self, terms: Terms) -> None:
        """Refuse hardware without sparse units, and models without layers that fit them."""
        cuda = terms.device.type == "cuda"
        have = torch.cuda.get_device_capability() if cuda else None
        if have is None or have < LEAST_CAPABILITY:
            found = "there is no GPU" if have is None else f"this one has {have[0]}.{have[1]}"
            raise TechniqueError(
                f"technique={self.name} needs an NVIDIA GPU of compute capability 8.0 or more, and "
                f"{found}: nothing else has units for two of four; technique=structured_pruning "
                f"is faster everywhere"
            )
        fine_tuning.require_gentle(self.epochs, self.learning_rate, terms)
        if not _sparse_layers(terms.workload.build(seed=0)):
            raise TechniqueError(
                f"technique={self.name} prunes linear layers whose sides are multiples of "
                f"{MULTIPLE}, and {terms.workload.name} has none"
            )

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model without the smaller two of every four weights."""
        for layer in _sparse_layers(model).values():
            _drop(layer.weight)
        return model

    def after_step(self, model: nn.Module, done: float) -> None:
        """Drop what the step has brought back."""
        for layer in _sparse_layers(model).values():
            _drop(layer.weight)

    def convert(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model in bfloat16, but for what the workload needs in more."""
        return setting.rounded(model, torch.bfloat16)

    def pack(self, model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return two values and two places for every four weights."""
        plain = dict(tensors)
        for name in _sparse_layers(model):
            weight = plain.pop(f"{name}.weight").to_dense()
            groups = weight.reshape(weight.shape[0], -1, 4)
            places = groups.abs().float().topk(2, dim=-1).indices.sort(dim=-1).values
            plain[f"{name}.weight{VALUES}"] = groups.gather(-1, places).flatten(1)
            plain[f"{name}.weight{PLACES}"] = (places[..., 0] * 4 + places[..., 1]).to(torch.uint8)
            plain[f"{SHAPE}{name}.weight"] = torch.tensor(weight.shape)
        return plain

    def unpack(self, model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return dense weights, two of four of which are zero."""
        state = dict(tensors)
        for name in _sparse_layers(model):
            kept = state.pop(f"{name}.weight{VALUES}")
            coded = state.pop(f"{name}.weight{PLACES}").to(torch.int64)
            rows, columns = state.pop(f"{SHAPE}{name}.weight").tolist()
            groups = torch.zeros(rows, columns // 4, 4, dtype=kept.dtype)
            places = torch.stack((coded // 4, coded % 4), dim=-1)
            groups.scatter_(-1, places, kept.reshape(rows, -1, 2))
            state[f"{name}.weight"] = groups.reshape(rows, columns)
        return state

    def deploy(self, model: nn.Module) -> nn.Module:
        """Return the model on the GPU with packed weights."""
        model = model.cuda()
        for layer in _sparse_layers(model).values():
            packed = torch.sparse.to_sparse_semi_structured(layer.weight.detach())
            layer.weight = nn.Parameter(packed, requires_grad=False)
        return model


def _sparse_layers(model: nn.Module) -> dict[str, nn.Linear]:
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and not (module.in_features % MULTIPLE or module.out_features % MULTIPLE)
    }


@torch.no_grad()
def _drop(weight: Tensor) -> None:
    groups = weight.view(weight.shape[0], -1, 4)
    smaller = groups.abs().topk(2, dim=-1, largest=False).indices
    groups.scatter_(-1, smaller, 0.0)
