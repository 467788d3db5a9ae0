"""Integers after training: calibrated on a few training examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from bench.techniques import Setting, Technique, TechniqueError, Terms
from bench.techniques.int8 import graph
from bench.workloads import Workload


@dataclass(frozen=True)
class Int8Static(Technique):
    """Weights and activations in 8-bit integers, with scales fixed on training examples.

    Attributes:
        batches: Calibration batches, drawn by the seed from the training split, not augmented.
        batch_size: Examples in each; 32 x 32 images is torchvision's recipe
            (references/classification).
    """

    batches: int
    batch_size: int

    ends_chain: ClassVar[str] = "its exported graph of integers is neither trained nor changed"
    kernels: ClassVar[tuple[str, ...]] = ("qconv", "qlinear", "int8")

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        for key in ("batches", "batch_size"):
            if (value := getattr(self, key)) < 1:
                raise ValueError(f"technique.{key} is {value}: at least one to calibrate on")

    def require(self, terms: Terms) -> None:
        """Refuse to serve the graph eagerly, or on a GPU."""
        require_integers(self.name, terms)

    def convert(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the calibrated graph with integer weights."""
        prepared = graph.prepared(setting.workload, model, trained=False)
        drawn = setting.drawn(self.batches * self.batch_size, self.batch_size)
        graph.calibrate(prepared, setting.workload, drawn)
        return graph.converted(prepared, graph.shapes_of(model))

    def pack(self, model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the graph's tensors, scales and shapes."""
        return graph.packed(model, tensors)

    def restore(
        self, model: nn.Module, tensors: Mapping[str, Tensor], workload: Workload
    ) -> nn.Module:
        """Return the graph of a fresh model, converted with the saved scales."""
        return graph.restored(graph.prepared(workload, model.eval(), trained=False), tensors)

    def unpack(self, model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the graph's own tensors."""
        return graph.unpacked(tensors)


def require_integers(name: str, terms: Terms) -> None:
    """Refuse what would only simulate integers, and what is no graph.

    Raises:
        TechniqueError: The runtime is eager, or the device a GPU.
        WorkloadError: The model cannot be exported as one graph.
    """
    terms.workload.require("export")
    if terms.device.type != "cpu":
        raise TechniqueError(
            f"technique={name} has kernels for x86 CPUs only: runtime.device=cpu, or "
            f"technique=fp16 for a GPU"
        )
    if terms.mode != "compile":
        raise TechniqueError(
            f"technique={name} with runtime={terms.mode} would only simulate integers, at twice "
            f"the cost of fp32: take runtime=compile, for both arms"
        )
