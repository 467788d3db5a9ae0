"""Adapters: few weights are trained, all others stay, and what is served is what was trained."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peft.tuners.tuners_utils import BaseTunerLayer
from tiny import EAGER, RECIPE, Nobody, Tiny, same_tensors
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.pytorch_utils import Conv1D

from bench import artefacts, facts
from bench.techniques import Chain, Setting, TechniqueError, Terms
from bench.techniques.adapters import Adapter, adapters
from bench.techniques.adapters.ia3 import Ia3
from bench.techniques.adapters.lora import Lora
from bench.techniques.adapters.qlora import QLora
from bench.techniques.half import Half
from bench.techniques.structured_pruning import StructuredPruning
from bench.training import Course, task_loss, train
from bench.workloads import Batch, Examples

SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 16,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "llama": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "bert": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    },
    "distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 1, "n_heads": 4},
}
CLASSIFIERS = ("bert", "distilbert")
WORDS = 60


@dataclass(frozen=True)
class Rows:
    """Rows of random words in one of two classes."""

    count: int = 24

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        drawn = torch.Generator().manual_seed(7)
        tokens = torch.randint(WORDS, (self.count, 8), generator=drawn)
        return {"input_ids": tokens[list(indices)], "labels": torch.tensor(list(indices)) % 2}


@dataclass(frozen=True)
class Language(Tiny):
    """A small transformer with random weights: the next word, or the class of a row."""

    kind: str = "gpt2"

    def build(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        config = AutoConfig.for_model(self.kind, **SHAPES[self.kind], vocab_size=WORDS)
        if self.kind in CLASSIFIERS:
            config.num_labels = 2
            return AutoModelForSequenceClassification.from_config(config)
        return AutoModelForCausalLM.from_config(config)

    def train_examples(self) -> Examples:
        return Rows()

    def plain_train_examples(self) -> Examples:
        return Rows()

    def test_examples(self) -> Examples:
        return Rows()

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        logits: Tensor = model(input_ids=batch["input_ids"])["logits"]
        return logits

    def loss(self, outputs: Tensor, batch: Batch, smoothing: float) -> Tensor:
        if self.kind in CLASSIFIERS:
            return F.cross_entropy(outputs, batch["labels"])
        return F.cross_entropy(outputs[:, :-1].flatten(0, 1), batch["input_ids"][:, 1:].flatten())


LORA = Lora("lora", None, None, 0.01, True, variant="lora", rank=4, alpha=8, dropout=0.1)
RSLORA = replace(LORA, name="rslora", variant="rslora")
DORA = replace(LORA, name="dora", variant="dora")
IA3 = Ia3("ia3", None, None, 0.01, True, feedforward=None)
QLORA = QLora("qlora", "all-linear", None, 0.01, True, variant="lora", rank=4, alpha=8, dropout=0.0)
EVERY = [LORA, RSLORA, DORA, IA3]
NAMES = [technique.name for technique in EVERY]
CPU = torch.device("cpu")
ROWS = Rows().__getitems__(range(6))


def setting(kind: str, seed: int = 3) -> Setting:
    workload = Language(kind=kind)
    return Setting(workload, workload.build(9).requires_grad_(False), seed)


def prepared(technique: Adapter, kind: str) -> nn.Module:
    """What is trained, given a baseline that was trained to something else."""
    shown = setting(kind)
    return technique.prepare(copy.deepcopy(shown.baseline), shown)


def as_trained(technique: Adapter, kind: str) -> nn.Module:
    """The same with adapters that are not what they were at first."""
    model = prepared(technique, kind).eval()
    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=drawn)
    return model


def answers(model: nn.Module, kind: str) -> Tensor:
    with torch.inference_mode():
        return Language(kind=kind).forward(model.eval(), ROWS)


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


# What is trained


@pytest.mark.parametrize(
    ("technique", "kind", "count"),
    [
        # Rank 4: 4 x (inputs + outputs) a layer; two layers of each model.
        (LORA, "gpt2", 2 * 4 * (32 + 96)),  # one product makes query, key and value
        (LORA, "llama", 2 * 4 * ((32 + 32) + (32 + 16))),  # two heads of keys and values
        (LORA, "bert", 2 * 4 * 2 * (32 + 32) + 2 * 32 + 2),  # and the classifier
        (RSLORA, "gpt2", 2 * 4 * (32 + 96)),
        (DORA, "gpt2", 2 * (4 * (32 + 96) + 96)),  # and the length of each row
        (DORA, "llama", 2 * (4 * (64 + 48) + 32 + 16)),
        (DORA, "bert", 2 * (4 * 2 * 64 + 2 * 32) + 66),
        (IA3, "gpt2", 2 * (96 + 4 * 32)),  # query, key, value; neurons
        (IA3, "llama", 2 * (16 + 16 + 48)),
        (IA3, "bert", 2 * (32 + 32 + 32 + 64) + 66),  # peft takes the output of attention, too
        (replace(LORA, targets="all-linear"), "llama", 2 * 4 * (64 + 48 + 48 + 64 + 3 * 80)),
        (replace(LORA, targets=["k_proj"]), "llama", 2 * 4 * 48),
        # Unknown to peft: every linear layer, and both layers of the new classifier as they are.
        (LORA, "distilbert", 4 * (4 * 64 + 2 * 96) + 32 * 32 + 32 + 66),
    ],
)
def test_only_adapters_and_new_classifiers_are_trained(
    technique: Adapter, kind: str, count: int
) -> None:
    found = trained(prepared(technique, kind))
    assert sum(p.numel() for p in found.values()) == count
    heads = {"bert": ("classifier.",), "distilbert": ("classifier.", "pre_classifier.")}
    adapter = ("lora_", "ia3_")
    for name in found:
        assert name.startswith(heads.get(kind, ("no head",))) or any(a in name for a in adapter)


@pytest.mark.parametrize("technique", EVERY, ids=NAMES)
def test_it_starts_from_initial_weights_and_answers_as_they_do(technique: Adapter) -> None:
    model, initial = prepared(technique, "llama"), Language(kind="llama").build(3)
    given = initial.state_dict()
    for name, value in model.state_dict().items():
        plain = name.replace(".base_layer", "")
        if plain in given:
            assert torch.equal(value, given[plain])
    torch.testing.assert_close(answers(model, "llama"), answers(initial, "llama"))
    again = prepared(technique, "llama")
    assert same_tensors(model.state_dict(), again.state_dict())  # the seed draws the rest


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
@pytest.mark.parametrize("technique", EVERY, ids=NAMES)
def test_training_changes_adapters_and_nothing_else(technique: Adapter, kind: str) -> None:
    model, workload = prepared(technique, kind), Language(kind=kind)
    before = copy.deepcopy(model.state_dict())
    recipe = replace(
        RECIPE, epochs=2.0, batch_size=4, optimizer="adamw", warmup=0.0, **technique.recipe
    )
    train(model, Course(workload, recipe, task_loss(workload, recipe), 0), Nobody())
    after = {name: value.cpu() for name, value in model.state_dict().items()}
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == set(trained(model))


def test_forgotten_activations_train_adapters_to_the_same_weights() -> None:
    workload = Language(kind="llama")
    found = []
    for checkpointing in (False, True):
        model = prepared(replace(LORA, dropout=0.0), "llama")
        recipe = replace(RECIPE, batch_size=12, warmup=0.0, checkpointing=checkpointing)
        train(model, Course(workload, recipe, task_loss(workload, recipe), 0), Nobody())
        found.append({name: p.detach() for name, p in trained(model).items()})
    for name, value in found[0].items():
        assert value.abs().max() > 0  # half of them were 0
        torch.testing.assert_close(found[1][name], value)


def test_the_recipe_is_the_baselines_but_for_what_is_asked() -> None:
    assert replace(LORA, learning_rate=None).recipe == {}
    assert replace(LORA, epochs=2).recipe == {"epochs": 2, "learning_rate": 0.01}
    assert IA3.recipe == {"weight_decay": 0.0, "learning_rate": 0.01}  # factors begin at 1


def test_beside_weights_of_16_bits_adapters_are_trained_in_32() -> None:
    model = LORA.adapted(Language(kind="llama").build(0).to(torch.bfloat16))
    assert {p.dtype for p in trained(model).values()} == {torch.float32}
    assert answers(model, "llama").dtype == torch.bfloat16
    merged = LORA.convert(model, setting("llama"))
    assert {p.dtype for p in merged.parameters()} == {torch.bfloat16}


# What is served


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
@pytest.mark.parametrize("technique", EVERY, ids=NAMES)
def test_merged_and_unmerged_answer_alike(technique: Adapter, kind: str) -> None:
    model = as_trained(technique, kind)
    expected, initial = answers(model, kind), answers(Language(kind=kind).build(3), kind)
    assert (expected - initial).abs().max() > 1e-4
    merged = technique.convert(model, setting(kind))
    torch.testing.assert_close(answers(merged, kind), expected, rtol=1e-5, atol=1e-5)
    fresh = Language(kind=kind).build(0)
    assert {n: t.shape for n, t in merged.state_dict().items()} == {
        n: t.shape for n, t in fresh.state_dict().items()
    }
    assert adapters(merged) == []
    assert all(p.requires_grad for p in merged.parameters())  # a later stage may train it
    assert not hasattr(merged, "peft_config")


@pytest.mark.parametrize("technique", [LORA, RSLORA, DORA], ids=NAMES[:3])
def test_merged_weights_are_those_of_the_papers(technique: Lora) -> None:
    model = as_trained(technique, "llama")
    tensors = {n: t.clone() for n, t in model.state_dict().items()}
    at = "model.layers.1.self_attn.q_proj"
    down, up = (tensors[f"{at}.lora_{m}.default.weight"] for m in "AB")
    scale = 8 / (math.sqrt(4) if technique.variant == "rslora" else 4)
    expected = tensors[f"{at}.base_layer.weight"] + scale * up @ down
    if technique.variant == "dora":
        length = tensors[f"{at}.lora_magnitude_vector.default.weight"]
        expected = length[:, None] * expected / expected.norm(dim=1, keepdim=True)
    merged = technique.convert(model, setting("llama")).state_dict()
    torch.testing.assert_close(merged[f"{at}.weight"], expected)


def test_merged_factors_scale_outputs_of_keys_and_inputs_behind_neurons() -> None:
    model = as_trained(IA3, "gpt2")
    tensors = {n: t.clone() for n, t in model.state_dict().items()}
    merged = IA3.convert(model, setting("gpt2")).state_dict()
    for at in ("transformer.h.0.attn.c_attn", "transformer.h.1.mlp.c_proj"):
        kept, factor = tensors[f"{at}.base_layer.weight"], tensors[f"{at}.ia3_l.default"].flatten()
        scaled = kept * (factor if "attn" in at else factor[:, None])  # (inputs, outputs)
        torch.testing.assert_close(merged[f"{at}.weight"], scaled)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("technique", EVERY, ids=NAMES)
def test_an_artefact_comes_back_bit_for_bit(
    tmp_path: Path, technique: Adapter, merged: bool, kind: str
) -> None:
    technique, workload = replace(technique, merged=merged), Language(kind=kind)
    model = technique.convert(as_trained(technique, kind), setting(kind))
    batch = facts.probe_batch(workload)
    outputs = facts.probe(workload, EAGER, model, batch)
    artefacts.save(model, (technique,), outputs, tmp_path, "ab" * 32)
    fresh = artefacts.load(workload, (technique,), 9, tmp_path)
    assert torch.equal(facts.probe(workload, EAGER, fresh, batch), outputs)
    assert any(isinstance(m, BaseTunerLayer) for m in fresh.modules()) is not merged
    assert facts.simulations(fresh) == ()
    names = artefacts.load_file(tmp_path / artefacts.WEIGHTS).keys()
    assert any(".base_layer." in name for name in names) is not merged


# What is refused


def terms(kind: str | None = "gpt2", **training: Any) -> Terms:
    workload = Tiny() if kind is None else Language(kind=kind)
    return Terms(workload, training, "eager", CPU)


def test_what_can_be_adapted_is_taken() -> None:
    for technique in EVERY:
        for kind in ("gpt2", "llama", "bert"):
            technique.require(terms(kind))
    replace(LORA, targets=["fc"]).require(terms(None))  # of a network of images
    replace(IA3, targets=["lin2", "k_lin"], feedforward=["lin2"]).require(terms("distilbert"))


@pytest.mark.parametrize(
    ("technique", "kind", "told"),
    [
        (LORA, None, r"technique=lora finds no layers of technique\.targets=None in Net"),
        (IA3, None, r"technique=ia3 finds no layers of technique\.targets=None in Net"),
        (IA3, "distilbert", r"finds no layers of technique\.targets=None in DistilBert"),
        (replace(LORA, targets=["querty"]), "bert", r"finds no layers of .*querty.*all-linear tak"),
        (replace(LORA, targets=["classifier"]), "bert", "finds no layers"),  # trained whole
        (replace(LORA, targets=["lm_head"]), "llama", "finds no layers"),  # shared with embeddings
        (replace(LORA, targets=["wte"]), "gpt2", r"transformer\.wte is no linear layer, but Embe"),
        (replace(LORA, targets=["conv1"]), None, "conv1 is no linear layer, but Conv2d"),
        (QLORA, "llama", r"technique=qlora trains beside weights in 4 bits on NVIDIA GPUs"),
    ],
)
def test_layers_that_cannot_be_adapted_are_refused(
    technique: Adapter, kind: str | None, told: str
) -> None:
    with pytest.raises(TechniqueError, match=told):
        technique.require(terms(kind))


def test_as_many_epochs_as_none_are_refused() -> None:
    with pytest.raises(TechniqueError, match=r"training\.epochs=0: technique\.epochs=3 trains"):
        LORA.require(terms("gpt2", epochs=0))
    replace(LORA, epochs=1).require(terms("gpt2", epochs=0))


@pytest.mark.parametrize(
    ("technique", "changes", "told"),
    [
        (LORA, {"rank": 0}, r"technique\.rank is 0: at least 1"),
        (LORA, {"alpha": 0}, r"technique\.alpha is 0: at least 1"),
        (LORA, {"dropout": 1}, r"technique\.dropout must be in \[0, 1\), got 1"),
        (LORA, {"variant": "vera"}, r"technique\.variant is 'vera': one of lora, rslora, dora"),
        (LORA, {"targets": "query"}, r"technique\.targets is 'query': a list of layers"),
        (LORA, {"epochs": 0}, r"technique\.epochs is 0: above 0, or null"),
        (IA3, {"learning_rate": -1}, r"technique\.learning_rate is -1: above 0"),
        (IA3, {"feedforward": ["lin2"]}, r"technique\.feedforward has 'lin2', and technique\.targ"),
        (QLORA, {"variant": "dora"}, r"technique\.variant=dora needs the length of each row"),
    ],
)
def test_impossible_knobs_are_refused(
    technique: Adapter, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        replace(technique, **changes)


def test_labels_tell_what_differs() -> None:
    assert LORA.label == "lora r4"
    assert replace(LORA, targets=["q_proj", "v_proj"]).label == "lora r4, q_proj v_proj"
    assert replace(QLORA, merged=False).label == "qlora r4, all-linear, unmerged"
    assert (IA3.label, replace(IA3, merged=False).label) == ("ia3", "ia3, unmerged")


def test_a_merged_adapter_is_built_upon_and_one_that_is_not_ends_a_chain() -> None:
    last = Half("bf16", "bf16")
    assert Chain("chain", {"lora": LORA, "bf16": last}).stages == (LORA, last)
    with pytest.raises(ValueError, match="bf16 comes after lora, but its adapters lie beside"):
        Chain("chain", {"lora": replace(LORA, merged=False), "bf16": last})
    first = StructuredPruning("pruned", 0.5, None, "magnitude", "layer", 1, 8, 0.0, 0.02)
    with pytest.raises(ValueError, match="lora comes after pruned, but it trains from initial"):
        Chain("chain", {"pruned": first, "lora": LORA})


# Weights in 4 bits

# The 16 values of NF4, from the appendix of the paper (Dettmers et al. 2023, arXiv:2305.14314, E).
LEVELS = torch.tensor(
    [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ]
)


def by_hand(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers of the nearest level for blocks of 64 weights, and the largest of each block."""
    blocks = weight.reshape(-1, 64)
    largest = blocks.abs().amax(dim=1, keepdim=True)
    return ((blocks / largest)[..., None] - LEVELS).abs().argmin(dim=-1), largest


@pytest.fixture
def nf4() -> Any:
    pytest.importorskip("bitsandbytes", reason="the extra gpu is not installed")
    from bench.techniques.adapters import nf4

    return nf4


@pytest.mark.parametrize("turned", [False, True])
def test_weights_are_rounded_to_the_nearest_of_sixteen_levels(nf4: Any, turned: bool) -> None:
    torch.manual_seed(0)
    layer = Conv1D(48, 64) if turned else nn.Linear(64, 48)
    weight = layer.weight.detach().t() if turned else layer.weight.detach()
    packed = nf4.Nf4Linear(layer).fill(nf4.upright(layer))
    levels, largest = by_hand(weight)
    both = torch.stack([packed.weight >> 4, packed.weight & 15], dim=-1).flatten().long()
    assert torch.equal(both, levels.flatten())
    opened = packed.opened()
    assert type(opened) is type(layer)
    found = opened.weight.detach().t() if turned else opened.weight.detach()
    # Magnitudes of blocks are rounded to 8 bits, values to bfloat16.
    exact = (LEVELS[levels] * largest).reshape(48, 64)
    torch.testing.assert_close(found, exact, rtol=0.02, atol=0.01 * float(largest.max()))
    rows = torch.randn(5, 64)
    torch.testing.assert_close(packed(rows), opened(rows), rtol=0.05, atol=0.05)
    with FlopCounterMode(display=False) as counter:
        packed(rows)
    assert counter.get_total_flops() == 2 * 5 * 64 * 48


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_4_bit_weights_stay_under_adapters_and_are_widened_where_they_are_merged(
    nf4: Any, kind: str
) -> None:
    model = as_trained(QLORA, kind)
    packed = [m for m in model.modules() if isinstance(m, nf4.Nf4Linear)]
    assert len(packed) == len(adapters(model)) > 0
    assert set(trained(model)) == {
        n for n in model.state_dict() if "lora_" in n or n.startswith("classifier")
    }
    expected = answers(model, kind)
    merged = QLORA.convert(model, setting(kind))
    # One multiplies in bfloat16, the other does not.
    torch.testing.assert_close(answers(merged, kind), expected, rtol=0.05, atol=0.05)
    fresh = Language(kind=kind).build(0).state_dict()
    assert {n: t.shape for n, t in merged.state_dict().items()} == {
        n: t.shape for n, t in fresh.items()
    }


def test_a_4_bit_artefact_is_smaller_and_comes_back_bit_for_bit(nf4: Any, tmp_path: Path) -> None:
    technique, workload = replace(QLORA, merged=False), Language(kind="llama")
    model = as_trained(technique, "llama")
    batch = facts.probe_batch(workload)
    outputs = facts.probe(workload, EAGER, model, batch)
    kept = artefacts.save(model, (technique,), outputs, tmp_path, "ab" * 32)
    fresh = artefacts.load(workload, (technique,), 9, tmp_path)
    assert torch.equal(facts.probe(workload, EAGER, fresh, batch), outputs)
    assert same_tensors(fresh.state_dict(), model.state_dict())
    layers = [m for m in fresh.modules() if isinstance(m, nf4.Nf4Linear)]
    halves = sum(m.weight.nbytes for m in layers)
    assert halves == sum(m.in_features * m.out_features for m in layers) // 2
    whole = sum(t.nbytes for t in workload.build(0).state_dict().values())
    assert halves < kept.bytes < whole


@pytest.mark.gpu
def test_adapters_are_trained_over_4_bit_weights_on_the_gpu(nf4: Any) -> None:
    workload = Language(kind="llama")
    shown = Setting(workload, workload.build(9).cuda(), 3)
    model = QLORA.prepare(copy.deepcopy(shown.baseline), shown)
    before = copy.deepcopy(model.state_dict())
    recipe = replace(RECIPE, epochs=2.0, batch_size=4, optimizer="adamw", precision="bf16")
    train(model, Course(workload, recipe, task_loss(workload, recipe), 0), Nobody())
    moved = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert moved == set(trained(model))
