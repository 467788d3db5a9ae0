"""A model as it is called in windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from bench.measurement import Gauge
from bench.measurement.session import Load
from bench.runtime import Runtime
from bench.workloads import Batch, Workload


def first_call(
    runtime: Runtime, model: nn.Module, call: Callable[[nn.Module], object], gauge: Gauge
) -> nn.Module:
    """Return what is called to serve; if the runtime compiles, that is charged to ``compile``.

    Args:
        runtime: Compiles, or not.
        model: In its place.
        call: Calls the model as it will be called. Its inputs are made outside inference mode,
            here and in windows: a tensor made inside it is of another kind, for which the model
            would be compiled once more.
        gauge: Measures the call.
    """
    served = runtime.compile(model)
    if served is not model:
        with gauge.span("compile"), torch.inference_mode():
            call(served)
    return served


def load_of(
    workload: Workload, served: nn.Module, batches: Sequence[Batch], request: Batch
) -> Load:
    """Return the work of an arm: passes over inputs that lie ready on the device.

    Where batches differ in shape or in items, as texts do in length, a unit of work is one round
    over all of them: else the slower arm would spend its windows on the first few, the faster one
    on all.

    Args:
        workload: Says what a pass is and how many items it counts for.
        served: The model as it is called.
        batches: What a window goes through in turn.
        request: A batch of one.
    """
    shapes = {tuple((name, t.shape) for name, t in batch.items()) for batch in batches}
    with torch.inference_mode():
        passes = [workload.serving(served, batch) for batch in batches]
        answer, _ = workload.serving(served, request)
    alike = len(shapes) == 1 and len({items for _, items in passes}) == 1
    round_of = 1 if alike else len(batches)

    def run(count: int) -> None:
        with torch.inference_mode():
            for index in range(count * round_of):
                passes[index % len(passes)][0]()

    def ask() -> None:
        with torch.inference_mode():
            answer()

    return Load(run, sum(items for _, items in passes[:round_of]), ask)
