"""What the acts on a pair have found, as parts of its record."""

from __future__ import annotations

import dataclasses

from bench.artefacts import Card
from bench.comparison import Measured
from bench.evaluation import Evaluation
from bench.measurement import total
from bench.measurement.session import ArmName, Outcome
from bench.records import Arm, Session


def arm(name: ArmName, card: Card, evaluated: Evaluation, outcome: Outcome) -> Arm:
    """Return an arm: its making from the card, its evaluation, its share of the windows.

    Training is charged to the baseline alone, also where the variant is the baseline itself.
    """
    windows = [w for w in outcome.windows if w.kept and w.arm == name]
    infer = dataclasses.replace(
        total([w.span for w in windows]), items=sum(w.items for w in windows)
    )
    made = {k: phase for k, phase in card.phases.items() if name == "baseline" or k != "train"}
    own = name == "baseline" or "train" not in card.phases
    return Arm(
        artefact=card.artefact,
        parameters=card.parameters,
        nonzero_parameters=card.nonzero_parameters,
        sparsity=card.sparsity,
        macs=card.macs,
        input_shapes=card.input_shapes,
        peak_memory_bytes=evaluated.peak_memory_bytes,
        latency=outcome.latency.get(name),
        phases=made | evaluated.phases | {"infer": infer},
        metrics=evaluated.metrics,
        events=card.events if own else (),
        training_peak_memory_bytes=card.training_peak_memory_bytes if own else None,
        trained_parameters=card.trained_parameters if own else None,
        adapter_bytes=card.adapter_bytes if own else None,
    )


def session(measured: Measured) -> Session:
    """Return the conditions of the measurement."""
    outcome = measured.outcome
    return Session(
        started=outcome.started,
        phases={
            "idle_before": outcome.idle_before.as_phase(),
            "warmup": outcome.warmup.as_phase(),
            "idle_after": outcome.idle_after.as_phase(),
        },
        discards=outcome.discards,
        valid=outcome.invalid is None,
        reason=outcome.invalid,
        idle_drift=outcome.idle_drift,
        baseline_drift=outcome.baseline_drift,
        meters={
            name: [
                dataclasses.asdict(dataclasses.replace(c, detail=dict(c.detail))) for c in channels
            ]
            for name, channels in measured.channels.items()
        },
        unavailable=measured.unavailable,
        overhead=outcome.overhead,
    )
