"""A trial for real: tiny models are trained, judged, measured and paid for; then the command."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from searches import tried as made_up
from tiny import CONF, EAGER, RECIPE, Noise, Tiny
from torch import nn

import bench.__main__  # noqa: F401 - registers the resolver of the host's name
from bench import codec, digests, machine, pair, search, store
from bench.artefacts import read_card
from bench.asked import Pair
from bench.faults import FaultError
from bench.interruption import REQUEUE, Interrupted
from bench.isolation import ChildError, Limits
from bench.measurement.figures import WALL
from bench.measurement.protocol import Protocol
from bench.meters import MeterError, Meters
from bench.readings import Phase
from bench.search import DOCUMENT, Search, SearchError, Tried, charged
from bench.techniques import Setting, Technique
from bench.techniques.structured_pruning import StructuredPruning
from bench.training import resuming
from bench.tune import work
from bench.tune.plan import Plan
from bench.tune.trial import Draft, Terms, attempt
from bench.workloads import Batch

ROOT = Path(__file__).parents[1]
HELD_OUT = 0.2
TERMS = Terms(WALL, 0.3, own_baselines=False)
PRUNING = StructuredPruning(
    *("structured_pruning", 0.5, None, "magnitude", "layer"),
    *(1, 8),
    epochs=3,
    learning_rate=0.02,
)


@dataclass
class Plain(Noise):
    """Noise whose channels tell the class."""

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        batch = super().__getitems__(indices)
        lit = torch.cat([torch.zeros(1, 3), 3 * torch.eye(3)])[batch["labels"]]
        return batch | {"pixels": 0.1 * batch["pixels"] + lit[:, :, None, None]}


@dataclass(frozen=True)
class Told(Tiny):
    """Classes that a minute network tells apart after some steps."""

    name: str = "told"

    def train_examples(self) -> Plain:
        return Plain(self.count, augmented=False)

    plain_train_examples = test_examples = train_examples


@dataclass(frozen=True)
class Ruin(Technique):
    """Forgets what tells the classes apart."""

    name: str = "ruin"
    shrinks: ClassVar[bool] = False

    def convert(self, model: nn.Module, setting: Setting) -> nn.Module:
        model.fc.weight.data.zero_()  # type: ignore[union-attr, operator]
        return model


@pytest.fixture(autouse=True)
def composing() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base=None):
        yield


def rehearsal() -> Protocol:
    found: Protocol = instantiate(compose("config", ["protocol=rehearsal"]).protocol)
    return found


def pair_of(root: Path, technique: Technique, searched: Path | None = None) -> Pair:
    workload, training = Told(), replace(RECIPE, epochs=20.0, validation=HELD_OUT)
    config = {"workload": asdict(workload), "training": asdict(training)}
    config |= {"technique": asdict(technique), "search": searched and str(searched)}
    digest = digests.digest(config)
    return Pair(
        workload=workload,
        technique=technique,
        training=training,
        runtime=EAGER,
        protocol=rehearsal(),
        meters=Meters((), required=False),
        seed=0,
        session_number=0,
        place=store.place(root / "records", "testhost", "told", technique.name, 0, digest),
        artefacts=root / ".artefacts",
        config=config,
        data_digest=None,
        host="testhost",
        replace=False,
        stage="all",
        limits=Limits(None, None, None),
    )


def tried(root: Path, number: int, technique: Technique) -> Tried:
    draft = Draft(number, {}, "python -m bench", lambda: pair_of(root, technique))
    return attempt(draft, TERMS)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("search")


@pytest.fixture(scope="module")
def trials(root: Path) -> dict[str, Tried]:
    """One trial that is measured, one that is hopeless, one that cannot be made."""
    with initialize_config_dir(str(CONF), version_base=None):
        return {
            "measured": tried(root, 0, PRUNING),
            "hopeless": tried(root, 1, Ruin()),
            "impossible": tried(root, 2, replace(PRUNING, round_to=4096)),
        }


def test_a_trial_is_a_pair_judged_on_held_out_examples(
    root: Path, trials: dict[str, Tried]
) -> None:
    one = trials["measured"]
    assert one.state == "complete", one.reason
    record = store.find(pair_of(root, PRUNING).place)
    assert record is not None
    assert one.record == record.id
    assert one.comparison == next(c for c in record.comparisons if c.measure == "wall_s")
    assert one.quality is not None
    assert one.quality.examples == 20  # a fifth of 100
    assert one.quality.baseline > 0.5  # chance is a quarter
    assert record.quality.examples == 64  # of the test split, as any rehearsal


def test_a_trial_knows_what_it_has_cost(root: Path, trials: dict[str, Tried]) -> None:
    one = trials["measured"]
    record = store.find(pair_of(root, PRUNING).place)
    assert record is not None
    phases, digest = record.variant.phases, record.variant.artefact.digest
    made = phases["optimise"].wall_s + phases["convert"].wall_s
    assert {name: phase.wall_s for name, phase in one.spent.made.items()} == {
        digest: pytest.approx(made)
    }
    assert record.session.spent is not None
    windows = sum(arm.phases["infer"].wall_s for arm in (record.baseline, record.variant))
    assert one.spent.measured.wall_s == pytest.approx(record.session.spent.wall_s)
    assert one.spent.measured.wall_s > windows  # idling, warm-up, lead-ins and pauses as well
    assert one.hosts == (machine.host_name(),)
    assert one.spent.evaluated.wall_s > phases["evaluate"].wall_s  # the held-out part as well
    metered = made + one.spent.measured.wall_s + one.spent.evaluated.wall_s
    assert one.spent.wall_s > metered


def test_a_hopeless_trial_is_not_measured_and_its_making_is_paid_for(
    root: Path, trials: dict[str, Tried]
) -> None:
    one = trials["hopeless"]
    assert one.state == "pruned"
    assert one.reason is not None
    assert one.reason.startswith("accuracy fell from ")
    assert one.reason.endswith("by more than tuner.floor=0.3")
    assert (one.comparison, one.record, one.spent.measured.wall_s) == (None, None, 0.0)
    (digest,) = one.spent.made
    folder = root / ".artefacts" / digest[:16]
    assert read_card(folder).artefact.digest == digest
    assert len(list(folder.glob("evaluation-*.json"))) == 1  # nobody looked at the test split


def test_a_trial_that_fails_is_a_finding_with_its_reason(
    root: Path, trials: dict[str, Tried]
) -> None:
    one = trials["impossible"]
    assert (one.state, one.quality, one.comparison) == ("failed", None, None)
    assert "removed no channel" in str(one.reason)
    place = pair_of(root, replace(PRUNING, round_to=4096)).place
    assert "removed no channel" in (place / store.FAILURE).read_text()


def test_a_pair_that_was_measured_before_its_worker_died_is_not_measured_again(
    root: Path, trials: dict[str, Tried]
) -> None:
    place = pair_of(root, PRUNING).place / store.RECORD
    before = place.stat().st_mtime_ns
    again = tried(root, 3, PRUNING)
    assert place.stat().st_mtime_ns == before
    first = trials["measured"]
    assert (again.quality, again.comparison, again.record) == (
        first.quality,
        first.comparison,
        first.record,
    )
    assert again.spent.made == first.spent.made


def test_whoever_takes_what_was_found_is_charged_the_search(
    root: Path, trials: dict[str, Tried]
) -> None:
    folder = root / "found"
    folder.mkdir()
    whole = Search(
        name="found",
        workload="told",
        protocol="rehearsal",
        sampler="random",
        floor=0.05,
        measure="wall_s",
        scope="clock",
        source="clock",
        grade="none",
        tried=tuple(trials.values()),
    )
    (folder / DOCUMENT).write_text(codec.encode(whole))
    record = pair.run(pair_of(root, PRUNING, searched=folder)).record
    assert record is not None
    own = record.variant.artefact.digest
    assert own in trials["measured"].spent.made  # taken over, not made again
    phase = record.variant.phases["search"]
    assert phase == charged(whole.tried, (own,))
    everything = charged(whole.tried, ()).wall_s
    assert phase.wall_s == pytest.approx(everything - trials["measured"].spent.made[own].wall_s)
    assert record.label == f"{PRUNING.label} (searched)"
    windows = pd.read_parquet(
        pair_of(root, PRUNING, searched=folder).place / "windows.parquet"
    ).query("kept")
    per_item = (windows["wall_s"] / windows["items"]).groupby(windows["arm"]).mean()
    if record.break_even is not None:  # so short a session may not show a saving
        saved = record.break_even.inferences * (per_item["baseline"] - per_item["variant"])
        assert saved == pytest.approx(everything)


def test_a_search_is_not_charged_to_another_technique(
    root: Path, trials: dict[str, Tried], tmp_path: Path
) -> None:
    only = Search(
        *("other", "told", "rehearsal", "random", None, "wall_s", "clock", "clock", "none"),
        (trials["hopeless"],),
    )
    (tmp_path / DOCUMENT).write_text(codec.encode(only))
    with pytest.raises(SearchError, match="tried ruin on told, and this pair is structured_prun"):
        pair.run(pair_of(root, PRUNING, searched=tmp_path))


def raising(err: Exception) -> Draft:
    """A trial whose pair ends in an error before it is made."""

    def build() -> Pair:
        raise err

    return Draft(9, {}, "python -m bench", build)


@pytest.mark.parametrize(
    ("err", "raised"),
    [
        (Interrupted("SIGTERM"), Interrupted),
        (ChildError("RuntimeError: CUDA error: GPU is lost", "..."), FaultError),
        (ChildError("OSError: [Errno 28] No space left on device", "..."), FaultError),
        (ChildError("MeterError: /dev/ttyUSB0 is not there", "..."), ChildError),
        (MeterError("/dev/ttyUSB0 is not there"), MeterError),
    ],
)
def test_a_request_to_leave_and_a_broken_machine_are_no_findings(
    err: Exception, raised: type[Exception]
) -> None:
    with pytest.raises(raised):
        attempt(raising(err), TERMS)
    finding = attempt(raising(ChildError("ValueError: the loss is NaN", "...")), TERMS)
    assert (finding.state, finding.reason) == ("failed", "ValueError: the loss is NaN")


def test_sessions_of_a_trial_that_came_to_nothing_are_paid_for_once(
    root: Path, trials: dict[str, Tried]
) -> None:
    impossible = replace(PRUNING, round_to=4096)
    note = resuming.next_file(store.broken_off(pair_of(root, impossible).place))
    resuming.note(resuming.Spent(Phase(7.0, 9.0), ()), note)
    lost = tried(root, 4, impossible)
    assert (lost.state, lost.spent.measured.wall_s) == ("failed", 7.0)
    assert not note.exists()


# What was asked for.

CHOICES = {"workload": "resnet_digits", "technique": "structured_pruning", "runtime": "eager"}


def plan(*words: str) -> Plan:
    return Plan(words, CHOICES)


def test_a_drawn_point_becomes_a_pair_whose_record_lies_with_the_search(tmp_path: Path) -> None:
    asked = plan(f"store.root={tmp_path}", "store.host=here", "tuner.study=mine")
    made = asked.pair({"technique.ratio": 0.4382, "technique.scope": "global"})
    assert (made.technique.ratio, made.technique.scope) == (0.4382, "global")  # type: ignore[attr-defined]
    below = made.place.relative_to(tmp_path / ".searches" / "mine" / "records")
    assert below.parts[:3] == ("here", "resnet_digits", "structured_pruning")
    assert made.artefacts == tmp_path / ".artefacts"  # shared with all other pairs
    assert "tuner" not in made.config


def test_the_line_to_paste_is_the_same_pair_under_the_protocol_of_a_paper(tmp_path: Path) -> None:
    asked = plan(
        *(f"store.root={tmp_path}", "seed=1", "technique.round_to=4", "protocol=smoke"),
        *("tuner.study=mine", "tuner.budget.trials=3", "launcher=basic", "stage=all"),
    )
    drawn = {"technique.ratio": 0.4382, "technique.importance": "taylor"}
    words = shlex.split(asked.command(drawn))
    assert words[:3] == ["python", "-m", "bench"]
    assert not any(word.startswith(("tuner", "protocol", "launcher", "stage")) for word in words)
    assert words[-1] == f"search={tmp_path}/.searches/mine"
    pasted: Any = OmegaConf.to_container(compose("config", words[3:]), resolve=True)
    made = asked.pair(drawn).config
    for part in ("workload", "technique", "training", "runtime", "meter", "seed", "data"):
        assert pasted[part] == made[part], part
    assert pasted["protocol"]["name"] == "paper"


def test_the_line_to_paste_names_a_technique_that_was_drawn() -> None:
    words = shlex.split(plan("tuner=techniques").command({"technique": "bf16"}))
    assert "technique=bf16" in words
    assert "technique=structured_pruning" not in words


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["training.validation=0"], "training.validation is 0: trials are judged on a part"),
        (["stage=measure"], "stage=measure: each trial is made, judged and measured before"),
        (["search=somewhere"], "search=somewhere charges a pair for a search, and this is one"),
        (
            ["tuner.space.technique.ratio.high=1.5"],
            r"tuner.space.technique.ratio may draw technique.ratio=1.5: technique.ratio must be in",
        ),
        (
            ["+tuner.space.technique.rato={low: 0.1, high: 0.9}"],
            r"tuner.space.technique.rato may draw technique.rato=0.1: no such knob",
        ),
        (["technique=bf16"], r"may draw technique.ratio=0.1: no such knob"),
    ],
)
def test_what_no_trial_could_be_is_refused_before_anything_is_trained(
    words: list[str], told: str
) -> None:
    with pytest.raises(SearchError, match=told):
        plan(*words).require()


def test_what_every_trial_can_be_is_let_through() -> None:
    plan().require()
    plan("tuner=techniques").require()


def test_a_search_is_bound_to_all_that_makes_its_trials_comparable() -> None:
    one, other = plan().bound(WALL), plan("training.epochs=3").bound(WALL)
    assert [key for key in one if one[key] != other[key]] == ["training"]
    longer = plan("tuner.budget.trials=99").bound(WALL)
    assert longer == one
    assert set(one) >= {"hardware", "libraries", "measuring_version", "minimised", "data"}


def test_a_worker_that_is_asked_to_leave_gives_its_trial_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = work.Worker(plan(*QUICK, f"store.root={tmp_path}"))
    drawn = []

    def leave(draft: Draft, _: Terms) -> Tried:
        drawn.append(draft.drawn)
        raise Interrupted("SIGTERM")

    def find(draft: Draft, _: Terms) -> Tried:
        drawn.append(draft.drawn)
        return made_up(draft.number, knobs=draft.drawn)

    monkeypatch.setattr(work, "attempt", leave)
    with pytest.raises(Interrupted):
        worker.step()
    assert (worker.study.running(), worker.finished) == (0, [])
    monkeypatch.setattr(work, "attempt", find)
    done = worker.step()
    worker.close()
    assert isinstance(done, Tried)
    assert drawn == [drawn[0]] * 2
    assert worker.finished == [done]
    assert search.read(tmp_path / ".searches" / "mine").tried == (done,)


# The command.

QUICK = (
    *("protocol=rehearsal", "training.max_steps=3", "training.batch_size=16", "meter=none"),
    *("training.validation=0.2", "tuner.floor=null", "tuner.study=mine", "tuner.startup_trials=1"),
    *("tuner.space.technique.epochs.high=2", "store.host=testhost"),
)


def tune(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    places = (f"store.root={folder}/results", f"paper.root={folder}/paper")
    return subprocess.run(
        [sys.executable, "-m", "bench.tune", *QUICK, *words, *places],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=600,
    )


@pytest.mark.slow
def test_a_search_ends_with_a_front_and_a_line_that_can_be_pasted(tmp_path: Path) -> None:
    done = tune(tmp_path, "tuner.budget.trials=2")
    assert done.returncode == 0, done.stderr
    found = search.read(tmp_path / "results" / ".searches" / "mine")
    assert [one.number for one in found.tried] == [0, 1]
    assert done.stdout.count("baseline: making it") == 1
    more = tune(tmp_path, "tuner.budget.trials=3")
    assert more.returncode == 0, more.stderr
    assert len(search.read(tmp_path / "results" / ".searches" / "mine").tried) == 3
    assert more.stdout.count("variant: making it") == 1
    assert not list((tmp_path / "results").glob("testhost/*/*/*/record.json"))
    line = next(text for text in more.stdout.splitlines() if text.startswith("  python -m bench "))
    pasted = subprocess.run(
        [sys.executable, *shlex.split(line)[1:], "protocol=rehearsal", "training.max_steps=3"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=600,
    )
    assert pasted.returncode == 0, pasted.stderr
    assert "variant: reused" in pasted.stdout
    (path,) = (tmp_path / "results").glob("testhost/*/*/*/record.json")
    assert "search" in store.read(path).variant.phases


def searching(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start a search whose lines are read as they come."""
    places = (f"store.root={folder}/results", f"paper.root={folder}/paper")
    return subprocess.Popen(
        [sys.executable, "-m", "bench.tune", *QUICK, *words, *places],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_without_losing_a_finished_trial(tmp_path: Path) -> None:
    with searching(tmp_path, "tuner.budget.trials=4") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "2 of 4 trials" in line:
                process.send_signal(signal.SIGKILL)
                break
    folder = tmp_path / "results" / ".searches" / "mine"
    before = search.read(folder).tried
    assert len(before) == 2
    done = tune(tmp_path, "tuner.budget.trials=4")
    assert done.returncode == 0, done.stderr
    after = search.read(folder).tried
    assert after[:2] == before
    assert len(after) == 4


@pytest.mark.slow
def test_a_search_that_is_asked_to_leave_is_requeued_and_goes_on_with_the_same_trial(
    tmp_path: Path,
) -> None:
    with searching(tmp_path, "tuner.budget.trials=3") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "trial 1: technique." in line:
                process.terminate()
                break
        said = process.stdout.read()
    assert process.returncode == REQUEUE, said
    assert "stopped by SIGTERM" in said
    folder = tmp_path / "results" / ".searches" / "mine"
    before = search.read(folder).tried
    assert len(before) == 1
    assert not any("SIGTERM" in path.read_text() for path in folder.rglob(store.FAILURE))
    done = tune(tmp_path, "tuner.budget.trials=3")
    assert done.returncode == 0, done.stderr
    after = search.read(folder).tried
    assert after[:1] == before
    assert len(after) == 3
    asked = before[0].number + 1
    assert asked not in [one.number for one in after]  # what it had drawn is another trial's now
    assert not any("SIGTERM" in str(one.reason) for one in after)  # a busy host fails trials, too


@pytest.mark.slow
def test_several_searches_are_a_sweep_that_is_summed_up(tmp_path: Path) -> None:
    axis = ("hydra.mode=MULTIRUN", "seed=0,1")  # as -m, which only stands before all words
    words = (*axis, "tuner.study=mine-${seed}", "tuner.budget.trials=1")
    done = tune(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "sweep: 2 points: 2 measured" in done.stdout
    searches = tmp_path / "results" / ".searches"
    assert [len(search.read(searches / f"mine-{seed}").tried) for seed in (0, 1)] == [1, 1]
    again = tune(tmp_path, *words)
    assert again.returncode == 0, again.stderr
    assert "sweep: 2 points: 2 measured already" in again.stdout


def test_a_misspelt_key_of_a_search_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    done = tune(tmp_path, "tuner.smapler=gp")
    assert done.returncode == 2
    assert "tuner.smapler: there is no such key. Did you mean tuner.sampler" in done.stderr
