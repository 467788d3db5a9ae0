"""Weights that move towards zero become zero: those, so many, and no mask is left."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import RECIPE, Nobody, Tiny, tiny_language
from torch import Tensor, nn

from bench import facts
from bench.techniques import Chain, Setting, TechniqueError, Terms
from bench.techniques.encoder_pruning.heads import HeadPruning
from bench.techniques.encoder_pruning.movement import MovementPruning
from bench.training import Course, task_loss, train
from bench.training.engine import engine
from bench.workloads.language.anatomy import blocks

MOVES = MovementPruning("movement_pruning", 0.5, "layer", 1.0, None)
LANGUAGE = tiny_language(layers=2)
EXAMPLES = LANGUAGE.train_examples()
LINEAR = ("query", "key", "value", "output", "up", "down")
STEP = 2.0**-10  # a power of two only shifts exponents, so that orders are kept to the last bit


def lively() -> Any:
    """An encoder whose weights are large enough for its loss to feel them."""
    model = LANGUAGE.build(0).eval()
    drawn = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(0, 0.3, generator=drawn)
    return model


def linear(model: nn.Module) -> list[Any]:
    return [getattr(block, name) for block in blocks(model) for name in LINEAR]


def scores(model: nn.Module) -> list[nn.Parameter]:
    return [p for name, p in model.named_parameters() if name.endswith(".scores")]


def loss(model: nn.Module, start: int = 0) -> Tensor:
    batch = EXAMPLES.__getitems__(range(start, start + 16))
    return LANGUAGE.loss(LANGUAGE.forward(model, batch), batch, smoothing=0.0)


def scored(technique: MovementPruning, model: nn.Module) -> Any:
    return technique.prepare(copy.deepcopy(model), Setting(LANGUAGE, model, 0))


def zeros(model: nn.Module) -> list[int]:
    return [int((layer.weight == 0).sum()) for layer in linear(model)]


def test_weights_that_a_step_moves_away_from_zero_stay_and_the_others_go() -> None:
    plain = lively()
    gradients = torch.autograd.grad(loss(plain), [layer.weight for layer in linear(plain)])
    masked = scored(MOVES, plain)
    optimizer = torch.optim.SGD(masked.parameters(), lr=STEP)
    loss(masked).backward()
    optimizer.step()
    sparse = MOVES.convert(masked, Setting(LANGUAGE, plain, 0))
    for before, gradient, after in zip(linear(plain), gradients, linear(sparse), strict=True):
        away = -gradient * before.weight.detach()  # above 0 where the step makes it larger
        stays = after.weight != 0
        assert int(stays.sum()) == before.weight.numel() // 2
        assert away[stays].min() >= away[~stays].max()
        stepped = before.weight.detach() - STEP * gradient
        torch.testing.assert_close(after.weight[stays], stepped[stays])
        # Small ones stay that are moving away, large ones go that are moving in.
        assert before.weight[stays].abs().min() < before.weight[~stays].abs().max()


def test_hidden_weights_are_not_trained_but_their_scores_are() -> None:
    plain = lively()
    masked = scored(MOVES, plain)
    drawn = torch.Generator().manual_seed(2)
    for score in scores(masked):
        score.data.normal_(generator=drawn)
    MOVES.after_step(masked, 1.0)
    loss(masked).backward()
    # The same network with zeros for weights, and no scores anywhere.
    sparse = lively()
    for layer, other in zip(linear(sparse), linear(masked), strict=True):
        layer.weight.data.copy_(other.weight.detach())
    gradients = torch.autograd.grad(loss(sparse), [layer.weight for layer in linear(sparse)])
    for before, layer, score, gradient in zip(
        linear(plain), linear(masked), scores(masked), gradients, strict=True
    ):
        hidden = layer.weight == 0
        assert int(hidden.sum()) == hidden.numel() // 2
        by_hand = gradient * before.weight.detach()
        torch.testing.assert_close(score.grad.view_as(by_hand), by_hand)
        assert score.grad.view_as(by_hand)[hidden].abs().max() > 0
        trained = layer.parametrizations.weight.original.grad
        torch.testing.assert_close(trained, torch.where(hidden, 0.0, gradient))


def test_a_hidden_weight_comes_back_when_its_score_rises() -> None:
    masked = scored(MOVES, lively())
    (score, *_) = scores(masked)
    score.data.copy_(torch.arange(score.numel()))
    MOVES.after_step(masked, 1.0)
    (layer, *_) = linear(masked)
    assert (layer.weight.flatten()[:512] == 0).all()
    score.data.copy_(-torch.arange(score.numel()))
    MOVES.after_step(masked, 1.0)
    assert (layer.weight.flatten()[:512] != 0).all()
    assert (layer.weight.flatten()[512:] == 0).all()


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_hidden_weights_grow_in_number_by_the_cubic_schedule(scope: Any) -> None:
    technique = replace(MOVES, scope=scope, ratio=0.8)
    masked, seen = scored(technique, lively()), []
    for score in scores(masked):
        score.data.normal_(generator=torch.Generator().manual_seed(score.numel()))
    for done in (0.05, 0.1, 0.275, 0.45, 0.8, 0.9, 1.0):
        technique.after_step(masked, done)
        seen.append(sum(zeros(masked)) / sum(s.numel() for s in scores(masked)))
    # A tenth before, a fifth after; between them 0, a quarter, a half and all of the way.
    cubic = [0, 0, 1 - 0.75**3, 1 - 0.5**3, 1, 1, 1]
    assert seen == pytest.approx([0.8 * share for share in cubic], abs=0.001)


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("ratio", [0.85, 0.97])
def test_the_asked_share_is_zero_and_nothing_else_has_changed(scope: Any, ratio: float) -> None:
    technique, plain = replace(MOVES, scope=scope, ratio=ratio), lively()
    masked = scored(technique, plain)
    loss(masked).backward()
    torch.optim.SGD(scores(masked), lr=STEP).step()  # the weights stay as they are
    sparse = technique.convert(masked, Setting(LANGUAGE, plain, 0))
    sizes = [layer.weight.numel() for layer in linear(plain)]
    if scope == "layer":
        assert zeros(sparse) == [round(ratio * size) for size in sizes]
    else:
        assert sum(zeros(sparse)) == round(ratio * sum(sizes))
        assert len({count / size for count, size in zip(zeros(sparse), sizes, strict=True)}) > 2
    before, after = plain.state_dict(), sparse.state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(after[name], torch.where(after[name] == 0, after[name], tensor)), name
    pruned = {id(layer.weight) for layer in linear(sparse)}
    for name, parameter in sparse.named_parameters():
        if id(parameter) not in pruned:
            assert torch.equal(parameter, before[name]), name


def test_no_mask_is_left_and_the_layers_are_ordinary_ones() -> None:
    plain = lively()
    masked = scored(MOVES, plain)
    assert facts.simulations(masked)
    sparse = MOVES.convert(masked, Setting(LANGUAGE, plain, 0))
    assert facts.simulations(sparse) == ()
    assert {type(layer) for layer in linear(sparse)} == {nn.Linear}
    assert facts.parameters(sparse) == facts.parameters(plain)
    assert (MOVES.sparsity, MOVES.shrinks, MOVES.label) == (
        "unstructured",
        False,
        "movement_pruning 0.5",
    )


def test_the_learning_rate_of_scores_makes_no_difference() -> None:
    """Only their order counts, they begin at 0, and they are not decayed."""
    found = []
    for faster in (1.0, 1024.0):
        masked = scored(MOVES, lively())
        own = {id(score) for score in scores(masked)}
        others = [p for p in masked.parameters() if id(p) not in own]
        groups = [{"params": scores(masked), "lr": faster * STEP}, {"params": others}]
        optimizer = torch.optim.AdamW(groups, lr=STEP, weight_decay=0.0)
        for step in range(6):
            optimizer.zero_grad()
            loss(masked, 16 * step).backward()
            optimizer.step()
            MOVES.after_step(masked, (step + 1) / 6)
        found.append([layer.weight.detach() for layer in linear(masked)])
    for slow, fast in zip(*found, strict=True):
        assert torch.equal(slow, fast)


def test_scores_are_trained_and_not_decayed_by_the_engines_optimiser(tmp_path: Path) -> None:
    masked = scored(MOVES, lively())
    recipe = replace(RECIPE, optimizer="adamw", weight_decay=0.1)
    built = engine(nn.Sequential(masked), EXAMPLES, recipe, 0, tmp_path, None)
    decay = {
        id(p): group["weight_decay"]
        for group in built.create_optimizer().param_groups
        for p in group["params"]
    }
    assert [decay[id(score)] for score in scores(masked)] == [0.0] * 12
    for layer in linear(masked):
        assert decay[id(layer.parametrizations.weight.original)] == 0.1


def test_a_whole_fine_tuning_ends_with_the_asked_share() -> None:
    plain = lively()
    masked = scored(MOVES, plain)
    recipe = replace(
        RECIPE,
        optimizer="adamw",
        learning_rate=1e-3,
        batch_size=16,
        max_steps=8,
    )
    course = Course(
        LANGUAGE,
        recipe,
        MOVES.objective(task_loss(LANGUAGE, recipe), Setting(LANGUAGE, plain, 0)),
        0,
        after_step=partial(MOVES.after_step, masked),
    )
    assert train(masked, course, Nobody()) == 8 * 16
    assert all(score.abs().max() > 0 for score in scores(masked))
    during = zeros(masked)
    sparse = MOVES.convert(masked.eval(), Setting(LANGUAGE, plain, 0))
    assert zeros(sparse) == during == [layer.weight.numel() // 2 for layer in linear(plain)]


def test_a_training_that_ends_early_has_its_share_all_the_same() -> None:
    plain = lively()
    masked = scored(MOVES, plain)
    MOVES.after_step(masked, 0.3)
    assert 0 < sum(zeros(masked)) < sum(layer.weight.numel() for layer in linear(plain)) // 2
    sparse = MOVES.convert(masked, Setting(LANGUAGE, plain, 0))
    assert zeros(sparse) == [layer.weight.numel() // 2 for layer in linear(plain)]


def test_models_that_are_no_encoders_are_refused() -> None:
    terms = Terms(Tiny(), {}, "eager", torch.device("cpu"))
    with pytest.raises(TechniqueError, match="technique=movement_pruning prunes encoders, and Net"):
        MOVES.require(terms)
    MOVES.require(replace(terms, workload=LANGUAGE))


def test_a_stage_that_trains_may_come_before_it_and_not_behind() -> None:
    heads = HeadPruning("head_pruning", 0.5, "taylor", "layer", 32, 1, None)
    assert Chain("chain", {"a": heads, "b": MOVES}).stages == (heads, MOVES)
    with pytest.raises(
        ValueError, match="head_pruning trains after movement_pruning, but training"
    ):
        Chain("chain", {"a": MOVES, "b": heads})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ratio": 90}, r"technique\.ratio must be in \(0, 1\), got 90: .* 90 % is 0\.9"),
        ({"scope": "block"}, r"technique\.scope is 'block': layer or global"),
        ({"epochs": 0}, r"technique\.epochs is 0: scores are learned .*=unstructured_pruning"),
        ({"learning_rate": -1}, r"technique\.learning_rate is -1: above 0, or null"),
    ],
)
def test_impossible_knobs_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(MOVES, **changes)
