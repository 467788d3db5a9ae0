"""Words hidden from an encoder, which it has to find again: BERT's own pre-training task."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.techniques.distillation.teaching import seen
from bench.workloads import Batch, Workload
from bench.workloads.language.anatomy import blocks, embeddings

CHOSEN, MASKED, RANDOM = 0.15, 0.8, 0.1
"""Share of the tokens to be found again; shares of these that become ``[MASK]``, or any token."""

_DEVIATION = 0.02  # of fresh weights, as in BERT


class MaskedWords(nn.Module):
    """The loss of finding hidden tokens again, with a head of its own that is trained and dropped.

    The head ends in the encoder's own word embeddings, so they are taught twice. Source: Devlin et
    al. (2019), arXiv:1810.04805, section 3.1 and appendix A.1; its head as in BERT's code.
    """

    special: Tensor

    def __init__(self, student: nn.Module, tokenizer: Any) -> None:
        """Make the head.

        Args:
            student: Of the shape of what will be trained; only looked at.
            tokenizer: Of transformers', with a token to hide others behind.
        """
        super().__init__()
        words = _word_embeddings(student)
        self.transform = nn.Linear(words.embedding_dim, words.embedding_dim)
        nn.init.normal_(self.transform.weight, std=_DEVIATION)
        nn.init.zeros_(self.transform.bias)
        self.norm = nn.LayerNorm(words.embedding_dim, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(words.num_embeddings))
        self.register_buffer("special", torch.tensor(tokenizer.all_special_ids))
        self.mask_id = int(tokenizer.mask_token_id)
        self.tokens = len(tokenizer)

    def forward(self, model: nn.Module, batch: Batch, workload: Workload) -> Tensor:
        """Return the cross-entropy in nats, a mean over the tokens to be found; 0 without any."""
        ids = batch["input_ids"]
        shown_ids, chosen = self.hide(ids, batch["attention_mask"])
        with seen({"last": blocks(model)[-1].layer}) as shown:
            workload.forward(model, {**batch, "input_ids": shown_ids})
        hidden = self.norm(F.gelu(self.transform(shown["last"][chosen])))
        logits = F.linear(hidden, _word_embeddings(model).weight, self.bias)
        found = F.cross_entropy(logits.float(), ids[chosen], reduction="sum")
        return found / max(1, len(logits))

    def hide(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens with some hidden, and where those stand that are to be found again.

        Of the chosen ones 80 % become ``[MASK]``, 10 % a random token, 10 % stay. Padding and
        special tokens are never chosen.
        """
        words = mask.bool() & ~torch.isin(ids, self.special)
        chosen = words & (torch.rand(ids.shape, device=ids.device) < CHOSEN)
        fate = torch.rand(ids.shape, device=ids.device)
        others = torch.randint_like(ids, self.tokens)
        shown = torch.where(chosen & (fate < MASKED), self.mask_id, ids)
        shown = torch.where(chosen & (fate >= 1 - RANDOM), others, shown)
        return shown, chosen


def _word_embeddings(model: nn.Module) -> nn.Embedding:
    return cast("nn.Embedding", embeddings(model).word_embeddings)
