"""Judging sentences with BERT, DistilBERT, TinyBERT and their like: the nine tasks of GLUE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import evaluate
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from bench.digests import labels_sha256
from bench.workloads import Batch, Examples, Workload, WorkloadError
from bench.workloads.batching import by_length
from bench.workloads.checkpoints import require_fit, shape_named, tokenizer
from bench.workloads.language import encoders, generated, texts
from bench.workloads.language.tasks import TASKS, Task

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Glue(Workload):
    """An encoder with a classifier on one task of GLUE, or on a user's files laid out like it.

    Attributes:
        task: ``cola``, ``sst2``, ``mrpc``, ``stsb``, ``qqp``, ``mnli`` (tested on matched genres),
            ``mnli_mismatched``, ``qnli``, ``rte`` or ``wnli``.
        model: Hub id, local folder, or ``package:<name>/<folder>`` inside an installed package.
        pretrained: Take the model's weights; else its architecture with random ones, whose joules
            are valid and whose accuracy cannot be compared with published figures.
        architecture: transformers' configuration of the encoder, ``model_type`` among it: what is
            built where ``pretrained`` is false, so that no hub is asked for it.
        vocabulary: Hub id or local folder of another tokenizer; ``None`` takes the model's.
        dataset: Hub id.
        max_length: Tokens after which a text, or two together, are cut off.
        padding: ``longest`` of each batch, or ``fixed`` to ``max_length``: compiled models are
            compiled for one shape.
        bucketing: Whether batches hold texts of like length, in training and in testing.
        default_student: The smaller model that techniques take unless ``technique.student`` names
            another: see ``student``.
    """

    task: str
    model: str
    pretrained: bool
    architecture: Mapping[str, Any]
    vocabulary: str | None
    dataset: str
    max_length: int
    padding: Literal["longest", "fixed"]
    bucketing: bool
    default_student: str

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        super().__post_init__()
        if self.task not in TASKS:
            raise ValueError(f"workload.task is {self.task!r}: one of {', '.join(TASKS)}")
        if self.padding not in ("longest", "fixed"):
            raise ValueError(f"workload.padding is {self.padding!r}: longest or fixed")
        if self.max_length < 4:
            raise ValueError(
                f"workload.max_length is {self.max_length}: at least 4 tokens, three of which mark "
                f"the ends of two texts"
            )

    @property
    def metric(self) -> str:
        """GLUE's for the task; of two the first."""
        return self._task.metric

    @property
    def tokenizer(self) -> Any:
        """The tokenizer that makes the model's inputs."""
        return tokenizer(self.vocabulary or self.model)

    def require(self, mode: str) -> None:
        """Refuse to compile for shapes that change from batch to batch."""
        if mode == "compile" and self.padding == "longest":
            raise WorkloadError(
                "workload.padding=longest with runtime=compile would be compiled anew for each "
                "length: take workload.padding=fixed, and a workload.max_length that fits the task"
            )

    def build(self, seed: int) -> PreTrainedModel:
        """Return the encoder with a classifier, whose weights are always random at first.

        Raises:
            WorkloadError: There is no such model, or it does not fit the tokenizer.
        """
        torch.manual_seed(seed)
        outputs = max(1, self._task.classes)
        if self.pretrained:
            model = encoders.pretrained(self.model, outputs)
        else:
            model = encoders.fresh(self.architecture, outputs)
        self._require_fit(model)
        return model

    def student(self, name: str, seed: int) -> nn.Module:
        """Return a smaller encoder for the same texts.

        Args:
            name: ``3L`` for three of the layers, taken evenly with their initial weights;
                ``4L-312`` for four fresh layers of that width; else a hub id or local folder.
            seed: Of random weights.
        """
        torch.manual_seed(seed)
        if (shape := shape_named(name)) is None:
            model = encoders.pretrained(name, max(1, self._task.classes), key="technique.student")
            self._require_fit(model)
            return model
        return encoders.smaller(self.build(seed), shape, name)

    def train_examples(self) -> Examples:
        """Return the training split."""
        return self._examples("train")

    def plain_train_examples(self) -> Examples:
        """Return the training split, which is never augmented."""
        return self._examples("train")

    def test_examples(self) -> Examples:
        """Return the held-out split; with ``bucketing`` in an order of its own."""
        return self._examples("test")

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return logits, shape ``(batch, classes)``, or scores, ``(batch, 1)``."""
        found = model(**{name: batch[name] for name in INPUTS if name in batch})
        logits: Tensor = found["logits"]
        return logits

    def loss(self, outputs: Tensor, batch: Batch, smoothing: float) -> Tensor:
        """Return cross-entropy in nats, or the mean squared error of scores."""
        if not self._task.classes:
            return F.mse_loss(outputs.squeeze(1), batch["labels"].to(outputs.dtype))
        return F.cross_entropy(outputs, batch["labels"], label_smoothing=smoothing)

    def predict(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the class with the largest logit, or the score."""
        return outputs.argmax(dim=1) if self._task.classes else outputs.float().squeeze(1)

    def score(self, labels: np.ndarray, predictions: np.ndarray) -> Mapping[str, float]:
        """Return GLUE's metrics of the task."""
        module = Path(__file__).with_name("glue_metric.py")
        name = self._task.subset or self.task
        found = evaluate.load(str(module), name).compute(
            predictions=predictions.tolist(), references=labels.tolist()
        )
        return {key: float(value) for key, value in found.items()}

    def describe_data(self) -> dict[str, Any]:
        """Return source, sizes, texts that were cut off, and a digest of the labels."""
        source = self.dataset if self.data_root is None else f"local copy of {self.dataset}"
        description: dict[str, Any] = {"source": source}
        for split in ("train", "test"):
            tokens = self._examples(split)
            counts = tokens.starts.diff()
            description[split] = {
                "examples": len(tokens),
                "labels_sha256": labels_sha256(tokens.labels[tokens.order].numpy()),
                "mean_tokens": float(counts.float().mean()),
                "at_max_length": int((counts == self.max_length).sum()),
            }
        return description

    @property
    def _task(self) -> Task:
        return TASKS[self.task]

    def _require_fit(self, model: PreTrainedModel) -> None:
        said = f"workload.max_length={self.max_length}"
        require_fit(model, self.tokenizer, self.max_length, said)

    def _table(self, split: str) -> Any:
        task = self._task
        subset, splits = task.subset or self.task, ("train", task.held_out)
        tables = texts.load(self.dataset, subset, splits, self.data_root)
        where = f"data.root={self.data_root}" if self.data_root else self.dataset
        name = splits[split == "test"]
        return texts.checked(tables[split], task.columns, task.classes, f"{where}, {subset} {name}")

    def _examples(self, split: str) -> texts.Tokens:
        table, words = self._table(split), self.tokenizer
        ids, segments, starts = texts.tokenised(table, self._task.columns, words, self.max_length)
        labels = torch.from_numpy(table.data.column("label").to_numpy().copy())
        sorted_too = self.bucketing and self.padding == "longest" and split == "test"
        rows = len(labels)
        return texts.Tokens(
            ids,
            segments,
            starts,
            labels.long() if self._task.classes else labels.float(),
            by_length(starts, self.batch_size) if sorted_too else torch.arange(rows),
            words.pad_token_id,
            self.max_length if self.padding == "fixed" else None,
            self.bucketing,
            "token_type_ids" in words.model_input_names,
        )


@dataclass(frozen=True)
class Sentences(Glue):
    """A generated task with a tokenizer made on the spot: nothing is shipped or downloaded.

    Sentences praise or blame, and in half of them a word turns that round, so that counting words
    is not enough.
    """

    @property
    def tokenizer(self) -> Any:
        """A tokenizer of the words of the generated sentences."""
        return generated.tokenizer()

    def _table(self, split: str) -> Any:
        return generated.table(split)
