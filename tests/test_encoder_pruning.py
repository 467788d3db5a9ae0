"""Encoders with fewer heads, neurons and layers: the right ones gone, and nothing else changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import EAGER, Tiny, configured, same_tensors, tiny_language
from torch import Tensor, nn

from bench import artefacts, facts
from bench.techniques import Setting, Technique, TechniqueError, Terms
from bench.techniques.distillation.small import SmallModel
from bench.techniques.encoder_pruning.ffn import FfnPruning
from bench.techniques.encoder_pruning.heads import HeadPruning
from bench.techniques.encoder_pruning.importance import taylor
from bench.techniques.encoder_pruning.layers import LayerDropping
from bench.techniques.encoder_pruning.units import UnitPruning
from bench.techniques.quantized import Quantized
from bench.techniques.structured_pruning import StructuredPruning
from bench.workloads import Batch, Examples, Workload, WorkloadError
from bench.workloads.language import Sentences
from bench.workloads.language.anatomy import blocks, embeddings, keep_layers, layers

HEADS = HeadPruning("head_pruning", 0.5, "taylor", "layer", 32, 1, None)
NEURONS = FfnPruning("ffn_pruning", 0.5, "taylor", "layer", 32, 1, None, round_to=8)
DROP = LayerDropping("layer_dropping", 0.5, None, "top", 1, None)

WIDTH, HEAD = 32, 8
DISTILBERT = {
    "model_type": "distilbert",
    "dim": WIDTH,
    "n_layers": 4,
    "n_heads": 4,
    "hidden_dim": 64,
    "vocab_size": 400,
    "max_position_embeddings": 64,
}
ENCODERS = {
    "bert": tiny_language(),
    "distilbert": configured("bert_sentences", architecture=DISTILBERT, batch_size=16),
}
both = pytest.mark.parametrize("kind", ENCODERS)


def lively(workload: Workload) -> Any:
    """An encoder whose every weight tells in its answers, unlike those of a fresh one."""
    model = workload.build(0).eval()
    drawn = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(0, 0.3, generator=drawn)
            module.bias.data.normal_(0, 0.1, generator=drawn)
    return model


def made(stages: Sequence[Technique], workload: Workload, model: nn.Module | None = None) -> Any:
    """What stages make of a baseline, training left out; the baseline must stay as it was."""
    baseline = lively(workload) if model is None else model
    before = copy.deepcopy(baseline.state_dict())
    where, smaller = Setting(workload, baseline, 0), copy.deepcopy(baseline)
    for stage in stages:
        smaller = stage.convert(stage.prepare(smaller, where).eval(), where)
    assert same_tensors(before, baseline.state_dict())
    return smaller


def answers(workload: Workload, model: nn.Module) -> Tensor:
    with torch.inference_mode():
        return workload.forward(model, workload.test_examples().__getitems__(range(16)))


def alike(one: Tensor, other: Tensor) -> bool:
    """But for the order of sums."""
    return torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def parameters(kind: str, heads: Sequence[int], neurons: Sequence[int]) -> int:
    """Count by hand: tables and their norm, layers, pooler (or what stands for it), classifier."""
    rows = 400 + 64 + (2 if kind == "bert" else 0)  # tokens, positions, segments
    count = rows * WIDTH + 2 * WIDTH
    for left, between in zip(heads, neurons, strict=True):
        wide = HEAD * left
        count += 3 * (WIDTH * wide + wide) + (wide * WIDTH + WIDTH)
        count += (WIDTH * between + between) + (between * WIDTH + WIDTH) + 2 * 2 * WIDTH
    return count + (WIDTH * WIDTH + WIDTH) + (2 * WIDTH + 2)


def macs(heads: Sequence[int], neurons: Sequence[int], tokens: int) -> int:
    """Count by hand: linear layers, and queries times keys and weights times values."""
    count = WIDTH * WIDTH + 2 * WIDTH
    for left, between in zip(heads, neurons, strict=True):
        wide = HEAD * left
        count += tokens * (4 * WIDTH * wide + 2 * WIDTH * between) + 2 * tokens**2 * wide
    return count


def silence(model: nn.Module, heads: Mapping[int, Sequence[int]]) -> nn.Module:
    """Make heads count for nothing, by layer: their columns of the output layer become zero."""
    for number, silent in heads.items():
        weight = blocks(model)[number].output.weight.data
        for head in silent:
            weight[:, head * HEAD : (head + 1) * HEAD] = 0
    return model


@both
@pytest.mark.parametrize(
    ("stage", "heads", "neurons"),
    [
        (HEADS, 2, 64),
        (replace(HEADS, ratio=0.2), 3, 64),  # 0.8 of a head
        (NEURONS, 4, 32),
        (replace(NEURONS, ratio=0.3), 4, 40),  # 64 - 19 = 45, down to eights
        (replace(NEURONS, ratio=0.3, round_to=1), 4, 45),
    ],
)
def test_what_is_left_is_counted_by_hand(
    kind: str, stage: UnitPruning, heads: int, neurons: int
) -> None:
    workload = ENCODERS[kind]
    assert facts.parameters(lively(workload)) == parameters(kind, (4,) * 4, (64,) * 4)
    smaller, left = made((stage,), workload), ((heads,) * 4, (neurons,) * 4)
    assert facts.parameters(smaller) == parameters(kind, *left)
    batch = facts.probe_batch(workload)
    tokens = batch["input_ids"].shape[1]
    assert facts.macs(workload, EAGER, smaller, batch) == macs(*left, tokens)
    assert [block.heads for block in blocks(smaller)] == [heads] * 4
    assert [block.up.out_features for block in blocks(smaller)] == [neurons] * 4
    assert all(p.requires_grad and p.grad is None for p in smaller.parameters())


@both
@pytest.mark.parametrize("importance", ["taylor", "magnitude"])
def test_heads_that_count_for_nothing_go_and_no_answer_changes(kind: str, importance: Any) -> None:
    workload = ENCODERS[kind]
    model = silence(lively(workload), {number: (1, 3) for number in range(4)})
    smaller = made((replace(HEADS, importance=importance),), workload, model)
    rows = [*range(HEAD), *range(2 * HEAD, 3 * HEAD)]
    for before, after in zip(blocks(model), blocks(smaller), strict=True):
        for name in ("query", "key", "value"):
            old, new = getattr(before, name), getattr(after, name)
            assert torch.equal(new.weight, old.weight[rows])
            assert torch.equal(new.bias, old.bias[rows])
        assert torch.equal(after.output.weight, before.output.weight[:, rows])
        assert torch.equal(after.output.bias, before.output.bias)
        assert torch.equal(after.up.weight, before.up.weight)
    assert alike(answers(workload, smaller), answers(workload, model))
    others = made((HEADS,), workload)  # where every head counts, answers do change
    assert (answers(workload, others) - answers(workload, lively(workload))).abs().max() > 0.01


@both
@pytest.mark.parametrize("importance", ["taylor", "magnitude"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_neurons_that_count_for_nothing_go_and_no_answer_changes(
    kind: str, importance: Any, scope: Any
) -> None:
    workload = ENCODERS[kind]
    model = lively(workload)
    for block in blocks(model):
        block.up.weight.data[1::2] *= 0.01
        block.down.weight.data[:, 1::2] = 0
    smaller = made((replace(NEURONS, importance=importance, scope=scope),), workload, model)
    for before, after in zip(blocks(model), blocks(smaller), strict=True):
        assert torch.equal(after.up.weight, before.up.weight[::2])
        assert torch.equal(after.up.bias, before.up.bias[::2])
        assert torch.equal(after.down.weight, before.down.weight[:, ::2])
        assert torch.equal(after.down.bias, before.down.bias)
    assert alike(answers(workload, smaller), answers(workload, model))


@both
def test_heads_go_wherever_they_matter_least_but_one_stays_in_each_layer(kind: str) -> None:
    workload = ENCODERS[kind]
    # Seven count for nothing; six go, since the last one of the first layer stays.
    model = silence(lively(workload), {0: (0, 1, 2, 3), 2: (1,), 3: (0, 3)})
    smaller = made((replace(HEADS, scope="global", ratio=6 / 16),), workload, model)
    assert [block.heads for block in blocks(smaller)] == [1, 4, 3, 2]
    assert alike(answers(workload, smaller), answers(workload, model))


def test_a_layer_whose_heads_all_have_large_importances_does_not_keep_them_for_that() -> None:
    shape = torch.tensor([1.0, 2.0, 3.0, 4.0])
    # Divided by their norms the two layers are alike, although one is a thousand times the other.
    kept = replace(HEADS, scope="global").kept([shape, 1000 * shape])
    assert [left.tolist() for left in kept] == [[2, 3], [2, 3]]


@dataclass(frozen=True)
class First:
    """The first few of all examples."""

    examples: Examples
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        assert max(indices) < self.count
        return self.examples.__getitems__(indices)


@dataclass(frozen=True)
class Few(Sentences):
    """Five sentences to look at."""

    def plain_train_examples(self) -> Examples:
        return First(super().plain_train_examples(), 5)


def few(layers: int) -> Few:
    language = tiny_language(layers=layers)
    return Few(**{field.name: getattr(language, field.name) for field in fields(language)})


@contextmanager
def gated(layer: nn.Module, unit: int, size: int, gate: float) -> Iterator[None]:
    """Multiply the features of one unit on their way into a layer."""

    def multiply(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        features = inputs[0].clone()
        features[..., unit * size : (unit + 1) * size] *= gate
        return (features,)

    hook = layer.register_forward_pre_hook(multiply)
    yield
    hook.remove()


@pytest.mark.parametrize(("technique", "count"), [(HEADS, 2), (NEURONS, 1)])
def test_importance_is_the_change_of_each_examples_loss_when_a_gate_is_moved(
    technique: UnitPruning, count: int
) -> None:
    workload = few(count)
    model = lively(workload).double()
    groups = [technique.group(block) for block in blocks(model)]
    examples, step = workload.plain_train_examples(), 1e-4

    @torch.no_grad()
    def loss(index: int) -> float:
        batch = examples.__getitems__([index])  # alone, so without padding
        return workload.loss(workload.forward(model, batch), batch, smoothing=0.0).item()

    def moved(layer: nn.Module, unit: int, size: int, index: int) -> float:
        with gated(layer, unit, size, 1 + step):
            more = loss(index)
        with gated(layer, unit, size, 1 - step):
            less = loss(index)
        return abs(more - less) / (2 * step)

    found = taylor(model, groups, Setting(workload, model, 0), calibration=1000)
    for group, importance in zip(groups, found, strict=True):
        by_hand = [
            sum(moved(group.taker, unit, group.size, i) for i in range(5)) / 5
            for unit in range(group.units)
        ]
        wanted = torch.tensor(by_hand)
        torch.testing.assert_close(importance, wanted, rtol=1e-3, atol=1e-7)
        assert wanted.max() > 1e-3


@pytest.mark.parametrize("technique", [HEADS, NEURONS])
def test_random_units_are_drawn_from_the_seed(technique: UnitPruning) -> None:
    workload = ENCODERS["bert"]
    model, random = lively(workload), replace(technique, importance="random")
    pruned = "query" if technique is HEADS else "up"
    first, again, other = (
        torch.cat(
            [
                getattr(block, pruned).weight
                for block in blocks(
                    random.prepare(copy.deepcopy(model), Setting(workload, model, seed))
                )
            ]
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert first.shape == other.shape
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("strategy", "there", "asked", "left"),
    [
        ("top", 12, {"keep": 8}, [0, 1, 2, 3, 4, 5, 6, 7]),
        ("bottom", 12, {"keep": 8}, [4, 5, 6, 7, 8, 9, 10, 11]),
        # Numbered from 1, the source's odd-alternate drops 11, 9, 7 and 5.
        ("alternate", 12, {"keep": 8}, [0, 1, 2, 3, 5, 7, 9, 11]),
        ("alternate", 6, {"ratio": 0.5, "keep": None}, [1, 3, 5]),  # as in DistilBERT
        ("alternate", 5, {"ratio": 0.4, "keep": None}, [0, 2, 4]),
        ("top", 4, {"ratio": 0.3, "keep": None}, [0, 1, 2]),  # 1.2 layers go
    ],
)
def test_layers_are_dropped_by_where_they_stand(
    strategy: Any, there: int, asked: dict[str, Any], left: list[int]
) -> None:
    workload = tiny_language(layers=there)
    technique = replace(DROP, strategy=strategy, **{"ratio": None, **asked})
    model = workload.build(0)
    before = list(layers(model))
    smaller = technique.prepare(model, Setting(workload, model, 0))
    assert [before.index(layer) for layer in layers(smaller)] == left
    assert facts.parameters(smaller) == parameters("bert", (4,) * len(left), (64,) * len(left))
    assert smaller.config.num_hidden_layers == len(left)
    numbers = {name.split(".")[3] for name in smaller.state_dict() if ".layer." in name}
    assert numbers == {str(number) for number in range(len(left))}


@both
def test_an_encoder_without_its_last_layers_answers_as_if_they_passed_all_through(
    kind: str,
) -> None:
    workload = ENCODERS[kind]
    model = lively(workload)
    smaller = made((DROP,), workload, model)
    hooks = [
        layer.register_forward_hook(lambda module, inputs, output: inputs[0])
        for layer in list(layers(model))[2:]
    ]
    expected = answers(workload, model)
    for hook in hooks:
        hook.remove()
    assert torch.equal(answers(workload, smaller), expected)
    assert not torch.equal(answers(workload, model), expected)


GLOBALLY = replace(HEADS, scope="global", ratio=0.4)
ALTERNATE = replace(DROP, strategy="alternate")
INTEGERS = Quantized("int8_dynamic", "int8_dynamic", embeddings=False)
STUDENT = SmallModel("small_model", "2L", None, None)


@both
@pytest.mark.parametrize(
    "stages",
    [
        (GLOBALLY, replace(NEURONS, scope="global"), ALTERNATE),
        (ALTERNATE, GLOBALLY),
        (HEADS, DROP, replace(NEURONS, ratio=0.25)),
        (STUDENT, GLOBALLY, INTEGERS),
        (DROP, NEURONS, INTEGERS),
    ],
    ids=lambda stages: "+".join(stage.name for stage in stages),
)
def test_what_is_saved_is_restored_to_its_shape_and_answers_bit_for_bit(
    kind: str, stages: tuple[Technique, ...], tmp_path: Path
) -> None:
    workload = ENCODERS[kind]
    smaller = made(stages, workload)
    expected = facts.probe(workload, EAGER, smaller, facts.probe_batch(workload))
    artefacts.save(smaller, stages, expected, tmp_path, "ab" * 32)
    fresh = artefacts.load(workload, stages, 9, tmp_path)
    assert torch.equal(facts.probe(workload, EAGER, fresh, facts.probe_batch(workload)), expected)
    assert facts.parameters(fresh) == facts.parameters(smaller)


@pytest.mark.parametrize("technique", [HEADS, NEURONS, DROP])
def test_models_that_are_no_encoders_are_refused_with_a_way_out(technique: Technique) -> None:
    terms = Terms(Tiny(), {"learning_rate": 0.05}, "eager", torch.device("cpu"))
    told = rf"technique={technique.name} prunes encoders, and Net is no encoder .* workload=bert"
    with pytest.raises(TechniqueError, match=told):
        technique.require(terms)
    model = Tiny().build(0)
    with pytest.raises(TechniqueError, match=told):
        technique.prepare(model, Setting(Tiny(), model, 0))
    for look in (blocks, layers, embeddings, lambda model: keep_layers(model, [0])):
        with pytest.raises(WorkloadError, match="Net is no encoder like BERT or DistilBERT"):
            look(model)


@pytest.mark.parametrize(
    ("technique", "told"),
    [
        (replace(HEADS, ratio=0.9), r"ratio=0\.9 would remove 4 of 4 heads, and 1 must stay, 1 in"),
        (replace(HEADS, ratio=0.1), r"ratio=0\.1 removes no head: there are 4 in a layer; raise"),
        (
            replace(HEADS, ratio=0.9, scope="global"),
            r"ratio=0\.9 would remove 14 of 16 heads, and 4 must stay, 1 in each layer",
        ),
        (replace(HEADS, ratio=0.01, scope="global"), r"removes no head: there are 16; raise it"),
        (
            replace(NEURONS, ratio=0.95),
            r"ratio=0\.95 would remove 61 of 64 neurons, and 8 must stay, 8 in each layer",
        ),
        (replace(NEURONS, round_to=128), r"round_to=128 is more than the 64 neurons of a layer"),
        (replace(DROP, ratio=0.1), r"ratio=0\.1 leaves 4 of 4 layers: at least one stays and one"),
        (replace(DROP, ratio=0.9), r"ratio=0\.9 leaves 0 of 4 layers"),
        (replace(DROP, ratio=None, keep=4), r"keep=4 leaves 4 of 4 layers"),
        (
            replace(DROP, ratio=0.75, strategy="alternate"),
            r"ratio=0\.75 drops 3 of 4 layers, and technique\.strategy=alternate at most every",
        ),
    ],
)
def test_an_amount_that_cannot_be_is_refused_before_anything_is_trained(
    technique: Technique, told: str
) -> None:
    workload = ENCODERS["bert"]
    terms = Terms(workload, {}, "eager", torch.device("cpu"))
    with pytest.raises(TechniqueError, match=rf"technique\..*{told}"):
        technique.require(terms)
    model = workload.build(0)  # a stage before it may have left less than the baseline has
    with pytest.raises(TechniqueError, match=told):
        technique.prepare(model, Setting(workload, model, 0))


@pytest.mark.parametrize("technique", [HEADS, NEURONS, DROP])
def test_an_amount_that_can_be_is_taken(technique: Technique) -> None:
    technique.require(Terms(ENCODERS["bert"], {}, "eager", torch.device("cpu")))


@pytest.mark.parametrize(
    ("technique", "changes", "told"),
    [
        (HEADS, {"ratio": 0}, r"technique\.ratio must be in \(0, 1\), got 0: .* heads removed"),
        (NEURONS, {"ratio": 50}, r"technique\.ratio must be in \(0, 1\), got 50: .* neurons remo"),
        (HEADS, {"importance": "luck"}, r"technique\.importance is 'luck': one of taylor, magnit"),
        (HEADS, {"scope": "block"}, r"technique\.scope is 'block': layer or global"),
        (HEADS, {"calibration": 0}, r"technique\.calibration is 0: at least one example"),
        (HEADS, {"epochs": -1}, r"technique\.epochs=-1 must be at least 0"),
        (HEADS, {"learning_rate": 0}, r"technique\.learning_rate=0 above 0, or null"),
        (NEURONS, {"round_to": 0}, r"technique\.round_to is 0: at least 1"),
        (DROP, {"keep": 2}, r"technique\.ratio=0\.5 and technique\.keep=2: one of them says"),
        (DROP, {"ratio": None}, r"technique\.ratio=None and technique\.keep=None: one of them"),
        (DROP, {"ratio": 1.5}, r"technique\.ratio must be in \(0, 1\), got 1\.5"),
        (DROP, {"ratio": None, "keep": 0}, r"technique\.keep is 0: at least one layer stays"),
        (DROP, {"strategy": "middle"}, r"technique\.strategy is 'middle': one of top, alternate"),
        (DROP, {"epochs": -1}, r"technique\.epochs=-1 must be at least 0"),
    ],
)
def test_an_impossible_knob_is_refused(technique: Any, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(technique, **changes)


@pytest.mark.parametrize("technique", [HEADS, NEURONS, DROP])
def test_fine_tuning_takes_the_baselines_rate_where_none_is_given(technique: Any) -> None:
    assert technique.recipe == {"epochs": 1}
    assert replace(technique, learning_rate=0.01).recipe == {"epochs": 1, "learning_rate": 0.01}
    assert replace(technique, epochs=0).recipe is None


def test_labels_tell_amounts_and_controls_apart() -> None:
    assert HEADS.label == "head_pruning 0.5"
    assert replace(NEURONS, importance="random").label == "ffn_pruning 0.5 (random)"
    assert DROP.label == "layer_dropping 0.5 (top)"
    assert replace(DROP, ratio=None, keep=3).label == "layer_dropping to 3 (top)"


@both
def test_the_embeddings_are_what_the_first_layer_sees(kind: str) -> None:
    workload, seen = ENCODERS[kind], {}
    model = lively(workload)
    embeddings(model).register_forward_hook(
        lambda module, inputs, output: seen.update(given=output)
    )
    layers(model)[0].register_forward_pre_hook(lambda module, inputs: seen.update(taken=inputs[0]))
    answers(workload, model)
    assert torch.equal(seen["given"], seen["taken"])
    (first, *_) = blocks(model)
    assert (first.heads, first.head_size, first.up.out_features) == (4, HEAD, 64)
    assert first.layer is layers(model)[0]


@pytest.mark.gpu
@pytest.mark.parametrize("technique", [HEADS, replace(HEADS, scope="global"), NEURONS, DROP])
def test_an_encoder_is_pruned_on_the_gpu_where_it_lies(technique: Technique) -> None:
    workload = ENCODERS["bert"]
    model = lively(workload).cuda()
    smaller = technique.prepare(copy.deepcopy(model), Setting(workload, model, 0))
    assert all(p.is_cuda for p in smaller.parameters())
    assert facts.parameters(smaller) < facts.parameters(model)


def test_channels_are_not_removed_across_heads() -> None:
    terms = Terms(tiny_language(), {"learning_rate": 2e-5}, "eager", torch.device("cpu"))
    channels = StructuredPruning("channels", 0.5, None, "magnitude", "layer", 1, 8, 0.0, None)
    with pytest.raises(TechniqueError, match="head_pruning_ffn_pruning"):
        channels.require(terms)
