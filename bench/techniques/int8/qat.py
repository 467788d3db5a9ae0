"""Integers in training: fine-tuned with simulated quantization, then converted for real."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import Tensor, nn
from torch.fx import GraphModule

from bench.techniques import Setting, Technique, Terms, fine_tuning
from bench.techniques.int8 import graph
from bench.techniques.int8.static import require_integers
from bench.workloads import Workload


@dataclass(frozen=True)
class Int8Aware(Technique):
    """Quantization-aware training: the loss sees rounded weights and activations.

    Source: Jacob et al. (2018), arXiv:1712.05877, section 3.

    Attributes:
        epochs: Passes of fine-tuning, charged to the technique.
        learning_rate: Peak of the fine-tuning; ``None`` takes the baseline's.
    """

    epochs: float
    learning_rate: float | None

    ends_chain: ClassVar[str] = "its exported graph of integers is neither trained nor changed"
    kernels: ClassVar[tuple[str, ...]] = ("qconv", "qlinear", "int8")

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        fine_tuning.require_possible(self.epochs, self.learning_rate)
        if self.epochs == 0:
            raise ValueError(
                "technique.epochs is 0: rounding is trained for; technique=int8_static needs none"
            )

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """Fine-tuning in fp32: rounding to integers and to bf16 at once is another technique."""
        return fine_tuning.recipe(self.epochs, self.learning_rate, {"precision": "fp32"})

    def require(self, terms: Terms) -> None:
        """Refuse to serve the graph eagerly, or on a GPU, and to undo what was learnt."""
        fine_tuning.require_gentle(self.epochs, self.learning_rate, terms)
        require_integers(self.name, terms)

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the graph that rounds as it is trained."""
        return graph.prepared(setting.workload, model.requires_grad_(True).train(), trained=True)

    def convert(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the graph with integer weights."""
        shapes = {k.removeprefix("model."): v for k, v in graph.shapes_of(model).items()}
        return graph.converted(cast("GraphModule", model), shapes)

    def pack(self, model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the graph's tensors, scales and shapes."""
        return graph.packed(model, tensors)

    def restore(
        self, model: nn.Module, tensors: Mapping[str, Tensor], workload: Workload
    ) -> nn.Module:
        """Return the graph of a fresh model, converted with the saved scales."""
        rounding = graph.prepared(workload, model.train(), trained=True)
        rounding.eval()
        return graph.restored(rounding, tensors)

    def unpack(self, model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the graph's own tensors."""
        return graph.unpacked(tensors)
