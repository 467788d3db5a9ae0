"""What stands under a table over tasks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.reporting import metered
from bench.reporting import notes as of_rows
from bench.reporting.cells import Note, points, ratio_end
from bench.reporting.judging import contains_one, said
from bench.reporting.measures import MODELLED
from bench.reporting.multitask import Group, Line, Task, parts
from bench.reporting.pairs import differing, flattened, written
from bench.reporting.rows import Row

_MOST = 8
"""Things that a note names one by one."""


def of_group(group: Group, kinds: Sequence[str]) -> tuple[Note, ...]:
    """Return the notes of those kinds; sessions that are invalid always."""
    return tuple(note for kind in (*kinds, "invalid") for note in KINDS[kind](group))


def _reading(group: Group) -> Iterator[Note]:
    yield Note(
        "Scores are task metrics times 100, of a row's own model; in brackets the difference from "
        "its baseline in points. Every technique is compared with the baseline that was trained "
        "and served as it was."
    )


def _means(group: Group) -> Iterator[Note]:
    if not group.common:
        yield Note("No task was measured in all of these rows, so there are no means.", loud=True)
        return
    counted = parts(group.common)
    together = [_headings(part, " and ") for part in counted if len(part) > 1]
    apart = [task for task in group.tasks if task not in group.common and _any(group, task)]
    yield Note(
        f"Means are over {_headings(group.common)}, which all rows have"
        + (f" ({', '.join(together)} as one task)" if together else "")
        + (f", and leave out {_headings(apart)}" if apart else "")
        + ". The mean of scores is over one metric per task, so it is no official score; that of "
        "ratios is geometric, and its 95 % interval holds the errors of these tasks, each counted "
        "once: it speaks of no others. Intervals are not widened for the number of rows."
    )
    yield from metered.not_averaged([row for task in group.common for row in _of_task(group, task)])


def _any(group: Group, task: Task) -> bool:
    return any(task.task in line.scores for line in group.lines)


def _per_sample(group: Group) -> Iterator[Note]:
    yield Note(
        "Joules and seconds per sample are geometric means over the same tasks, of a technique's "
        "own sessions and of a baseline's in all of its pairs. Sessions did not take turns: what "
        "lies close together here is told apart by ratios only."
    )


def _quality(group: Group) -> Iterator[Note]:
    margins: dict[float, list[str]] = defaultdict(list)
    for task in group.tasks:
        for row in _of_task(group, task):
            if task.heading not in margins[row.quality.margin]:
                margins[row.quality.margin].append(task.heading)
    each = "; ".join(f"{points(-m)} pp on {', '.join(margins[m])}" for m in sorted(margins))
    yield Note(
        "Quality is non-inferior if on every task of the row the lower end of the difference's "
        f"95 % interval lies above a margin fixed beforehand ({each})."
    )


def _of_task(group: Group, task: Task) -> list[Row]:
    return [r for line in group.lines if line.is_compared for r in line.rows.get(task.task, ())]


def _recipes(group: Group) -> Iterator[Note]:
    """Yield how recipes and techniques differ from task to task, which a row hides."""
    told: dict[str, list[str]] = defaultdict(list)
    for line in group.lines:
        if line.is_compared:
            for name in ("recipe_json", "technique_json"):
                for text in _by_task(line, group.tasks, name):
                    who = line.subject.model if name == "recipe_json" else line.label
                    if who not in told[text]:
                        told[text].append(who)
    for text, whose in sorted(told.items()):
        yield Note(f"Not alike on all tasks, for {_some(whose)}: {text}.")


def _by_task(line: Line, tasks: Sequence[Task], name: str) -> Iterator[str]:
    settings = {
        task.heading: flattened(_settings(line.rows[task.task][0], name))
        for task in tasks
        if task.task in line.rows
    }
    for key in differing(settings.values()):
        if key in ("workload.name", "workload.task", "workload.margin"):
            continue
        values: dict[str, list[str]] = defaultdict(list)
        for heading, setting in settings.items():
            values[written(setting.get(key))].append(heading)
        each = "; ".join(f"{value} on {', '.join(found)}" for value, found in values.items())
        yield f"{key} is {each}"


def _settings(row: Row, name: str) -> Any:
    (text, *_) = row.source.distinct(name, row.positions)
    return json.loads(text)


def _noise_floor(group: Group) -> Iterator[Note]:
    """Yield whether every baseline has an A/A pair on every task, and what these contain."""
    floors = {
        (line.subject, task): rows[0]
        for line in group.lines
        if line.kind == "A/A"
        for task, rows in line.rows.items()
        if rows[0].valid.size
    }
    wanted = [
        (line.subject, task)
        for line in group.lines
        if line.kind == "technique"
        for task in line.rows
    ]
    lacking = [f"{s.model}_{task} ({s.runtime})" for s, task in wanted if (s, task) not in floors]
    if lacking:
        yield Note(
            f"No valid A/A pair (technique=none) of {_some(lacking)}: the noise floor there is not "
            "known, and no difference is shown to lie above it.",
            loud=True,
        )
    off = [
        f"{s.model}_{task} ({s.runtime}) {said(m)} {ratio_end(found.low)} to "
        f"{ratio_end(found.high)}"
        for (s, task), row in floors.items()
        for m, found in row.ratios.items()
        if m != MODELLED and not contains_one(found)
    ]
    if off:
        yield Note(
            f"A/A interval does NOT contain 1: {_some(off)}. Differences of this size come from "
            "the harness or the host, not from a technique.",
            loud=True,
        )
    elif floors:
        yield Note(f"A/A intervals contain 1 on every task ({len(floors)} of {len(floors)}).")


def _invalid(group: Group) -> Iterator[Note]:
    for row in group.rows:
        for position in row.invalid:
            reason = row.source.column("session_reason")[position] or "no reason given"
            yield Note(
                f"Session of {row.key['label']} on {row.key['workload']}, seed "
                f"{row.source.column('seed')[position]}, is invalid: {reason}.",
                loud=True,
            )


def _rows(kind: Callable[[Sequence[Row]], Iterator[Note]]) -> Callable[[Group], Iterator[Note]]:
    return lambda group: kind(group.rows)


KINDS: Mapping[str, Callable[[Group], Iterator[Note]]] = {
    "reading": _reading,
    "means": _means,
    "per_sample": _per_sample,
    "quality": _quality,
    "recipes": _recipes,
    "joules": _rows(metered.joules),
    "modelled": _rows(metered.modelled),
    "discards": _rows(of_rows.KINDS["discards"]),
    "noise_floor": _noise_floor,
    "invalid": _invalid,
}
"""By the name that a table's YAML gives them."""


def _headings(tasks: Iterable[Task], between: str = ", ") -> str:
    return between.join(task.heading for task in tasks)


def _some(texts: Sequence[str]) -> str:
    each = list(dict.fromkeys(texts))
    more = len(each) - _MOST
    return ", ".join(each[:_MOST]) + (f" and {more} more" if more > 0 else "")
