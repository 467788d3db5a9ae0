"""Texts as tokens: prompts with answers, packed blocks of plain text, and prompts to be served."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.workloads import Batch, WorkloadError
from bench.workloads.batching import lengths, places

IGNORED = -100
"""Target where there is no loss: in prompts and in padding. The library's own mark."""

_AT_ONCE = 1_000
"""Texts that are tokenised together: the tokenizer's own lists are large."""

Tokens = list[int]


@dataclass(frozen=True)
class Sequences:
    """Examples as tokens, padded a batch at a time, of which the last part has to be predicted.

    Attributes:
        ids: Tokens of all examples, one after the other: int32, ``(tokens,)``.
        starts: Where each example begins, and at last the end: int64, ``(examples + 1,)``.
        given: Tokens at the beginning of each example that are not predicted: int64, 1 or more.
        order: Rows of the examples in the order in which they are numbered here.
        padding: Token that fills up.
        length: Tokens of every example after padding; ``None`` for those of the longest of a batch.
        bucketing: Whether training batches hold examples of like length.
        cut_off: Examples that were longer and have lost tokens at their end.
        left_out: Rows of which nothing could be predicted within that length.
    """

    ids: Tensor
    starts: Tensor
    given: Tensor
    order: Tensor
    padding: int
    length: int | None
    bucketing: bool
    cut_off: int
    left_out: int

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.order)

    @property
    def labels(self) -> Tensor:
        """How many tokens are predicted, in the order of the examples: int64."""
        return (self.starts.diff() - self.given)[self.order]

    @property
    def lengths(self) -> Sequence[int] | None:
        """Tokens of each example, or ``None`` where batches are not made by length."""
        if self.length is not None or not self.bucketing:
            return None
        return lengths(self.starts, self.order)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return ``input_ids``, ``attention_mask``, ``targets`` and ``labels``.

        Targets stand where their tokens stand; whoever takes the loss shifts them by one.
        """
        rows = self.order[torch.as_tensor(indices)]
        where, real = places(self.starts, rows, self.length)
        tokens, given = self.ids[where].long(), self.given[rows]
        predicted = real & (torch.arange(real.shape[1]) >= given.unsqueeze(1))
        return {
            "input_ids": torch.where(real, tokens, self.padding),
            "attention_mask": real.long(),
            "targets": torch.where(predicted, tokens, IGNORED),
            "labels": predicted.sum(dim=1),
        }


@dataclass(frozen=True)
class Prompts:
    """Prompts of one length, without answers.

    Attributes:
        ids: Tokens: int32, ``(prompts, tokens)``.
    """

    ids: Tensor

    def __len__(self) -> int:
        """Return the number of prompts."""
        return len(self.ids)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return ``input_ids``."""
        return {"input_ids": self.ids[torch.as_tensor(indices)].long()}


def prompts_of(examples: Sequences, tokens: int) -> Prompts:
    """Return the tokens of all examples, one after the other, cut into prompts of one length.

    Of one length: padding would be paid for by both arms and belong to nobody.

    Raises:
        WorkloadError: They are fewer tokens than one prompt has.
    """
    count = len(examples.ids) // tokens
    if not count:
        raise WorkloadError(
            f"workload.prompt_tokens={tokens}: the test split has {len(examples.ids)} tokens"
        )
    return Prompts(examples.ids[: count * tokens].reshape(count, tokens))


def ending(tokenizer: Any) -> int:
    """Return the token that ends a text.

    Raises:
        WorkloadError: The tokenizer has none.
    """
    for found in (tokenizer.eos_token_id, tokenizer.sep_token_id):
        if found is not None:
            return int(found)
    raise WorkloadError(
        "workload.vocabulary: the tokenizer has no token that ends a text, so no model can learn "
        "where to stop"
    )


def opening(tokenizer: Any) -> Tokens:
    """Return the tokens that the tokenizer puts before a text, as Llama's does, if any."""
    last = ending(tokenizer)
    return [token for token in tokenizer("")["input_ids"] if token != last]


def padding_of(tokenizer: Any) -> int:
    """Return the token that fills up; any would do, since nobody looks at it."""
    found = tokenizer.pad_token_id
    return ending(tokenizer) if found is None else int(found)


def answered(
    prompts: Sequence[str], answers: Sequence[str], tokenizer: Any, most: int
) -> tuple[Tensor, Tensor, Tensor, int, int]:
    """Return ``ids``, ``starts``, ``given``, ``cut_off`` and ``left_out`` of ``Sequences``.

    Prompt and answer are tokenised apart, as they are when the model is asked. An example that is
    too long loses the end of its answer; one whose prompt alone is too long is left out.
    """
    first, last = opening(tokenizer), ending(tokenizer)
    ids, counts, given = [], [], []
    cut_off = left_out = 0
    pairs = zip(_tokenised(prompts, tokenizer), _tokenised(answers, tokenizer), strict=True)
    for prompt, answer in pairs:
        before = [*first, *prompt]
        whole = [*before, *answer, last]
        known = max(1, len(before))  # nothing foretells the first token of all
        if known >= min(most, len(whole)):
            left_out += 1
            continue
        cut_off += len(whole) > most
        ids.append(np.asarray(whole[:most], np.int32))
        counts.append(len(ids[-1]))
        given.append(known)
    return (
        torch.from_numpy(np.concatenate(ids)) if ids else torch.empty(0, dtype=torch.int32),
        torch.tensor([0, *counts]).cumsum(0),
        torch.tensor(given, dtype=torch.int64),
        cut_off,
        left_out,
    )


def packed(
    texts: Sequence[str], separator: str | None, tokenizer: Any, block: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``ids``, ``starts`` and ``given`` of blocks that are cut out of all texts in a row.

    What does not fill a block at the end is left out.

    Args:
        texts: One after the other.
        separator: Text between two of them; ``None`` for the token that ends a text, so that each
            is a document of its own.
        tokenizer: Of transformers'.
        block: Tokens.
    """
    stream = (
        _documents(texts, tokenizer)
        if separator is None
        else _tokenised(_stretches(texts, separator), tokenizer)
    )
    ids = np.concatenate([np.asarray(tokens, np.int32) for tokens in ([], *stream)])
    blocks = len(ids) // block
    return (
        torch.from_numpy(ids[: blocks * block]),
        torch.arange(blocks + 1) * block,
        torch.ones(blocks, dtype=torch.int64),
    )


def _documents(texts: Sequence[str], tokenizer: Any) -> Iterator[Tokens]:
    first, last = opening(tokenizer), ending(tokenizer)
    for tokens in _tokenised(texts, tokenizer):
        yield [*first, *tokens, last]


def _stretches(texts: Sequence[str], separator: str) -> list[str]:
    """Join many texts at a time: tokens may reach across two, and all in one would take long."""
    return [
        separator.join((*texts[start : start + _AT_ONCE], ""))
        for start in range(0, len(texts), _AT_ONCE)
    ]


def _tokenised(texts: Sequence[str], tokenizer: Any) -> Iterator[Tokens]:
    for start in range(0, len(texts), _AT_ONCE):
        yield from tokenizer(
            list(texts[start : start + _AT_ONCE]),
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
