"""Integers: a quarter of the bytes, integer kernels, the same answers after loading."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import RECIPE, Nobody, Tiny, configured, trained_looking
from torch import nn

from bench import artefacts, facts
from bench.runtime import Runtime
from bench.techniques import Setting, Technique, TechniqueError, Terms
from bench.techniques.int8.qat import Int8Aware
from bench.techniques.int8.static import Int8Static
from bench.techniques.structured_pruning import StructuredPruning
from bench.training import Course, task_loss, train

COMPILED = Runtime("compile", "compile", "cpu", None, "contiguous", freezing=True, tf32=False)
STATIC = Int8Static("int8_static", batches=4, batch_size=16)
AWARE = Int8Aware("int8_qat", epochs=1.0, learning_rate=0.01)
DIGITS = configured("resnet_digits")


def in_integers(technique: Int8Static, workload: Any, model: nn.Module) -> nn.Module:
    return technique.convert(copy.deepcopy(model), Setting(workload, model, 0))


def kept(folder: Path, workload: Any, stages: tuple[Technique, ...], model: nn.Module) -> Any:
    """Save a model, load it anew, and return both answers with the bytes."""
    batch = facts.probe_batch(workload)
    outputs = facts.probe(workload, COMPILED, model, batch)
    made = artefacts.save(model, stages, outputs, folder, "ab" * 32)
    fresh = artefacts.load(workload, stages, 7, folder)
    return outputs, facts.probe(workload, COMPILED, fresh, batch), made.bytes, fresh


def test_an_artefact_of_integers_has_a_quarter_of_the_bytes_and_reloads_exactly(
    tmp_path: Path,
) -> None:
    model = trained_looking(DIGITS.build(0))
    outputs, again, size, fresh = kept(
        tmp_path, DIGITS, (STATIC,), in_integers(STATIC, DIGITS, model)
    )
    assert torch.equal(outputs, again)
    fp32 = sum(tensor.nbytes for tensor in model.state_dict().values())
    assert size < 0.30 * fp32
    weights = [m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    integers = [b.numel() for b in fresh.buffers() if b.dtype == torch.int8]
    assert sorted(integers) == sorted(weights)


def test_answers_in_integers_are_near_those_of_the_model(tmp_path: Path) -> None:
    model = trained_looking(Tiny().build(0))
    integers = in_integers(STATIC, Tiny(), model)
    batch = Tiny().test_examples().__getitems__(range(100))
    with torch.no_grad():
        gap = Tiny().forward(integers, batch) - Tiny().forward(model, batch)
        spread = Tiny().forward(model, batch).std()
    assert 0 < float(gap.abs().mean()) < 0.05 * float(spread)


def test_any_number_of_examples_is_answered(tmp_path: Path) -> None:
    model = trained_looking(Tiny().build(0))
    integers = in_integers(STATIC, Tiny(), model)
    for count in (1, 3, 100):
        batch = Tiny().test_examples().__getitems__(range(count))
        assert Tiny().forward(integers, batch).shape == (count, 4)


def test_compiled_they_are_integer_kernels_and_nothing_simulates() -> None:
    model = trained_looking(Tiny().build(0))
    integers = in_integers(STATIC, Tiny(), model)
    assert facts.simulations(integers) == ()
    assert facts.parameters(integers) < facts.parameters(model)  # normalisation is folded in
    COMPILED.set_up()
    served = COMPILED.compile(COMPILED.place(integers))
    batch = COMPILED.inputs(Tiny().test_examples().__getitems__(range(16)), integers)
    with torch.inference_mode():
        Tiny().forward(served, batch)
    kernels = " ".join(facts.kernels(Tiny(), COMPILED, served, batch))
    assert any(part in kernels for part in STATIC.kernels)


def test_pruned_channels_stay_pruned_in_integers(tmp_path: Path) -> None:
    prune = StructuredPruning("prune", 0.5, None, "magnitude", "layer", 1, 8, 0, 0.1)
    model = trained_looking(Tiny().build(0))
    smaller = prune.prepare(copy.deepcopy(model), Setting(Tiny(), model, 0)).eval()
    outputs, again, _, fresh = kept(
        tmp_path, Tiny(), (prune, STATIC), in_integers(STATIC, Tiny(), smaller)
    )
    assert torch.equal(outputs, again)
    assert sorted(b.shape[0] for b in fresh.buffers() if b.dtype == torch.int8) == [4, 8, 16]


def test_training_that_knows_of_the_rounding_ends_in_integers(tmp_path: Path) -> None:
    model = trained_looking(Tiny().build(0))
    graph = AWARE.prepare(copy.deepcopy(model), Setting(Tiny(), model, 0))
    assert facts.simulations(graph)  # while it is trained
    recipe = replace(RECIPE, **AWARE.recipe)
    before = {name: p.detach().clone() for name, p in graph.named_parameters()}
    train(graph, Course(Tiny(), recipe, task_loss(Tiny(), recipe), 0), Nobody())
    assert any(not torch.equal(p, before[name]) for name, p in graph.named_parameters())
    graph.eval()
    integers = AWARE.convert(graph, Setting(Tiny(), model, 0))
    assert facts.simulations(integers) == ()
    outputs, again, _, _ = kept(tmp_path, Tiny(), (AWARE,), integers)
    assert torch.equal(outputs, again)


@pytest.mark.parametrize("technique", [STATIC, AWARE])
def test_what_would_only_simulate_is_refused_before_anything_is_trained(
    technique: Technique,
) -> None:
    terms = Terms(Tiny(), {"learning_rate": 0.05}, "compile", torch.device("cpu"))
    technique.require(terms)
    with pytest.raises(TechniqueError, match=r"would only simulate integers.*runtime=compile"):
        technique.require(replace(terms, mode="eager"))
    with pytest.raises(TechniqueError, match=r"x86 CPUs only: runtime\.device=cpu"):
        technique.require(replace(terms, device=torch.device("cuda")))


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: replace(STATIC, batches=0), r"technique\.batches is 0"),
        (lambda: replace(STATIC, batch_size=0), r"technique\.batch_size is 0"),
        (lambda: replace(AWARE, epochs=0), r"technique\.epochs is 0"),
        (lambda: replace(AWARE, learning_rate=-1), r"technique\.learning_rate=-1 above 0"),
    ],
)
def test_impossible_knobs_are_refused(build: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        build()
