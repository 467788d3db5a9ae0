"""Tables say what the records say: no more, nothing mixed, nothing missing without a reason."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from factories import comparison, counted_as, frame, noise_floor, record
from scipy import stats

from bench.collection import SetAside
from bench.findings import BreakEven
from bench.readings import Reading
from bench.records import Discard, Record
from bench.reporting import catalogue, cells, specs
from bench.reporting.cells import DASH, Cell
from bench.reporting.claims import verdict_text
from bench.reporting.columns import one_grade
from bench.reporting.pairs import TableError
from bench.reporting.rows import rows
from bench.reporting.scales import scale
from bench.reporting.sections import Section, Table, assemble
from bench.reporting.selection import Records
from bench.reporting.specs import ColumnSpec, TableSpec

PAIRS = specs.load("pairs")
POOLED = specs.load("energy")


def table(made: Sequence[Record], spec: TableSpec = PAIRS, results: Path = Path("x")) -> Table:
    return assemble(Records(frame(*made), (), results), spec)


def section(made: Sequence[Record], spec: TableSpec = PAIRS, **changes: Any) -> Section:
    (found,) = table(made, spec, **changes).sections
    return found


def shown(*made: Record, spec: TableSpec = PAIRS, **changes: Any) -> dict[str, list[Cell]]:
    """The cells of a table by the names of its columns."""
    found = section(made, spec, **changes)
    names = [column.name for column in found.columns]
    return {n: [row[place] for row in found.cells] for place, n in enumerate(names)}


def figures(*made: Record, spec: TableSpec = PAIRS, **changes: Any) -> list[dict[str, Any]]:
    found = section(made, spec, **changes)
    return [dict(zip(found.figures, values, strict=True)) for values in found.values]


def notes(*made: Record, spec: TableSpec = PAIRS) -> list[tuple[str, bool]]:
    return [(note.text, note.loud) for note in section(made, spec).notes]


def of(*names: str, **changes: Any) -> TableSpec:
    """A table of these columns, pooled as the one of energy is."""
    entries = tuple(ColumnSpec(name) for name in ("technique", *names))
    return dataclasses.replace(POOLED, columns=entries, summary=None, notes=(), **changes)


def with_session(made: Record, **changes: Any) -> Record:
    return dataclasses.replace(made, session=dataclasses.replace(made.session, **changes))


def failed_training(made: Record) -> Record:
    spent = made.baseline.phases["train"]
    failed = Reading("counters", "cpu:0", "zeus.rapl", "B", None, "Permission denied")
    spent = dataclasses.replace(spent, readings=(failed, *spent.readings[1:]))
    arm = dataclasses.replace(made.baseline, phases={"train": spent})
    return dataclasses.replace(made, baseline=arm)


# Grades


def test_joules_of_two_grades_never_share_a_column() -> None:
    made = [record(label=g, grades=(g, "C"), seed=n) for n, g in enumerate("AB")]
    made.append(record(label="C", grades=("C",)))
    found = shown(*made)
    grades = {name: {cell.grade for cell in cells} - {None} for name, cells in found.items()}
    assert grades["energy_a"] == {"A"}
    assert grades["energy_b"] == {"B"}
    assert grades["energy_c"] == {"C"}
    assert grades["training_energy_a_j"] == {"A"}
    assert grades["training_energy_b_j"] == {"B"}
    assert max(map(len, grades.values())) == 1
    sources = {cell.source for cell in found["energy_b"]} - {""}
    assert sources == {"counters"}


def test_a_column_of_two_grades_is_refused_with_grades_sources_and_records() -> None:
    made = [record(label="a", grades=("B",)), record(label="b", grades=("C",))]
    found = rows(frame(*made))
    mixed = [Cell("1", grade="B", source="counters"), Cell("2", grade="C", source="codecarbon")]
    with pytest.raises(TableError) as caught:
        one_grade("energy", found, mixed)
    message = str(caught.value)
    for named in ("column energy", "grade B from counters", "grade C from codecarbon"):
        assert named in message
    assert made[0].id in message
    assert made[1].id in message
    one_grade("energy", found, [mixed[0], mixed[0]])


def test_two_versions_of_the_measuring_code_share_no_table() -> None:
    made = [record(label="a"), record(label="b", measuring_version=2)]
    with pytest.raises(TableError) as caught:
        table(made)
    for named in (made[0].id, made[1].id, "version 1", "version 2", "force=true", "where:"):
        assert named in str(caught.value)
    chosen = dataclasses.replace(PAIRS, where={"measuring_version": 2})
    assert shown(*made, spec=chosen)["technique"][0].text == "b"


# Missing figures


def test_a_missing_figure_is_a_dash_with_its_reason() -> None:
    cell = shown(noise_floor(), record())["optimisation_s"][0]
    assert (cell.text, cell.note) == (DASH, "nothing was optimised")


def test_half_a_sum_of_joules_is_missing_and_not_half() -> None:
    made = record(grades=("B",))
    assert shown(made)["training_energy_b_j"][0].text == "345 kJ"  # 4310 s of 80 W
    other = record(label="other", grades=("B",))
    found = shown(failed_training(made), other)["training_energy_b_j"]
    assert found[1].text == DASH
    assert found[1].note == "a reading of the training's joules failed"


MISSING: dict[str, tuple[Record, str]] = {
    "energy_b": (record(grades=("C",)), "no joules of grade B; counters: no /sys/class/powercap"),
    "energy_c": (record(grades=("B",)), "no model was run"),
    "energy_b_per_item": (record(grades=("C",)), "no joules of grade B; counters: no /sys"),
    "latency_p50": (
        record(
            baseline=dataclasses.replace(record().baseline, latency=None),
            variant=dataclasses.replace(record().variant, latency=None),
        ),
        "the protocol asks for no requests",
    ),
    "latency_p99": (record(), "1,000 requests are too few for p99"),
    "adjusted_p": (noise_floor(), "the A/A pair claims nothing, so its p is not adjusted"),
    "macs": (
        record(baseline=dataclasses.replace(record().baseline, macs=0)),
        "MACs not known",
    ),
    "peak_memory": (
        record(baseline=dataclasses.replace(record().baseline, peak_memory_bytes=None)),
        "peak memory not known",
    ),
    "overhead": (noise_floor(), "nothing was optimised"),
    "break_even": (noise_floor(), "nothing was optimised"),
    "saving_at_volume": (noise_floor(), "nothing was optimised"),
    "training_s": (
        record(baseline=dataclasses.replace(record().baseline, phases={})),
        "the baseline was not trained here",
    ),
    "idle_drift": (record(), "no counter tells the power of idling"),
    "baseline_drift": (
        with_session(record(), baseline_drift=None),
        "fewer than four windows of the baseline",
    ),
    "robust": (record(), "windows.parquet of "),
    "pairs": (with_session(record(), valid=False, reason="steal"), "the session is invalid: steal"),
}


@pytest.mark.parametrize("name", MISSING)
def test_every_missing_cell_has_its_reason(name: str) -> None:
    made, reason = MISSING[name]
    columns = [
        column
        for entry in catalogue.names("techniques")
        for column in catalogue.technique_columns(entry, 1e6, Path("x"))
        if column.name in (name, "peak_memory_bytes" if name == "peak_memory" else name)
    ]
    (found,) = rows(frame(made))
    cell = columns[0].cell(found)
    assert cell.text == DASH
    assert cell.note is not None
    assert cell.note.startswith(reason)


@pytest.mark.parametrize(
    "made",
    [
        noise_floor(),
        record(grades=("A", "B", "C")),
        record(baseline=dataclasses.replace(record().baseline, macs=0, phases={}), break_even=None),
        with_session(record(grades=("B",)), valid=False, reason="steal"),
    ],
)
def test_no_cell_of_any_column_is_blank_and_no_missing_figure_lacks_a_reason(made: Record) -> None:
    (row,) = rows(frame(made), PAIRS.grouping)
    for name in catalogue.names("techniques"):
        for column in catalogue.technique_columns(name, 1e6, Path("x")):
            cell = column.cell(row)
            assert cell.text not in ("", "nan", "None"), column.name
            assert cell.text != "0" or column.name == "seed"
            values = column.values(row)
            assert len(values) == len(column.figures)
            known = {v for v in values if isinstance(v, float)}
            assert not any(map(math.isnan, known)), column.name
            allowed = column.name in ("latency_p50", "latency_p90", "latency_p99")
            assert None not in values or cell.note or allowed, column.name


def test_a_column_without_any_figure_gives_way_to_a_note() -> None:
    found = section([MISSING["latency_p50"][0]], POOLED)
    assert "latency_p50" not in [column.name for column in found.columns]
    (said,) = [note.text for note in found.notes if note.text.startswith("Not shown")]
    assert "latency p50 (the protocol asks for no requests)" in said
    assert "joules" not in said  # that no counter was read is said elsewhere


def test_a_column_without_any_figure_names_every_reason() -> None:
    made = [noise_floor(), record(break_even=None, break_even_reason="a reading failed")]
    (said,) = [note.text for note in section(made).notes if note.text.startswith("Not shown")]
    assert said.endswith("break-even (nothing was optimised; a reading failed).")


def test_a_break_even_that_never_comes_says_never_with_the_reason() -> None:
    made = record(break_even=None, break_even_reason="never: a saving is not shown")
    cell = shown(made)["break_even"][0]
    assert (cell.text, cell.note) == ("never", "never: a saving is not shown")


def test_an_interval_that_is_open_above_ends_at_infinity() -> None:
    made = record(break_even=BreakEven(171_000.0, 90_000.0, None, "wall_s"))
    cell = shown(made)["break_even"][0]
    assert (cell.text, cell.below) == ("171 k", "[90.0 k, ∞]")
    assert figures(made)[0]["break_even_inferences_high"] == math.inf


# Figures


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (cells.percent(0.93204), "93.20"),
        (cells.points(-0.0015), "\N{MINUS SIGN}0.15"),
        (cells.points(0.0015), "+0.15"),
        (cells.points(-0.00001), "0.00"),
        (cells.ratio(0.5714), "0.571"),
        (cells.ratio(1.0), "1.000"),
        (cells.ratio(0.99962), "1.000"),
        (cells.ratio_end(0.99962), "0.9996"),
        (cells.ratio_end(1.00001), "1.00001"),
        (cells.ratio_end(1 - 1e-12), "1.000"),
        (cells.ratio_end(0.5714), "0.571"),
        (cells.ratio(12.345), "12.3"),
        (cells.ratio(0.01234), "0.012"),
        (cells.ratio(0.0402), "0.040"),
        (cells.ratio(9.9996), "10.0"),
        (cells.amount(0), "0.00"),
        (cells.amount(0.25), "0.250"),
        (cells.amount(812), "812"),
        (cells.amount(171_234), "171 k"),
        (cells.amount(999_700), "1.00 M"),
        (cells.amount(5.214e6, "J"), "5.21 MJ"),
        (cells.amount(0.5714, "J"), "571 mJ"),
        (cells.amount(0.00002, "s"), "20.0 µs"),
        (cells.amount(0.9999, "J"), "1.00 J"),
        (cells.amount(0, "J"), "0.00 J"),
        (cells.amount(-1500.0, "J"), "\N{MINUS SIGN}1.50 kJ"),
        (cells.seconds(4310.4), "4,310"),
        (cells.seconds(3.456), "3.46"),
        (cells.seconds(99.96), "100"),
        (cells.probability(0.0123), "0.012"),
        (cells.probability(0.0004), "<0.001"),
        (cells.interval(-0.01, 0.005, cells.points), "[\N{MINUS SIGN}1.00, +0.50]"),
        (scale("accuracy").ends(-0.01, 0.005, 0.01), "[\N{MINUS SIGN}1.00, +0.50]"),
        (scale("accuracy").ends(-0.00998, 0.005, 0.01), "[\N{MINUS SIGN}0.998, +0.50]"),
        (
            scale("neg_mcd_db").ends(-0.7, -0.5004, 0.5),
            "[\N{MINUS SIGN}0.700, \N{MINUS SIGN}0.5004]",
        ),
        (cells.arrow(94e6, 47.9e6, "B"), "94.0 MB → 47.9 MB"),
    ],
)
def test_figures_are_printed_with_sensible_digits(text: str, expected: str) -> None:
    assert text == expected


def test_cells_hold_what_the_rows_hold() -> None:
    made = [record(seed=s, grades=("B",), ratio=r) for s, r in enumerate((0.5, 0.72))]
    (row,) = rows(frame(*made))
    found = shown(*made, spec=POOLED)
    pooled = row.ratios["energy_b"]
    assert found["energy_b"][0].text == "0.600"
    assert found["energy_b"][0].below == f"[{pooled.low:.3f}, {pooled.high:.3f}]"
    assert found["energy_b_per_item"][0] == Cell("1.00 J", "→ 600 mJ", grade="B", source="counters")
    assert found["pairs"][0].text == "2, 16 blocks"
    raw = figures(*made, spec=POOLED)[0]
    assert raw["energy_b_ratio_low"] == pooled.low
    assert raw["energy_b_method"] == "fixed"
    assert raw["adjusted_p"] == row.adjusted_p["energy_b"]


def test_latency_has_an_interval_only_over_three_sessions() -> None:
    def timed(seed: int, factor: float) -> Record:
        made = record(seed=seed)
        assert made.baseline.latency is not None
        slow = dataclasses.replace(made.baseline.latency, p50_s=0.004, p90_s=0.005)
        fast = dataclasses.replace(slow, p50_s=0.004 * factor)
        return dataclasses.replace(
            made,
            baseline=dataclasses.replace(made.baseline, latency=slow),
            variant=dataclasses.replace(made.variant, latency=fast),
        )

    one = shown(timed(0, 0.5), spec=POOLED)["latency_p50"][0]
    assert (one.text, one.below) == ("0.500", "4.00 ms → 2.00 ms")
    factors = (0.45, 0.5, 0.6)
    made = [timed(seed, factor) for seed, factor in enumerate(factors)]
    raw = figures(*made, spec=POOLED)[0]
    expected = stats.ttest_1samp(np.log(factors), 0.0).confidence_interval(0.95)
    assert raw["latency_p50_ratio_low"] == pytest.approx(math.exp(expected.low))
    assert raw["latency_p50_ratio_high"] == pytest.approx(math.exp(expected.high))
    assert raw["variant_latency_p50_s"] == pytest.approx(0.004 * math.prod(factors) ** (1 / 3))


def test_sizes_zeros_and_bits_are_told_of_both_arms() -> None:
    made = record()
    sparse = dataclasses.replace(
        made.variant,
        parameters=20_000_000,
        nonzero_parameters=5_000_000,
        sparsity="unstructured",
        artefact=dataclasses.replace(made.variant.artefact, bytes=40_000_000),
    )
    made = dataclasses.replace(made, variant=sparse)
    found = shown(made, spec=of("parameters", "bytes", "sparsity", "bits", "peak_memory"))
    assert found["parameters"][0] == Cell("0.851", "23.5 M → 20.0 M")
    assert found["bytes"][0] == Cell("0.426", "94.0 MB → 40.0 MB")
    assert found["sparsity"][0] == Cell("75.00", "unstructured")
    assert found["bits"][0] == Cell("32.0", "→ 16.0")
    assert found["peak_memory_bytes"][0] == Cell("1.000", "412 MB → 412 MB")


def test_overhead_and_life_cycle_count_what_optimising_cost() -> None:
    made = record(grades=("B",), ratio=0.5)
    raw = figures(made, spec=of("overhead", "saving_at_volume", inferences=2e5))[0]
    cost_j = (912.0 + 3.5) * 80.0
    assert raw["optimisation_overhead_fraction"] == pytest.approx(915.5 / 4310.0)
    # 1 J a sample for the baseline, half for the variant, over 200 000 of them.
    assert raw["saving_at_volume_fraction"] == pytest.approx(1 - (cost_j + 1e5) / 2e5)
    (row,) = rows(frame(made))
    width = raw["saving_at_volume_fraction_high"] - raw["saving_at_volume_fraction_low"]
    assert width == pytest.approx(row.ratios["energy_b"].high - row.ratios["energy_b"].low)


def test_the_life_cycle_saving_of_three_pairs_scatters_as_they_do() -> None:
    ratios = (0.4, 0.5, 0.65)
    made = [record(seed=seed, ratio=r - 0.004) for seed, r in enumerate(ratios)]
    raw = figures(*made, spec=of("saving_at_volume", inferences=1e6))[0]
    shares = [1 - r - 915.5 / (1e6 * 0.0125) for r in ratios]
    expected = stats.ttest_1samp(shares, 0.0).confidence_interval(0.95)
    assert raw["saving_at_volume_fraction"] == pytest.approx(np.mean(shares))
    assert raw["saving_at_volume_fraction_low"] == pytest.approx(expected.low)
    assert raw["saving_at_volume_fraction_high"] == pytest.approx(expected.high)


# Drift and sensitivity


def windows(folder: Path, variant_s: Sequence[float]) -> None:
    """Windows of blocks in which the baseline takes a second a sample."""
    lines = [
        {"block": block, "arm": arm, "items": 10, "kept": block != 9, "wall_s": 10 * seconds}
        for block, second in enumerate(variant_s)
        for arm, seconds in (("baseline", 1.0), ("variant", second), ("variant", second))
    ]
    lines += [{**line, "arm": "baseline"} for line in lines if line["arm"] == "baseline"]
    folder.mkdir(parents=True)
    pd.DataFrame(lines).to_parquet(folder / "windows.parquet")


def test_robust_estimates_come_from_the_windows_of_kept_blocks(tmp_path: Path) -> None:
    made = record()
    blocks = [0.5, 0.52, 0.48, 0.51, 0.49, 0.5, 0.9, 0.5, 0.5, 123.0]  # the last was discarded
    windows(tmp_path / made.host / made.id, blocks)
    raw = figures(made, spec=of("robust"), results=tmp_path)[0]
    logs = np.log(blocks[:9])
    walsh = [(a + b) / 2 for i, a in enumerate(logs) for b in logs[i:]]
    assert raw["hodges_lehmann_ratio"] == pytest.approx(math.exp(np.median(walsh)))
    assert raw["trimmed_ratio"] == pytest.approx(math.exp(stats.trim_mean(logs, 0.2)))
    assert raw["robust_measure"] == "wall"


def test_drift_is_that_of_the_worst_session_of_either_sign() -> None:
    made = [
        with_session(record(seed=n, grades=("B",)), idle_drift=idle, baseline_drift=base)
        for n, (idle, base) in enumerate(((0.01, 0.02), (-0.03, 0.01), (None, None)))
    ]
    found = shown(*made, spec=of("idle_drift", "baseline_drift"))
    assert found["idle_drift"][0].text == "\N{MINUS SIGN}3.00"
    assert found["baseline_drift"][0].text == "+2.00"


def test_discards_are_counted_with_their_conditions() -> None:
    discards = tuple(Discard(n, c, "") for n, c in enumerate(("steal", "foreign", "steal")))
    made = with_session(record(), discards=discards)
    made = dataclasses.replace(made, comparison=dataclasses.replace(made.comparison, discarded=3))
    found = shown(made, record(seed=1), spec=of("discards"))["discards"][0]
    assert (found.text, found.below) == ("3 of 19", "(foreign 1, steal 2)")
    (said,) = [text for text, _ in notes(made, record(seed=1)) if "discarded on a" in text]
    assert "3 of 19 (foreign 1, steal 2)" in said


def test_the_smallest_detectable_saving_is_shown_with_the_power_it_was_computed_for() -> None:
    saving = figures(noise_floor(), spec=of("smallest_saving"))[0][
        "smallest_detectable_saving_fraction"
    ]
    shift = -math.log1p(-saving) / (0.0125 / math.sqrt(8))
    assert stats.nct.sf(stats.t.ppf(0.975, 7), 7, shift) == pytest.approx(0.8)


# Rows and sections


def test_records_stand_together_only_under_equal_conditions() -> None:
    made = [
        record(),
        record(workload="a_first"),
        record(host="z-host"),
        record(protocol={"name": "smoke"}),
        record(runtime={"name": "compile"}),
    ]
    cifar = "resnet50_cifar10"
    assert [found.title for found in table(made).sections] == [
        "a_first on made-up-host, protocol paper, runtime eager",
        f"{cifar} on made-up-host, protocol paper, runtime compile",
        f"{cifar} on made-up-host, protocol paper, runtime eager",
        f"{cifar} on made-up-host, protocol smoke, runtime eager",
        f"{cifar} on z-host, protocol paper, runtime eager",
    ]


def test_two_protocols_of_one_name_are_told_apart_by_what_differs() -> None:
    made = record(), record(protocol={"name": "paper", "window_s": 5.0, "blocks": 8})
    titles = {found.title.partition(", ")[2] for found in table(made).sections}
    assert titles == {
        "protocol paper (window_s 10.0), runtime eager",
        "protocol paper (window_s 5.0), runtime eager",
    }


def test_a_baseline_trained_longer_stands_in_a_section_of_its_own() -> None:
    made = [
        noise_floor(config={"training": {"epochs": epochs}, "workload": {"data_root": "/x"}})
        for epochs in (12, 24)
    ]
    titles = {found.title.partition(" on ")[0] for found in table(made).sections}
    cifar = "resnet50_cifar10"
    assert titles == {f"{cifar} (training.epochs 12)", f"{cifar} (training.epochs 24)"}


def test_a_grouping_by_values_without_a_name_is_told_apart_in_the_title() -> None:
    made = [
        dataclasses.replace(record(seed=n), environment={"served_on": {"torch_threads": n}})
        for n in (2, 4)
    ]
    spec = dataclasses.replace(
        POOLED,
        by=(*POOLED.by, "served_on_json"),
        sections=(*POOLED.sections, "served_on_json"),
    )
    ends = [found.title.rpartition(", ")[2] for found in table(made, spec).sections]
    assert ends == ["served_on torch_threads 2", "served_on torch_threads 4"]


def test_rows_come_in_the_order_that_the_table_asks_for_with_the_noise_floor_first() -> None:
    made = [record(label=n, grades=("B",), ratio=r) for n, r in (("a", 0.6), ("b", 0.4))]
    made += [record(label="c", grades=("C",), ratio=0.5), noise_floor(grades=("B",))]
    for order, expected in (
        ("label", "none a b c"),
        ("-label", "none c b a"),
        ("energy_b_ratio", "none b a c"),
        ("-energy_b_ratio", "none a b c"),  # what is missing comes last either way
    ):
        found = figures(*made, spec=dataclasses.replace(POOLED, order=(order,)))
        assert [row["label"] for row in found] == expected.split()


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"label": "prune*"}, {"prune 0.3", "prune 0.5"}),
        ({"label": ["bf16", "prune 0.5"]}, {"bf16", "prune 0.5"}),
        ({"label": "prune*", "seed": 1}, {"prune 0.5"}),
        ({"label": "[a]"}, {"[a]"}),
        ({}, {"prune 0.3", "prune 0.5", "bf16", "[a]"}),
    ],
)
def test_where_chooses_pairs_by_value_list_and_pattern(
    where: dict[str, Any], expected: set[str]
) -> None:
    labels = ("prune 0.3", "prune 0.5", "bf16", "[a]")
    made = [record(label=label, seed=seed) for seed, label in enumerate(labels)]
    found = figures(*made, spec=dataclasses.replace(PAIRS, where=where))
    assert {row["label"] for row in found} == expected


def test_means_over_workloads_are_geometric_and_of_what_was_measured_on_several() -> None:
    made = [
        record(label="both", workload=w, grades=("B",), ratio=r)
        for w, r in (("one", 0.4), ("two", 0.9))
    ]
    made += [record(label="single", workload="one"), noise_floor(workload="one")]
    made += [noise_floor(workload="two")]
    found = table(made, POOLED).sections[-1]
    assert found.title.startswith("Geometric mean over one, two on made-up-host, protocol paper")
    (values,) = found.values
    raw = dict(zip(found.figures, values, strict=True))
    assert raw["label"] == "both"
    assert raw["energy_b_ratio"] == pytest.approx(0.6)
    error = 0.0125 / math.sqrt(8) * math.sqrt(2) / 2  # of the mean of two independent logs
    margin = stats.t.ppf(0.975, 14) * error  # their degrees of freedom add up
    assert raw["energy_b_ratio_low"] == pytest.approx(0.6 * math.exp(-margin))
    assert not any("Geometric" in s.title for s in table(made[:1], POOLED).sections)


def test_joules_that_cover_different_parts_have_no_mean() -> None:
    both = [record(workload=w, grades=("B",), ratio=r) for w, r in (("one", 0.4), ("two", 0.9))]
    found = table([both[0], counted_as(both[1], scope="gpu")], POOLED).sections[-1]
    (values,) = found.values
    raw = dict(zip(found.figures, values, strict=True))
    assert raw["energy_b_ratio"] is None
    assert 0.4 < raw["wall_ratio"] < 0.9
    told = "they cover different parts: cpu+dram or gpu"
    assert found.missing[0]["energy_b"] == f"joules have no mean: {told}"
    loud = [note.text for note in found.notes if note.loud]
    assert loud == [f"There is no mean of joules (B): {told}."]


def test_means_of_two_protocols_of_one_name_are_told_apart() -> None:
    made = [
        record(workload=w, protocol={"name": "paper", "window_s": window})
        for w in ("one", "two")
        for window in (1, 10)
    ]
    found = {s.title for s in table(made, POOLED).sections if "mean" in s.title}
    start = "Geometric mean over one, two on made-up-host, protocol paper"
    assert found == {f"{start} (window_s {w}), runtime eager" for w in (1, 10)}


def test_means_need_no_more_than_what_a_table_groups_by() -> None:
    spec = dataclasses.replace(
        POOLED,
        by=("workload", "technique", "label"),
        sections=("workload",),
        columns=POOLED.columns,
    )
    found = table([record(workload=w) for w in ("one", "two")], spec)
    assert found.sections[-1].title == "Geometric mean over one, two"


# Items


def served(made: Record, item: str | None, **workload: Any) -> Record:
    return dataclasses.replace(made, item=item, config={**made.config, "workload": workload})


@pytest.mark.parametrize(
    ("item", "one", "many", "uses"),
    [
        ("second of audio", "second of audio", "seconds of audio", "seconds of audio"),
        ("token", "token", "tokens", "tokens"),
        ("sample", "sample", "samples", "inferences"),
    ],
)
def test_headings_and_notes_say_what_joules_and_seconds_are_per(
    item: str, one: str, many: str, uses: str
) -> None:
    repaid = record(break_even=BreakEven(171_000.0, 90_000.0, None, "wall_s"))
    columns = of("seconds_per_item", "throughput", "break_even", "saving_at_volume")
    columns = dataclasses.replace(columns, notes=("reading", "break_even"))
    found = section([served(repaid, item)], columns)
    texts = {c.name: f"{c.heading} {c.unit}".strip() for c in found.columns}
    assert texts["wall_per_item"] == f"s per {one}"
    assert texts["throughput"] == f"throughput {many}/s"
    assert texts["break_even"] == f"break-even {uses}"
    assert texts["saving_at_volume"] == f"% saved [95 %] in 1 M {uses}"
    told = " ".join(note.text for note in found.notes)
    assert f"per {one}: below 1" in told
    assert f"Break-even: {uses} until" in told


def test_records_from_before_items_had_names_are_of_tokens_if_a_language_model_served() -> None:
    assert set(frame(served(record(), None, serve="prefill"))["item"]) == {"token"}
    assert set(frame(served(record(), None))["item"]) == {"sample"}


def test_unlike_items_in_one_table_are_told_apart_in_a_note() -> None:
    made = [served(record(workload=w), item) for w, item in (("lm", "token"), ("images", "sample"))]
    spec = of("workload", "seconds_per_item", sections=("host", "protocol", "runtime"))
    spec = dataclasses.replace(spec, notes=("reading",))
    found = section(made, spec)
    assert "s per item" in {c.heading for c in found.columns}
    told = [note.text for note in found.notes]
    assert "An item of lm is a token." in told


# Conditions


def host_record(**changes: Any) -> Record:
    environment = {
        "python": "3.11.7",
        "platform": "Linux-6.1-x86_64",
        "libraries": {"torch": "2.15.0", "joulebench": "0.1.0", "evaluate": None},
        "source": {"commit": "dc3dbd4d2f7d703eeb98337763faecebee145c63", "dirty": True},
        "cpu": {"model": "AMD EPYC", "cores": 2, "threads": 4, "virtual": True, "governor": None},
        "memory_bytes": 25_276_502_016,
        "gpus": [{"name": "H200", "driver": "570.1", "power_limit_w": 700.0}],
        "served_on": {"device": "H200", "torch_threads": 2},
    }
    return record(grades=("B", "C"), environment=environment, **changes)


def test_conditions_are_told_per_host_with_meters_and_protocol() -> None:
    made = [host_record(seed=0), host_record(seed=1), record(host="bare", protocol={})]
    found = shown(*made, spec=specs.load("conditions"))
    bare, host = ({name: cells[place] for name, cells in found.items()} for place in (0, 1))
    assert host["cpu"].text == "AMD EPYC"
    assert host["cores"].text == "2 cores, 4 threads; virtual machine"
    assert host["memory"].text == "25.3 GB"
    assert host["gpus"].text == "H200, driver 570.1, limit 700 W"
    assert host["versions"].text == "Python 3.11.7; joulebench 0.1.0; torch 2.15.0"
    assert host["commit"].text == "dc3dbd4d2f7d with changes"
    assert host["device"].text == "H200, 2 torch threads"
    assert host["protocol"].text == "paper: blocks 8, window_s 10.0"
    assert host["meters"].text == (
        "grade B: counters, zeus.rapl (cpu:0, dram:0); "
        "grade C: codecarbon, codecarbon.cpu_load (cpu:0, dram:0)"
    )
    assert host["idle_power"].text == "80.0 W (grade B, median of sessions)"
    assert host["sessions"].text == "2 pairs, 2026-01-01"
    assert (bare["cpu"].text, bare["cpu"].note) == (DASH, "the system does not tell its CPU")
    assert bare["unavailable"].text == "counters: no /sys/class/powercap on this host"


def test_a_host_with_two_protocols_has_a_column_for_each() -> None:
    made = [host_record(), host_record(seed=1, protocol={"name": "smoke", "window_s": 1})]
    found = shown(*made, spec=specs.load("conditions"))
    assert [cell.text for cell in found["protocol"]] == [
        "paper: blocks 8, window_s 10.0",
        "smoke: window_s 1",
    ]


# Words and notes


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (record(grades=("B",)), "saves energy, non-inferior"),
        (record(), "faster, non-inferior; no joule claim: no energy counter on this host"),
        (
            record(ratio=1.3, accuracy=(0.93, 0.90)),
            "slower, inferior; no joule claim: no energy counter on this host",
        ),
        (
            record(grades=("B",), accuracy=(0.932, 0.924)),
            "saves energy, quality inconclusive; no headline: accuracy is inconclusive",
        ),
    ],
)
def test_the_verdict_claims_what_the_records_allow(made: Record, text: str) -> None:
    grades = tuple(c.grade for c in made.comparisons if c.measure == "energy_j")
    found = rows(frame(noise_floor(grades=grades), made))
    assert verdict_text(found[1]) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.998, "A/A: contains 1"), (1.1, "A/A: does not contain 1")]
)
def test_an_a_a_pair_says_whether_its_interval_contains_1(ratio: float, text: str) -> None:
    (found,) = rows(frame(record("none", ratio=ratio)))
    assert verdict_text(found) == text


def test_a_variant_that_does_not_exploit_its_sparsity_is_marked() -> None:
    made = record()
    made = dataclasses.replace(made, proof=dataclasses.replace(made.proof, exploited=False))
    assert shown(made)["verdict"][0].below == "not exploited, no joule claim"


@pytest.mark.parametrize("technique", ["prune", "none"])
def test_an_invalid_session_is_named_and_its_verdict_withheld(technique: str) -> None:
    made = record(technique, label="zip", seed=3)
    made = with_session(made, valid=False, reason="idle drifted by +8.0%")
    assert shown(made)["verdict"][0] == Cell(
        "invalid session", note="the session is invalid: idle drifted by +8.0%"
    )
    assert ("Session of zip, seed 3, is invalid: idle drifted by +8.0%.", True) in notes(made)


def test_a_pooled_row_names_the_sessions_that_it_left_out() -> None:
    bad = with_session(record(seed=1), valid=False, reason="steal")
    cell = shown(record(), bad, spec=POOLED)["pairs"][0]
    assert cell.text == "1, 8 blocks"
    assert cell.note == f"not pooled, session invalid: {bad.id} on made-up-host (steal)"


def test_a_host_without_counters_says_so_and_why_and_with_which_model() -> None:
    said = " ".join(text for text, _ in notes(record()))
    assert "No energy counter on this host: the finding is seconds and CPU-seconds" in said
    assert "counters: no /sys/class/powercap on this host" in said
    assert "modelled (C) come from codecarbon.cpu_load (floor = 0.1, tdp_w = 125)" in said


def test_why_a_meter_is_not_there_is_told_without_how_to_mend_it() -> None:
    reason = "meter.counters: nothing to read. Mend one of these:\n  cpu: modprobe it"
    made = with_session(record(), unavailable={"counters": reason})
    said = " ".join(text for text, _ in notes(made))
    assert "seconds and CPU-seconds (meter.counters: nothing to read)." in said


def test_a_host_with_counters_says_what_they_count_and_what_not() -> None:
    said = " ".join(text for text, _ in notes(record(grades=("B",))))
    assert "from hardware counters: zeus.rapl. Counted: cpu+dram. Not counted: gpu, main" in said
    made = record(grades=("B",))
    beside = {**made.session.meters, "codecarbon": [{"source": "codecarbon.rapl", "grade": "B"}]}
    assert " ".join(text for text, _ in notes(with_session(made, meters=beside))) == said
    assert "No energy counter" not in said


def test_seconds_are_the_finding_where_nothing_counts_joules_only() -> None:
    assert {"wall", "cpu", "training_s"} <= set(shown(record()))
    counted = shown(record(grades=("B",)))
    assert "energy_b" in counted
    assert "cpu" not in counted
    assert "training_s" not in counted


def test_the_noise_floor_is_given_when_it_contains_one() -> None:
    floor = [(text, loud) for text, loud in notes(noise_floor(), record()) if "A/A" in text]
    margin = stats.t.ppf(0.975, 7) * 0.0125 / math.sqrt(8)
    ends = " to ".join(f"{1.002 * math.exp(side * margin):.3f}" for side in (-1, 1))
    assert len(floor) == 1
    assert floor[0][0].startswith(f"A/A interval, seed 0: seconds {ends}, CPU-seconds ")
    assert floor[0][0].endswith("; contains 1.")
    assert not floor[0][1]


def test_a_noise_floor_that_excludes_one_is_a_loud_warning() -> None:
    ((text, loud),) = [n for n in notes(record("none", ratio=1.1), record()) if "A/A" in n[0]]
    assert loud
    assert "does NOT contain 1" in text


@pytest.mark.parametrize("floor", ["absent", "invalid", "of another protocol"])
def test_a_table_without_a_noise_floor_is_a_loud_warning(floor: str) -> None:
    made = [record()]
    if floor == "invalid":
        made.append(with_session(noise_floor(), valid=False, reason="steal"))
    elif floor == "of another protocol":
        made.append(noise_floor(protocol={"name": "smoke"}))
    found = next(s for s in table(made).sections if "protocol paper" in s.title)
    loud = [note.text for note in found.notes if note.loud]
    assert any(text.startswith("No valid A/A pair") for text in loud)


def test_measured_joules_of_two_meters_stand_side_by_side_with_their_distance() -> None:
    counters = comparison("energy_j", 0.8, "B")
    tracker = dataclasses.replace(
        counters, source="codecarbon", baseline_per_item=counters.baseline_per_item * 1.02
    )
    model = comparison("energy_j", 0.8, "C")
    wall = dataclasses.replace(
        comparison("energy_j", 0.8, "A"), scope="wall", baseline_per_item=3.0
    )
    measured = record(grades=("B",), comparisons=(counters, tracker, wall, model))
    (told,) = [text for text, _ in notes(measured) if "side by side" in text]
    assert "counters (cpu+dram, B)" in told
    assert "(+2.0%)" in told
    assert "wall (wall, A) 3, ratio" in told  # of another grade, never divided
    assert "(cpu+dram, C)" not in told
    assert not [text for text, _ in notes(record(grades=("C",))) if "side by side" in text]


def test_carbon_is_told_of_counted_joules_with_its_intensity_and_source() -> None:
    made = record(grades=("B", "C"), ratio=0.5)
    grid = {"intensity_g_per_kwh": 360.0, "country": "X", "year": 2024, "source": "made up"}
    meters = {**made.session.meters}
    meters["counters"] = [{**meters["counters"][0], "detail": {"carbon": grid}}]
    (told,) = [text for text, _ in notes(with_session(made, meters=meters)) if "CO2e" in text]
    # 1 J and 0.5 J a sample: 1000 of them at 360 g for 3.6 MJ are 0.1 g and 0.05 g.
    assert "prune, seed 0: 0.05 (baseline 0.1) g CO2e per 1000 inferences" in told
    assert "360 g/kWh (X, 2024, made up)" in told


def test_what_did_not_enter_is_named_under_the_table() -> None:
    rehearsal, synthetic = record("trial", rehearsal=True), record("fake", grades=("S",))
    aside = (SetAside(Path("desk/x/record.json"), "not JSON: line 1"),)
    found = assemble(Records(frame(record(), rehearsal, synthetic), aside, Path("x")), PAIRS)
    said = [(note.text, note.loud) for note in found.notes]
    assert said == [
        (f"Rehearsals never enter a table; left out: 1 ({rehearsal.id} on made-up-host).", False),
        (
            "Records with synthetic joules (grade S) never enter a table; left out: 1 "
            f"({synthetic.id} on made-up-host).",
            False,
        ),
        ("Set aside: desk/x/record.json (not JSON: line 1).", True),
    ]


# Specifications


@pytest.mark.parametrize("name", specs.tables())
def test_every_table_that_is_shipped_can_be_read(name: str) -> None:
    spec = specs.load(name)
    assert spec.name == name
    assert spec.caption[0].isupper()
    assert not spec.caption.endswith(".")


def test_tables_come_in_the_order_of_a_report() -> None:
    names = [spec.name for spec in specs.load_all()]
    assert names == [
        *("accuracy", "energy", "training", "conditions", "drift", "glue"),
        *("fine_tuning", "speech", "pairs"),
    ]


def written(folder: Path, **changes: str) -> str:
    lines = {
        "caption": "All",
        "of": "techniques",
        "by": "[workload, technique, label]",
        "sections": "[workload]",
        "columns": "[technique, energy]",
        **changes,
    }
    path = folder / "mine.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return str(path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"colums": "[technique]"}, "colums: is not known here; did you mean columns"),
        ({"columns": "[enrgy]"}, "columns: enrgy is not known here; did you mean energy"),
        ({"columns": "[{colum: energy}]"}, "columns: colum is not known here; did you mean column"),
        ({"columns": "[energy, energy]"}, "columns: energy would be there twice"),
        ({"columns": "[]"}, "columns: is empty"),
        ({"where": "{hots: x}"}, "where: hots is not known here; did you mean host"),
        ({"by": "[worklod, label]"}, "by: worklod is not known here; did you mean workload"),
        ({"by": "[workload, technique, label, host]"}, "by: has host, but neither sections:"),
        ({"sections": "[host]"}, "sections: host is not known here"),
        ({"notes": "[joule]"}, "notes: joule is not known here; did you mean joules"),
        ({"of": "techniqes"}, "table.of should be one of ('techniques', 'hosts', 'tasks')"),
        ({"caption": "[a]"}, "table.caption should be str, is ['a']"),
        ({"inferences": "0"}, "inferences: 0 is no number of inferences"),
        ({"of": "hosts", "columns": "[host]"}, "by: and summary: are for tables of techniques"),
        ({"caption": "a: b: c"}, "is no YAML"),
    ],
)
def test_a_misspelt_table_is_refused_with_file_key_and_nearest(
    tmp_path: Path, changes: dict[str, str], told: str
) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(TableError) as caught:
        specs.load(path)
    assert str(caught.value).startswith(path)
    assert told in str(caught.value)


def test_a_table_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(TableError, match=r"table=enrgy: .* did you mean energy\?"):
        specs.load("enrgy")


def test_a_table_of_one_s_own_is_read_from_its_file(tmp_path: Path) -> None:
    columns = "[technique, {column: energy, heading: J}, {column: macs_ratio, stacked: true}]"
    with pytest.raises(TableError, match="macs_ratio cannot be stacked on what stands before it"):
        table([record()], specs.load(written(tmp_path, columns=columns)))
    columns = "[technique, {column: seconds, heading: time}, {column: macs_ratio, stacked: true}]"
    spec = specs.load(written(tmp_path, columns=columns, order="[label]"))
    assert spec.name == "mine"
    (found,) = table([record()], spec).sections
    assert found.title == "resnet50_cifar10"
    assert [column.heading for column in found.columns] == ["technique", "time", "MACs"]
    # Its interval needs the second line, so what was to be stacked there is not.
    assert not found.columns[2].stacked


def test_an_order_by_what_the_table_does_not_show_is_refused(tmp_path: Path) -> None:
    spec = specs.load(written(tmp_path, order="[wall_ratio]"))
    with pytest.raises(TableError, match="table mine: order: wall_ratio is none of workload,"):
        table([record(), noise_floor()], spec)


def test_a_column_stacked_on_one_that_gives_way_stands_alone() -> None:
    spec = dataclasses.replace(
        POOLED,
        columns=(
            *(ColumnSpec(name) for name in ("technique", "throughput", "adjusted_p")),
            ColumnSpec("grade", stacked=True),
        ),
    )
    found = section([noise_floor()], spec)  # its p is missing, so that the column is
    assert [(c.name, c.stacked) for c in found.columns][-1] == ("grade", False)
    found = section([noise_floor(), record()], spec)
    assert [(c.name, c.stacked) for c in found.columns][-1] == ("grade", True)
