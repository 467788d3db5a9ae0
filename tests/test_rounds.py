"""A unit of work is one batch, or a round over all of them where they are not alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from tiny import Tiny
from torch import nn

from bench.measurement.serving import load_of
from bench.workloads import Batch


@dataclass(frozen=True)
class Counted(Tiny):
    """Noise whose batches count for as many items as they are told to, and note each pass."""

    counts: Sequence[float] = ()
    passes: list[int] = field(default_factory=list)

    def serving(self, model: nn.Module, batch: Batch) -> tuple[Callable[[], None], float]:
        number = int(batch["pixels"][0, 0, 0, 0])
        return lambda: self.passes.append(number), self.counts[number]


def batches(count: int, sizes: Sequence[int] = (8, 8, 8)) -> list[Batch]:
    return [{"pixels": torch.full((sizes[n], 3, 8, 8), float(n))} for n in range(count)]


@pytest.mark.parametrize(
    ("counts", "sizes", "passes", "items"),
    [
        ((8, 8, 8), (8, 8, 8), [0, 1], 8),
        ((2.5, 2.5, 2.5), (8, 8, 8), [0, 1], 2.5),
        ((2.5, 1.25, 2.5), (8, 8, 8), [0, 1, 2, 0, 1, 2], 6.25),
        ((8, 8, 8), (8, 4, 8), [0, 1, 2, 0, 1, 2], 24),
    ],
)
def test_batches_that_count_alike_are_single_units_and_others_go_in_rounds(
    counts: Sequence[float], sizes: Sequence[int], passes: list[int], items: float
) -> None:
    workload = Counted(counts=counts)
    given = batches(3, sizes)
    load = load_of(workload, nn.Identity(), given, given[0])
    load.run(2)
    assert workload.passes == passes
    assert load.batch_items == pytest.approx(items)
    load.request()
    assert workload.passes[-1] == 0
