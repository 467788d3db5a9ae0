"""Texts cut before the model: to their first tokens, closed, whatever comes before or after it."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import EAGER, Tiny, same_tensors, tiny_language, tiny_lm
from torch import Tensor, nn

from bench import artefacts, facts
from bench.techniques import Setting, Technique, TechniqueError, Terms
from bench.techniques.encoder_pruning.heads import HeadPruning
from bench.techniques.encoder_pruning.layers import LayerDropping
from bench.techniques.sequence_length import SequenceLength
from bench.workloads.language.anatomy import blocks

CUT = SequenceLength("sequence_length", 6, 1, None)
LANGUAGE = tiny_language(layers=2)
HEADS = HeadPruning("head_pruning", 0.5, "magnitude", "layer", 32, 1, None)
DROP = LayerDropping("layer_dropping", 0.5, None, "top", 1, None)

OPEN, CLOSE, EMPTY = 2, 3, 0
BATCH = {  # ten tokens, exactly six, four
    "input_ids": torch.tensor(
        [
            [OPEN, 10, 11, 12, 13, 14, 15, 16, 17, CLOSE],
            [OPEN, 20, 21, 22, 23, CLOSE, EMPTY, EMPTY, EMPTY, EMPTY],
            [OPEN, 30, 31, CLOSE, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY],
        ]
    ),
    "attention_mask": torch.tensor([[1] * 10, [1] * 6 + [0] * 4, [1] * 4 + [0] * 6]),
    "token_type_ids": torch.tensor([[0] * 4 + [1] * 6, [0] * 10, [0] * 10]),
}
BY_HAND = {
    "input_ids": torch.tensor(
        [
            [OPEN, 10, 11, 12, 13, CLOSE],
            [OPEN, 20, 21, 22, 23, CLOSE],
            [OPEN, 30, 31, CLOSE, EMPTY, EMPTY],
        ]
    ),
    "attention_mask": torch.tensor([[1] * 6, [1] * 6, [1] * 4 + [0] * 2]),
    "token_type_ids": torch.tensor([[0] * 4 + [1] * 2, [0] * 6, [0] * 6]),
}


def lively() -> Any:
    """An encoder that answers differently when any token does."""
    model = LANGUAGE.build(0).eval()
    drawn = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            module.weight.data.normal_(0, 0.3, generator=drawn)
    return model


def answers(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        return LANGUAGE.forward(model, batch)


def shortened(model: nn.Module) -> Any:
    return CUT.prepare(copy.deepcopy(model), Setting(LANGUAGE, model, 0))


def test_a_longer_text_loses_its_end_but_for_the_token_that_closes_it() -> None:
    model = lively()
    seen: dict[str, Tensor] = {}
    short = shortened(model)

    def see(module: nn.Module, args: Any, inputs: dict[str, Tensor]) -> None:
        seen.update(inputs)

    short.register_forward_pre_hook(see, with_kwargs=True)  # comes behind the one that cuts
    assert torch.equal(answers(short, BATCH), answers(model, BY_HAND))
    assert same_tensors(seen, BY_HAND)
    whole = answers(model, BATCH)
    assert not torch.allclose(answers(short, BATCH)[0], whole[0], atol=1e-3)
    torch.testing.assert_close(answers(short, BATCH)[1:], whole[1:], rtol=1e-4, atol=1e-4)


def test_batches_without_a_longer_text_are_left_alone() -> None:
    model = lively()
    short = shortened(model)
    assert torch.equal(answers(short, BY_HAND), answers(model, BY_HAND))
    plain = {name: value[2:, :4] for name, value in BATCH.items() if name != "token_type_ids"}
    assert torch.equal(answers(short, plain), answers(model, plain))


def test_the_model_keeps_its_names_and_its_parts_and_the_baseline_its_texts() -> None:
    model = lively()
    before = answers(model, BATCH)
    short = shortened(model)
    assert same_tensors(short.state_dict(), model.state_dict())
    assert short.config.num_hidden_layers == len(blocks(short)) == 2
    assert torch.equal(answers(model, BATCH), before)
    assert torch.equal(answers(copy.deepcopy(short), BATCH), answers(model, BY_HAND))


def test_operations_fall_with_the_tokens() -> None:
    def by_hand(tokens: int) -> int:
        a_layer = tokens * (4 * 32 * 32 + 2 * 32 * 64) + 2 * tokens**2 * 32
        return 2 * a_layer + 32 * 32 + 2 * 32

    model = lively()
    assert facts.macs(LANGUAGE, EAGER, model, BATCH) == by_hand(10)
    assert facts.macs(LANGUAGE, EAGER, shortened(model), BATCH) == by_hand(6)


@pytest.mark.parametrize(
    "stages",
    [(CUT,), (CUT, HEADS), (HEADS, CUT), (DROP, CUT, HEADS)],
    ids=lambda stages: "+".join(stage.name for stage in stages),
)
def test_it_is_restored_wherever_in_a_chain_it_stands(
    stages: tuple[Technique, ...], tmp_path: Path
) -> None:
    baseline = lively()
    where, model = Setting(LANGUAGE, baseline, 0), copy.deepcopy(baseline)
    for stage in stages:
        model = stage.convert(stage.prepare(model, where).eval(), where)
    expected = facts.probe(LANGUAGE, EAGER, model, BATCH)
    artefacts.save(model, stages, expected, tmp_path, "ab" * 32)
    fresh = artefacts.load(LANGUAGE, stages, 9, tmp_path)
    assert torch.equal(facts.probe(LANGUAGE, EAGER, fresh, BATCH), expected)
    assert torch.equal(facts.probe(LANGUAGE, EAGER, fresh, BY_HAND), expected)


def test_a_length_that_cuts_nothing_is_refused() -> None:
    terms = Terms(LANGUAGE, {}, "eager", torch.device("cpu"))
    CUT.require(terms)
    with pytest.raises(TechniqueError, match=r"technique\.length=32 cuts nothing: bert_sentences"):
        replace(CUT, length=32).require(terms)  # workload.max_length
    # Padding to a fixed length is something to cut, even where no text is as long.
    fixed = replace(terms, workload=tiny_language(layers=2, padding="fixed"))
    replace(CUT, length=31).require(fixed)


def test_workloads_without_texts_are_refused() -> None:
    with pytest.raises(TechniqueError, match="technique=sequence_length cuts texts, and tiny has"):
        CUT.require(Terms(Tiny(), {}, "eager", torch.device("cpu")))


def test_workloads_that_answer_every_token_are_refused() -> None:
    with pytest.raises(TechniqueError, match=r"lm_sentences_prefill answers every token"):
        CUT.require(Terms(tiny_lm(), {}, "eager", torch.device("cpu")))


def test_what_it_is_called_and_how_it_is_fine_tuned() -> None:
    assert (CUT.label, CUT.shrinks, CUT.recipe) == ("sequence_length 6", False, {"epochs": 1})
    assert replace(CUT, learning_rate=0.1).recipe == {"epochs": 1, "learning_rate": 0.1}
    assert replace(CUT, epochs=0).recipe is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"length": 2}, r"technique\.length is 2: at least 3 tokens"),
        ({"epochs": -1}, r"technique\.epochs=-1 must be at least 0"),
        ({"learning_rate": 0}, r"technique\.learning_rate=0 above 0, or null"),
    ],
)
def test_impossible_knobs_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(CUT, **changes)
