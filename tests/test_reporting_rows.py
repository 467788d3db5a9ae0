"""Rows pool what repeats a measurement, refuse what does not, and claim no more than they hold."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import numpy as np
import pytest
from factories import WATTS, counted_as, frame, noise_floor, phase, quality, record
from scipy import stats
from statsmodels.stats.multitest import multipletests

from bench.findings import BreakEven
from bench.readings import Reading, elsewhere, uncounted
from bench.records import Record
from bench.reporting.pairs import TableError, left_out
from bench.reporting.rows import BY, Row, origin, rows

UNPOOLED = (*BY, "seed", "session_number", "id")
SD, BLOCKS = 0.0125, 8
"""Of every comparison in ``factories``."""


def row(*records: Record, **changes: Any) -> Row:
    """The one row that these records make."""
    (found,) = rows(frame(*records), **changes)
    return found


def by_label(*records: Record, **changes: Any) -> dict[str, Row]:
    return {found.key["label"]: found for found in rows(frame(*records), **changes)}


def with_session(made: Record, **changes: Any) -> Record:
    return dataclasses.replace(made, session=dataclasses.replace(made.session, **changes))


def invalid(made: Record, reason: str = "idle power drifted by +8.0%") -> Record:
    return with_session(made, valid=False, reason=reason)


# Ratios


def test_one_pair_keeps_the_interval_of_its_session() -> None:
    found = row(record(grades=("B",), ratio=0.571)).ratios["energy_b"]
    margin = stats.t.ppf(0.975, BLOCKS - 1) * SD / math.sqrt(BLOCKS)
    assert found.ratio == pytest.approx(0.571)
    assert (found.low, found.high) == pytest.approx(
        (0.571 * math.exp(-margin), 0.571 * math.exp(margin))
    )
    assert (found.units, found.blocks, found.method) == (1, 8, "blocks")


def test_three_seeds_are_a_sample_whatever_their_blocks_say() -> None:
    ratios = (0.50, 0.55, 0.63)
    made = [record(seed=seed, grades=("B",), ratio=r) for seed, r in enumerate(ratios)]
    found = row(*made).ratios["energy_b"]
    expected = stats.ttest_1samp(np.log(ratios), 0.0)
    interval = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(
        (math.exp(interval.low), math.exp(interval.high))
    )
    assert found.method == "random"


def test_two_sessions_speak_of_themselves() -> None:
    made = [record(session_number=n, id=f"w/p/0-{n}", ratio=r) for n, r in ((0, 0.5), (1, 0.6))]
    found = row(*made).ratios["wall"]
    assert found.ratio == pytest.approx(math.sqrt(0.504 * 0.604))
    assert (found.units, found.blocks, found.method) == (2, 16, "fixed")


def test_each_of_three_hosts_counts_once_however_often_it_was_measured() -> None:
    ratios = {"a": (0.4, 0.5, 0.6), "b": (0.55,), "c": (0.6,)}
    made = [
        record(host=host, session_number=n, id=f"w/p/0-{host}{n}", grades=("B",), ratio=ratio)
        for host, each in ratios.items()
        for n, ratio in enumerate(each)
    ]
    by = [name for name in BY if name != "host"]
    found = row(*made, by=by).ratios["energy_b"]
    means = [np.log(each).mean() for each in ratios.values()]
    expected = stats.ttest_1samp(means, 0.0)
    assert found.ratio == pytest.approx(math.exp(np.mean(means)))
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.units, found.blocks, found.method) == (3, 40, "random")


def test_joules_per_sample_are_geometric_means() -> None:
    made = [record(seed=seed, grades=("B",), ratio=r) for seed, r in enumerate((0.5, 0.72))]
    baseline, variant = row(*made).per_item["energy_b"]
    assert baseline == pytest.approx(1.0)  # 80 W over 12.5 ms
    assert variant == pytest.approx(0.6)  # the root of 0.5 times 0.72


def test_the_best_grade_leads_and_pairs_without_it_are_not_counted_in_it() -> None:
    counted, clocked = record(seed=0, grades=("B", "C")), record(seed=1, grades=("C",))
    found = row(counted, clocked)
    assert found.lead == "energy_b"
    assert found.grade == "B"
    assert found.ratios["energy_b"].units == 1
    assert found.ratios["wall"].units == 2
    assert found.partial("energy_b") == "of 1 of 2 pairs"
    assert found.partial("wall") is None
    assert row(clocked).lead == "wall"
    assert row(clocked).grade == "none"


def test_a_session_that_is_not_valid_is_named_and_not_pooled() -> None:
    made = [
        record(seed=0, ratio=0.5),
        invalid(record(seed=1, ratio=0.9)),
        record(seed=2, ratio=0.5),
    ]
    found = row(*made)
    assert found.ratios["wall"].units == 2
    assert found.ratios["wall"].ratio == pytest.approx(0.504)
    assert list(found.pairs["seed"]) == [0, 2]
    assert [found.source.name(at) for at in found.invalid] == [f"{made[1].id} on made-up-host"]


def test_without_a_valid_session_there_is_no_ratio_but_a_reason() -> None:
    found = row(invalid(record(grades=("B",))))
    assert found.ratios == {}
    assert found.break_even is None
    reason = "the session is invalid: idle power drifted by +8.0%"
    assert found.verdict.reason == found.break_even_reason == reason
    assert (found.verdict.energy, found.verdict.time) == ("undecided", "undecided")
    assert found.quality.verdict == "non-inferior"  # what was evaluated stands


# Families and their correction


def test_p_values_are_adjusted_over_the_techniques_of_a_family_without_its_noise_floor() -> None:
    ratios = {"a": 0.97, "b": 0.985, "c": 0.99}
    made = [record(label=label, grades=("B",), ratio=r) for label, r in ratios.items()]
    elsewhere = record(label="d", workload="other", grades=("B",), ratio=0.985)
    found = by_label(noise_floor(grades=("B",)), elsewhere, *made)
    raw = [found[label].ratios["energy_b"].p_value for label in ratios]
    expected = multipletests(raw, method="holm")[1]
    assert [found[label].adjusted_p["energy_b"] for label in ratios] == pytest.approx(expected)
    alone = found["d"]
    assert alone.adjusted_p["energy_b"] == alone.ratios["energy_b"].p_value
    floor = found["none"]
    assert floor.adjusted_p["energy_b"] == floor.ratios["energy_b"].p_value


def test_what_one_technique_shows_ten_do_not_show_at_once() -> None:
    made = [record(label=str(n), grades=("B",), ratio=1 + n / 1000) for n in range(9)]
    weak = record(label="weak", grades=("B",), ratio=0.987)
    floor = noise_floor(grades=("B",))
    assert by_label(floor, weak)["weak"].verdict.energy == "saves"
    among = by_label(floor, weak, *made)["weak"]
    assert among.ratios["energy_b"].high < 1
    assert among.verdict.energy == "undecided"
    p = 2 * stats.t.cdf(math.log(0.987) / (SD / math.sqrt(BLOCKS)), BLOCKS - 1)
    assert among.verdict.reason == f"p is {10 * p:.2g}, adjusted for 10 rows"


@pytest.mark.parametrize(
    "changes",
    [
        {"workload": "other"},
        {"host": "other"},
        {"protocol": {"name": "smoke"}},
        {"protocol": {"name": "paper", "window_s": 5.0}},
        {"runtime": {"name": "compile"}},
        {"config": {"training": {"epochs": 24}}},
    ],
)
def test_a_noise_floor_is_only_that_of_the_same_conditions(changes: dict[str, Any]) -> None:
    made = record(grades=("B",))
    assert by_label(noise_floor(grades=("B",)), made)["prune"].verdict.headline
    found = by_label(noise_floor(grades=("B",), **changes), made)["prune"]
    assert found.verdict.reason == "no A/A pair of this workload, protocol and host yet"


def test_pairs_of_their_own_are_judged_by_all_noise_floors_of_their_family() -> None:
    floors = [noise_floor(seed=seed, grades=("B",)) for seed in (0, 1)]
    made = record(seed=7, grades=("B",))
    found = by_label(*floors, made, by=UNPOOLED)
    assert found["prune"].verdict.headline
    off = [record("none", seed=seed, ratio=r, grades=("B",)) for seed, r in enumerate((1.1, 1.2))]
    found = by_label(*off, made, by=UNPOOLED)
    assert found["prune"].verdict.reason == "the A/A pair's interval does not contain 1"


# Verdicts


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"grades": ("C",)}, "no energy counter on this host"),
        ({"ratio": 1.2}, "the ratio's interval reaches 1.213"),
        ({"ratio": 0.992}, "the ratio's interval reaches 1.002"),
        ({"accuracy": (0.932, 0.915)}, "accuracy is inferior"),
        ({"accuracy": (0.932, 0.924)}, "accuracy is inconclusive"),
        ({"bytes_fell": False}, "the served artefact is not smaller"),
        ({"no_simulation_left": False}, "masks or fake-quantize modules are left in the model"),
        ({"reload_exact": False}, "a fresh process does not reproduce the outputs"),
        ({"exploited": False}, "fewer operations, but no less time: not exploited"),
    ],
)
def test_a_verdict_names_the_first_condition_that_failed(
    changes: dict[str, Any], reason: str
) -> None:
    proof = {k: v for k, v in changes.items() if isinstance(v, bool)}
    made = record(**{"grades": ("B",), **{k: v for k, v in changes.items() if k not in proof}})
    made = dataclasses.replace(made, proof=dataclasses.replace(made.proof, **proof))
    found = by_label(made, noise_floor(grades=made_grades(made)))["prune"]
    assert not found.verdict.headline
    assert found.verdict.reason == reason


def test_joules_of_something_else_than_what_serves_are_shown_and_give_no_verdict() -> None:
    made = record(grades=("B",))
    wall = next(c for c in made.comparisons if c.measure == "wall_s")
    (found,) = rows(frame(dataclasses.replace(made, comparison=wall)))
    assert (found.lead, "energy_b" in found.ratios) == ("wall", True)
    assert found.verdict.energy == "undecided"
    assert found.verdict.reason == "no energy counter of the device that serves"


def made_grades(made: Record) -> tuple[Any, ...]:
    return tuple(c.grade for c in made.comparisons if c.measure == "energy_j")


def test_one_pair_without_proof_costs_the_row_its_headline() -> None:
    made = [record(seed=seed, grades=("B",)) for seed in range(3)]
    made[1] = dataclasses.replace(
        made[1], proof=dataclasses.replace(made[1].proof, exploited=False)
    )
    found = by_label(noise_floor(grades=("B",)), *made)["prune"]
    assert not found.exploited
    assert not row(invalid(made[0])).exploited
    assert found.verdict.reason == "fewer operations, but no less time: not exploited"


def test_a_headline_needs_nothing_more_and_gives_no_reason() -> None:
    found = by_label(noise_floor(grades=("B",)), record(grades=("B",)))
    assert found["prune"].verdict.headline
    assert found["prune"].verdict.reason is None
    assert (found["prune"].verdict.energy, found["prune"].verdict.time) == ("saves", "faster")
    assert not found["none"].verdict.headline
    assert found["none"].verdict.reason == "A/A pair: it shows the noise floor, not a saving"


def test_the_host_s_seconds_decide_no_joules() -> None:
    found = by_label(noise_floor(), record(ratio=1.2))["prune"].verdict
    assert (found.energy, found.time) == ("undecided", "slower")


# Quality


def test_one_training_keeps_the_interval_of_its_record() -> None:
    made = record(accuracy=(0.9320, 0.9291))
    judged = row(made).quality
    assert (judged.low, judged.high) == (made.quality.low, made.quality.high)
    assert (judged.seeds, judged.examples, judged.verdict) == (1, 10_000, "non-inferior")


def test_several_seeds_scatter_as_trainings_and_as_examples() -> None:
    variants = (0.931, 0.929, 0.930)
    made = [record(seed=seed, accuracy=(0.932, v)) for seed, v in enumerate(variants)]
    judged = row(*made).quality
    differences = np.array(variants) - 0.932
    discordance = np.mean([(r.quality.lost + r.quality.gained) / 10_000 for r in made])
    error = math.sqrt(differences.var(ddof=1) / 3 + discordance / 10_000)
    margin = stats.t.ppf(0.975, 2) * error
    assert judged.difference == pytest.approx(-0.002)
    assert (judged.low, judged.high) == pytest.approx((-0.002 - margin, -0.002 + margin))
    assert judged.variant == pytest.approx(0.930)
    assert judged.seeds == 3


def test_sessions_of_the_same_models_are_no_further_trainings() -> None:
    first = record()
    again = dataclasses.replace(first, id="w/p/0-again", session_number=1)
    judged = row(first, again).quality
    assert judged.seeds == 1
    assert judged.low == first.quality.low


def test_a_metric_that_is_no_accuracy_scatters_as_trainings_and_as_examples() -> None:
    values = (0.92, 0.90)
    made = [
        record(
            seed=seed,
            quality=dataclasses.replace(quality(0.91, value), metric="f1", lost=None, gained=None),
        )
        for seed, value in enumerate(values)
    ]
    judged = row(*made).quality
    differences = np.array(values) - 0.91
    errors = [(r.quality.high - r.quality.low) / 2 / stats.norm.ppf(0.975) for r in made]
    error = math.sqrt(differences.var(ddof=1) / 2 + np.mean(np.square(errors)))
    margin = stats.t.ppf(0.975, 1) * error
    assert (judged.low, judged.high) == pytest.approx((-margin, margin))
    assert judged.metric == "f1"


def test_three_trainings_that_say_the_same_prove_no_more_than_their_examples() -> None:
    made = [
        record(
            seed=seed,
            quality=dataclasses.replace(
                quality(0.91, 0.91 + change), metric="f1", lost=None, gained=None,
                low=change - 0.02, high=change + 0.02, margin=0.01, verdict="inconclusive",
            ),
        )
        for seed, change in enumerate((-0.0040, -0.0041, -0.0042))
    ]  # fmt: skip
    judged = row(*made).quality
    assert judged.verdict == "inconclusive"
    assert judged.high - judged.low > 0.04


def test_seeds_that_do_not_differ_at_all_know_no_more_than_one_of_them() -> None:
    same = [
        record(seed=s, quality=dataclasses.replace(quality(0.93, 0.93), lost=0, gained=0))
        for s in range(3)
    ]
    judged = row(*same).quality
    assert (judged.low, judged.high) == (same[0].quality.low, same[0].quality.high)
    assert judged.low < 0 < judged.high


# Break-even


def test_one_pair_keeps_its_own_break_even() -> None:
    made = record(break_even=BreakEven(171_000.0, 90_000.0, None, "wall_s"))
    assert row(made).break_even == (171_000.0, 90_000.0, None)
    silent = record(break_even=None, break_even_reason=None)
    assert row(silent).break_even_reason == "the record gives no reason"
    never = record(break_even=None, break_even_reason="never: a saving is not shown")
    assert row(never).break_even_reason == "never: a saving is not shown"


def test_what_another_machine_has_cost_pays_back_in_no_number_of_pairs() -> None:
    why = elsewhere("made", "another-host", "host")
    made = []
    for seed in range(3):
        one = record(seed=seed, break_even=None, break_even_reason=why)
        phases = {k: uncounted(p, why) for k, p in one.variant.phases.items()}
        made.append(
            dataclasses.replace(one, variant=dataclasses.replace(one.variant, phases=phases))
        )
    found = row(*made)
    assert (found.break_even, found.break_even_reason) == (None, why)
    assert np.isnan(found.of("optimise_wall_s").astype(float)).all()
    assert np.isfinite(found.of("train_wall_s").astype(float)).all()


def test_seconds_of_two_machines_are_no_cost_where_no_meter_tells_so() -> None:
    why = elsewhere("made", "another-host", "host")
    made = record(grades=(), break_even=None, break_even_reason=why)
    found = row(made)
    assert np.isnan(found.of("optimise_wall_s").astype(float)).all()
    apart = dataclasses.replace(made.baseline, made_on="another-host")
    found = row(dataclasses.replace(made, baseline=apart))
    assert np.isnan(found.of("train_wall_s").astype(float)).all()
    served = dataclasses.replace(made.baseline, made_on="host")
    found = row(dataclasses.replace(made, baseline=served))
    assert np.isfinite(found.of("train_wall_s").astype(float)).all()


def test_a_search_without_joules_leaves_the_optimisation_without() -> None:
    """Half a cost would stand in the table where the record says that it is missing."""
    made = record(grades=("B",))
    searched = {"search": phase(7200.0, ()), **made.variant.phases}
    charged = dataclasses.replace(made.variant, phases=searched)
    found = row(dataclasses.replace(made, variant=charged))
    assert np.isnan(found.of("optimise_energy_b_j").astype(float)).all()
    assert found.of("optimise_wall_s") == pytest.approx([7200.0 + 912.0 + 3.5])
    assert row(made).of("optimise_energy_b_j") == pytest.approx([(912.0 + 3.5) * WATTS])


def test_several_pairs_are_paid_back_by_mean_saving_for_mean_cost() -> None:
    made = [record(seed=seed, grades=("B",), ratio=r) for seed, r in enumerate((0.4, 0.5, 0.6))]
    found = row(*made).break_even
    assert found is not None
    cost_j = (912.0 + 3.5) * 80.0
    assert found[0] == pytest.approx(cost_j / 0.5)  # of 1 J a sample half is saved
    low, high = stats.ttest_1samp([0.6, 0.5, 0.4], 0.0).confidence_interval(0.95)
    assert found[1:] == pytest.approx((cost_j / high, cost_j / low))


def test_pairs_that_save_nothing_are_never_paid_back() -> None:
    made = [record(seed=seed, grades=("B",), ratio=1.1 + seed / 100) for seed in range(3)]
    assert row(*made).break_even is None
    assert row(*made).break_even_reason == "never: a saving per inference is not shown"


def test_half_a_cost_pays_nothing_back() -> None:
    made = [record(seed=seed, grades=("B",)) for seed in range(2)]
    failed = Reading("counters", "cpu:0", "zeus.rapl", "B", None, "Permission denied")
    spent = made[1].variant.phases["optimise"]
    spent = dataclasses.replace(spent, readings=(failed, *spent.readings[1:]))
    phases = {**made[1].variant.phases, "optimise": spent}
    made[1] = dataclasses.replace(
        made[1], variant=dataclasses.replace(made[1].variant, phases=phases)
    )
    reason = "the optimisation's joules (B) are missing for some of the pairs"
    assert row(*made).break_even_reason == reason


def test_an_a_a_pair_has_nothing_to_pay_back() -> None:
    assert row(noise_floor()).break_even_reason == "nothing was optimised"


# Refusals


def served_on(made: Record, threads: int) -> Record:
    return dataclasses.replace(made, environment={"served_on": {"torch_threads": threads}})


@pytest.mark.parametrize(
    ("other", "by", "told"),
    [
        (record(seed=1, measuring_version=2), BY, "measuring_version is 1 for one and 2 for"),
        (
            record(seed=1, protocol={"name": "paper", "window_s": 5.0, "blocks": 8}),
            [name for name in BY if name != "protocol_json"],
            "protocol is window_s 10.0 for one and window_s 5.0 for the other",
        ),
        (
            record(seed=1, runtime={"name": "eager", "threads": 4, "batch": 32}),
            [name for name in BY if name != "runtime_json"],
            "runtime is threads 2 for one and threads 4 for the other",
        ),
        (
            record(seed=1, config={"technique": {"ratio": 0.3}}),
            BY,
            "technique is ratio null for one and ratio 0.3 for",
        ),
        (record(seed=1, data={"test": 500}), BY, "data is 10000 for one and 500 for the other"),
    ],
)
def test_what_was_measured_otherwise_is_not_pooled(other: Record, by: list[str], told: str) -> None:
    first = served_on(record(grades=("B",)), 2)
    other = other if "served_on" in other.environment else served_on(other, 2)
    with pytest.raises(TableError) as caught:
        rows(frame(first, other), by)
    message = str(caught.value)
    for named in (first.id, other.id, "cannot be pooled", told, "where:"):
        assert named in message
    assert "force=true" in message or "to by:" in message


@pytest.mark.parametrize("label", ["prune", "another"])
@pytest.mark.parametrize(
    ("column", "told"),
    [
        ("served_on_json", "served_on is torch_threads 2 for one and torch_threads 4 for"),
        ("energy_b_scope", "energy_b_scope is cpu+dram for one and gpu for the other"),
        ("energy_b_source", "energy_b_source is counters for one and polled for the other"),
    ],
)
def test_what_was_served_or_counted_otherwise_stands_in_no_family(
    label: str, column: str, told: str
) -> None:
    first = served_on(record(grades=("B",)), 2)
    other = record(label=label, seed=1, grades=("B",))
    changes = {"energy_b_scope": {"scope": "gpu"}, "energy_b_source": {"source": "polled"}}
    counted = counted_as(other, **changes.get(column, {}))
    other = served_on(counted, 4 if column == "served_on_json" else 2)
    with pytest.raises(TableError) as caught:
        rows(frame(first, other))
    message = str(caught.value)
    for named in (first.id, other.id, "cannot ", told, f"Add {column} to by:"):
        assert named in message
    apart = rows(frame(first, other), (*BY, column))
    assert len({found.family for found in apart}) == 2


def test_hosts_that_count_different_parts_are_not_pooled() -> None:
    one = record(host="one", grades=("B",))
    two = counted_as(record(host="two", grades=("B",)), scope="gpu")
    over_hosts = [name for name in BY if name != "host"]
    with pytest.raises(TableError, match="cannot be pooled: energy_b_scope is cpu\\+dram for one"):
        rows(frame(one, two), over_hosts)
    assert len(rows(frame(one, two))) == 2


def test_hosts_may_differ_in_what_they_serve_on() -> None:
    one, two = served_on(record(host="one"), 2), served_on(record(host="two"), 64)
    found = row(one, two, by=[name for name in BY if name != "host"])
    assert found.ratios["wall"].units == 2


def test_techniques_are_never_pooled() -> None:
    with pytest.raises(TableError, match="add label, technique"):
        rows(frame(record()), ("workload", "host"))


def test_a_grouping_by_nothing_that_is_there_is_refused() -> None:
    with pytest.raises(TableError, match="there is no column 'colour' of pairs"):
        rows(frame(record()), (*BY, "colour"))


def test_rehearsals_and_synthetic_joules_never_enter_but_are_named() -> None:
    rehearsal, synthetic = record("trial", rehearsal=True), record("fake", grades=("S",))
    pairs = frame(record(), rehearsal, synthetic)
    assert [found.key["label"] for found in rows(pairs)] == ["prune"]
    assert left_out(pairs) == {
        "Rehearsals": [f"{rehearsal.id} on made-up-host"],
        "Records with synthetic joules (grade S)": [f"{synthetic.id} on made-up-host"],
    }


def test_one_synthetic_reading_keeps_a_record_out() -> None:
    made = record(grades=("B",))
    spent = made.baseline.phases["train"]
    fake = Reading("synthetic", "cpu:0", "synthetic.constant", "S", 1.0)
    spent = dataclasses.replace(spent, readings=(fake, *spent.readings))
    arm = dataclasses.replace(made.baseline, phases={"train": spent})
    assert len(rows(frame(made))) == 1
    assert rows(frame(dataclasses.replace(made, baseline=arm))) == ()


# Order and origin


def test_the_noise_floor_comes_first_then_label_then_seed() -> None:
    made = [
        record(label="zip", seed=1),
        record(label="zip", seed=0),
        record(label="alpha", seed=5),
        noise_floor(),
    ]
    found = rows(frame(*made), UNPOOLED)
    assert [(r.key["label"], r.key["seed"]) for r in found] == [
        ("none", 0),
        ("alpha", 5),
        ("zip", 0),
        ("zip", 1),
    ]


def test_the_order_of_the_pairs_changes_no_row() -> None:
    made = [record(seed=seed, host=h, ratio=0.5 + seed / 50) for seed in range(4) for h in "ab"]
    first = rows(frame(*made))
    random.Random(0).shuffle(made)
    again = rows(frame(*made))
    for one, two in zip(first, again, strict=True):
        assert one.key == two.key
        assert one.ratios == two.ratios
        assert one.quality == two.quality
        assert list(one.pairs["id"]) == list(two.pairs["id"])


def test_the_origin_is_of_the_records_whatever_their_order() -> None:
    made = [record(seed=seed) for seed in range(3)]
    line = origin(frame(*made))
    assert line.startswith("Generated by: python -m bench.report | records: 3, sha256 ")
    assert "\n" not in line
    assert origin(frame(*made[::-1])) == line
    assert origin(frame(*made, record("lora", rehearsal=True))) == line


@pytest.mark.parametrize(
    "other",
    [record(seed=3), record(host="x"), record(ratio=0.5710000001), record(macs=0.4)],
)
def test_another_record_or_figure_is_another_origin(other: Record) -> None:
    assert origin(frame(other)) != origin(frame(record()))


def test_no_records_make_no_rows() -> None:
    empty = frame(record()).iloc[:0]
    assert rows(empty) == ()
    assert "records: 0" in origin(empty)
