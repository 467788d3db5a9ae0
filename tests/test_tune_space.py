"""What a search may draw: reading a space, drawing from it, and refusing what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from searches import tuner

from bench.tune.settings import Budget
from bench.tune.space import Knob, knobs, overrides

CONF = Path(__file__).parents[1] / "conf"


def only(node: dict[str, Any]) -> Knob:
    (knob,) = knobs({"technique": {"knob": node}})
    return knob


class Asked:
    """A trial that answers with the upper end, and tells what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        self.calls.append((name, choices))
        return choices[-1]

    def suggest_int(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        self.calls.append((name, low, high, step, log))
        return high

    def suggest_float(
        self, name: str, low: float, high: float, step: float | None, log: bool
    ) -> float:
        self.calls.append((name, low, high, step, log))
        return low + (high - low) / 3


def test_a_nested_space_is_read_as_knobs_with_dotted_keys() -> None:
    space = {
        "technique": {
            "ratio": {"low": 0.1, "high": 0.9},
            "steps": {"pruning": {"epochs": {"low": 1, "high": 4}}},
        },
        "training": {"learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}},
    }
    assert [knob.key for knob in knobs(space)] == [
        "technique.ratio",
        "technique.steps.pruning.epochs",
        "training.learning_rate",
    ]


def test_whole_ends_draw_whole_numbers_and_others_four_digits() -> None:
    trial = Asked()
    assert only({"low": 1, "high": 4}).draw(trial) == 4  # type: ignore[arg-type]
    assert only({"low": 0.0, "high": 1.0}).draw(trial) == 0.3333  # type: ignore[arg-type]
    assert only({"choices": ["a", None]}).draw(trial) is None  # type: ignore[arg-type]
    assert trial.calls == [
        ("technique.knob", 1, 4, 1, False),
        ("technique.knob", 0.0, 1.0, None, False),
        ("technique.knob", ["a", None]),
    ]


def test_a_readable_number_stays_within_its_range() -> None:
    knob = only({"low": 0.123456, "high": 0.345678})
    assert [knob.readable(value) for value in (0.123456, 0.2000049, 0.345678)] == [
        0.1235,
        0.2,
        0.345678,
    ]


def test_the_technique_is_drawn_first_and_decides_which_knobs_are_asked_for() -> None:
    ratio, technique = {"low": 0.1, "high": 0.9, "when": ["pruning"]}, ["pruning", "bf16"]
    found = knobs({"technique": {"ratio": ratio, "choices": technique}})
    assert [knob.key for knob in found] == ["technique", "technique.ratio"]
    assert found[1].asked({"technique": "pruning"})
    assert not found[1].asked({"technique": "bf16"})


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({}, "tuner.space is empty"),
        ({"technique": {"ratio": 0.5}}, r"tuner.space.technique.ratio is 0.5: a knob has choices"),
        ({"technique": {"ratio": {"low": 0.1}}}, "tuner.space.technique.ratio has low: a knob has"),
        (
            {"technique": {"ratio": {"low": 0.1, "high": 0.9, "choices": [1, 2]}}},
            "tuner.space.technique.ratio has choices, low, high",
        ),
        (
            {"technique": {"ratio": {"low": 0.1, "high": 0.9, "hihg": 2}}},
            "tuner.space.technique.ratio.hihg is 2",
        ),
        ({"technique": {"ratio": {"low": 0.9, "high": 0.1}}}, "low=0.9, high=0.1: low lies below"),
        ({"technique": {"ratio": {"low": "0", "high": 1}}}, "ratio.low is '0': a number"),
        ({"technique": {"lr": {"low": 0, "high": 1, "log": True}}}, "low=0 has no logarithm"),
        ({"technique": {"lr": {"low": 1, "high": 9, "step": 2, "log": True}}}, "step is 2: above"),
        ({"technique": {"lr": {"low": 1, "high": 9, "step": 10}}}, "step is 10: above 0, within"),
        ({"technique": {"scope": {"choices": ["layer"]}}}, "two different ones or more"),
        ({"technique": {"scope": {"choices": ["a", "a"]}}}, "two different ones or more"),
        ({"technique": {"scope": {"choices": ["a", "rm -rf"]}}}, "has 'rm -rf': words, numbers"),
        ({"technique": {"scope": {"choices": ["a", "null"]}}}, "has 'null': words, numbers"),
        ({"technique": {"scope": {"choices": "layer"}}}, "choices is 'layer': a list"),
        ({"workload": {"margin": {"low": 0.1, "high": 0.2}}}, "draws knobs of technique and train"),
        ({"protocol": {"blocks": {"low": 2, "high": 9}}}, "draws knobs of technique and training"),
        ({"training": {"validation": {"low": 0.1, "high": 0.2}}}, "is the same for all trials"),
        ({"technique": {"_target_": {"choices": ["a", "b"]}}}, "is the same for all trials"),
        (
            {"technique": {"ratio": {"low": 0.1, "high": 0.9, "when": ["bf16"]}}},
            r"ratio.when has bf16: one of tuner.space.technique.choices \(none\)",
        ),
    ],
)
def test_a_space_that_cannot_be_drawn_from_is_refused_with_its_key(
    space: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        tuner(space=space)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"study": "../elsewhere"}, "tuner.study is '../elsewhere'"),
        ({"study": ".hidden"}, "tuner.study is '.hidden'"),
        ({"sampler": "grid"}, "tuner.sampler is 'grid': one of tpe, gp, nsga2, random"),
        ({"startup_trials": 0}, "tuner.startup_trials is 0"),
        ({"seed": -1}, "tuner.seed is -1"),
        ({"floor": 0.0}, "tuner.floor is 0.0: it is a loss"),
    ],
)
def test_an_impossible_search_is_refused_with_its_key(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        tuner(**changes)


def test_gaussian_processes_are_refused_where_knobs_come_and_go() -> None:
    space = {"technique": {"choices": ["a", "b"], "ratio": {"low": 0.1, "high": 0.9}}}
    tuner(sampler="gp", space=space)
    space["technique"]["ratio"]["when"] = ["a"]  # type: ignore[index]
    with pytest.raises(ValueError, match=r"tuner\.sampler=gp draws the same knobs in every trial"):
        tuner(sampler="gp", space=space)


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ((None, None, None), "tuner.budget has no end"),
        ((0, None, None), "tuner.budget.trials is 0"),
        ((None, -1.0, None), "tuner.budget.hours is -1.0"),
        ((3, None, 0.0), "tuner.budget.joules is 0.0"),
    ],
)
def test_a_budget_without_end_or_beginning_is_refused(limits: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Budget(*limits)


def test_drawn_values_are_read_back_by_hydra_as_they_were_drawn() -> None:
    drawn = {
        "technique": "structured_pruning_bf16",
        "technique.ratio": 0.4382,
        "technique.learning_rate": 1.5e-05,
        "technique.epochs": 3,
        "technique.targets": None,
        "technique.merged": False,
        "technique.scope": "layer",
    }
    parsed = OverridesParser.create().parse_overrides(overrides(drawn))
    assert {p.key_or_group: p.value() for p in parsed} == drawn
    assert [type(p.value()) for p in parsed] == [type(value) for value in drawn.values()]


def composed(*words: str) -> Any:
    with initialize_config_dir(str(CONF), version_base=None):
        return compose("tune", list(words))


@pytest.mark.parametrize("option", sorted(path.stem for path in (CONF / "tuner").glob("*.yaml")))
def test_every_tuner_builds_and_draws_what_its_technique_has(option: str) -> None:
    assert f"python -m bench.tune tuner={option}" in (CONF / "tuner" / f"{option}.yaml").read_text()
    found = instantiate(composed(f"tuner={option}").tuner, _convert_="all")
    assert found.name == option
    for knob in found.knobs:
        technique = [f"technique={name}" for name in knob.when]
        for value in knob.ends:
            cfg = composed(f"tuner={option}", *technique, *overrides({knob.key: value}))
            instantiate(cfg.technique, _convert_="all")


def test_a_search_is_a_pair_and_a_tuner_whose_knobs_a_command_line_sets() -> None:
    with initialize_config_dir(str(CONF), version_base=None):
        pair = compose("config", [])
    cfg = composed("workload=bert_sentences", "tuner.space.technique.ratio.high=0.7")
    assert set(cfg) == {*pair, "tuner"}
    assert cfg.protocol.name == "search"
    assert cfg.training.validation == 0.1
    assert cfg.technique.name == "structured_pruning"
    assert cfg.tuner.study == "bert_sentences-structured_pruning-seed0"
    assert cfg.tuner.space.technique.ratio.high == 0.7
    assert composed("protocol=smoke").protocol.name == "smoke"
    assert composed("technique=bf16").technique.name == "bf16"


def test_a_misspelt_knob_of_the_tuner_fails_at_once() -> None:
    with pytest.raises(InstantiationException, match="speed"):
        instantiate(composed("+tuner.speed=9").tuner)


def test_records_of_a_search_never_enter_a_table() -> None:
    text = (CONF / "protocol" / "search.yaml").read_text()
    assert yaml.safe_load(text)["rehearsal"] is True
