"""Heads and neurons alike: how much each matters, which of them go, and their removal."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch_pruning as tp
from torch import Tensor, nn

from bench.techniques import Setting, Technique, TechniqueError, Terms, fine_tuning
from bench.techniques.encoder_pruning import blocks_of
from bench.techniques.encoder_pruning.importance import Group, magnitude, taylor
from bench.techniques.reshaping import reshape
from bench.workloads import Workload
from bench.workloads.language.anatomy import Block

IMPORTANCE = ("taylor", "magnitude", "random")


@dataclass(frozen=True)
class UnitPruning(Technique, abc.ABC):
    """Remove the units of an encoder that matter least; what they are says a subclass.

    Rows and columns of the linear layers are gone afterwards: no mask, no index, and less to
    compute on any hardware.

    Attributes:
        ratio: Fraction of the units removed, in (0, 1), to the nearest whole one.
        importance: ``taylor``: first-order change of the loss without the unit, over training
            examples; ``magnitude``: L2 norm of the weights that go with it; ``random``. The last
            two are controls.
        scope: ``layer`` removes the fraction in every layer, ``global`` wherever units matter
            least, importances divided by the L2 norm of their layer's.
        calibration: Training examples, drawn by the seed, that ``taylor`` looks at.
        epochs: Passes of fine-tuning afterwards, charged to the technique; 0 for none.
        learning_rate: Peak of the fine-tuning; ``None`` takes the baseline's.
    """

    ratio: float
    importance: Literal["taylor", "magnitude", "random"]
    scope: Literal["layer", "global"]
    calibration: int
    epochs: float
    learning_rate: float | None

    unit: ClassVar[str]
    """What is removed, in the singular."""

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        if not 0 < self.ratio < 1:
            raise ValueError(
                f"technique.ratio must be in (0, 1), got {self.ratio}: it is the fraction of "
                f"{self.unit}s removed, so 50 % is 0.5 and 1.0 would leave no model"
            )
        if self.importance not in IMPORTANCE:
            raise ValueError(
                f"technique.importance is {self.importance!r}: one of {', '.join(IMPORTANCE)}"
            )
        if self.scope not in ("layer", "global"):
            raise ValueError(f"technique.scope is {self.scope!r}: layer or global")
        if self.calibration < 1:
            raise ValueError(
                f"technique.calibration is {self.calibration}: at least one example to measure "
                f"importance on"
            )
        fine_tuning.require_possible(self.epochs, self.learning_rate)

    @property
    def label(self) -> str:
        """Name, ratio, and the importance where it is a control."""
        control = "" if self.importance == "taylor" else f" ({self.importance})"
        return f"{self.name} {self.ratio:g}{control}"

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """Fine-tuning."""
        return fine_tuning.recipe(self.epochs, self.learning_rate)

    @property
    def multiple(self) -> int:
        """Units that remain in a layer are a multiple of this."""
        return 1

    @abc.abstractmethod
    def group(self, block: Block) -> Group:
        """Return the linear layers of a block that the units are cut out of."""

    def require(self, terms: Terms) -> None:
        """Refuse models that are no encoders, and amounts that leave nothing or everything."""
        groups = self._groups(terms.workload.build(seed=0))
        self._refuse_impossible([group.units for group in groups])

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model with its units removed.

        Raises:
            TechniqueError: It is no encoder, or the amount leaves nothing or everything.
        """
        groups = self._groups(model)
        self._refuse_impossible([group.units for group in groups])
        kept = self.kept(self._scores(model, groups, setting))
        for group, of_layer in zip(groups, kept, strict=True):
            _keep(group, of_layer)
        return model

    def restore(
        self, model: nn.Module, tensors: Mapping[str, Tensor], workload: Workload
    ) -> nn.Module:
        """Return the model with every layer as wide as its saved weight."""
        return reshape(model, tensors)

    def _groups(self, model: nn.Module) -> list[Group]:
        return [self.group(block) for block in blocks_of(model, self.name)]

    def _refuse_impossible(self, units: Sequence[int]) -> None:
        """Refuse what leaves a layer without units, or every layer with all of its own.

        Args:
            units: Of each layer.
        """
        if min(units) < self.multiple:
            raise TechniqueError(
                f"technique.round_to={self.multiple} is more than the {min(units)} {self.unit}s of "
                f"a layer: lower it"
            )
        if self.scope == "layer":
            amounts = [(there, self.multiple) for there in units]
        else:
            amounts = [(sum(units), self.multiple * len(units))]
        for there, least in amounts:
            if there - (gone := round(self.ratio * there)) < least:
                raise TechniqueError(
                    f"technique.ratio={self.ratio} would remove {gone} of {there} {self.unit}s, "
                    f"and {least} must stay, {self.multiple} in each layer: lower it"
                )
        if not any(round(self.ratio * there) for there, _ in amounts):
            raise TechniqueError(
                f"technique.ratio={self.ratio} removes no {self.unit}: there are "
                f"{amounts[0][0]}{' in a layer' if self.scope == 'layer' else ''}; raise it"
            )

    def _scores(self, model: nn.Module, groups: Sequence[Group], setting: Setting) -> list[Tensor]:
        """Return how much each unit matters, one tensor a layer."""
        if self.importance == "taylor":
            return taylor(model, groups, setting, self.calibration)
        if self.importance == "magnitude":
            return [magnitude(group) for group in groups]
        drawn = torch.Generator().manual_seed(setting.seed)
        return [torch.rand(group.units, generator=drawn) for group in groups]

    def kept(self, scores: Sequence[Tensor]) -> list[Tensor]:
        """Return which units stay: a tensor of ascending numbers for each layer.

        Args:
            scores: How much each unit matters, a tensor for each layer.
        """
        if self.scope == "layer":
            gone = [round(self.ratio * len(of_layer)) for of_layer in scores]
        else:
            gone = self._spread(scores)
        left = [len(of_layer) - count for of_layer, count in zip(scores, gone, strict=True)]
        return [
            of_layer.topk(count - count % self.multiple).indices.sort().values
            for of_layer, count in zip(scores, left, strict=True)
        ]

    def _spread(self, scores: Sequence[Tensor]) -> list[int]:
        """Return how many units each layer loses when those go that matter least of all."""
        ranked = []
        for of_layer in scores:
            normal = of_layer / of_layer.norm().clamp(min=torch.finfo(of_layer.dtype).tiny)
            normal[normal.topk(self.multiple).indices] = torch.inf  # these stay, come what may
            ranked.append(normal)
        every = torch.cat(ranked)
        goes = torch.zeros(len(every), dtype=torch.bool)
        goes[every.topk(round(self.ratio * len(every)), largest=False).indices] = True
        return [int(part.sum()) for part in goes.split([len(of_layer) for of_layer in scores])]


def _keep(group: Group, kept: Tensor) -> None:
    """Cut all units but these out of the linear layers."""
    goes = torch.ones(group.units, dtype=torch.bool)
    goes[kept] = False
    features = goes.repeat_interleave(group.size).nonzero().flatten().tolist()
    for giver in group.givers:
        tp.prune_linear_out_channels(giver, features)
    tp.prune_linear_in_channels(group.taker, features)
