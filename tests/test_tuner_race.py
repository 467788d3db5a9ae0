"""The race of a sampler against random draws: who wins is told by rectangles."""

from __future__ import annotations

import pytest
from searches import search, tried

from benchmarks.tuner import RANDOM, Race, require_measured, table, volume

# Baseline: ratio 1, accuracy 0.932. The reference lies at 1 and at 0.932 less the floor.
FOUND = [tried(0, 0.5, 0.930), tried(1, 0.3, 0.915), tried(2, 0.6, 0.900)]


def test_the_volume_is_what_lies_above_the_floor_and_below_the_baselines_cost() -> None:
    steps = (0.5 - 0.3) * (0.915 - 0.882) + (1 - 0.5) * (0.930 - 0.882)
    assert volume(search(FOUND, floor=0.05)) == pytest.approx(steps)
    lower = (0.5 - 0.3) * (0.915 - 0.832) + (1 - 0.5) * (0.930 - 0.832)
    assert volume(search(FOUND, floor=0.1)) == pytest.approx(lower)


def test_a_search_that_measured_nothing_has_no_volume_and_without_a_floor_there_is_none() -> None:
    assert volume(search([tried(0, state="failed")], floor=0.05)) == 0.0
    with pytest.raises(SystemExit, match=r"needs tuner\.floor"):
        volume(search(FOUND, floor=None))


def test_a_search_that_could_measure_nothing_is_refused_and_one_without_hope_is_not() -> None:
    busy = [tried(0, state="failed", reason="foreign load"), tried(1, state="pruned")]
    with pytest.raises(SystemExit, match=r"seed 3: tpe measured no trial.*1 failed.*foreign load"):
        require_measured(3, "tpe", search(busy))
    require_measured(3, "tpe", search([*busy, tried(2)]))
    require_measured(3, "tpe", search([tried(0, state="pruned")]))


def test_the_report_counts_the_seeds_that_were_won_and_names_the_slowest_search() -> None:
    def race(seed: int, ours: float, theirs: float) -> Race:
        names = ("tpe", RANDOM)
        return Race(
            seed,
            dict(zip(names, (ours, theirs), strict=True)),
            dict.fromkeys(names, "20 / 8 / 2"),
            dict(zip(names, (10.0 + seed, 9.0), strict=True)),
        )

    races = [race(0, 0.04, 0.03), race(1, 0.02, 0.03), race(2, 0.03, 0.03)]
    text = table(races, "tpe", 30, ["workload=resnet_digits", "store.root=somewhere"])
    assert "workload=resnet_digits; the searches" in text  # where it was kept concerns nobody
    assert "At least random's in 2 of 3 seeds. The slowest search took 12.0 minutes." in text
    row = "| 0 | 0.04000 | 0.03000 | 1.333 | 20 / 8 / 2 | 20 / 8 / 2 | 10.0 | 9.0 |"
    assert row in text.splitlines()
