"""What a running pair tells: small files that are replaced, and nothing that could stop it."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from bench import live, locks
from bench.interruption import Interrupted
from bench.live import Live, Teller

ROOT = Path(__file__).parents[1]


def place(root: Path) -> Path:
    return root / "here" / "digits" / "bf16" / "0-0123456789ab"


def state(root: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((root / ".live/here/0-0123456789ab.json").read_text())
    return found


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_pair_tells_where_it_is_and_leaves_nothing_but_what_happened(tmp_path: Path) -> None:
    with live.told(place(tmp_path), "here", "bf16", "accuracy") as told:
        Teller(told, "baseline").tell(3, 12, "step 3")
        found = state(tmp_path)
        assert (found["act"], found["done"], found["total"]) == ("baseline", 3, 12)
        assert found["id"] == "digits/bf16/0-0123456789ab"
        assert found["folder"] == "here/digits/bf16/0-0123456789ab"
        assert found["pid"] == os.getpid()
    assert [path.name for path in (tmp_path / ".live" / "here").iterdir()] == [live.EVENTS]
    events = lines(tmp_path / ".live" / "here" / live.EVENTS)
    assert [event["kind"] for event in events] == ["started", "finished"]


def test_a_pair_that_fails_keeps_what_came_in_and_says_why(tmp_path: Path) -> None:
    def fails() -> None:
        with live.told(place(tmp_path), "here", "bf16", "accuracy") as told:
            Teller(told, "baseline").point(loss=0.5)
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        fails()
    assert not (tmp_path / ".live/here/0-0123456789ab.json").exists()
    (point,) = lines(tmp_path / ".live/here/0-0123456789ab.jsonl")
    assert (point["act"], point["loss"]) == ("baseline", 0.5)
    assert lines(tmp_path / ".live/here/events.jsonl")[-1]["text"] == "ValueError: no more"


@pytest.mark.parametrize("left", [Interrupted("SIGTERM"), KeyboardInterrupt()])
def test_a_pair_that_is_asked_to_leave_has_not_failed(tmp_path: Path, left: BaseException) -> None:
    with (
        pytest.raises(type(left)),
        live.told(place(tmp_path), "here", "bf16", "accuracy"),
    ):
        raise left
    assert not (tmp_path / ".live/here/0-0123456789ab.json").exists()
    assert lines(tmp_path / ".live/here/events.jsonl")[-1]["kind"] == "interrupted"


def test_a_pair_that_was_only_prepared_is_not_called_finished(tmp_path: Path) -> None:
    with live.told(place(tmp_path), "here", "bf16", "accuracy", end="prepared"):
        pass
    assert lines(tmp_path / ".live/here/events.jsonl")[-1]["kind"] == "prepared"


def test_many_steps_in_a_second_are_one_write(tmp_path: Path) -> None:
    with live.told(place(tmp_path), "here", "bf16", "accuracy") as told:
        teller = Teller(told, "baseline", every_s=3600)
        for step in range(1, 1001):
            teller.tell(step, 1000)
        assert state(tmp_path)["done"] == 1


def test_whatever_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / ".live").write_text("a file where the folder should be")
    with live.told(place(tmp_path), "here", "bf16", "accuracy") as told:
        teller = Teller(told, "baseline")
        teller.tell(1, 2)
        teller.point(loss=float("nan"))
        teller.point(loss=object())
        teller.tell(object(), 2)  # type: ignore[arg-type]
        teller.event("saved", "x")
    assert (tmp_path / ".live").read_text() == "a file where the folder should be"


@pytest.mark.parametrize("figure", [np.float32(0.5), object(), float("inf")])
def test_a_figure_that_json_does_not_have_stops_nothing(tmp_path: Path, figure: Any) -> None:
    with live.told(place(tmp_path), "here", "bf16", "accuracy") as told:
        teller = Teller(told, "baseline", every_s=0.0)
        teller.tell(figure, 2)
        teller.point(loss=figure)
        teller.tell(1, 2)
        assert state(tmp_path)["done"] == 1


def test_a_process_whose_birth_is_hidden_is_told_of_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hidden() -> psutil.Process:
        raise psutil.AccessDenied(1)

    monkeypatch.setattr(psutil, "Process", hidden)
    with live.told(place(tmp_path), "here", "bf16", "accuracy") as told:
        Teller(told, "baseline").tell(1, 2)
        assert (state(tmp_path)["born_s"], state(tmp_path)["done"]) == (None, 1)


def test_without_a_pair_nothing_is_told() -> None:
    teller = Teller(None, "baseline")
    teller.tell(1, 2)
    teller.point(loss=1.0)
    teller.event("saved", "x")


def test_it_goes_with_the_work_into_other_processes(tmp_path: Path) -> None:
    with live.told(place(tmp_path), "here", "bf16", "accuracy") as told:
        again: Live = pickle.loads(pickle.dumps(told))
        Teller(again, "measure").tell(1, 8, quiet_from_s=12.0)
        assert state(tmp_path)["quiet_from_s"] == 12.0


def test_events_that_grow_too_long_begin_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_MOST_EVENTS_BYTES", 10)
    for _ in range(2):
        with live.told(place(tmp_path), "here", "bf16", "accuracy"):
            pass
    folder = tmp_path / ".live" / "here"
    assert len(lines(folder / live.FORMER_EVENTS)) == len(lines(folder / live.EVENTS)) == 2


def test_a_killed_process_leaves_its_last_word(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from bench import live\n"
        "with live.told(Path(sys.argv[1]), 'here', 'bf16', 'f1') as told:\n"
        "    live.Teller(told, 'variant').tell(1, 4, 'half made')\n"
        "    print('told', flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(place(tmp_path))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "told\n"
        process.send_signal(signal.SIGKILL)
    assert state(tmp_path)["note"] == "half made"


def test_who_holds_the_lock_is_seen_and_whether_windows_are_measured(own_lock: Path) -> None:
    assert locks.held_by() is None
    with locks.host_lock("measuring digits", windows=True):
        found = locks.held_by()
        assert found is not None
        assert (found["what"], found["windows"], found["pid"]) == (
            "measuring digits",
            True,
            os.getpid(),
        )
    assert locks.held_by() is None


def test_a_lock_whose_holder_was_killed_is_held_by_nobody(own_lock: Path) -> None:
    (own_lock / locks.LOCK).write_text('{"what": "measuring", "windows": true, "pid": 1}')
    assert locks.held_by() is None


def test_a_share_of_the_lock_is_seen_and_never_disturbed_by_looking(own_lock: Path) -> None:
    """Who looks on takes no share itself: one that is asked for meanwhile would not be alone."""
    with locks.host_share("preparing digits") as alone:
        found = locks.held_by()
        assert found is not None
        assert (found["what"], found.get("windows")) == ("preparing digits", None)
        assert alone()


def test_a_share_whose_holder_is_gone_is_held_by_nobody(own_lock: Path) -> None:
    signed = '{"what": "preparing", "pid": %d}\n'
    above_all = 2**22 + 1  # the largest number of a process is 2**22 (pid_max)
    (own_lock / locks.LOCK).write_text(signed % above_all)
    assert locks.held_by() is None
    (own_lock / locks.LOCK).write_text(signed % above_all + signed % os.getpid())
    found = locks.held_by()
    assert found is not None
    assert found["pid"] == os.getpid()


def test_what_anyone_writes_into_the_lock_does_no_harm(own_lock: Path) -> None:
    with locks.host_lock("mine", windows=True):
        (own_lock / locks.LOCK).write_text("[" * 4000)
        assert locks.held_by() == {}


def test_a_write_once_a_second_costs_next_to_nothing(tmp_path: Path) -> None:
    """A step that writes nothing takes below 5 microseconds: 1,000 steps a second cost 0.5 %."""
    with live.told(place(tmp_path), "here", "bf16", "accuracy") as told:
        teller = Teller(told, "baseline", every_s=3600)
        teller.tell(0, 1)
        begin_s = time.process_time()
        for step in range(100_000):
            teller.tell(step, 100_000)
        assert time.process_time() - begin_s < 0.5
