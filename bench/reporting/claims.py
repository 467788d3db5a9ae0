"""What a table says of a pair in words, no stronger than its record allows."""

from __future__ import annotations

from bench.records import Record
from bench.reporting.cells import Cell
from bench.reporting.columns import measured

BASELINE = "none"
"""Name of the technique that changes nothing: its pair is the A/A pair."""

_ENERGY = {"saves": "saves energy", "costs": "costs energy", "undecided": "energy undecided"}
_TIME = {"faster": "faster", "slower": "slower", "undecided": "time undecided"}
_QUALITY = {
    "non-inferior": "non-inferior",
    "inferior": "inferior",
    "inconclusive": "quality inconclusive",
}


def contains_one(low: float, high: float) -> bool:
    """Whether an interval of a ratio contains 1: what an A/A pair must show."""
    return low <= 1.0 <= high


def verdict_cell(record: Record) -> Cell:
    """Return the verdict on two short lines, what stands against a joule claim as a footnote."""
    if not record.session.valid:
        return Cell("invalid session", note=_reason(record.session.reason))
    if record.technique == BASELINE:
        passed = contains_one(record.comparison.low, record.comparison.high)
        return Cell("A/A: contains 1" if passed else "A/A: does not contain 1")
    judged = record.verdict
    counted = measured(record)
    gain = _ENERGY[judged.energy] if counted else _TIME[judged.time]
    finding = f"{gain}, {_QUALITY[judged.quality]}"
    if judged.headline and counted:
        return Cell(finding)
    exploited = "" if record.proof.exploited else "not exploited, "
    short = "no headline" if counted else "no joule claim"
    return Cell(f"{finding};", exploited + short, note=_reason(judged.reason))


def verdict_text(record: Record) -> str:
    """Return the whole verdict on one line, the reason included."""
    cell = verdict_cell(record)
    line = f"{cell.text} {cell.below}".strip()
    return f"{line}: {cell.note}" if cell.note else line


def _reason(reason: str | None) -> str:
    return reason or "the record gives no reason"
