"""Sentences become batches, encoders become smaller, and what cannot be read is named."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tiny import DATA, EAGER, RECIPE, configured, tiny_language
from torch import nn
from transformers import AutoConfig, AutoModel

from bench.measurement.serving import load_of
from bench.training.engine import engine
from bench.workloads import WorkloadError
from bench.workloads.language import TASKS, Glue, anatomy, generated, texts

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, "the", "a", "good", "bad", "film", "plot", "is", "was", "not", "very", "long"]


def user_files(folder: Path, task: str = "mrpc", rows: int = 40, **changes: Any) -> Path:
    """Write a task in the hub's layout, beside a vocabulary."""
    drawn, known = np.random.default_rng(0), TASKS[task]
    for split in ("train", known.held_out):
        table = {
            c: [" ".join(drawn.choice(WORDS[5:], 6)) for _ in range(rows)] for c in known.columns
        }
        scores = drawn.uniform(0, 5, rows).astype(np.float32)
        table["label"] = drawn.integers(known.classes, size=rows) if known.classes else scores
        table |= {name: values for name, values in changes.items() if split == "train"}
        place = folder / (known.subset or task)
        place.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict(table).to_parquet(place / f"{split}.parquet")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return folder


def of_files(folder: Path, task: str = "mrpc", **changes: Any) -> Glue:
    """Return a two-layer BERT on the files of ``user_files``."""
    shape = {
        "model_type": "bert",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "vocab_size": len(WORDS),
        "max_position_embeddings": 64,
    }
    knobs = {"pretrained": False, "architecture": shape, "max_length": 16, "batch_size": 8}
    return configured(
        "bert", task=task, vocabulary=str(folder), data_root=str(folder), **{**knobs, **changes}
    )


def test_a_batch_is_what_the_tokenizer_gives_for_its_texts() -> None:
    workload = tiny_language(bucketing=False)
    table = generated.table("test")
    batch = workload.test_examples().__getitems__(range(5))
    wanted = workload.tokenizer(
        table["sentence"][:5], padding="longest", return_tensors="pt", return_token_type_ids=True
    )
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert torch.equal(batch[name], wanted[name]), name
    assert batch["labels"].tolist() == table["label"][:5]


def test_two_texts_are_told_apart_by_their_segments(tmp_path: Path) -> None:
    workload = of_files(user_files(tmp_path))
    table = datasets.Dataset.from_parquet(str(tmp_path / "mrpc" / "train.parquet"))
    wanted = workload.tokenizer(
        table["sentence1"][:4],
        table["sentence2"][:4],
        padding="longest",
        truncation="longest_first",
        max_length=16,
        return_tensors="pt",
    )
    batch = workload.train_examples().__getitems__(range(4))
    assert torch.equal(batch["token_type_ids"], wanted["token_type_ids"])
    assert set(batch["token_type_ids"].unique().tolist()) == {0, 1}


def test_a_folder_with_nothing_but_a_vocabulary_is_a_tokenizer(tmp_path: Path) -> None:
    words = of_files(user_files(tmp_path)).tokenizer
    assert words("the film was very bad", "xyz")["input_ids"] == [
        *(WORDS.index(w) for w in ("[CLS]", "the", "film", "was", "very", "bad", "[SEP]")),
        *(WORDS.index(w) for w in ("[UNK]", "[SEP]")),
    ]


def test_fixed_padding_gives_every_batch_one_shape_and_the_same_answers() -> None:
    longest = tiny_language(bucketing=False)
    fixed = replace(longest, padding="fixed")
    model = longest.build(0).eval()
    with torch.no_grad():
        answers = [
            w.forward(model, w.test_examples().__getitems__(range(7))) for w in (longest, fixed)
        ]
    assert fixed.test_examples().__getitems__(range(7))["input_ids"].shape == (7, 32)
    torch.testing.assert_close(*answers, atol=1e-5, rtol=1e-5)


def test_bucketed_batches_hold_every_example_once_and_fewer_paddings() -> None:
    plain = tiny_language(bucketing=False).test_examples()
    sorted_too = tiny_language().test_examples()
    assert sorted(sorted_too.order.tolist()) == list(range(len(plain)))

    def padding(examples: Any) -> int:
        batches = [examples.__getitems__(range(i, i + 16)) for i in range(0, 480, 16)]
        return sum(int((batch["attention_mask"] == 0).sum()) for batch in batches)

    assert padding(sorted_too) < 0.3 * padding(plain)


def test_training_batches_hold_texts_of_like_length(tmp_path: Path) -> None:
    examples = tiny_language().train_examples()
    built = engine(nn.Linear(1, 1), examples, RECIPE, 0, tmp_path, None)
    lengths = np.asarray(examples.lengths)
    drawn = list(built._get_train_sampler())
    assert sorted(drawn) == list(range(len(examples)))
    spread = np.mean([np.ptp(lengths[drawn[i : i + 32]]) for i in range(0, 1984, 32)])
    assert spread < 0.2 * np.ptp(lengths)
    assert tiny_language(bucketing=False).train_examples().lengths is None


def test_a_window_over_texts_of_unlike_length_is_made_of_whole_rounds() -> None:
    workload, seen = tiny_language(bucketing=False), []
    examples = workload.test_examples()
    batches = [examples.__getitems__(range(i, i + 16)) for i in (0, 16, 32)]

    class Spy(nn.Module):
        def forward(self, input_ids: torch.Tensor, **others: torch.Tensor) -> Any:
            seen.append(input_ids.shape[1])
            return {"logits": torch.zeros(len(input_ids), 2)}

    load = load_of(workload, Spy(), batches, batches[0])
    load.run(2)
    assert seen == [batch["input_ids"].shape[1] for batch in batches] * 2
    assert load.batch_items == 48


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_read_trained_on_and_scored(task: str, tmp_path: Path) -> None:
    workload = of_files(user_files(tmp_path, task), task)
    model = workload.build(0)
    batch = workload.train_examples().__getitems__(range(8))
    outputs = workload.forward(model, batch)
    workload.loss(outputs, batch, smoothing=0.0).backward()
    assert all(p.grad is not None for p in model.classifier.parameters())
    assert outputs.shape == (8, max(1, TASKS[task].classes))
    predictions = workload.predict(outputs, batch).detach().numpy()
    assert workload.metric in workload.score(batch["labels"].numpy(), predictions)


def test_a_regression_is_under_the_mean_squared_error(tmp_path: Path) -> None:
    workload = of_files(user_files(tmp_path, "stsb"), "stsb")
    batch = {"labels": torch.tensor([1.0, 4.0])}
    outputs = torch.tensor([[2.0], [2.0]])
    assert workload.loss(outputs, batch, smoothing=0.0).item() == pytest.approx((1 + 4) / 2)


@pytest.mark.parametrize(("name", "kept"), [("3L", [1, 3, 5]), ("2L", [2, 5]), ("6L", range(6))])
def test_a_student_takes_layers_evenly_and_the_last_among_them(name: str, kept: Any) -> None:
    workload = tiny_language(layers=6)
    teacher, student = workload.build(4), workload.student(name, 4)
    theirs, own = anatomy.blocks(teacher), anatomy.blocks(student)
    assert len(own) == len(list(kept)) == student.config.num_hidden_layers
    for mine, index in zip(own, kept, strict=True):
        assert torch.equal(mine.query.weight, theirs[index].query.weight)
    embeddings = [m.base_model.embeddings.word_embeddings.weight for m in (teacher, student)]
    assert torch.equal(*embeddings)


def test_a_narrower_student_keeps_the_heads_and_four_times_its_width() -> None:
    student = tiny_language().student("2L-16", 0)
    (first, _) = anatomy.blocks(student)
    assert (first.heads, first.head_size) == (4, 4)
    assert (first.up.out_features, first.up.in_features) == (64, 16)


def test_the_tokenizer_is_the_same_in_another_process() -> None:
    code = (
        "from bench.workloads.language import generated; print(generated.tokenizer().get_vocab())"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert ast.literal_eval(found) == generated.tokenizer().get_vocab()


def test_an_empty_text_is_a_text_and_a_long_one_is_cut(tmp_path: Path) -> None:
    long = " ".join(["film"] * 10_000)
    folder = user_files(tmp_path, "sst2", rows=3, sentence=["", long, "good"])
    examples = of_files(folder, "sst2").train_examples()
    batch = examples.__getitems__(range(3))
    assert batch["attention_mask"].sum(dim=1).tolist() == [2, 16, 3]
    described = of_files(folder, "sst2").describe_data()["train"]
    assert (described["examples"], described["at_max_length"]) == (3, 1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sentence": ["a", None, "b"], "label": [0, 1, 0]}, "row 1: 'sentence' is missing"),
        ({"sentence": ["a", "b", "c"], "label": [0, 1, 2]}, "row 2: label 2, 0 to 1 are due"),
        ({"sentence": ["a", "b", "c"], "label": [0, None, 1]}, "row 1: the label is missing"),
        ({"sentence": ["a", "b", "c"], "label": [0.5, 1.0, 0.0]}, "labels are double"),
        ({"sentence": [1, 2, 3], "label": [0, 1, 0]}, "'sentence' holds int64"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, changes: Any, said: str) -> None:
    folder = user_files(tmp_path, "sst2", rows=3, **changes)
    with pytest.raises(WorkloadError, match="sst2 train") as caught:
        of_files(folder, "sst2").train_examples()
    assert said in str(caught.value)


def test_text_that_is_no_utf8_is_named_by_file_and_row(tmp_path: Path) -> None:
    folder = user_files(tmp_path, "sst2", rows=3)
    broken = pa.array([b"good", b"caf\xe9", b"bad"]).cast(pa.binary())
    column = pa.StringArray.from_buffers(3, broken.buffers()[1], broken.buffers()[2])
    pq.write_table(
        pa.table({"sentence": column, "label": [0, 1, 0]}), folder / "sst2" / "train.parquet"
    )
    with pytest.raises(WorkloadError, match="row 1: 'sentence' is not UTF-8"):
        of_files(folder, "sst2").train_examples()
    (folder / "sst2" / "train.parquet").unlink()
    texts.load.cache_clear()
    (folder / "sst2" / "train.csv").write_bytes(b"sentence,label\ngood,1\ncaf\xe9,0\n")
    with pytest.raises(WorkloadError, match=r"train\.csv, line 3 is not UTF-8 \(byte 4: 0xe9\)"):
        of_files(folder, "sst2").train_examples()


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_files_of_other_kinds_hold_the_same_texts(tmp_path: Path, ending: str) -> None:
    folder = user_files(tmp_path, "sst2", rows=3, sentence=["good", "", "null"], label=[1, 0, 1])
    wanted = of_files(folder, "sst2").train_examples()
    file = folder / "sst2" / "train.parquet"
    table = datasets.Dataset.from_parquet(str(file)).to_pandas()
    file.unlink()
    if ending == "jsonl":
        table.to_json(folder / "sst2" / "train.jsonl", orient="records", lines=True)
    else:
        sep = "," if ending == "csv" else "\t"
        table.to_csv(folder / "sst2" / f"train.{ending}", index=False, sep=sep)
    texts.load.cache_clear()
    found = of_files(folder, "sst2").train_examples()
    assert torch.equal(found.ids, wanted.ids)
    assert torch.equal(found.labels, wanted.labels)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "snli"}, "workload.task is 'snli': one of cola"),
        ({"padding": "none"}, "workload.padding is 'none'"),
        ({"max_length": 2}, "workload.max_length is 2"),
    ],
)
def test_an_impossible_knob_is_refused(changes: Any, said: str) -> None:
    with pytest.raises(ValueError, match="workload") as caught:
        tiny_language(**changes)
    assert said in str(caught.value)


def test_a_compiled_model_wants_one_length() -> None:
    with pytest.raises(WorkloadError, match=r"workload\.padding=fixed"):
        tiny_language().require("compile")
    tiny_language(padding="fixed").require("compile")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "package:no_such_package/model"}, "pip install no-such-package"),
        ({"model": "./nowhere"}, "there is no such folder"),
    ],
)
def test_a_model_that_is_not_there_is_named(changes: Any, said: str) -> None:
    with pytest.raises(WorkloadError, match=r"workload\.model=") as caught:
        configured("bert", **changes).build(0)
    assert said in str(caught.value)


def test_a_vocabulary_that_is_too_large_is_refused(tmp_path: Path) -> None:
    folder = user_files(tmp_path)
    shape = dict(of_files(folder).architecture) | {"vocab_size": 8}
    with pytest.raises(WorkloadError, match="16 tokens and the model 8 embeddings"):
        of_files(folder, architecture=shape).build(0)


def test_the_packaged_encoder_is_pretrained_and_bert_base_has_its_published_size() -> None:
    minilm = configured("minilm", data_root="unused").build(0)
    assert sum(p.numel() for p in minilm.base_model.parameters()) == 22_713_216
    base = configured("bert", pretrained=False).architecture
    with torch.device("meta"):
        published = AutoModel.from_config(AutoConfig.for_model(**base))
    # With the pooler, as counted for the published checkpoint; Devlin et al. (2019) say 110M.
    assert sum(p.numel() for p in published.parameters()) == 109_482_240


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")
def test_real_sst2_rows_are_read_in_the_hubs_layout() -> None:
    workload = configured("minilm", task="sst2", data_root=str(DATA / "glue"))
    described = workload.describe_data()
    assert (described["train"]["examples"], described["test"]["examples"]) == (8000, 872)
    batch = workload.test_examples().__getitems__(range(32))
    logits = EAGER.place(workload.build(0))(
        **{k: v for k, v in batch.items() if k != "labels"}
    ).logits
    assert logits.shape == (32, 2)
