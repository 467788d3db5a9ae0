"""What is said of a model from outside, against arithmetic and against models that pretend."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny import EAGER, Tiny, same_tensors, tiny_language
from torch import nn
from torch.ao.quantization import FakeQuantize, MinMaxObserver
from torch.nn.utils import parametrize, prune
from torchao.quantization import quantize_

from bench import facts
from bench.techniques.quantized import SCHEMES


def hand_made() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8),
        nn.Flatten(),
        nn.Linear(8 * 4 * 4, 5),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_multiply_accumulates_are_those_of_one_example_by_hand(dtype: torch.dtype) -> None:
    batch = Tiny().test_examples().__getitems__(range(6))
    by_hand = (
        8 * 8 * 8 * (3 * 3 * 3)  # 8x8 positions of 8 channels, 27 products each
        + 8 * 4 * 4 * (1 * 3 * 3)  # depthwise: 4x4 positions of 8 channels, 9 products each
        + 5 * (8 * 4 * 4)
    )
    assert by_hand == 15_616
    assert facts.macs(Tiny(), EAGER, hand_made().to(dtype), batch) == by_hand


def test_the_probe_is_the_first_examples_and_its_answers_are_the_models() -> None:
    workload = Tiny()
    batch = facts.probe_batch(workload)
    assert torch.equal(batch["pixels"], workload.test_examples().pixels[:4])
    assert len(facts.probe_batch(Tiny(count=3))["labels"]) == 3
    model = workload.build(0)
    answers = facts.probe(workload, EAGER, model, batch)
    with torch.inference_mode():
        assert torch.equal(answers, model.eval()(batch["pixels"]))


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("make", [Tiny, partial(tiny_language, layers=1)], ids=["images", "texts"])
def test_the_probe_is_the_same_however_many_are_served_at_once(
    make: Callable[[], Any], batch_size: int
) -> None:
    """Texts stand in batches of like length, so how many a batch holds says where they stand."""
    one = make()
    other = replace(one, batch_size=batch_size)
    places = [getattr(w.test_examples(), "order", None) for w in (one, other)]
    assert places[0] is None or not torch.equal(places[0], places[1])
    assert same_tensors(facts.probe_batch(one), facts.probe_batch(other))


@pytest.mark.parametrize("scheme", ["int8_weight_only", "int8_dynamic"])
def test_packed_weights_count_as_those_they_stand_for(scheme: str) -> None:
    """5 x 128 weights and 5 biases, of which one row of weights and one bias are 0."""
    model = hand_made()
    linear = model[-1]
    with torch.no_grad():
        linear.weight.copy_(torch.linspace(1, 2, 5 * 128).reshape(5, 128))
        linear.bias.fill_(1.0)
        linear.weight[2], linear.bias[2] = 0.0, 0.0
    counted = facts.parameters(model), facts.nonzero_parameters(model)
    macs = facts.macs(Tiny(), EAGER, model, Tiny().test_examples().__getitems__(range(6)))
    quantize_(model, SCHEMES[scheme]())
    assert (facts.parameters(model), facts.nonzero_parameters(model)) == counted
    assert facts.macs(Tiny(), EAGER, model, Tiny().test_examples().__getitems__(range(6))) == macs


class Halved(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight / 2


def masked(model: nn.Module) -> None:
    prune.l1_unstructured(model.fc, "weight", amount=0.5)


def parametrized(model: nn.Module) -> None:
    parametrize.register_parametrization(model.conv1, "weight", Halved())


def quantized_in_name(model: nn.Module) -> None:
    model.pretend = FakeQuantize()


def observed(model: nn.Module) -> None:
    model.watch = MinMaxObserver()


@pytest.mark.parametrize(
    ("pretend", "named"),
    [
        (masked, {"fc.weight_mask", "fc.weight_orig"}),
        (parametrized, {"conv1.parametrizations.weight (ParametrizationList)"}),
        (quantized_in_name, {"pretend (FakeQuantize)"}),
        (observed, {"watch (MinMaxObserver)"}),
    ],
)
def test_a_model_that_pretends_is_found_out_by_name(pretend: Any, named: set[str]) -> None:
    model = Tiny().build(0)
    assert facts.simulations(model) == ()
    pretend(model)
    assert named <= set(facts.simulations(model))


def test_a_mask_that_was_made_permanent_is_no_simulation() -> None:
    model = Tiny().build(0)
    masked(model)
    prune.remove(model.fc, "weight")
    assert facts.simulations(model) == ()
    assert (model.fc.weight == 0).float().mean() == 0.5


@pytest.mark.parametrize(
    ("dtype", "name"), [(torch.float32, "float"), (torch.bfloat16, "c10::BFloat16")]
)
def test_the_kernels_name_the_convolution_with_the_type_it_computes_in(
    dtype: torch.dtype, name: str
) -> None:
    batch = Tiny().test_examples().__getitems__(range(64))
    model = EAGER.place(Tiny().build(0).to(dtype))
    found = facts.kernels(Tiny(), EAGER, model, batch)
    assert 0 < len(found) <= 6
    assert [k for k in found if "conv" in k and k.endswith(f"[{name}]")] != [], found
    assert len(facts.kernels(Tiny(), EAGER, model, batch, most=2)) == 2


def test_what_is_trained_beside_weights_that_stay_is_counted_and_weighed(tmp_path: Path) -> None:
    model = Tiny().build(0)
    assert facts.trained_parameters(model) == facts.parameters(model)
    assert facts.adapter_bytes(model) is None  # all of it is trained
    model.requires_grad_(False)
    model.fc.requires_grad_(True)
    assert facts.trained_parameters(model) == 4 * 32 + 4
    save_file({"fc.weight": model.fc.weight, "fc.bias": model.fc.bias}, tmp_path / "alone")
    assert facts.adapter_bytes(model) == (tmp_path / "alone").stat().st_size


def test_weights_of_four_bits_count_two_a_byte() -> None:
    model = nn.Linear(3, 2)
    model.register_buffer(
        "packed_weight", torch.tensor([[0x77], [0x7A], [0x1F]], dtype=torch.uint8)
    )
    assert facts.parameters(model) == 3 * 2 + 2 + 6
    zeros = int((model.weight == 0).sum() + (model.bias == 0).sum())
    assert facts.nonzero_parameters(model) == facts.parameters(model) - zeros - 3  # 7 is zero


@pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux's own books")
def test_peak_memory_is_the_kernels_high_water_mark() -> None:
    status = Path("/proc/self/status").read_text().splitlines()
    (marked_kib,) = [int(line.split()[1]) for line in status if line.startswith("VmHWM:")]
    assert facts.peak_memory_bytes(EAGER) == pytest.approx(marked_kib * 1024, rel=0.02)
