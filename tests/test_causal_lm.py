"""Texts become batches, losses and tokens, as the library, arithmetic and Alpaca's authors say."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import DATA, LANGUAGE_MODELS, RECIPE, configured, tiny_lm
from torch import Tensor, nn

from bench.digests import labels_sha256
from bench.measurement.serving import load_of
from bench.statistics.metrics import METRICS
from bench.techniques import Setting
from bench.techniques.distillation.hinton import Distillation
from bench.training import task_loss
from bench.workloads import WorkloadError
from bench.workloads.causal_lm import decoding, generated, models, prompts, sequences
from bench.workloads.checkpoints import of_words, tokenizer

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")

# Taori et al. (2023), tatsu-lab/stanford_alpaca, train.py: PROMPT_DICT["prompt_input"] and
# ["prompt_no_input"], as printed there.
PUBLISHED = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n### Instruction:\n"
    "Add them.\n\n### Input:\n1 and 2\n\n### Response:"
)
PUBLISHED_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\nAdd them.\n\n### Response:"
)


def batch_of(workload: Any, count: int = 6) -> dict[str, Tensor]:
    return workload.train_examples().__getitems__(range(count))


def with_wide_weights(model: nn.Module) -> nn.Module:
    """Return the model with weights so far from 0 that it says more than one word."""
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.3, generator=generator)
    return model.eval()


@pytest.mark.parametrize("model_type", LANGUAGE_MODELS)
def test_the_loss_is_the_librarys_own_on_the_same_targets(model_type: str) -> None:
    workload = tiny_lm(model_type=model_type)
    model, batch = with_wide_weights(workload.build(0)), batch_of(workload)
    with torch.inference_mode():
        found = workload.loss(workload.forward(model, batch), batch, smoothing=0.0)
        wanted = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            labels=batch["targets"],
        ).loss
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_a_prediction_is_the_summed_loss_of_one_example_and_a_label_its_tokens() -> None:
    workload = tiny_lm()
    model, examples = with_wide_weights(workload.build(0)), workload.test_examples()
    batch = examples.__getitems__(range(5))
    with torch.inference_mode():
        found = workload.predict(workload.forward(model, batch), batch)
        for row in range(5):
            one = examples.__getitems__([row])
            answer = one["targets"][one["targets"] != -100]
            assert int(batch["labels"][row]) == len(answer)
            loss = model(input_ids=one["input_ids"], labels=one["targets"]).loss
            assert found[row].item() == pytest.approx(loss.item() * len(answer), rel=1e-4)
    score = workload.score(batch["labels"].numpy(), found.numpy())
    assert score["loss"] == pytest.approx(
        workload.loss(workload.forward(model, batch), batch, 0.0).item(), rel=1e-4
    )


def test_a_model_that_knows_nothing_has_the_vocabularys_size_as_perplexity() -> None:
    workload = tiny_lm()
    model = workload.build(0).eval()
    for parameter in model.parameters():
        parameter.data.zero_()
    batch = batch_of(workload)
    with torch.inference_mode():
        outputs = workload.forward(model, batch)
    nats = workload.predict(outputs, batch).numpy()
    score = workload.score(batch["labels"].numpy(), nats)
    assert score["perplexity"] == pytest.approx(256, rel=1e-4)
    assert score["log_likelihood"] == pytest.approx(-math.log(256), rel=1e-5)
    assert workload.metric in score
    assert METRICS["log_likelihood"](batch["labels"].numpy(), nats) == score["log_likelihood"]


def test_smoothing_takes_its_share_from_the_mean_over_the_vocabulary() -> None:
    workload = tiny_lm()
    targets = torch.tensor([[-100, 2, 0]])
    outputs = torch.tensor([[[0.0, 1.0, 2.0], [3.0, 1.0, 0.0], [9.0, 9.0, 9.0]]])
    logs = F.log_softmax(outputs[0, :2], dim=1)
    wanted = -0.8 * (logs[0, 2] + logs[1, 0]) / 2 - 0.2 * logs.mean()
    found = workload.loss(outputs, {"targets": targets}, smoothing=0.2)
    assert found.item() == pytest.approx(wanted.item())


def test_a_student_is_taught_at_the_tokens_that_it_has_to_predict() -> None:
    workload, temperature = tiny_lm(), 2.0
    teacher, student = with_wide_weights(workload.build(0)), workload.student("1L", 1).eval()
    setting = Setting(workload, teacher, 0)
    technique = Distillation("distillation", "1L", None, None, temperature, 1.0, {}, 0.0)
    batch = batch_of(workload)
    with torch.inference_mode():
        loss, outputs = technique.objective(task_loss(workload, RECIPE), setting)(student, batch)
        answers = workload.forward(teacher, batch)
    gaps = []
    for row, place in torch.nonzero(batch["targets"] != sequences.IGNORED).tolist():
        p = (answers[row, place - 1] / temperature).softmax(dim=0)
        q = (outputs[row, place - 1] / temperature).softmax(dim=0)
        gaps.append(float((p * (p / q).log()).sum()))
    assert len(gaps) == batch["labels"].sum()
    assert loss.item() == pytest.approx(temperature**2 * sum(gaps) / len(gaps), rel=1e-4)
    examples = workload.train_examples()
    assert technique.examples(examples, setting) is examples  # answers are asked for, never kept


def test_the_prompt_is_read_and_the_answer_with_its_end_is_learnt() -> None:
    workload = tiny_lm()
    (first, second, answer), words = generated.drawn("train")[0], workload.tokenizer
    batch = batch_of(workload, 3)
    asked = words(f"{first} {second}", add_special_tokens=False)["input_ids"]
    said = words(answer, add_special_tokens=False)["input_ids"]
    ids = [words.cls_token_id, *asked, *said, words.sep_token_id]
    length = batch["input_ids"].shape[1]
    padding = length - len(ids)
    assert batch["input_ids"][0].tolist() == [*ids, *[words.pad_token_id] * padding]
    assert batch["attention_mask"][0].tolist() == [1] * len(ids) + [0] * padding
    known = [-100] * (1 + len(asked))
    assert batch["targets"][0].tolist() == [*known, *said, words.sep_token_id, *[-100] * padding]
    assert int(batch["labels"][0]) == len(said) + 1


def test_alpacas_template_is_the_published_one() -> None:
    row = {"instruction": "Add them.", "input": "1 and 2"}
    assert prompts.filled("alpaca", row) == PUBLISHED
    assert prompts.filled("alpaca", {**row, "input": ""}) == PUBLISHED_WITHOUT_INPUT


def test_braces_in_a_text_are_left_as_they_are() -> None:
    row = {"instruction": "Say {input} and {__class__}.", "input": "{instruction}"}
    assert prompts.filled("{instruction}|{input}", row) == (
        "Say {input} and {__class__}.|{instruction}"
    )


def test_what_is_too_long_loses_its_end_or_is_left_out() -> None:
    words = of_words(["a b c d e f"])
    asked, said = ["a b", "a", "a b c d"], ["c", "b c d e", "e"]
    ids, starts, given, cut_off, left_out = sequences.answered(asked, said, words, most=5)
    cls, sep = words.cls_token_id, words.sep_token_id
    a, b, c, d = words.convert_tokens_to_ids(["a", "b", "c", "d"])
    # [CLS] a b c [SEP] fits; [CLS] a b c d e [SEP] loses two; [CLS] a b c d leaves no answer.
    assert ids.tolist() == [cls, a, b, c, sep, cls, a, b, c, d]
    assert starts.tolist() == [0, 5, 10]
    assert given.tolist() == [3, 2]
    assert (cut_off, left_out) == (1, 1)


def test_documents_are_packed_into_blocks_with_an_end_between_them() -> None:
    words = of_words(["a b c d e"])
    ids, starts, given = sequences.packed(["a b c", "d e"], None, words, block=4)
    cls, sep = words.cls_token_id, words.sep_token_id
    a, b, c, d, e = words.convert_tokens_to_ids(["a", "b", "c", "d", "e"])
    assert ids.tolist() == [cls, a, b, c, sep, cls, d, e]  # the last end fills no block
    assert starts.tolist() == [0, 4, 8]
    assert given.tolist() == [1, 1]


def test_every_token_of_a_packed_block_but_the_first_is_predicted() -> None:
    workload = tiny_lm(layout="text", block=16)
    batch = batch_of(workload)
    assert batch["input_ids"].shape == (6, 16)
    assert batch["attention_mask"].all()
    assert torch.equal(batch["targets"][:, 1:], batch["input_ids"][:, 1:])
    assert (batch["targets"][:, 0] == -100).all()
    assert batch["labels"].tolist() == [15] * 6


def test_batches_hold_examples_of_like_length_in_testing_too() -> None:
    sorted_too, plain = tiny_lm().test_examples(), tiny_lm(bucketing=False).test_examples()
    assert sorted(sorted_too.order.tolist()) == list(range(len(plain)))
    assert sorted(sorted_too.lengths) == sorted(plain.starts.diff().tolist())
    assert plain.lengths is None

    def padding(examples: Any) -> int:
        batches = [examples.__getitems__(range(i, i + 8)) for i in range(0, 200, 8)]
        return sum(int((batch["attention_mask"] == 0).sum()) for batch in batches)

    assert padding(sorted_too) < 0.5 * padding(plain)


def test_fixed_padding_gives_one_shape_and_the_same_losses() -> None:
    longest, fixed = tiny_lm(bucketing=False), tiny_lm(bucketing=False, padding="fixed")
    model = with_wide_weights(longest.build(0))
    found = []
    for workload in (longest, fixed):
        batch = batch_of(workload)
        with torch.inference_mode():
            found.append(workload.predict(workload.forward(model, batch), batch))
    assert batch["input_ids"].shape == (6, 32)
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model_type", LANGUAGE_MODELS)
def test_tokens_from_the_cache_are_those_of_reading_everything_again(model_type: str) -> None:
    model = with_wide_weights(tiny_lm(model_type=model_type).build(0))
    asked = torch.randint(5, 200, (3, 7), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        cache, first = decoding.read(model, asked)
        found = decoding.continued(model, cache, first, 6)
        text = asked
        for _ in range(7):
            logits = model(input_ids=text, use_cache=False).logits
            text = torch.cat([text, logits[:, -1:].argmax(dim=-1)], dim=1)
    assert torch.equal(first, text[:, 7:8])
    assert torch.equal(found, text[:, 8:])
    assert len(found.unique()) > 1


def test_every_pass_of_decoding_starts_from_its_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = tiny_lm(serve="decode", decode_tokens=5)
    model, examples = with_wide_weights(workload.build(0)), workload.served_examples()
    made: list[Tensor] = []
    continued = decoding.continued

    def watched(*arguments: Any) -> Tensor:
        made.append(continued(*arguments))
        return made[-1]

    monkeypatch.setattr(decoding, "continued", watched)
    batches = [examples.__getitems__(range(i, i + 8)) for i in (0, 8)]
    load = load_of(workload, model, batches, examples.__getitems__([0]))
    load.run(4)
    load.request()
    assert torch.equal(made[0], made[2])
    assert torch.equal(made[1], made[3])
    assert torch.equal(made[4], made[0][:1])
    assert load.batch_items == 8 * 5  # tokens


def test_a_pass_of_prefill_counts_the_tokens_of_its_prompts_and_gives_one_token_each() -> None:
    workload, sizes = tiny_lm(), []
    batch = workload.served_examples().__getitems__(range(8))
    model = workload.build(0).eval()
    model.lm_head.register_forward_hook(lambda module, inputs, logits: sizes.append(logits.shape))
    load = load_of(workload, model, [batch], batch)
    load.run(2)
    assert sizes == [(8, 1, 256)] * 2
    assert load.batch_items == batch["input_ids"].numel() == 8 * 16


def test_prompts_are_cut_out_of_the_test_split() -> None:
    workload = tiny_lm(prompt_tokens=10)
    served, tested = workload.served_examples(), workload.test_examples()
    assert len(served) == len(tested.ids) // 10
    assert served.__getitems__([1])["input_ids"].flatten().tolist() == tested.ids[10:20].tolist()
    with pytest.raises(WorkloadError, match=r"workload\.prompt_tokens=1000000: the test split has"):
        tiny_lm(prompt_tokens=1_000_000).served_examples()


@pytest.mark.parametrize("model_type", LANGUAGE_MODELS)
@pytest.mark.parametrize(("name", "kept"), [("2L", [1, 3]), ("1L", [3])])
def test_a_student_takes_layers_evenly_and_keeps_its_place_in_the_cache(
    model_type: str, name: str, kept: list[int]
) -> None:
    workload = tiny_lm(4, model_type)
    teacher, student = workload.build(3), workload.student(name, 3)
    theirs, own = models.layers(teacher), models.layers(student)
    assert len(own) == len(kept) == student.config.num_hidden_layers
    for mine, index in zip(own, kept, strict=True):
        of_teacher = theirs[index].state_dict()
        assert all(torch.equal(value, of_teacher[key]) for key, value in mine.state_dict().items())
    asked = torch.tensor([[9, 8, 7]])
    with torch.inference_mode():
        cache, first = decoding.read(with_wide_weights(student), asked)
        found = decoding.continued(student, cache, first, 1)
        text = torch.cat([asked, first], dim=1)
        wanted = student(input_ids=text, use_cache=False).logits[:, -1:].argmax(dim=-1)
    assert cache.get_seq_length() == 4
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("model_type", LANGUAGE_MODELS)
def test_a_narrower_student_keeps_the_heads(model_type: str) -> None:
    workload = tiny_lm(model_type=model_type)
    student = workload.student("1L-16", 0)
    config = student.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (1, 16, 4)
    batch = batch_of(workload)
    assert workload.forward(student, batch).shape == (*batch["input_ids"].shape, 256)
    with pytest.raises(WorkloadError, match="a width of 18 cannot be shared by 4 heads"):
        workload.student("1L-18", 0)
    with pytest.raises(WorkloadError, match=r"technique\.student=9L: the model has 2 layers"):
        workload.student("9L", 0)


# Parameters by arithmetic from each config.json; the checkpoints are published as 124M, 6B, 1.23B
# and 0.6B.
@pytest.mark.parametrize(
    ("option", "parameters"),
    [
        # words + positions + layers * (norms + attention + feed-forward) + last norm
        ("gpt2", (50_257 + 1_024) * 768 + 12 * (12 * 768**2 + 13 * 768) + 2 * 768),
        (
            "gptj",
            2 * 50_400 * 4_096 + 50_400 + 28 * (12 * 4_096**2 + 7 * 4_096) + 2 * 4_096,
        ),
        (
            "llama",
            128_256 * 2_048
            + 16 * (2 * 2_048**2 + 2 * 2_048 * 512 + 3 * 2_048 * 8_192 + 2 * 2_048)
            + 2_048,
        ),
        (
            "qwen3",
            151_936 * 1_024
            + 28 * (2 * 1_024 * 2_048 + 2 * 1_024**2 + 3 * 1_024 * 3_072 + 2 * 128 + 2 * 1_024)
            + 1_024,
        ),
        ("causal_lm", 50_257 * 192 + 4 * (4 * 192**2 + 3 * 192 * 512 + 2 * 192) + 192),
    ],
)
def test_a_model_without_a_hub_has_the_published_size(option: str, parameters: int) -> None:
    with torch.device("meta"):
        model = models.fresh(configured(option).architecture, "fp32")
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_a_model_comes_from_a_folder_in_the_dtype_that_is_asked_for(tmp_path: Path) -> None:
    source = tiny_lm().build(5)
    source.save_pretrained(tmp_path)
    found = tiny_lm(pretrained=True, model=str(tmp_path), dtype="bf16").build(6)
    mine, theirs = (model.transformer.h[0].attn.c_attn.weight for model in (found, source))
    assert torch.equal(mine, theirs.bfloat16())
    assert {p.dtype for p in found.parameters()} == {torch.bfloat16}
    student = tiny_lm(dtype="bf16").student(str(tmp_path), 0)
    assert student.config.num_hidden_layers == 2


def test_weights_in_a_pickle_are_refused(tmp_path: Path) -> None:
    source = tiny_lm().build(0)
    source.config.save_pretrained(tmp_path)
    torch.save(source.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(WorkloadError, match=r"workload\.model=.*model\.safetensors"):
        tiny_lm(pretrained=True, model=str(tmp_path)).build(0)


def test_a_models_own_code_is_never_run(tmp_path: Path) -> None:
    code = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": code}))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w').close()\n")
    with pytest.raises(WorkloadError, match=r"workload\.model="):
        tiny_lm(pretrained=True, model=str(tmp_path)).build(0)
    assert not (tmp_path / "was_run").exists()


def test_a_folder_with_a_vocabulary_and_merges_is_gpt2s_tokenizer(tmp_path: Path) -> None:
    table = {word: i for i, word in enumerate(["a", "b", "Ġ", "ab", "Ġab", "<|endoftext|>"])}
    (tmp_path / "vocab.json").write_text(json.dumps(table), encoding="utf-8")
    merges = "#version: 0.2\na b\nĠ ab\n"
    (tmp_path / "merges.txt").write_text(merges, encoding="utf-8")
    words = tokenizer(str(tmp_path))
    assert words("ab ab ba")["input_ids"] == [3, 4, 2, 1, 0]
    assert (sequences.ending(words), sequences.padding_of(words)) == (5, 5)
    assert sequences.opening(words) == []
    assert len(words) == 6


def test_a_vocabulary_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text("nonsense")
    (tmp_path / "merges.txt").write_text("a b")
    with pytest.raises(WorkloadError, match=r"the tokenizer of .* cannot be loaded"):
        tokenizer(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layout": "chat"}, "workload.layout is 'chat'"),
        ({"layout": "columns"}, "generated rows are instructions or text"),
        ({"padding": "none"}, "workload.padding is 'none'"),
        ({"serve": "both"}, "workload.serve is 'both'"),
        ({"dtype": "fp8"}, "workload.dtype is 'fp8'"),
        ({"block": 1}, "workload.block is 1"),
        ({"decode_tokens": 0}, "workload.decode_tokens is 0"),
        ({"cleaning": ["spelling"]}, "workload.cleaning has 'spelling'"),
        ({"template": "no slot"}, "wants the names of columns in braces"),
        ({"template": "{output}"}, "which is the answer"),
        ({"template": "{question}"}, "other columns want workload.layout=columns"),
        ({"columns": {"question": "q"}}, "workload.columns.question"),
        ({"splits": {"train": 0.9, "test": 0.1, "seed": 0}}, "workload.splits is"),
        (
            {"splits": {"train": 0.9, "validation": 0.1, "test": 0.1, "seed": 0}},
            "fractions that add up to 1",
        ),
        (
            {"splits": {"train": 0.9, "validation": 0.1, "test": 0.0, "seed": 0}},
            "nothing to train or to test on",
        ),
    ],
)
def test_an_impossible_knob_is_refused(changes: Any, said: str) -> None:
    with pytest.raises(ValueError, match="workload") as caught:
        tiny_lm(**changes)
    assert said in str(caught.value)


def test_a_model_that_is_too_small_for_the_texts_is_refused() -> None:
    with pytest.raises(WorkloadError, match=r"workload\.block=65: the model has 64 positions"):
        tiny_lm(block=65).build(0)
    long = tiny_lm(prompt_tokens=60, decode_tokens=8, serve="decode")
    with pytest.raises(WorkloadError, match=r"workload\.decode_tokens=8: the model has 64"):
        long.build(0)
    shape = dict(tiny_lm().architecture) | {"vocab_size": 50}
    with pytest.raises(WorkloadError, match="tokens and the model 50 embeddings"):
        configured("lm_sentences", architecture=shape).build(0)


def test_a_compiled_model_wants_one_length_and_no_growing_cache() -> None:
    with pytest.raises(WorkloadError, match=r"workload\.padding=fixed"):
        tiny_lm().require("compile")
    with pytest.raises(WorkloadError, match=r"runtime=eager"):
        tiny_lm(serve="decode", padding="fixed").require("compile")
    tiny_lm(padding="fixed").require("compile")
    tiny_lm(layout="text").require("compile")
    tiny_lm(serve="decode").require("eager")


def test_the_data_are_described_by_their_sizes_and_digests() -> None:
    workload = tiny_lm()
    described = json.loads(json.dumps(workload.describe_data()))
    examples = workload.test_examples()
    labels = examples.__getitems__(range(len(examples)))["labels"]
    assert described["test"]["examples"] == len(examples) == generated.SIZES["test"]
    assert described["test"]["labels_sha256"] == labels_sha256(labels.numpy())
    assert described["test"]["predicted_tokens"] == int(labels.sum())
    assert described["test"]["tokens"] == int(examples.starts[-1])
    assert described["cleaning"] == {}


def test_generated_tasks_can_be_cleaned_of_duplicates() -> None:
    rows = generated.drawn("train")
    held_out = {*generated.drawn("validation"), *generated.drawn("test")}
    described = tiny_lm(cleaning=["duplicates"]).describe_data()
    effect = described["cleaning"]["duplicates"]
    assert effect["dropped_within"]["train"] == len(rows) - len(set(rows))
    assert effect["dropped_across"]["train"] == len(set(rows) & held_out)
    assert described["train"]["rows"] == len(set(rows) - held_out)


@needs_data
def test_real_instructions_are_read_split_and_lost_upon_a_fresh_model() -> None:
    workload = configured(
        "causal_lm", data_root=str(DATA / "alpaca"), vocabulary=str(DATA / "gpt2"), batch_size=4
    )
    # The library's own documentation of GPT2Tokenizer gives these numbers.
    assert workload.tokenizer("Hello world")["input_ids"] == [15496, 995]
    described = workload.describe_data()
    assert [described[split]["rows"] for split in ("train", "validation", "test")] == [
        *(1_280, 160, 160)
    ]
    assert described["source"] == "train.parquet"
    model, batch = workload.build(0).eval(), workload.test_examples().__getitems__(range(4))
    with torch.inference_mode():
        loss = workload.loss(workload.forward(model, batch), batch, 0.0).item()
    assert loss == pytest.approx(math.log(50_257), abs=0.5)  # nearly uniform
    text = workload.tokenizer.decode(batch["input_ids"][0])
    assert text.startswith(PUBLISHED[:43])


@needs_data
def test_lines_of_a_text_are_tokenised_together() -> None:
    words = tokenizer(str(DATA / "gpt2"))
    ids, _, _ = sequences.packed(["one", "", "two"], "\n", words, block=5)
    assert ids.tolist() == words("one\n\ntwo\n")["input_ids"]
