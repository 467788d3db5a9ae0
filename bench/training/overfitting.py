"""Whether a model is learning its rows by heart, seen from two losses while it trains."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

EXCESS = 0.1
"""Validation loss above its best, as a fraction of it, that is no noise."""

RISES = 3
"""Looks in a row at which it rose: a trend, also where the excess is smaller."""

COLLAPSE = 0.1
"""Training loss, as a fraction of its first, below which nothing is left to learn from the rows."""

ADVICE = (
    "try training=regularised (weight decay 0.1, a quarter of the rate, more frequent looks, the "
    "best of them kept), fewer epochs, or more rows"
)


@dataclass
class Overfitting:
    """Follows the two losses of one training.

    A gap alone says little: dropout and augmentation make training harder than testing, and a few
    noisy looks rise by chance. What is flagged is a validation loss that leaves its best behind
    while the training loss falls on, or a training loss that collapses while the validation loss
    no longer follows. Source: Prechelt (1998), Early Stopping - But When?, LNCS 1524, criteria GL
    (excess over the best) and UP (rises in a row).
    """

    best: float = math.inf
    best_step: int = 0
    training_at_best: float = math.inf
    first: float | None = None
    _last: float = math.inf
    _rises: int = 0
    _losses: list[float] = field(default_factory=list)

    def trained(self, loss: float) -> None:
        """Note a training loss, the mean over some steps."""
        if self.first is None:
            self.first = loss
        self._losses.append(loss)

    def looked(self, step: int, loss: float) -> str | None:
        """Note a validation loss; return what is wrong, if the two have parted.

        Args:
            step: Optimiser steps done.
            loss: On the validation part, in nats.
        """
        training = self._losses[-1] if self._losses else math.inf
        self._rises = self._rises + 1 if loss > self._last else 0
        self._last = loss
        if loss < self.best:
            self.best, self.best_step, self.training_at_best = loss, step, training
            return None
        falls_on = training < self.training_at_best
        if falls_on and (loss > (1 + EXCESS) * self.best or self._rises >= RISES):
            return (
                f"overfitting at step {step}: the validation loss is {loss:.3f}, "
                f"{loss / self.best - 1:.1%} above its best of {self.best:.3f} at step "
                f"{self.best_step}, while the training loss fell from {self.training_at_best:.3f} "
                f"to {training:.3f}; {ADVICE}"
            )
        return self._collapsed(step, loss, training)

    def _collapsed(self, step: int, loss: float, training: float) -> str | None:
        if self.first is None or training > COLLAPSE * min(self.first, loss):
            return None
        return (
            f"overfitting at step {step}: the training loss has collapsed from {self.first:.3f} "
            f"to {training:.3f}, the validation loss is {loss:.3f}; {ADVICE}"
        )
