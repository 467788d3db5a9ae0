"""A sweep is looked at before it starts, says how far it is, and sums up at its end."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
from factories import record
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from tiny import CONF, Tiny, configured, tiny_language

import bench.__main__  # registers the resolver of the host's name
from bench import store
from bench.interruption import REQUEUE, Interrupted
from bench.readings import Phase, Reading
from bench.sweeping import conduct, outcomes, preflight
from bench.sweeping.estimates import Earlier
from bench.sweeping.outcomes import Outcome, Plan, Planned, noted
from bench.sweeping.summary import exit_status, summary

assert bench.__main__


@contextmanager
def sweep(*words: str) -> Iterator[DictConfig]:
    """Give the configuration that Hydra hands to callbacks before a sweep."""
    with initialize_config_dir(str(CONF), version_base=None):
        loaded = GlobalHydra.instance().hydra
        assert loaded is not None
        yield loaded.compose_config(
            "config", [*words, "hydra.mode=MULTIRUN"], run_mode=RunMode.MULTIRUN
        )


# Composing.


def test_points_are_those_of_hydras_own_sweeper_the_slowest_axis_first() -> None:
    with sweep("seed=0,1", "technique=none,bf16") as config:
        assert preflight.points(config) == [
            ["seed=0", "technique=none"],
            ["seed=0", "technique=bf16"],
            ["seed=1", "technique=none"],
            ["seed=1", "technique=bf16"],
        ]


def test_an_experiments_own_axes_are_points_too() -> None:
    with sweep("experiment=smoke", "seed=3,4") as config:
        batch = preflight.points(config)
    assert batch is not None
    assert len(batch) == 2 * 4  # what the command line says of an axis takes its place


@pytest.mark.parametrize(
    "words",
    [
        ("seed=0,1", "technique=none,structured_pruning", "protocol.window_s=1,2"),
        ("technique=structured_pruning", "technique.ratio=0.25,0.5,0.75", "seed=range(3)"),
        ("experiment=smoke",),
        ("workload=resnet_digits,bert_sentences", "training.max_steps=null,5"),
        ("training=adamw", "training.schedule_options={power: 2},{cycles: 3}", "seed=0,1"),
        ("+workload.extra=1,2", "seed=0,1"),
    ],
)
def test_points_are_composed_as_hydra_composes_them_one_by_one(words: tuple[str, ...]) -> None:
    with sweep(*words) as config:
        batch = preflight.points(config)
        assert batch is not None
        found = list(preflight.composed(config, batch))
        loader = GlobalHydra.instance().config_loader()
        for point, mine in zip(batch, found, strict=True):
            one = loader.load_sweep_config(config, list(point))
            with read_write(one), open_dict(one):
                del one["hydra"]
            assert mine == OmegaConf.to_container(one, resolve=True)


def test_only_points_that_this_host_sees_through_are_held_against_its_hardware() -> None:
    with sweep("seed=0,1") as config:
        assert preflight.launched_here(config)
        assert preflight.launched_in_this_process(config)
        for launcher, here in (
            ("submitit_launcher.SlurmLauncher", False),
            ("j.JoblibLauncher", True),
        ):
            with read_write(config.hydra), open_dict(config.hydra):
                config.hydra.launcher = {"_target_": f"hydra_plugins.{launcher}"}
            assert preflight.launched_here(config) is here
            assert not preflight.launched_in_this_process(config)


# Looking.


def asked(*words: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", list(words))
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("technique=none",), None),
        (("technique=structured_pruning", "technique.ratio=50"), "got 50"),
        (("technique=int8_static",), "runtime=compile"),
        (("training.optimizer=lion",), "training.optimizer is 'lion'"),
        (("data.root=nowhere",), "data.root=nowhere is not there"),
        (("stage=train",), "stage is 'train'"),
        (("limits.make_h=-1",), "limits.make_h is -1"),
        (("technique=head_pruning",), "is no encoder like BERT"),
        (("workload=bert_sentences", "technique=channels_last"), "channels_last orders"),
    ],
)
def test_what_cannot_work_is_found_without_training(
    words: tuple[str, ...], told: str | None
) -> None:
    found = preflight.Looker(seconds=60.0).refusal(asked(*words))
    if told is None:
        assert found is None
    else:
        assert told in str(found)


def test_what_cannot_be_read_refuses_the_point_and_not_the_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route to the hub\nand more")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    words = ("workload=resnet18_cifar10", "technique=channels_last")
    found = preflight.Looker(seconds=60.0).refusal(asked(*words))
    assert "workload.dataset=uoft-cs/cifar10 cannot be loaded: no route to the hub" in str(found)
    monkeypatch.setattr(Tiny, "require", unreachable)
    parts = {"workload": Tiny()}
    looker = preflight.Looker(seconds=60.0)
    part = looker._part
    monkeypatch.setattr(looker, "_part", lambda c, name: parts.get(name) or part(c, name))
    assert looker.refusal(asked()) == "no route to the hub"


def test_a_model_is_built_once_and_looked_at_in_empty_copies() -> None:
    workload = tiny_language(layers=2)
    slim = preflight.lean(workload)
    first, second = slim.build(seed=0), slim.build(seed=0)
    assert first is not second  # whoever changes his copy changes nobody else's
    assert {p.device.type for p in first.parameters()} == {"meta"}
    shapes = [{n: p.shape for n, p in m.named_parameters()} for m in (first, workload.build(0))]
    assert shapes[0] == shapes[1]
    assert slim.test_examples() is slim.test_examples()


def test_looking_at_models_ends_after_a_while() -> None:
    looker = preflight.Looker(seconds=-1.0)
    assert looker.refusal(asked("technique=head_pruning")) is None
    assert looker.unlooked == 1


@pytest.mark.slow
def test_a_thousand_points_are_looked_at_in_half_a_minute(tmp_path: Path) -> None:
    techniques = "none,bf16,structured_pruning,unstructured_pruning,distillation,small_model"
    words = (
        *(f"technique={techniques},channels_last,regularised", "seed=range(125)"),
        f"store.root={tmp_path}",
    )
    with sweep(*words) as config:
        batch = preflight.points(config)
        assert batch is not None
        assert len(batch) == 1000
        begin = time.monotonic()
        found = conduct._look(config, batch)
        assert time.monotonic() - begin < 30
    assert len(found.plan.points) == 1000


# Estimates.


def test_a_point_takes_what_points_like_it_took() -> None:
    columns = ("workload", "technique", "protocol", "measure_s", "train_s", "optimise_s")
    made = [
        ("digits", "none", "smoke", 60.0, 100.0, None, 40.0, 40.0),
        ("digits", "prune", "smoke", 80.0, 100.0, 10.0, 40.0, 20.0),
        ("digits", "prune", "smoke", 90.0, 110.0, 30.0, 40.0, 20.0),
    ]
    known = Earlier(pd.DataFrame(made, columns=[*columns, "baseline_bytes", "variant_bytes"]))

    def point(technique: str, protocol: str) -> dict[str, Any]:
        names = {"workload": "digits", "technique": technique, "protocol": protocol}
        return {key: {"name": name} for key, name in names.items()}

    assert known.seconds(point("prune", "smoke"), trains=False) == 85.0 + 20.0
    assert known.seconds(point("prune", "smoke"), trains=True) == 85.0 + 20.0 + 105.0
    assert known.seconds(point("new", "smoke"), trains=False) == 80.0 + 20.0
    assert known.seconds(point("prune", "paper"), trains=False) is None
    assert known.bytes(point("prune", "smoke"), trains=True) == 20.0 + 40.0


def test_records_of_this_host_say_how_long_things_take(tmp_path: Path) -> None:
    for host in ("here", "elsewhere"):
        made = record(host=host)
        place = store.place(tmp_path, host, made.workload, made.technique, 0, "ab" * 32)
        store.write(place, made, {})
    rows = Earlier.read(tmp_path, "here").rows
    # As they are made up: measured within an hour, trained in 4310 s, pruned in 912 + 3.5 s.
    assert rows["measure_s"].tolist() == [3600.0]
    assert rows["train_s"].tolist() == [4310.0]
    assert rows["optimise_s"].tolist() == [915.5]
    assert Earlier.read(tmp_path / "nothing", "here").rows.empty


def plan(*estimates_s: float | None, measured: tuple[int, ...] = ()) -> Plan:
    points = tuple(
        Planned(f"point {n}", f"place {n}", n in measured, estimate_s)
        for n, estimate_s in enumerate(estimates_s)
    )
    return Plan(points, 0.0, "results", "paper", True)


def done(wall_s: float, **changes: Any) -> Outcome:
    return dataclasses.replace(Outcome("x", "measured", "place", None, wall_s), **changes)


@pytest.mark.parametrize(
    ("planned", "found", "elapsed_s", "left_s"),
    [
        (plan(10.0, 20.0, 30.0), {}, 0.0, 60.0),  # by earlier records
        (plan(10.0, 20.0, 30.0), {0: done(20.0)}, 20.0, 100.0),  # twice as slow as they were
        (plan(None, None, None, None), {0: done(30.0)}, 30.0, 90.0),  # as long as the first
        (plan(10.0, 10.0, 10.0, 10.0), {0: done(20.0), 1: done(20.0)}, 20.0, 20.0),  # two at once
        (plan(10.0, 20.0, measured=(1,)), {}, 0.0, 10.0),
        (plan(None, None), {}, 5.0, None),  # nothing to go by
        (plan(10.0), {0: done(10.0)}, 10.0, 0.0),
    ],
)
def test_the_time_left_follows_the_pace(
    planned: Plan, found: dict[int, Outcome], elapsed_s: float, left_s: float | None
) -> None:
    assert outcomes.seconds_left(planned, found, elapsed_s) == left_s


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (89.0, "89 s"),
        (600.0, "10 min"),
        (5400.0, "1 h 30 min"),
        (190_000.0, "2 d 4 h"),
    ],
)
def test_durations_are_said_in_two_units_at_most(seconds: float, words: str) -> None:
    assert outcomes.duration(seconds) == words


# Outcomes.


def reading(meter: str, grade: Any, energy_j: float | None) -> Reading:
    return Reading(meter, "cpu:0", "source", grade, energy_j, None if energy_j else "lost")


def test_joules_of_a_point_are_of_one_meter_of_the_best_grade() -> None:
    phases = [
        Phase(1.0, 1.0, (reading("codecarbon", "C", 70.0), reading("counters", "B", 50.0))),
        Phase(1.0, 1.0, (reading("polled", "B", 51.0), reading("counters", "B", 25.0))),
        Phase(1.0, 1.0, (reading("counters", "B", None),)),
    ]
    assert outcomes.joules(phases) == (75.0, "B")
    assert outcomes.joules([phases[2]]) == (None, None)


def test_each_end_of_a_point_is_noted_with_its_reason(tmp_path: Path) -> None:
    outcomes.write_plan(plan(None, None, None), tmp_path)
    ends: list[tuple[int, BaseException | None]] = [
        (0, None),
        (1, ValueError("first line\nsecond line")),
        (2, Interrupted("SIGTERM")),
    ]
    for number, error in ends:
        (tmp_path / str(number)).mkdir()
        place = tmp_path / "place"
        with (
            pytest.raises(type(error)) if error else nullcontext(),
            noted(tmp_path / str(number), f"point {number}", place) as ledger,
        ):
            ledger.spent = (Phase(1.0, 1.0, (reading("counters", "B", 5.0),)),)
            ledger.verdict = "undecided"
            if error is not None:
                raise error
    found = outcomes.read(tmp_path)
    assert [found[n].status for n in range(3)] == ["measured", "failed", "interrupted"]
    assert [found[n].why for n in range(2)] == [None, "first line"]
    assert (found[0].energy_j, found[0].grade, found[0].verdict) == (5.0, "B", "undecided")
    assert json.loads((tmp_path / "0" / outcomes.OUTCOME).read_text())["status"] == "measured"


def test_a_full_disk_does_not_hide_why_a_point_failed(tmp_path: Path) -> None:
    (tmp_path / "0").write_text("no folder")
    with (
        pytest.raises(ArithmeticError, match="the reason"),
        noted(tmp_path / "0", "point", tmp_path),
    ):
        raise ArithmeticError("the reason")


def test_a_sweep_is_summed_up_with_what_needs_a_look() -> None:
    one: dict[str, Any] = {"baseline": "ab", "baseline_train_s": 20.0}
    other: dict[str, Any] = {"baseline": "cd", "baseline_train_s": 30.0}
    found = {
        0: done(10.0, name="a", energy_j=100.0, grade="B", verdict="saves", **one),
        1: done(10.0, name="b", energy_j=50.0, grade="B", verdict="undecided", **one),
        2: done(1.0, name="c", status="failed", why="too little memory"),
        3: done(1.0, name="d", status="skipped"),
        4: done(1.0, name="e", energy_j=7.0, grade="C", **other),
    }
    text = summary(plan(*[None] * 5), found)
    assert text.splitlines() == [
        "sweep: 5 points: 3 measured, 1 measured already, 1 failed, 1 undecided; "
        "150 J so far (counted, B); 7 J so far (modelled, C)",
        "  baselines: 2 for 3 pairs, trained in 50 s; one for each pair would take 70 s",
        "  failed: c: too little memory",
        "  undecided: b",
        "  failure.json in each place holds the traceback; the same command tries again",
    ]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (("measured", "skipped", "prepared"), 0),
        (("measured", "failed", "measured"), 1),
        (("measured", "measured"), 1),  # one never came to an end
        (("failed", "interrupted", "measured"), REQUEUE),
    ],
)
def test_the_exit_status_tells(statuses: tuple[Any, ...], expected: int) -> None:
    found = {n: done(1.0, status=status) for n, status in enumerate(statuses)}
    assert exit_status(plan(None, None, None), found) == expected


def test_progress_is_one_line() -> None:
    now = dataclasses.replace(plan(60.0, 60.0, 60.0), started_s=time.time() - 60.0)
    found = {0: done(60.0, energy_j=1234.5, grade="B")}
    assert outcomes.progress(now, found) == (
        "sweep: 1 of 3 points done; 1234 J so far (counted, B); about 2 min left"
    )


def test_a_workload_that_is_known_is_used_as_it_is() -> None:
    """The lean copy differs in nothing but what it builds."""
    workload = configured("resnet_digits")
    slim = preflight.lean(workload)
    assert (slim.name, slim.batch_size, slim.metric) == (
        workload.name,
        workload.batch_size,
        workload.metric,
    )
