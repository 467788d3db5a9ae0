"""Pooled rows of many workloads as rows over tasks, grouped by the conditions that they share."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from bench.flat import MEASURES
from bench.reporting.multitask import (
    KINDS,
    SECTION,
    Group,
    Line,
    Score,
    Subject,
    Task,
    parts,
    published,
)
from bench.reporting.multitask.published import Published
from bench.reporting.multitask.subjects import Measured, measured, subjects
from bench.reporting.pooled import pooled
from bench.reporting.rows import Row, scopes_apart
from bench.reporting.titles import titles
from bench.statistics.pooling import geometric_mean

T = TypeVar("T")

_FRESH = (
    "fresh weights: joules and seconds are those of the architecture, quality is not comparable "
    "with that of a pretrained model"
)

ByTask = Mapping[str, Sequence[Row]]


def groups(
    found: Sequence[Row], tasks: Sequence[Task], known: Sequence[Published] = ()
) -> list[Group]:
    """Return rows over tasks, those measured under other conditions in a group of their own.

    Args:
        found: Rows pooled by ``BY``; those of other workloads are passed over.
        tasks: The columns.
        known: Published scores, to show beside those of the same pretrained models.
    """
    sections: dict[tuple[Any, ...], list[Measured]] = defaultdict(list)
    for row in found:
        if one := measured(row, tasks):
            sections[tuple(row.key[name] for name in SECTION)].append(one)
    titled = titles(sections, SECTION)
    order = sorted(sections, key=lambda key: [(value is not None, value) for value in key])
    return [_group(titled[key], key, sections[key], tuple(tasks), known) for key in order]


def _group(
    title: str,
    key: tuple[Any, ...],
    found: Sequence[Measured],
    tasks: tuple[Task, ...],
    known: Sequence[Published],
) -> Group:
    baselines: dict[Subject, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    compared: dict[tuple[Subject, str, str], dict[str, list[Row]]] = defaultdict(dict)
    for subject, one in zip(subjects(found), found, strict=True):
        baselines[subject][one.task].append(one.row)
        technique, label = one.row.key["technique"], one.row.key["label"]
        compared[subject, technique, label][one.task] = [one.row]
    common = tuple(task for task in tasks if all(task.task in rows for rows in compared.values()))
    lines = [
        *(_baseline(subject, rows, common) for subject, rows in baselines.items()),
        *published.lines(baselines.items(), known, common),
        *(_compared(subject, rows, common) for (subject, _, _), rows in compared.items()),
    ]
    return Group(
        title=f"On {title}",
        key={name: value for name, value in zip(SECTION, key, strict=True) if "_json" not in name},
        tasks=tasks,
        common=common,
        lines=tuple(sorted(lines, key=_order)),
        rows=tuple(one.row for one in found),
    )


def _order(line: Line) -> tuple[Any, ...]:
    """Return the place of a row: what a model started from first, then its techniques by label."""
    subject, place = line.subject, KINDS.index(line.kind)
    served = subject.pretrained is False, subject.told, subject.runtime or ""
    return subject.model, place, line.label, line.technique or "", *served


def _baseline(subject: Subject, found: ByTask, common: tuple[Task, ...]) -> Line:
    """Return the row of what techniques were compared with, from all of their pairs."""
    arms = {task: _baseline_per_item(rows) for task, rows in found.items()}
    return Line(
        kind="baseline",
        subject=subject,
        technique=None,
        label="baseline",
        common=common,
        scores={t: Score(_quality(rows), rows[0].quality.metric) for t, rows in found.items()},
        rows=found,
        per_item=_over_tasks(arms, found, common, _mean),
        note=_note(subject),
    )


def _compared(subject: Subject, found: ByTask, common: tuple[Task, ...]) -> Line:
    """Return the row of a technique, or of the A/A pair."""
    each = {task: row for task, (row,) in found.items()}
    first = next(iter(each.values()))
    arms = {t: {m: variant for m, (_, variant) in r.per_item.items()} for t, r in each.items()}
    ratios = {task: row.ratios for task, row in each.items()}
    return Line(
        kind="A/A" if first.is_noise_floor else "technique",
        subject=subject,
        technique=first.key["technique"],
        label=first.key["label"],
        common=common,
        scores={t: Score(r.quality.variant, r.quality.metric, r.quality) for t, r in each.items()},
        rows=found,
        ratios=_over_tasks(ratios, found, common, geometric_mean),
        per_item=_over_tasks(arms, found, common, _mean),
        note=_note(subject),
    )


def _note(subject: Subject) -> str | None:
    return _FRESH if subject.pretrained is False else None


def _quality(rows: Sequence[Row]) -> float:
    """Return the baseline's metric, the mean over its trainings, each counted once."""
    source = rows[0].source
    positions = np.concatenate([row.positions for row in rows])
    _, firsts = np.unique(source.codes("baseline_digest")[0][positions], return_index=True)
    return float(source.column("quality_baseline")[positions[firsts]].astype(float).mean())


def _baseline_per_item(rows: Sequence[Row]) -> dict[str, float]:
    """Return the baseline's joules or seconds per sample, of all sessions that it took part in."""
    _, per_item = pooled(rows[0].source, np.concatenate([row.valid for row in rows]))
    return {measure: baseline for measure, (baseline, _) in per_item.items()}


def _over_tasks(
    found: Mapping[str, Mapping[str, T]],
    rows: ByTask,
    common: Sequence[Task],
    mean: Callable[[Sequence[T]], T],
) -> dict[str, T]:
    """Return means of the measures that all common tasks have, each task counted once.

    Args:
        found: By task what it has, by measure.
        rows: By task what that was taken from; joules that cover different parts have no mean.
        common: The tasks; there may be none, and then there is no mean.
        mean: Of one or more.
    """
    by_part = [[found[task.task] for task in part] for part in parts(common)]
    if not by_part:
        return {}
    members = [row for task in common for row in rows[task.task]]
    shared = [m for m in MEASURES if all(m in has for part in by_part for has in part)]
    shared = [m for m in shared if not scopes_apart(members, m)]
    return {m: mean([mean([has[m] for has in part]) for part in by_part]) for m in shared}


def _mean(found: Sequence[float]) -> float:
    return math.exp(float(np.mean(np.log(found))))
