"""Both arms in one process on one device, measured against each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import artefacts, interruption, machine
from bench.interruption import Interrupted
from bench.live import Live, Teller
from bench.measurement import Gauge, Span
from bench.measurement.figures import Figure, available
from bench.measurement.protocol import Protocol
from bench.measurement.serving import first_call, load_of
from bench.measurement.session import ArmName, Block, Load, Outcome, Session
from bench.meters import Channel, Meters
from bench.progress import Bar
from bench.readings import Phase
from bench.runtime import Runtime
from bench.techniques import Technique
from bench.training import resuming
from bench.training.resuming import Spent
from bench.workloads import Batch, Workload

WHOLE = "session"
"""Name of the span that holds all others."""

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
        note: File in which it is noted after each block what the session has spent, in case that it
            is broken off.
        live: Whom to tell between blocks.
    """

    workload: Workload
    arms: Mapping[ArmName, tuple[Sequence[Technique], Path]]
    runtime: Runtime
    protocol: Protocol
    seed: int
    meters: Meters
    note: Path
    live: Live | None = None


@dataclass(frozen=True)
class Measured:
    """What came out.

    Attributes:
        outcome: Windows, discards, conditions.
        spans: Every span in order, lead-ins and pauses lying between them.
        whole: All that it took, from the first look at the meters to the last.
        channels: What each meter read.
        unavailable: Meters that could not be opened, with the reason.
        served_on: Device, threads and switches that torch really used.
    """

    outcome: Outcome
    spans: tuple[Span, ...]
    whole: Phase
    channels: dict[str, tuple[Channel, ...]]
    unavailable: dict[str, str]
    served_on: dict[str, Any]


def compare(bout: Bout) -> Measured:
    """Load both arms, serve them in turn, and return what was read."""
    bout.runtime.set_up()
    with bout.meters as meters:
        gauge = Gauge(meters, bout.runtime.synchronise)
        batches = _batches(bout.workload)
        with gauge.span(WHOLE) as whole, _noted(gauge, bout.note) as note:
            loads = {arm: _load(bout, arm, batches, gauge) for arm in bout.arms}
            outcome = _measure(bout, gauge, loads, note)
        return Measured(
            outcome,
            tuple(span for span in gauge.spans if span is not whole[0]),
            whole[0].as_phase(),
            dict(meters.channels),
            dict(meters.unavailable),
            bout.runtime.describe(),
        )


@contextmanager
def _noted(gauge: Gauge, file: Path) -> Iterator[Callable[[], None]]:
    """Give a function that notes what the open span has cost; note it, too, if we are to leave."""
    begin_s, begin_cpu_s = time.monotonic(), machine.cpu_seconds()

    def note() -> None:
        wall_s, cpu_s = time.monotonic() - begin_s, machine.cpu_seconds() - begin_cpu_s
        spent = Phase(wall_s, cpu_s, gauge.so_far())
        resuming.note(Spent(spent, (), machine.host_name()), file)

    try:
        yield note
    except Interrupted:
        note()
        raise


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


def _measure(
    bout: Bout, gauge: Gauge, loads: Mapping[ArmName, Load], note: Callable[[], None]
) -> Outcome:
    headline = available(gauge.meters.channels, bout.runtime.torch_device.type)[0]
    spent = [0.0]
    teller = Teller(bout.live, "measure")

    def tell(kept: int, wanted: int, half_width: float, block: Block) -> None:
        spent[0] += sum(headline.of(window.span) or 0.0 for window in block.windows)
        note()
        interruption.check()
        words = f"{spent[0]:.0f} {_unit(headline)} in windows, interval ±{half_width:.1%}"
        bar.tell(kept, max(wanted, kept), f"block {kept}, {words}")
        _tell(teller, headline, block)
        # The next block begins with a lead-in: until it ends no window is open.
        quiet_from_s = None if block.last else time.time() + bout.protocol.lead_in_s
        teller.tell(kept, max(wanted, kept), words, quiet_from_s)

    with Bar(f"{bout.workload.name}: measuring") as bar:
        session = Session(gauge, bout.protocol, loads, bout.seed, headline.of, tell)
        return session.run()


def _tell(teller: Teller, headline: Figure, block: Block) -> None:
    """Tell of a block: what each of its windows took, and why it was thrown away, if it was."""
    if teller.live is None:
        return
    first = block.windows[0]
    teller.point(
        block=first.block,
        order=first.order,
        measure=headline.measure,
        source=headline.source,
        scope=headline.scope,
        grade=headline.grade,
        discard=None if block.discard is None else block.discard.condition,
        detail=None if block.discard is None else block.discard.detail,
        windows=[
            {
                "position": window.position,
                "arm": window.arm,
                "items": window.items,
                "wall_s": window.span.wall_s,
                "figure": headline.of(window.span),
            }
            for window in block.windows
        ],
    )
    if block.discard is not None:
        said = f"block {block.discard.block}: {block.discard.condition}, {block.discard.detail}"
        teller.event("discard", said)


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
