"""A search that several workers share: nothing tried is lost, nothing is tried beyond the budget.

Optuna and its journal are the real ones; only what a trial finds is made up.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from factories import phase
from searches import search, tried, tuner

from bench.measurement.figures import WALL, Figure
from bench.search import SearchError, Tried, read
from bench.tune import storage
from bench.tune.budget import seconds_left, used_up
from bench.tune.settings import Budget
from bench.tune.study import MOST_ATTEMPTS, Study, Subject, Taken

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0
JOULES = Figure("energy_j", "cpu+dram", "counters", "B")


def study(folder: Path, trials: int = 10, **changes: Any) -> Study:
    subject = Subject("resnet50_cifar10", "search", changes.pop("figure", WALL), {"seed": 0})
    subject = changes.pop("subject", subject)
    return Study(folder, tuner(**{"budget": Budget(trials, None, None), **changes}), subject)


def found(taken: Taken, **changes: Any) -> Tried:
    """What a made-up trial finds: the more is pruned, the cheaper and the worse it is."""
    ratio = float(taken.drawn["technique.ratio"])  # type: ignore[arg-type]
    values = {"ratio": 1 - 0.8 * ratio, "accuracy": 0.932 - 0.04 * ratio**4, **changes}
    return tried(taken.trial.number, knobs=dict(taken.drawn), **values)


def step(part: Study, **changes: Any) -> Tried:
    taken = part.take()
    assert isinstance(taken, Taken), taken
    made = found(taken, **changes)
    part.finish(taken, made)
    return made


def numbers(folder: Path) -> list[int]:
    return [one.number for one in read(folder).tried]


# Trials, one after the other.


def test_a_search_ends_when_its_trials_are_used_up(tmp_path: Path) -> None:
    part = study(tmp_path, trials=3)
    for _ in range(3):
        step(part)
    assert part.take() == "3 of 3 trials are finished"
    assert numbers(tmp_path) == [0, 1, 2]


def test_the_next_process_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    first = study(tmp_path, trials=2)
    tried_first = [step(first), step(first)]
    first.close()
    second = study(tmp_path, trials=3)
    tried_second = step(second)
    assert second.search().tried == (*tried_first, tried_second)
    assert second.take() == "3 of 3 trials are finished"


def test_what_is_drawn_depends_on_the_seed_and_the_trial_and_on_no_worker(tmp_path: Path) -> None:
    def draws(folder: str, restarts: bool, seed: int) -> list[Any]:
        part, drawn = study(tmp_path / folder, seed=seed), []
        for _ in range(6):
            drawn.append(step(part).knobs["technique.ratio"])
            if restarts:
                part.close()
                part = study(tmp_path / folder, seed=seed)
        return drawn

    at_once = draws("at once", restarts=False, seed=0)
    assert draws("restarted", restarts=True, seed=0) == at_once
    assert len(set(at_once)) == 6  # a sampler that began anew would draw the same again
    assert draws("another seed", restarts=False, seed=1) != at_once


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random"])
def test_every_sampler_draws_within_the_space_beyond_its_startup(
    tmp_path: Path, sampler: str
) -> None:
    part = study(tmp_path, sampler=sampler, trials=6)
    for _ in range(6):
        assert 0.1 <= step(part).knobs["technique.ratio"] <= 0.9


def test_parzen_estimators_draw_where_trials_were_good(tmp_path: Path) -> None:
    """Of two ends that differ in quality alone, the better one is drawn more often."""
    part = study(tmp_path, sampler="tpe", startup_trials=8, trials=40, floor=None)
    ratios = []
    for _ in range(40):
        taken = part.take()
        assert isinstance(taken, Taken)
        ratio = float(taken.drawn["technique.ratio"])  # type: ignore[arg-type]
        ratios.append(ratio)
        part.finish(taken, found(taken, ratio=0.5, accuracy=0.8 + 0.1 * ratio))
    assert sum(ratio > 0.7 for ratio in ratios[20:]) > 10  # a quarter of the range: 5 by chance


def test_a_trial_that_lost_too_much_is_told_as_such_and_counts(tmp_path: Path) -> None:
    part = study(tmp_path, sampler="tpe", startup_trials=1, trials=3)
    step(part, state="pruned", accuracy=0.5)
    step(part, state="failed")
    step(part)
    states = [trial.state for trial in part._study.get_trials()]
    assert [state.name for state in states] == ["PRUNED", "FAIL", "COMPLETE"]
    lost = part._study.get_trials()[0].constraints["lost"]
    assert lost == pytest.approx(0.932 - 0.5 - 0.05)  # beyond tuner.floor
    assert part.take() == "3 of 3 trials are finished"


def test_an_artefact_and_a_record_are_paid_for_once(tmp_path: Path) -> None:
    part = study(tmp_path)
    made = {"the same": phase(3.0, ())}
    for _ in range(2):
        step(part, made=made)
    again = part.take()
    assert isinstance(again, Taken)
    twin = found(again, made={})
    part.finish(again, Tried(**{**_fields(twin), "record": part.search().tried[0].record}))
    costs = [(list(one.spent.made), one.spent.measured.wall_s) for one in part.search().tried]
    assert costs == [(["the same"], 10.0), ([], 10.0), ([], 0.0)]


def _fields(one: Tried) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Tried.__dataclass_fields__}


# Another search under the same name.


def test_another_search_under_the_same_name_is_refused_with_what_differs(tmp_path: Path) -> None:
    study(tmp_path).close()
    other = Subject("resnet50_cifar10", "search", WALL, {"seed": 1})
    with pytest.raises(SearchError, match=r"was begun with seed=0, and now it is 1.*study=NAME"):
        study(tmp_path, subject=other)
    study(tmp_path, trials=99).close()  # another budget goes on


# Workers that die.


def test_the_trial_of_a_worker_that_died_is_tried_again(tmp_path: Path) -> None:
    dead = study(tmp_path)
    taken = dead.take()
    assert isinstance(taken, Taken)
    dead._worker.close()  # as the kernel does when a process ends
    heir = study(tmp_path)
    again = heir.take()
    assert isinstance(again, Taken)
    assert again.drawn == taken.drawn
    assert again.trial.number == taken.trial.number + 1
    heir.finish(again, found(again))
    assert numbers(tmp_path) == [1]


def test_a_trial_that_was_finished_but_not_told_is_kept(tmp_path: Path) -> None:
    dead = study(tmp_path)
    taken = dead.take()
    assert isinstance(taken, Taken)
    made = found(taken)
    dead._tell = dead._write = lambda *_: None  # type: ignore[method-assign, assignment]
    dead.finish(taken, made)
    dead._worker.close()
    heir = study(tmp_path)
    assert isinstance(heir.take(), Taken)
    assert heir.search().tried == (made,)
    assert heir._study.get_trials()[0].values == [made.quality.variant, made.comparison.ratio]  # type: ignore[union-attr]


def test_the_last_trial_of_a_search_is_written_though_its_worker_died_before_it_did(
    tmp_path: Path,
) -> None:
    dead = study(tmp_path, trials=1)
    taken = dead.take()
    assert isinstance(taken, Taken)
    dead._write = lambda: None  # type: ignore[method-assign]
    dead.finish(taken, found(taken))
    dead._worker.close()
    assert numbers(tmp_path) == []
    assert study(tmp_path, trials=1).take() == "1 of 1 trials are finished"
    assert numbers(tmp_path) == [0]


def test_a_trial_whose_workers_keep_dying_is_given_up(tmp_path: Path) -> None:
    drawn = []
    for _ in range(MOST_ATTEMPTS + 1):
        part = study(tmp_path)
        taken = part.take()
        assert isinstance(taken, Taken)
        drawn.append(taken.drawn)
        part._worker.close()
    assert drawn[:MOST_ATTEMPTS] == [drawn[0]] * MOST_ATTEMPTS
    assert drawn[MOST_ATTEMPTS] != drawn[0]


def test_a_trial_that_is_given_back_is_tried_again_however_often(tmp_path: Path) -> None:
    """Who is asked to leave three times has met three preemptions, not a trial that kills."""
    drawn = []
    for _ in range(MOST_ATTEMPTS + 2):
        part = study(tmp_path)
        taken = part.take()
        assert isinstance(taken, Taken)
        drawn.append(taken.drawn)
        part.give_back(taken)
        assert part.running() == 0
        part.close()
    assert drawn == [drawn[0]] * (MOST_ATTEMPTS + 2)
    heir = study(tmp_path)
    assert step(heir).knobs == drawn[0]
    assert len(read(tmp_path).tried) == 1


def test_the_trial_of_a_worker_that_lives_is_left_alone_and_counts(tmp_path: Path) -> None:
    one, two = study(tmp_path, trials=2), study(tmp_path, trials=2)
    first, second = one.take(), two.take()
    assert isinstance(first, Taken)
    assert isinstance(second, Taken)
    assert first.drawn != second.drawn
    assert one.take() == "0 of 2 trials are finished"  # both are under way
    two.finish(second, found(second))
    one.finish(first, found(first))
    assert numbers(tmp_path) == [0, 1]


def test_a_worker_that_was_taken_for_dead_does_not_finish_a_second_time(tmp_path: Path) -> None:
    slow = study(tmp_path)
    taken = slow.take()
    assert isinstance(taken, Taken)
    slow._worker.close()
    heir = study(tmp_path)
    again = heir.take()
    assert isinstance(again, Taken)
    slow.finish(taken, found(taken))
    assert heir.search().tried == ()
    heir.finish(again, found(again))
    assert numbers(tmp_path) == [1]


WORKER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_tune_study import found, study

part = study(Path(sys.argv[2]), trials=int(sys.argv[3]))
while not isinstance(taken := part.take(), str):
    print(taken.trial.number, flush=True)
    time.sleep(float(sys.argv[4]))
    part.finish(taken, found(taken))
part.close()
"""


def worker(folder: Path, trials: int, takes_s: float) -> subprocess.Popen[str]:
    words = [str(ROOT / "tests"), str(folder), str(trials), str(takes_s)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *words],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_share_a_search_and_its_budget(tmp_path: Path) -> None:
    both = [worker(tmp_path, 12, 0.05) for _ in range(2)]
    said = [process.communicate(timeout=PATIENCE_S)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(int(number) for words in said for number in words) == list(range(12))
    assert numbers(tmp_path) == list(range(12))
    drawn = [one.knobs["technique.ratio"] for one in read(tmp_path).tried]
    assert len(set(drawn)) == 12
    assert list((tmp_path / "workers").iterdir()) == []


def test_a_kill_loses_no_finished_trial(tmp_path: Path) -> None:
    with worker(tmp_path, 100, 0.2) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 3:  # three are finished, the fourth is under way
                process.send_signal(signal.SIGKILL)
                break
    before = read(tmp_path).tried
    assert [one.number for one in before] == [0, 1, 2]
    heir = study(tmp_path, trials=4)
    step(heir)
    assert heir.take() == "4 of 4 trials are finished"
    after = read(tmp_path).tried
    assert after[:3] == before
    assert after[3].number == 4  # the fifth tries again what the fourth had drawn


# A journal that was torn.


def test_a_journal_that_ends_in_half_a_line_is_mended_by_the_next_writer(tmp_path: Path) -> None:
    part = study(tmp_path)
    step(part)
    part.close()
    journal = tmp_path / storage.JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole.splitlines()[-1][:20])
    heir = study(tmp_path)
    step(heir)
    assert numbers(tmp_path) == [0, 1]
    for line in journal.read_text().splitlines():
        json.loads(line)


@pytest.mark.parametrize(
    ("content", "left"),
    [(b"", b""), (b"{}\n", b"{}\n"), (b"{}\n{", b"{}\n"), (b"{", b"")],
)
def test_a_journal_keeps_its_whole_lines(tmp_path: Path, content: bytes, left: bytes) -> None:
    path = tmp_path / "journal.log"
    path.write_bytes(content)
    storage.mend(path)
    assert path.read_bytes() == left


PRESENT = """
import sys, time
from pathlib import Path
from bench.tune.storage import Presence

kept = Presence(Path(sys.argv[1]))
print(kept.name, flush=True)
time.sleep(600)
"""


def test_a_worker_is_alive_as_long_as_its_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PRESENT, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert storage.alive(tmp_path, name)
        process.kill()
        process.wait(PATIENCE_S)
    assert not storage.alive(tmp_path, name)
    assert list(tmp_path.iterdir()) == []  # its file is tidied away
    assert not storage.alive(tmp_path, "nobody")


# Budgets.


def test_hours_are_those_of_all_trials() -> None:
    three = search([tried(n, wall_s=1200.0) for n in range(3)])
    assert used_up(Budget(None, 1.01, None), three, 0) is None
    assert used_up(Budget(None, 1.0, None), three, 0) == "1 of 1 hours are used up"


def test_joules_are_those_of_making_evaluating_and_measuring() -> None:
    two = search([tried(n, grade="B") for n in range(2)], "B")  # 14 s at 80 W each
    assert used_up(Budget(None, None, 2241.0), two, 0) is None
    assert used_up(Budget(None, None, 2240.0), two, 0) == "2240 of 2240 J are used up"
    assert used_up(Budget(None, None, 1.0), search([], "B"), 0) is None


def test_whichever_is_used_up_first_ends_the_search() -> None:
    two = search([tried(n) for n in range(2)])
    assert used_up(Budget(3, 1.0, None), two, 0) is None
    assert used_up(Budget(3, 1.0, None), two, running=1) == "2 of 3 trials are finished"
    assert used_up(Budget(3, 0.001, None), two, 0) == "0.0111 of 0.001 hours are used up"


def test_a_budget_of_joules_needs_a_counter_and_readings_that_did_not_fail() -> None:
    with pytest.raises(SearchError, match=r"tuner\.budget\.joules needs an energy counter"):
        used_up(Budget(None, None, 5.0), search([tried(0)]), 0)
    torn = search([tried(0, grade="B"), tried(1)], "B")  # the second has no readings at all
    with pytest.raises(SearchError, match="is not known, since a reading of counters failed"):
        used_up(Budget(None, None, 5.0), torn, 0)


def test_the_time_left_is_that_of_the_limit_that_is_met_first() -> None:
    two = search([tried(n, grade="B", wall_s=60.0) for n in range(2)], "B")
    assert seconds_left(Budget(10, None, None), two, workers=1) == pytest.approx(8 * 60)
    assert seconds_left(Budget(10, None, None), two, workers=2) == pytest.approx(4 * 60)
    assert seconds_left(Budget(10, 0.05, None), two, workers=1) == pytest.approx(180 - 120)
    # 2240 J in 120 s: 1120 more take 60 s.
    assert seconds_left(Budget(10, 1.0, 3360.0), two, workers=1) == pytest.approx(60)
    assert seconds_left(Budget(1, None, None), two, workers=1) == 0.0
    assert seconds_left(Budget(10, None, None), search([]), workers=1) is None
