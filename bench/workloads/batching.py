"""Sequences of unlike length that lie in one tensor, and how batches are cut out of it."""

from __future__ import annotations

import torch
from torch import Tensor


def places(starts: Tensor, rows: Tensor, length: int | None) -> tuple[Tensor, Tensor]:
    """Return where each token of a batch lies, and which of them are real and no padding.

    Args:
        starts: Where each sequence begins, and at last the end: int64, ``(sequences + 1,)``.
        rows: Sequences of the batch.
        length: Tokens of every sequence after padding; ``None`` for those of the longest of them.

    Returns:
        Two tensors of ``(batch, tokens)``: int64, 0 where there is padding, and bool.
    """
    begin, count = starts[rows], starts[rows + 1] - starts[rows]
    width = torch.arange(length or int(count.max()))
    real = width < count.unsqueeze(1)
    return torch.where(real, begin.unsqueeze(1) + width, 0), real


def lengths(starts: Tensor, rows: Tensor) -> list[int]:
    """Return how many tokens each of the rows has."""
    found: list[int] = (starts[rows + 1] - starts[rows]).tolist()
    return found


def by_length(starts: Tensor, batch_size: int) -> Tensor:
    """Return rows so ordered that batches hold texts of like length, batches in random order.

    The order is fixed, so that both arms and all runs see the same batches; a rest that fills no
    batch stays last.
    """
    order = torch.argsort(starts.diff(), stable=True)
    whole = len(order) // batch_size
    drawn = torch.randperm(whole, generator=torch.Generator().manual_seed(0))
    batches = order[: whole * batch_size].reshape(whole, batch_size)[drawn]
    return torch.cat([batches.reshape(-1), order[whole * batch_size :]])
