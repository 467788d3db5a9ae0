"""What has become of each row: ratios, quality, sizes, verdicts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.compare.matching import Match, Part, joined
from bench.flat import MEASURES
from bench.reporting.judging import MEASURED
from bench.reporting.pooled import ARMS
from bench.statistics.change import difference_of_differences, quotient
from bench.statistics.pooling import Pooled, pool
from bench.statistics.quality import PairedDifference

_SIZES = ("bytes", "parameters", "nonzero_parameters", "macs")
_VERDICTS = ("verdict_energy", "verdict_time", "quality_verdict", "headline", "verdict_reason")


@dataclass(frozen=True, slots=True)
class Change:
    """What has become of the ratio of one measure, variant over baseline.

    Attributes:
        before: The ratio in A, over the matched seeds.
        after: The ratio in B.
        quotient: After over before; ``None`` if they must not be divided.
        reason: Why not.
        per_item: Joules or seconds per sample after over before, by arm. The two were not measured
            in turn, so there is no interval. ``None`` like ``quotient``.
    """

    before: Pooled
    after: Pooled
    quotient: Pooled | None
    reason: str | None
    per_item: dict[str, float] | None

    @property
    def shows(self) -> Literal["more", "less", "undecided"]:
        """Whether the variant needs more, or less, of what the baseline needs than it did."""
        if self.quotient is None or self.quotient.low <= 1 <= self.quotient.high:
            return "undecided"
        return "more" if self.quotient.low > 1 else "less"


@dataclass(frozen=True, slots=True)
class QualityChange:
    """What has become of the task metric's difference, variant minus baseline; fractions.

    Attributes:
        metric: Its name.
        before: The difference in A, a mean over the matched seeds.
        after: The difference in B.
        change: After minus before with its interval; ``None`` if they must not be compared.
        reason: Why not.
        same_models: Whether the same models gave the same answers: then no chance is in it.
    """

    metric: str
    before: float
    after: float
    change: PairedDifference | None
    reason: str | None
    same_models: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One technique of one workload on both sides.

    Attributes:
        key: Values of ``matching.ROW``, both where they differ.
        seeds: That both sides have.
        changes: By prefix of ``flat.MEASURES``; what only one side has is absent.
        quality: Of the task metric.
        sizes: Before and after of what has changed, e.g. ``variant_bytes``; means over the seeds.
        verdicts: Verdicts of the records before and after, where they differ.
        notes: What a reader must know of these figures.
    """

    key: dict[str, str]
    seeds: tuple[int, ...]
    changes: dict[str, Change]
    quality: QualityChange
    sizes: dict[str, tuple[float, float]]
    verdicts: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
    notes: tuple[str, ...]

    @property
    def leading(self) -> dict[str, Change]:
        """The changes that speak of energy: counted joules, or seconds where there are none."""
        counted = {m: c for m, c in self.changes.items() if m in MEASURED}
        return counted or {m: c for m, c in self.changes.items() if m == "wall"}

    @property
    def regressed(self) -> bool:
        """Whether the variant needs more energy than it did, or more time without joules."""
        return any(change.shows == "more" for change in self.leading.values())

    @property
    def judged(self) -> bool:
        """Whether anything could be divided that tells so."""
        return any(change.quotient is not None for change in self.leading.values())


def row(match: Match) -> Row:
    """Return what has become of the pairs of one row."""
    was, now = ([_first(part) for part in side] for side in (match.before, match.after))
    return Row(
        key=match.key,
        seeds=match.seeds,
        changes={m: found for m in MEASURES if (found := _change(match, m))},
        quality=_quality(was, now),
        sizes=dict(_sizes(joined(was), joined(now))),
        verdicts=dict(_verdicts(joined(match.before), joined(match.after))),
        notes=tuple(_notes(match)),
    )


def _change(match: Match, measure: str) -> Change | None:
    usable = [
        (_usable(before, measure), _usable(after, measure))
        for before, after in zip(match.before, match.after, strict=True)
    ]
    usable = [(before, after) for before, after in usable if len(before) and len(after)]
    if not usable:
        return None
    was, now = ([pair[side] for pair in usable] for side in (0, 1))
    before, after = joined(was), joined(now)
    reason = _indivisible(before, after, measure)
    return Change(
        before=_pooled(before, measure),
        after=_pooled(after, measure),
        quotient=None
        if reason
        else quotient([_pooled(p, measure) for p in was], [_pooled(p, measure) for p in now]),
        reason=reason,
        per_item=None if reason else _per_item(before, after, measure),
    )


def _usable(part: Part, measure: str) -> Part:
    ratios = part.of(f"{measure}_ratio").astype(float)
    return part.where(part.of("session_valid").astype(bool) & np.isfinite(ratios))


def _pooled(part: Part, measure: str) -> Pooled:
    return pool(
        np.log(part.of(f"{measure}_ratio").astype(float)),
        part.of(f"{measure}_log_ratio_sd").astype(float),
        part.of("blocks"),
    )


def _indivisible(before: Part, after: Part, measure: str) -> str | None:
    versions = sorted({*before.distinct("measuring_version"), *after.distinct("measuring_version")})
    if len(versions) > 1:
        return f"versions {' and '.join(versions)} of the measuring code are not divided"
    for column, words in (
        ("scope", "other components are added up"),
        ("source", "joules come from another meter"),
    ):
        sides = before.distinct(f"{measure}_{column}"), after.distinct(f"{measure}_{column}")
        if sides[0] != sides[1]:
            return f"{words}: {' in A and '.join(', '.join(side) for side in sides)} in B"
    return None


def _per_item(before: Part, after: Part, measure: str) -> dict[str, float]:
    def mean(side: Part, arm: str) -> float:
        return float(np.log(side.of(f"{measure}_{arm}_per_item").astype(float)).mean())

    return {arm: math.exp(mean(after, arm) - mean(before, arm)) for arm in ARMS}


def _first(part: Part) -> Part:
    """Return the first session; each is evaluated alike, so one is enough."""
    ids = part.source.codes("id")[0][part.places]
    order = np.lexsort((ids, part.of("session_number")))
    return Part(part.source, part.places[order[:1]])


def _quality(before: Sequence[Part], after: Sequence[Part]) -> QualityChange:
    whole = joined(before), joined(after)
    means = [float(side.of("quality_difference").mean()) for side in whole]
    metrics = [side.distinct("metric") for side in whole]
    reason = None
    if metrics[0] != metrics[1]:
        reason = f"the metric is {', '.join(metrics[0])} in A and {', '.join(metrics[1])} in B"
    elif _tests(whole[0]) != _tests(whole[1]):
        reason = "the test examples are others"
    digests = [f"{arm}_digest" for arm in ARMS]
    answers = [f"quality_{arm}" for arm in ARMS]
    same = all((whole[0].of(name) == whole[1].of(name)).all() for name in (*digests, *answers))
    change = None
    if same and not reason:
        change = PairedDifference(0.0, 0.0, 0.0)
    elif not reason:
        change = difference_of_differences(
            [_difference(part) for part in before], [_difference(part) for part in after]
        )
    return QualityChange(", ".join(metrics[1]), means[0], means[1], change, reason, same)


def _difference(part: Part) -> PairedDifference:
    names = ("difference", "low", "high")
    return PairedDifference(*(float(part.of(f"quality_{name}")[0]) for name in names))


def _tests(part: Part) -> set[str]:
    found = [json.loads(text) or {} for text in part.distinct("data_json")]
    return {json.dumps(data.get("test"), sort_keys=True) for data in found} | {
        f"{count} examples" for count in part.distinct("quality_examples")
    }


def _sizes(before: Part, after: Part) -> Iterator[tuple[str, tuple[float, float]]]:
    for name in (f"{arm}_{size}" for arm in ARMS for size in _SIZES):
        was, now = (float(side.of(name).mean()) for side in (before, after))
        if was != now:
            yield name, (was, now)


def _verdicts(
    before: Part, after: Part
) -> Iterator[tuple[str, tuple[tuple[str, ...], tuple[str, ...]]]]:
    for name in _VERDICTS:
        was, now = before.distinct(name), after.distinct(name)
        if was != now:
            yield name, (was, now)


def _notes(match: Match) -> Iterator[str]:
    for name, side in (("A", joined(match.before)), ("B", joined(match.after))):
        invalid = side.where(~side.of("session_valid").astype(bool))
        if len(invalid):
            why = "; ".join(invalid.distinct("session_reason"))
            yield f"{len(invalid)} of {len(side)} sessions in {name} are invalid, left out: {why}"
        for kind in ("rehearsal", "synthetic"):
            if side.of(kind).astype(bool).any():
                yield f"{kind} in {name}: no finding"
