"""What one check found, as plain data: what reports, files and processes pass on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.ci.gate import Verdict
from bench.readings import Grade

Kind = Literal["pair", "against", "stored", "alone"]
"""Two functions of one process; the base commit in turns; a run of another day; nothing."""

MeasureName = Literal["energy_j", "cpu_s", "wall_s", "instructions"]

TITLES: dict[MeasureName, str] = {
    "energy_j": "joules",
    "cpu_s": "CPU-seconds",
    "wall_s": "seconds",
    "instructions": "retired instructions",
}
UNITS: dict[MeasureName, str] = {"energy_j": "J", "cpu_s": "s", "wall_s": "s", "instructions": ""}


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found. A call is one call of the function that was given.

    Attributes:
        test: Node id of the test.
        kind: What it was compared with.
        measure: What was compared.
        scope: Components added up, or what the seconds or instructions are of.
        source: Meter; ``clock`` for seconds, ``perf_event`` for instructions.
        grade: Of the joules; ``none`` for all else.
        note: Why no joules were compared; ``None`` if they were.
        per_call: Geometric mean over the candidate's windows, in joules, seconds or instructions;
            ``None`` if the check is invalid.
        low_per_call: Lower end of its 95 % interval.
        high_per_call: Upper end.
        baseline_per_call: Likewise, of the baseline; ``None`` without one.
        ratio: Candidate over baseline.
        low: Lower end of its 95 % interval.
        high: Upper end.
        log_ratio_sd: Standard deviation of the blocks' log ratios; ``None`` if not from blocks.
        blocks: Blocks that entered, of four windows each.
        discarded: Blocks thrown away on a condition.
        calls: Calls in a window of the candidate.
        spent_s: Seconds that the check took.
        first_s: Of those, what went into a first measurement, whose blocks are not among these.
        limit: Ratio above which it fails; ``None`` if nobody set one.
        verdict: What the interval says of the limit.
        more_blocks: Blocks it would take to decide if the ratio stays; ``None`` if it is decided,
            or if no affordable number would do.
        reason: Why there is no verdict, or what else a reader must know.
        against: Name of the baseline; ``None`` in a pair.
        host_class: Hosts of one class may be compared with each other.
        values: Per call of each of the candidate's windows.
        baseline_values: Likewise, of the baseline.
        baseline_calls: Calls in a window of it; 0 without one.
        block_logs: Mean logarithm per call of the candidate's windows, block by block.
    """

    test: str
    kind: Kind
    measure: MeasureName
    scope: str
    source: str
    grade: Grade
    note: str | None
    host_class: str
    limit: float | None
    against: str | None
    blocks: int
    discarded: int
    calls: int
    spent_s: float
    verdict: Verdict
    first_s: float = 0.0
    reason: str | None = None
    per_call: float | None = None
    low_per_call: float | None = None
    high_per_call: float | None = None
    baseline_per_call: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    log_ratio_sd: float | None = None
    more_blocks: int | None = None
    values: tuple[float, ...] = ()
    baseline_values: tuple[float, ...] = ()
    baseline_calls: int = 0
    block_logs: tuple[float, ...] = ()

    @property
    def blocks_s(self) -> float:
        """Seconds in which its blocks were measured, warm-up included."""
        return self.spent_s - self.first_s

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the ratio."""
        return None if self.low is None or self.high is None else (self.low, self.high)
