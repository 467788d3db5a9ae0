"""What a training went through: losses, rate and pace along its steps, joules and watts in time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from bench.dashboard.data.folder import (
    POINTS_BYTES,
    BrokenError,
    Folder,
    columns,
    number,
    words,
)
from bench.dashboard.data.sheets import Column, Sheet
from bench.records import Arm, Record
from bench.reporting.cells import amount

TRAINING = "training.parquet"
MOST_POINTS = 5_000
_FIGURES = ("loss", "validation_loss", "learning_rate", "metric")
_LIKELIHOOD = "log_likelihood"
"""The metric of language models: mean log-likelihood of a token, in nats."""

_HIGHEST = 700.0  # exponent of what a float holds
_NEEDED = ("arm", "stage", "step", "wall_s")
_RANK = {"A": 0, "B": 1, "S": 2, "C": 3}

Line = list[tuple[float, float]]
"""Points of one line: optimiser steps, or seconds since the stage began, and a figure."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One training.

    Attributes:
        arm: ``baseline`` or ``variant``.
        name: ``train``, or the label of the technique's stage.
        lines: Figures of the training along its steps, by name; ``wall_s`` since it began.
        energy_j: Joules in time since the stage began, by meter and grade such as
            ``counters (B)``.
        rows: One per logged point, for files.
        examples: Seen per optimiser step; ``None`` where that is not known.
    """

    arm: str
    name: str
    lines: Mapping[str, Line]
    energy_j: Mapping[str, Line]
    rows: Sequence[Mapping[str, Any]]
    examples: float | None = None

    @property
    def pace(self) -> Line:
        """Optimiser steps per second, between two logged points."""
        clock = self.lines["wall_s"]
        return _rates([(step, step) for step, _ in clock], [since_s for _, since_s in clock])

    @property
    def throughput(self) -> Line:
        """Examples per second, between two logged points; none where that is not known."""
        return [(step, self.examples * each) for step, each in self.pace] if self.examples else []

    @property
    def perplexity(self) -> Line:
        """Of a language model, on the validation part: of the mean log-likelihood of a token."""
        return [(step, math.exp(-x)) for step, x in self.lines["metric"] if -x < _HIGHEST]

    @property
    def power_w(self) -> dict[str, Line]:
        """Mean watts in time, each since the point before, by meter and grade; gross."""
        return {name: _rates(line, [s for s, _ in line]) for name, line in self.energy_j.items()}


@dataclass(frozen=True, slots=True)
class Training:
    """All trainings of a pair.

    Attributes:
        stages: In their order.
        metric: What the trainings looked at; empty where that is not known.
        problem: Why there is nothing to show, if so.
    """

    stages: tuple[Stage, ...] = ()
    metric: str = ""
    problem: str = ""

    @property
    def of_language(self) -> bool:
        """Whether perplexity means anything."""
        return self.metric == _LIKELIHOOD

    @property
    def uncounted(self) -> Training:
        """The stages of which nobody knows how many examples a step takes."""
        return replace(self, stages=tuple(s for s in self.stages if not s.examples))

    @property
    def watts(self) -> tuple[float, str] | None:
        """The latest power of the best grade there is, and which; ``None`` without joules."""
        for stage in reversed(self.stages):
            found = {name: line[-1][1] for name, line in stage.power_w.items() if line}
            if found:
                best = min(found, key=lambda name: _RANK.get(name[-2:-1], len(_RANK)))
                return found[best], best
        return None

    @property
    def sheet(self) -> Sheet:
        """All logged points as a table."""
        rows = [row for stage in self.stages for row in stage.rows]
        meters = dict.fromkeys(name for row in rows for name in row if name.endswith(" j"))
        joules = (
            Column(name, "joules", _joules, literal=name.removesuffix(" j") + ", J")
            for name in meters
        )
        return Sheet("training", (*COLUMNS, *joules), rows)


@dataclass
class _Reader:
    """Gathers points of one stage, each point once per step.

    Each process that goes on with a training counts its seconds and joules from 0: they are put
    behind those of the last point before. What was spent between that point and a kill is not here.
    """

    arm: str
    name: str
    lines: dict[str, Line] = field(default_factory=lambda: {n: [] for n in (*_FIGURES, "wall_s")})
    energy_j: dict[str, Line] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    seen: Line = field(default_factory=list)
    _last_s: float = -math.inf
    _before_s: float = 0.0
    _before_j: dict[str, float] = field(default_factory=dict)

    def add(self, point: Mapping[Any, Any], energies: Mapping[str, float | None]) -> None:
        step, wall_s = number(point.get("step")), number(point.get("wall_s"))
        if step is None or wall_s is None:
            return
        for name in _FIGURES:
            if (value := number(point.get(name))) is not None:
                self.lines[name].append((step, value))
        if (items := number(point.get("items"))) is not None:
            self.seen.append((step, items))
        if not self.lines["wall_s"] or self.lines["wall_s"][-1][0] != step:
            if wall_s <= self._last_s:  # another process has gone on
                self._before_s += self._last_s
                self._before_j = {name: line[-1][1] for name, line in self.energy_j.items()}
            self._last_s = wall_s
            since_s = self._before_s + wall_s
            self.lines["wall_s"].append((step, since_s))
            for name, energy_j in energies.items():
                if energy_j is not None:
                    spent_j = self._before_j.get(name, 0.0) + energy_j
                    self.energy_j.setdefault(name, []).append((since_s, spent_j))
        figures = {name: number(point.get(name)) for name in (*_FIGURES, "wall_s")}
        spent = {f"{name} j": energy_j for name, energy_j in energies.items()}
        self.rows.append({"arm": self.arm, "stage": self.name, "step": step, **figures, **spent})

    def stage(self, examples: float | None) -> Stage:
        rows = tuple(self.rows)
        each = examples or self._examples()
        return Stage(self.arm, self.name, self.lines, self.energy_j, rows, each)

    def _examples(self) -> float | None:
        """Return examples per step; a training that went on counts both since then."""
        if len(self.seen) < 2:
            return None
        (step, items), (last_step, last_items) = self.seen[0], self.seen[-1]
        rise = last_items - items
        return rise / (last_step - step) if last_step > step and rise > 0 else None


def finished(folder: Folder, place: str, record: Record) -> Training:
    """Return the trainings of a pair from the table beside its record.

    Args:
        folder: The results.
        place: Folder of the record, below the results.
        record: What is in it: which meter reads with which grade, and how many examples were seen.
    """
    relative, meters = f"{place}/{TRAINING}", record.session.meters
    try:
        frame = columns(folder.table(relative), _NEEDED, relative).head(MOST_POINTS)
    except BrokenError as err:
        return Training(problem=str(err))
    grades = _grades(meters)
    names = (str(name) for name in frame.columns)
    joules = {name: grades.get(name, "?") for name in names if name.endswith("_j")}
    points = []
    for row in frame.to_dict("records"):
        energies: dict[str, float | None] = {}
        for name, grade in joules.items():
            _add(energies, f"{name.partition('/')[0]} ({grade})", number(row[name]))
        points.append((row, energies))
    items = {"baseline": _items(record.baseline, "train"), "variant": _items(record.variant)}
    return _training(points, record.quality.metric, items)


def under_way(folder: Folder, told: str, metric: str) -> Training:
    """Return what has come in so far of the trainings of a pair that runs, or has failed.

    Args:
        folder: The results.
        told: File of its points, below them.
        metric: What the trainings look at, if known.
    """
    try:
        lines = folder.lines(told, POINTS_BYTES)
    except BrokenError as err:
        return Training(problem=str(err))
    points = []
    for line in lines:
        if "loss" not in line:
            continue
        energies: dict[str, float | None] = {}
        readings = line.get("readings")
        for reading in readings if isinstance(readings, list) else ():
            if isinstance(reading, dict):
                name = f"{words(reading.get('meter'))} ({words(reading.get('grade'))})"
                _add(energies, name, number(reading.get("energy_j")))
        arm = "variant" if line.get("act") == "variant" else "baseline"
        points.append(({**line, "arm": arm}, energies))
    return _training(points, metric, {})


def _training(
    points: Iterable[tuple[Mapping[Any, Any], Mapping[str, float | None]]],
    metric: str,
    items: Mapping[str, float],
) -> Training:
    found: dict[tuple[str, str], _Reader] = {}
    for point, energies in points:
        arm = "variant" if point.get("arm") == "variant" else "baseline"
        name = words(point.get("stage"), 60)
        found.setdefault((arm, name), _Reader(arm, name)).add(point, energies)
    stages = []
    for (arm, _), reader in found.items():
        alone = sum(other == arm for other, _ in found) == 1  # else whose examples these are?
        steps = reader.rows[-1]["step"] if reader.rows else 0
        seen = items.get(arm, 0) if alone else 0
        stages.append(reader.stage(seen / steps if seen and steps > 0 else None))
    return Training(tuple(stages), metric)


def _items(arm: Arm, phase: str = "optimise") -> float:
    """Return how many examples the training of an arm saw."""
    return arm.phases[phase].items if phase in arm.phases else 0.0


def _add(energies: dict[str, float | None], name: str, energy_j: float | None) -> None:
    """Add joules of components of one meter and grade; one that is missing leaves no sum."""
    before = energies.get(name, 0.0)
    energies[name] = None if energy_j is None or before is None else before + energy_j


def _grades(meters: Mapping[str, Any]) -> dict[str, str]:
    """Return the grade of each column of joules."""
    found = {}
    for meter, channels in meters.items():
        for channel in channels if isinstance(channels, list) else ():
            if isinstance(channel, dict):
                found[f"{meter}/{channel.get('component')}_j"] = words(channel.get("grade"))
    return found


def _rates(line: Line, seconds: Sequence[float]) -> Line:
    """Return the rise per second between points, at the later one."""
    both = list(zip(line, seconds, strict=True))
    return [
        (now[0], (now[1] - before[1]) / (now_s - before_s))
        for (before, before_s), (now, now_s) in pairwise(both)
        if now_s > before_s and now[1] >= before[1]
    ]


def _joules(value: float) -> str:
    return amount(value, "J")


COLUMNS = (
    Column("arm", "arm", words=True, said=True),
    Column("stage", "stage", words=True),
    Column("step", "step", lambda value: f"{value:,.0f}"),
    Column("loss", "loss", lambda value: f"{value:.4f}"),
    Column("validation_loss", "validation_loss", lambda value: f"{value:.4f}"),
    Column("metric", "metric", lambda value: f"{value:.4f}"),
    Column("learning_rate", "learning_rate", lambda value: f"{value:.3g}"),
    Column("wall_s", "seconds", lambda value: f"{value:,.1f}"),
)
