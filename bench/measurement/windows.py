"""Measured windows, and what they say per sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.measurement import Span
from bench.measurement.figures import require_one_origin

ArmName = Literal["baseline", "variant"]


@dataclass(frozen=True, slots=True)
class Window:
    """One measured window.

    Attributes:
        block: Number of its block in order of measurement.
        order: ``ABBA`` or ``BAAB``.
        position: 0 to 3 within the block.
        arm: Whose work it was.
        items: Samples processed, or what stands for them, such as seconds of audio.
        span: What was read.
        kept: False if its block was discarded.
    """

    block: int
    order: str
    position: int
    arm: ArmName
    items: float
    span: Span
    kept: bool


def per_item(
    windows: Sequence[Window], figure: Callable[[Span], float | None]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a figure per sample of each kept block's windows, baseline and variant.

    Args:
        windows: Of one session.
        figure: From a span to joules or seconds; ``None`` if it has none.

    Returns:
        Two arrays of shape ``(blocks, 2)``; no rows if a figure is missing anywhere.

    Raises:
        OriginError: A component's joules have two origins in these windows.
    """
    require_one_origin([(window.arm, window.span) for window in windows])
    values: dict[ArmName, list[float]] = {"baseline": [], "variant": []}
    for window in windows:
        if window.kept:
            total = figure(window.span)
            if total is None:
                return np.empty((0, 2)), np.empty((0, 2))
            values[window.arm].append(total / window.items)
    baseline, variant = (np.asarray(values[arm]).reshape(-1, 2) for arm in ("baseline", "variant"))
    return baseline, variant
