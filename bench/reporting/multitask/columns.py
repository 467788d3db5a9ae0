"""Columns of a table over tasks."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from bench.reporting.cells import Cell, amount, listed, missing, percent, points
from bench.reporting.columns import Column, Value
from bench.reporting.judging import MEASURED
from bench.reporting.measures import (
    CPU_SECONDS,
    ENERGY,
    MODELLED_ENERGY,
    SECONDS,
    Compared,
    grade_of,
)
from bench.reporting.multitask import (
    NO_PAIR,
    NONE_IN_COMMON,
    Group,
    Line,
    Task,
    average,
    parts,
)

NOT_MEASURED = "not measured on this task"
UNPUBLISHED = "no published score for each of the tasks that the mean is over"

_SHORT = {
    "accuracy": "accuracy",
    "matthews_correlation": "Matthews",
    "pearson": "Pearson",
    "spearmanr": "Spearman",
    "f1": "F1",
}
"""How narrow headings call metrics."""

_FIRST_TO_GO = 20
"""Above the rank of any task: figures beside them give way before the tasks do."""

Columns = tuple[Column[Any], ...]


def technique(_: Group) -> Columns:
    """Return the column that says whose row it is."""

    def cell(line: Line) -> Cell:
        subject = line.subject
        fresh = "fresh weights" if subject.pretrained is False else None
        brackets = ", ".join(filter(None, (subject.runtime, fresh, subject.told)))
        again = line.kind == "A/A" and "A/A" not in line.label
        label = f"{line.label} (A/A)" if again else line.label
        return Cell(f"{subject.model}: {label}", f"({brackets})" if brackets else "", line.note)

    def values(line: Line) -> tuple[Value, ...]:
        subject = line.subject
        return (
            *(subject.model, subject.told or "alone", line.kind, line.technique, line.label),
            *(subject.runtime, subject.pretrained),
        )

    def why(line: Line) -> str:
        reasons = {
            "no technique was applied": line.technique is None,
            "published, not served here": line.subject.runtime is None,
            "the recipe does not say whether weights are pretrained": line.subject.pretrained
            is None,
        }
        return "; ".join(reason for reason, holds in reasons.items() if holds)

    return (
        Column(
            name="technique",
            heading="model: technique",
            unit="(runtime)",
            cell=cell,
            figures=(
                *("model", "model_variant", "row", "technique", "label"),
                *("runtime", "pretrained"),
            ),
            values=values,
            words=True,
            why=why,
        ),
    )


def tasks(group: Group) -> Columns:
    """Return a column per task, with the task metric and its difference from the baseline."""
    every = enumerate(group.tasks, 1)
    return tuple(_task(task, rank, metrics_of(group, task)) for rank, task in every)


def _unsaid(line: Line) -> str:
    """Return why a row that has a score lacks other figures of it."""
    return "published: no more than the score" if line.kind == "published" else NO_PAIR


def metrics_of(group: Group, task: Task) -> str:
    """Return the metrics that the rows give of a task; empty if none was measured on it."""
    found = (line.scores.get(task.task) for line in group.lines)
    return listed(_SHORT.get(s.metric, s.metric) for s in found if s is not None and s.metric)


def _task(task: Task, rank: int, metrics: str) -> Column[Line]:
    def cell(line: Line) -> Cell:
        score = line.scores.get(task.task)
        if score is None:
            return missing(line.absent.get(task.task, NOT_MEASURED))
        below = f"({points(score.judged.difference)})" if score.judged else ""
        return Cell(percent(score.value, score.digits), below, score.note)

    def values(line: Line) -> tuple[Value, ...]:
        score = line.scores.get(task.task)
        if score is None:
            return (None,) * 6
        judged = score.judged
        compared = (
            (judged.difference, judged.low, judged.high, judged.verdict) if judged else (None,) * 4
        )
        return score.metric, score.value, *compared

    return Column(
        name=task.task,
        heading=task.heading,
        unit=metrics,
        cell=cell,
        figures=(
            *(f"{task.task}_metric", f"{task.task}_quality_fraction"),
            *(f"{task.task}_difference{end}_fraction" for end in ("", "_low", "_high")),
            f"{task.task}_quality_verdict",
        ),
        values=values,
        rank=rank,
        why=lambda line: _unsaid(line) if task.task in line.scores else "",
    )


def mean(group: Group) -> Columns:
    """Return the column of the mean over the tasks that all rows have."""
    counted = len(parts(group.common))

    def having(line: Line) -> list[Task]:
        """Return the tasks to take: of one in parts, sources may publish a part."""
        has = [task for task in group.common if task.task in line.scores]
        return has if len(parts(has)) == counted else []

    def figures(line: Line) -> tuple[float | None, float | None]:
        has = having(line)
        if not has:
            return None, None
        scores = {task.task: line.scores[task.task] for task in has}
        gained = {name: s.judged.difference for name, s in scores.items() if s.judged}
        return (
            average({name: score.value for name, score in scores.items()}, has),
            average(gained, has) if len(gained) == len(scores) else None,
        )

    def cell(line: Line) -> Cell:
        value, gained = figures(line)
        if value is None:
            return missing(UNPUBLISHED if group.common else NONE_IN_COMMON)
        scores = [line.scores[task.task] for task in having(line)]
        note = next((score.note for score in scores if score.note), None)
        text = percent(value, min(score.digits for score in scores))
        return Cell(text, "" if gained is None else f"({points(gained)})", note)

    return (
        Column(
            name="average",
            heading="mean",
            unit=f"of {counted} task{'s' if counted != 1 else ''}",
            cell=cell,
            figures=("average_quality_fraction", "average_difference_fraction", "average_tasks"),
            values=lambda line: (*figures(line), counted),
            why=lambda line: "" if figures(line)[0] is None else _unsaid(line),
        ),
    )


def quality_verdict(_: Group) -> Columns:
    """Return the column that says what is shown of quality on all tasks of a row together.

    Non-inferior on each, which needs no correction for their number: an intersection-union test
    (Berger (1982) Technometrics 24:295-300).
    """

    def verdicts(line: Line) -> Counter[str]:
        return Counter(score.judged.verdict for score in line.scores.values() if score.judged)

    def verdict(found: Counter[str]) -> str:
        if found["inferior"]:
            return "inferior"
        return "inconclusive" if found["inconclusive"] else "non-inferior"

    def cell(line: Line) -> Cell:
        found = verdicts(line)
        if not found:
            return missing(NO_PAIR)
        return Cell(verdict(found), f"on {found[verdict(found)]} of {found.total()}")

    def values(line: Line) -> tuple[Value, ...]:
        found = verdicts(line)
        if not found:
            return (None,) * 3
        return verdict(found), found["non-inferior"], found.total()

    return (
        Column(
            name="quality_verdict",
            heading="quality is",
            unit="",
            cell=cell,
            figures=("quality_verdict", "non_inferior_tasks", "compared_tasks"),
            values=values,
            words=True,
            rank=_FIRST_TO_GO,
        ),
    )


def pairs(_: Group) -> Columns:
    """Return the column of how many pairs and tasks a row is made of."""

    def cell(line: Line) -> Cell:
        if not line.is_compared:
            return missing(NO_PAIR)
        found, invalid, measured = values(line)
        return Cell(f"{found}" + (f" + {invalid} invalid" if invalid else ""), f"on {measured}")

    def values(line: Line) -> tuple[Value, ...]:
        if not line.is_compared:
            return (None,) * 3
        rows = [row for members in line.rows.values() for row in members]
        return sum(len(r.valid) for r in rows), sum(len(r.invalid) for r in rows), len(line.rows)

    return (
        Column(
            name="pairs",
            heading="pairs",
            unit="on tasks",
            cell=cell,
            figures=("pairs", "invalid_pairs", "tasks"),
            values=values,
            rank=_FIRST_TO_GO + 2,
        ),
    )


def _ratio(column: Column[Compared]) -> Column[Any]:
    return dataclasses.replace(column, unit="geo. mean [95 %]")


def _per_item(measure: str) -> Column[Line]:
    """Return the column of joules or seconds per sample: of the variant, or of the baseline."""
    grade = grade_of(measure)
    unit = "s" if grade is None else "J"

    def cell(line: Line) -> Cell:
        found = line.per_item.get(measure)
        if found is None:
            return missing(line.why_unknown(measure))
        return Cell(amount(found, unit), grade=grade, source=line.origin_of(measure))

    return Column(
        name=f"{measure}_per_item",
        heading=f"{unit} per {{one}}",
        unit=f"geo. mean, {grade}" if grade else "geo. mean",
        cell=cell,
        figures=(f"{measure}_{unit.lower()}_per_item",),
        values=lambda line: (line.per_item.get(measure),),
        rank=_FIRST_TO_GO + 1,
        measure=measure if grade else None,
    )


COLUMNS: Mapping[str, Callable[[Group], Columns]] = {
    "technique": technique,
    "tasks": tasks,
    "average": mean,
    "quality_verdict": quality_verdict,
    "energy": lambda _: tuple(map(_ratio, ENERGY)),
    "energy_per_item": lambda _: tuple(map(_per_item, MEASURED)),
    "seconds": lambda _: (_ratio(SECONDS),),
    "seconds_per_item": lambda _: (_per_item("wall"),),
    "cpu_seconds": lambda _: (_ratio(CPU_SECONDS),),
    "modelled_energy": lambda _: (_ratio(MODELLED_ENERGY),),
    "pairs": pairs,
}
"""By the name that a table's YAML gives them; joules have a column per grade."""
