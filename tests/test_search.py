"""What a search has spent, and who is charged for it: sums by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import pytest
from factories import WATTS, phase, record
from searches import search, tried

from bench import codec, machine, recording
from bench.measurement.figures import WALL
from bench.readings import Phase, Reading, total
from bench.search import DOCUMENT, SearchError, charged, read, require

TRIAL_S = 3.0 + 1.0 + 10.0
"""What a made-up trial takes to make, evaluate and measure."""


def joules(phases: Phase) -> float:
    return sum(r.energy_j for r in phases.readings if r.energy_j is not None)


def test_a_search_has_spent_what_all_its_trials_have() -> None:
    three = search([tried(0, grade="B"), tried(1, grade="B"), tried(2, grade="B")], "B")
    assert three.energy_j == pytest.approx(3 * TRIAL_S * WATTS)
    assert charged(three.tried, ()).wall_s == pytest.approx(3 * TRIAL_S)
    assert three.wall_s == 60.0  # by the clock, with what nobody metered


def test_trials_that_came_to_nothing_are_charged_too() -> None:
    lost = tried(1, state="pruned", grade="B")  # made and evaluated, not measured
    assert search([tried(0, grade="B"), lost], "B").energy_j == pytest.approx(
        (TRIAL_S + 3.0 + 1.0) * WATTS
    )


def test_making_an_artefact_is_left_to_the_record_that_has_it() -> None:
    two = search([tried(0, grade="B"), tried(1, grade="B")], "B")
    assert joules(charged(two.tried, ("artefact 1",))) == pytest.approx((2 * TRIAL_S - 3.0) * WATTS)
    assert joules(charged(two.tried, ("artefact 9",))) == pytest.approx(2 * TRIAL_S * WATTS)


def test_a_search_by_seconds_has_no_joules() -> None:
    assert search([tried(0)]).energy_j is None


def test_joules_that_one_phase_lacks_are_missing_in_the_sum() -> None:
    whole, torn = phase(2.0, ("B",)), phase(2.0, ("B",))
    failed = dataclasses.replace(torn.readings[0], energy_j=None, reason="unplugged")
    torn = dataclasses.replace(torn, readings=(failed, torn.readings[1]))
    summed = total([whole, torn])
    assert summed.wall_s == 4.0
    assert [(r.component, r.energy_j, r.reason) for r in summed.readings] == [
        ("cpu:0", None, "unplugged"),
        ("dram:0", pytest.approx(2 * 2.0 * WATTS * 0.25), None),
    ]


def test_a_meter_that_was_not_there_all_the_time_has_no_sum() -> None:
    reading = total([phase(2.0, ("B",)), phase(2.0, ())]).readings[0]
    assert (reading.energy_j, reading.reason) == (None, "not read in 1 of 2 phases")


def test_joules_of_two_origins_are_never_total() -> None:
    one = Phase(1.0, 1.0, (Reading("counters", "cpu:0", "rapl", "B", 5.0),))
    two = Phase(1.0, 1.0, (Reading("counters", "cpu:0", "model", "C", 5.0),))
    reading = total([one, two]).readings[0]
    assert (reading.energy_j, reading.reason) == (None, "read from model and rapl")


def test_nothing_spent_is_no_phase_that_lacks_a_reading() -> None:
    assert total([phase(2.0, ("B",)), Phase(0.0, 0.0)]).readings[0].energy_j == pytest.approx(
        2.0 * WATTS * 0.75
    )


def test_a_search_reads_back_as_it_was_written(tmp_path: Path) -> None:
    made = search([tried(0, grade="B"), tried(1, state="failed"), tried(2, state="pruned")], "B")
    (tmp_path / DOCUMENT).write_text(codec.encode(made))
    assert read(tmp_path) == made


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "give the folder of a search, one below <store.root>/.searches"),
        ("{", "is not JSON"),
        ('{"schema": 2}', "schema is 2, this version of joulebench reads 1"),
        ('{"schema": 1}', "search lacks"),
    ],
)
def test_what_is_no_search_is_refused(tmp_path: Path, text: str | None, told: str) -> None:
    if text is not None:
        (tmp_path / DOCUMENT).write_text(text)
    with pytest.raises(SearchError, match=told):
        read(tmp_path)


def test_what_a_search_took_on_another_machine_is_not_held_against_what_is_saved_here() -> None:
    here = machine.host_name()
    own = search([tried(0, hosts=(here,))])
    shared = search([tried(0, hosts=(here,)), tried(1, hosts=("elsewhere", here))])
    assert shared.hosts == tuple(sorted(("elsewhere", here)))
    assert recording._searched_elsewhere(own) is None
    why = (
        f"searched on elsewhere and measured on {here}: joules of two machines are not held "
        f"together"
    )
    assert recording._searched_elsewhere(shared) == why
    variant, nothing = record().variant, cast("Any", None)  # what was measured is not looked at
    assert recording._break_even(WALL, nothing, variant, shared) == (None, why)


def test_a_pair_is_charged_only_for_a_search_for_its_technique_and_workload() -> None:
    made = search([tried(0)])
    require(made, "resnet50_cifar10", "prune")
    for workload, technique in (("resnet50_cifar10", "bf16"), ("bert_sst2", "prune")):
        with pytest.raises(SearchError, match=f"this pair is {technique} on {workload}"):
            require(made, workload, technique)
