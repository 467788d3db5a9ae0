"""What may be said of pairs taken together: quality, break-even, first condition that failed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.findings import Verdict
from bench.readings import ELSEWHERE
from bench.reporting.pairs import Pairs
from bench.statistics import lifecycle, quality
from bench.statistics.pooling import Pooled, energy_verdict

MEASURED = ("energy_a", "energy_b")
"""Measures whose joules may carry a headline, the best first."""

BreakEven = tuple[float, float, float | None]

_NORMAL_QUANTILE = 1.959964
"""Standard errors in half of a 95 % interval of a normal distribution."""

_TIME: dict[str, Literal["faster", "slower", "undecided"]] = {
    "saves": "faster",
    "costs": "slower",
    "undecided": "undecided",
}


@dataclass(frozen=True, slots=True)
class JudgedQuality:
    """The task metric of both arms, fractions, and what their difference proves.

    Attributes:
        metric: Its name.
        baseline: Mean over the trainings.
        variant: Likewise.
        difference: Variant minus baseline, mean over the trainings.
        low: Lower end of its 95 % interval.
        high: Upper end.
        margin: Accepted loss, fixed beforehand, positive.
        verdict: ``non-inferior`` when ``low > -margin``, ``inferior`` when ``high < -margin``.
        seeds: Pairs of models that were trained; several sessions may share one.
        examples: Test examples of each.
    """

    metric: str
    baseline: float
    variant: float
    difference: float
    low: float
    high: float
    margin: float
    verdict: Literal["non-inferior", "inferior", "inconclusive"]
    seeds: int
    examples: int


def judged_quality(source: Pairs, positions: NDArray[np.intp]) -> JudgedQuality:
    """Return the quality of one technique over its trainings.

    One training keeps the interval of its record; several are a sample of trainings on one sample
    of examples (``quality.both_sources``, and ``of_trainings`` for a metric that is no accuracy).
    Where they do not differ at all, none knows more than one of them: the widest interval stands.
    """
    models = source.codes("baseline_digest")[0], source.codes("variant_digest")[0]
    pairs_of_models = np.stack([codes[positions] for codes in models])
    _, firsts = np.unique(pairs_of_models, axis=1, return_index=True)
    trained = positions[np.sort(firsts)]

    def of(name: str) -> NDArray[np.float64]:
        return source.column(f"quality_{name}")[trained].astype(float)

    differences, examples, margin = of("difference"), of("examples"), float(of("margin")[0])
    discordant = of("lost") + of("gained")
    if len(trained) == 1:
        found = quality.PairedDifference(
            float(differences[0]), float(of("low")[0]), float(of("high")[0])
        )
    elif np.isfinite(discordant).all():
        found = quality.both_sources(differences, discordant / examples, int(examples[0]))
    else:  # half an interval is 1.96 errors or, of Student's with few examples, some more
        errors = (of("high") - of("low")) / 2 / _NORMAL_QUANTILE
        found = quality.of_trainings(differences, errors)
    if found.low == found.high:
        widest = float(of("low").min()), float(of("high").max())
        found = quality.PairedDifference(found.difference, *widest)
    return JudgedQuality(
        metric=str(source.column("metric")[trained[0]]),
        baseline=float(of("baseline").mean()),
        variant=float(of("variant").mean()),
        difference=found.difference,
        low=found.low,
        high=found.high,
        margin=margin,
        verdict=quality.non_inferiority(found.low, found.high, margin),
        seeds=len(trained),
        examples=int(examples[0]),
    )


def cost_column(cost: str, measure: str) -> str:
    """Return the flat column of what was spent once, in the unit of a measure's ratio."""
    return f"{cost}_{measure}_{'j' if measure.startswith('energy') else 's'}"


def break_even(
    source: Pairs, positions: NDArray[np.intp], lead: str
) -> tuple[BreakEven | None, str | None]:
    """Return the inferences after which the optimisation is paid for, or why there is no number.

    One pair keeps its own. Of several only the geometric means per sample are at hand: the saving
    is their difference, its spread that of the variant's joules relative to the baseline's.

    Args:
        source: All pairs.
        positions: Those of one technique with valid sessions, at least one.
        lead: The measure in which cost and saving are counted.
    """
    own = source.column("break_even_measure")[positions]
    if len(positions) == 1 and source.column("lead")[positions[0]] == lead:
        if own[0] is None:
            reason = source.column("break_even_reason")[positions[0]]
            return None, reason or "the record gives no reason"
        inferences, low, high = (
            float(source.column(f"break_even_{name}")[positions[0]])
            for name in ("inferences", "low", "high")
        )
        return (inferences, low, high if np.isfinite(high) else None), None
    for reason in source.column("break_even_reason")[positions]:
        if reason is not None and ELSEWHERE.match(reason):
            return None, reason  # what one of them has cost cannot be added to the others
    costs = source.column(cost_column("optimise", lead))[positions].astype(float)
    baseline, variant, sd = (
        source.column(f"{lead}_{name}")[positions].astype(float)
        for name in ("baseline_per_item", "variant_per_item", "log_ratio_sd")
    )
    counted = np.isfinite(baseline)
    if not np.isfinite(costs[counted]).all():
        return None, f"the optimisation's {said(lead)} are missing for some of the pairs"
    blocks = source.column("blocks")[positions].astype(float)
    found = lifecycle.pooled_break_even(
        costs[counted],
        (baseline - variant)[counted],
        (variant * sd)[counted],
        blocks[counted],
    )
    if found is None:
        return None, "never: a saving per inference is not shown"
    return (found.inferences, found.low, found.high), None


def said(measure: str) -> str:
    """Return how a text calls a measure: ``joules (B)``, ``seconds``, ``CPU-seconds``."""
    if measure.startswith("energy"):
        return f"joules ({measure[-1].upper()})"
    return {"wall": "seconds", "cpu": "CPU-seconds"}[measure]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict is made of.

    Attributes:
        lead: The leading measure.
        ratios: By measure.
        adjusted_p: Likewise, after Holm's correction.
        techniques: For how many techniques it was made.
        quality: The accuracy question.
        proven: Whether it holds in every pair: ``bytes_fell``, ``no_simulation_left``,
            ``reload_exact``, ``exploited``.
        invalid: Why no session can be used, if none can.
        noise_floor: Ratios of the A/A pairs of the same family; ``None`` if there is no valid one.
        changes_nothing: Whether this is the A/A pair itself.
    """

    lead: str
    ratios: Mapping[str, Pooled]
    adjusted_p: Mapping[str, float]
    techniques: int
    quality: JudgedQuality
    proven: Mapping[str, bool]
    invalid: str | None
    noise_floor: Mapping[str, Pooled] | None
    changes_nothing: bool


def verdict(seen: Evidence) -> Verdict:
    """Return what may be said; the reason is the first condition of a headline that failed.

    The conditions are those of a single pair (``conclusions.verdict``), with the ratio's p adjusted
    for the number of techniques.
    """
    lead, wall = (_shows(seen, measure) for measure in (seen.lead, "wall"))
    reason = next((why for holds, why in _conditions(seen) if not holds), None)
    return Verdict(
        energy=lead if seen.lead in MEASURED else "undecided",
        time=_TIME[wall],
        quality=seen.quality.verdict,
        headline=reason is None,
        reason=reason,
    )


def uncounted(ratios: Collection[str]) -> str:
    """Say what has no energy counter, where seconds lead though joules may have been counted."""
    return "of the device that serves" if set(MEASURED) & set(ratios) else "on this host"


def contains_one(ratio: Pooled) -> bool:
    """Whether an interval of a ratio contains 1: what an A/A pair must show."""
    return ratio.low <= 1 <= ratio.high


def _conditions(seen: Evidence) -> tuple[tuple[bool, str], ...]:
    found = seen.ratios.get(seen.lead)
    high = found.high if found else 1.0
    p = seen.adjusted_p.get(seen.lead, 1.0)
    floor = (seen.noise_floor or {}).get(seen.lead)
    return (
        (seen.invalid is None, f"the session is invalid: {seen.invalid}"),
        (not seen.changes_nothing, "A/A pair: it shows the noise floor, not a saving"),
        (seen.lead in MEASURED, f"no energy counter {uncounted(seen.ratios)}"),
        (high < 1, f"the ratio's interval reaches {high:.3f}"),
        (_shows(seen, seen.lead) == "saves", f"p is {p:.2g}, adjusted for {seen.techniques} rows"),
        (
            seen.quality.verdict == "non-inferior",
            f"{seen.quality.metric} is {seen.quality.verdict}",
        ),
        (seen.proven["bytes_fell"], "the served artefact is not smaller"),
        (
            seen.proven["no_simulation_left"],
            "masks or fake-quantize modules are left in the model",
        ),
        (seen.proven["reload_exact"], "a fresh process does not reproduce the outputs"),
        (seen.proven["exploited"], "fewer operations, but no less time: not exploited"),
        (floor is not None, "no A/A pair of this workload, protocol and host yet"),
        (floor is not None and contains_one(floor), "the A/A pair's interval does not contain 1"),
    )


def _shows(seen: Evidence, measure: str) -> Literal["saves", "costs", "undecided"]:
    found = seen.ratios.get(measure)
    if found is None:
        return "undecided"
    return energy_verdict(found.ratio, seen.adjusted_p[measure])
