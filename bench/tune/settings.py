"""The knobs of a search itself; ``conf/tune.yaml`` and ``conf/tuner/*.yaml`` hold the values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from bench.tune.space import Knob, knobs

Sampler = Literal["tpe", "gp", "nsga2", "random"]
SAMPLERS = Sampler.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Budget:
    """How long a search goes on; what is used up first ends it.

    Attributes:
        trials: Finished ones, whatever came of them.
        hours: Of trials, added over all workers.
        joules: Of making, evaluating and measuring, by the meter that the search goes by.
    """

    trials: int | None
    hours: float | None
    joules: float | None

    def __post_init__(self) -> None:
        """Refuse a search without end or without beginning."""
        given = {"trials": self.trials, "hours": self.hours, "joules": self.joules}
        if not any(value is not None for value in given.values()):
            raise ValueError(
                "tuner.budget has no end: give trials, hours or joules, such as "
                "tuner.budget.trials=30"
            )
        for key, value in given.items():
            if value is not None and value <= 0:
                raise ValueError(f"tuner.budget.{key} is {value}: above 0, or null for any")


@dataclass(frozen=True)
class Tuner:
    """A search: what is drawn, by whom, for how long.

    Attributes:
        name: Of the preset.
        study: Name of the search: of its folder, and of what two workers share.
        sampler: ``tpe`` (tree-structured Parzen estimators; Ozaki et al. (2022) JAIR 73:1209-1250),
            ``gp`` (Gaussian processes, expected hypervolume improvement; Daulton et al. (2020),
            arXiv:2006.05078), ``nsga2`` (Deb et al. (2002) IEEE TEVC 6:182-197), all as Optuna has
            them, or ``random``, the control.
        startup_trials: Trials drawn at random before ``tpe`` and ``gp`` go by what was found.
        seed: Of the draws; each trial draws by this and its number.
        floor: Loss of the metric on the held-out examples, against the baseline, beyond which a
            trial is not measured; ``None`` measures all.
        budget: How long.
        space: The knobs, as ``space.knobs`` reads them.
    """

    name: str
    study: str
    sampler: Sampler
    startup_trials: int
    seed: int
    floor: float | None
    budget: Budget
    space: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", self.study):
            raise ValueError(
                f"tuner.study is {self.study!r}: it names a folder, so letters, digits and _ . + -"
            )
        if self.sampler not in SAMPLERS:
            raise ValueError(f"tuner.sampler is {self.sampler!r}: one of {', '.join(SAMPLERS)}")
        if self.startup_trials < 1:
            raise ValueError(f"tuner.startup_trials is {self.startup_trials}: at least 1")
        if self.seed < 0:
            raise ValueError(f"tuner.seed is {self.seed}: at least 0")
        if self.floor is not None and self.floor <= 0:
            raise ValueError(
                f"tuner.floor is {self.floor}: it is a loss, so above 0 (0.05 is five points of an "
                f"accuracy), or null to measure all trials"
            )
        found = self.knobs  # refuses what cannot be drawn from
        if self.sampler == "gp" and any(knob.when for knob in found):
            raise ValueError(
                "tuner.sampler=gp draws the same knobs in every trial, and tuner.space has some "
                "that depend on the technique (when): tuner.sampler=tpe takes them"
            )

    @cached_property
    def knobs(self) -> tuple[Knob, ...]:
        """What is drawn."""
        return knobs(self.space)
