"""Whole channels physically removed, then fine-tuned."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.techniques import Setting, Technique, TechniqueError, Terms, fine_tuning
from bench.techniques.reshaping import reshape
from bench.workloads import Batch, Workload

IMPORTANCE = {
    "magnitude": lambda: tp.importance.GroupMagnitudeImportance(p=2, group_reduction="first"),
    "group_norm": lambda: tp.importance.GroupMagnitudeImportance(p=2, group_reduction="mean"),
    "bn_scale": tp.importance.BNScaleImportance,
    "taylor": tp.importance.GroupTaylorImportance,
    "random": tp.importance.RandomImportance,
}


_RATIO_STEP = 0.005
_LOOKED_AT = 64
"""Training examples whose loss ``taylor`` follows."""


@dataclass(frozen=True)
class StructuredPruning(Technique):
    """Remove the least important channels of every layer, with all that depends on them.

    Layers whose channels must go together are found by tracing the network, so that what remains
    is a smaller dense network: no mask, no index, faster on any hardware. The layer that gives the
    outputs is kept whole, and so is what the workload does not offer. Source: Fang et al. (2023),
    DepGraph, CVPR, arXiv:2301.12900, as implemented in Torch-Pruning; Molchanov et al. (2019),
    arXiv:1906.10771, for ``taylor``.

    Attributes:
        ratio: Fraction of the channels removed, in (0, 1). Multiply-accumulates fall to about
            ``(1 - ratio) ** 2``. ``None`` finds the fraction that meets ``macs``.
        macs: Fraction of the multiply-accumulates that may remain, in (0, 1); ``None`` where
            ``ratio`` is given.
        importance: ``magnitude`` (L2 norm of a channel's own kernel), ``group_norm`` (mean over all
            kernels that go with it), ``bn_scale`` (its normalisation scale), ``taylor``
            (first-order change of the loss on 64 training examples, drawn by the seed), ``random``
            (a control).
        scope: ``layer`` removes the fraction in every layer, ``global`` wherever it matters least.
        iterations: Rounds of pruning, each followed by its share of the fine-tuning; 1 prunes at
            once.
        round_to: Channels that remain are a multiple of this, since kernels like whole vectors.
        epochs: Passes of fine-tuning afterwards, charged to the technique; 0 for none.
        learning_rate: Peak of the fine-tuning; ``None`` takes the baseline's.
    """

    ratio: float | None
    macs: float | None
    importance: Literal["magnitude", "group_norm", "bn_scale", "taylor", "random"]
    scope: Literal["layer", "global"]
    iterations: int
    round_to: int
    epochs: float
    learning_rate: float | None

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        if (self.ratio is None) == (self.macs is None):
            raise ValueError(
                f"technique.ratio={self.ratio} and technique.macs={self.macs}: one of them says "
                f"how much to prune, the other is null"
            )
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise ValueError(
                f"technique.ratio must be in (0, 1), got {self.ratio}: it is the fraction of "
                f"channels removed, so 50 % is 0.5 and 1.0 would leave no model"
            )
        if self.macs is not None and not 0 < self.macs < 1:
            raise ValueError(
                f"technique.macs must be in (0, 1), got {self.macs}: it is the fraction of "
                f"multiply-accumulates that may remain"
            )
        if self.iterations < 1 or (self.iterations > 1 and self.ratio is None):
            raise ValueError(
                f"technique.iterations is {self.iterations}: at least 1, and more only with "
                f"technique.ratio"
            )
        if self.importance not in IMPORTANCE:
            raise ValueError(
                f"technique.importance is {self.importance!r}: one of {', '.join(IMPORTANCE)}"
            )
        if self.scope not in ("layer", "global"):
            raise ValueError(f"technique.scope is {self.scope!r}: layer or global")
        if self.round_to < 1:
            raise ValueError(f"technique.round_to is {self.round_to}: at least 1")
        fine_tuning.require_possible(self.epochs, self.learning_rate)

    @property
    def label(self) -> str:
        """Name and how much is removed."""
        amount = f"{self.ratio:g}" if self.ratio is not None else f"to {self.macs:g} MACs"
        return f"{self.name} {amount}"

    @property
    def stages(self) -> tuple[Technique, ...]:
        """One stage a round, each removing the same share of what is left."""
        if self.iterations == 1 or self.ratio is None:
            return (self,)
        share = 1 - (1 - self.ratio) ** (1 / self.iterations)
        epochs = self.epochs / self.iterations
        return (replace(self, ratio=share, epochs=epochs, iterations=1),) * self.iterations

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """Fine-tuning: fewer epochs at a lower rate."""
        return fine_tuning.recipe(self.epochs, self.learning_rate)

    def require(self, terms: Terms) -> None:
        """Refuse networks without convolutions: heads of attention would lose some features."""
        fine_tuning.require_gentle(self.epochs, self.learning_rate, terms)
        if self.importance == "taylor":  # which takes the loss's gradients
            terms.workload.require_trainable("technique.importance=taylor")
        if terms.workload.prunable(terms.workload.build(seed=0)) is None:
            raise TechniqueError(
                f"technique=structured_pruning removes channels of convolutions, and "
                f"{terms.workload.name} has none: technique=head_pruning_ffn_pruning removes whole "
                f"heads and neurons of encoders"
            )

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model with its channels removed.

        Raises:
            TechniqueError: Nothing could be removed, as in a network narrower than ``round_to``.
        """
        before = _parameters(model)
        if self.ratio is not None:
            pruned = self._without(model, setting, self.ratio)
        else:
            pruned = self._down_to(model, setting, self.macs or 1.0)
        if _parameters(pruned) == before:
            raise TechniqueError(
                f"technique.ratio={self.ratio} removed no channel: with technique.round_to="
                f"{self.round_to} every layer stays as it is"
            )
        return pruned

    def _down_to(self, model: nn.Module, setting: Setting, left: float) -> nn.Module:
        """Return the model pruned by the smallest ratio that leaves so few operations."""
        batch = next(setting.drawn(1, 1))
        most = left * _macs(model, setting, batch)
        low, high = 0.0, 0.99
        while high - low > _RATIO_STEP:
            ratio = (low + high) / 2
            tried = self._without(copy.deepcopy(model), setting, ratio)
            low, high = (low, ratio) if _macs(tried, setting, batch) <= most else (ratio, high)
        pruned = self._without(model, setting, high)
        if _macs(pruned, setting, batch) > most:
            raise TechniqueError(
                f"technique.macs={self.macs} cannot be reached: with technique.round_to="
                f"{self.round_to} a narrower network is not left"
            )
        return pruned

    def _without(self, model: nn.Module, setting: Setting, ratio: float) -> nn.Module:
        torch.manual_seed(setting.seed)
        count = 2 if self.importance != "taylor" else _LOOKED_AT
        batch = next(setting.drawn(count, count))
        # Tracing needs gradients; Taylor needs their values.
        model.requires_grad_(True).eval()
        if self.importance == "taylor":
            outputs = setting.workload.forward(model, batch)
            setting.workload.loss(outputs, batch, smoothing=0.0).backward()
        offered = setting.workload.prunable(model)
        assert offered is not None  # or require() has refused
        part, last = offered
        pruner = tp.pruner.BasePruner(
            part,
            example_inputs=_called_with(part, model, batch, setting.workload),
            forward_fn=lambda traced, given: traced(*given[0], **given[1]),
            importance=IMPORTANCE[self.importance](),
            global_pruning=self.scope == "global",
            pruning_ratio=ratio,
            ignored_layers=[last],
            round_to=self.round_to,
        )
        pruner.step()
        model.zero_grad(set_to_none=True)
        return model

    def restore(
        self, model: nn.Module, tensors: Mapping[str, Tensor], workload: Workload
    ) -> nn.Module:
        """Return the model with every layer as wide as its saved weight."""
        return reshape(model, tensors)


def _called_with(
    part: nn.Module, model: nn.Module, batch: Batch, workload: Workload
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what a part of a model is called with for a batch, cut off from what made it."""
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def look(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append((inputs, named))

    handle = part.register_forward_pre_hook(look, with_kwargs=True)
    try:
        with torch.no_grad():
            workload.forward(model, batch)
    finally:
        handle.remove()
    return seen[0]


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _macs(model: nn.Module, setting: Setting, batch: Batch) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        setting.workload.forward(model, batch)
    return int(counter.get_total_flops()) // 2
