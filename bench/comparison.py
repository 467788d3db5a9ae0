"""Both arms in one process on one device, measured against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import artefacts
from bench.measurement import Gauge, Span
from bench.measurement.figures import Figure, available
from bench.measurement.protocol import Protocol
from bench.measurement.serving import first_call, load_of
from bench.measurement.session import ArmName, Load, Outcome, Session
from bench.meters import Channel, Meters
from bench.progress import Bar
from bench.runtime import Runtime
from bench.techniques import Technique
from bench.workloads import Batch, Workload

MOST_BATCHES = 8
"""Different batches that a window goes through in turn, as far as the test split reaches."""


@dataclass(frozen=True)
class Bout:
    """What is measured against what.

    Attributes:
        workload: Inputs and forward pass.
        arms: Stages and artefact folder of each arm.
        runtime: The same for both.
        protocol: The rules.
        seed: Of order and pauses.
        meters: Read around every window.
    """

    workload: Workload
    arms: Mapping[ArmName, tuple[Sequence[Technique], Path]]
    runtime: Runtime
    protocol: Protocol
    seed: int
    meters: Meters


@dataclass(frozen=True)
class Measured:
    """What came out.

    Attributes:
        outcome: Windows, discards, conditions.
        spans: Every span in order, lead-ins and pauses lying between them.
        channels: What each meter read.
        unavailable: Meters that could not be opened, with the reason.
        served_on: Device, threads and switches that torch really used.
    """

    outcome: Outcome
    spans: tuple[Span, ...]
    channels: dict[str, tuple[Channel, ...]]
    unavailable: dict[str, str]
    served_on: dict[str, Any]


def compare(bout: Bout) -> Measured:
    """Load both arms, serve them in turn, and return what was read."""
    bout.runtime.set_up()
    with bout.meters as meters:
        gauge = Gauge(meters, bout.runtime.synchronise)
        batches = _batches(bout.workload)
        loads = {arm: _load(bout, arm, batches, gauge) for arm in bout.arms}
        outcome = _measure(bout, gauge, loads)
        return Measured(
            outcome,
            tuple(gauge.spans),
            dict(meters.channels),
            dict(meters.unavailable),
            bout.runtime.describe(),
        )


def _load(bout: Bout, arm: ArmName, batches: Sequence[Batch], gauge: Gauge) -> Load:
    stages, folder = bout.arms[arm]
    model = artefacts.load(bout.workload, stages, bout.seed, folder)
    model = bout.runtime.place(model)
    inputs = [bout.runtime.inputs(batch, model) for batch in batches]
    served = first_call(
        bout.runtime, model, lambda served: bout.workload.serving(served, inputs[0])[0](), gauge
    )
    single = {name: value[:1] for name, value in batches[0].items()}
    return load_of(bout.workload, served, inputs, bout.runtime.inputs(single, model))


def _measure(bout: Bout, gauge: Gauge, loads: Mapping[ArmName, Load]) -> Outcome:
    headline = available(gauge.meters.channels)[0]
    spent = [0.0]

    def tell(kept: int, wanted: int, half_width: float, spans: tuple[Span, ...]) -> None:
        spent[0] += sum(headline.of(span) or 0.0 for span in spans)
        note = f"{spent[0]:.0f} {_unit(headline)} in windows, interval ±{half_width:.1%}"
        bar.tell(kept, max(wanted, kept), f"block {kept}, {note}")

    with Bar(f"{bout.workload.name}: measuring") as bar:
        session = Session(gauge, bout.protocol, loads, bout.seed, headline.of, tell)
        return session.run()


def _unit(figure: Figure) -> str:
    return "J" if figure.measure == "energy_j" else "s"


def _batches(workload: Workload) -> list[Batch]:
    """Return full batches of what is asked; less than one batch of it is gone through again."""
    examples, size = workload.served_examples(), workload.batch_size
    count = max(1, min(MOST_BATCHES, len(examples) // size))
    return [
        examples.__getitems__([i % len(examples) for i in range(k * size, (k + 1) * size)])
        for k in range(count)
    ]
