"""Making an arm: train a baseline, or turn one into a variant. Runs in a process of its own.

Everything that happens between the two spans' edges is charged: ``train`` to the baseline,
``optimise`` and ``convert`` to the technique. Loading, checking and saving are not.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from bench import artefacts, facts, machine
from bench.artefacts import Card
from bench.measurement import Gauge, Span, total
from bench.measurement.figures import available
from bench.meters import Meters
from bench.progress import Bar
from bench.readings import Event, Logged, Phase
from bench.runtime import Runtime
from bench.techniques import Setting, Technique
from bench.training import Course, memory, resuming, task_loss, train
from bench.training.recipe import Training
from bench.training.resuming import Spent
from bench.workloads import Workload

log = logging.getLogger(__name__)


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
        events: What happened beside it: resumed, short of memory, overfitting, stopped early.
        peak_memory_bytes: Of the process after its last training; ``None`` without one.
        trainings: How many there were.
        trained_parameters: Of the last one; ``None`` without one.
        adapter_bytes: Of what the last one trained, if other weights stayed as they were.
    """

    items: int = 0
    points: list[Logged] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    peak_memory_bytes: int | None = None
    trainings: int = 0
    trained_parameters: int | None = None
    adapter_bytes: int | None = None


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
            events=tuple(history.events),
            training_peak_memory_bytes=history.peak_memory_bytes,
            data=order.workload.describe_data(),
            trained_parameters=history.trained_parameters,
            adapter_bytes=history.adapter_bytes,
        )
        artefacts.write_card(
            dataclasses.replace(card, phases=_with_items(card.phases, history)), folder
        )
    shutil.rmtree(_checkpoints(order), ignore_errors=True)


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
    model, teacher, history = nn.Module(), nn.Module(), History()
    if not order.stages[0].begins_anew:
        model = artefacts.load(order.workload, (), order.seed, baseline).requires_grad_(True)
        model = order.runtime.place(model)
        teacher = copy.deepcopy(model).requires_grad_(False)
    setting = Setting(order.workload, teacher, order.seed, order.runtime.torch_device)
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


def _checkpoints(order: Order) -> Path:
    return order.folder.with_name(f"{order.folder.name}.training")


def _train(
    order: Order, gauge: Gauge, model: nn.Module, course: Course, history: History, stage: str
) -> None:
    """Train, or go on with what a process that was killed has left, at what both have cost."""
    history.trainings += 1
    place = _checkpoints(order) / str(history.trainings)
    runs = order.folder.parent.with_name(".runs")  # beside each other, so that curves overlay
    course = dataclasses.replace(course, run=runs / _title(order, stage))
    if course.training.save_every is not None:
        course = dataclasses.replace(course, place=place)
    name = "train" if stage == "train" else "optimise"
    before = resuming.spent_before(place)
    for spent in before:
        gauge.spans.append(_as_span(name, spent.phase))
        history.points += spent.points
    title = "training the baseline" if stage == "train" else f"training ({stage})"
    with Bar(f"{order.workload.name}, seed {order.seed}: {title}") as bar:
        follower = _Watch(gauge, bar, stage, resuming.next_file(place), course.place is not None)
        seen = train(model, course, follower)
    history.items = seen + sum(spent.phase.items for spent in before)
    history.points += follower.points
    history.events += follower.events
    history.peak_memory_bytes = memory.peak_bytes()
    history.trained_parameters = facts.trained_parameters(model)
    history.adapter_bytes = facts.adapter_bytes(model)


def _title(order: Order, stage: str) -> str:
    """Return the name of a run for trackers: workload, what is trained, seed, digest."""
    words = (order.workload.name, stage, f"seed{order.seed}", order.digest[:8])
    return re.sub(r"[^\w.-]+", "_", "-".join(words))


def _as_span(name: str, phase: Phase) -> Span:
    return Span(name, 0, round(phase.wall_s * 1e9), phase.cpu_s, phase.readings, None, None)


@dataclass
class _Watch:
    """Reads the meters whenever the training logs its loss: some twenty times."""

    gauge: Gauge
    bar: Bar
    stage: str
    file: Path
    keeps: bool
    points: list[Logged] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    items: int = 0
    note: str = ""
    begin: float = field(default_factory=time.monotonic)
    begin_cpu_s: float = field(default_factory=machine.cpu_seconds)

    def stepped(self, step: int, steps: int, items: int) -> None:
        self.items = items
        self.bar.tell(step, steps, f"step {step}{self.note}")

    def logged(self, step: int, loss: float, learning_rate: float) -> None:
        self._keep(step, loss=loss, learning_rate=learning_rate)
        self.note = f", loss {loss:.3f}{self._joules()}"

    def validated(self, step: int, loss: float, metric: float) -> None:
        self._keep(step, validation_loss=loss, metric=metric)
        self.note = f", validation loss {loss:.3f}, metric {metric:.4f}{self._joules()}"

    def noted(self, step: int, kind: str, text: str) -> None:
        self.events.append(Event(self.stage, step, kind, text))
        log.warning("%s, step %d: %s", self.stage, step, text)

    def saved(self, step: int) -> None:
        self._note_spent()

    def _keep(self, step: int, **values: float) -> None:
        readings = self.gauge.so_far()
        spent_s = time.monotonic() - self.begin
        empty = dict.fromkeys(("loss", "learning_rate", "validation_loss", "metric"))
        found = {**empty, **values}
        self.points.append(Logged(self.stage, step, wall_s=spent_s, readings=readings, **found))
        self._note_spent()

    def _note_spent(self) -> None:
        """Write what this process has spent: a kill may come at any time."""
        if not self.keeps:
            return
        spent = Phase(
            time.monotonic() - self.begin,
            machine.cpu_seconds() - self.begin_cpu_s,
            self.gauge.so_far(),
            self.items,
        )
        resuming.note(Spent(spent, tuple(self.points)), self.file)

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
