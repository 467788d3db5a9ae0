"""The half of a language model's workload that is data: which texts, and how they are cut."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch

from bench.digests import labels_sha256
from bench.workloads import Examples, Workload, WorkloadError
from bench.workloads.batching import by_length
from bench.workloads.causal_lm import cleaning, prompts, sequences
from bench.workloads.causal_lm.rows import (
    NAMES,
    Rows,
    Source,
    prepare,
    require_shares,
    texts_sha256,
)
from bench.workloads.causal_lm.sequences import Sequences


@dataclass(frozen=True)
class Texts(Workload):
    """Instructions with answers, or plain text: from the hub, or of a user.

    Attributes:
        dataset: Hub id.
        subset: Its configuration, where it has several.
        layout: ``instructions`` (instruction, input, output), ``columns`` (any columns that the
            template names, and output), or ``text`` (one column, in packed blocks).
        template: Prompt of a row, with the names of columns in braces; ``alpaca`` is the published
            one. The loss is taken on the answer alone.
        columns: What columns are called in the data, where they are not called as here.
        separator: Text between two rows of plain text; ``None`` for the token that ends a text.
            Between the lines of a text file there is always a line break.
        block: Tokens of a packed block, and the most that an example has.
        padding: ``longest`` of each batch, or ``fixed`` to ``block``: compiled models are compiled
            for one shape.
        bucketing: Whether batches hold examples of like length, in training and in testing.
        splits: Where the data have one split only, the shares of ``train``, ``validation`` and
            ``test``, and the ``seed`` they are drawn with.
        cleaning: Steps by name: ``empty``, ``duplicates``, ``unicode``.
    """

    dataset: str
    subset: str | None
    layout: Literal["instructions", "columns", "text"]
    template: str
    columns: Mapping[str, str] | None
    separator: str | None
    block: int
    padding: Literal["longest", "fixed"]
    bucketing: bool
    splits: Mapping[str, float]
    cleaning: Sequence[str]

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        super().__post_init__()
        for key, known in (
            ("layout", ("instructions", "columns", "text")),
            ("padding", ("longest", "fixed")),
        ):
            if (value := getattr(self, key)) not in known:
                raise ValueError(f"workload.{key} is {value!r}: one of {', '.join(known)}")
        if self.block < 2:
            raise ValueError(
                f"workload.block is {self.block}: at least two tokens, the second foretold by the "
                f"first"
            )
        if unknown := [step for step in self.cleaning if step not in cleaning.STEPS]:
            raise ValueError(
                f"workload.cleaning has {unknown[0]!r}: {', '.join(cleaning.STEPS)} are known"
            )
        require_shares(self.splits)
        roles = self._roles
        if unknown := [name for name in self.columns or {} if name not in roles]:
            raise ValueError(
                f"workload.columns.{unknown[0]}: workload.layout={self.layout} has "
                f"{', '.join(roles)}"
            )

    @property
    @abc.abstractmethod
    def tokenizer(self) -> Any:
        """The tokenizer of transformers that makes the model's inputs."""

    def train_examples(self) -> Examples:
        """Return the training split."""
        return self._sequences["train"]

    def plain_train_examples(self) -> Examples:
        """Return the training split, which is never augmented."""
        return self._sequences["train"]

    def validation_examples(self) -> Examples | None:
        """Return the split to be looked at while training, if the data have one or are split."""
        return self._sequences.get("validation")

    def test_examples(self) -> Examples:
        """Return the held-out split; with ``bucketing`` in an order of its own."""
        return self._sequences["test"]

    def describe_data(self) -> dict[str, Any]:
        """Return source, split, what cleaning did, and of each split sizes and digests."""
        description = dict(self._rows.origin)
        for split, examples in self._sequences.items():
            labels = examples.labels
            description[split] = {
                "rows": len(self._rows.splits[split]),
                "texts_sha256": texts_sha256(self._rows.splits[split]),
                "examples": len(examples),
                "labels_sha256": labels_sha256(labels.numpy()),
                "tokens": len(examples.ids),
                "predicted_tokens": int(labels.sum()),
                "cut_off": examples.cut_off,
                "left_out": examples.left_out,
            }
        return description

    @property
    def _roles(self) -> tuple[str, ...]:
        return prompts.roles(self.layout, self.template)

    @cached_property
    def _rows(self) -> Rows:
        called = self.columns or {}
        optional = ("input",) if self.layout == "instructions" else ()
        return prepare(
            Source(
                dataset=self.dataset,
                subset=self.subset,
                root=self.data_root,
                columns=tuple(called.get(role, role) for role in self._roles),
                optional=tuple(called.get(role, role) for role in optional),
                ratios={name: self.splits[name] for name in NAMES},
                seed=int(self.splits["seed"]),
                cleaning=tuple(self.cleaning),
            )
        )

    @cached_property
    def _sequences(self) -> dict[str, Sequences]:
        found = {split: self._tokenised(split) for split in self._rows.splits}
        if "validation" in found and not len(found["validation"]):
            del found["validation"]
        for split, examples in found.items():
            if not len(examples):
                raise WorkloadError(
                    f"{self._rows.origin['source']}: workload.block={self.block} leaves no example "
                    f"in the {split} split, which has {len(self._rows.splits[split])} rows"
                )
        return found

    def _tokenised(self, split: str) -> Sequences:
        rows, words = self._rows.splits[split], self.tokenizer
        cut_off = left_out = 0
        if self.layout == "text":
            between = "\n" if self._rows.lines else self.separator
            texts = [text for (text,) in rows]
            ids, starts, given = sequences.packed(texts, between, words, self.block)
        else:
            asked = [
                prompts.filled(self.template, dict(zip(self._roles, row, strict=True)))
                for row in rows
            ]
            ids, starts, given, cut_off, left_out = sequences.answered(
                asked, [row[-1] for row in rows], words, self.block
            )
        one_length = self.layout == "text" or self.padding == "fixed"
        sorted_too = self.bucketing and not one_length and split == "test"
        return Sequences(
            ids,
            starts,
            given,
            by_length(starts, self.batch_size) if sorted_too else torch.arange(len(given)),
            sequences.padding_of(words),
            self.block if one_length else None,
            self.bucketing,
            cut_off,
            left_out,
        )
