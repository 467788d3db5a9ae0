"""Results as files: a Markdown table for a pull request, JSON for github-action-benchmark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bench.ci import words
from bench.ci.results import TITLES, UNITS, Result

_HEADINGS = ("test", "measure", "base → head, per call", "ratio [95 %]", "verdict")
_MARKS = {"fails": "❌ ", "passes": "✅ "}


def markdown(results: Sequence[Result], title: str) -> str:
    """Return a heading and a table of all results, with what a reader must know below it."""
    lines = [f"### {escaped(title)}", ""]
    if not results:
        return "\n".join([*lines, "No test that asked for `joules` came to a result.", ""])
    lines += ["| " + " | ".join(_HEADINGS) + " |", "|---|---|---:|---:|---|"]
    for result in results:
        verdict = _MARKS.get(result.verdict, "") + words.outcome(result)
        cells = (
            f"`{result.test.replace('`', '')}`",
            words.measured(result),
            words.change(result),
            words.interval(result),
            verdict,
        )
        lines.append("| " + " | ".join(map(escaped, cells)) + " |")
    notes = [f"`{r.test.replace('`', '')}`: {r.reason}" for r in results if r.reason]
    notes += sorted(
        {f"{TITLES[r.measure]}: {r.note}; {words.NOT_JOULES}" for r in results if r.note}
    )
    lines += [""] + [f"- {escaped(note)}" for note in notes]
    return "\n".join([*lines, ""])


def escaped(text: str) -> str:
    """Return text that neither ends a cell nor becomes a tag."""
    return text.replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")


def action_json(results: Sequence[Result]) -> str:
    """Return the results for github-action-benchmark, ``tool: customSmallerIsBetter``.

    A ratio is worth more there than a figure: hosted runners are not one machine.
    """
    return json.dumps([entry for result in results for entry in _entries(result)], indent=1) + "\n"


def _entries(result: Result) -> list[dict[str, Any]]:
    extra = f"{result.host_class}; {result.blocks} blocks; grade {result.grade}"
    entries: list[dict[str, Any]] = []
    if result.per_call is not None:
        interval = _range(result.low_per_call, result.high_per_call)
        entries.append(
            {
                "name": f"{result.test}: {TITLES[result.measure]} per call",
                "unit": UNITS[result.measure] or "instructions",
                "value": result.per_call,
                "range": interval,
                "extra": extra,
            }
        )
    if result.ratio is not None:
        against = result.against or "the baseline of the pair"
        entries.append(
            {
                "name": f"{result.test}: ratio of {TITLES[result.measure]}",
                "unit": "ratio",
                "value": result.ratio,
                "range": _range(result.low, result.high),
                "extra": f"{extra}; against {against}; {result.verdict}",
            }
        )
    return entries


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.4g} to {high:.4g}"
