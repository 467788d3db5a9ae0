"""What the middle of a job makes of sides that fail it, without any pytest of their own."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bench.ci import __main__ as command
from bench.ci import contest as contests
from bench.ci.conclusion import Subject
from bench.ci.contest import Contest, Job
from bench.ci.link import Exchange
from bench.ci.parties import Call, PartyError
from bench.ci.referee import Referee
from bench.ci.results import Result

ROOT = Path(__file__).parents[1]
TEST = "tests/test_shop.py::test_work"


class FakeParty:
    """Says what it is told to, and keeps what it hears."""

    def __init__(self, *says: dict[str, Any]) -> None:
        self.says = iter([*says, {"event": "end", "results": []}])
        self.heard: list[dict[str, Any]] = []

    def say(self, document: dict[str, Any]) -> None:
        self.heard.append(document)

    def hear(self) -> dict[str, Any]:
        return next(self.says)


def call(folder: Path, *command: str) -> Call:
    return Call(command or ("pytest",), folder, folder, folder, {})


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(call(tmp_path), lambda hello: None, "main", frozenset(), tmp_path)


@pytest.fixture
def contest(job: Job) -> Iterator[Contest]:
    with closing(Exchange(job.folder)) as exchange:
        yield Contest(job, {}, exchange)


# What the head asks.


@pytest.mark.parametrize(
    ("asking", "told"),
    [
        ((), "no baseline: joules was fetched with getfixturevalue: name it in"),
        ((TEST,), "new: the base has no such test"),
    ],
)
def test_a_test_that_did_not_say_that_it_asks_is_not_taken_for_a_new_one(
    job: Job, asking: tuple[str, ...], told: str
) -> None:
    referee = Referee(job)
    base = FakeParty()
    referee._base, referee._asking = base, frozenset(asking)  # type: ignore[assignment]
    head = FakeParty({"event": "ready", "test": TEST})
    referee._serve(head)  # type: ignore[arg-type]
    (answer,) = head.heard
    assert answer["do"] == "alone"
    assert answer["reason"].startswith(told)
    assert (referee.trouble is None) == bool(asking)  # else the job ends with 3


# An interruption.


SLOW_TO_END = """
import os
import time
from pathlib import Path

from bench.ci.link import LINK, SIDE, VERSION, Line

line = Line.to(os.environ[LINK])
line.send({"event": "hello", "version": VERSION, "side": os.environ[SIDE]})
line.receive()
time.sleep(0.5)
Path("report.xml").touch()
"""


def interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def test_an_interrupted_head_may_write_its_reports(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = call(job.folder, sys.executable, "-c", SLOW_TO_END)
    script = dataclasses.replace(script, environment=os.environ | {"PYTHONPATH": str(ROOT)})
    monkeypatch.setattr(Referee, "_join", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Referee(dataclasses.replace(job, head=script)).run()
    assert (job.folder / "report.xml").exists()


def test_an_interrupted_job_says_so_by_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_run", interrupt)
    assert command.main(["--against", "HEAD", "--", "pytest"]) == 130


# A second measurement.


def first(**changes: Any) -> Result:
    plain: dict[str, Any] = {
        **{"test": TEST, "kind": "against", "measure": "cpu_s", "scope": "process tree"},
        **{"source": "clock", "grade": "none", "note": None, "host_class": "a CPU, 2 threads"},
        **{"limit": 1.05, "against": "main", "blocks": 9, "discarded": 0, "calls": 40},
        **{"spent_s": 12.0, "verdict": "fails", "ratio": 1.2, "low": 1.18, "high": 1.22},
    }
    return Result(**(plain | changes))


def anew(contest: Contest, first: Result) -> Result:
    subject = Subject(TEST, "against", 1.05, "main")
    return contest._anew(first, None, subject)  # type: ignore[arg-type]


def test_what_fresh_processes_cannot_confirm_is_undecided_and_not_passed_over(
    contest: Contest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check fails of a second measurement alone, and a broken one is no reason to be green."""

    def fresh(self: Contest, side: str, test: str) -> NoReturn:
        raise PartyError(f"the fresh {side} ended before it called\nits last words")

    monkeypatch.setattr(Contest, "_fresh", fresh)
    found = anew(contest, first(reason="a note"))
    told = "not measured anew in fresh processes: the fresh head ended before it called"
    assert (found.verdict, found.reason) == ("undecided", f"a note; {told}")
    assert (found.ratio, found.blocks) == (1.2, 9)
    referee = Referee(contest.job)
    referee._contest = contest
    referee._serve(FakeParty())  # type: ignore[arg-type]
    assert referee.trouble == f"{told}\nits last words"


def test_what_is_measured_anew_keeps_the_seconds_of_its_own_blocks(
    contest: Contest, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def fresh(self: Contest, side: str, test: str) -> Iterator[None]:
        yield

    second = first(spent_s=29.0, blocks=24)
    monkeypatch.setattr(Contest, "_fresh", fresh)
    monkeypatch.setattr(contests, "_turns", lambda *_: second)
    found = anew(contest, first())
    assert (found.spent_s, found.blocks_s, found.blocks) == (41.0, 29.0, 24)
    assert contest.trouble is None
