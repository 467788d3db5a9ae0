"""Exported graphs: how one is prepared, fixed to known scales, and saved as plain tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torchao.quantization.pt2e import allow_exported_model_train_eval
from torchao.quantization.pt2e.quantize_pt2e import (
    convert_pt2e,
    prepare_pt2e,
    prepare_qat_pt2e,
)
from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)

from bench.techniques import SHAPE
from bench.workloads import Batch, Workload

SCALES = "int8_observer."
"""Prefix of the saved scales and zero points, one pair per place that is quantized."""


@dataclass(frozen=True)
class _Fixed:
    """An observer's answer, as it was when the artefact was made."""

    scale: Tensor
    zero_point: Tensor

    def __call__(self) -> tuple[Tensor, Tensor]:
        return self.scale, self.zero_point


def prepared(workload: Workload, model: nn.Module, trained: bool) -> GraphModule:
    """Return the model's graph with an observer wherever it will be quantized.

    Args:
        workload: Says how the model is called.
        model: In evaluation mode, or in training mode for quantization-aware training.
        trained: Whether the graph is to be trained with simulated quantization.
    """
    quantizer = X86InductorQuantizer()
    quantizer.set_global(get_default_x86_inductor_quantization_config(is_qat=trained))
    graph = _exported(workload, model)
    graph = (prepare_qat_pt2e if trained else prepare_pt2e)(graph, quantizer)
    return allow_exported_model_train_eval(graph)


def converted(graph: GraphModule, shapes: Mapping[str, torch.Size]) -> GraphModule:
    """Return the graph with integer weights; it keeps its scales, and the shapes it came from."""
    scales = {SHAPE + name: torch.tensor(shape) for name, shape in shapes.items()}
    for name, observer in _observers(graph):
        scale, zero_point = observer.calculate_qparams()
        scales[f"{SCALES}{name}.scale"] = scale
        scales[f"{SCALES}{name}.zero_point"] = zero_point
    integers = _pruned(convert_pt2e(graph))
    integers.meta[SCALES] = scales
    return integers


def packed(graph: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors to save: the graph's own, its scales, and shapes."""
    return {**tensors, **graph.meta[SCALES]}  # type: ignore[dict-item, index]


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the saved tensors without scales, which are constants of the graph, and shapes."""
    return {k: v for k, v in tensors.items() if not k.startswith((SCALES, SHAPE))}


def shapes_of(model: nn.Module) -> dict[str, torch.Size]:
    """Return the shapes of a model's parameters by name."""
    return {name: parameter.shape for name, parameter in model.named_parameters()}


def restored(graph: GraphModule, tensors: Mapping[str, Tensor]) -> GraphModule:
    """Return a prepared graph converted with saved scales; its weights are loaded afterwards."""
    for name, observer in _observers(graph):
        observer.calculate_qparams = _Fixed(
            tensors[f"{SCALES}{name}.scale"], tensors[f"{SCALES}{name}.zero_point"]
        )
    return _pruned(convert_pt2e(graph))


def _observers(graph: GraphModule) -> list[tuple[str, Any]]:
    found = [(n, m) for n, m in graph.named_modules() if hasattr(m, "calculate_qparams")]
    return [(n, m) for n, m in found if not any(n.startswith(f"{other}.") for other, _ in found)]


def _exported(workload: Workload, model: nn.Module) -> GraphModule:
    """Return the model as a graph that takes any number of examples, as the workload calls it."""
    batch = workload.plain_train_examples().__getitems__(range(2))
    device = next(model.parameters()).device
    recorder = _Recorder(model)
    workload.forward(recorder, {name: value.to(device) for name, value in batch.items()})
    any_number = {0: torch.export.Dim.AUTO}
    shapes = (
        tuple(any_number for _ in recorder.args),
        {name: any_number for name in recorder.kwargs},
    )
    program = torch.export.export(
        model,
        recorder.args,
        recorder.kwargs,
        dynamic_shapes=shapes[0] if not recorder.kwargs else {**shapes[1]},
    )
    graph = program.module(check_guards=False)
    return allow_exported_model_train_eval(graph)


class _Recorder(nn.Module):
    """Keeps what a model was called with."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.args, self.kwargs = args, kwargs
        with torch.no_grad():
            return self.model(*args, **kwargs)


def _pruned(graph: GraphModule) -> GraphModule:
    """Drop the floating-point weights that no node of the graph uses any more."""
    used = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    for name in [*dict(graph.named_parameters()), *dict(graph.named_buffers())]:
        if name not in used:
            holder, _, attribute = name.rpartition(".")
            delattr(graph.get_submodule(holder), attribute)
    return allow_exported_model_train_eval(graph)


def calibrate(graph: GraphModule, workload: Workload, batches: Iterable[Batch]) -> None:
    """Let the observers see batches."""
    with torch.no_grad():
        for batch in batches:
            workload.forward(graph, batch)
