"""Weights in few bits: refused where they would be pointless, exact after loading."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import EAGER, Tiny, same_tensors, tiny_language
from torch import Tensor, nn

from bench import artefacts, facts
from bench.techniques import Setting, TechniqueError, Terms
from bench.techniques.quantized import Quantized
from bench.techniques.semi_structured_pruning import SemiStructuredPruning

CPU = torch.device("cpu")
SPARSE = SemiStructuredPruning("semi_structured_pruning", 1.0, 0.01)


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(192, 128)
        self.fc = nn.Linear(128, 4)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.fc(F.relu(self.hidden(pixels.flatten(1))))


class Tied(nn.Module):
    """An output layer that is the table of embeddings, behind one layer that is not."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.table = nn.Embedding(words, 64)
        self.block = nn.Linear(64, 64, bias=False)
        self.head = nn.Linear(64, words, bias=False)
        self.head.weight = self.table.weight


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (1000, "quantizes linear layers, which hold 6% of the parameters of bare"),
        (250, "would make bare larger: its output layer is its table of embeddings"),
        (150, None),
    ],
)
def test_a_shared_output_layer_is_none_to_quantize(words: int, told: str | None) -> None:
    """By hand: 64 weights of 64 against ``words`` rows; in integers three of four bytes go."""
    bare = SimpleNamespace(name="bare", build=lambda seed: Tied(words), require=lambda what: None)
    terms = Terms(bare, {}, "eager", CPU)  # type: ignore[arg-type]
    technique = Quantized("int8", "int8_weight_only", embeddings=False)
    if told is None:
        technique.require(terms)
        return
    with pytest.raises(TechniqueError, match=told):
        technique.require(terms)


@dataclass(frozen=True)
class Perceptron(Tiny):
    def build(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return Dense()


@pytest.mark.parametrize("scheme", ["int8_weight_only", "int8_dynamic"])
def test_packed_weights_take_a_quarter_of_the_bytes_and_reload_exactly(
    tmp_path: Path, scheme: Any
) -> None:
    technique, workload = Quantized(scheme, scheme, embeddings=False), Perceptron()
    model = workload.build(0).eval().requires_grad_(False)
    packed = technique.convert(copy.deepcopy(model), Setting(workload, model, 0))
    batch = facts.probe_batch(workload)
    outputs = facts.probe(workload, EAGER, packed, batch)
    made = artefacts.save(packed, (technique,), outputs, tmp_path, "ab" * 32)
    assert made.bytes < 0.35 * sum(t.nbytes for t in model.state_dict().values())
    fresh = artefacts.load(workload, (technique,), 9, tmp_path)
    assert torch.equal(facts.probe(workload, EAGER, fresh, batch), outputs)
    gap = (outputs - facts.probe(workload, EAGER, model, batch)).abs().mean()
    assert 0 < gap < 0.05 * facts.probe(workload, EAGER, model, batch).std()
    assert facts.parameters(packed) == facts.parameters(model)


def test_a_model_of_convolutions_is_refused_before_it_is_trained() -> None:
    terms = Terms(Tiny(), {}, "eager", CPU)
    with pytest.raises(TechniqueError, match=r"linear layers, which hold \d+% of .*int8_static"):
        Quantized("int8_dynamic", "int8_dynamic", embeddings=False).require(terms)
    Quantized("int8_dynamic", "int8_dynamic", embeddings=False).require(
        replace(terms, workload=Perceptron())
    )


@pytest.mark.parametrize(
    ("scheme", "capability"), [("int4_weight_only", "8.0"), ("float8_dynamic", "8.9")]
)
def test_schemes_without_kernels_here_are_refused(scheme: Any, capability: str) -> None:
    terms = Terms(Perceptron(), {}, "eager", CPU)
    with pytest.raises(TechniqueError, match=f"compute capability {capability} or more, and there"):
        Quantized(scheme, scheme, embeddings=False).require(terms)


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match=r"technique\.scheme is 'int2': one of int8_weight_only"):
        Quantized("int2", "int2", embeddings=False)  # type: ignore[arg-type]


def test_two_of_every_four_weights_are_left_the_larger_ones() -> None:
    model = Perceptron().build(0)
    sparse: Any = SPARSE.prepare(copy.deepcopy(model), Setting(Perceptron(), model, 0))
    groups = sparse.hidden.weight.detach().view(128, 48, 4)
    assert torch.equal((groups != 0).sum(-1), torch.full((128, 48), 2))
    dense = model.hidden.weight.detach().view(128, 48, 4)
    largest = dense.abs().sort(-1, descending=True).values[..., :2].sum()
    torch.testing.assert_close(groups.abs().sum(), largest)
    assert torch.equal(sparse.fc.weight, model.fc.weight)  # four classes fit no unit


def test_what_is_saved_of_them_is_two_values_and_their_places() -> None:
    model = Perceptron().build(0)
    where = Setting(Perceptron(), model, 0)
    sparse = SPARSE.convert(SPARSE.prepare(copy.deepcopy(model), where), where)
    saved = SPARSE.pack(sparse, dict(sparse.state_dict()))
    weight = 192 * 128
    assert saved["hidden.weight.kept"].numel() == weight // 2
    assert saved["hidden.weight.places"].numel() == weight // 4
    back = SPARSE.unpack(Perceptron().build(1), saved)
    assert same_tensors(back, dict(sparse.state_dict()))


def test_sparse_units_are_asked_for_before_anything_is_trained() -> None:
    with pytest.raises(
        TechniqueError, match=r"compute capability 8\.0 or more, and there is no GP"
    ):
        SPARSE.require(Terms(Perceptron(), {"learning_rate": 0.05}, "eager", CPU))
    with pytest.raises(ValueError, match=r"technique\.epochs=-1"):
        replace(SPARSE, epochs=-1)


@pytest.mark.gpu
def test_sparse_units_answer_as_the_dense_model_does() -> None:
    model = Perceptron().build(0)
    where = Setting(Perceptron(), model, 0)
    sparse = SPARSE.convert(SPARSE.prepare(copy.deepcopy(model), where), where).cuda()
    pixels = torch.randn(64, 3, 8, 8, device="cuda", dtype=torch.bfloat16)
    before = sparse(pixels)
    torch.testing.assert_close(SPARSE.deploy(sparse)(pixels), before, rtol=0.05, atol=0.05)


def test_a_table_of_integers_answers_within_half_a_step_of_the_table(tmp_path: Path) -> None:
    workload = tiny_language(layers=1)
    technique = Quantized("int8_dynamic", "int8_dynamic", embeddings=True)
    model = workload.build(0).eval().requires_grad_(False)
    table = model.base_model.embeddings.word_embeddings.weight.clone()
    packed = technique.convert(copy.deepcopy(model), Setting(workload, model, 0))
    rows = torch.tensor([[3, 7, 3]])
    found = packed.base_model.embeddings.word_embeddings(rows)
    step = table[rows].abs().amax(dim=-1, keepdim=True) / 127
    assert ((found - table[rows]).abs() <= step / 2 + 1e-7).all()
    batch = facts.probe_batch(workload)
    outputs = facts.probe(workload, EAGER, packed, batch)
    made = artefacts.save(packed, (technique,), outputs, tmp_path, "ab" * 32)
    assert made.bytes < 0.4 * sum(t.nbytes for t in model.state_dict().values())
    fresh = artefacts.load(workload, (technique,), 9, tmp_path)
    assert torch.equal(facts.probe(workload, EAGER, fresh, batch), outputs)
    assert facts.parameters(packed) == facts.parameters(model)
