"""Asked to leave, a process keeps what it has, says what it spent, and the next one goes on."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from runs import ROOT, arguments, bench, records
from safetensors.torch import load_file
from tiny import CONF, EAGER, RECIPE, Tiny, same_tensors

from bench import artefacts, interruption, machine, recording
from bench.comparison import Bout, compare
from bench.interruption import REQUEUE, Interrupted
from bench.measurement.protocol import Protocol
from bench.meters import Channel, Counts, Meters
from bench.production import Order, produce
from bench.readings import Phase, Reading
from bench.spending import Spending
from bench.techniques.resolution import Resolution
from bench.techniques.unstructured_pruning import UnstructuredPruning
from bench.training import resuming

TESTS = Path(__file__).parent
WATTS = 100.0
PATIENCE_S = 120.0

on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="bit for bit on a CPU")


class Constant:
    """A meter that counts a hundred joules a second, whatever is done."""

    name = "synthetic"

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}

    def open(self) -> tuple[Channel, ...]:
        return (Channel("cpu:0", "synthetic.constant", "S"),)

    def read(self) -> Counts:
        return Counts({"cpu:0": WATTS * time.monotonic()})

    def close(self) -> None: ...


def meters() -> Meters:
    return Meters((Constant(),), required=True)


def order_of(folder: Path) -> Order:
    """Ten steps over 100 examples in batches of 32: 32, 32, 32, 4 an epoch."""
    recipe = dataclasses.replace(RECIPE, epochs=3.0, max_steps=10)
    return Order(Tiny(), (), recipe, EAGER, 0, None, folder / "made", "ab" * 32, meters())


def leaving(act: Callable[[], object]) -> None:
    """Do something as a child of ours does it, and end as the command does."""
    interruption.watch()
    try:
        with interruption.at_once():
            act()
    except Interrupted:
        sys.exit(REQUEUE)


def asked_maker(folder: str) -> None:
    """Train in this process, and be asked to leave at step 5."""
    plain = Spending.stepped

    def stepped(self: Any, step: int, steps: int, items: int) -> None:
        plain(self, step, steps, items)
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    Spending.stepped = stepped  # type: ignore[method-assign]
    leaving(lambda: produce(order_of(Path(folder))))


@on_cpu
def test_a_training_that_is_asked_to_leave_goes_on_from_that_very_step(tmp_path: Path) -> None:
    """The weights are those of a training that nobody asked; both parts' joules are added."""
    command = [sys.executable, __file__, "asked_maker", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == REQUEUE, done.stderr[-2000:]
    place = tmp_path / "made.training" / "1"
    checkpoint = resuming.latest(place)
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-5"
    (first,) = resuming.spent_before(place)
    assert first.phase.items == 32 + 32 + 32 + 4 + 32
    produce(order_of(tmp_path))
    card = artefacts.read_card(tmp_path / "made")
    phase = card.phases["train"]
    assert phase.items == 2 * 100 + 2 * 32  # no step was lost, none was done twice
    assert [event.kind for event in card.events] == ["resumed"]
    assert phase.wall_s > first.phase.wall_s
    (reading,) = phase.readings
    assert reading.energy_j == pytest.approx(WATTS * phase.wall_s, abs=WATTS * 0.5)
    undisturbed = tmp_path / "undisturbed"
    produce(order_of(undisturbed))
    both = (load_file(folder / "made" / artefacts.WEIGHTS) for folder in (tmp_path, undisturbed))
    assert same_tensors(*both)


@on_cpu
def test_what_was_spent_without_a_checkpoint_is_charged_to_nobody(tmp_path: Path) -> None:
    """A killed training without checkpoints begins anew: nothing of it is in the model."""
    place = tmp_path / "made.training" / "1"
    lost = resuming.Spent(Phase(1000.0, 1000.0, (), 7), ())
    resuming.note(lost, place / "spent-1.json")
    produce(order_of(tmp_path))
    assert artefacts.read_card(tmp_path / "made").phases["train"].items == 2 * 100 + 2 * 32


@on_cpu
def test_a_training_that_began_on_another_machine_has_no_joules(tmp_path: Path) -> None:
    """Counters of two machines have one name; it was killed before its first checkpoint."""
    order = order_of(tmp_path)
    order = dataclasses.replace(order, training=dataclasses.replace(order.training, save_every=100))
    counted = Reading("synthetic", "cpu:0", "synthetic.constant", "S", 1000.0)
    spent = resuming.Spent(Phase(10.0, 10.0, (counted,), 7), (), "another-host")
    resuming.note(spent, tmp_path / "made.training" / "1" / "spent-1.json")
    produce(order)
    card = artefacts.read_card(tmp_path / "made")
    assert card.made_on == ", ".join(sorted(["another-host", machine.host_name()]))
    assert [event.kind for event in card.events] == ["resumed"]
    phase = card.phases["train"]
    assert (phase.wall_s > 10.0, phase.items) == (True, 7 + 2 * 100 + 2 * 32)
    (reading,) = phase.readings
    assert reading.energy_j is None
    assert "joules of two machines are never added" in str(reading.reason)


@on_cpu
def test_the_examples_of_all_stages_are_counted(tmp_path: Path) -> None:
    produce(order_of(tmp_path))
    stages = (
        Resolution("resolution", 4, 2.0, 0.01),
        UnstructuredPruning("unstructured_pruning", 0.5, "global", 1.0, None),
    )
    order = dataclasses.replace(
        order_of(tmp_path), stages=stages, baseline=tmp_path / "made", folder=tmp_path / "pruned"
    )
    order = dataclasses.replace(order, training=RECIPE)
    produce(order)
    assert artefacts.read_card(tmp_path / "pruned").phases["optimise"].items == 2 * 100 + 100


@on_cpu
def test_masks_that_grow_are_trained_to_the_end_whatever_stops_the_baseline(tmp_path: Path) -> None:
    """An early stop, or the best look, would cut what is left at once and recover nothing."""
    produce(order_of(tmp_path))
    stopping = dataclasses.replace(
        RECIPE, validation=0.2, target=1e-6, patience=1, improvement=9.0, restore_best=True
    )
    zeros = UnstructuredPruning("unstructured_pruning", 0.5, "global", 3.0, None)
    order = dataclasses.replace(
        order_of(tmp_path), stages=(zeros,), baseline=tmp_path / "made", folder=tmp_path / "pruned"
    )
    produce(dataclasses.replace(order, training=stopping))
    card = artefacts.read_card(tmp_path / "pruned")
    assert "stopped" not in [event.kind for event in card.events]
    assert card.history[-1].step == 3 * 3  # 80 examples in batches of 32


def bout_of(folder: Path, blocks: int) -> Bout:
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", ["protocol=rehearsal"])
    protocol: Protocol = dataclasses.replace(
        instantiate(config.protocol), min_blocks=blocks, max_blocks=blocks
    )
    arms = {"baseline": ((), folder / "made"), "variant": ((), folder / "made")}
    note = resuming.next_file(folder / "broken-off")
    return Bout(Tiny(), arms, EAGER, protocol, 0, meters(), note)  # type: ignore[arg-type]


def asked_measurer(folder: str) -> None:
    """Measure in this process, and be asked to leave after some blocks."""
    bout = bout_of(Path(folder), blocks=10_000)
    threading.Timer(3.0, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    leaving(lambda: compare(bout))


def test_a_measurement_that_is_asked_to_leave_notes_what_it_spent(tmp_path: Path) -> None:
    order = order_of(tmp_path)
    produce(dataclasses.replace(order, training=dataclasses.replace(RECIPE, epochs=0.0)))
    command = [sys.executable, __file__, "asked_measurer", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == REQUEUE, done.stderr[-2000:]
    (first,) = (spent.phase for spent in resuming.spent_before(tmp_path / "broken-off"))
    (reading,) = first.readings
    assert reading.energy_j == pytest.approx(WATTS * first.wall_s, abs=WATTS * 0.5)
    measured = compare(bout_of(tmp_path, blocks=2))
    assert "session" not in {span.name for span in measured.spans}
    session = recording.session(measured, [first])
    assert session.broken_off == 1
    assert session.spent is not None
    assert session.spent.wall_s == pytest.approx(first.wall_s + measured.whole.wall_s)
    (both,) = session.spent.readings
    assert both.energy_j == pytest.approx(WATTS * session.spent.wall_s, rel=0.2)


GROUP = """
import sys, time
from pathlib import Path
from bench import interruption
from bench.interruption import REQUEUE, Interrupted
from bench.isolation import in_fresh_process

def last(folder):
    Path(folder, "begun").touch()
    try:
        time.sleep(600)
    except Interrupted:
        time.sleep(1.0)  # a checkpoint takes its time, and other signals come meanwhile
        Path(folder, "kept").touch()
        raise

if __name__ == "__main__":
    interruption.watch()
    try:
        with interruption.at_once():
            in_fresh_process(last, sys.argv[1])
    except Interrupted as err:
        sys.exit(REQUEUE if err.by == sys.argv[2] else 1)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
@pytest.mark.parametrize("all_of_them", [True, False], ids=["every process", "the parent"])
def test_a_child_may_finish_its_checkpoint_whoever_was_sent_the_signal(
    tmp_path: Path, number: signal.Signals, all_of_them: bool
) -> None:
    """Slurm signals every process of a step, the one that children are forked from included."""
    script = tmp_path / "group.py"
    script.write_text(GROUP)
    command = [sys.executable, str(script), str(tmp_path), number.name]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, start_new_session=True) as parent:
        until((tmp_path / "begun").exists)
        if all_of_them:
            os.killpg(parent.pid, number)
        else:
            parent.send_signal(number)
        assert parent.wait(PATIENCE_S) == REQUEUE
    assert (tmp_path / "kept").exists()


def until(holds: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, "it has not come to that"
        time.sleep(0.05)


def test_a_signal_that_somebody_else_handles_is_left_to_them() -> None:
    """As submitit handles SIGUSR2, to have its job requeued."""
    seen: list[int] = []
    former = signal.signal(signal.SIGUSR2, lambda number, _: seen.append(number))
    try:
        interruption.watch()
        with interruption.at_once():
            signal.raise_signal(signal.SIGUSR2)
        assert seen == [signal.SIGUSR2]
        assert interruption.asked() is None
    finally:
        signal.signal(signal.SIGUSR2, former)
        for number in interruption.SIGNALS:
            signal.signal(number, signal.SIG_DFL)


def test_it_travels_between_processes_by_the_signals_name() -> None:
    import pickle

    again = pickle.loads(pickle.dumps(Interrupted("SIGTERM")))
    assert (type(again), again.by, str(again)) == (
        Interrupted,
        "SIGTERM",
        str(Interrupted("SIGTERM")),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sign", "words"),
    [
        (".artefacts/*.training/1/spent-1.json", ("training.max_steps=2000",)),
        (".broken-off/*/spent-1.json", ("protocol.min_blocks=60", "protocol.max_blocks=60")),
    ],
    ids=["training", "measuring"],
)
def test_the_command_leaves_with_the_status_for_requeueing_and_the_same_command_completes(
    tmp_path: Path, sign: str, words: tuple[str, ...]
) -> None:
    asked = ("technique=bf16", "protocol=rehearsal", *words)
    with subprocess.Popen(
        arguments(tmp_path, *asked), stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        until(lambda: list((tmp_path / "results").glob(sign)))
        (note,) = (tmp_path / "results").glob(sign)
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == REQUEUE, said
    assert "stopped by SIGTERM" in said
    assert not records(tmp_path)
    assert not list((tmp_path / "results").glob("testhost/*/*/*/failure.json"))
    first_s = json.loads(note.read_text())["phase"]["wall_s"]
    done = bench(tmp_path, *asked)
    assert done.returncode == 0, done.stderr
    record = json.loads(records(tmp_path)[0].read_text())
    if "training" in sign:
        assert [event["kind"] for event in record["baseline"]["events"]] == ["resumed"]
        assert record["baseline"]["phases"]["train"]["wall_s"] > first_s
    else:
        assert record["session"]["broken_off"] == 1
        assert record["session"]["spent"]["wall_s"] > first_s
    assert not list((tmp_path / "results" / ".broken-off").iterdir())


if __name__ == "__main__":
    {"asked_maker": asked_maker, "asked_measurer": asked_measurer}[sys.argv[1]](*sys.argv[2:])
