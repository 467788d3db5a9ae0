"""Students of encoders: what they hear of their teacher, and that padding says nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from tiny import RECIPE, Net, Nobody, Tiny, configured, same_tensors, tiny_language
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)
from transformers.models.bert.modeling_bert import BertLMPredictionHead

from bench import artefacts
from bench.techniques import Chain, Loss, Setting, TechniqueError, Terms
from bench.techniques.distillation.distilbert import DistilBert
from bench.techniques.distillation.encoders import layer_map
from bench.techniques.distillation.hinton import Distillation
from bench.techniques.distillation.masked_words import MaskedWords
from bench.techniques.distillation.patient import Patient
from bench.techniques.distillation.small import SmallModel
from bench.techniques.distillation.teaching import TEACHER, seen, soft_loss
from bench.techniques.distillation.tinybert import TinyBert, scores
from bench.techniques.half import Half
from bench.training import Course, task_loss, train
from bench.workloads import Batch, lengths_of
from bench.workloads.language import anatomy

TINY = TinyBert("tinybert", "2L", 1.0, 3e-3, "pretrained", 1.0, 3e-3, 1.0, 1.0, 1.0)
DISTIL = DistilBert("distilbert", "2L", None, None, "pretrained", 2.0, 5.0, 2.0, 1.0, 0.0)
PATIENT = Patient("patient", "2L", None, None, "pretrained", 10.0, 0.7, 500.0, "skip")
HINTS = {"bert.encoder.layer.0": "bert.encoder.layer.1"}
HINTON = Distillation("distillation", "2L", None, None, 4.0, 0.5, HINTS, 1.0)
LENGTHS = (7, 4, 2)

on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="the trainer would move one of two")


def lively(model: nn.Module, seed: int) -> nn.Module:
    """Return the model with weights far from their small beginnings, as if long trained."""
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3, generator=drawn)
            elif "norm" in name.lower() and name.endswith("weight"):
                parameter.uniform_(0.5, 1.5, generator=drawn)
            else:
                parameter.normal_(std=0.1, generator=drawn)
    return model.eval()


def setting(layers: int = 4) -> Setting:
    workload = tiny_language(layers)
    return Setting(workload, lively(workload.build(0), 1).requires_grad_(False), 0)


def bert(layers: int, width: int = 32, heads: int = 4) -> Any:
    config = BertConfig(
        vocab_size=400,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    return BertForSequenceClassification(config)


def texts(lengths: Sequence[int] = LENGTHS, seed: int = 0) -> Batch:
    """Return random tokens, padded with others that nobody should read."""
    drawn = torch.Generator().manual_seed(seed)
    real = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    return {
        "input_ids": torch.randint(5, 400, real.shape, generator=drawn),
        "attention_mask": real.long(),
        "token_type_ids": torch.zeros_like(real, dtype=torch.int64),
        "labels": torch.arange(len(lengths)) % 2,
    }


def inside(model: Any, batch: Batch) -> list[np.ndarray]:
    """Return what the library gives as hidden states: of the embeddings, then of each layer."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    return [state.double().numpy() for state in states]


def answers(model: Any, batch: Batch) -> np.ndarray:
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    with torch.no_grad():
        return model(**inputs).logits.double().numpy()


def attention(model: Any, hidden: np.ndarray, layer: int) -> np.ndarray:
    """Return a layer's attention before the softmax, from its input and weights."""
    part = model.bert.encoder.layer[layer - 1].attention.self
    queries, keys = (
        (hidden @ linear.weight.detach().double().numpy().T + linear.bias.detach().double().numpy())
        .reshape(*hidden.shape[:2], 4, -1)
        .transpose(0, 2, 1, 3)
        for linear in (part.query, part.key)
    )
    return queries @ keys.transpose(0, 1, 3, 2) / np.sqrt(queries.shape[-1])


def objective(technique: Any, where: Setting) -> Loss:
    return technique.objective(task_loss(where.workload, RECIPE), where)


def first(technique: TinyBert) -> Any:
    return technique.stages[0]


def second(technique: TinyBert) -> Any:
    return technique.stages[1]


@pytest.mark.parametrize(
    ("of_teacher", "of_student", "expected"),
    [(4, 2, (2, 4)), (6, 3, (2, 4, 6)), (12, 4, (3, 6, 9, 12)), (3, 3, (1, 2, 3)), (3, 1, (3,))],
)
def test_each_layer_stands_for_equally_many_of_the_teachers(
    of_teacher: int, of_student: int, expected: tuple[int, ...]
) -> None:
    assert layer_map(bert(of_teacher, 8, 2), bert(of_student, 8, 2)) == expected


def test_a_student_starts_from_every_second_layer_of_its_teacher_and_all_the_rest() -> None:
    where = setting()
    student: Any = replace(TINY, initial="teacher").prepare(nn.Module(), where)
    teacher: Any = where.baseline
    for place, taken in ((0, 1), (1, 3)):
        mine, theirs = (m.bert.encoder.layer[i] for m, i in ((student, place), (teacher, taken)))
        assert same_tensors(mine.state_dict(), theirs.state_dict())
    for part in ("bert.embeddings", "bert.pooler", "classifier"):
        mine, theirs = (m.get_submodule(part).state_dict() for m in (student, teacher))
        assert same_tensors(mine, theirs)
    assert len(student.bert.encoder.layer) == 2
    before = copy.deepcopy(teacher.state_dict())
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    assert same_tensors(before, teacher.state_dict())


def test_a_student_of_published_weights_is_that_of_the_control() -> None:
    where = setting()
    control = SmallModel("small_model", "2L", None, None).prepare(nn.Module(), where)
    student = DISTIL.prepare(nn.Module(), where)
    assert same_tensors(student.state_dict(), control.state_dict())


def test_attention_before_its_softmax_is_what_the_eager_kernel_normalises() -> None:
    model: Any = lively(bert(2), 1)
    batch = texts()
    blocks = anatomy.blocks(model)
    with torch.no_grad(), seen({"query": blocks[1].query, "key": blocks[1].key}) as shown:
        model(batch["input_ids"], attention_mask=batch["attention_mask"])
    found = scores(shown["query"], shown["key"], 4)
    hidden = batch["attention_mask"][:, None, None, :] == 0
    weights = found.masked_fill(hidden, -torch.inf).softmax(dim=3)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        outputs = model(
            batch["input_ids"], attention_mask=batch["attention_mask"], output_attentions=True
        )
    torch.testing.assert_close(weights, outputs.attentions[1])


@pytest.mark.parametrize("student", ["2L", "2L-16"])
def test_imitation_sums_embeddings_hidden_states_and_attention_over_layers(student: str) -> None:
    where = setting()
    technique = replace(
        TINY, student=student, embedding_weight=2.0, hidden_weight=3.0, attention_weight=5.0
    )
    model = lively(first(technique).prepare(nn.Module(), where), 2)
    lesson: Any = objective(first(technique), where)
    nn.init.normal_(lesson.projection.weight, std=0.3)
    batch = texts()
    loss, _ = lesson(model, batch)

    real = batch["attention_mask"].numpy() == 1
    mine, theirs = inside(model, batch), inside(where.baseline, batch)
    projection = lesson.projection.weight.detach().double().numpy()
    gaps = [
        np.mean((mine[place] @ projection.T - theirs[taught_by])[real] ** 2)
        for place, taught_by in ((0, 0), (1, 2), (2, 4))
    ]
    looks = []
    for place, taught_by in ((1, 2), (2, 4)):
        one = attention(model, mine[place - 1], place)
        other = attention(where.baseline, theirs[taught_by - 1], taught_by)
        squares = [
            ((one - other)[text, :, :tokens, :tokens] ** 2).ravel()
            for text, tokens in enumerate(LENGTHS)
        ]
        looks.append(np.mean(np.concatenate(squares)))
    wanted = 2.0 * gaps[0] + 3.0 * (gaps[1] + gaps[2]) + 5.0 * sum(looks)
    assert loss.item() == pytest.approx(wanted, rel=1e-4)


def test_projections_start_as_the_identity_only_where_nothing_is_to_be_widened() -> None:
    where = setting()
    same: Any = objective(first(TINY), where)
    assert torch.equal(same.projection.weight, torch.eye(32))
    wider: Any = objective(first(replace(TINY, student="2L-16")), where)
    assert wider.projection.weight.shape == (32, 16)
    again: Any = objective(first(replace(TINY, student="2L-16")), where)
    assert torch.equal(wider.projection.weight, again.projection.weight)


@pytest.mark.parametrize("left_out", ["embedding_weight", "hidden_weight", "attention_weight"])
def test_a_weight_of_nothing_leaves_a_loss_out(left_out: str) -> None:
    where = setting()
    model = lively(TINY.prepare(nn.Module(), where), 2)
    alone = {"embedding_weight": 0.0, "hidden_weight": 0.0, "attention_weight": 0.0, left_out: 1.0}
    parts = [
        objective(first(replace(TINY, **weights)), where)(model, texts())[0].item()
        for weights in ({}, alone, {left_out: 0.0})
    ]
    assert parts[0] == pytest.approx(parts[1] + parts[2], rel=1e-5)
    assert min(parts) > 0


def distilbert_setting() -> Setting:
    shape = {
        "model_type": "distilbert",
        "dim": 32,
        "n_layers": 4,
        "n_heads": 4,
        "hidden_dim": 64,
        "vocab_size": 400,
        "max_position_embeddings": 64,
    }
    workload = configured("bert_sentences", architecture=shape)
    return Setting(workload, lively(workload.build(0), 1).requires_grad_(False), 0)


@pytest.mark.parametrize("where", [setting, distilbert_setting])
@pytest.mark.parametrize(
    "technique",
    [
        first(replace(TINY, student="4L")),
        replace(DISTIL, student="4L", alpha_task=0.0),
        replace(PATIENT, student="4L", alpha=1.0),
        replace(PATIENT, student="4L", alpha=1.0, strategy="last"),
    ],
    ids=["tinybert", "distilbert", "patient skip", "patient last"],
)
def test_a_student_that_is_its_teacher_has_nothing_left_to_learn(
    where: Any, technique: Any
) -> None:
    place = where()
    student = copy.deepcopy(place.baseline).requires_grad_(True)
    batch = texts()
    if isinstance(student, DistilBertForSequenceClassification):
        del batch["token_type_ids"]
    loss, _ = objective(technique, place)(student, batch)
    assert loss.item() == pytest.approx(0.0, abs=1e-5)


def test_distilberts_loss_is_the_weighted_sum_of_answers_labels_and_directions() -> None:
    where = setting()
    technique = replace(DISTIL, temperature=3.0, alpha_ce=4.0, alpha_task=0.5, alpha_cos=2.0)
    model = lively(technique.prepare(nn.Module(), where), 2)
    batch = texts()
    loss, _ = objective(technique, where)(model, batch)

    mine, theirs = answers(model, batch), answers(where.baseline, batch)
    soft = 9.0 * np.mean(entropy(softmax(theirs / 3, axis=1), softmax(mine / 3, axis=1), axis=1))
    hard = -np.mean(log_softmax(mine, axis=1)[range(3), batch["labels"].numpy()])
    real = batch["attention_mask"].numpy() == 1
    one, other = inside(model, batch)[-1][real], inside(where.baseline, batch)[-1][real]
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosine = np.mean(1 - np.sum(one * other, axis=1) / lengths)
    assert loss.item() == pytest.approx(4.0 * soft + 0.5 * hard + 2.0 * cosine, rel=1e-4)


@pytest.mark.parametrize(("factor", "cosine"), [(2.0, 0.0), (-1.0, 2.0)])
def test_of_the_last_hidden_state_distilbert_teaches_the_direction_and_tinybert_all(
    factor: float, cosine: float
) -> None:
    where = setting()
    student: Any = copy.deepcopy(where.baseline)
    norm = student.bert.encoder.layer[-1].output.LayerNorm
    norm.weight.data *= factor
    norm.bias.data *= factor
    batch = texts()
    direction = replace(DISTIL, student="4L", alpha_ce=0.0, alpha_task=0.0, alpha_cos=3.0)
    loss, _ = objective(direction, where)(student, batch)
    assert loss.item() == pytest.approx(3.0 * cosine, abs=1e-5)

    whole = first(replace(TINY, student="4L"))
    loss, _ = objective(whole, where)(student, batch)
    last = inside(where.baseline, batch)[-1][batch["attention_mask"].numpy() == 1]
    assert loss.item() == pytest.approx(np.mean(((factor - 1) * last) ** 2), rel=1e-4)


@pytest.mark.parametrize(("strategy", "taught_by"), [("skip", 2), ("last", 3)])
def test_patience_is_the_distance_of_the_first_tokens_directions_before_the_last_layer(
    strategy: Any, taught_by: int
) -> None:
    where = setting()
    technique = replace(PATIENT, temperature=5.0, alpha=0.25, beta=300.0, strategy=strategy)
    model = lively(technique.prepare(nn.Module(), where), 2)
    batch = texts()
    loss, _ = objective(technique, where)(model, batch)

    mine, theirs = answers(model, batch), answers(where.baseline, batch)
    soft = 25 * np.mean(entropy(softmax(theirs / 5, axis=1), softmax(mine / 5, axis=1), axis=1))
    hard = -np.mean(log_softmax(mine, axis=1)[range(3), batch["labels"].numpy()])
    one, other = inside(model, batch)[1][:, 0], inside(where.baseline, batch)[taught_by][:, 0]
    one, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (one, other))
    wanted = 0.25 * soft + 0.75 * hard + 300.0 * np.mean((one - other) ** 2)
    assert loss.item() == pytest.approx(wanted, rel=1e-4)


def test_layers_on_the_way_are_those_of_the_paper() -> None:
    # Sun et al. (2019), section 3.2: BERT of six layers from BERT-base.
    half, whole = bert(6, 8, 2), bert(12, 8, 2)
    assert PATIENT.listened_to(half, whole) == (2, 4, 6, 8, 10)
    assert replace(PATIENT, strategy="last").listened_to(half, whole) == (7, 8, 9, 10, 11)


@pytest.mark.parametrize(("factor", "squared"), [(3.0, 0.0), (-1.0, 4.0)])
def test_patience_looks_at_directions_only(factor: float, squared: float) -> None:
    where = setting(layers=2)
    student: Any = copy.deepcopy(where.baseline)
    norm = student.bert.encoder.layer[0].output.LayerNorm
    norm.weight.data *= factor
    norm.bias.data *= factor
    batch = texts()
    technique = replace(PATIENT, alpha=1.0, temperature=1.0, beta=64.0)
    loss, _ = objective(technique, where)(student, batch)
    mine, theirs = (softmax(answers(m, batch), axis=1) for m in (student, where.baseline))
    soft = np.mean(entropy(theirs, mine, axis=1))
    # Opposite directions are 2 apart: 4, shared by 32 features.
    assert loss.item() - soft == pytest.approx(64.0 * squared / 32, abs=1e-4)


@pytest.mark.parametrize(
    "technique",
    [first(TINY), second(TINY), DISTIL, PATIENT, HINTON],
    ids=["tinybert", "tinybert's answers", "distilbert", "patient", "hinton with hints"],
)
def test_what_stands_in_the_padding_does_not_matter(technique: Any) -> None:
    where = setting()
    model = lively(where.workload.student("2L", 0), 2)
    lesson = objective(technique, where)
    batch, other, longer = texts(), texts(), texts()
    padding = batch["attention_mask"] == 0
    other["input_ids"] = torch.where(padding, 399 - batch["input_ids"], batch["input_ids"])
    assert not torch.equal(other["input_ids"], batch["input_ids"])
    for name, filler in (("input_ids", 0), ("attention_mask", 0), ("token_type_ids", 0)):
        longer[name] = F.pad(batch[name], (0, 5), value=filler)
    loss, same, wider = (lesson(model, it)[0].item() for it in (batch, other, longer))
    assert same == pytest.approx(loss, rel=1e-4)
    assert wider == pytest.approx(loss, rel=1e-4)

    other["input_ids"] = torch.where(padding, batch["input_ids"], 399 - batch["input_ids"])
    assert lesson(model, other)[0].item() != pytest.approx(loss, rel=1e-3)


def test_the_projection_is_trained_and_the_teacher_is_not() -> None:
    where = setting()
    model = lively(TINY.prepare(nn.Module(), where), 2)
    lesson: Any = objective(first(TINY), where)
    lesson.train()
    assert not where.baseline.training
    assert [name for name, _ in lesson.named_parameters()] == ["projection.weight"]
    loss, _ = lesson(model, texts())
    loss.backward()
    assert lesson.projection.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in where.baseline.parameters())
    grads = {name for name, p in model.named_parameters() if p.grad is not None}
    assert "bert.encoder.layer.1.output.dense.weight" in grads
    assert "classifier.weight" not in grads  # the first stage asks for no answers


def test_the_second_stage_learns_the_teachers_answers_at_temperature_one() -> None:
    where = setting()
    model = lively(where.workload.student("2L", 0), 2)
    batch = texts()
    loss, _ = objective(second(TINY), where)(model, batch)
    mine, theirs = answers(model, batch), answers(where.baseline, batch)
    wanted = -np.mean(np.sum(softmax(theirs, axis=1) * log_softmax(mine, axis=1), axis=1))
    assert loss.item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("technique", "kept"),
    [
        (second(TINY), True),
        (replace(DISTIL, alpha_cos=0.0), True),
        (replace(HINTON, hints={}, hint_weight=0.0), True),
        (first(TINY), False),
        (DISTIL, False),
        (PATIENT, False),
        (HINTON, False),
    ],
)
def test_answers_are_kept_where_nothing_else_of_the_teacher_is_wanted(
    technique: Any, kept: bool
) -> None:
    where = setting()
    examples = where.workload.train_examples()
    taught = technique.examples(examples, where)
    if not kept:
        assert taught is examples
        return
    assert len(taught) == len(examples)
    assert lengths_of(taught) == lengths_of(examples) is not None
    rows = [5, 90, 0]
    batch = taught.__getitems__(rows)
    asked = where.workload.forward(where.baseline, examples.__getitems__(rows))
    torch.testing.assert_close(batch[TEACHER], asked, rtol=1e-4, atol=1e-5)
    # With kept answers the teacher itself stays silent.
    silent = replace(where, baseline=nn.Linear(1, 1))
    model = lively(where.workload.student("2L", 0), 2)
    loss, _ = objective(technique, silent)(model, batch)
    again, _ = objective(technique, where)(model, examples.__getitems__(rows))
    assert loss.item() == pytest.approx(again.item(), rel=1e-4)


@dataclass(frozen=True)
class Marks(Tiny):
    """One number to be predicted, in place of classes."""

    augmented: bool = False

    def student(self, name: str, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return Net()

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch["pixels"])[:, :1]

    def loss(self, outputs: Tensor, batch: Batch, smoothing: float) -> Tensor:
        return F.mse_loss(outputs[:, 0], batch["labels"].float())


def test_a_number_is_taught_by_its_squared_distance_whatever_the_temperature() -> None:
    one, other = torch.tensor([[1.0], [4.0]]), torch.tensor([[3.0], [3.0]])
    assert soft_loss(one, other, 1.0).item() == 2.5  # (2**2 + 1**2) / 2
    assert soft_loss(one, other, 10.0).item() == 2.5

    workload = Marks()
    where = Setting(workload, workload.build(1).eval().requires_grad_(False), 0)
    technique = replace(HINTON, hints={}, hint_weight=0.0, alpha=0.25)
    model = technique.prepare(nn.Module(), where).eval()
    batch = workload.test_examples().__getitems__(range(8))
    loss, mine = objective(technique, where)(model, batch)
    theirs = workload.forward(where.baseline, batch)
    soft = (mine - theirs).square().mean()
    hard = (mine[:, 0] - batch["labels"]).square().mean()
    torch.testing.assert_close(loss, 0.25 * soft + 0.75 * hard)


def test_tinyberts_second_stage_takes_labels_where_there_is_one_number() -> None:
    workload = Marks()
    where = Setting(workload, workload.build(1).eval().requires_grad_(False), 0)
    examples = workload.train_examples()
    assert second(TINY).examples(examples, where) is examples
    model = workload.student("", 0).eval()
    batch = workload.test_examples().__getitems__(range(8))
    loss, outputs = objective(second(TINY), where)(model, batch)
    torch.testing.assert_close(loss, (outputs[:, 0] - batch["labels"]).square().mean())


class Vocabulary:
    """What is asked of a tokenizer: 400 tokens, of which the first five are special."""

    all_special_ids = (0, 1, 2, 3, 4)
    mask_token_id: int | None = 4

    def __len__(self) -> int:
        return 400


def test_fifteen_of_a_hundred_words_are_hidden_in_the_three_ways_of_bert() -> None:
    words = MaskedWords(bert(1), Vocabulary())
    drawn = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 400, (200, 500), generator=drawn)
    mask = torch.ones_like(ids)
    mask[:, 400:] = 0
    torch.manual_seed(0)
    shown, chosen = words.hide(ids, mask)
    assert torch.equal(shown[~chosen], ids[~chosen])
    free = (mask == 1) & (ids >= 5)
    assert not (chosen & ~free).any()
    # Of 79,000 words; bounds are four standard deviations and more.
    assert (chosen.sum() / free.sum()).item() == pytest.approx(0.15, abs=0.006)
    before, after = ids[chosen], shown[chosen]
    masked, same = (after == 4).float().mean().item(), (after == before).float().mean().item()
    assert masked == pytest.approx(0.8 + 0.1 / 400, abs=0.016)
    assert same == pytest.approx(0.1 + 0.1 / 400, abs=0.012)
    others = after[(after != 4) & (after != before)]
    assert others.min() < 10
    assert others.max() > 390
    assert others.max() < 400


def test_finding_words_again_is_learnt_under_berts_own_head_tied_to_the_embeddings() -> None:
    model: Any = lively(bert(2), 1)
    words = MaskedWords(model, Vocabulary())
    nn.init.normal_(words.bias)
    head = BertLMPredictionHead(model.config)
    head.transform.dense.load_state_dict(words.transform.state_dict())
    head.transform.LayerNorm.load_state_dict(words.norm.state_dict())
    head.decoder.weight = model.bert.embeddings.word_embeddings.weight
    head.decoder.bias.data = words.bias.data

    batch = texts((30, 20, 12))
    torch.manual_seed(3)
    loss = words(model, batch, tiny_language())
    torch.manual_seed(3)
    shown, chosen = words.hide(batch["input_ids"], batch["attention_mask"])
    assert chosen.sum() > 1
    hidden = torch.tensor(inside(model, {**batch, "input_ids": shown})[-1]).float()
    labels = torch.where(chosen, batch["input_ids"], -100)
    wanted = F.cross_entropy(head(hidden).flatten(0, 1), labels.flatten())
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)

    loss.backward()
    gradient = model.bert.embeddings.word_embeddings.weight.grad
    absent = [token for token in range(400) if token not in shown]
    assert gradient[absent].abs().sum() > 0  # as outputs, not as inputs


def test_a_batch_without_a_hidden_word_costs_nothing() -> None:
    model = lively(bert(1), 1)
    words = MaskedWords(model, Vocabulary())
    batch = texts()
    batch["input_ids"] = batch["input_ids"] % 5  # special tokens only
    loss = words(model, batch, tiny_language())
    loss.backward()
    assert loss.item() == 0.0


def test_hidden_words_add_their_loss_and_their_head_is_trained() -> None:
    where = setting()
    technique = replace(DISTIL, alpha_mlm=2.0)
    model = lively(technique.prepare(nn.Module(), where), 2)
    with_words: Any = objective(technique, where)
    batch = texts((30, 20, 12))
    plain, _ = objective(DISTIL, where)(model, batch)
    torch.manual_seed(3)
    loss, _ = with_words(model, batch)
    torch.manual_seed(3)
    words = with_words.words(model, batch, where.workload)
    assert words.item() > 0
    assert (loss - plain).item() == pytest.approx(2.0 * words.item(), rel=1e-4)
    names = {name for name, _ in with_words.named_parameters()}
    assert names == {f"words.{n}" for n in ("transform.weight", "transform.bias", "bias")} | {
        "words.norm.weight",
        "words.norm.bias",
    }


def trained(stage: Any, model: nn.Module, where: Setting) -> tuple[nn.Module, Loss]:
    """Go through a stage as ``production`` does; return the model and what it was trained under."""
    model = stage.prepare(model, where)
    recipe = replace(RECIPE, optimizer="adamw", max_steps=30, **stage.recipe)
    lesson = stage.objective(task_loss(where.workload, recipe), where)
    course = Course(
        where.workload,
        recipe,
        lesson,
        0,
        partial(stage.examples, setting=where),
        partial(stage.after_step, model),
    )
    train(model, course, Nobody())
    return stage.convert(model.eval(), where), lesson


@on_cpu
def test_two_stages_train_one_student_that_is_saved_alone_and_loads_again(tmp_path: Path) -> None:
    where = setting()
    workload, batch = where.workload, where.workload.train_examples().__getitems__(range(64))
    stages = TINY.stages
    start: Any = TINY.prepare(nn.Module(), where).eval()
    untrained, _ = objective(stages[0], where)(start, batch)

    imitating: Any
    imitating, lesson = trained(stages[0], copy.deepcopy(where.baseline), where)
    assert lesson(imitating, batch)[0] < untrained
    (projection,) = lesson.parameters()  # type: ignore[attr-defined]
    assert not torch.equal(projection, torch.eye(32))
    classifier = copy.deepcopy(imitating.classifier.state_dict())
    assert same_tensors(classifier, start.classifier.state_dict())

    before, _ = objective(stages[1], where)(imitating, batch)
    student: Any
    student, lesson = trained(stages[1], imitating, where)
    assert student is imitating
    assert lesson(student, batch)[0] < before
    assert not same_tensors(classifier, student.classifier.state_dict())

    with torch.inference_mode():
        outputs = workload.forward(student, batch)
    artefacts.save(student, stages, outputs, tmp_path, "ab" * 32)
    kept = artefacts.load_file(tmp_path / artefacts.WEIGHTS)
    assert kept.keys() == start.state_dict().keys()  # no projection among them
    served = artefacts.load(workload, stages, 5, tmp_path)
    assert len(anatomy.blocks(served)) == 2
    with torch.inference_mode():
        assert torch.equal(workload.forward(served, batch), artefacts.load_probe(tmp_path))


def test_stages_come_in_order_each_with_its_own_recipe() -> None:
    technique = replace(TINY, prediction_epochs=5.0, prediction_learning_rate=None)
    stages = technique.stages
    assert [stage.label for stage in stages] == [
        "tinybert 2L intermediate",
        "tinybert 2L prediction",
    ]
    assert [stage.recipe for stage in stages] == [
        # The task is not learnt in the first, so that nothing of it can say when to stop.
        {
            **{"epochs": 1.0, "learning_rate": 3e-3},
            **{"target": None, "patience": None, "restore_best": False, "guard": "off"},
        },
        {"epochs": 5.0},
    ]
    assert technique.label == "tinybert 2L"
    model, workload = nn.Module(), tiny_language()
    assert stages[1].prepare(model, None) is model  # type: ignore[arg-type]
    assert stages[1].restore(model, {}, workload) is model
    assert len(anatomy.blocks(stages[0].restore(model, {}, workload))) == 2


def test_a_chain_can_begin_with_tinybert_and_nothing_can_come_before() -> None:
    half = Half("bf16", "bf16")
    chain = Chain("chain", {"tinybert": TINY, "bf16": half})
    assert chain.stages == (*TINY.stages, half)
    assert chain.label == "tinybert 2L + bf16"
    small = SmallModel("small_model", "3L", None, None)
    with pytest.raises(ValueError, match="tinybert comes after small_model, but it starts from a"):
        Chain("chain", {"small_model": small, "tinybert": TINY})


def test_labels_tell_variants_apart() -> None:
    assert (DISTIL.label, PATIENT.label) == ("distilbert 2L", "patient 2L skip")


def distilbert_of(layers: int) -> nn.Module:
    config = DistilBertConfig(
        vocab_size=400,
        dim=32,
        n_layers=layers,
        n_heads=4,
        hidden_dim=64,
        max_position_embeddings=64,
    )
    return DistilBertForSequenceClassification(config)


@pytest.mark.parametrize(
    ("technique", "student", "told"),
    [
        (TINY, bert(3), r"technique\.student has 3 layers and the baseline 4: .* must divide 4"),
        (TINY, bert(8), r"technique\.student has 8 layers and the baseline 4"),
        (TINY, bert(2, heads=2), r"2 heads in layer 1, the baseline 4 in layer 2: .* with as many"),
        (
            replace(TINY, initial="teacher"),
            bert(2, width=16),
            r"initial=teacher: \S+word_embeddings.weight of the student is \(400, 16\), \S+ of the "
            r"baseline \(400, 32\); technique\.initial=pretrained",
        ),
        (replace(TINY, initial="teacher"), distilbert_of(2), r"of the baseline not there; techni"),
        (DISTIL, bert(2, width=16), r"is 16 wide and the baseline 32: .*technique\.alpha_cos=0"),
        (PATIENT, bert(2, width=16), r"is 16 wide and the baseline 32: .*technique=distillation"),
        (PATIENT, bert(1), r"technique\.student has 1 layers and the baseline 4: .* take 2 to 4"),
        (PATIENT, bert(3), r"technique\.student has 3 layers and the baseline 4: .* must divide"),
    ],
)
def test_students_that_cannot_be_held_against_their_teacher_are_refused(
    technique: Any, student: nn.Module, told: str
) -> None:
    with pytest.raises(TechniqueError, match=told):
        technique.compare(student, bert(4))


def test_the_ways_out_that_refusals_name_are_open() -> None:
    teacher = bert(4)
    replace(TINY, attention_weight=0.0).compare(bert(2, heads=2), teacher)
    replace(TINY).compare(bert(2, width=16), teacher)
    TINY.compare(distilbert_of(2), teacher)
    replace(DISTIL, alpha_cos=0.0).compare(bert(2, width=16), teacher)
    replace(PATIENT, strategy="last").compare(bert(3), teacher)


@pytest.mark.parametrize("technique", [TINY.stages[0], replace(DISTIL, initial="teacher"), PATIENT])
def test_refusals_come_before_anything_is_trained(technique: Any) -> None:
    cpu = torch.device("cpu")
    technique.require(Terms(tiny_language(), {}, "eager", cpu))
    with pytest.raises(TechniqueError, match=r"has 2 layers and the baseline 3"):
        technique.require(Terms(tiny_language(3), {}, "eager", cpu))
    with pytest.raises(TechniqueError, match=r"Net is no encoder.*technique=distillation teaches"):
        technique.require(Terms(Tiny(), {}, "eager", cpu))


def test_hidden_words_need_a_token_to_hide_them_behind() -> None:
    class Nothing(Vocabulary):
        mask_token_id = None

    language = tiny_language()
    mute: Any = type("Mute", (type(language),), {"tokenizer": Nothing()})
    workload = mute(**{field.name: getattr(language, field.name) for field in fields(language)})
    terms = Terms(workload, {}, "eager", torch.device("cpu"))
    DISTIL.require(terms)
    with pytest.raises(TechniqueError, match=r"alpha_mlm=2\.0 hides words, and the tokenizer of"):
        replace(DISTIL, alpha_mlm=2.0).require(terms)


@pytest.mark.parametrize(
    ("technique", "changes", "told"),
    [
        (DISTIL, {"initial": "random"}, r"technique\.initial is 'random': teacher or pretrained"),
        (DISTIL, {"temperature": 0.5}, r"technique\.temperature is 0\.5: at least 1"),
        (DISTIL, {"alpha_task": -1.0}, r"technique\.alpha_task is -1\.0: a weight, at least 0"),
        (DISTIL, {"alpha_ce": 0.0, "alpha_cos": 0.0}, r"nothing of the teacher.*small_model"),
        (DISTIL, {"epochs": 0}, r"technique\.epochs is 0: above 0, or null"),
        (PATIENT, {"temperature": 0.0}, r"technique\.temperature is 0\.0: at least 1"),
        (PATIENT, {"alpha": 0.0}, r"technique\.alpha must be in \(0, 1\], got 0\.0"),
        (PATIENT, {"beta": 0.0}, r"technique\.beta is 0\.0: above 0; technique=distillation"),
        (PATIENT, {"strategy": "first"}, r"technique\.strategy is 'first': skip or last"),
        (TINY, {"prediction_epochs": 0}, r"technique\.prediction_epochs is 0: above 0, or null"),
        (TINY, {"prediction_learning_rate": -1.0}, r"prediction_learning_rate is -1\.0: above 0"),
        (TINY, {"hidden_weight": -1.0}, r"technique\.hidden_weight is -1\.0: a weight, at least"),
        (
            TINY,
            {"embedding_weight": 0.0, "hidden_weight": 0.0, "attention_weight": 0.0},
            r"technique\.attention_weight are 0: the first stage would teach nothing",
        ),
    ],
)
def test_impossible_knobs_are_refused(
    technique: Any, changes: Mapping[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        replace(technique, **changes)
