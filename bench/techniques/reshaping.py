"""Layers made as wide as the tensors that are to be loaded into them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench.techniques import shape_of


def reshape(model: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return a freshly built model with every layer as wide as its saved weight.

    Args:
        model: Changed in place; values are loaded afterwards.
        tensors: Saved ones by name; of weights that were turned into something else, the shapes.
    """
    for name, module in model.named_modules():
        shape = shape_of(tensors, f"{name}.weight")
        if shape is not None:
            _resize(module, shape)
    return model


def _resize(module: nn.Module, shape: torch.Size) -> None:
    """Give a layer the widths of a weight."""
    bias = shape[:1]
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        if module.groups == module.out_channels > 1:  # depthwise: one group a channel
            module.groups = shape[0]
        module.out_channels = shape[0]
        module.in_channels = shape[1] * module.groups
    elif isinstance(module, nn.ConvTranspose1d):  # whose kernels have their inputs first
        module.in_channels, module.out_channels = shape[0], shape[1] * module.groups
        bias = torch.Size([module.out_channels])
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = shape
    elif isinstance(module, nn.BatchNorm2d):
        module.num_features = shape[0]
        for buffer in ("running_mean", "running_var"):
            setattr(module, buffer, torch.empty(shape[0]))
    for name, wanted in (("weight", shape), ("bias", bias)):
        if getattr(module, name, None) is not None:
            setattr(module, name, nn.Parameter(torch.empty(wanted)))
