"""How long, how often, when to stop, what to throw away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_LATENCY = ("latency_requests", "latency_s")

AGREEING = 3
MOST_RATES = 30
"""Calibrations that must agree for an arm to be warm, and after which they need not any more."""


@dataclass(frozen=True)
class Protocol:
    """The rules of one measurement; ``conf/protocol/*.yaml`` gives the values and their reasons.

    Attributes:
        name: As in results.
        window_s: Length of a measured window, in seconds; the work is calibrated to fill it.
        min_ticks: Counter updates that a window must hold; windows are lengthened to reach it.
        lead_in_s: Unmeasured work of the same arm before each window, in seconds.
        jitter_s: Upper end of the random pause before each window, in seconds.
        warmup_s: Shortest warm-up, in seconds.
        warmup_tolerance: Relative spread within which three calibrations must agree.
        idle_s: Seconds of idling measured before and after.
        min_blocks: Blocks that are always measured.
        max_blocks: Blocks after which measuring stops whatever the interval.
        half_width: Relative half-width of the ratio's interval at which measuring stops.
        max_discarded: Share of discarded blocks above which the pair is invalid.
        max_steal: Share of all cores the hypervisor may keep during a window.
        max_foreign: Share of all cores other processes may use during a window.
        max_idle_drift: Relative change of idle power between before and after.
        max_drift: Relative drift of the baseline's figure over the session (fitted parabola).
        max_disagreement: Relative difference between two meters that measure the same component.
        max_gpu_gap_c: Degrees Celsius between the arms at the start of their windows, GPUs;
            ``None`` for any.
        max_cpu_gap_c: Likewise, CPU packages.
        latency_requests: Requests an arm, one example each, timed after the blocks; 0 for none.
        latency_s: Seconds after which no more are made, both arms together.
        max_examples: Test examples that are evaluated; ``None`` for all, as any paper needs.
        rehearsal: Checks that everything composes; its records never enter a table.
    """

    name: str
    window_s: float
    min_ticks: int
    lead_in_s: float
    jitter_s: float
    warmup_s: float
    warmup_tolerance: float
    idle_s: float
    min_blocks: int
    max_blocks: int
    half_width: float
    max_discarded: float
    max_steal: float
    max_foreign: float
    max_idle_drift: float
    max_drift: float
    max_disagreement: float
    max_gpu_gap_c: float | None
    max_cpu_gap_c: float | None
    latency_requests: int
    latency_s: float
    max_examples: int | None
    rehearsal: bool

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        if self.window_s <= 0:
            raise ValueError(f"protocol.window_s is {self.window_s}: a window needs time")
        for key in ("lead_in_s", "jitter_s", "warmup_s", "idle_s", "min_ticks", *_LATENCY):
            if (value := getattr(self, key)) < 0:
                raise ValueError(f"protocol.{key} is {value}: it cannot be negative")
        if self.latency_requests and not self.latency_s:
            raise ValueError(
                "protocol.latency_s is 0: requests take time, and latency_requests=0 makes none"
            )
        for key in ("max_gpu_gap_c", "max_cpu_gap_c"):
            if (gap_c := getattr(self, key)) is not None and gap_c <= 0:
                raise ValueError(f"protocol.{key} is {gap_c}: degrees above 0, or null for any")
        if self.max_examples is not None and (self.max_examples < 1 or not self.rehearsal):
            raise ValueError(
                f"protocol.max_examples is {self.max_examples}: only a rehearsal may leave out "
                f"test examples, and none can do without any; null evaluates all"
            )
        if not 2 <= self.min_blocks <= self.max_blocks:
            raise ValueError(
                f"protocol.min_blocks is {self.min_blocks}, max_blocks {self.max_blocks}: an "
                f"interval needs at least 2 blocks, and the least cannot exceed the most"
            )
        for key in (
            "warmup_tolerance",
            "half_width",
            "max_discarded",
            "max_steal",
            "max_foreign",
            "max_idle_drift",
            "max_drift",
            "max_disagreement",
        ):
            if not 0 < (value := getattr(self, key)) <= 1:
                raise ValueError(f"protocol.{key} must be in (0, 1], got {value}: a fraction")

    def settled(self, rates: Sequence[float]) -> bool:
        """Return whether calibrations agree, or are so many that they never will.

        Args:
            rates: Seconds per pass or call, in order, at least one.
        """
        last = rates[-AGREEING:]
        agree = max(last) <= (1 + self.warmup_tolerance) * min(last)
        return agree or len(rates) >= MOST_RATES
