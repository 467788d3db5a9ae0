"""Optimisers, schedules, resumption, shortage of memory: what the engine promises."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training import Run, run
from tiny import EAGER, RECIPE, Nobody, Tiny, configured, same_tensors, tiny_language
from torch import Tensor, nn

from bench.artefacts import read_card
from bench.meters import Meters
from bench.production import Order, produce
from bench.training import Course, memory, resuming, task_loss, train
from bench.training.following import Listener, TrainingError, Unheard
from bench.training.recipe import OPTIMIZERS, SCHEDULES, Training
from bench.training.schedules import scheduler, warmup_steps
from bench.workloads import Batch, Workload

on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="these compare bits on the CPU")

RATES = {"sgd": 0.05, "lamb": 0.02, "adafactor": 0.02, "rmsprop": 5e-4}
"""Peaks; 2e-3 for the others."""


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        *((optimizer, "linear") for optimizer in OPTIMIZERS if optimizer != "adamw_8bit"),
        *(("adamw", schedule) for schedule in SCHEDULES if schedule != "linear"),
    ],
)
def test_every_optimizer_and_every_schedule_learns_digits_in_an_epoch(
    optimizer: Any, schedule: Any
) -> None:
    workload = configured("resnet_digits")
    rate = RATES.get(optimizer, 2e-3)
    recipe = replace(RECIPE, optimizer=optimizer, schedule=schedule, learning_rate=rate)
    model, watch = workload.build(0), Losses()
    train(model, Course(workload, recipe, task_loss(workload, recipe), 0), watch)
    assert watch.losses[-1] < 0.6 * watch.losses[0]


class Losses(Nobody):
    def __init__(self) -> None:
        self.losses: list[float] = []

    def logged(self, step: int, loss: float, learning_rate: float) -> None:
        self.losses.append(loss)


STEPS, WARMUP = 100, 20

FORMULAS: dict[str, tuple[dict[str, float], Callable[[float], float]]] = {
    # Of the fraction t of the steps after the warm-up.
    "constant": ({}, lambda t: 1.0),
    "linear": ({}, lambda t: 1 - t),
    "cosine": ({}, lambda t: (1 + math.cos(math.pi * t)) / 2),
    "cosine_restarts": ({"cycles": 3}, lambda t: (1 + math.cos(math.pi * (3 * t % 1))) / 2),
    "polynomial": ({"power": 2.0}, lambda t: (1 - t) ** 2),
    "inverse_sqrt": ({"timescale": 40}, lambda t: 1 / math.sqrt(1 + 80 * t / 40)),
    "exponential": ({"final": 0.01}, lambda t: 0.01**t),
    "step": ({"factor": 0.1, "drops": 3}, lambda t: 0.1 ** math.floor(4 * t)),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_follows_its_formula(name: Any) -> None:
    options, formula = FORMULAS[name]
    recipe = replace(RECIPE, schedule=name, schedule_options=options, warmup=WARMUP / STEPS)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = scheduler(recipe, optimizer, STEPS)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    for step in (0, 5, 10, 19, 20, 29, 50, 61, 88, 99):
        t = (step - WARMUP) / (STEPS - WARMUP)
        wanted = 0.5 * (step / WARMUP if step < WARMUP else formula(t))
        assert rates[step] == pytest.approx(wanted, rel=1e-6, abs=1e-9), step


@pytest.mark.parametrize(("warmup", "steps"), [(0.0, 0), (0.06, 60), (0.0001, 1), (50, 50)])
def test_a_warmup_is_a_fraction_or_a_number_of_steps(warmup: float, steps: int) -> None:
    assert warmup_steps(replace(RECIPE, warmup=warmup), 1000) == steps


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schedule_options": {"cycles": 3}}, r"schedule_options\.cycles: schedule linear has no"),
        ({"schedule": "step", "schedule_options": {"factor": 2}}, r"factor is 2: above 0, below 1"),
        ({"patience": 0}, r"training\.patience is 0"),
        ({"patience": 2}, r"training\.patience=2 looks at a part"),
        ({"restore_best": True}, r"training\.restore_best=True looks"),
        ({"guard": "stop"}, r"training\.guard=stop looks"),
        ({"guard": "maybe"}, r"training\.guard is 'maybe'"),
        ({"optimizer": "adamax"}, r"training\.optimizer is 'adamax': one of sgd"),
        ({"trackers": ("paper",)}, r"training\.trackers has 'paper'"),
        ({"memory_limit_gb": 0}, r"training\.memory_limit_gb is 0"),
    ],
)
def test_an_impossible_recipe_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(RECIPE, **changes)


def test_a_regularised_recipe_decays_more_at_a_quarter_of_the_rate() -> None:
    recipe = replace(RECIPE, regularised=True, weight_decay=0.01, learning_rate=0.4)
    assert (recipe.decay, recipe.peak) == (0.1, 0.1)
    assert replace(recipe, weight_decay=0.3).decay == 0.3


# Resumption: killed at any step, the weights end as if nothing had happened.


@dataclass
class Killer(Nobody):
    """Kills its own process at a step, as power loss would."""

    at: int

    def stepped(self, step: int, steps: int, items: int) -> None:
        if step == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def workload_named(name: str) -> Workload:
    """Return one with augmentation, or one with dropout and batches of like length."""
    if name == "images":
        return Tiny(augmented=True)
    return tiny_language(layers=1)


KEPT = replace(RECIPE, epochs=3.0, save_every=3, max_steps=10)


def killed(name: str, place: str, at: str) -> None:
    """Train in this process until it is killed."""
    workload = workload_named(name)
    course = Course(workload, KEPT, task_loss(workload, KEPT), 5, place=Path(place))
    train(workload.build(5), course, Killer(int(at)))


@on_cpu
@pytest.mark.parametrize("name", ["images", "texts"])
@pytest.mark.parametrize("at", [2, 5, 9])
def test_a_killed_training_ends_with_the_same_bits(name: str, at: int, tmp_path: Path) -> None:
    workload = workload_named(name)
    whole = workload.build(5)
    course = Course(workload, KEPT, task_loss(workload, KEPT), 5)
    train(whole, dataclasses.replace(course, place=tmp_path / "whole"), Nobody())
    place = tmp_path / "killed"
    command = [sys.executable, __file__, "killed", name, str(place), str(at)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    checkpoint = resuming.latest(place)
    assert (None if checkpoint is None else resuming.step_of(checkpoint)) == {
        2: None,
        5: 3,
        9: 6,
    }[at]
    again = workload.build(5)
    train(again, dataclasses.replace(course, place=place), Nobody())
    assert same_tensors(again.state_dict(), whole.state_dict())


class Breaker(Nobody):
    """Breaks off at a step; keeps the steps that were looked at, and what was noted."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.looks = at, []  # type: ignore[var-annotated]
        self.noted_kinds: list[str] = []

    def stepped(self, step: int, steps: int, items: int) -> None:
        if step == self.at:
            raise KeyboardInterrupt

    def validated(self, step: int, loss: float, metric: float) -> None:
        self.looks.append(step)

    def noted(self, step: int, kind: str, text: str) -> None:
        self.noted_kinds.append(kind)


def test_patience_does_not_begin_anew_where_a_training_goes_on(tmp_path: Path) -> None:
    """No look improves by 9 nats: patience ends at the fourth look, the first being the best."""
    recipe = replace(
        RECIPE, epochs=30.0, validation=0.36, patience=3, improvement=9.0, guard="off", save_every=2
    )  # two steps an epoch
    workload = Tiny()
    course = Course(workload, recipe, task_loss(workload, recipe), 5, place=tmp_path)
    first, second = Breaker(7), Breaker()
    with pytest.raises(KeyboardInterrupt):
        train(workload.build(5), course, first)
    train(workload.build(5), course, second)
    assert (first.looks, second.looks) == ([2, 4, 6], [8])
    assert second.noted_kinds == ["resumed", "stopped"]


def test_a_guard_remembers_the_losses_from_before_a_resumption(tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=3.0, validation=0.36, save_every=2)
    workload = Tiny()
    course = Course(workload, recipe, task_loss(workload, recipe), 5)
    watch, place = Unheard(), tmp_path / "broken off"
    seen: list[Listener] = []

    def listen(found: Any, place: Path, watch: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            plain = Listener.on_train_end

            def ended(self: Listener, *args: Any, **kwargs: Any) -> None:
                seen.append(self)
                plain(self, *args, **kwargs)

            patch.setattr(Listener, "on_train_end", ended)
            train(workload.build(5), dataclasses.replace(found, place=place), watch)

    listen(course, tmp_path / "whole", watch)
    with pytest.raises(KeyboardInterrupt):
        listen(course, place, Breaker(5))
    listen(course, place, watch)
    whole, again = (listener.overfitting for listener in seen)
    assert (again.first, again.best, again.best_step) == (whole.first, whole.best, whole.best_step)
    assert again._losses == whole._losses


def test_a_checkpoint_that_was_being_written_is_not_gone_on_from(tmp_path: Path) -> None:
    for step in (3, 12):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-3" / "trainer_state.json").write_text("{}")
    found = resuming.latest(tmp_path)
    assert found is not None
    assert found.name == "checkpoint-3"


def order_of(folder: Path) -> Order:
    recipe = replace(KEPT, epochs=3.0)
    return Order(
        Tiny(), (), recipe, EAGER, 0, None, folder / "made", "ab" * 32, Meters((), required=False)
    )


def killed_maker(folder: str) -> None:
    """Make an artefact in this process, and die after the checkpoint at step 6."""
    from bench.spending import Spending

    plain = Spending.stepped

    def stepped(self: Any, step: int, steps: int, items: int) -> None:
        plain(self, step, steps, items)
        if step == 8:
            os.kill(os.getpid(), signal.SIGKILL)

    Spending.stepped = stepped  # type: ignore[method-assign]
    produce(order_of(Path(folder)))


@on_cpu
def test_what_both_parts_of_a_killed_training_cost_is_added(tmp_path: Path) -> None:
    command = [sys.executable, __file__, "killed_maker", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    (first,) = resuming.spent_before(tmp_path / "made.training" / "1")
    produce(order_of(tmp_path))
    card = read_card(tmp_path / "made")
    phase = card.phases["train"]
    assert phase.wall_s > first.phase.wall_s > 0
    assert phase.cpu_s > first.phase.cpu_s > 0
    # Steps 7 and 8 were done twice, if the log had seen both before the kill: 32 examples each,
    # the fourth of an epoch 4.
    again = 10 * 32 - 2 * (32 - 4) - 6 * 32 + (32 - 4)
    assert phase.items == first.phase.items + again
    assert [event.kind for event in card.events] == ["resumed"]
    assert [p.step for p in card.history] == [*range(1, 8), *range(7, 11)]
    assert not (tmp_path / "made.training").exists()


# Memory.


@dataclass(frozen=True)
class Greedy(Tiny):
    """Runs short of memory with more than so many examples at once, from a step on."""

    most: int = 8
    calls: list[int] = dataclasses.field(default_factory=list)

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        self.calls.append(len(batch["labels"]))
        if len(batch["labels"]) > self.most and len(self.calls) > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes")
        return super().forward(model, batch)


@dataclass
class Events(Nobody):
    events: list[tuple[int, str, str]] = dataclasses.field(default_factory=list)
    steps: list[int] = dataclasses.field(default_factory=list)

    def noted(self, step: int, kind: str, text: str) -> None:
        self.events.append((step, kind, text))

    def stepped(self, step: int, steps: int, items: int) -> None:
        self.steps.append(step)


def test_short_of_memory_the_batch_is_halved_and_the_steps_stay() -> None:
    workload, watch = Greedy(), Events()
    recipe = replace(RECIPE, epochs=2.0)
    course = Course(workload, recipe, task_loss(workload, recipe), 0)
    train(workload.build(0), course, watch)
    assert [(kind, step) for step, kind, _ in watch.events] == [("out_of_memory", 2)] * 2
    assert "training.batch_size=8, training.accumulation=4" in watch.events[-1][2]
    assert watch.steps == list(range(1, 9))  # as many as with batches of 32
    assert max(workload.calls[4:]) == 8


def test_a_batch_that_cannot_be_halved_is_an_error_that_says_what_to_change() -> None:
    workload = Greedy(most=0)
    recipe = replace(RECIPE, batch_size=2)
    course = Course(workload, recipe, task_loss(workload, recipe), 0)
    with pytest.raises(TrainingError, match=r"training\.batch_size=1, which cannot be halved"):
        train(workload.build(0), course, Nobody())


def test_other_errors_are_not_taken_for_a_shortage() -> None:
    @dataclass(frozen=True)
    class Broken(Tiny):
        def forward(self, model: nn.Module, batch: Batch) -> Tensor:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    recipe, workload = RECIPE, Broken()
    with pytest.raises(RuntimeError, match="mat1"):
        train(workload.build(0), Course(workload, recipe, task_loss(workload, recipe), 0), Nobody())


@dataclass(frozen=True)
class Wide(Tiny):
    """Takes 4 MiB an example while it trains."""

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        outputs = super().forward(model, batch)
        wide = outputs[:, :1].expand(-1, 2**20).clone()
        return outputs + 0 * wide.mean(dim=1, keepdim=True)


def starved(report: str) -> None:
    """Train with an address space that ends 200 MiB above what is taken: of 256 MiB half fits."""
    import resource

    workload, watch = Wide(count=128, batch_size=64), Events()
    recipe = replace(RECIPE, batch_size=64, max_steps=4, epochs=4.0)
    course = Course(workload, recipe, task_loss(workload, recipe), 0)
    small = replace(recipe, batch_size=4, max_steps=1)
    train(workload.build(0), Course(workload, small, task_loss(workload, small), 0), Nobody())
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 200 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    train(workload.build(0), course, watch)
    Path(report).write_text(f"{watch.steps[-1]} {[kind for _, kind, _ in watch.events]}")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits address space as Linux")
@on_cpu
def test_a_real_shortage_is_survived_with_the_same_steps(tmp_path: Path) -> None:
    report = tmp_path / "report"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, __file__, "starved", str(report)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    assert report.is_file(), done.stderr[-2000:]
    steps, _, events = report.read_text().partition(" ")
    assert steps == "4"
    assert "out_of_memory" in events


def test_looking_at_a_gpus_peak_does_not_forget_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported at the end; what a failed attempt took is forgotten with it."""
    peaks = {"bytes": 3 * 1024**3}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: peaks["bytes"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: peaks.update(bytes=0))
    memory.require_within(4.0)
    assert memory.peak_bytes() == 3 * 1024**3
    with pytest.raises(memory.OverBudgetError, match=r"memory_limit_gb=2, and 3\.00 GiB"):
        memory.require_within(2.0)
    memory.release()
    memory.require_within(2.0)


# Looks.


def test_training_stops_when_looks_no_longer_improve_and_ends_with_the_best() -> None:
    recipe = replace(
        RECIPE,
        epochs=30.0,
        optimizer="adamw",
        learning_rate=0.02,
        schedule="constant",
        validation=0.5,
        patience=3,
        restore_best=True,
        guard="off",
    )
    found = run(recipe)
    best = min(range(len(found.validation)), key=found.validation.__getitem__)
    assert len(found.validation) == best + 4  # three more looks, none better
    assert [kind for _, kind, _ in found.events] == ["stopped"]
    assert loss_on_the_kept(found, recipe) == pytest.approx(min(found.validation), rel=1e-5)


def loss_on_the_kept(found: Run, recipe: Training) -> float:
    drawn = torch.Generator().manual_seed(0)
    kept = torch.randperm(100, generator=drawn).tolist()[: round(recipe.validation * 100)]
    workload = Tiny(augmented=False)
    batch = workload.train_examples().__getitems__(kept)
    model = found.model.eval()
    with torch.no_grad():
        return float(workload.loss(workload.forward(model, batch), batch, 0.0))


def test_looks_come_every_so_many_steps() -> None:
    found = run(replace(RECIPE, epochs=6.0, validation=0.36, evaluate_every=4))
    assert [step for step, _ in found.metrics] == [4, 8, 12]


if __name__ == "__main__":
    {"killed": killed, "killed_maker": killed_maker, "starved": starved}[sys.argv[1]](*sys.argv[2:])
