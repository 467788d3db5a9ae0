"""What a workload says of its model's parts: which may be pruned, and which 16 bits would break."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import EAGER, Net, Tiny
from torch import Tensor, nn

from bench import artefacts, facts
from bench.techniques import Setting, Technique
from bench.techniques.half import Half
from bench.techniques.structured_pruning import StructuredPruning
from bench.techniques.unstructured_pruning import UnstructuredPruning

BF16 = Half("bf16", "bf16")
PRUNING = StructuredPruning("prune", 0.5, None, "magnitude", "layer", 1, 4, 0, 0.1)


class Sounding(nn.Module):
    """A front that must stay whole, and a decoder of 1-d convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Linear(64, 64)
        self.decoder = nn.Sequential(
            nn.Conv1d(3, 16, 3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose1d(16, 8, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(8, 4, 3, padding=1),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        hidden = self.front(pixels.flatten(2).to(self.front.weight.dtype))
        outputs: Tensor = self.decoder(hidden.to(self.decoder[0].weight.dtype))
        return outputs.mean(dim=2)


@dataclass(frozen=True)
class Waves(Tiny):
    """Noise for ``Sounding``."""

    def build(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return Sounding()

    def prunable(self, model: nn.Module) -> tuple[nn.Module, nn.Module] | None:
        decoder: Any = model.decoder
        return decoder, decoder[-1]

    def full_precision(self, model: nn.Module) -> Sequence[nn.Module]:
        front: Any = model.front
        return (front,)


def changed(*stages: Technique) -> Any:
    model = Waves().build(3).eval()
    setting = Setting(Waves(), copy.deepcopy(model), 0)
    for stage in stages:
        model = stage.convert(stage.prepare(model, setting), setting)
    return model


def test_only_the_part_that_is_offered_loses_channels_and_its_outputs_stay() -> None:
    model = changed(PRUNING)
    shapes = [tuple(model.decoder[n].weight.shape) for n in (0, 2, 4)]
    # Half of 16 and half of 8; a transposed kernel has its inputs first.
    assert shapes == [(8, 3, 3), (8, 4, 4), (4, 4, 3)]
    assert model.front.weight.shape == (64, 64)


def test_a_part_in_full_precision_keeps_every_bit() -> None:
    model, whole = changed(BF16), Waves().build(3)
    front: Any = whole.front
    assert torch.equal(model.front.weight, front.weight)
    assert {p.dtype for p in model.front.parameters()} == {torch.float32}
    assert {p.dtype for p in model.decoder.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("stages", [(PRUNING,), (BF16,), (PRUNING, BF16)])
def test_what_is_saved_comes_back_with_the_same_answers(
    tmp_path: Path, stages: tuple[Technique, ...]
) -> None:
    model = changed(*stages)
    batch = facts.probe_batch(Waves())
    outputs = facts.probe(Waves(), EAGER, model, batch)
    artefacts.save(model, stages, outputs, tmp_path, "ab" * 32)
    again = artefacts.load(Waves(), stages, 3, tmp_path)
    assert torch.equal(facts.probe(Waves(), EAGER, again, batch), outputs)


def test_weights_of_convolutions_over_time_are_zeroed_too() -> None:
    technique = UnstructuredPruning("prune", 0.5, "layer", 0, 0.1)
    model = technique.prepare(changed(), Setting(Waves(), changed(), 0))
    model = technique.convert(model, Setting(Waves(), changed(), 0))
    for name, weight in model.named_parameters():
        if name.endswith("weight"):
            assert (weight == 0).float().mean() == pytest.approx(0.5, abs=0.02)


def test_networks_of_images_offer_themselves_but_for_their_classes() -> None:
    model = Net()
    assert Tiny().prunable(model) == (model, model.fc)
    assert Tiny().prunable(nn.Linear(2, 2)) is None
    assert Tiny().full_precision(model) == ()
