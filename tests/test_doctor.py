"""The doctor's findings, on stand-in meters with known watts and on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench import doctor
from bench.meters import Channel, Counts, MeterError
from bench.readings import Grade


class Steady:
    """A meter whose counters rise by so many watts."""

    def __init__(self, name: str, grade: Grade, **watts: float) -> None:
        self.name, self._grade, self._watts = name, grade, watts
        self.missing: dict[str, str] = {}

    def open(self) -> tuple[Channel, ...]:
        return tuple(Channel(part, f"{self.name}.test", self._grade) for part in self._watts)

    def read(self) -> Counts:
        return Counts({part: watts * time.monotonic() for part, watts in self._watts.items()})

    def close(self) -> None:
        pass


class Shut(Steady):
    """A meter that cannot be opened, for one reason per device."""

    def open(self) -> tuple[Channel, ...]:
        self.missing = {"cpu": "energy_uj is for root only. `sudo chmod` opens it"}
        raise MeterError("everything at once")


@pytest.fixture
def meters(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that puts stand-ins in the place of both meters."""
    monkeypatch.setattr(doctor, "WINDOW_S", 0.1)

    def place(counters: Steady, codecarbon: Steady) -> None:
        monkeypatch.setattr(doctor, "Counters", lambda: counters)
        monkeypatch.setattr(doctor, "CodeCarbon", lambda **_: codecarbon)

    return place


def test_a_counter_that_works_is_grade_b_and_status_zero(
    meters: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    meters(Steady("counters", "B", cpu=50.0, gpu=250.0), Steady("codecarbon", "C", ram=20.0))
    assert doctor.main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    watts = {c["component"]: c["power_w"] for c in found["channels"]}
    assert watts == pytest.approx({"cpu": 50.0, "gpu": 250.0, "ram": 20.0}, rel=0.1)
    assert found["conclusion"] == "grade B available: cpu (counters.test), gpu (counters.test)"
    assert doctor.main([]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == found["conclusion"]


def test_without_a_counter_the_reasons_are_told_on_lines_of_their_own(
    meters: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    meters(Shut("counters", "B"), Steady("codecarbon", "C", cpu=8.0))
    assert doctor.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "  counters cpu: energy_uj is for root only. `sudo chmod` opens it" in lines
    assert lines[-1] == (
        "no energy counter that works: seconds and CPU-seconds are the finding, joules are "
        "modelled (grade C)"
    )


def test_a_counter_that_stands_still_does_not_pass(
    meters: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    meters(Steady("counters", "B", cpu=0.0), Steady("codecarbon", "C", cpu=8.0))
    assert doctor.main(["--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["channels"][0]["problem"] == "it stands still: a hypervisor may hide it"
    assert found["channels"][0]["power_w"] is None


def test_simulated_sensors_do_not_pass(meters: Any) -> None:
    meters(Steady("counters", "S", cpu=50.0), Steady("codecarbon", "C", cpu=8.0))
    found = doctor.examine()
    assert not found["measured"]
    assert found["conclusion"].startswith("simulated sensors only (grade S)")


def test_other_processes_that_work_are_named_with_their_cores() -> None:
    # Two looks 2 s apart: one used 3 of them, one nothing to speak of, one is new.
    start = {(1, 0.0): ("indexer", 10.0), (2, 0.0): ("idle", 5.0)}
    end = {(1, 0.0): ("indexer", 13.0), (2, 0.0): ("idle", 5.01), (3, 9.0): ("new", 7.0)}
    assert doctor._busy(start, end, 2.0) == [{"pid": 1, "name": "indexer", "cores": 1.5}]


def test_our_own_processes_are_not_foreign() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as child:
        others = {pid for pid, _ in doctor._spent()}
    assert others.isdisjoint({os.getpid(), child.pid})
    assert os.getppid() in others


def test_the_command_runs_without_torch_and_its_status_is_its_finding() -> None:
    code = (
        "import runpy, sys; sys.modules['torch'] = None; sys.argv = ['doctor', '--json']; "
        "runpy.run_module('bench.doctor', run_name='__main__', alter_sys=True)"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["measured"] else 1)
    assert done.stderr == ""
    # CodeCarbon's RAM model needs no sensor, so it is there on every machine.
    ram = next(c for c in found["channels"] if c["component"] == "ram")
    assert (ram["grade"], ram["problem"]) == ("C", None)
    assert found["machine"]["libraries"]["zeus"] is not None
