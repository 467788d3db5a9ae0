"""The nine tasks of GLUE: their columns, classes, metrics and splits.

Source: Wang et al. (2019), arXiv:1804.07461, table 1; names of columns and splits as in the data
set ``nyu-mll/glue`` of the Hugging Face hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        columns: Of one text, or of two that are judged together.
        classes: Number of them; 0 for a score to be predicted.
        metric: The one that is judged, as ``evaluate`` names it.
        subset: Name of the data set's configuration and of its folder.
        held_out: Split that has labels and is never trained on.
    """

    columns: tuple[str, ...]
    classes: int
    metric: str = "accuracy"
    subset: str = ""
    held_out: str = "validation"


TASKS: Mapping[str, Task] = {
    "cola": Task(("sentence",), 2, "matthews_correlation"),
    "sst2": Task(("sentence",), 2),
    "mrpc": Task(("sentence1", "sentence2"), 2),
    "stsb": Task(("sentence1", "sentence2"), 0, "pearson"),
    "qqp": Task(("question1", "question2"), 2),
    "mnli": Task(("premise", "hypothesis"), 3, held_out="validation_matched"),
    "mnli_mismatched": Task(
        ("premise", "hypothesis"), 3, subset="mnli", held_out="validation_mismatched"
    ),
    "qnli": Task(("question", "sentence"), 2),
    "rte": Task(("sentence1", "sentence2"), 2),
    "wnli": Task(("sentence1", "sentence2"), 2),
}
"""``mnli`` is tested on the genres it is trained on, ``mnli_mismatched`` on others."""
