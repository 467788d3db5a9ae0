"""Whether a variant is really compressed, asked before an hour is spent on measuring it."""

from __future__ import annotations

from bench.artefacts import Card
from bench.evaluation import Evaluation
from bench.techniques import Technique


class ProofError(RuntimeError):
    """A variant that is not what its technique promises; the message says which promise broke."""


def require(technique: Technique, cards: tuple[Card, Card], variant: Evaluation) -> None:
    """Refuse a variant that only pretends.

    Args:
        technique: What it promises.
        cards: Of the baseline and of the variant.
        variant: What a fresh process has seen of the variant.

    Raises:
        ProofError: The first promise that is broken.
    """
    if not technique.stages:
        return
    before, after = (card.artefact.bytes for card in cards)
    patterns = [part for stage in technique.stages for part in stage.kernels]
    kernels = ", ".join(variant.kernels)
    broken = (
        (bool(variant.simulations), f"it still simulates: {', '.join(variant.simulations[:3])}"),
        (
            not variant.reload_exact,
            "a fresh process that loads the artefact does not give the outputs of its maker",
        ),
        (
            any(stage.shrinks for stage in technique.stages) and after >= before,
            f"its artefact has {after:,} bytes, that of the baseline {before:,}",
        ),
        (
            bool(patterns) and not any(part in kernels for part in patterns),
            f"no kernel is named after {' or '.join(patterns)}; a profile shows {kernels}",
        ),
    )
    for is_broken, why in broken:
        if is_broken:
            raise ProofError(f"{technique.label} is not what it promises, so not measured: {why}")
