"""Making an arm: train a baseline, or turn one into a variant. Runs in a process of its own.

Everything that happens between the two spans' edges is charged: ``train`` to the baseline,
``optimise`` and ``convert`` to the technique. Loading, checking and saving are not.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from bench import artefacts, facts, machine, ranks
from bench.artefacts import Card
from bench.live import Live, Teller
from bench.locks import host_share
from bench.measurement import Gauge, Span
from bench.meters import Meters
from bench.progress import Bar
from bench.readings import Event, Logged, Phase, total
from bench.runtime import Runtime
from bench.spending import NOT_ALONE, Spending
from bench.techniques import Setting, Technique
from bench.training import Course, memory, resuming, task_loss, train
from bench.training.following import Unheard
from bench.training.recipe import Training
from bench.whole import made_whole
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
        live: Whom to tell how far it is.
        beside_others: Whether others may prepare on this host meanwhile; else the caller keeps the
            host to itself.
        follows: Whether this process only takes part in what another one makes.
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
    live: Live | None = None
    beside_others: bool = False
    follows: bool = False


@dataclass
class History:
    """What the trainings of one arm did.

    Attributes:
        alone: Tells whether all joules that are counted are this arm's.
        items: Examples that they saw.
        points: What was logged, stage after stage.
        events: What happened beside it: resumed, short of memory, overfitting, stopped early.
        peak_memory_bytes: Of the process after its last training; ``None`` without one.
        trainings: How many there were.
        trained_parameters: Of the last one; ``None`` without one.
        adapter_bytes: Of what the last one trained, if other weights stayed as they were.
        hosts: Names of the machines that had a part in them.
    """

    alone: Callable[[], bool]
    items: float = 0
    points: list[Logged] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    peak_memory_bytes: int | None = None
    trainings: int = 0
    trained_parameters: int | None = None
    adapter_bytes: int | None = None
    hosts: set[str] = field(default_factory=lambda: {machine.host_name()})

    @property
    def why_uncounted(self) -> str | None:
        """Why no joules are this arm's alone, on one machine; ``None`` if they are."""
        if len(self.hosts) > 1:
            named = " and ".join(sorted(self.hosts))
            return f"trained on {named}: joules of two machines are never added"
        return None if self.alone() else NOT_ALONE


def produce(order: Order) -> None:
    """Make the artefact and write it, whole or not at all."""
    order.runtime.set_up()
    with (
        _company(order) as alone,
        order.meters as meters,
        made_whole(order.folder) as folder,
    ):
        gauge = Gauge(meters, order.runtime.synchronise)
        history = History(alone)
        with ranks.beside(*_ranks(order)):
            model = _made(order, gauge, history)
        batch = facts.probe_batch(order.workload)
        outputs = facts.probe(order.workload, order.runtime, model, batch)
        card = Card(
            artefact=artefacts.save(model, order.stages, outputs, folder, order.digest),
            parameters=facts.parameters(model),
            nonzero_parameters=facts.nonzero_parameters(model),
            sparsity=" + ".join(s.sparsity for s in order.stages if s.sparsity != "none") or "none",
            macs=facts.macs(order.workload, order.runtime, model, batch),
            input_shapes=facts.input_shapes(batch),
            phases={name: total(phases) for name, phases in _by_name(gauge.spans).items()},
            history=tuple(history.points),
            events=tuple(history.events),
            training_peak_memory_bytes=history.peak_memory_bytes,
            data=order.workload.describe_data(),
            trained_parameters=history.trained_parameters,
            adapter_bytes=history.adapter_bytes,
            made_on=", ".join(sorted(history.hosts)),
        )
        card = dataclasses.replace(card, phases=_with_items(card.phases, history))
        if reason := history.why_uncounted:
            card = artefacts.without_joules(card, reason)
        artefacts.write_card(card, folder)
    shutil.rmtree(_checkpoints(order), ignore_errors=True)


@contextmanager
def _company(order: Order) -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether all joules that were counted are this order's."""
    if order.beside_others:
        with host_share(f"preparing {order.workload.name}") as alone:
            yield alone
    else:
        yield _nobody_else


def _nobody_else() -> bool:
    return True


def _ranks(order: Order) -> tuple[int, Callable[[Order], None], Order]:
    """Return how many processes train, and what the others do: nothing after the last training."""
    stages = list(order.stages)
    while stages and stages[-1].recipe is None:
        stages.pop()
    trains = bool(stages) if order.stages else order.training.epochs > 0
    others = dataclasses.replace(order, stages=stages, follows=True)
    return order.training.processes if trains else 1, take_part, others


def take_part(order: Order) -> None:
    """Do to the model what the process does that makes the artefact, and keep nothing."""
    order.runtime.set_up()
    with Meters((), required=False) as meters:
        _made(order, Gauge(meters, order.runtime.synchronise), History(_nobody_else))


def _made(order: Order, gauge: Gauge, history: History) -> nn.Module:
    if order.baseline is None:
        return _train_baseline(order, gauge, history)
    return _optimise(order, gauge, order.baseline, history)


def _train_baseline(order: Order, gauge: Gauge, history: History) -> nn.Module:
    model = order.workload.build(order.seed)
    if order.training.epochs == 0:
        return model.eval()
    loss = task_loss(order.workload, order.training)
    with gauge.span("train"):
        course = Course(order.workload, order.training, loss, order.seed)
        _train(order, gauge, model, course, history, "train")
    return model


def _optimise(order: Order, gauge: Gauge, baseline: Path, history: History) -> nn.Module:
    model, teacher = nn.Module(), nn.Module()
    if not order.stages[0].begins_anew:
        model = artefacts.load(order.workload, (), order.seed, baseline).requires_grad_(True)
        model = order.runtime.place(model)
        teacher = copy.deepcopy(model).requires_grad_(False)
    setting = Setting(order.workload, teacher, order.seed, order.runtime.torch_device)
    for stage in order.stages:
        with gauge.span("optimise"):
            model = stage.prepare(model, setting)
            recipe = dataclasses.replace(order.training, **(stage.recipe or {}))
            if stage.recipe is not None and recipe.epochs:
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
    return model


def _checkpoints(order: Order) -> Path:
    return order.folder.with_name(f"{order.folder.name}.training")


def _train(
    order: Order, gauge: Gauge, model: nn.Module, course: Course, history: History, stage: str
) -> None:
    """Train, or go on with what a process that was killed has left, at what both have cost."""
    history.trainings += 1
    place = _checkpoints(order) / str(history.trainings)
    runs = order.folder.parent.with_name(".runs")  # beside each other, so that curves overlay
    course = dataclasses.replace(
        course, place=place, run=runs / _title(order, stage), device=order.runtime.torch_device
    )
    if order.follows:
        recipe = dataclasses.replace(course.training, trackers=())
        train(model, dataclasses.replace(course, training=recipe), Unheard())
        return
    name = "train" if stage == "train" else "optimise"
    if resuming.latest(place) is None and course.training.save_every is None:
        shutil.rmtree(place, ignore_errors=True)  # nothing of it is in this model
    teller = Teller(order.live, "baseline" if order.baseline is None else "variant")
    before = resuming.spent_before(place)
    for spent in before:
        history.hosts.add(spent.host or machine.host_name())
        gauge.spans.append(_as_span(name, spent.phase))
        history.points += spent.points
        for point in spent.points:
            teller.point(**dataclasses.asdict(point))
    title = "training the baseline" if stage == "train" else f"training ({stage})"
    with Bar(f"{order.workload.name}, seed {order.seed}: {title}") as bar:
        file = resuming.next_file(place)
        follower = Spending(gauge, bar, stage, file, history.alone, teller)
        if before and resuming.latest(place) is None:
            follower.noted(0, "resumed", "from the beginning: there was no checkpoint yet")
        seen = train(model, course, follower)
    history.items += seen + sum(spent.phase.items for spent in before)
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


def _by_name(spans: Sequence[Span]) -> dict[str, list[Phase]]:
    named: dict[str, list[Phase]] = {}
    for span in spans:
        named.setdefault(span.name, []).append(span.as_phase())
    return named


def _with_items(phases: dict[str, Any], history: History) -> dict[str, Any]:
    """Note on the training phase how many examples it saw."""
    name = "train" if "train" in phases else "optimise"
    if name not in phases:
        return phases
    return {**phases, name: dataclasses.replace(phases[name], items=history.items)}
