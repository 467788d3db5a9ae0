"""Tables over tasks: a row per model and technique, a column per task.

Workloads of one family are named ``<model>_<task>`` and have their task as a knob, ``task``. What
was measured of one model and technique under one runtime stands in one row, whatever the task.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from bench.reporting import rows
from bench.reporting.judging import JudgedQuality
from bench.reporting.rows import Row, scopes_apart
from bench.statistics.pooling import Pooled

BY = (*rows.BY, "served_on_json")
"""What pairs are pooled by. Tasks may have been served on several devices: these never meet."""

SECTION = ("host", "protocol", "protocol_json", "served_on_json")
"""What all rows that stand under each other have in common."""

Kind = Literal["baseline", "published", "A/A", "technique"]
KINDS: tuple[Kind, ...] = ("baseline", "published", "A/A", "technique")
"""What a row may be, in the order in which those of one model stand."""

NO_PAIR = "no pair of its own: it was compared with nothing"
NONE_IN_COMMON = "there is no task that all rows were measured on"


@dataclass(frozen=True, slots=True)
class Task:
    """One entry under ``tasks:``, a column.

    Attributes:
        task: Value of the workload's knob ``task``.
        heading: What is printed above it.
        counts_with: Another task, with which it counts as one in every mean.
    """

    task: str
    heading: str
    counts_with: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A model as it was trained and served.

    Attributes:
        model: Name of its workloads without the task.
        told: What tells it from others of that name; empty if there are none.
        runtime: How it was served; ``None`` if it was not, but published.
        pretrained: Whether its weights were; ``None`` if the recipe does not say.
        origin: Hub id or folder that it comes from; ``None`` if the recipe names none.
    """

    model: str
    told: str
    runtime: str | None
    pretrained: bool | None
    origin: str | None


@dataclass(frozen=True, slots=True)
class Score:
    """What a row says of one task.

    Attributes:
        value: The task metric, a fraction; the mean over trainings.
        metric: Its name; ``None`` where a source does not name it.
        judged: The difference from the baseline; ``None`` of what is no pair.
        digits: Decimals of the percentage that are known.
        note: Footnote.
    """

    value: float
    metric: str | None
    judged: JudgedQuality | None = None
    digits: int = 2
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table over tasks.

    Attributes:
        kind: The baseline itself, what was published of it, the baseline against itself, or a
            technique.
        subject: The model.
        technique: Name of the technique; ``None`` where there is none.
        label: Of the technique with its knobs, or the kind.
        common: The tasks that all rows of the table were measured on.
        scores: By task.
        rows: By task, what it is made of: one row, or of a baseline all rows that share it.
        ratios: Geometric means over the common tasks, by measure; one that not all have is absent,
            and so are joules that do not cover the same parts in all.
        per_item: Likewise, joules or seconds per sample, of the variant or of the baseline.
        note: Footnote of the whole row.
        absent: By task, why there is no score; where not said, it was not measured.
    """

    kind: Kind
    subject: Subject
    technique: str | None
    label: str
    common: tuple[Task, ...]
    scores: Mapping[str, Score]
    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    ratios: dict[str, Pooled] = field(default_factory=dict)
    per_item: dict[str, float] = field(default_factory=dict)
    note: str | None = None
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.label} of {self.subject.model}"

    @property
    def is_compared(self) -> bool:
        """Whether it is made of pairs of its own."""
        return self.kind in ("A/A", "technique")

    def origin_of(self, measure: str) -> str:
        """Return the meters of a measure's joules."""
        found = {row.origin_of(measure) for _, row in self._common_rows()}
        return ", ".join(sorted(found - {""}))

    def why_absent(self, measure: str) -> str:
        """Return why there is no ratio of a measure."""
        return self.why_unknown(measure) if self.is_compared else NO_PAIR

    def why_unknown(self, measure: str) -> str:
        """Return why there are no joules or seconds per sample of a measure."""
        if not self.rows:
            return NO_PAIR
        for task in self.common:
            members = self.rows[task.task]
            if not any(measure in row.ratios for row in members):
                return f"{task.heading}: {members[0].why_absent(measure)}"
        apart = scopes_apart((row for _, row in self._common_rows()), measure)
        return f"joules have no mean: {apart}" if apart else NONE_IN_COMMON

    def partial(self, measure: str) -> str | None:
        """Say so if only some of the pairs of a task have a measure."""
        found = ((task.heading, row.partial(measure)) for task, row in self._common_rows())
        return "; ".join(f"{heading}: {said}" for heading, said in found if said) or None

    def _common_rows(self) -> list[tuple[Task, Row]]:
        return [(task, row) for task in self.common for row in self.rows.get(task.task, ())]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that stand under each other.

    Attributes:
        title: What they have in common, on one line.
        key: The same by column, for formats without titles.
        tasks: All columns of the table, in order.
        common: Those that all rows but published ones were measured on.
        lines: In order.
        rows: What they are made of, each once.
    """

    title: str
    key: Mapping[str, str]
    tasks: tuple[Task, ...]
    common: tuple[Task, ...]
    lines: tuple[Line, ...]
    rows: tuple[Row, ...]


def parts(tasks: Iterable[Task]) -> list[list[Task]]:
    """Return the tasks that a mean counts, each as the columns that make it up."""
    found: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        found[task.counts_with or task.task].append(task)
    return list(found.values())


def average(values: Mapping[str, float], tasks: Iterable[Task]) -> float:
    """Return the mean over tasks, each counted once, whatever it is made of.

    That is how GLUE takes its own: the mean of the tasks' scores, several figures of one task being
    averaged first (Wang et al. (2019), arXiv:1804.07461, section 3.4); so the two parts of MNLI
    count as one of nine tasks. Published averages differ: those of BERT and TinyBERT leave WNLI out
    and count the parts of MNLI as two, that of DistilBERT has WNLI, and MNLI once (Devlin et al.
    (2019), Jiao et al. (2020), Sanh et al. (2019), table 1 of each). Here the mean is over one
    metric per task and over the tasks at hand, so it is no GLUE score.

    Args:
        values: By task.
        tasks: The columns to take, one or more.
    """
    return fmean(fmean(values[task.task] for task in part) for part in parts(tasks))
