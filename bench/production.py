"""Making an arm: train a baseline, or turn one into a variant. Runs in a process of its own.

Everything that happens between the two spans' edges is charged: ``train`` to the baseline,
``optimise`` and ``convert`` to the technique. Loading, checking and saving are not.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from bench import artefacts, facts
from bench.artefacts import Card
from bench.measurement import Gauge, Span, total
from bench.measurement.figures import available
from bench.meters import Meters
from bench.progress import Bar
from bench.readings import Logged
from bench.runtime import Runtime
from bench.techniques import Setting, Technique
from bench.training import Course, task_loss, train
from bench.training.recipe import Training
from bench.workloads import Workload


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


@dataclass
class History:
    """What the trainings of one arm did.

    Attributes:
        items: Examples that its last training saw.
        points: What was logged, stage after stage.
    """

    items: int = 0
    points: list[Logged] = field(default_factory=list)


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
        card = Card(
            artefact=artefacts.save(model, order.stages, outputs, folder, order.digest),
            parameters=facts.parameters(model),
            nonzero_parameters=facts.nonzero_parameters(model),
            sparsity=" + ".join(s.sparsity for s in order.stages if s.sparsity != "none") or "none",
            macs=facts.macs(order.workload, order.runtime, model, batch),
            input_shapes=facts.input_shapes(batch),
            phases={name: total(spans) for name, spans in _by_name(gauge.spans).items()},
            history=tuple(history.points),
            data=order.workload.describe_data(),
        )
        artefacts.write_card(
            dataclasses.replace(card, phases=_with_items(card.phases, history)), folder
        )


def _train_baseline(order: Order, gauge: Gauge) -> tuple[nn.Module, History]:
    model, history = order.workload.build(order.seed), History()
    if order.training.epochs == 0:
        return model.eval(), history
    loss = task_loss(order.workload, order.training)
    with gauge.span("train"):
        course = Course(order.workload, order.training, loss, order.seed)
        _train(order, gauge, model, course, history, "train")
    return model, history


def _optimise(order: Order, gauge: Gauge, baseline: Path) -> tuple[nn.Module, History]:
    teacher = artefacts.load(order.workload, (), order.seed, baseline)
    setting = Setting(order.workload, order.runtime.place(teacher), order.seed)
    model, history = copy.deepcopy(teacher).requires_grad_(True), History()
    for stage in order.stages:
        with gauge.span("optimise"):
            model = stage.prepare(model, setting)
            if stage.recipe is not None:
                recipe = dataclasses.replace(order.training, **stage.recipe)
                course = Course(
                    order.workload,
                    recipe,
                    stage.objective(task_loss(order.workload, recipe), setting),
                    order.seed,
                    partial(stage.examples, setting=setting),
                    partial(stage.after_step, model),
                )
                _train(order, gauge, model, course, history, stage.label)
        with gauge.span("convert"):
            model.eval()
            model = stage.convert(model, setting)
    for stage in order.stages:
        model = stage.deploy(model)
    return model, history


def _train(
    order: Order, gauge: Gauge, model: nn.Module, course: Course, history: History, stage: str
) -> None:
    title = "training the baseline" if stage == "train" else f"training ({stage})"
    with Bar(f"{order.workload.name}, seed {order.seed}: {title}") as bar:
        history.items = train(model, course, _Watch(gauge, bar, stage, history.points))


@dataclass
class _Watch:
    """Reads the meters whenever the training logs its loss: some twenty times."""

    gauge: Gauge
    bar: Bar
    stage: str
    points: list[Logged]
    note: str = ""
    begin: float = field(default_factory=time.monotonic)

    def stepped(self, step: int, steps: int) -> None:
        self.bar.tell(step, steps, f"step {step}{self.note}")

    def logged(self, step: int, loss: float, learning_rate: float) -> None:
        self._keep(step, loss, learning_rate, None)
        self.note = f", loss {loss:.3f}{self._joules()}"

    def validated(self, step: int, metric: float) -> None:
        self._keep(step, None, None, metric)
        self.note = f", validation {metric:.4f}{self._joules()}"

    def _keep(
        self, step: int, loss: float | None, rate: float | None, metric: float | None
    ) -> None:
        readings = self.gauge.so_far()
        spent_s = time.monotonic() - self.begin
        self.points.append(Logged(self.stage, step, loss, rate, metric, spent_s, readings))

    def _joules(self) -> str:
        """Return the joules of the open span for the progress line, the best grade there is."""
        figures = [f for f in available(self.gauge.meters.channels) if f.measure == "energy_j"]
        if not figures or (energy_j := figures[0].joules(self.points[-1].readings)) is None:
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
    if name not in phases:
        return phases
    return {**phases, name: dataclasses.replace(phases[name], items=history.items)}
