"""The method section: what was done to the records at hand, no more and no less.

Every sentence is either read from the records (their protocols, meters, hosts) or describes the
measuring code of one version; records of another version are said to be so.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.reporting.method import analysis, conditions, hosts, meters, protocol, sample
from bench.reporting.prose import Section
from bench.reporting.rows import Row


def method(rows: Sequence[Row]) -> tuple[Section, ...]:
    """Return the method section of the report on these rows; empty without any row.

    It speaks of all pairs that entered, those of invalid sessions included: they were measured.
    """
    if not rows:
        return ()
    pairs = rows[0].source.frame
    parts = (
        sample.described(pairs),
        protocol.described(pairs),
        conditions.discarded(pairs),
        meters.described(rows, pairs),
        hosts.described(pairs),
        analysis.described(rows, pairs),
    )
    return tuple(part for part in parts if part is not None)
