"""Which A/A pair a verdict is built on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from factories import comparison, noise_floor
from tiny import EAGER

from bench import recording
from bench.findings import Comparison
from bench.measurement.version import VERSION
from bench.records import Record

JOULES, SECONDS = comparison("energy_j", 0.8, "B"), comparison("wall_s", 0.8)


@dataclasses.dataclass(frozen=True)
class Rules:
    """A protocol, as far as two of them are held against each other."""

    name: str = "paper"


@pytest.fixture
def floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what the verdict is built on, of A/A pairs that were measured one after the other."""

    def find(lead: Comparison, *made: Record) -> Comparison | None:
        kept = {}
        for number, one in enumerate(made):
            place = tmp_path / "none" / f"0-{number}"
            place.mkdir(parents=True, exist_ok=True)
            kept[place] = dataclasses.replace(
                one,
                created=f"2026-11-22T00:00:0{number}+00:00",
                protocol=dataclasses.asdict(Rules()),
                runtime=dataclasses.asdict(EAGER),
            )
        monkeypatch.setattr(recording.store, "find", kept.get)
        pair = SimpleNamespace(
            place=tmp_path / "bf16" / "0-x", protocol=Rules(), runtime=EAGER, config={"seed": 7}
        )
        return recording._noise_floor(pair, lead)  # type: ignore[arg-type]

    return find


def seen(ratio: float, *, valid: bool = True, joules: bool = True) -> Record:
    """An A/A pair, on a host with a counter or without."""
    found = [comparison("wall_s", ratio), comparison("cpu_s", ratio)]
    if joules:
        found.insert(0, comparison("energy_j", ratio, "B"))
    made = noise_floor(grades=("B",) if joules else ())
    session = dataclasses.replace(made.session, valid=valid)
    made = dataclasses.replace(made, session=session)
    return dataclasses.replace(made, comparison=found[0], comparisons=tuple(found))


def test_the_newest_counts(floor: Any) -> None:
    assert floor(JOULES, seen(1.01), seen(0.99)).ratio == 0.99
    assert floor(JOULES) is None


def test_an_invalid_session_says_nothing(floor: Any) -> None:
    assert floor(JOULES, seen(1.01), seen(0.99, valid=False)).ratio == 1.01


def test_what_was_trained_or_measured_otherwise_says_nothing(floor: Any) -> None:
    other = dataclasses.replace(seen(0.99), config={"training": {"epochs": 3}})
    assert floor(JOULES, seen(1.01), other).ratio == 1.01
    older = dataclasses.replace(seen(0.99), measuring_version=VERSION - 1)
    assert floor(JOULES, seen(1.01), older).ratio == 1.01


def test_seconds_say_nothing_of_joules(floor: Any) -> None:
    assert floor(JOULES, seen(0.99, joules=False)) is None


def test_an_older_one_of_the_same_measure_counts_before_a_newer_one_of_another(floor: Any) -> None:
    found = floor(JOULES, seen(1.01), seen(0.99, joules=False))
    assert (found.measure, found.ratio) == ("energy_j", 1.01)


def test_joules_of_other_components_say_nothing(floor: Any) -> None:
    assert floor(dataclasses.replace(JOULES, scope="gpu:0"), seen(1.0)) is None


def test_the_seconds_of_a_pair_with_joules_do_for_one_without(floor: Any) -> None:
    assert floor(SECONDS, seen(0.98)).measure == "wall_s"
