"""Trials made up for tests. No figure in here was ever measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from factories import comparison, phase, quality

from bench.findings import MeasureName
from bench.readings import Grade, Phase
from bench.search import Search, Spent, State, Tried
from bench.tune.settings import Budget, Tuner

NOTHING = Phase(0.0, 0.0)
RATIO = {"technique": {"ratio": {"low": 0.1, "high": 0.9}}}
BASELINE = 0.932


def tried(
    number: int,
    ratio: float = 0.5,
    accuracy: float = 0.93,
    *,
    state: State = "complete",
    grade: Grade = "none",
    half_width: float = 0.012,
    knobs: dict[str, Any] | None = None,
    made: dict[str, Phase] | None = None,
    wall_s: float = 20.0,
    reason: str | None = None,
    hosts: tuple[str, ...] = ("testhost",),
) -> Tried:
    """A trial that took 3 s to make, 1 s to evaluate and 10 s to measure, at 80 W if any."""
    measure: MeasureName = "wall_s" if grade == "none" else "energy_j"
    grades: tuple[Grade, ...] = () if grade == "none" else (grade,)
    measured = state == "complete"
    drawn = {"technique.ratio": round(1 - ratio, 3)} if knobs is None else knobs
    return Tried(
        number=number,
        state=state,
        technique="prune",
        label=f"prune {number}",
        knobs=drawn,
        quality=None if state == "failed" else quality(BASELINE, accuracy),
        comparison=comparison(measure, ratio, grade, half_width) if measured else None,
        spent=Spent(
            made={f"artefact {number}": phase(3.0, grades)} if made is None else made,
            evaluated=phase(1.0, grades),
            measured=phase(10.0, grades) if measured else NOTHING,
            wall_s=wall_s,
        ),
        record=f"made_up/prune/0-{number}" if measured else None,
        reason=None if measured else reason or f"made-up reason {number}",
        command=f"python -m bench technique=prune technique.ratio={1 - ratio:g} search=made-up",
        hosts=hosts,
    )


def tuner(**changes: Any) -> Tuner:
    """A search of three random draws of one knob."""
    values: dict[str, Any] = {
        **{"name": "test", "study": "test", "sampler": "random", "startup_trials": 2, "seed": 0},
        **{"floor": 0.05, "budget": Budget(3, None, None), "space": RATIO},
    }
    return Tuner(**{**values, **changes})


def search(trials: Sequence[Tried], grade: Grade = "none", **changes: Any) -> Search:
    """A search of made-up trials that went by seconds, or by joules of one grade."""
    joules = grade != "none"
    values: dict[str, Any] = {
        "name": "made-up-search",
        "workload": "resnet50_cifar10",
        "protocol": "search",
        "sampler": "tpe",
        "floor": 0.05,
        "measure": "energy_j" if joules else "wall_s",
        "scope": "cpu+dram" if joules else "clock",
        "source": {"A": "wall", "B": "counters", "S": "synthetic"}[grade] if joules else "clock",
        "grade": grade,
        "tried": tuple(trials),
    }
    return Search(**{**values, **changes})
