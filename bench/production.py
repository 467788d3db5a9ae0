"""Making an arm: train a baseline, or turn one into a variant. Runs in a process of its own.

Everything that happens between the two spans' edges is charged: ``train`` to the baseline,
``optimise`` and ``convert`` to the technique. Loading, checking and saving are not.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from bench import artefacts, facts
from bench.artefacts import Card
from bench.measurement import Gauge, Span, total
from bench.measurement.figures import available
from bench.meters import Meters
from bench.progress import Bar
from bench.records import Artefact
from bench.runtime import Runtime
from bench.techniques import Loss, Setting, Technique
from bench.training import History, Training, task_loss, train
from bench.workloads import Workload

PROGRESS_READS = 20
"""Times that the meters are read during a training for its progress line."""


@dataclass(frozen=True)
class Order:
    """What to make and out of what.

    Attributes:
        workload: Model and data.
        stages: What is done to the baseline; empty for the baseline itself.
        training: The baseline's recipe, which stages may change for their own training.
        runtime: Device and threads.
        seed: Of initialisation, data order, augmentation.
        baseline: Folder of the trained baseline; ``None`` when it is the one to make.
        folder: Where the artefact will stand.
        digest: Its name.
        meters: Read around each phase.
    """

    workload: Workload
    stages: Sequence[Technique]
    training: Training
    runtime: Runtime
    seed: int
    baseline: Path | None
    folder: Path
    digest: str
    meters: Meters


def produce(order: Order) -> None:
    """Make the artefact and write it, whole or not at all."""
    order.runtime.set_up()
    with order.meters as meters, artefacts.made_whole(order.folder) as folder:
        gauge = Gauge(meters, order.runtime.synchronise)
        if order.baseline is None:
            model, history = _train_baseline(order, gauge)
        else:
            model, history = _optimise(order, gauge, order.baseline)
        batch = facts.probe_batch(order.workload)
        outputs = facts.probe(order.workload, order.runtime, model, batch)
        size = artefacts.save(model, outputs, folder)
        card = Card(
            artefact=Artefact(order.digest, size),
            parameters=sum(p.numel() for p in model.parameters()),
            macs=facts.macs(order.workload, order.runtime, model, batch),
            phases={name: total(spans) for name, spans in _by_name(gauge.spans).items()},
            losses=tuple((float(step), loss) for step, loss in history.losses),
            data=order.workload.describe_data(),
        )
        artefacts.write_card(
            dataclasses.replace(card, phases=_with_items(card.phases, history)), folder
        )


def _train_baseline(order: Order, gauge: Gauge) -> tuple[nn.Module, History]:
    model = order.workload.build(order.seed)
    objective = task_loss(order.workload, order.training)
    with gauge.span("train"):
        history = _train(order, gauge, model, order.training, objective, "training the baseline")
    return model, history


def _optimise(order: Order, gauge: Gauge, baseline: Path) -> tuple[nn.Module, History]:
    teacher = artefacts.load(order.workload, (), order.seed, baseline)
    setting = Setting(order.workload, order.runtime.place(teacher), order.seed)
    model, history = copy.deepcopy(teacher), History()
    for stage in order.stages:
        with gauge.span("optimise"):
            model = stage.prepare(model, setting)
            if stage.recipe is not None:
                recipe = dataclasses.replace(order.training, **stage.recipe)
                objective = stage.objective(task_loss(order.workload, recipe), setting)
                title = f"fine-tuning ({stage.label})"
                history = _train(order, gauge, model, recipe, objective, title)
        with gauge.span("convert"):
            model = stage.convert(model.eval(), setting)
    return model, history


def _train(
    order: Order, gauge: Gauge, model: nn.Module, recipe: Training, objective: Loss, title: str
) -> History:
    spent = [""]

    def told(step: int, steps: int, loss: float | None) -> None:
        if step % max(1, steps // PROGRESS_READS) == 0:
            spent[0] = _joules(gauge)
        bar.tell(step, steps, f"step {step}" + (f", loss {loss:.3f}" if loss else "") + spent[0])

    with Bar(f"{order.workload.name}, seed {order.seed}: {title}") as bar:
        return train(model, order.workload, recipe, objective, order.seed, told)


def _joules(gauge: Gauge) -> str:
    """Return the joules of the open span for a progress line, the best grade there is."""
    readings = gauge.so_far()
    figures = [f for f in available(gauge.meters.channels) if f.measure == "energy_j"]
    if not figures or (energy_j := figures[0].joules(readings)) is None:
        return ""
    return f", {energy_j:.0f} J ({'modelled' if figures[0].grade == 'C' else 'counted'})"


def _by_name(spans: Sequence[Span]) -> dict[str, list[Span]]:
    named: dict[str, list[Span]] = {}
    for span in spans:
        named.setdefault(span.name, []).append(span)
    return named


def _with_items(phases: dict[str, Any], history: History) -> dict[str, Any]:
    """Note on the training phase how many examples it saw."""
    name = "train" if "train" in phases else "optimise"
    return {**phases, name: dataclasses.replace(phases[name], items=history.items)}
