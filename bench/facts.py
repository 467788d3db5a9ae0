"""What a model is, seen from outside: size, work, kernels, and whether it only pretends."""

from __future__ import annotations

import resource
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.sparse import SparseSemiStructuredTensor
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from bench.runtime import Runtime
from bench.workloads import Batch, Workload, first_of

PROBE_EXAMPLES = 4
"""Test examples whose outputs are kept with an artefact, to check that it reloads exactly. More
than one: what libraries answer to a single one may be up to where the weights lie in memory."""

SIMULATIONS = ("FakeQuantize", "FakeQuantized", "Observer", "ParametrizationList")
"""Parts of class names of modules that simulate compression instead of doing it."""


def probe_batch(workload: Workload) -> Batch:
    """Return the first test examples: what a fresh process must answer as the maker did.

    They are the same at every ``batch_size``: an artefact may be served at several.
    """
    examples = workload.test_examples()
    return examples.__getitems__(first_of(examples, min(PROBE_EXAMPLES, len(examples))))


def probe(workload: Workload, runtime: Runtime, model: nn.Module, batch: Batch) -> Tensor:
    """Return the outputs for a batch, computed eagerly in the model's dtype.

    Of outputs for each token only the predictions: a vocabulary is too wide to be kept.
    """
    placed = runtime.place(model)
    inputs = runtime.inputs(batch, placed)
    with torch.inference_mode():
        outputs = workload.forward(placed, inputs)
        return (outputs if outputs.dim() < 3 else workload.predict(outputs, inputs)).cpu()


@register_flop_formula(torch.ops.aten._int_mm)
def _of_integers(rows: Sequence[int], columns: Sequence[int], *_: Any, **__: Any) -> int:
    """Return operations of a product of matrices in 8-bit integers, which torch does not count."""
    return 2 * rows[0] * rows[1] * columns[1]


def macs(workload: Workload, runtime: Runtime, model: nn.Module, batch: Batch) -> int:
    """Return multiply-accumulates of one forward pass of one example.

    Half of what torch's flop counter finds, which counts a multiply-accumulate as two: convolutions
    and matrix products, not activations or normalisation.
    """
    one = {name: value[:1] for name, value in batch.items()}
    with FlopCounterMode(display=False) as counter:
        probe(workload, runtime, model, one)
    return int(counter.get_total_flops()) // 2


def parameters(model: nn.Module) -> int:
    """Return the number of parameters, integer weights that stand in for some included."""
    return sum(weights.numel() for weights in _weights(model))


def nonzero_parameters(model: nn.Module) -> int:
    """Return the number of those that are not 0."""
    return sum(int(_opened(weights).count_nonzero()) for weights in _weights(model))


def _opened(weights: Tensor) -> Tensor:
    """Return packed weights as numbers; they can be multiplied, not counted."""
    if isinstance(weights, SparseSemiStructuredTensor):
        dense: Tensor = weights.to_dense()  # type: ignore[no-untyped-call]
        return dense
    return weights.dequantize() if hasattr(weights, "__tensor_flatten__") else weights


def trained_parameters(model: nn.Module) -> int:
    """Return the number of parameters that are trained."""
    return sum(weights.numel() for weights in model.parameters() if weights.requires_grad)


def adapter_bytes(model: nn.Module) -> int | None:
    """Return the size of a file of all that is trained; ``None`` where nothing stays as it is."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if len(trained) == len(list(model.parameters())):
        return None
    return len(save({name: p.detach().cpu().contiguous() for name, p in trained.items()}))


def _weights(model: nn.Module) -> list[Tensor]:
    integers = [buffer for buffer in model.buffers() if buffer.dtype == torch.int8]
    packed = [
        buffer
        for name, buffer in model.named_buffers()
        if buffer.dtype == torch.uint8 and name.endswith("weight")
    ]
    # Two weights of 4 bits a byte, of which 7 stands for 0 (bench.techniques.adapters.nf4).
    halves = [torch.cat([weights >> 4, weights & 15]) - 7 for weights in packed]
    return [*model.parameters(), *integers, *halves]


def input_shapes(batch: Batch) -> dict[str, tuple[int, ...]]:
    """Return the shape of one example by input, labels left out."""
    return {name: tuple(t.shape[1:]) for name, t in batch.items() if name != "labels"}


def simulations(model: nn.Module) -> tuple[str, ...]:
    """Return names of masks, parametrizations and fake-quantize modules still in the model."""
    modules = [
        f"{name} ({type(module).__name__})"
        for name, module in model.named_modules()
        if any(kind in type(module).__name__ for kind in SIMULATIONS)
    ]
    tensors = [name for name in model.state_dict() if name.endswith(("_mask", "_orig"))]
    return tuple(modules + tensors)


def kernels(
    workload: Workload, runtime: Runtime, model: nn.Module, batch: Batch, most: int = 6
) -> tuple[str, ...]:
    """Return the operators of one batch that take the longest, each with its first input's dtype.

    Only operators that do work themselves are listed; ``aten::conv2d`` that calls the kernel
    below it is not.
    """
    activities = [ProfilerActivity.CPU]
    if runtime.torch_device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    inputs = runtime.inputs(batch, model)
    with torch.inference_mode(), profile(activities=activities, record_shapes=True) as profiler:
        workload.forward(model, inputs)
        runtime.synchronise()
    dtypes = {
        event.name(): next((d for d in event.dtypes() if d and not d.startswith("Scalar")), "")
        for event in profiler.profiler.kineto_results.events()
    }
    times: Counter[str] = Counter()
    for event in profiler.key_averages():
        times[event.key] += event.self_cpu_time_total + event.self_device_time_total
    longest = [name for name, spent in times.most_common(most) if spent > 0]
    return tuple(f"{name} [{dtypes[name]}]" if dtypes.get(name) else name for name in longest)


def peak_memory_bytes(runtime: Runtime) -> int | None:
    """Return the peak so far: allocated on the GPU, else resident of this process.

    ``None`` where the platform does not tell.
    """
    if runtime.torch_device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    unit_bytes = {"linux": 1024, "darwin": 1}.get(sys.platform)  # of ru_maxrss, by getrusage(2)
    return unit_bytes and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
