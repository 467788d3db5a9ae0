"""What a viewer sees of a folder: new pairs, failures, what runs, and nothing inside a window."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from campaigns import write_campaign, write_pair
from viewing import RUN, block, logged, seen, tell

from bench import live, locks, store
from bench.dashboard.data import happened, kitchen, overview, watching
from bench.dashboard.data.changes import Changes
from bench.dashboard.data.folder import Folder
from bench.dashboard.data.running import States
from bench.dashboard.data.watching import Watcher
from bench.machine import host_name

pytestmark = pytest.mark.usefixtures("own_lock")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of one seed: the baseline against itself, and pruned."""
    root = tmp_path_factory.mktemp("results")
    write_campaign(root, {"structured_pruning": 0.8}, examples=500)
    return root


def states(watcher: Watcher) -> dict[str, str]:
    return {one.id.rpartition("/")[2]: one.state for one in watcher.latest.running}


def test_a_folder_that_is_not_there_is_empty_and_is_seen_once_it_is(tmp_path: Path) -> None:
    watcher = seen(tmp_path / "results")
    assert watcher.latest.ready
    assert watcher.latest.pairs.empty
    write_pair(tmp_path / "results", technique="none", examples=100)
    watcher.look()
    assert len(watcher.latest.pairs) == 1


def test_a_new_pair_is_seen_and_nothing_is_new_while_nothing_changes(tmp_path: Path) -> None:
    write_pair(tmp_path, technique="none", examples=100)
    watcher = seen(tmp_path)
    version = watcher.latest.version
    watcher.look()
    assert watcher.latest.version == version
    write_pair(tmp_path, technique="bf16", examples=100)
    watcher.look()
    assert watcher.latest.version == version + 1
    assert set(watcher.latest.pairs["technique"]) == {"none", "bf16"}


def test_changes_are_found_by_the_folders_of_techniques_alone(tmp_path: Path) -> None:
    changes = Changes(tmp_path)
    assert changes.look() is True  # the root itself is new
    place = tmp_path / "host" / "digits" / "bf16" / "0-aa"
    place.mkdir(parents=True)
    assert changes.look() is True
    assert changes.look() is False
    (place / store.RECORD).write_text("{}")  # copied into its folder, as rsync does
    assert changes.look() is True
    assert changes.look() is False


def test_a_failure_is_seen_also_where_it_is_written_again(tmp_path: Path) -> None:
    place = tmp_path / "host" / "digits" / "bf16" / "0-aa"
    store.write_failure(place, ValueError("too hot"), "Traceback", {})
    watcher = seen(tmp_path)
    (failure,) = watcher.latest.failures
    assert (failure.kind, failure.error) == ("ValueError", "too hot")
    assert (failure.host, failure.workload, failure.technique) == ("host", "digits", "bf16")
    store.write_failure(place, RuntimeError("too late"), "Traceback", {})
    watcher.look()
    assert [failure.error for failure in watcher.latest.failures] == ["too late"]


def test_a_running_pair_is_seen_and_burns_once_its_process_is_gone(tmp_path: Path) -> None:
    tell(tmp_path, "0-aa")
    tell(tmp_path, "1-bb", pid=2**22 + 1)  # above the largest number of a process (pid_max)
    # The number has gone to another process since.
    tell(tmp_path, "2-cc", born_s=1.0, told_s=psutil.Process().create_time() - 60)
    watcher = seen(tmp_path)
    assert states(watcher) == {"0-aa": "running", "1-bb": "killed", "2-cc": "killed"}


def test_a_clock_that_was_set_kills_no_pair(tmp_path: Path) -> None:
    """The kernel tells births from the clock as it is now: all move with it, last words do not."""
    tell(tmp_path, "0-aa", born_s=psutil.Process().create_time() - 3600)
    assert states(seen(tmp_path)) == {"0-aa": "running"}


def test_a_pair_burns_also_where_its_hosts_folder_is_called_otherwise(tmp_path: Path) -> None:
    tell(tmp_path, "0-aa", host="lab", machine=host_name(), pid=2**22 + 1)
    assert states(seen(tmp_path)) == {"0-aa": "killed"}


def test_a_pair_of_another_host_is_not_called_dead_from_here(tmp_path: Path) -> None:
    told_s = datetime(2026, 3, 2, 8, tzinfo=UTC).timestamp()
    tell(tmp_path, "0-aa", host="elsewhere", pid=2**22 + 1)
    tell(tmp_path, "1-bb", host="elsewhere", pid=2**22 + 1, told_s=told_s)
    watcher = seen(tmp_path)
    assert states(watcher) == {"0-aa": "running", "1-bb": "silent"}
    dishes = kitchen.dishes(watcher.latest, watcher.folder, 0, 10)
    assert {d.folder[-4:]: d.heard for d in dishes} == {"0-aa": "", "1-bb": "2026-03-02 08:00"}


@pytest.mark.parametrize(
    ("act", "done", "progress", "stage"),
    [
        ("baseline", 0, 0.0, "preheating"),
        ("baseline", 2, 0.15, "simmering"),
        ("variant", 0, 0.30, "simmering"),
        ("variant", 2, 0.45, "boiling"),
        ("evaluate_variant", 4, 0.70, "boiling"),
        ("measure", 2, 0.85, "finishing"),
    ],
)
def test_progress_is_what_the_acts_weigh(
    tmp_path: Path, act: str, done: int, progress: float, stage: str
) -> None:
    tell(tmp_path, act=act, done=done, total=4)
    (running,) = seen(tmp_path).latest.running
    assert running.progress == pytest.approx(progress)
    assert kitchen.stage_of(round(running.progress, 9)) == stage


def test_the_shares_of_all_acts_are_one_pair() -> None:
    assert sum(live.SHARES.values()) == pytest.approx(1.0)


def test_time_left_is_at_the_pace_of_the_act(tmp_path: Path) -> None:
    now_s = time.time()
    tell(tmp_path, done=1, total=4, act_started_s=now_s - 60, told_s=now_s)
    (running,) = seen(tmp_path).latest.running
    assert running.left_s == pytest.approx(180, abs=0.1)  # a quarter in 60 s


def test_a_dish_has_the_power_of_the_best_grade_between_its_last_two_points(
    tmp_path: Path,
) -> None:
    """Grade B rose by 500 J in 10 s: 50 W; the model's 100 W is not shown."""
    tell(tmp_path, points=[logged(10, 1.0, 10.0, 500.0), logged(20, 0.9, 20.0, 1000.0)])
    watcher = seen(tmp_path)
    (dish,) = kitchen.dishes(watcher.latest, watcher.folder, 0, 10)
    assert (dish.power_w, dish.meter) == (pytest.approx(50.0), "counters (B)")


def test_what_cooks_comes_before_what_is_burnt_and_what_is_ready(
    measured: Path, tmp_path: Path
) -> None:
    for path in measured.iterdir():
        if not path.name.startswith("."):
            (tmp_path / path.name).symlink_to(path)  # links to folders are not followed
    write_pair(tmp_path, technique="none", host="mine", examples=100)
    tell(tmp_path, "0-aa")
    store.write_failure(tmp_path / "mine" / "digits" / "bf16" / "0-bb", "bad", "", {})
    watcher = seen(tmp_path)
    found = kitchen.dishes(watcher.latest, watcher.folder, 0, 10)
    assert [dish.stage for dish in found] == ["simmering", "burnt", "ready"]
    assert kitchen.count(watcher.latest) == 3
    for start, stages in ((1, ["burnt", "ready"]), (2, ["ready"]), (3, [])):
        portion = kitchen.dishes(watcher.latest, watcher.folder, start, 2)
        assert [dish.stage for dish in portion] == stages


def test_a_killed_pair_that_was_measured_since_is_ready(tmp_path: Path) -> None:
    place = write_pair(tmp_path, technique="none", examples=100)
    folder = place.relative_to(tmp_path).as_posix()
    tell(tmp_path, place.name, pid=2**22 + 1, folder=folder)
    watcher = seen(tmp_path)
    stages = [d.stage for d in kitchen.dishes(watcher.latest, watcher.folder, 0, 10)]
    assert stages == ["ready"]


# Windows


def test_inside_a_session_nothing_is_looked_at_and_that_is_said_once(tmp_path: Path) -> None:
    watcher = seen(tmp_path)
    with locks.host_lock("measuring digits with bf16", windows=True):
        watcher.look()
        resting = watcher.latest
        assert (resting.resting, resting.holder) == (True, "measuring digits with bf16")
        write_pair(tmp_path, technique="none", examples=100)
        for _ in range(3):
            watcher.look()
        assert watcher.latest is resting
    watcher.look()
    assert (watcher.latest.resting, len(watcher.latest.pairs)) == (False, 1)


@pytest.mark.parametrize(
    ("lead_in_s", "looks"), [(3.0, True), (0.3, False), (-5.0, False), (3600.0, False)]
)
def test_between_two_blocks_it_looks_if_the_lead_in_is_long_enough(
    tmp_path: Path, lead_in_s: float, looks: bool
) -> None:
    watcher = seen(tmp_path)
    with locks.host_lock("measuring", windows=True):
        watcher.look()
        quiet_from_s = time.time() + lead_in_s
        tell(tmp_path, act="measure", quiet_from_s=quiet_from_s, points=[block(0, 1.0, 0.8)])
        watcher.look()
        assert bool(watcher.latest.running) is looks
        assert watcher.latest.resting


def test_between_two_blocks_records_wait(tmp_path: Path) -> None:
    """Those of 100,000 pairs take longer than a lead-in; what is told does not."""
    watcher = seen(tmp_path)
    with locks.host_lock("measuring", windows=True):
        tell(tmp_path, act="measure", quiet_from_s=time.time() + 3)
        write_pair(tmp_path, technique="none", examples=100)
        watcher.look()
        assert len(watcher.latest.running) == 1
        assert watcher.latest.pairs.empty
    watcher.look()
    assert len(watcher.latest.pairs) == 1


def test_what_runs_is_seen_also_while_records_take_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fifth of a second for the records is 10 s of rest from them, at 2 % of a core."""
    monkeypatch.setattr(watching, "PERIOD_S", 0.02)
    whole, reads = watching.collection.read, []

    def slow(root: Path) -> Any:
        reads.append(root)
        end_s = time.process_time() + 0.2
        while time.process_time() < end_s:
            pass
        return whole(root)

    monkeypatch.setattr(watching.collection, "read", slow)
    watcher = Watcher(Folder.of(tmp_path))
    watcher.start()
    try:
        wait_for(lambda: watcher.latest.ready)
        tell(tmp_path)
        wait_for(lambda: bool(watcher.latest.running))
    finally:
        watcher.stop()
    assert len(reads) == 1


def wait_for(what: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 5
    while not what():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_records_that_could_not_be_read_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = seen(tmp_path)
    write_pair(tmp_path, technique="none", examples=100)
    with monkeypatch.context() as broken:
        broken.setattr(watching, "prepared", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            watcher.look()
    watcher.look()
    assert len(watcher.latest.pairs) == 1


def test_another_session_than_ours_lets_nobody_look(tmp_path: Path) -> None:
    """Who may look is told by whoever holds the lock, not by any file in the folder."""
    watcher = seen(tmp_path)
    tell(tmp_path, act="measure", quiet_from_s=time.time() + 3, pid=os.getppid(), born_s=None)
    with locks.host_lock("measuring", windows=True):
        watcher.look()
        assert not watcher.latest.running


def test_while_a_model_is_trained_it_looks_on(tmp_path: Path) -> None:
    watcher = seen(tmp_path)
    with locks.host_lock("making a baseline of digits"):
        tell(tmp_path)
        watcher.look()
        assert len(watcher.latest.running) == 1
        assert not watcher.latest.resting
        assert watcher.latest.holder == "making a baseline of digits"


# What happened


def test_events_are_told_or_derived_but_never_both(tmp_path: Path) -> None:
    place = write_pair(tmp_path, technique="none", examples=100)
    folder = place.relative_to(tmp_path).as_posix()
    events = tmp_path / ".live" / "made-up-host" / live.EVENTS
    events.parent.mkdir(parents=True)
    told = [
        {"at_s": 10.0, "kind": "saved", "id": "x", "host": "h", "folder": folder, "text": "it"},
        {"at_s": 11.0, "kind": "finished", "id": "x", "host": "h", "folder": folder, "text": ""},
    ]
    half = '{"at_s": 12.0, "kind": "sta'  # being written
    events.write_text("\n".join([*map(json.dumps, told), "not JSON", half]))
    store.write_failure(tmp_path / "h" / "w" / "t" / "0-a", "bad", "", {})
    kinds = [event.kind for event in seen(tmp_path).latest.events]
    assert sorted(kinds) == ["failed", "finished", "saved"]
    assert [row["kind"] for row in overview.events(seen(tmp_path).latest).rows] == kinds


def test_an_event_is_seen_also_where_nothing_else_is_new(tmp_path: Path) -> None:
    watcher = seen(tmp_path)
    with live.told(tmp_path / "h" / "w" / "t" / "0-a", "h", "t", "accuracy"):
        pass
    watcher.look()
    assert [event.kind for event in watcher.latest.events] == ["finished", "started"]


def test_of_events_without_end_the_last_are_read(tmp_path: Path) -> None:
    events = tmp_path / ".live" / "h" / live.EVENTS
    events.parent.mkdir(parents=True)
    line = json.dumps({"at_s": 1.0, "kind": "saved", "folder": "a/b/c/d", "host": "h", "id": "x"})
    events.write_text((line + "\n") * 100_000)
    assert 0 < len(seen(tmp_path).latest.events) <= happened.MOST_EVENTS


# Figures that stand first


def test_the_state_of_this_host_is_said_in_words(tmp_path: Path, own_lock: Path) -> None:
    watcher = seen(tmp_path)

    def state() -> overview.Card:
        watcher.look()
        return next(c for c in overview.moment(watcher.latest) if c.key == "system_state")

    assert (state().value, state().said) == ("host_free", True)
    with locks.host_share("preparing digits"):
        assert (state().value, state().said) == ("preparing digits", False)
        (own_lock / locks.LOCK).write_text(f'{{"pid": {os.getpid()}}}')
        assert (state().value, state().said) == ("a_measurement", True)


def test_joules_of_a_model_that_several_pairs_share_are_counted_once(measured: Path) -> None:
    """Both pairs have one baseline: its training counts once, the pruning beside it."""
    watcher = seen(measured)
    pairs = watcher.latest.pairs
    assert pairs["baseline_digest"].nunique() == 1
    train_j = pairs["train_energy_b_j"].iloc[0]
    optimise_j = pairs["optimise_energy_b_j"].dropna().iloc[0]
    assert overview._once(pairs, "baseline_digest", "train_energy_b_j") == pytest.approx(train_j)
    (card,) = [c for c in overview.cards(watcher.latest) if c.key == "joules_so_far"]
    assert "(B)" in card.value
    assert "(C)" in card.value
    total = train_j + optimise_j
    assert overview.amount(total, "J") in card.value


def test_states_that_are_of_another_form_are_passed_over(tmp_path: Path) -> None:
    tell(tmp_path, "0-aa")
    tell(tmp_path, "1-bb", act="frying")
    tell(tmp_path, "2-cc", done="many")
    tell(tmp_path, "3-dd", pid=True)
    tell(tmp_path, "4-ee", act=["baseline"])
    watcher = seen(tmp_path)
    assert states(watcher) == {"0-aa": "running"}


def test_a_state_is_read_again_only_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(tmp_path)
    reader = States(seen(tmp_path).folder)
    read = []
    whole = States._document
    monkeypatch.setattr(States, "_document", lambda self, n: read.append(n) or whole(self, n))
    for _ in range(3):
        assert len(reader.look()) == 1
    tell(tmp_path, done=3)
    assert reader.look()[0].done == 3
    assert read == [f".live/{host_name()}/{RUN}.json"] * 2
