"""Whole channels physically removed, then fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch_pruning as tp
from torch import Tensor, nn

from bench.techniques import Setting, Technique, TechniqueError
from bench.workloads import Batch

IMPORTANCE = {
    "magnitude": lambda: tp.importance.GroupMagnitudeImportance(p=2),
    "bn_scale": tp.importance.BNScaleImportance,
    "taylor": tp.importance.GroupTaylorImportance,
    "random": tp.importance.RandomImportance,
}


@dataclass(frozen=True)
class StructuredPruning(Technique):
    """Remove the least important channels of every layer, with all that depends on them.

    Layers whose channels must go together are found by tracing the network, so that what remains
    is a smaller dense network: no mask, no index, faster on any hardware. The layer that gives the
    classes is kept whole. Source: Fang et al. (2023), DepGraph, CVPR, arXiv:2301.12900, as
    implemented in Torch-Pruning; Molchanov et al. (2019), arXiv:1906.10771, for ``taylor``.

    Attributes:
        ratio: Fraction of the channels removed, in (0, 1). Multiply-accumulates fall to about
            ``(1 - ratio) ** 2``.
        importance: ``magnitude`` (L2 norm of the group), ``bn_scale`` (its normalisation scale),
            ``taylor`` (first-order change of the loss on one training batch), ``random`` (a
            control).
        scope: ``layer`` removes the fraction in every layer, ``global`` wherever it matters least.
        round_to: Channels that remain are a multiple of this, since kernels like whole vectors.
        epochs: Passes of fine-tuning afterwards, charged to the technique; 0 for none.
        learning_rate: Peak of the fine-tuning, below the baseline's.
    """

    ratio: float
    importance: Literal["magnitude", "bn_scale", "taylor", "random"]
    scope: Literal["layer", "global"]
    round_to: int
    epochs: float
    learning_rate: float

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        if not 0 < self.ratio < 1:
            raise ValueError(
                f"technique.ratio must be in (0, 1), got {self.ratio}: it is the fraction of "
                f"channels removed, so 50 % is 0.5 and 1.0 would leave no model"
            )
        if self.importance not in IMPORTANCE:
            raise ValueError(
                f"technique.importance is {self.importance!r}: one of {', '.join(IMPORTANCE)}"
            )
        if self.scope not in ("layer", "global"):
            raise ValueError(f"technique.scope is {self.scope!r}: layer or global")
        if self.round_to < 1 or self.epochs < 0 or self.learning_rate <= 0:
            raise ValueError(
                f"technique.round_to={self.round_to} must be at least 1, technique.epochs="
                f"{self.epochs} at least 0, technique.learning_rate={self.learning_rate} above 0"
            )

    @property
    def label(self) -> str:
        """Name and ratio."""
        return f"{self.name} {self.ratio:g}"

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """Fine-tuning: fewer epochs at a lower rate."""
        if self.epochs == 0:
            return None
        return {"epochs": self.epochs, "learning_rate": self.learning_rate}

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model with its channels removed.

        Raises:
            TechniqueError: Nothing could be removed, as in a network narrower than ``round_to``.
        """
        torch.manual_seed(setting.seed)
        batch = _first_examples(setting, count=2 if self.importance != "taylor" else 64)
        before = sum(p.numel() for p in model.parameters())
        # Tracing needs gradients; Taylor needs their values.
        model.requires_grad_(True).eval()
        if self.importance == "taylor":
            outputs = setting.workload.forward(model, batch)
            setting.workload.loss(outputs, batch, smoothing=0.0).backward()
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        pruner = tp.pruner.BasePruner(
            model,
            example_inputs=inputs,
            forward_fn=lambda m, b: setting.workload.forward(m, b),
            importance=IMPORTANCE[self.importance](),
            global_pruning=self.scope == "global",
            pruning_ratio=self.ratio,
            ignored_layers=[_last_linear(model)],
            round_to=self.round_to,
        )
        pruner.step()
        model.zero_grad(set_to_none=True)
        if sum(p.numel() for p in model.parameters()) == before:
            raise TechniqueError(
                f"technique.ratio={self.ratio} removed no channel: with technique.round_to="
                f"{self.round_to} every layer stays as it is"
            )
        return model

    def restore(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
        """Return the model with every layer as wide as its saved weight."""
        for name, module in model.named_modules():
            weight = tensors.get(f"{name}.weight")
            if weight is not None:
                _resize(module, weight)
        return model


def _first_examples(setting: Setting, count: int) -> Batch:
    device = next(setting.baseline.parameters()).device
    batch = setting.workload.train_examples().__getitems__(range(count))
    return {name: value.to(device) for name, value in batch.items()}


def _last_linear(model: nn.Module) -> nn.Module:
    return [m for m in model.modules() if isinstance(m, nn.Linear)][-1]


def _resize(module: nn.Module, weight: Tensor) -> None:
    """Give a layer the widths of ``weight``; its values are loaded afterwards."""
    if isinstance(module, nn.Conv2d):
        if module.groups == module.out_channels > 1:  # depthwise: one group a channel
            module.groups = weight.shape[0]
        module.out_channels = weight.shape[0]
        module.in_channels = weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.BatchNorm2d):
        module.num_features = weight.shape[0]
        for buffer in ("running_mean", "running_var"):
            setattr(module, buffer, torch.empty(weight.shape[0]))
    for name, shape in (("weight", weight.shape), ("bias", weight.shape[:1])):
        if getattr(module, name, None) is not None:
            setattr(module, name, nn.Parameter(torch.empty(shape)))
