"""What others published of models that are measured here; ``published.yaml`` holds it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from bench import codec
from bench.reporting.multitask import Line, Score, Subject, Task

_UNNAMED = "the source does not say which of the task's metrics this is"
_NO_SCORE = "the source has no score for it"


@dataclass(frozen=True, slots=True)
class Published:
    """The scores of one model from one source.

    Attributes:
        models: Hub ids of the pretrained model that was fine-tuned.
        scored_on: Which examples, in few words.
        source: Where they stand, and what must be known to compare with them.
        percent: By task, as printed there.
        metric_unnamed: Tasks with several metrics of which the source does not say which it gives.
    """

    models: tuple[str, ...]
    scored_on: str
    source: str
    percent: dict[str, float]
    metric_unnamed: tuple[str, ...] = ()


def names() -> tuple[str, ...]:
    """Return the benchmarks that figures are known of."""
    return tuple(sorted(_document()))


def read(name: str) -> tuple[Published, ...]:
    """Return what was published on one benchmark, in the order of the file."""
    entries = _document()[name]
    return tuple(
        codec.decode(Published, entry, f"published.yaml: {name}[{place}]")
        for place, entry in enumerate(entries)
    )


def lines(
    measured: Iterable[tuple[Subject, Iterable[str]]],
    published: Sequence[Published],
    common: tuple[Task, ...],
) -> list[Line]:
    """Return rows of published scores, of the tasks that the same model was measured on.

    Weights that were not pretrained were not published either, whatever the model's name.

    Args:
        measured: Models and their tasks.
        published: What is known.
        common: The tasks that means are over.
    """
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    for subject, tasks in measured:
        for place, entry in enumerate(published):
            if subject.pretrained and subject.origin in entry.models:
                found[subject.model, place] |= set(tasks)
    return [
        _line(model, published[place], tasks, common) for (model, place), tasks in found.items()
    ]


def _line(model: str, entry: Published, tasks: set[str], common: tuple[Task, ...]) -> Line:
    scores = {
        task: Score(
            value / 100, None, digits=1, note=_UNNAMED if task in entry.metric_unnamed else None
        )
        for task, value in entry.percent.items()
        if task in tasks
    }
    return Line(
        kind="published",
        subject=Subject(model, entry.scored_on, None, True, entry.models[0]),
        technique=None,
        label="published",
        common=common,
        scores=scores,
        note=entry.source,
        absent=dict.fromkeys(tasks - scores.keys(), _NO_SCORE),
    )


@cache
def _document() -> dict[str, list[dict[str, Any]]]:
    text = files("bench.reporting.multitask").joinpath("published.yaml").read_text("utf-8")
    found: dict[str, list[dict[str, Any]]] = yaml.safe_load(text)
    return found
