"""What a table says of a row in words, no stronger than its records allow."""

from __future__ import annotations

from bench.reporting.cells import Cell
from bench.reporting.judging import MEASURED, contains_one
from bench.reporting.rows import Row

_ENERGY = {"saves": "saves energy", "costs": "costs energy", "undecided": "energy undecided"}
_TIME = {"faster": "faster", "slower": "slower", "undecided": "time undecided"}
_QUALITY = {
    "non-inferior": "non-inferior",
    "inferior": "inferior",
    "inconclusive": "quality inconclusive",
}


def verdict_cell(row: Row) -> Cell:
    """Return the verdict on two short lines, what stands against a joule claim as a footnote."""
    if not row.valid.size:
        return Cell("invalid session", note=row.why_absent(row.lead))
    if row.is_noise_floor:
        passed = contains_one(row.ratios[row.lead])
        return Cell("A/A: contains 1" if passed else "A/A: does not contain 1")
    judged, counted = row.verdict, row.lead in MEASURED
    gain = _ENERGY[judged.energy] if counted else _TIME[judged.time]
    finding = f"{gain}, {_QUALITY[judged.quality]}"
    if judged.headline:
        return Cell(finding)
    exploited = "" if row.exploited else "not exploited, "
    short = "no headline" if counted else "no joule claim"
    return Cell(f"{finding};", exploited + short, note=judged.reason)


def verdict_text(row: Row) -> str:
    """Return the whole verdict on one line, the reason included."""
    cell = verdict_cell(row)
    line = f"{cell.text} {cell.below}".strip()
    return f"{line}: {cell.note}" if cell.note else line
