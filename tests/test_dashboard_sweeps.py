"""How far a sweep is, from what it writes down itself: plan and outcomes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from campaigns import write_pair
from viewing import place, plan, seen, tell

from bench import store
from bench.dashboard.data import kitchen, overview, runs
from bench.dashboard.data.sweeps import SILENT_S
from bench.dashboard.data.watching import Watcher
from bench.readings import Phase, Reading
from bench.sweeping import outcomes

pytestmark = pytest.mark.usefixtures("own_lock")


def end(sweep: Path, number: int, energy_j: float | None = None, fails: bool = False) -> None:
    """Let a point end."""
    reading = Reading("counters", "cpu:0", "rapl", "B", energy_j)
    phases = () if energy_j is None else (Phase(1.0, 1.0, (reading,)),)
    folder = sweep / str(number)
    folder.mkdir()
    try:
        with outcomes.noted(folder, f"point {number}", Path(place(number))) as ledger:
            ledger.spent = phases
            if fails:
                raise ValueError("too hot")
    except ValueError:
        pass


def cards(watcher: Watcher) -> dict[str, str]:
    return {card.key: card.value for card in overview.moment(watcher.latest)}


def test_a_sweep_is_counted_by_its_own_outcomes(tmp_path: Path) -> None:
    sweep = plan(tmp_path)
    end(sweep, 0, energy_j=1000.0)
    end(sweep, 1, energy_j=500.0, fails=True)
    watcher = seen(tmp_path)
    (found,) = watcher.latest.sweeps
    assert (found.points, found.done, found.failed) == (4, 2, 1)
    assert found.spent == (("B", 1500.0),)
    assert cards(watcher)["sweep_points"] == "2 / 4"
    assert cards(watcher)["sweep_joules"] == f"{overview.amount(1500.0, 'J')} (B)"


def test_it_ends_when_the_points_before_say(tmp_path: Path) -> None:
    """Nothing done yet: four points of 100 s by earlier records, from its start 60 s ago."""
    plan(tmp_path)
    watcher = seen(tmp_path)
    (found,) = watcher.latest.sweeps
    assert found.ends_s == pytest.approx(time.time() - 60 + 400, abs=5)
    assert cards(watcher)["sweep_ends"] == overview.clock(found.ends_s or 0, "%m-%d %H:%M")


def test_points_that_have_not_begun_preheat_and_each_is_there_once(tmp_path: Path) -> None:
    sweep = plan(tmp_path)
    end(sweep, 0)
    tell(tmp_path, f"1-{'0123456789ab'}")
    store.write_failure(tmp_path / place(2), ValueError("yesterday"), "", {})
    watcher = seen(tmp_path)
    found = kitchen.dishes(watcher.latest, watcher.folder, 0, 10)
    assert [(dish.stage, dish.title) for dish in found] == [
        ("simmering", "digits: bf16"),
        ("preheating", "digits, bf16, seed 2"),
        ("preheating", "digits, bf16, seed 3"),
    ]
    assert len({dish.key for dish in found}) == 3


def test_a_new_outcome_is_seen_and_nothing_is_new_without_one(tmp_path: Path) -> None:
    sweep = plan(tmp_path)
    watcher = seen(tmp_path)
    version = watcher.latest.version
    watcher.look()
    assert watcher.latest.version == version
    end(sweep, 0)
    watcher.look()
    assert (watcher.latest.version, watcher.latest.sweeps[0].done) == (version + 1, 1)


def test_a_sweep_that_is_over_or_was_broken_off_is_not_under_way(tmp_path: Path) -> None:
    sweep = plan(tmp_path, points=1, began_s=2 * SILENT_S)
    watcher = seen(tmp_path)
    assert watcher.latest.sweeps == ()  # nothing was heard of it for long
    tell(tmp_path, f"0-{'0123456789ab'}")
    watcher.look()
    assert len(watcher.latest.sweeps) == 1  # but a point of it runs
    end(sweep, 0)
    watcher.look()
    assert watcher.latest.sweeps == ()


def test_a_point_that_was_interrupted_is_looked_at_again(tmp_path: Path) -> None:
    sweep = plan(tmp_path, points=2)
    folder = sweep / "0"
    folder.mkdir()
    with (
        pytest.raises(KeyboardInterrupt),
        outcomes.noted(folder, "point 0", Path(place(0))),
    ):
        raise KeyboardInterrupt
    watcher = seen(tmp_path)
    assert watcher.latest.sweeps[0].done == 0
    with outcomes.noted(folder, "point 0", Path(place(0))):
        pass
    watcher.look()
    assert watcher.latest.sweeps[0].done == 1


def test_plans_of_any_shape_stop_nothing(tmp_path: Path) -> None:
    write_pair(tmp_path, technique="none", examples=100)
    for number, content in enumerate(('{"points": 3}', "[", "{}", '{"points": [{"name": 1}]}')):
        folder = tmp_path / ".logs" / str(number)
        folder.mkdir(parents=True)
        (folder / outcomes.PLAN).write_text(content)
    (tmp_path / ".logs" / "a file").write_text("")
    os.mkfifo(tmp_path / ".logs" / "pipe")
    sweep = plan(tmp_path)
    (sweep / "0").mkdir()
    (sweep / "0" / outcomes.OUTCOME).write_text('{"status": "fried"}')
    watcher = seen(tmp_path)
    assert [one.done for one in watcher.latest.sweeps] == [0]
    assert len(watcher.latest.pairs) == 1


def test_the_log_of_a_pair_of_long_ago_is_found_by_the_plan_of_its_sweep(tmp_path: Path) -> None:
    sweep = plan(tmp_path)
    log = sweep / "2" / "joulebench.log"
    log.parent.mkdir()
    log.write_text("measured\n")
    store.write_failure(tmp_path / place(2), ValueError("too hot"), "Traceback", {})
    watcher = seen(tmp_path)
    found = runs.opened(watcher.folder, watcher.latest, place(2))
    assert runs.log_lines(watcher, found) == ["measured"]
    assert runs.log_lines(watcher, runs.Opened("no/such/pair/here")) == []
