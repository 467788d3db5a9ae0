"""What the user asked for on pytest's command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Settings:
    """Options, as a check needs them.

    Attributes:
        limit: Ratio above which a check fails; ``None`` for none.
        measure: One of ``instruments.WANTED``.
        most_s: Seconds that a check may take.
        half_width: Relative half-width of the interval to reach; ``None`` for that of the rules.
        baseline: File or folder of stored runs; ``None`` for none.
        disabled: Whether functions are called once and nothing is measured.
        parallel: Whether other tests run beside (pytest-xdist).
    """

    limit: float | None
    measure: str
    most_s: float
    half_width: float | None
    baseline: Path | None
    disabled: bool
    parallel: bool

    @classmethod
    def of(cls, config: pytest.Config) -> Settings:
        """Return the settings of a session."""
        return cls(
            limit=config.getoption("joules_fail"),
            measure=config.getoption("joules_measure"),
            most_s=config.getoption("joules_max_time"),
            half_width=config.getoption("joules_half_width"),
            baseline=config.getoption("joules_baseline"),
            disabled=config.getoption("joules_disable"),
            parallel=hasattr(config, "workerinput"),
        )
