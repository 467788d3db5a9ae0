"""Sentences that praise or blame, made up from a small grammar, and a tokenizer of their words."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Any

import datasets
from transformers import BertTokenizer

from bench.workloads.checkpoints import of_words

SIZES = {"train": 2_000, "test": 500}

_SUBJECTS = ("the plot", "the cast", "the music", "this film", "her voice", "the second half")
_GOOD = ("moving", "clever", "funny", "bright", "honest", "graceful", "rich", "warm")
_BAD = ("dull", "clumsy", "flat", "tired", "noisy", "empty", "cold", "slow")
_TURNS = ("not", "never", "hardly")
_ADVERBS = ("very", "quite", "truly", "rather", "always")
_TAILS = (
    "",
    "from the first scene",
    "and i would say so again to anyone who asks me about it",
    "although nobody in the room seemed to notice",
    "for two long hours",
)


@lru_cache(maxsize=2)
def table(split: str) -> datasets.Dataset:
    """Return rows of ``sentence`` and ``label`` (1 for praise), always the same ones."""
    drawn = random.Random(f"joulebench {split}")
    rows = [_row(drawn) for _ in range(SIZES[split])]
    return datasets.Dataset.from_list(rows)


def _row(drawn: random.Random) -> dict[str, Any]:
    praises, turned = drawn.random() < 0.5, drawn.random() < 0.5
    words = [drawn.choice(_SUBJECTS), drawn.choice(("is", "was"))]
    if turned:
        words.append(drawn.choice(_TURNS))
    if drawn.random() < 0.5:
        words.append(drawn.choice(_ADVERBS))
    words.append(drawn.choice(_GOOD if praises != turned else _BAD))
    words.append(drawn.choice(_TAILS))
    return {"sentence": " ".join(word for word in words if word), "label": int(praises)}


@lru_cache(maxsize=1)
def tokenizer() -> BertTokenizer:
    """Return a tokenizer of the words of the training split; other words fall into letters."""
    return of_words(table("train")["sentence"])
