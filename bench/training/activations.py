"""Activations that are forgotten and computed again: less memory, more joules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def forget_activations(model: nn.Module) -> int:
    """Make every block of the model forget its activations in training; return the blocks.

    Blocks are the direct children of ``nn.Sequential`` and ``nn.ModuleList`` that hold several
    layers. Source: Chen et al. (2016), arXiv:1604.06174.
    """
    blocks = [
        block
        for holder in model.modules()
        if isinstance(holder, nn.Sequential | nn.ModuleList)
        for block in holder.children()
        if len(list(block.children())) > 1
    ]
    for block in blocks:
        block.forward = partial(_forgetful, block, block.forward)
    return len(blocks)


def remember_activations(model: nn.Module) -> None:
    """Undo ``forget_activations``: a model that is saved or copied is an ordinary one."""
    for block in model.modules():
        block.__dict__.pop("forward", None)


def _forgetful(block: nn.Module, forward: Any, *args: Any, **kwargs: Any) -> Any:
    if not block.training:
        return forward(*args, **kwargs)
    contexts = partial(_contexts, block)
    return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    return nullcontext(), _statistics_held(block)


@contextmanager
def _statistics_held(block: nn.Module) -> Iterator[None]:
    # The second forward pass of a batch must not count twice in the running statistics.
    norms = [m for m in block.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    held = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None  # what is None is not counted
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, held, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked = batches
