"""A model as it is called in windows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bench.measurement import Gauge
from bench.measurement.session import Load
from bench.runtime import Runtime
from bench.workloads import Batch, Workload


def first_call(
    workload: Workload, runtime: Runtime, model: nn.Module, batch: Batch, gauge: Gauge
) -> nn.Module:
    """Return what is called to serve; if the runtime compiles, that is charged to ``compile``.

    Inputs are made outside inference mode, here and in windows: a tensor made inside it is of
    another kind, for which the model would be compiled once more.
    """
    served = runtime.compile(model)
    if served is not model:
        inputs = runtime.inputs(batch, model)
        with gauge.span("compile"), torch.inference_mode():
            workload.forward(served, inputs)
    return served


def load_of(
    workload: Workload, served: nn.Module, batches: Sequence[Batch], request: Batch
) -> Load:
    """Return the work of an arm: forward passes over inputs that lie ready on the device.

    Where batches differ in shape, as texts do in length, a unit of work is one round over all of
    them: else the slower arm would spend its windows on the first few, the faster one on all.

    Args:
        workload: Says how the model is called.
        served: The model as it is called.
        batches: What a window goes through in turn.
        request: A batch of one.
    """
    shapes = {tuple((name, t.shape) for name, t in batch.items()) for batch in batches}
    round_of = 1 if len(shapes) == 1 else len(batches)

    def run(passes: int) -> None:
        with torch.inference_mode():
            for index in range(passes * round_of):
                workload.forward(served, batches[index % len(batches)])

    def ask() -> None:
        with torch.inference_mode():
            workload.forward(served, request)

    return Load(run, workload.batch_size * round_of, ask)
