"""What has changed between two measurements of the same pairs, by how much, and how surely.

``sides`` opens what is to be compared, ``matching`` finds what is of the same thing, ``rows``
divides, ``settings`` finds what else differs, ``shown`` prints.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.compare.matching import ROW, Named, joined, matched
from bench.compare.rows import Row, row
from bench.compare.settings import Difference, counted, differing
from bench.compare.sides import CompareError, Side, opened
from bench.reporting.rows import BASELINE

__all__ = ["CompareError", "Compared", "Side", "compare", "opened"]


@dataclass(frozen=True, slots=True)
class Compared:
    """What was found.

    Attributes:
        rows: What was measured on both sides, one row per technique of one workload.
        unchanged: What both sides hold as it is: values of ``matching.ROW`` and a seed.
        only_before: What only A has.
        only_after: What only B has.
        differences: Settings that differ in any row.
        notes: What a reader must know of the comparison as a whole.
    """

    rows: tuple[Row, ...]
    unchanged: tuple[Named, ...]
    only_before: tuple[Named, ...]
    only_after: tuple[Named, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def compare(before: Side, after: Side) -> Compared:
    """Return what has changed from one side to the other.

    Raises:
        CompareError: They have no pair in common.
    """
    found = matched(before, after)
    differences = counted(
        difference
        for match in found.matches
        for difference in differing(joined(match.before), joined(match.after))
    )
    return Compared(
        rows=tuple(sorted((row(match) for match in found.matches), key=_order)),
        unchanged=found.unchanged,
        only_before=found.only_before,
        only_after=found.only_after,
        differences=differences,
        notes=found.notes,
    )


def _order(found: Row) -> tuple[object, ...]:
    """Return the place of a row: by its conditions, the A/A pair first, then by technique."""
    *conditions, technique, label = (found.key[name] for name in ROW)
    return conditions, technique != BASELINE, technique, label
