"""The check of somebody's results: does every record follow from what lies beside it?

Runs from a copy of ``results/`` alone, without torch, sensors or the machine that measured.

What is recomputed, and how independently:

- Ratios, intervals, p-values, drifts, break-evens, sums of phases and the conditions of windows are
  written out here once more, in numpy and scipy, and share no line with the code that measures.
- Tango's interval, and sign flips of more than 16 blocks, come from ``bench.statistics``, whose
  oracles are published examples: there is no simpler way to compute them.
- Metrics are recomputed from predictions by ``bench.statistics``; records of a metric that it does
  not know are counted as not recomputed, by name.

A forger who redoes every digest and every figure consistently, windows and trace included, cannot
be told from a machine; nothing here claims that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]
"""An error is a contradiction; a warning is what a reader should know, an error under strict."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        path: The record's folder, or a file, relative to the folder that was examined.
        check: Name of the check, e.g. ``ratio``.
        severity: ``error`` or ``warning``.
        message: Names the field, what was found and what was expected.
    """

    path: str
    check: str
    severity: Severity
    message: str
