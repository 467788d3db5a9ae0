"""Serving: what a model does with a prompt, and what with each token after it.

    prefill   prompt -> keys and values of all its tokens, first token of the answer
    decode    token -> next token, from the keys and values of all before it, again and again

Both are measured by themselves. Decoding works on one token at a time and waits for memory, prefill
works on all at once and waits for arithmetic: the joules of one say nothing about the other's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.workloads import Batch


def prefill(model: nn.Module, batch: Batch) -> tuple[Callable[[], None], int]:
    """Return a pass over prompts up to the first token of each answer, and the prompts' tokens.

    The time that one such pass takes for one prompt is the time to the first token.
    """
    prompts = batch["input_ids"]

    def serve() -> None:
        read(model, prompts)

    return serve, prompts.numel()


def decode(model: nn.Module, batch: Batch, tokens: int) -> tuple[Callable[[], None], int]:
    """Return a pass that goes on from prompts read beforehand, and the tokens that it makes."""
    prompts = batch["input_ids"]
    cache, first = read(model, prompts)

    def serve() -> None:
        continued(model, cache, first, tokens)
        cache.crop(-tokens)  # back to the prompt; nothing is copied

    return serve, len(prompts) * tokens


def read(model: nn.Module, prompts: Tensor) -> tuple[Any, Tensor]:
    """Return keys and values of prompts, and the first token after each, ``(batch, 1)``."""
    outputs = model(input_ids=prompts, use_cache=True, logits_to_keep=1)
    return outputs["past_key_values"], _likeliest(outputs["logits"])


def continued(model: nn.Module, cache: Any, token: Tensor, count: int) -> Tensor:
    """Return the most likely ``count`` tokens after ``token``, one by one: ``(batch, count)``.

    A text is never ended early, so that every pass is the same work.

    Args:
        model: Of transformers, perhaps changed or compiled.
        cache: Keys and values of all before ``token``; those of what follows are added.
        token: The last one so far, ``(batch, 1)``.
        count: How many more.
    """
    found = []
    for _ in range(count):
        outputs = model(input_ids=token, past_key_values=cache, use_cache=True)
        token = _likeliest(outputs["logits"])
        found.append(token)
    return torch.cat(found, dim=1)


def _likeliest(logits: Tensor) -> Tensor:
    return logits[:, -1:].argmax(dim=-1)
