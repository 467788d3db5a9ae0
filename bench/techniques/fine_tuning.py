"""Training on after a change: how long, how fast, and at which rates nothing learnt is undone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.techniques import TechniqueError, Terms

STEEP = 10
"""Times the baseline's learning rate above which a rate was meant for another optimiser: those of
SGD on ResNets are a thousand times those of Adam on transformers."""

TO_THE_END: Mapping[str, Any] = {
    "target": None,
    "patience": None,
    "restore_best": False,
    "guard": "warn",
}
"""For what grows while it is trained, such as masks. Stopped early, or taken back to its best look,
when few of them are there, all the rest would happen at once, and nothing recover from it."""


def recipe(
    epochs: float, learning_rate: float | None, also: Mapping[str, Any] | None = None
) -> Mapping[str, Any] | None:
    """Return what fine-tuning changes in the baseline's recipe; ``None`` without any epochs.

    Args:
        epochs: Passes.
        learning_rate: Peak; ``None`` takes the baseline's.
        also: What else it changes.
    """
    if epochs == 0:
        return None
    rate = {} if learning_rate is None else {"learning_rate": learning_rate}
    return {"epochs": epochs, **rate, **(also or {})}


def require_possible(epochs: float, learning_rate: float | None) -> None:
    """Refuse impossible knobs.

    Raises:
        ValueError: The message names both.
    """
    if epochs < 0 or (learning_rate is not None and learning_rate <= 0):
        raise ValueError(
            f"technique.epochs={epochs} must be at least 0, technique.learning_rate="
            f"{learning_rate} above 0, or null for the baseline's"
        )


def require_gentle(epochs: float, learning_rate: float | None, terms: Terms) -> None:
    """Refuse a rate that undoes what the baseline has learnt.

    Raises:
        TechniqueError: It is far above the baseline's.
    """
    own = terms.training["learning_rate"]
    if epochs and learning_rate is not None and learning_rate > STEEP * own:
        raise TechniqueError(
            f"technique.learning_rate={learning_rate:g} is {learning_rate / own:.0f} times "
            f"training.learning_rate={own:g}, at which {terms.workload.name} is trained: it would "
            f"undo what the baseline has learnt; give less, or null for the baseline's"
        )
