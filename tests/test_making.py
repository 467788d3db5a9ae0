"""A model is made once, is what its maker saved, and nothing is trained that was to be prepared."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import EAGER, RECIPE, Tiny

from bench import artefacts, locks, machine, making, readings, recording
from bench.isolation import NO_LIMIT
from bench.making import UnpreparedError
from bench.meters import Meters
from bench.production import Order
from bench.spending import NOT_ALONE

ROOT = Path(__file__).parents[1]


def order_of(folder: Path) -> Order:
    recipe = dataclasses.replace(RECIPE, max_steps=2)
    place = folder / ".artefacts" / "0123456789abcdef"
    return Order(Tiny(), (), recipe, EAGER, 0, None, place, "ab" * 32, Meters((), required=False))


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    order = order_of(tmp_path)
    assert making.make(order, "baseline", "all", NO_LIMIT) is True
    card = (order.folder / artefacts.CARD).read_bytes()
    assert making.make(order, "baseline", "all", NO_LIMIT) is False
    assert making.make(order, "baseline", "measure", NO_LIMIT) is False
    assert (order.folder / artefacts.CARD).read_bytes() == card
    assert artefacts.read_card(order.folder).made_on == machine.host_name()
    assert [path.name for path in order.folder.parent.iterdir()] == [order.folder.name]


def test_what_is_missing_is_not_trained_where_only_measuring_was_asked_for(tmp_path: Path) -> None:
    order = order_of(tmp_path)
    with pytest.raises(UnpreparedError) as caught:
        making.make(order, "variant", "measure", NO_LIMIT)
    for words in ("stage=prepare", "the variant of tiny, seed 0", str(order.folder)):
        assert words in str(caught.value)
    assert not order.folder.parent.exists()


def test_a_model_whose_bits_have_changed_is_set_aside_and_made_anew(tmp_path: Path) -> None:
    order = order_of(tmp_path)
    making.make(order, "baseline", "all", NO_LIMIT)
    weights = order.folder / artefacts.WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert making.make(order, "baseline", "all", NO_LIMIT) is True
    assert artefacts.damage(order.folder) is None
    aside = order.folder.with_name(f"{order.folder.name}.broken-1")
    assert (aside / artefacts.WEIGHTS).read_bytes() == content


def test_a_copy_that_was_broken_off_is_set_aside_before_anything_is_trained(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    order = order_of(tmp_path)
    order.folder.mkdir(parents=True)
    (order.folder / artefacts.WEIGHTS).write_bytes(b"half of a copy")
    with pytest.raises(UnpreparedError):  # it may still be under way
        making.make(order, "baseline", "measure", NO_LIMIT)
    assert (order.folder / artefacts.WEIGHTS).exists()
    assert making.make(order, "baseline", "all", NO_LIMIT) is True
    assert artefacts.damage(order.folder) is None
    aside = order.folder.with_name(f"{order.folder.name}.broken-1")
    assert (aside / artefacts.WEIGHTS).read_bytes() == b"half of a copy"
    assert f"it lacks {artefacts.CARD}" in caplog.text


SHARER = """
import sys, time
from pathlib import Path
from bench import locks

locks.SHARED_FOLDERS = (Path(sys.argv[1]),)
with locks.host_share("the other one") as alone:
    print("in", flush=True)
    sys.stdin.readline()
    print(alone(), flush=True)
"""


def sharer(folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-u", "-c", SHARER, str(folder)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def release(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return line(process)


def test_whoever_prepares_alone_knows_it(own_lock: Path) -> None:
    with locks.host_share("mine") as alone:
        assert alone()
    with locks.host_share("mine, once more") as alone:
        assert alone()


def test_two_may_prepare_at_once_and_both_know_it(own_lock: Path) -> None:
    with sharer(own_lock) as first:
        assert line(first) == "in"
        with locks.host_share("mine") as alone:
            assert not alone()
        assert release(first) == "False"


def test_one_that_came_and_went_is_known_to_have_been_there(own_lock: Path) -> None:
    with locks.host_share("mine") as alone:
        assert alone()
        with sharer(own_lock) as second:
            assert line(second) == "in"
            assert release(second) == "False"
        assert not alone()


def test_a_measurement_waits_until_nobody_prepares(own_lock: Path) -> None:
    code = SHARER.replace('host_share("the other one") as alone', 'host_lock("measuring")')
    code = code.replace("print(alone(), flush=True)", "pass")
    with (
        locks.host_share("mine"),
        subprocess.Popen(
            [sys.executable, "-u", "-c", code, str(own_lock)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as measurer,
    ):
        assert measurer.stderr is not None
        assert measurer.stderr.readline().startswith("waiting for mine of ")
        assert measurer.poll() is None
        measurer.kill()


def test_a_model_that_was_made_beside_others_has_no_joules(tmp_path: Path, own_lock: Path) -> None:
    from bench.production import produce

    with sharer(own_lock) as other:
        assert line(other) == "in"
        order = dataclasses.replace(order_of(tmp_path), beside_others=True)
        produce(dataclasses.replace(order, meters=Meters((Flat(),), required=True)))
        release(other)
    (reading,) = artefacts.read_card(order.folder).phases["train"].readings
    assert (reading.energy_j, reading.reason) == (None, NOT_ALONE)


class Flat:
    """A meter that counts nothing."""

    name = "synthetic"

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}

    def open(self):  # type: ignore[no-untyped-def]
        from bench.meters import Channel

        return (Channel("cpu:0", "synthetic.constant", "S"),)

    def read(self):  # type: ignore[no-untyped-def]
        from bench.meters import Counts

        return Counts({"cpu:0": 1.0})

    def close(self) -> None: ...


def test_what_making_took_on_another_machine_is_not_held_against_serving_here() -> None:
    there = readings.elsewhere("made", "another-host", "this-host")
    phase = readings.Phase(1.0, 1.0, (readings.Reading("m", "cpu:0", "s", "B", None, there),), 1)
    found = readings.ELSEWHERE.match(str(phase.readings[0].reason))
    assert found is not None
    assert found["here"] == "this-host"
    assert readings.ELSEWHERE.match(NOT_ALONE) is None
    assert recording._elsewhere(None) is None
    assert recording._elsewhere(machine.host_name()) is None
    assert "made on another-host and measured on " in str(recording._elsewhere("another-host"))
