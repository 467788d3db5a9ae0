"""Few new weights beside many that stay as they were, through peft."""

from __future__ import annotations

import abc
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from peft import PeftConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer, cast_adapter_dtype
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from bench.techniques import Setting, Technique, TechniqueError, Terms
from bench.workloads import Workload

ALL_LINEAR = "all-linear"
"""peft's word for every linear layer but the one that makes words."""

_NAME = "default"
"""Of the adapter: peft can hold several."""


@dataclass(frozen=True)
class Adapter(Technique, abc.ABC):
    """A fine-tune that starts where the baseline started and trains adapters instead of weights.

    A classifier that is not part of the pretrained model has random weights, and is trained whole.

    Attributes:
        targets: Layers that get an adapter, by name or the end of it; ``all-linear`` is every
            linear layer but the last one; ``None`` is what peft takes for the architecture.
        epochs: Passes over the training split, charged to the technique; ``None`` takes as many as
            the baseline.
        learning_rate: Peak; ``None`` takes the baseline's.
        merged: Whether adapters are added to the weights before serving, so that the model is an
            ordinary one. Else the artefact holds both, and both are computed at every call.
    """

    targets: Sequence[str] | Literal["all-linear"] | None
    epochs: float | None
    learning_rate: float | None
    merged: bool

    begins_chain: ClassVar[str] = "it trains from initial weights, so that work would be lost"
    begins_anew: ClassVar[bool] = True
    shrinks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        for key in ("epochs", "learning_rate"):
            if (value := getattr(self, key)) is not None and value <= 0:
                raise ValueError(f"technique.{key} is {value}: above 0, or null for the baseline's")
        if isinstance(self.targets, str) and self.targets != ALL_LINEAR:
            raise ValueError(
                f"technique.targets is {self.targets!r}: a list of layers such as [query, value], "
                f"{ALL_LINEAR}, or null for what suits the architecture"
            )

    @property
    def ends_chain(self) -> str:  # type: ignore[override]
        """Why no stage can follow adapters that are not merged."""
        return "" if self.merged else "its adapters lie beside the weights that it would change"

    @property
    def label(self) -> str:
        """Name, and the knobs that tell two of them apart."""
        targets = [self.targets] if isinstance(self.targets, str) else self.targets or ()
        served = "" if self.merged else "unmerged"
        return ", ".join(part for part in (self.sized, " ".join(targets), served) if part)

    @property
    def sized(self) -> str:
        """Name, and how large the adapters are where that can be chosen."""
        return self.name

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The baseline's, where nothing else is said."""
        asked = {"epochs": self.epochs, "learning_rate": self.learning_rate}
        return {key: value for key, value in asked.items() if value is not None}

    @abc.abstractmethod
    def config(self, model: nn.Module) -> PeftConfig:
        """Return what peft is asked for, given the model that adapters are put into."""

    def require(self, terms: Terms) -> None:
        """Refuse models that have no such layers, and a training of no epochs."""
        self.require_training(
            terms,
            "trains for as many epochs as the baseline, and training.epochs=0: technique.epochs=3 "
            "trains for three",
        )
        self.adapted(terms.workload.build(seed=0))

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the initial model with adapters to train beside weights that are kept."""
        device = setting.device
        fresh = self.kept(setting.workload.build(setting.seed), device).to(device)
        torch.manual_seed(setting.seed)  # half of an adapter is random at first
        return self.adapted(fresh)

    def convert(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model with its adapters merged, if they are to be."""
        return with_merged(model) if self.merged else model

    def restore(
        self, model: nn.Module, tensors: Mapping[str, Tensor], workload: Workload
    ) -> nn.Module:
        """Return a fresh model with adapters, if they were not merged."""
        return model if self.merged else self.adapted(self.shaped(model))

    def kept(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model with its weights as they are kept beside the adapters.

        Args:
            model: With its initial weights, on the CPU.
            device: Where it will be trained.
        """
        return model

    def shaped(self, model: nn.Module) -> nn.Module:
        """Return a fresh model into which weights can be loaded as ``kept`` leaves them."""
        return model

    def adapted(self, model: nn.Module) -> nn.Module:
        """Return the model with adapters; of all it has only these and classifiers are trained.

        Raises:
            TechniqueError: It has no such layers, or they are not linear.
        """
        try:
            model = inject_adapter_in_model(self.config(model), model, _NAME)
        except ValueError as err:
            raise TechniqueError(
                f"technique={self.name} finds no layers of technique.targets={self.targets} in "
                f"{type(model).__name__} ({str(err).rstrip('.')}): {ALL_LINEAR} takes every linear "
                f"layer, a list such as [query, value] names some"
            ) from err
        for name, layer in adapters(model):
            if not isinstance(layer.get_base_layer(), nn.Linear | Conv1D):
                raise TechniqueError(
                    f"technique.targets={self.targets}: {name} is no linear layer, but "
                    f"{type(layer.get_base_layer()).__name__}"
                )
        cast_adapter_dtype(model, _NAME)  # beside weights in 16 bits, too, they are trained in 32
        for head in heads(model):
            head.requires_grad_(True)
        return model


def adapters(model: nn.Module) -> list[tuple[str, BaseTunerLayer]]:
    """Return the layers that have an adapter, with their names."""
    return [(n, layer) for n, layer in model.named_modules() if isinstance(layer, BaseTunerLayer)]


def with_merged(model: nn.Module) -> nn.Module:
    """Return the model with adapters added to its weights: an ordinary one, to train as well."""
    for name, layer in adapters(model):
        layer.merge(safe_merge=True)  # refuses what is no number
        model.set_submodule(name, layer.get_base_layer())
    model.__dict__.pop("peft_config", None)
    return model.requires_grad_(True)


def heads(model: nn.Module) -> list[nn.Module]:
    """Return what stands beside the pretrained part and makes no words: a classifier, say."""
    if not isinstance(model, PreTrainedModel) or model.base_model is model:
        return []
    words = model.get_output_embeddings()
    return [
        child
        for child in model.children()
        if child is not model.base_model and all(part is not words for part in child.modules())
    ]


def not_adapted(model: nn.Module) -> str | None:
    """Return a pattern of the layers that get no adapter, whatever ``targets`` says.

    Classifiers are trained whole. The layer that makes words often has the embeddings' weights, so
    that merging an adapter into it would change both.
    """
    spared = {part for head in heads(model) for part in head.modules()}
    if isinstance(model, PreTrainedModel) and (words := model.get_output_embeddings()) is not None:
        spared.add(words)
    names = [re.escape(name) for name, part in model.named_modules() if part in spared]
    return "|".join(names) or None


def turned(model: nn.Module) -> bool:
    """Return whether linear layers hold their weights the other way round, as GPT-2's do."""
    return any(isinstance(layer, Conv1D) for layer in model.modules())
