"""Compiled alone: the same answers, kernels of the compiler, refused where it compares nothing."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from tiny import EAGER, RECIPE, Tiny, tiny_language

from bench import artefacts, asked, facts
from bench.techniques import Setting, Technique, TechniqueError, Terms
from bench.techniques.compiled import Compiled
from bench.workloads import WorkloadError

COMPILED = Compiled("compile", freezing=True)
CPU = torch.device("cpu")


def test_the_compiled_variant_answers_alike_and_reloads_exactly(tmp_path: Path) -> None:
    workload = Tiny()
    model = workload.build(0).eval().requires_grad_(False)
    served = COMPILED.convert(copy.deepcopy(model), Setting(workload, model, 0))
    batch = facts.probe_batch(workload)
    outputs = facts.probe(workload, EAGER, served, batch)
    torch.testing.assert_close(
        outputs, facts.probe(workload, EAGER, model, batch), atol=1e-5, rtol=1e-4
    )
    assert served.state_dict().keys() == model.state_dict().keys()
    artefacts.save(served, (COMPILED,), outputs, tmp_path, "ab" * 32)
    fresh = artefacts.load(workload, (COMPILED,), 9, tmp_path)
    assert torch.equal(facts.probe(workload, EAGER, fresh, batch), outputs)
    assert facts.macs(workload, EAGER, fresh, batch) == facts.macs(workload, EAGER, model, batch)
    names = " ".join(facts.kernels(workload, EAGER, fresh, batch, most=30))
    assert "CompiledFunction" in names or "mkldnn" in names or "Torch-Compiled" in names


def test_two_compiled_arms_are_refused() -> None:
    with pytest.raises(TechniqueError, match="runtime=eager"):
        COMPILED.require(Terms(Tiny(), {}, "compile", CPU))
    COMPILED.require(Terms(Tiny(), {}, "eager", CPU))


def test_without_a_compiler_it_is_said_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler --fast")
    with pytest.raises(TechniqueError, match=r"technique=compile compiles with no-such-compiler"):
        COMPILED.require(Terms(Tiny(), {}, "eager", CPU))
    compiled = dataclasses.replace(EAGER, mode="compile")
    none = Technique("none")
    with pytest.raises(TechniqueError, match=r"runtime\.mode=compile compiles with .*CXX names"):
        asked.require(Tiny(), none, RECIPE, compiled, {})
    asked.require(Tiny(), none, RECIPE, EAGER, {})
    monkeypatch.setenv("CXX", "sh -c")
    asked.require(Tiny(), none, RECIPE, compiled, {})


def test_texts_of_changing_length_are_refused() -> None:
    with pytest.raises(WorkloadError, match=r"workload\.padding=fixed"):
        COMPILED.require(Terms(tiny_language(), {}, "eager", CPU))
