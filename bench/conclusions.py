"""What may be said of a pair, from what was measured of it: pure arithmetic on plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from bench.findings import BreakEven, Comparison, Proof, Quality, Verdict
from bench.measurement.figures import WALL, Figure
from bench.measurement.session import Window, per_item
from bench.readings import MEASURED_GRADES, Phase
from bench.records import Arm, Discard
from bench.statistics import lifecycle
from bench.statistics.metrics import METRICS, is_mean, mean
from bench.statistics.quality import (
    bootstrap_difference,
    mean_difference,
    non_inferiority,
    paired_accuracy,
)
from bench.statistics.ratios import direction, paired_ratio

LEAST_BLOCKS = 2
"""Without a second block there is no interval."""

UNEXPLOITED_MACS = 0.8
"""A variant that needs fewer than this share of the baseline's multiply-accumulates ..."""
UNEXPLOITED_TIME = 0.95
"""... and more than this share of its time does not make use of them."""

_ENERGY: dict[str, Literal["saves", "costs", "undecided"]] = {
    "below": "saves",
    "above": "costs",
    "undecided": "undecided",
}
_TIME: dict[str, Literal["faster", "slower", "undecided"]] = {
    "below": "faster",
    "above": "slower",
    "undecided": "undecided",
}


def comparisons(
    windows: Sequence[Window], figures: Sequence[Figure], discards: Sequence[Discard]
) -> tuple[Comparison, ...]:
    """Return the ratio of every figure that all kept windows have, in the order given.

    Raises:
        ValueError: Fewer than two blocks were kept: there is no interval, so there is no finding.
    """
    if len(per_item(windows, WALL.of)[0]) < LEAST_BLOCKS:
        first = f"{discards[0].condition}, {discards[0].detail}" if discards else "no reason"
        raise ValueError(
            f"no finding: of {len(windows) // 4} blocks {len(discards)} were discarded, the first "
            f"for {first}. Measure on a quieter machine, or look with python -m "
            f"bench.doctor at what disturbs this one; protocol.max_* holds the limits"
        )
    found = []
    for figure in figures:
        baseline, variant = per_item(windows, figure.of)
        if len(baseline) < LEAST_BLOCKS or not ((baseline > 0).all() and (variant > 0).all()):
            continue  # missing, or a model that reads 0 J over a window: there is no ratio
        ratio = paired_ratio(baseline, variant)
        found.append(
            Comparison(
                measure=figure.measure,
                scope=figure.scope,
                source=figure.source,
                grade=figure.grade,
                ratio=ratio.ratio,
                low=ratio.low,
                high=ratio.high,
                blocks=ratio.blocks,
                discarded=len(discards),
                p_value=ratio.p_value,
                log_ratio_sd=ratio.log_ratio_sd,
                baseline_per_item=ratio.baseline_per_item,
                variant_per_item=ratio.variant_per_item,
            )
        )
    return tuple(found)


def quality(
    metric: str,
    labels: Sequence[float],
    arms: tuple[Sequence[float], Sequence[float]],
    margin: float,
) -> Quality:
    """Return the paired difference in a metric with its interval, and the verdict at a margin.

    The interval is Tango's for accuracies, Student's for means over examples, a bootstrap of test
    examples for other metrics.

    Args:
        metric: One of ``statistics.metrics``, or a mean over examples with its unit in its name.
        labels: One per test example.
        arms: Predictions of baseline and variant on the same examples.
        margin: Fixed beforehand, a fraction.
    """
    truth, baseline, variant = (np.asarray(column) for column in (labels, *arms))
    of = mean if is_mean(metric) else METRICS[metric]
    lost = gained = None
    if metric == "accuracy":
        right, still_right = baseline == truth, variant == truth
        difference = paired_accuracy(right, still_right)
        lost, gained = int((right & ~still_right).sum()), int((still_right & ~right).sum())
    elif is_mean(metric):
        difference = mean_difference(baseline, variant)
    else:
        difference = bootstrap_difference(of, truth, baseline, variant)
    return Quality(
        metric=metric,
        baseline=of(truth, baseline),
        variant=of(truth, variant),
        difference=difference.difference,
        low=difference.low,
        high=difference.high,
        margin=margin,
        examples=len(truth),
        lost=lost,
        gained=gained,
        verdict=non_inferiority(difference.low, difference.high, margin),
    )


def _uncounted(found: Sequence[Comparison]) -> str:
    """Return why seconds lead."""
    counted = [each.scope for each in found if each.is_counted]
    if not counted:
        return "no energy counter on this host"
    return f"no energy counter of the device that serves, only of {' and of '.join(counted)}"


def exploited(baseline: Arm, variant: Arm, time: Comparison) -> bool:
    """Return False if work fell by over 20 % and time by under 5 %: nominal sparsity only.

    Work is multiply-accumulates times the share of parameters that are not 0: what would be left
    to do if zeros were skipped.
    """
    left = _work(variant) / _work(baseline)
    return not (left < UNEXPLOITED_MACS and time.ratio > UNEXPLOITED_TIME)


def _work(arm: Arm) -> float:
    return arm.macs * arm.nonzero_parameters / arm.parameters


def break_even(
    figure: Figure, windows: Sequence[Window], optimisation: Sequence[Phase]
) -> tuple[BreakEven | None, str | None]:
    """Return after how many inferences the optimisation is paid for, or why that is never.

    Args:
        figure: Unit in which cost and saving are counted: joules, or seconds without a counter.
        windows: Gives the saving per inference.
        optimisation: What the technique did: ``optimise`` and ``convert``.
    """
    costs = [figure.of(phase) for phase in optimisation]
    if None in costs:
        return None, f"the optimisation's {figure.measure} of {figure.source} is missing"
    cost = sum(cost for cost in costs if cost is not None)
    found = lifecycle.break_even(cost, *per_item(windows, figure.of))
    if found is None:
        return None, "never: a saving per inference is not shown"
    return BreakEven(found.inferences, found.low, found.high, figure.measure), None


def verdict(
    found: Sequence[Comparison],
    of_quality: Quality,
    proof: Proof,
    invalid: str | None,
    noise_floor: Comparison | None,
    changes_nothing: bool,
) -> Verdict:
    """Return what may be said; the reason is the first condition of a headline that failed.

    Args:
        found: All comparisons, the leading one first.
        of_quality: The accuracy question.
        proof: Evidence of compression.
        invalid: Why the session cannot be used, if so.
        noise_floor: The comparison of a valid A/A pair of this host, workload and protocol that
            has the origin of the leading one.
        changes_nothing: Whether this is the A/A pair itself.
    """
    lead = found[0]
    wall = next(c for c in found if c.measure == "wall_s")
    counted = lead.is_counted
    conditions = (
        (invalid is None, f"the session is invalid: {invalid}"),
        (not changes_nothing, "A/A pair: it shows the noise floor, not a saving"),
        (lead.measure == "energy_j", _uncounted(found)),
        (lead.grade in MEASURED_GRADES, f"joules of grade {lead.grade} carry no headline"),
        (lead.high < 1, f"the ratio's interval reaches {lead.high:.3f}"),
        (of_quality.verdict == "non-inferior", f"{of_quality.metric} is {of_quality.verdict}"),
        (proof.bytes_fell, "the served artefact is not smaller"),
        (proof.no_simulation_left, "masks or fake-quantize modules are left in the model"),
        (proof.reload_exact, "a fresh process does not reproduce the outputs"),
        (proof.exploited, "fewer operations, but no less time: not exploited"),
        (noise_floor is not None, "no A/A pair of this workload, protocol, host and measure yet"),
        (
            noise_floor is not None and noise_floor.low <= 1 <= noise_floor.high,
            "the A/A pair's interval does not contain 1",
        ),
    )
    reason = next((why for holds, why in conditions if not holds), None)
    # An invalid session decides nothing, whichever way its intervals lie.
    lead_lies = direction(lead.low, lead.high) if invalid is None else "undecided"
    wall_lies = direction(wall.low, wall.high) if invalid is None else "undecided"
    return Verdict(
        energy=_ENERGY[lead_lies] if counted else "undecided",
        time=_TIME[wall_lies],
        quality=of_quality.verdict,
        headline=reason is None,
        reason=reason,
    )
