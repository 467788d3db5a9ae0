"""Tables over tasks: workloads of a family as columns, means of what all rows have, no more."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from factories import counted_as, frame, record, task_record
from rich.console import Console
from scipy import stats

from bench import report
from bench.records import Record, to_json
from bench.reporting import specs, tables
from bench.reporting.cells import DASH, Cell
from bench.reporting.multitask import NO_PAIR, Task, average, published
from bench.reporting.pairs import TableError
from bench.reporting.sections import Section, Table, assemble
from bench.reporting.selection import Records
from bench.reporting.specs import TableSpec
from bench.statistics import pooling

GLUE = specs.load("glue")
SD, BLOCKS, PER_ITEM_S = 0.0125, 8, 0.0125
"""Of every comparison in ``factories``."""

BERT = {"model": "bert-base-uncased"}
TINY = {"model": "huawei-noah/TinyBERT_General_4L_312D"}
MINUS = "\N{MINUS SIGN}"


def table(made: Sequence[Record], spec: TableSpec = GLUE) -> Table:
    return assemble(Records(frame(*made), (), Path("x")), spec)


def section(made: Sequence[Record], spec: TableSpec = GLUE) -> Section:
    (found,) = table(made, spec).sections
    return found


def rows(found: Section) -> dict[str, dict[str, Cell]]:
    """Cells by row, as its first cell calls it, and by column."""
    names = [column.name for column in found.columns]
    named = [dict(zip(names, cells, strict=True)) for cells in found.cells]
    return {f"{r['technique'].text} {r['technique'].below}": r for r in named}


def figures(found: Section) -> dict[str, dict[str, Any]]:
    """Raw figures by label; of several rows of one label the last."""
    each = [dict(zip(found.figures, values, strict=True)) for values in found.values]
    return {row["label"]: row for row in each}


def notes(found: Section) -> str:
    return " ".join(note.text for note in found.notes)


def both(task: str, **changes: Any) -> list[Record]:
    """The A/A pair of a task and one of a technique."""
    floor = {k: v for k, v in changes.items() if k not in ("ratio", "accuracy", "label")}
    return [task_record(task, "none", **floor), task_record(task, **changes)]


# Pivot


def test_tasks_become_columns_and_a_technique_one_row() -> None:
    made = [*both("sst2", accuracy=(0.91, 0.905)), *both("cola", accuracy=(0.56, 0.55))]
    found = section(made)
    assert [c.heading for c in found.columns][:4] == ["model: technique", "CoLA", "SST-2", "GLUE"]
    by_row = rows(found)
    assert list(by_row) == [
        "minilm: baseline (eager)",
        "minilm: none (A/A) (eager)",
        "minilm: prune (eager)",
    ]
    prune = by_row["minilm: prune (eager)"]
    assert (prune["sst2"].text, prune["sst2"].below) == ("90.50", f"({MINUS}0.50)")
    assert (prune["cola"].text, prune["cola"].below) == ("55.00", f"({MINUS}1.00)")
    assert found.title == "On made-up-host, protocol paper"


def test_a_task_is_headed_by_its_metric_in_few_letters() -> None:
    made = [
        *both("cola", metric="matthews_correlation"),
        *both("stsb", metric="pearson"),
        *both("rte"),
    ]
    units = {column.name: column.unit for column in section(made).columns}
    assert (units["cola"], units["stsb"], units["rte"]) == ("Matthews", "Pearson", "accuracy")


def test_workloads_that_are_of_no_family_are_passed_over() -> None:
    generated = task_record("sst2")
    made = [
        record(),
        *both("sst2"),
        dataclasses.replace(generated, workload="sentences", id="sentences/prune/0-x"),
        task_record("boolq"),
    ]
    found = section(made)
    assert list(rows(found)) == [
        "minilm: baseline (eager)",
        "minilm: none (A/A) (eager)",
        "minilm: prune (eager)",
    ]
    assert figures(found)["prune"]["pairs"] == 1


def test_a_baseline_has_the_mean_over_its_trainings_and_no_ratio() -> None:
    def trained(made: Record, digest: str) -> Record:
        artefact = dataclasses.replace(made.baseline.artefact, digest=digest)
        return dataclasses.replace(
            made, baseline=dataclasses.replace(made.baseline, artefact=artefact)
        )

    made = [
        trained(task_record("rte", "none", accuracy=(0.90, 0.90)), "a"),
        trained(task_record("rte", accuracy=(0.90, 0.80)), "a"),
        trained(task_record("rte", seed=1, accuracy=(0.92, 0.80)), "b"),
    ]
    found = section(made)
    baseline = next(iter(rows(found).values()))
    assert baseline["rte"] == Cell("91.00")  # of three pairs, but of two trainings
    assert (baseline["wall"].text, baseline["wall"].note) == (DASH, NO_PAIR)
    raw = figures(found)["baseline"]
    assert raw["wall_ratio"] is None
    assert raw["rte_quality_fraction"] == pytest.approx(0.91)
    assert raw["rte_difference_fraction"] is None
    missing = dict(zip([v[4] for v in found.values], found.missing, strict=True))["baseline"]
    assert missing["rte"] == missing["wall"] == NO_PAIR
    assert "no technique was applied" in missing["technique"]


def test_every_row_that_is_no_pair_explains_every_figure_that_is_missing() -> None:
    made = [*both("cola", model="bert", knobs=BERT), *both("rte", model="bert", knobs=BERT)]
    for found in table([*made, *both("rte")]).sections:
        for values, missing in zip(found.values, found.missing, strict=True):
            blank = [n for n, v in zip(found.figures, values, strict=True) if v is None]
            assert bool(blank) == bool(missing)
            assert all(reason and reason != "not known" for reason in missing.values())
        for cells in found.cells:
            assert all(cell.text for cell in cells)
            assert all(cell.note for cell in cells if cell.text == DASH)


def test_techniques_are_pooled_over_seeds_as_everywhere() -> None:
    ratios = (0.50, 0.55, 0.63)
    made = [task_record("rte", "none", grades=("B",))]
    made += [task_record("rte", seed=s, grades=("B",), ratio=r) for s, r in enumerate(ratios)]
    raw = figures(section(made))["prune"]
    interval = stats.ttest_1samp(np.log(ratios), 0.0).confidence_interval(0.95)
    assert raw["energy_b_ratio"] == pytest.approx(stats.gmean(ratios))
    assert raw["energy_b_ratio_low"] == pytest.approx(math.exp(interval.low))
    assert raw["energy_b_ratio_high"] == pytest.approx(math.exp(interval.high))
    assert (raw["pairs"], raw["tasks"]) == (3, 1)


# Means of scores


TASKS = {task.task: task for task in GLUE.tasks}


def test_a_mean_counts_the_parts_of_mnli_as_one_of_nine_tasks() -> None:
    every = {task: float(place) for place, task in enumerate(TASKS)}
    # Places 0 to 9; those of MNLI, 5 and 6, count as 5.5 once.
    expected = (0 + 1 + 2 + 3 + 4 + 5.5 + 7 + 8 + 9) / 9
    assert average(every, GLUE.tasks) == pytest.approx(expected)
    lone = [TASKS["mnli_mismatched"], TASKS["rte"]]
    assert average({"mnli_mismatched": 0.8, "rte": 0.6}, lone) == pytest.approx(0.7)


def test_the_mean_is_over_the_tasks_that_all_rows_have_and_says_how_many() -> None:
    scores = {"cola": 0.55, "sst2": 0.90, "rte": 0.65}
    made = [one for t, a in scores.items() for one in both(t, accuracy=(a + 0.01, a))]
    made += [task_record(t, "lora", accuracy=(0.9, 0.88)) for t in ("cola", "rte")]
    found = section(made)
    by_row, raw = rows(found), figures(found)
    heading = next(column for column in found.columns if column.name == "average")
    assert (heading.heading, heading.unit) == ("GLUE", "of 2 tasks")
    assert raw["prune"]["average_quality_fraction"] == pytest.approx((0.55 + 0.65) / 2)
    assert raw["prune"]["average_difference_fraction"] == pytest.approx(-0.01)
    assert raw["lora"]["average_tasks"] == 2
    assert by_row["minilm: prune (eager)"]["average"] == Cell("60.00", f"({MINUS}1.00)")
    absent = by_row["minilm: lora (eager)"]["sst2"]
    assert (absent.text, absent.note) == (DASH, "not measured on this task")
    assert "Means are over CoLA, RTE, which all rows have, and leave out SST-2." in notes(found)


def test_without_a_task_in_common_there_is_no_mean_and_a_loud_note() -> None:
    found = section([*both("cola"), task_record("rte", "lora")])
    names = [column.name for column in found.columns]
    assert "average" not in names  # none has one, so that the column gives way to a note
    (loud,) = [note.text for note in found.notes if note.loud and "No task" in note.text]
    assert loud == "No task was measured in all of these rows, so there are no means."
    assert figures(found)["prune"]["wall_ratio"] is None


def test_a_task_without_any_record_gives_way_to_a_note() -> None:
    assert "WNLI (not measured on this task)" in notes(section(both("cola")))


# Means of ratios


def test_ratios_are_geometric_means_with_the_errors_of_these_tasks() -> None:
    made = [*both("cola", grades=("B",), ratio=0.4), *both("rte", grades=("B",), ratio=0.9)]
    raw = figures(section(made))["prune"]
    assert raw["energy_b_ratio"] == pytest.approx(0.6)
    error = SD / math.sqrt(BLOCKS) * math.sqrt(2) / 2  # of the mean of two independent logs
    margin = stats.t.ppf(0.975, 14) * error  # equal variances: their 7 degrees add up
    assert raw["energy_b_ratio_low"] == pytest.approx(0.6 * math.exp(-margin))
    assert raw["energy_b_ratio_high"] == pytest.approx(0.6 * math.exp(margin))
    assert (raw["energy_b_units"], raw["energy_b_method"]) == (2, "tasks")


def test_the_parts_of_mnli_count_as_one_in_the_mean_of_ratios_too() -> None:
    ratios = {"mnli": 0.4, "mnli_mismatched": 0.9, "sst2": 0.5}
    made = [one for t, r in ratios.items() for one in both(t, grades=("B",), ratio=r)]
    found = section(made)
    raw = figures(found)["prune"]
    # The root of 0.4 times 0.9 is 0.6; that of 0.6 times 0.5 is the mean.
    assert raw["energy_b_ratio"] == pytest.approx(math.sqrt(0.6 * 0.5))
    # Variances v/2 with 14 degrees and v with 7: (1.5 v)^2 over (v^2/56 + v^2/7) is 14.
    error = SD / math.sqrt(BLOCKS) * math.sqrt(1 / 2 + 1) / 2
    margin = stats.t.ppf(0.975, 14) * error
    assert raw["energy_b_ratio_high"] == pytest.approx(math.sqrt(0.3) * math.exp(margin))
    assert raw["energy_b_units"] == raw["average_tasks"] == 2
    assert "(MNLI and MNLI-mm as one task)" in notes(found)


def test_tasks_that_lie_far_apart_do_not_widen_the_interval_of_their_mean() -> None:
    near = [pooling.pool([math.log(r)], [SD], [BLOCKS]) for r in (0.5, 0.5, 0.5)]
    far = [pooling.pool([math.log(r)], [SD], [BLOCKS]) for r in (0.05, 0.5, 5.0)]
    one, two = pooling.geometric_mean(near), pooling.geometric_mean(far)
    assert (two.ratio, two.low, two.high) == pytest.approx((one.ratio, one.low, one.high))


def test_intervals_of_the_mean_over_unlike_tasks_cover_as_often_as_they_say() -> None:
    # Three tasks with ratios, repeatabilities and numbers of blocks of their own, 1000 times.
    truth = np.log([0.3, 0.8, 1.4])
    sds, blocks = (0.005, 0.02, 0.05), (8, 12, 5)
    rng = np.random.default_rng(20)
    hits = 0
    for _ in range(1000):
        tasks = []
        for mean, sd, count in zip(truth, sds, blocks, strict=True):
            logs = rng.normal(mean, sd, count)
            tasks.append(pooling.pool([logs.mean()], [logs.std(ddof=1)], [count]))
        found = pooling.geometric_mean(tasks)
        hits += found.low <= math.exp(truth.mean()) <= found.high
    assert 930 <= hits <= 970  # 950 expected, its standard error is 7


def test_a_session_that_is_not_valid_leaves_a_score_but_no_mean_of_ratios() -> None:
    bad = task_record("rte", accuracy=(0.7, 0.69))
    session = dataclasses.replace(bad.session, valid=False, reason="steal")
    bad = dataclasses.replace(bad, session=session)
    found = section([*both("cola"), task_record("rte", "none"), bad])
    prune = rows(found)["minilm: prune (eager)"]
    assert prune["rte"].text == "69.00"
    assert prune["wall"].note == "RTE: the session is invalid: steal"
    said = "Session of prune on minilm_rte, seed 0, is invalid: steal."
    assert (said, True) in [(note.text, note.loud) for note in found.notes]
    assert rows(found)["minilm: none (A/A) (eager)"]["wall"].text != DASH


def test_joules_lead_where_they_were_counted_and_never_share_a_column() -> None:
    counted = section([*both("cola", grades=("B",)), *both("rte", grades=("B",))])
    names = [column.name for column in counted.columns]
    assert names.index("energy_b") < names.index("wall")
    assert {row["energy_b"].grade for row in rows(counted).values()} - {None} == {"B"}
    clocked = section([*both("cola"), *both("rte")])
    assert not {"energy_a", "energy_b"} & {column.name for column in clocked.columns}
    assert "No energy counter on this host" in notes(clocked)
    half = section([*both("cola", grades=("B",)), *both("rte")])
    assert "energy_b" not in [column.name for column in half.columns]  # no mean of one of two
    assert figures(half)["prune"]["wall_ratio"] == pytest.approx(0.575)
    assert "No energy counter for some of these rows" in notes(half)


def test_joules_of_tasks_that_cover_different_parts_have_no_mean() -> None:
    others = [counted_as(one, scope="gpu") for one in both("rte", grades=("B",), ratio=0.9)]
    found = section([*both("cola", grades=("B",), ratio=0.4), *others])
    raw = figures(found)["prune"]
    assert (raw["energy_b_ratio"], raw["energy_b_j_per_item"]) == (None, None)
    assert 0.4 < raw["wall_ratio"] < 0.9
    told = "they cover different parts: cpu+dram or gpu"
    assert (f"There is no mean of joules (B): {told}.", True) in [
        (note.text, note.loud) for note in found.notes
    ]


def test_seconds_per_sample_hold_a_compiled_baseline_against_techniques() -> None:
    made = [
        *both("rte", label="bf16", ratio=0.3),
        *both("rte", label="int8", ratio=0.4, runtime={"name": "compile"}),
    ]
    found = section(made)
    seconds = {name: row["wall_per_item"].text for name, row in rows(found).items()}
    assert list(seconds)[:2] == ["minilm: baseline (compile)", "minilm: baseline (eager)"]
    assert seconds["minilm: baseline (eager)"] == "12.5 ms"
    assert (
        seconds["minilm: bf16 (eager)"] == "3.80 ms"
    )  # 12.5 times 0.304: seconds are 0.004 above joules
    assert seconds["minilm: int8 (compile)"] == "5.05 ms"
    raw = figures(found)
    assert raw["bf16"]["wall_s_per_item"] == pytest.approx(PER_ITEM_S * 0.304)


def test_per_sample_figures_are_geometric_means_over_tasks() -> None:
    made = [*both("cola", grades=("B",), ratio=0.4), *both("rte", grades=("B",), ratio=0.9)]
    raw = figures(section(made))
    assert raw["prune"]["energy_b_j_per_item"] == pytest.approx(0.6)  # of 80 W for 12.5 ms: 1 J
    assert raw["baseline"]["energy_b_j_per_item"] == pytest.approx(1.0)


# Quality


@pytest.mark.parametrize(
    ("variants", "text", "below"),
    [
        ((0.931, 0.931, 0.930), "non-inferior", "on 3 of 3"),
        ((0.931, 0.931, 0.922), "inconclusive", "on 1 of 3"),
        ((0.931, 0.922, 0.900), "inferior", "on 1 of 3"),
    ],
)
def test_quality_is_non_inferior_only_if_it_is_so_on_every_task(
    variants: Sequence[float], text: str, below: str
) -> None:
    each = zip(("cola", "rte", "qnli"), variants, strict=True)
    found = section([one for t, v in each for one in both(t, accuracy=(0.932, v))])
    by_row = rows(found)
    cell = by_row["minilm: prune (eager)"]["quality_verdict"]
    assert (cell.text, cell.below) == (text, below)
    assert by_row["minilm: baseline (eager)"]["quality_verdict"].note == NO_PAIR
    assert f"{MINUS}1.00 pp on CoLA, QNLI, RTE" in notes(found)


# Subjects


def test_models_stand_in_one_table_each_led_by_its_baseline() -> None:
    made = [*both("rte", model="minilm"), *both("rte", model="bert")]
    assert [name.partition(" (")[0] for name in rows(section(made))] == [
        "bert: baseline",
        "bert: none",
        "bert: prune",
        "minilm: baseline",
        "minilm: none",
        "minilm: prune",
    ]


def test_fresh_weights_are_said_to_be_fresh_and_to_be_incomparable() -> None:
    made = both("rte", model="bert", knobs={**BERT, "pretrained": False})
    found = rows(section(made))
    assert next(iter(found)) == "bert: baseline (eager, fresh weights)"
    assert not [name for name in found if "published" in name]
    assert all("not comparable" in (row["technique"].note or "") for row in found.values())


def test_two_recipes_of_one_task_are_two_rows_told_apart_by_what_differs() -> None:
    made = [one for n in (64, 128) for one in both("rte", knobs={"max_length": n})]
    made += both("cola", knobs={"max_length": 64})
    found = section(made)
    assert list(rows(found))[:2] == [
        "minilm: baseline (eager, workload.max_length 128)",
        "minilm: baseline (eager, workload.max_length 64)",
    ]
    tasks = {(v["model_variant"], v["row"]): v["tasks"] for v in raw_rows(found)}
    assert tasks["workload.max_length 64", "technique"] == 2
    assert tasks["workload.max_length 128", "technique"] == 1


def raw_rows(found: Section) -> list[dict[str, Any]]:
    return [dict(zip(found.figures, values, strict=True)) for values in found.values]


def test_recipes_that_differ_from_task_to_task_are_one_row_and_a_note() -> None:
    made = [*both("cola", epochs=3), *both("sst2", epochs=3), *both("mrpc", epochs=5)]
    found = section(made)
    assert len(rows(found)) == 3
    said = "Not alike on all tasks, for minilm: training.epochs is 3 on CoLA, SST-2; 5 on MRPC."
    assert said in notes(found)
    assert "training.epochs" not in notes(section(made[:4]))


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "other"},
        {"protocol": {"name": "smoke"}},
        {"environment": {"served_on": {"device": "cuda"}}},
    ],
)
def test_rows_under_other_conditions_stand_in_a_section_of_their_own(
    changes: dict[str, Any],
) -> None:
    found = table([*both("cola"), *both("rte", **changes)]).sections
    assert len(found) == 2
    assert len({one.title for one in found}) == 2
    for one in found:
        assert figures(one)["prune"]["average_tasks"] == 1


# Published scores


def test_published_scores_stand_beside_those_of_the_same_pretrained_model() -> None:
    made = [
        *both("cola", model="bert", knobs=BERT, metric="matthews_correlation"),
        *both("mrpc", model="bert", knobs=BERT),
        *both("rte", model="bert", knobs=BERT),
        *(one for task in ("sst2", "cola", "mrpc", "rte") for one in both(task)),
    ]
    found = rows(section(made))
    assert list(found)[:3] == [
        "bert: baseline (eager)",
        "bert: published (development sets)",
        "bert: none (A/A) (eager)",
    ]
    row = found["bert: published (development sets)"]
    # As Hugging Face gives them: CoLA 56.3, MRPC 88.6 by a metric that is not named.
    assert row["cola"] == Cell("56.3")
    assert row["mrpc"].text == "88.6"
    assert "does not say which" in (row["mrpc"].note or "")
    assert (row["sst2"].text, row["sst2"].note) == (DASH, "not measured on this task")
    assert row["average"].text == "71.4"  # with RTE's 69.3
    assert (row["wall"].text, row["wall"].note) == (DASH, NO_PAIR)
    assert "20 January 2020" in (row["technique"].note or "")
    assert len([name for name in found if "published" in name]) == 1


def test_a_published_mean_takes_the_part_of_mnli_that_was_published() -> None:
    tasks = ("cola", "mnli", "mnli_mismatched")
    made = [one for t in tasks for one in both(t, model="bert", knobs=BERT)]
    row = rows(section(made))["bert: published (development sets)"]
    assert row["mnli_mismatched"].note == "the source has no score for it"
    assert row["average"].text == "70.5"  # (56.3 + 84.7) / 2


def test_scores_of_a_test_server_are_marked_as_such() -> None:
    tasks = ("mnli", "mnli_mismatched", "wnli")
    made = [one for t in tasks for one in both(t, model="tinybert", knobs=TINY)]
    row = rows(section(made))["tinybert: published (test server)"]
    assert "not comparable with scores on development sets" in (row["technique"].note or "")
    assert (row["mnli"].text, row["mnli_mismatched"].text) == ("82.5", "81.8")
    assert row["wnli"].note == "the source has no score for it"
    assert row["average"].note == "no published score for each of the tasks that the mean is over"


@pytest.mark.parametrize(
    "knobs", [{"model": "bert-base-cased"}, {"model": "a/folder/bert-base-uncased"}, {}]
)
def test_another_model_has_no_published_row(knobs: Mapping[str, Any]) -> None:
    found = rows(section(both("rte", model="bert", knobs=knobs)))
    assert not [name for name in found if "published" in name]


def test_the_published_scores_have_the_averages_that_were_published_with_them() -> None:
    # As printed in the two sources; Jiao et al. count the parts of MNLI as two tasks.
    printed = {
        "bert-base-uncased": 79.5,
        "distilbert-base-uncased": 77.0,
        "huawei-noah/TinyBERT_General_4L_312D": 77.0,
        "huawei-noah/TinyBERT_General_6L_768D": 79.4,
    }
    entries = published.read("glue")
    assert [entry.models[0] for entry in entries] == list(printed)
    for entry, expected in zip(entries, printed.values(), strict=True):
        assert round(float(np.mean(list(entry.percent.values()))), 1) == expected
        assert len(entry.percent) == 9
        assert entry.percent.keys() <= TASKS.keys()
        assert set(entry.metric_unnamed) <= entry.percent.keys()


# Notes


def test_a_task_without_an_a_a_pair_is_a_loud_warning() -> None:
    found = section([*both("cola"), task_record("rte")])
    (loud,) = [note.text for note in found.notes if note.loud]
    assert loud.startswith("No valid A/A pair (technique=none) of minilm_rte (eager): ")


def test_an_a_a_interval_without_1_is_a_loud_warning_with_task_and_figures() -> None:
    made = [*both("cola"), task_record("rte", "none", ratio=1.1), task_record("rte")]
    (loud,) = [note.text for note in section(made).notes if note.loud]
    margin = stats.t.ppf(0.975, BLOCKS - 1) * SD / math.sqrt(BLOCKS)
    low, high = (1.104 * math.exp(side * margin) for side in (-1, 1))
    told = f"minilm_rte (eager) seconds {low:.3f} to {high:.3f}, minilm_rte (eager) CPU-seconds"
    assert told in loud
    quiet = notes(section([*both("cola"), *both("rte")]))
    assert "A/A intervals contain 1 on every task (2 of 2)." in quiet


# Files


def files(made: Sequence[Record], out: Path) -> dict[str, bytes]:
    records = Records(frame(*made), (), Path("x"))
    return {path.suffix: path.read_bytes() for path in tables.write(records, [GLUE], out)}


def many() -> list[Record]:
    knobs = {"bert": BERT, "minilm": {}}
    return [
        task_record(task, technique, model=model, seed=seed, knobs=knobs[model], grades=("B", "C"))
        for task in ("cola", "sst2", "mnli", "rte")
        for technique in ("none", "bf16", "int8_dynamic")
        for model in knobs
        for seed in range(2)
    ]


def test_the_order_of_the_records_changes_no_byte_of_any_format(tmp_path: Path) -> None:
    made = many()
    first = files(made, tmp_path / "one")
    random.Random(0).shuffle(made)
    assert files(made, tmp_path / "two") == first
    assert set(first) == {".md", ".csv", ".tex", ".json", ".xlsx"}


def test_every_format_holds_the_scores_the_published_ones_and_the_reasons(tmp_path: Path) -> None:
    found = files(many(), tmp_path)
    markdown, tex = found[".md"].decode(), found[".tex"].decode()
    assert "bert: published (development sets)" in markdown
    assert "93.20 → " not in markdown
    assert f"92.91 ({MINUS}0.29)" in markdown
    assert NO_PAIR in markdown
    assert r"\num{56.3}" in tex
    frame_ = pd.read_csv(io.BytesIO(found[".csv"]), skiprows=1).set_index(["model", "label"])
    assert frame_.loc[("bert", "published"), "cola_quality_fraction"] == pytest.approx(0.563)
    assert frame_.loc[("minilm", "bf16"), "average_quality_fraction"] == pytest.approx(0.9291)
    assert f"energy_b: {NO_PAIR}" in frame_.loc[("minilm", "baseline"), "missing"]
    document = json.loads(found[".json"])
    first = document["sections"][0]["rows"][0]
    assert (first["label"], first["energy_b_ratio"]) == ("baseline", None)
    assert first["missing"]["energy_b"] == NO_PAIR


@pytest.mark.parametrize("width", [80, 120, 220])
def test_the_terminal_gives_up_later_tasks_before_means(width: int) -> None:
    out = io.StringIO()
    records = Records(frame(*many()), (), Path("x"))
    Console(width=width, file=out).print(tables.shown(records, GLUE))
    text = out.getvalue()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    head, _, narrow = text.partition("Too narrow for")
    assert "joules (B)" in head
    assert "of 4 tasks" in head
    if width == 80:
        assert "RTE" in narrow
        assert "GLUE" not in narrow
    if width == 220:
        assert not narrow


def test_without_a_record_of_its_tasks_no_table_is_written_and_an_old_one_goes(
    tmp_path: Path,
) -> None:
    assert set(files(many(), tmp_path)) == {".md", ".csv", ".tex", ".json", ".xlsx"}
    assert files([record()], tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_asked_for_by_name_without_a_record_the_command_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = record()
    folder = tmp_path / "results" / made.host / made.id
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(to_json(made), encoding="utf-8")
    places = f"store.root={tmp_path / 'results'}", f"paper.root={tmp_path / 'paper'}"
    assert report.main([*places, "table=glue"]) == 0
    out = capsys.readouterr().out
    assert "Left out: table glue: no record is of what it shows." in out
    assert "Written" not in out
    assert report.write_tables(report.read(tmp_path / "results"), tmp_path / "paper").left_out == ()


def ended(tmp_path: Path, capsys: pytest.CaptureFixture[str], made: Sequence[Record]) -> str:
    """What a run of these records ends with in the terminal."""
    results = tmp_path / "results"
    places = [results / one.host / one.id for one in made]
    for place, one in zip(places, made, strict=True):
        place.mkdir(parents=True)
        (place / "record.json").write_text(to_json(one), encoding="utf-8")
    Console(width=160).print(report.overview_of(report.read(results), places))
    return capsys.readouterr().out


def test_a_run_over_several_tasks_ends_with_one_table_over_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ended(tmp_path, capsys, [*both("sst2"), *both("mrpc")])
    assert "SST-2" in out
    assert "MRPC" in out
    assert out.count("minilm: prune") == 1
    assert "seed 0" not in out


@pytest.mark.parametrize("other", [[], [record()]], ids=["one task", "another workload"])
def test_a_run_that_one_table_over_tasks_cannot_hold_ends_with_its_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: list[Record]
) -> None:
    tasks = [*both("sst2"), *(both("mrpc") if other else [])]
    out = ended(tmp_path, capsys, [*tasks, *other])
    assert "seed 0" in out
    for one in [*tasks, *other]:
        assert one.workload in out


# Specifications


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tasks": ()}, "tasks: has each task once, at least one"),
        ({"tasks": (Task("rte", "RTE"), Task("rte", "R"))}, "there are rte, rte"),
        ({"tasks": (Task("rte", "RTE", "mnly"),)}, "counts_with: mnly is not known here"),
        ({"published": "gleu"}, "published: gleu is not known here; did you mean glue?"),
        ({"order": ("label",)}, "order: is not for tables of tasks"),
        ({"by": ("label",)}, "by: and summary: are for tables of techniques; one of tasks has"),
        ({"of": "techniques"}, "columns: tasks is not known here"),
        ({"notes": ("adjusted",)}, "notes: adjusted is not known here"),
    ],
)
def test_a_table_over_tasks_that_cannot_be_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(TableError) as caught:
        dataclasses.replace(GLUE, **changes)
    assert told in str(caught.value)


def test_columns_of_tasks_are_refused_in_other_tables() -> None:
    with pytest.raises(TableError, match="tasks: and published: are for of: tasks, not for"):
        dataclasses.replace(specs.load("energy"), tasks=GLUE.tasks)


def test_a_table_over_tasks_of_one_s_own_chooses_pairs_as_any_other() -> None:
    made = [*both("cola"), *both("cola", label="other", seed=1)]
    spec = dataclasses.replace(GLUE, where={"label": ["none", "other"]})
    assert set(figures(section(made, spec))) == {"baseline", "none", "other"}
