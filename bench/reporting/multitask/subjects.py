"""Whose rows they are: the model behind a workload of one task, as it was trained and served."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.reporting.multitask import Subject, Task
from bench.reporting.pairs import differing, flattened, told_apart, written
from bench.reporting.rows import Row

_NAMING = ("workload.name", "workload.task")
"""What every task has another value of."""

_PRETRAINED = "workload.pretrained"


@dataclass(frozen=True, slots=True)
class Measured:
    """A row whose workload is one of a family.

    Attributes:
        row: One technique on one task.
        task: The task.
        model: Name of the workload without it.
        recipe: Of workload and training, dotted keys, without what names the workload.
    """

    row: Row
    task: str
    model: str
    recipe: Mapping[str, Any]


def where(tasks: Iterable[Task]) -> dict[str, list[str]]:
    """Return what chooses pairs that may be of these tasks, as a table's ``where:`` would."""
    return {"recipe_json": [f'*"task": {json.dumps(task.task)}*' for task in tasks]}


def measured(row: Row, tasks: Sequence[Task]) -> Measured | None:
    """Return a row with its task and model; ``None`` if it is of no such task."""
    recipe = flattened(json.loads(row.key["recipe_json"]))
    task, name = recipe.get("workload.task"), str(row.key["workload"])
    if task not in {known.task for known in tasks} or not name.endswith(f"_{task}"):
        return None
    kept = {key: value for key, value in recipe.items() if key not in _NAMING}
    return Measured(row, task, name.removesuffix(f"_{task}"), kept)


def subjects(found: Sequence[Measured]) -> list[Subject]:
    """Return whose row each is.

    A recipe may differ from task to task. Where one task has several, the keys in which these
    differ tell subjects apart, so that of one task a subject has a single recipe.
    """
    recipes: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for one in found:
        recipes[one.model][one.task].append(one.recipe)
    telling = {
        model: sorted({key for alike in of.values() for key in differing(alike)} - {_PRETRAINED})
        for model, of in recipes.items()
    }
    runtimes = _runtimes({(o.row.key["runtime"], o.row.key["runtime_json"]) for o in found})
    return [
        Subject(
            model=one.model,
            told=", ".join(f"{key} {written(one.recipe.get(key))}" for key in telling[one.model]),
            runtime=runtimes[one.row.key["runtime_json"]],
            pretrained=one.recipe.get(_PRETRAINED),
            origin=one.recipe.get("workload.model"),
        )
        for one in found
    ]


def _runtimes(found: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return how runtimes are called, by their values: two of one name by what differs as well."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name, values in sorted(found):
        alike[name].append(values)
    called: dict[str, str] = {}
    for name, several in alike.items():
        apart = told_apart(several) if len(several) > 1 else {}
        called |= {one: ", ".join(filter(None, (name, apart.get(one)))) for one in several}
    return called
