"""What may be said of a pair."""

from dataclasses import replace

import numpy as np
import pytest
import sklearn.metrics
from factories import record as make_record

from bench import conclusions
from bench.findings import Comparison, Proof, Quality
from bench.measurement import Span
from bench.measurement.figures import CPU, WALL, Figure, available
from bench.measurement.session import Window
from bench.meters import Channel
from bench.readings import Phase, Reading
from bench.records import Discard

COUNTER = Figure("energy_j", "cpu:0", "counters", "B")


def span(wall_s: float, energy_j: float | None, grade: str = "B") -> Span:
    reading = Reading(
        "counters", "cpu:0", "zeus.rapl", grade, energy_j, None if energy_j else "lost"
    )  # type: ignore[arg-type]
    return Span("window", 0, round(wall_s * 1e9), wall_s, (reading,), 0.0, 0.0)


def windows(blocks: list[tuple[float, float, float, float]], items: int = 10) -> list[Window]:
    """Blocks of ABBA joules; each window lasts one second."""
    return [
        Window(number, "ABBA", place, arm, items, span(1.0, joules), kept=True)  # type: ignore[arg-type]
        for number, block in enumerate(blocks)
        for place, (arm, joules) in enumerate(
            zip(("baseline", "variant", "variant", "baseline"), block, strict=True)
        )
    ]


STOLEN = Discard(0, "steal", "9.0% of the cores, limit 1.0%")


def test_one_block_is_no_finding_and_the_first_discard_is_told() -> None:
    with pytest.raises(ValueError, match=r"of 1 blocks 1 were discarded.*steal, 9\.0%"):
        conclusions.comparisons(windows([(20.0, 10.0, 10.0, 20.0)]), [WALL], discards=[STOLEN])


def test_the_ratio_is_of_joules_per_sample() -> None:
    halves = [(20.0, 10.0, 10.0, 20.0), (22.0, 11.0, 11.0, 22.0), (20.0, 10.0, 10.0, 20.0)]
    (found,) = conclusions.comparisons(windows(halves), [COUNTER], discards=[STOLEN])
    assert found.ratio == pytest.approx(0.5)
    assert found.baseline_per_item == pytest.approx((2.0 * 2.2 * 2.0) ** (1 / 3))
    assert (found.blocks, found.discarded, found.grade) == (3, 1, "B")


def test_a_figure_that_a_kept_window_lacks_is_not_compared() -> None:
    measured = windows([(20.0, 10.0, 10.0, 20.0)] * 2)
    measured[3] = replace(measured[3], span=span(1.0, None))
    found = conclusions.comparisons(measured, [WALL, COUNTER], discards=[])
    assert [c.measure for c in found] == ["wall_s"]


def test_counters_lead_then_seconds_and_models_come_last() -> None:
    channels = {
        "codecarbon": (Channel("cpu", "codecarbon.cpu_load", "C"),),
        "counters": (Channel("cpu:0", "zeus.rapl", "B"), Channel("dram:0", "zeus.rapl", "B")),
    }
    figures = available(channels)
    assert [(f.measure, f.grade) for f in figures] == [
        ("energy_j", "B"),
        ("wall_s", "none"),
        ("cpu_s", "none"),
        ("energy_j", "C"),
    ]
    assert figures[0].scope == "cpu:0+dram:0"


@pytest.mark.parametrize(
    ("component", "device", "leads"),
    [
        ("gpu:1", "cuda", True),
        ("gpu", "cuda", True),
        ("gpu:0", "cpu", False),
        ("cpu:0", "cpu", True),
        ("cpu:0", "cuda", False),
        ("dram:0", "cpu", False),
        ("wall", "cuda", True),
        ("soc:total", "cpu", True),
        ("gpu:0", None, True),
    ],
)
def test_joules_of_another_device_than_the_one_that_serves_do_not_lead(
    component: str, device: str | None, leads: bool
) -> None:
    figures = available({"counters": (Channel(component, "a.counter", "B"),)}, device)
    assert [f.measure for f in figures] == (
        ["energy_j", "wall_s", "cpu_s"] if leads else ["wall_s", "cpu_s", "energy_j"]
    )


def test_a_reason_names_the_joules_that_were_counted_of_something_else() -> None:
    reason = say(found=[FASTER, SAVES]).reason
    assert reason == "no energy counter of the device that serves, only of cpu:0"


def test_without_a_counter_wall_seconds_lead() -> None:
    channels = {"codecarbon": (Channel("cpu", "codecarbon.cpu_load", "C"),)}
    assert available(channels)[:2] == (WALL, CPU)


def test_joules_of_two_grades_of_one_meter_are_two_figures() -> None:
    channels = {
        "codecarbon": (
            Channel("gpu", "codecarbon.pynvml", "B"),
            Channel("ram", "codecarbon.ram_model", "C"),
        )
    }
    assert [(f.scope, f.grade) for f in available(channels) if f.measure == "energy_j"] == [
        ("gpu", "B"),
        ("ram", "C"),
    ]


def test_a_figure_with_a_missing_component_is_missing() -> None:
    there = Reading("counters", "cpu:0", "zeus.rapl", "B", 5.0)
    lost = Reading("counters", "dram:0", "zeus.rapl", "B", None, "permission denied")
    both = Figure("energy_j", "cpu:0+dram:0", "counters", "B")
    memory = replace(lost, energy_j=2.0, reason=None)
    assert both.of(Phase(1.0, 1.0, (there, memory))) == 7.0
    assert both.of(Phase(1.0, 1.0, (there,))) is None
    assert both.of(Phase(1.0, 1.0, (there, lost))) is None
    assert both.of(Phase(1.0, 1.0, ())) is None


def test_break_even_is_cost_over_saving_per_inference() -> None:
    """1 J saved a sample (20 J against 10 J for 10 samples): 500 J are paid back by 500."""
    measured = windows(
        [(20.0, 10.0, 10.0, 20.0), (20.2, 10.0, 10.0, 20.2), (19.8, 10.0, 10.0, 19.8)]
    )
    spent = [Phase(1.0, 1.0, (Reading("counters", "cpu:0", "zeus.rapl", "B", 500.0),))]
    found, reason = conclusions.break_even(COUNTER, measured, spent)
    assert found is not None
    assert reason is None
    assert found.inferences == pytest.approx(500)
    assert found.low < 500 < (found.high or 0)


def test_a_variant_that_saves_nothing_never_breaks_even() -> None:
    measured = windows([(10.0, 20.0, 20.0, 10.0), (10.0, 20.1, 20.1, 10.0)])
    found, reason = conclusions.break_even(COUNTER, measured, [Phase(1.0, 1.0)])
    assert found is None
    assert reason is not None


def test_break_even_without_the_cost_in_joules_says_so() -> None:
    lost = Phase(1.0, 1.0, (Reading("counters", "cpu:0", "zeus.rapl", "B", None, "lost"),))
    found, reason = conclusions.break_even(COUNTER, windows([(2.0, 1.0, 1.0, 2.0)] * 3), [lost])
    assert found is None
    assert reason is not None
    assert "missing" in reason


@pytest.mark.parametrize(
    ("macs", "time", "exploited"),
    [
        (0.1, 0.99, False),
        (0.1, 0.5, True),
        (1.0, 1.0, True),
        (0.79, 0.951, False),
        (0.81, 1.0, True),
    ],
)
def test_fewer_operations_without_less_time_are_not_exploited(
    macs: float, time: float, exploited: bool
) -> None:
    record = make_record()
    variant = replace(record.baseline, macs=round(record.baseline.macs * macs))
    wall = replace(record.comparison, measure="wall_s", ratio=time)
    assert conclusions.exploited(record.baseline, variant, wall) is exploited


@pytest.mark.parametrize(("time", "exploited"), [(0.99, False), (0.5, True)])
def test_zeros_without_less_time_are_not_exploited_either(time: float, exploited: bool) -> None:
    record = make_record()
    sparse = replace(record.baseline, nonzero_parameters=record.baseline.parameters // 10)
    wall = replace(record.comparison, measure="wall_s", ratio=time)
    assert conclusions.exploited(record.baseline, sparse, wall) is exploited


def test_accuracy_is_compared_on_the_same_examples() -> None:
    """Ten examples, one lost and three gained: +0.2."""
    labels = [0] * 10
    baseline = [0] * 6 + [1] * 4
    variant = [1] + [0] * 5 + [0] * 3 + [1]
    found = conclusions.quality("accuracy", labels, (baseline, variant), margin=0.01)
    assert (found.baseline, found.variant) == (0.6, 0.8)
    assert found.difference == pytest.approx(0.2)
    assert found.low < 0.2 < found.high
    assert found.verdict == "inconclusive"


SAVES = Comparison(
    "energy_j", "cpu:0", "counters", "B", 0.5, 0.45, 0.55, 8, 0, 0.01, 0.02, 2.0, 1.0
)
FASTER = replace(SAVES, measure="wall_s", scope="clock", source="clock", grade="none")
FLOOR = replace(SAVES, ratio=1.0, low=0.99, high=1.01)
SAME = Quality("accuracy", 0.9, 0.9, 0.0, -0.004, 0.004, 0.01, 1000, 4, 4, "non-inferior")
REAL = Proof(True, True, ("aten::mm [float]",), True, True)


def say(**changes: object):  # type: ignore[no-untyped-def]
    facts = {
        "found": [SAVES, FASTER],
        "of_quality": SAME,
        "proof": REAL,
        "invalid": None,
        "noise_floor": FLOOR,
        "changes_nothing": False,
    } | changes
    return conclusions.verdict(**facts)  # type: ignore[arg-type]


def test_a_headline_needs_every_condition() -> None:
    verdict = say()
    assert (verdict.energy, verdict.time, verdict.headline) == ("saves", "faster", True)
    assert verdict.reason is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"invalid": "too many blocks discarded"}, "the session is invalid"),
        ({"changes_nothing": True}, "A/A pair"),
        ({"found": [FASTER]}, "no energy counter"),
        ({"found": [replace(SAVES, grade="S"), FASTER]}, "grade S"),
        ({"found": [replace(SAVES, high=1.01), FASTER]}, "reaches 1.010"),
        ({"of_quality": replace(SAME, verdict="inconclusive")}, "accuracy is inconclusive"),
        ({"proof": replace(REAL, bytes_fell=False)}, "not smaller"),
        ({"proof": replace(REAL, no_simulation_left=False)}, "fake-quantize"),
        ({"proof": replace(REAL, reload_exact=False)}, "does not reproduce"),
        ({"proof": replace(REAL, exploited=False)}, "not exploited"),
        ({"noise_floor": None}, "no A/A pair"),
        ({"noise_floor": replace(FLOOR, low=1.001)}, "does not contain 1"),
    ],
)
def test_the_first_condition_that_fails_is_named(changes: dict[str, object], reason: str) -> None:
    verdict = say(**changes)
    assert not verdict.headline
    assert reason in (verdict.reason or "")


@pytest.mark.parametrize("grade", ["S", "none"])
def test_only_counted_joules_save_energy(grade: str) -> None:
    lead = replace(SAVES, grade=grade, measure="energy_j" if grade == "S" else "wall_s")
    assert say(found=[lead, FASTER]).energy == "undecided"


def test_an_invalid_session_decides_nothing() -> None:
    verdict = say(invalid="idle drifted")
    assert (verdict.energy, verdict.time) == ("undecided", "undecided")


def test_a_correlation_is_compared_by_a_bootstrap_and_has_no_lost_examples() -> None:
    drawn = np.random.default_rng(1)
    labels = drawn.integers(2, size=400)
    said = np.where(drawn.random(400) < 0.2, 1 - labels, labels)
    found = conclusions.quality(
        "matthews_correlation", labels.tolist(), (said.tolist(), said.tolist()), margin=0.01
    )
    assert found.baseline == pytest.approx(sklearn.metrics.matthews_corrcoef(labels, said))
    assert (found.difference, found.low, found.high) == (0, 0, 0)
    assert (found.lost, found.gained, found.verdict) == (None, None, "non-inferior")
    worse = np.where(drawn.random(400) < 0.3, 1 - said, said)
    found = conclusions.quality(
        "matthews_correlation", labels.tolist(), (said.tolist(), worse.tolist()), margin=0.01
    )
    assert found.low < found.difference < found.high < -0.01
    assert found.verdict == "inferior"
