"""Pairs pooled into rows: one technique of one workload under one set of conditions.

Tables, figures and the numbers in a text are all made of these rows, so they cannot disagree.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.findings import Verdict
from bench.flat import MEASURES
from bench.readings import Grade
from bench.reporting import judging
from bench.reporting.cells import listed
from bench.reporting.judging import BreakEven, Evidence, JudgedQuality
from bench.reporting.pairs import (
    SAME_ON_ONE_HOST,
    Pairs,
    TableError,
    grouped,
    require_comparable,
    require_poolable,
    unavailable,
)
from bench.reporting.pooled import pooled
from bench.statistics.pooling import Pooled, holm

COMMAND = "python -m bench.report"
"""What the first line of every file names, whoever builds it: equal records, equal bytes."""

CONDITIONS = (
    *("workload", "recipe_json", "host"),
    *("protocol", "protocol_json", "runtime", "runtime_json"),
)
"""What techniques were measured under: only within it do they stand beside each other."""

TECHNIQUE = ("technique", "label")
BY = (*CONDITIONS, *TECHNIQUE)
"""What a row is of, seeds and sessions pooled."""

BASELINE = "none"
"""Name of the technique that changes nothing: its pair is the A/A pair."""

_FAMILY = (*CONDITIONS, *SAME_ON_ONE_HOST)
"""What rows that are compared with each other and their A/A pair share, as far as it tells rows."""

_PROOF = ("bytes_fell", "no_simulation_left", "reload_exact", "exploited")
_UNDECIDED = Verdict("undecided", "undecided", "inconclusive", False, None)


@dataclass(frozen=True, slots=True)
class Row:
    """One technique under one set of conditions.

    Attributes:
        key: The grouping columns and their values.
        source: All pairs of the report; ``pairs`` picks this row's.
        valid: Positions of the pairs whose session is valid; only they are pooled.
        invalid: Positions of the others.
        lead: Prefix of the leading measure: ``energy_a``, ``energy_b`` or ``wall``.
        ratios: By prefix of ``flat.MEASURES``; one that no valid pair has is absent.
        adjusted_p: Likewise, adjusted for all techniques of the family (``holm``); of the A/A pair,
            which claims nothing, as it is.
        per_item: Likewise, geometric means of baseline and variant in joules or seconds per sample.
        quality: The task metric; sessions that were measured badly were still evaluated well.
        break_even: Inferences until the optimisation is paid for, and the ends of its interval; the
            upper one is ``None`` where open.
        break_even_reason: Why there is none.
        verdict: What may be said; ``reason`` is the first condition of a headline that failed.
    """

    key: dict[str, Any]
    source: Pairs
    valid: NDArray[np.intp]
    invalid: NDArray[np.intp]
    lead: str
    ratios: dict[str, Pooled]
    adjusted_p: dict[str, float]
    per_item: dict[str, tuple[float, float]]
    quality: JudgedQuality
    break_even: BreakEven | None
    break_even_reason: str | None
    verdict: Verdict

    @property
    def pairs(self) -> pd.DataFrame:
        """The flat rows that were pooled."""
        return self.source.frame.iloc[self.valid]

    @property
    def name(self) -> str:
        """How messages call it: by its first pair."""
        return self.source.name(self.positions[0])

    @property
    def positions(self) -> NDArray[np.intp]:
        """Of all its pairs, those of valid sessions first."""
        return np.concatenate([self.valid, self.invalid])

    @property
    def is_noise_floor(self) -> bool:
        """Whether it is the A/A pair, the baseline against itself."""
        return bool(self.key["technique"] == BASELINE)

    @property
    def grade(self) -> Grade:
        """Grade of the joules that lead; ``none`` where seconds lead."""
        grades: dict[str, Grade] = {"energy_a": "A", "energy_b": "B"}
        return grades.get(self.lead, "none")

    @property
    def exploited(self) -> bool:
        """Whether fewer operations took less time, in every session; there is a valid one."""
        return bool(self.valid.size and self.of("exploited").all())

    @property
    def family(self) -> tuple[Any, ...]:
        """What it shares with all rows that it may be compared with."""
        return tuple(value for name, value in self.key.items() if name in _FAMILY)

    def origin_of(self, measure: str) -> str:
        """Return the meter of a measure's joules, ``clock`` for seconds; empty without any."""
        return ", ".join(self.source.distinct(f"{measure}_source", self.valid))

    def why_absent(self, measure: str) -> str:
        """Return why there is no ratio of a measure."""
        if not self.valid.size:
            return _invalid(self.source, self.invalid)
        if not measure.startswith("energy"):
            return f"{judging.said(measure)} were not compared"
        if measure == "energy_c":
            return "no model was run"
        reasons = unavailable(self.source.distinct("unavailable_json", self.valid))
        return "; ".join([f"no joules of grade {measure[-1].upper()}", *reasons])

    def partial(self, measure: str) -> str | None:
        """Say so if only some of the valid pairs have a measure."""
        has = int(np.isfinite(self.source.log(f"{measure}_ratio")[self.valid]).sum())
        return None if has == len(self.valid) else f"of {has} of {len(self.valid)} pairs"

    def made(self, column: str) -> NDArray[Any]:
        """Return one flat column of all its pairs, also of those whose session is not valid."""
        found: NDArray[Any] = self.source.column(column)[self.positions]
        return found

    def of(self, column: str) -> NDArray[Any]:
        """Return one flat column of the valid pairs; missing is NaN or ``None``."""
        return self.source.column(column)[self.valid]


def rows(pairs: pd.DataFrame | Pairs, by: Sequence[str] = BY) -> tuple[Row, ...]:
    """Return the pairs grouped and pooled, families in order, the A/A pair first in each.

    Rehearsals and synthetic joules are left out (see ``pairs.left_out``). A row without any valid
    session has no ratio.

    Args:
        pairs: Rows of ``flat.SCHEMA``; those that enter, where they are wanted several times.
        by: Columns whose values tell rows apart; at least workload, technique and label.

    Raises:
        TableError: ``by`` names no column or would pool several techniques or workloads; or pairs
            of one row were measured under different conditions.
    """
    if absent := {"workload", *TECHNIQUE} - set(by):
        raise TableError(
            f"by: {', '.join(by)} would pool what is no repetition; add {', '.join(sorted(absent))}"
        )
    source = pairs if isinstance(pairs, Pairs) else Pairs.entering(pairs)
    groups = grouped(source, by)
    require_poolable(source, groups)
    require_comparable(source, grouped(source, [name for name in by if name in _FAMILY]))
    families: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for positions in groups:
        row = _row(source, by, positions)
        families[row.family].append(row)
    judged = [row for family in families.values() for row in _judged(family)]
    return tuple(sorted(judged, key=_order))


def origin(pairs: pd.DataFrame | Pairs) -> str:
    """Return one line that names the command and the records: their number and a digest.

    The digest is of their names and of every figure, in an order of its own; what never enters a
    report is not counted.
    """
    source = pairs if isinstance(pairs, Pairs) else Pairs.entering(pairs)
    order = np.lexsort([source.codes(name)[0] for name in ("id", "host")])
    names = "\n".join(source.name(position) for position in order)
    content = hashlib.sha256(names.encode())
    for name, kind in source.frame.dtypes.items():
        if kind.kind in "biuf":
            values = source.column(str(name))[order].astype("<f8")
            content.update(np.where(np.isnan(values), np.nan, values).tobytes())
    count = len(source.frame)
    return f"Generated by: {COMMAND} | records: {count}, sha256 {content.hexdigest()[:12]}"


def scopes_apart(found: Iterable[Row], measure: str) -> str | None:
    """Say so if joules of rows cover different parts of a machine, so that they have no mean."""
    scopes = {s for row in found for s in row.source.distinct(f"{measure}_scope", row.valid)}
    return f"they cover different parts: {listed(scopes)}" if len(scopes) > 1 else None


def _row(source: Pairs, by: Sequence[str], positions: NDArray[np.intp]) -> Row:
    good = source.column("session_valid")[positions].astype(bool)
    valid, invalid = positions[good], positions[~good]
    lead = _lead(source, valid if valid.size else positions)
    values = (source.column(name)[positions[0]] for name in by)
    key = {n: v.item() if isinstance(v, np.generic) else v for n, v in zip(by, values, strict=True)}
    ratios, per_item = pooled(source, valid)
    repaid: BreakEven | None = None
    reason: str | None = "nothing was optimised"
    if not valid.size:
        reason = _invalid(source, invalid)
    elif key["technique"] != BASELINE:
        repaid, reason = judging.break_even(source, valid, lead)
    return Row(
        key=key,
        source=source,
        valid=valid,
        invalid=invalid,
        lead=lead,
        ratios=ratios,
        adjusted_p={measure: found.p_value for measure, found in ratios.items()},
        per_item=per_item,
        quality=judging.judged_quality(source, positions),
        break_even=repaid,
        break_even_reason=reason,
        verdict=_UNDECIDED,
    )


def _lead(source: Pairs, positions: NDArray[np.intp]) -> str:
    leads = set(source.column("lead")[positions])
    return next((measure for measure in judging.MEASURED if measure in leads), "wall")


def _invalid(source: Pairs, invalid: NDArray[np.intp]) -> str:
    return f"the session is invalid: {source.column('session_reason')[invalid[0]]}"


def _judged(family: Sequence[Row]) -> list[Row]:
    """Return rows of one family with p-values adjusted for each other, and with their verdicts."""
    techniques = [row for row in family if not row.is_noise_floor]
    adjusted = [dict(row.adjusted_p) for row in techniques]
    for measure in MEASURES:
        those = [p for p in adjusted if measure in p]
        for p, corrected in zip(those, holm([p[measure] for p in those]), strict=True):
            p[measure] = float(corrected)
    floors = [row for row in family if row.is_noise_floor and row.valid.size]
    floor = None
    if floors:
        floor, _ = pooled(floors[0].source, np.concatenate([row.valid for row in floors]))
    judged = [
        replace(row, adjusted_p=p, verdict=_verdict(row, p, len(techniques), floor))
        for row, p in zip(techniques, adjusted, strict=True)
    ]
    judged += [
        replace(row, verdict=_verdict(row, row.adjusted_p, len(techniques), floor))
        for row in family
        if row.is_noise_floor
    ]
    return judged


def _verdict(
    row: Row, adjusted_p: Mapping[str, float], techniques: int, floor: Mapping[str, Pooled] | None
) -> Verdict:
    return judging.verdict(
        Evidence(
            lead=row.lead,
            ratios=row.ratios,
            adjusted_p=adjusted_p,
            techniques=techniques,
            quality=row.quality,
            proven={name: bool(row.of(name).all()) for name in _PROOF},
            invalid=None if row.valid.size else row.source.column("session_reason")[row.invalid[0]],
            noise_floor=floor,
            changes_nothing=row.is_noise_floor,
        )
    )


def _order(row: Row) -> tuple[Any, ...]:
    """Return the place of a row: its family, the A/A pair first, then by label and the rest."""
    rest = [(value is not None, value) for name, value in row.key.items() if name not in _FAMILY]
    family = [(value is not None, value) for value in row.family]
    return family, not row.is_noise_floor, rest[1:], rest
