"""Training under other knobs: refused if they are none, and each does what it says."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training import run
from tiny import EAGER, RECIPE, Tiny, configured, same_tensors
from torch import Tensor, nn

from bench import artefacts, facts
from bench.techniques import Loss, Setting, TechniqueError, Terms
from bench.techniques.resolution import Resolution
from bench.techniques.retrained import Retrained
from bench.techniques.structured_pruning import StructuredPruning
from bench.training.activations import forget_activations, remember_activations
from bench.workloads import Batch

RECIPE_OF_TERMS = {"precision": "fp32", "batch_size": 64, "learning_rate": 0.05}
TERMS = Terms(Tiny(), RECIPE_OF_TERMS, "eager", torch.device("cpu"))


def retrained(**changes: Any) -> Retrained:
    return Retrained("retrained", changes)


def test_it_starts_from_the_baselines_initial_weights() -> None:
    model = retrained(precision="bf16").prepare(
        Tiny().build(1), Setting(Tiny(), Tiny().build(1), 5)
    )
    assert same_tensors(model.state_dict(), Tiny().build(5).state_dict())
    assert retrained(precision="bf16").recipe == {"precision": "bf16"}
    assert retrained(precision="bf16").label == "retrained (precision bf16)"


def test_changes_that_are_none_or_unknown_are_refused() -> None:
    retrained(precision="bf16").require(TERMS)
    with pytest.raises(TechniqueError, match=r"changes nothing.* training\.precision=fp32 already"):
        retrained(precision="fp32").require(TERMS)
    with pytest.raises(TechniqueError, match=r"technique\.changes\.batch: training has no such"):
        retrained(batch=3).require(TERMS)


def with_frozen_norms(task: Loss) -> Loss:
    def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return task(model, batch)

    return loss


def test_four_batches_of_eight_step_as_one_of_thirty_two() -> None:
    # Normalisation by the batch differs between the two, so it is switched off.
    recipe = replace(RECIPE, max_steps=2, epochs=1.0)
    one = run(recipe, objective=with_frozen_norms, augmented=False)
    small = replace(recipe, batch_size=8, accumulation=4)
    many = run(small, objective=with_frozen_norms, augmented=False)
    assert one.items == many.items == 64
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(many.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        block = [nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()]
        self.body = nn.Sequential(nn.Sequential(*block), nn.Sequential(*copy.deepcopy(block)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.body(x)
        return out


def test_forgotten_activations_are_computed_again_with_the_same_gradients() -> None:
    torch.manual_seed(0)
    plain = Blocks().train()
    forgetful = copy.deepcopy(plain)
    assert forget_activations(forgetful) == 2
    pixels = torch.randn(4, 3, 5, 5)
    calls: list[str] = []
    plain.body[0][0].register_forward_hook(lambda *_: calls.append("plain"))
    forgetful.body[0][0].register_forward_hook(lambda *_: calls.append("forgetful"))
    for model in (plain, forgetful):
        model(pixels).square().sum().backward()
    for one, two in zip(plain.parameters(), forgetful.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)
    assert same_tensors(plain.state_dict(), forgetful.state_dict())  # statistics counted once
    assert calls == ["plain", "forgetful", "forgetful"]
    remember_activations(forgetful)
    assert all("forward" not in vars(m) for m in forgetful.modules())


@pytest.mark.parametrize(("target", "epochs"), [(0.0001, 1), (1.0, 3)])
def test_training_stops_after_the_epoch_that_reaches_the_target(target: float, epochs: int) -> None:
    found = run(replace(RECIPE, epochs=3.0, target=target, validation=0.2, learning_rate=1e-6))
    assert len(found.metrics) == epochs
    assert found.items == epochs * 80
    assert set(found.fetched) != set(range(100))
    assert len(set(found.fetched)) == 80  # the rest is kept, and never trained on


def test_what_is_kept_for_validation_is_drawn_by_the_seed() -> None:
    recipe = replace(RECIPE, validation=0.2)
    drawn = [sorted(set(run(recipe, seed).fetched)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"target": 0.9}, r"training\.target=0\.9 looks at a part of the training split"),
        ({"target": 90, "validation": 0.1}, r"training\.target is 90"),
        ({"validation": 1.0}, r"training\.validation must be in \[0, 1\), got 1\.0"),
        ({"accumulation": 0}, r"training\.accumulation is 0: it must be above 0"),
    ],
)
def test_impossible_knobs_of_training_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(RECIPE, **changes)


def test_images_are_averaged_down_before_the_model() -> None:
    smaller = Resolution("resolution", 4, 0, 0.01)
    model = Tiny().build(0).eval()
    batch = Tiny().test_examples().__getitems__(range(3))
    resized = smaller.prepare(copy.deepcopy(model), Setting(Tiny(), model, 0))
    by_hand = batch["pixels"].reshape(3, 3, 4, 2, 4, 2).mean(dim=(3, 5))
    torch.testing.assert_close(Tiny().forward(resized, batch), model(by_hand))
    fresh = smaller.restore(Tiny().build(1), {}, Tiny())
    assert fresh.state_dict().keys() == resized.state_dict().keys()


def test_a_resolution_that_is_none_is_refused() -> None:
    with pytest.raises(TechniqueError, match=r"technique\.size=8 must be below workload\.image_si"):
        Resolution("resolution", 8, 0, 0.01).require(TERMS)
    with pytest.raises(ValueError, match=r"technique\.size is 0: at least 1"):
        Resolution("resolution", 0, 0, 0.01)


def test_fewer_pixels_after_fewer_channels_reload_as_they_were_made(tmp_path: Path) -> None:
    workload = configured("resnet_digits", architecture="resnet10")
    chain = (
        StructuredPruning("pruned", 0.5, None, "magnitude", "layer", 1, 8, 0.0, 0.02),
        Resolution("resolution", 4, 0, 0.01),
    )
    model = workload.build(0).eval()
    setting = Setting(workload, copy.deepcopy(model), 0)
    for stage in chain:
        model = stage.prepare(model, setting)
    batch = facts.probe_batch(workload)
    outputs = facts.probe(workload, EAGER, model, batch)
    artefacts.save(model, chain, outputs, tmp_path, "ab" * 32)
    fresh = artefacts.load(workload, chain, 9, tmp_path)
    assert torch.equal(facts.probe(workload, EAGER, fresh, batch), outputs)


def test_gradients_are_accumulated_to_the_same_batch_or_not_at_all() -> None:
    terms = replace(TERMS, training={"batch_size": 32, "accumulation": 2, "epochs": 1.0})
    retrained(batch_size=16, accumulation=4).require(terms)
    with pytest.raises(TechniqueError, match=r"accumulation is 128, the baseline's 64: accumula"):
        retrained(batch_size=16, accumulation=8).require(terms)
