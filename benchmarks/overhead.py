"""What the harness costs: training and windows against the same loops written by hand.

    python -m benchmarks.overhead                     digits, about five minutes on two cores
    python -m benchmarks.overhead workload=resnet18_cifar10 data.root=DIR training.max_steps=20

Ours and the bare loop alternate in blocks (ABBA, BAAB), and the ratio has the same interval as any
pair. Below 1 the harness is faster, above it is slower.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader

from bench.__main__ import conf_folder
from bench.measurement import Gauge
from bench.measurement.serving import load_of
from bench.meters import Meters
from bench.progress import Bar
from bench.runtime import Runtime
from bench.statistics.ratios import PairedRatio, paired_ratio
from bench.training import Course, task_loss, train
from bench.training.recipe import Training
from bench.workloads import Batch, Workload

TRAINING_BLOCKS = 5
WINDOW_BLOCKS = 20
WINDOW_S = 2.0
TRAINING_EPOCHS = 6

Arm = Callable[[], tuple[float, float]]
"""Does its work once and returns wall seconds and CPU-seconds."""


def bare_training(workload: Workload, training: Training, seed: int) -> tuple[float, float]:
    """Train as one would by hand: loader, autocast, loss, backward, step, schedule."""
    stopwatch = Stopwatch()
    model = workload.build(seed)
    examples = workload.train_examples()
    loader = DataLoader(
        examples,  # type: ignore[arg-type]
        batch_size=training.batch_size,
        shuffle=True,
        collate_fn=lambda batch: batch,
        num_workers=training.workers,
    )
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.SGD(
        [
            {"params": matrices, "weight_decay": training.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=training.learning_rate,
        momentum=training.momentum,
        nesterov=True,
    )
    steps = training.max_steps or round(training.epochs * len(loader))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=steps)
    model.train()
    done = 0
    while done < steps:
        for batch in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=training.precision == "bf16"):
                outputs = workload.forward(model, batch)
                loss = workload.loss(outputs, batch, training.label_smoothing)
            loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            done += 1
            stopwatch.step()
            if done == steps:
                break
    return stopwatch.seconds


def our_training(workload: Workload, training: Training, seed: int) -> tuple[float, float]:
    """Train as a pair does."""
    model, stopwatch = workload.build(seed), Stopwatch()
    with Bar("training") as bar:
        course = Course(workload, training, task_loss(workload, training), seed)
        train(model, course, Follower(bar, stopwatch))
    return stopwatch.seconds


class Stopwatch:
    """Wall and CPU-seconds from the end of the first step to the end of the last.

    The first step and what comes before it cost a constant (about 0.3 s more than by hand: the
    engine is built, garbage is collected), which says nothing about throughput.
    """

    def __init__(self) -> None:
        self._ends: list[tuple[float, float]] = []

    def step(self) -> None:
        """Note that a step has ended."""
        self._ends.append((time.perf_counter(), time.process_time()))

    @property
    def seconds(self) -> tuple[float, float]:
        """Wall and CPU-seconds of all steps but the first."""
        (wall_0, cpu_0), (wall_1, cpu_1) = self._ends[0], self._ends[-1]
        return wall_1 - wall_0, cpu_1 - cpu_0


@dataclass
class Follower:
    """Tells a bar and a stopwatch."""

    bar: Bar
    stopwatch: Stopwatch

    def stepped(self, step: int, steps: int, items: int) -> None:
        """Tell both."""
        self.stopwatch.step()
        self.bar.tell(step, steps, "")

    def logged(self, step: int, loss: float, learning_rate: float) -> None:
        """Tell nobody."""

    def validated(self, step: int, loss: float, metric: float) -> None:
        """Tell nobody."""

    def noted(self, step: int, kind: str, text: str) -> None:
        """Tell nobody."""

    def saved(self, step: int) -> None:
        """Tell nobody."""


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU-seconds of a call."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    function()
    return time.perf_counter() - wall_s, time.process_time() - cpu_s


def alternate(name: str, bare: Arm, ours: Arm, blocks: int) -> tuple[PairedRatio, PairedRatio]:
    """Return ours over bare in wall and CPU-seconds."""
    bare(), ours()  # warm
    seconds: dict[Arm, list[tuple[float, float]]] = {bare: [], ours: []}
    for block in range(blocks):
        order = (bare, ours, ours, bare) if block % 2 == 0 else (ours, bare, bare, ours)
        for arm in order:
            seconds[arm].append(arm())
        print(f"{name}: block {block + 1} of {blocks}", file=sys.stderr, flush=True)
    arrays = {arm: np.asarray(values).reshape(blocks, 2, 2) for arm, values in seconds.items()}
    wall, cpu = (paired_ratio(arrays[bare][..., i], arrays[ours][..., i]) for i in (0, 1))
    return wall, cpu


def windows(
    workload: Workload, runtime: Runtime, meters: Meters, blocks: int
) -> tuple[PairedRatio, PairedRatio]:
    """Compare a measured window, meters running, with the same passes in a plain loop."""
    model = runtime.place(workload.build(0))
    examples = workload.test_examples()
    size = workload.batch_size
    batch = runtime.inputs(examples.__getitems__([i % len(examples) for i in range(size)]), model)
    load = load_of(workload, model, [batch], batch)
    load.run(3)
    passes = max(1, round(3 * WINDOW_S / timed(lambda: load.run(3))[0]))
    lead_in = max(1, passes // 4)

    def ours() -> tuple[float, float]:
        with meters as opened:
            gauge = Gauge(opened, runtime.synchronise)
            load.run(lead_in)
            with gauge.span("window") as span:
                load.run(passes)
        return span[0].wall_s, span[0].cpu_s

    def bare() -> tuple[float, float]:
        time.sleep(1.0)  # about what opening the meters takes above
        load.run(lead_in)
        return timed(lambda: plain_loop(model, batch, passes))

    return alternate("windows", bare, ours, blocks)


def plain_loop(model: nn.Module, batch: Batch, passes: int) -> None:
    """Do what a window does, as one would write it in a notebook."""
    pixels = batch["pixel_values"]
    with torch.inference_mode():
        for _ in range(passes):
            model(pixels)


def main(overrides: list[str]) -> None:
    """Measure both and print the ratios."""
    with initialize_config_dir(str(conf_folder()), version_base=None):
        config = compose("config", [f"training.epochs={TRAINING_EPOCHS}", *overrides])
    workload, training, runtime = (
        instantiate(config[key], _convert_="all") for key in ("workload", "training", "runtime")
    )
    parts = instantiate(config.meter, _convert_="all")
    required = parts.pop("required")
    runtime.set_up()
    rows = {
        "training, against a bare PyTorch loop": alternate(
            "training",
            lambda: bare_training(workload, training, 0),
            lambda: our_training(workload, training, 0),
            TRAINING_BLOCKS,
        ),
        "inference window, against a plain loop": windows(
            workload, runtime, Meters(tuple(parts.values()), required), WINDOW_BLOCKS
        ),
    }
    table = Table(title=f"{workload.name}: ours over bare, 95 % interval")
    for heading in ("what", "wall seconds", "CPU-seconds", "throughput"):
        table.add_column(heading)
    for what, (wall, cpu) in rows.items():
        texts = [f"{r.ratio:.4f} [{r.low:.4f}, {r.high:.4f}]" for r in (wall, cpu)]
        table.add_row(what, *texts, f"{1 / wall.ratio:.4f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
