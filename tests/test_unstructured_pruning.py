"""Single weights set to zero: as many as asked for, by the schedule, and nothing smaller."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import RECIPE, Tiny, trained_looking
from torch import nn
from transformers.pytorch_utils import Conv1D

from bench import facts
from bench.techniques import Setting, TechniqueError, Terms
from bench.techniques.unstructured_pruning import GROWING, UPDATES, UnstructuredPruning

ZEROS = UnstructuredPruning("unstructured_pruning", 0.9, "global", 1.0, 0.02)


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def hidden(model: nn.Module) -> float:
    tensors = weights(model)
    return sum(int((t == 0).sum()) for t in tensors) / sum(t.numel() for t in tensors)


def through(technique: UnstructuredPruning, dones: list[float]) -> tuple[nn.Module, list[float]]:
    model = trained_looking(Tiny().build(0))
    where = Setting(Tiny(), model, 0)
    masked = technique.prepare(copy.deepcopy(model), where)
    seen = []
    for done in dones:
        technique.after_step(masked, done)
        Tiny().forward(masked, Tiny().test_examples().__getitems__([0]))  # masks act on forward
        seen.append(hidden(masked))
    return technique.convert(masked, where), seen


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_masks_grow_by_the_cubic_schedule(scope: Any) -> None:
    dones = [GROWING * (k + 0.001) / UPDATES for k in range(1, UPDATES + 1)]
    _, seen = through(replace(ZEROS, scope=scope), dones)
    wanted = [0.9 * (1 - (1 - k / UPDATES) ** 3) for k in range(1, UPDATES + 1)]
    assert seen == pytest.approx(wanted, abs=0.002)


@pytest.mark.parametrize("dones", [[], [0.05], [0.3]])
def test_a_training_that_ends_early_has_its_share_all_the_same(dones: list[float]) -> None:
    sparse, seen = through(ZEROS, dones)
    assert all(share < 0.8 for share in seen)
    assert hidden(sparse) == pytest.approx(0.9, abs=0.001)


def test_the_last_quarter_of_the_training_changes_no_mask() -> None:
    _, seen = through(ZEROS, [GROWING, 0.8, 1.0])
    assert seen[0] == seen[1] == seen[2] == pytest.approx(0.9, abs=0.001)


def test_the_smallest_weights_of_all_layers_are_gone_and_the_others_untouched() -> None:
    model = trained_looking(Tiny().build(0))
    where = Setting(Tiny(), model, 0)
    at_once = replace(ZEROS, epochs=0)
    sparse = at_once.convert(at_once.prepare(copy.deepcopy(model), where), where)
    every = torch.cat([w.detach().abs().flatten() for w in weights(model)])
    limit = every.sort().values[round(0.9 * every.numel()) - 1]
    for before, after in zip(weights(model), weights(sparse), strict=True):
        assert torch.equal(after, torch.where(before.abs() <= limit, 0.0, before))


def test_no_mask_is_left_and_no_byte_is_saved() -> None:
    model = trained_looking(Tiny().build(0))
    sparse, _ = through(ZEROS, [GROWING])
    assert facts.simulations(sparse) == ()
    assert sparse.state_dict().keys() == model.state_dict().keys()
    assert facts.parameters(sparse) == facts.parameters(model)
    shared = facts.nonzero_parameters(sparse) / facts.parameters(sparse)
    assert shared == pytest.approx(0.13, abs=0.03)  # a tenth of the weights, biases and norms
    assert (ZEROS.sparsity, ZEROS.shrinks, ZEROS.label) == (
        "unstructured",
        False,
        "unstructured_pruning 0.9",
    )


class Tied(nn.Module):
    """A language model in small: its output layer is its table, its block GPT-2's kind of layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(64, 32)
        self.block = Conv1D(32, 32)
        self.head = nn.Linear(32, 64, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.table(ids)))


def test_a_table_that_is_the_output_layer_too_stays_as_it_is() -> None:
    """Its mask would act on the way out alone, and the table be served without its weights."""
    torch.manual_seed(0)
    model = Tied()
    table = model.table.weight.detach().clone()
    where = Setting(Tiny(), model, 0)
    masked = ZEROS.prepare(copy.deepcopy(model), where)
    ZEROS.after_step(masked, GROWING)
    sparse = ZEROS.convert(masked, where)
    assert torch.equal(sparse.table.weight, table)
    assert torch.equal(sparse.head.weight, table)
    assert float((sparse.block.weight == 0).float().mean()) == pytest.approx(0.9, abs=0.001)


def terms(learning_rate: float) -> Terms:
    training = asdict(replace(RECIPE, learning_rate=learning_rate))
    return Terms(Tiny(), training, "eager", torch.device("cpu"))


def test_a_rate_for_another_optimiser_is_refused_before_it_undoes_a_training() -> None:
    ZEROS.require(terms(0.05))
    replace(ZEROS, learning_rate=None).require(terms(2e-5))
    replace(ZEROS, epochs=0).require(terms(2e-5))
    with pytest.raises(TechniqueError, match=r"learning_rate=0\.02 is 1000 times .*=2e-05, at w"):
        ZEROS.require(terms(2e-5))


def test_models_without_such_layers_are_refused() -> None:
    bare = SimpleNamespace(name="bare", build=lambda seed: nn.Embedding(4, 4))
    where = Terms(bare, asdict(RECIPE), "eager", torch.device("cpu"))  # type: ignore[arg-type]
    with pytest.raises(TechniqueError, match="linear layers, and bare has none"):
        ZEROS.require(where)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ratio": 90}, r"technique\.ratio must be in \(0, 1\), got 90: .* 90 % is 0\.9"),
        ({"scope": "block"}, r"technique\.scope is 'block': layer or global"),
        ({"epochs": -1}, r"technique\.epochs=-1 must be at least 0"),
    ],
)
def test_impossible_knobs_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(ZEROS, **changes)
