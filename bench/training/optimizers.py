"""Optimisers, and which weights decay."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from timm.optim.lamb import Lamb
from torch import nn
from torchao.optim import AdamW8bit
from transformers.optimization import Adafactor

from bench.training.recipe import Training

Kind = tuple[type[torch.optim.Optimizer], dict[str, Any]]

_KINDS: Mapping[str, Callable[[Training], Kind]] = {
    "sgd": lambda t: (torch.optim.SGD, {"momentum": t.momentum, "nesterov": t.momentum > 0}),
    "rmsprop": lambda t: (torch.optim.RMSprop, {"momentum": t.momentum}),
    "adam": lambda t: (torch.optim.Adam, {}),
    "adamw": lambda t: (torch.optim.AdamW, {}),
    "adamw_fused": lambda t: (torch.optim.AdamW, {"fused": True}),
    # Weights in bf16 lose updates below half a step; rounded at random, none on average.
    "adamw_8bit": lambda t: (AdamW8bit, {"bf16_stochastic_round": True}),
    "lamb": lambda t: (Lamb, {"max_grad_norm": None}),  # training.clipping says how far
    # torch's own multiplies factors of every 3x3 kernel as matrices: seven times as slow.
    "adafactor": lambda t: (Adafactor, {"relative_step": False}),
}
"""Sources: Sutskever et al. (2013) for Nesterov's momentum; Hinton's lecture 6e for RMSprop; Kingma
and Ba (2015), arXiv:1412.6980; Loshchilov and Hutter (2019), arXiv:1711.05101, for AdamW; Dettmers
et al. (2022), arXiv:2110.02861, for states in 8 bits; You et al. (2020), arXiv:1904.00962, for
LAMB; Shazeer and Stern (2018), arXiv:1804.04235, for Adafactor."""


def optimizer(model: nn.Module, training: Training) -> Kind:
    """Return the class and its arguments, parameters included, as ``Trainer`` takes them."""
    kind, knobs = _KINDS[training.optimizer](training)
    groups = _groups(model, training.decay)
    return kind, {"params": groups, "lr": training.peak, **knobs}


def _groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Decay what has two dimensions or more.

    Left to itself the trainer knows normalisation by its name, and so decays ``bn1.weight``.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
