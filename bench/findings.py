"""What was found out about one pair: comparisons, quality, proof, break-even, verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.readings import MEASURED_GRADES, Grade

MeasureName = Literal["energy_j", "cpu_s", "wall_s"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Variant over baseline, per sample, from the blocks.

    Attributes:
        measure: What is compared.
        scope: Components added up (``cpu+dram+gpu``), or ``process tree`` / ``clock`` for seconds.
        source: Meter the joules come from; ``clock`` for seconds.
        grade: Grade of those joules; ``none`` for seconds.
        ratio: Geometric mean ratio; below 1 the variant needs less.
        low: Lower end of the 95 % interval.
        high: Upper end.
        blocks: Blocks that entered.
        discarded: Blocks thrown away on a condition.
        p_value: Exact two-sided sign-flip p.
        log_ratio_sd: Standard deviation of the blocks' log ratios (repeatability).
        baseline_per_item: Geometric mean per sample, in joules or seconds.
        variant_per_item: Likewise.
    """

    measure: MeasureName
    scope: str
    source: str
    grade: Grade
    ratio: float
    low: float
    high: float
    blocks: int
    discarded: int
    p_value: float
    log_ratio_sd: float
    baseline_per_item: float
    variant_per_item: float

    @property
    def is_counted(self) -> bool:
        """Whether it is one of joules that a sensor counted."""
        return self.measure == "energy_j" and self.grade in MEASURED_GRADES

    @property
    def origin(self) -> tuple[MeasureName, str, str, str]:
        """What two comparisons must share to be held against each other."""
        return self.measure, self.grade, self.source, self.scope


@dataclass(frozen=True, slots=True)
class Quality:
    """Paired difference of the task metric on the same test examples.

    Attributes:
        metric: Name of the metric.
        baseline: Its value for the baseline, a fraction.
        variant: Its value for the variant.
        difference: Variant minus baseline.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
        margin: Non-inferiority margin fixed beforehand, positive.
        examples: Test examples compared.
        lost: Of these, only the baseline got right; ``None`` for a metric that is no accuracy.
        gained: Likewise, only the variant.
        verdict: ``non-inferior`` when ``low > -margin``, ``inferior`` when ``high < -margin``.
    """

    metric: str
    baseline: float
    variant: float
    difference: float
    low: float
    high: float
    margin: float
    examples: int
    lost: int | None
    gained: int | None
    verdict: Literal["non-inferior", "inferior", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Proof:
    """Evidence that the variant really is compressed.

    Attributes:
        bytes_fell: The served artefact is smaller than the baseline's.
        no_simulation_left: No mask, parametrization or fake-quantize module remains.
        kernels: Operators of one profiled batch with their input type, by time, longest first.
        reload_exact: A fresh process that loads the artefact repeats the predictions.
        exploited: False if MACs, zero weights left out, fell by over 20 % and time by under 5 %.
    """

    bytes_fell: bool
    no_simulation_left: bool
    kernels: tuple[str, ...]
    reload_exact: bool
    exploited: bool


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Inferences after which the optimisation has paid for itself.

    Attributes:
        inferences: Point estimate.
        low: Lower end of the 95 % interval.
        high: Upper end; ``None`` if the interval is open above.
        measure: Unit in which cost and saving were counted.
    """

    inferences: float
    low: float
    high: float | None
    measure: MeasureName


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be said of the pair.

    Attributes:
        energy: Of joules of grade A or B only; ``undecided`` where there are none.
        time: Of wall seconds: ``faster``, ``slower`` or ``undecided``.
        quality: Of the task metric.
        headline: Whether "saves energy at non-inferior accuracy" may be printed.
        reason: First condition that failed; ``None`` with a headline.
    """

    energy: Literal["saves", "costs", "undecided"]
    time: Literal["faster", "slower", "undecided"]
    quality: Literal["non-inferior", "inferior", "inconclusive"]
    headline: bool
    reason: str | None
