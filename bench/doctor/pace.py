"""How long the doctor looks."""

from __future__ import annotations

from dataclasses import dataclass

from bench.measurement.protocol import Protocol


@dataclass(frozen=True, slots=True)
class Pace:
    """Durations in seconds; together with the A/A pair about 70 s.

    Attributes:
        watch_s: Reading a counter in a tight loop, to see it move.
        slice_s: One slice of idling; long enough for two updates of the slowest counter.
        slices: How many: their spread is the noise.
        load_s: N iterations of the fixed load; 2N, 2N and N again follow.
    """

    watch_s: float = 2.0
    slice_s: float = 0.5
    slices: int = 20
    load_s: float = 4.0


AA = Protocol(
    name="doctor",
    window_s=1.0,
    min_ticks=0,
    lead_in_s=0.2,
    jitter_s=0.1,
    warmup_s=2.0,
    warmup_tolerance=0.1,
    idle_s=1.0,
    min_blocks=4,
    max_blocks=8,
    half_width=0.05,
    max_discarded=1.0,
    max_steal=1.0,
    max_foreign=1.0,
    max_idle_drift=1.0,
    max_drift=1.0,
    max_disagreement=1.0,
    max_gpu_gap_c=None,
    max_cpu_gap_c=None,
    latency_requests=0,
    latency_s=0.0,
    max_examples=None,
    rehearsal=True,
)
"""Of the A/A pair: it asks about the noise of the meters, so the host's conditions stay out."""
