"""What pages show of records: figures that agree with them, in order, filtered, side by side."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pandas as pd
import pytest
from campaigns import write_campaign, write_pair
from factories import frame, noise_floor, record
from viewing import block, logged, seen, tell, under_way

from bench import store
from bench.dashboard import axes, charts
from bench.dashboard.data import (
    blocks,
    choosing,
    curves,
    datasets,
    hub,
    models,
    pictures,
    runs,
    samples,
    sensors,
)
from bench.dashboard.data.choosing import Choice
from bench.dashboard.data.folder import BrokenError, Folder
from bench.dashboard.data.pairs import prepared
from bench.dashboard.data.watching import Watcher
from bench.dashboard.language import languages
from bench.dashboard.take import Shelf
from bench.doctor import kept
from bench.machine import host_name

pytestmark = pytest.mark.usefixtures("own_lock")
ENGLISH = languages()["en"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign with weights, and one block of the pruned pair stolen."""
    root = tmp_path_factory.mktemp("results")
    write_campaign(root, {"bf16": 0.6}, examples=400, weights=True)
    write_pair(root, ratio=0.8, stolen={1: 0.5}, examples=400, weights=True)
    return root


def opened(watcher: Watcher, technique: str) -> runs.Opened:
    pairs = watcher.latest.pairs
    place = pairs["folder"][pairs["technique"] == technique].iloc[0]
    return runs.opened(watcher.folder, watcher.latest, place)


# Pairs


def test_a_pairs_leading_figures_are_those_of_its_record() -> None:
    made = record(grades=("B", "C"), ratio=0.571)
    row = prepared(frame(made)).iloc[0]
    assert row["lead"] == "energy_b"
    assert (row["_ratio"], row["_low"], row["_high"]) == (0.571, 0.571 - 0.012, 0.571 + 0.012)
    assert row["_variant_per_item"] == made.comparison.variant_per_item


def test_without_a_counter_seconds_lead_and_modelled_joules_never_do() -> None:
    row = prepared(frame(record(grades=("C",), ratio=0.571))).iloc[0]
    assert row["lead"] == "wall"
    assert row["_ratio"] == pytest.approx(0.575)  # factories: seconds are 0.004 above


def test_a_verdict_in_a_word_is_the_strongest_that_may_be_said() -> None:
    rows = prepared(frame(record(grades=("B",)), record(grades=("C",)), noise_floor()))
    assert sorted(rows["_verdict"]) == ["A/A", "faster", "headline"]


def test_filters_narrow_and_a_search_looks_at_part_of_names() -> None:
    rows = prepared(frame(record(), noise_floor(), record(host="other", workload="bert_sst2")))
    assert len(choosing.chosen(rows, Choice())) == 3
    assert set(choosing.chosen(rows, Choice(host="other"))["workload"]) == {"bert_sst2"}
    assert len(choosing.chosen(rows, Choice(text="BERT_s"))) == 1
    assert len(choosing.chosen(rows, Choice(text="(.*"))) == 0  # no expression, just text
    assert len(choosing.chosen(rows, Choice(verdict="A/A"))) == 1
    assert choosing.chosen(rows, Choice(technique="none", host="other")).empty


def test_a_choice_comes_back_out_of_its_query() -> None:
    choice = Choice(text="a&b = c", host="made-up")
    assert Choice.of(dict(parse_qsl(choice.query))) == choice
    assert Choice.of({"nonsense": "x"}) == Choice()


@pytest.mark.parametrize("falling", [False, True])
def test_rows_come_in_the_order_that_is_asked_for(falling: bool) -> None:
    rows = prepared(frame(*(record(seed=s, ratio=0.5 + s / 10) for s in (2, 0, 1))))
    ordered = choosing.sorted_by(rows, "ratio", falling)
    assert list(ordered["seed"]) == sorted([0, 1, 2], reverse=falling)
    assert choosing.sorted_by(rows, "__class__", falling) is rows


def test_pictures_hold_pairs_of_one_host_and_one_measure() -> None:
    rows = prepared(frame(record(), record(grades=("B",)), record(grades=("B",), host="other")))
    found = pictures.families(rows)
    assert [(f.host, f.lead, f.unit) for f in found] == [
        ("made-up-host", "energy_b", "J"),
        ("made-up-host", "wall", "s"),
        ("other", "energy_b", "J"),
    ]
    assert all(len(pictures.of_family(rows, family)) == 1 for family in found)


def test_a_pair_is_off_the_front_if_another_is_better_beyond_the_intervals() -> None:
    made = [
        record("cheap", ratio=0.5, accuracy=(0.93, 0.93)),
        record("dear", ratio=0.9, accuracy=(0.93, 0.93)),
        record("dear_but_better", ratio=0.9, accuracy=(0.93, 0.97)),
    ]
    points = pictures.front(prepared(frame(*made)))
    assert {p.label: p.front for p in points} == {
        "cheap": True,
        "dear": False,
        "dear_but_better": True,
    }
    (cheap,) = [p for p in points if p.label == "cheap"]
    assert cheap.cost[0] == pytest.approx(0.0125 * 0.504)  # factories: seconds per sample
    assert cheap.cost[1] < cheap.cost[0] < cheap.cost[2]


def test_pairs_stand_side_by_side_a_figure_per_row() -> None:
    rows = prepared(frame(record(), noise_floor()))
    found = choosing.beside(rows, list(rows["folder"]))
    assert len(found.columns) == 3
    ratios = next(row for row in found.rows if row["figure"] == "ratio")
    assert {ratios["pair_0"], ratios["pair_1"]} == {"0.575", "1.002"}


# One pair


def test_windows_and_running_ratio_end_at_what_the_record_says(measured: Path) -> None:
    watcher = seen(measured)
    found = opened(watcher, "structured_pruning")
    assert found.record is not None
    session = runs.session(watcher.folder, found)
    compared = found.record.comparison
    last = session.ratios[-1]
    assert last.blocks == compared.blocks
    assert (last.ratio, last.low, last.high) == pytest.approx(
        (compared.ratio, compared.low, compared.high)
    )
    assert session.unit == "J"
    assert [d[:2] for d in session.discards] == [(1, "steal")]
    thrown = [window for window in session.windows if not window.kept]
    assert {window.block for window in thrown} == {1}
    assert len(session.windows) == 4 * (compared.blocks + compared.discarded)


def test_a_session_under_way_shows_the_blocks_that_came_in(tmp_path: Path) -> None:
    """Three blocks at 0.5, one of them thrown away: two count, and the ratio is 0.5."""
    told = [block(0, 1.0, 0.5), block(1, 9.0, 0.1, discard="steal"), block(2, 2.0, 1.0)]
    tell(tmp_path, act="measure", points=told)
    watcher = seen(tmp_path)
    session = blocks.under_way(watcher.folder, watcher.latest.running[0].points)
    (ratio,) = session.ratios
    assert (ratio.blocks, ratio.ratio) == (2, pytest.approx(0.5))
    assert [window.arm for window in session.windows[:4]] == [
        *("baseline", "variant", "variant", "baseline")
    ]
    assert session.windows[0].per_item == pytest.approx(0.1)
    assert [d[:2] for d in session.discards] == [(1, "steal")]


def test_curves_are_those_of_the_training_table(measured: Path) -> None:
    watcher = seen(measured)
    found = opened(watcher, "structured_pruning")
    training = runs.training(watcher.folder, found)
    table = pd.read_parquet(measured / found.place / "training.parquet")
    baseline = table[(table["arm"] == "baseline") & table["loss"].notna()]
    stage = next(stage for stage in training.stages if stage.arm == "baseline")
    assert stage.lines["loss"] == list(zip(baseline["step"], baseline["loss"], strict=True))
    joules = baseline["counters/cpu:0_j"] + baseline["counters/dram:0_j"]
    assert [y for _, y in stage.energy_j["counters (B)"]] == pytest.approx(list(joules))
    watts = np.diff(joules) / np.diff(baseline["wall_s"])
    assert [y for _, y in stage.power_w["counters (B)"]] == pytest.approx(list(watts))
    pace = np.diff(baseline["step"]) / np.diff(baseline["wall_s"])
    assert [y for _, y in stage.pace] == pytest.approx(list(pace))


def test_where_nothing_was_trained_there_is_no_curve_and_no_complaint(tmp_path: Path) -> None:
    write_pair(tmp_path, ratio=0.8)
    watcher = seen(tmp_path)
    found = opened(watcher, "structured_pruning")
    path = tmp_path / found.place / "training.parquet"
    columns = pd.read_parquet(path).columns
    pd.DataFrame(columns=columns).to_parquet(path)  # of no kind, for want of any value
    training = runs.training(watcher.folder, found)
    assert (training.stages, training.problem) == ((), "")


def test_throughput_is_examples_per_second_of_each_stage(measured: Path) -> None:
    """The made-up trainings take 64 examples a step (campaigns)."""
    watcher = seen(measured)
    training = runs.training(watcher.folder, opened(watcher, "structured_pruning"))
    assert {stage.examples for stage in training.stages} == {64.0}
    for stage in training.stages:
        assert stage.throughput == [(step, 64 * each) for step, each in stage.pace]


def test_throughput_of_a_training_that_went_on_is_of_what_it_has_seen_since(tmp_path: Path) -> None:
    """From step 100 on it counts from 0 again: 32 examples a step."""
    told = [logged(s, 1.0, s / 10, 10.0 * s, items=32 * (s - 100)) for s in (110, 120)]
    tell(tmp_path, points=told)
    watcher = seen(tmp_path)
    (stage,) = under_way(watcher).stages
    assert stage.examples == 32
    assert stage.throughput == [(120, pytest.approx(320.0))]  # 10 steps a second


def test_perplexity_is_that_of_the_mean_log_likelihood_of_a_token(tmp_path: Path) -> None:
    """exp(ln 20) is 20: a die of twenty faces."""
    point = {**logged(10, None, 5.0, 100.0), "validation_loss": 3.0, "metric": -np.log(20.0)}
    tell(tmp_path, points=[point], metric="log_likelihood")
    watcher = seen(tmp_path)
    training = under_way(watcher)
    assert training.of_language
    assert training.stages[0].perplexity == [(10, pytest.approx(20.0))]
    tell(tmp_path, points=[point], metric="accuracy")
    watcher.look()
    assert not under_way(watcher).of_language


def test_joules_of_two_grades_are_two_lines(measured: Path) -> None:
    watcher = seen(measured)
    training = runs.training(watcher.folder, opened(watcher, "none"))
    assert set(training.stages[0].energy_j) == {"counters (B)", "codecarbon (C)"}


def test_a_training_under_way_shows_what_it_told(tmp_path: Path) -> None:
    told = [
        logged(10, 2.0, 5.0, 100.0),
        {**logged(10, None, 5.5, 110.0), "validation_loss": 2.5, "metric": 0.4},
        logged(20, 1.0, 10.0, 300.0),
    ]
    tell(tmp_path, points=told)
    watcher = seen(tmp_path)
    (stage,) = under_way(watcher).stages
    assert stage.lines["loss"] == [(10, 2.0), (20, 1.0)]
    assert stage.lines["validation_loss"] == [(10, 2.5)]
    assert stage.power_w["counters (B)"] == [(10.0, pytest.approx(40.0))]  # 200 J in 5 s
    assert stage.pace == [(20, pytest.approx(2.0))]


def test_joules_of_a_training_that_went_on_are_put_behind_those_before(tmp_path: Path) -> None:
    """It counts from 0 again: 100 J in 5 s until the kill, then 300 J in 10 s."""
    told = [logged(5, 2.0, 2.5, 50.0), logged(10, 2.0, 5.0, 100.0)]
    told += [logged(10 * n, 1.0, 5.0 * (n - 1), 150.0 * (n - 1)) for n in (2, 3)]
    tell(tmp_path, points=told)
    (stage,) = under_way(seen(tmp_path)).stages
    energy_j = stage.energy_j["counters (B)"]
    assert energy_j == [(2.5, 50.0), (5.0, 100.0), (10.0, 250.0), (15.0, 400.0)]
    assert [watts for _, watts in stage.power_w["counters (B)"]] == pytest.approx([20, 30, 30])
    shown = charts.energies(curves.Training((stage,)), ENGLISH, power=False)
    assert shown["xAxis"]["name"] == "seconds since the stage began"
    assert shown["series"][0]["data"] == energy_j


def test_the_first_point_is_there_also_behind_all_blocks(tmp_path: Path) -> None:
    """Forty blocks and forty points with many meters are more than the end of a log."""
    points = [logged(n, 1.0, n, n * 10.0, note="x" * 2_000) for n in range(1, 41)]
    tell(tmp_path, points=[*points, *(block(n, 1.0, 0.5) for n in range(40))])
    watcher = seen(tmp_path)
    (stage,) = under_way(watcher).stages
    assert [step for step, _ in stage.lines["loss"]] == list(range(1, 41))
    session = blocks.under_way(watcher.folder, watcher.latest.running[0].points)
    assert len(session.windows) == 4 * 40


def test_a_reading_that_failed_leaves_no_sum(tmp_path: Path) -> None:
    point = logged(10, 2.0, 5.0, 100.0)
    point["readings"][1]["energy_j"] = None
    tell(tmp_path, points=[point])
    watcher = seen(tmp_path)
    (stage,) = under_way(watcher).stages
    assert set(stage.energy_j) == {"codecarbon (C)"}


def test_a_pair_that_is_gone_is_not_there(measured: Path) -> None:
    watcher = seen(measured)
    for place in ("a/b/c/d", "../../etc", "", "/etc/passwd", "x\0y"):
        assert not runs.opened(watcher.folder, watcher.latest, place).there


def test_the_log_of_a_pair_is_found_by_what_it_told(tmp_path: Path) -> None:
    log = tmp_path / ".logs" / "today" / "joulebench.log"
    log.parent.mkdir(parents=True)
    log.write_text("first\n\x1b[31mlast\n")
    tell(tmp_path, log=".logs/today/joulebench.log")
    watcher = seen(tmp_path)
    found = runs.opened(watcher.folder, watcher.latest, watcher.latest.running[0].folder)
    assert runs.log_lines(watcher, found) == ["first", "[31mlast"]
    tell(tmp_path, log="made-up-host/secret.txt")
    watcher.look()
    found = runs.opened(watcher.folder, watcher.latest, watcher.latest.running[0].folder)
    assert runs.log_lines(watcher, found) == []


def test_a_pair_under_way_shows_what_was_asked_for_and_what_its_watch_says(tmp_path: Path) -> None:
    kept_by_hydra = tmp_path / ".logs" / "today" / "3" / ".hydra"
    kept_by_hydra.mkdir(parents=True)
    (kept_by_hydra / "config.yaml").write_text("seed: 7\n")
    tell(tmp_path, log=".logs/today/3/joulebench.log")
    watcher = seen(tmp_path)
    place = watcher.latest.running[0].folder
    events = tmp_path / ".live" / host_name() / "events.jsonl"
    told = [("making", "baseline"), ("overfitting", "train, step 9: up by 10 %"), ("saved", "x")]
    lines = [{"at_s": n, "kind": k, "folder": place, "text": t} for n, (k, t) in enumerate(told)]
    events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    watcher.look()
    found = runs.opened(watcher.folder, watcher.latest, place)
    assert runs.configuration(watcher.folder, found) == "seed: 7\n"
    assert runs.happened(watcher.latest, found) == [
        ("", "overfitting", "train, step 9: up by 10 %")
    ]


def test_a_pair_that_failed_shows_the_blocks_that_were_thrown_away(tmp_path: Path) -> None:
    told = [block(n, 1.0, 0.5, discard="foreign load") for n in range(5)]
    state = tell(tmp_path, act="measure", points=[logged(10, 2.0, 5.0, 100.0), *told])
    place = f"{host_name()}/digits/bf16/{state.stem}"
    state.unlink()
    store.write_failure(tmp_path / place, ValueError("no finding"), "Traceback", {})
    watcher = seen(tmp_path)
    found = runs.opened(watcher.folder, watcher.latest, place)
    session = runs.session(watcher.folder, found)
    assert [d[:2] for d in session.discards] == [(n, "foreign load") for n in range(5)]
    assert not session.ratios
    (stage,) = runs.training(watcher.folder, found).stages
    assert stage.lines["loss"] == [(10, 2.0)]


def test_a_failed_pair_shows_what_was_asked_for(tmp_path: Path) -> None:
    place = tmp_path / "h" / "w" / "t" / "0-a"
    store.write_failure(place, ValueError("too hot"), "Traceback", {"seed": 7})
    watcher = seen(tmp_path)
    found = runs.opened(watcher.folder, watcher.latest, "h/w/t/0-a")
    assert runs.configuration(watcher.folder, found) == "seed: 7\n"


# Models, data, doctor


def test_models_are_listed_with_what_records_say_of_them(measured: Path) -> None:
    watcher = seen(measured)
    found = {row["digest"]: row for row in models.sheet(watcher.latest, watcher.folder).rows}
    pairs = watcher.latest.pairs
    pruned = pairs[pairs["technique"] == "structured_pruning"].iloc[0]
    variant, baseline = (found[pruned[f"{arm}_digest"][:16]] for arm in ("variant", "baseline"))
    assert (variant["type"], baseline["type"]) == ("variant", "baseline")
    assert variant["quality"] == pruned["quality_variant"]
    assert (variant["energy_j"], variant["grade"]) == (pruned["optimise_energy_b_j"], "B")
    assert baseline["energy_j"] == pruned["train_energy_b_j"]
    weights = models.weights(watcher.folder, pruned["variant_digest"][:16])
    assert weights.stat().st_size == variant["bytes"]
    made, _ = models.record_of(watcher.folder, watcher.latest, pruned["variant_digest"][:16])
    assert made.technique == "structured_pruning"


def test_a_model_in_no_record_is_listed_all_the_same(tmp_path: Path) -> None:
    lost = tmp_path / ".artefacts" / ("ab" * 8)
    lost.mkdir(parents=True)
    (lost / models.WEIGHTS).write_bytes(b"12345")
    (tmp_path / ".artefacts" / "notes").mkdir()
    watcher = seen(tmp_path)
    (row,) = models.sheet(watcher.latest, watcher.folder).rows
    assert (row["bytes"], row.get("type")) == (5, None)
    with pytest.raises(BrokenError):
        models.record_of(watcher.folder, watcher.latest, "ab" * 8)


def test_data_sets_are_described_split_by_split() -> None:
    data = {
        "source": "alpaca.jsonl",
        "cleaning": {"empty": {"dropped_rows": {"train": 3}}},
        "train": {"rows": 90, "examples": 80, "left_out": 4, "labels_sha256": "ab" * 32},
        "test": {"rows": 10, "examples": 9},
    }
    rows = datasets.described(frame(record(data=data), noise_floor(data=data))).rows
    assert {(r["split"], r["examples"], r["rows"], r["left_out"]) for r in rows} == {
        ("train", 80, 90, 4),
        ("test", 9, 10, None),
    }
    assert len(rows) == 2  # two pairs of the same data
    assert "dropped_rows" in rows[0]["cleaning"]


ROWS = [{"text": "ab", "label": "x"}, {"text": "abcd", "label": "y"}, {"text": "", "label": "x"}]


def written(folder: Path, end: str) -> str:
    """Write ``ROWS`` and two rows that are broken, where a kind of file can have such."""
    path = folder / f"set{end}"
    if end in (".csv", ".tsv"):
        separator = "," if end == ".csv" else "\t"
        lines = [
            ["text", "label"],
            *([r["text"], r["label"]] for r in ROWS),
            ["1", "2", "3"],
            ["4"],
        ]
        path.write_text("\n".join(separator.join(line) for line in lines) + "\n")
    elif end == ".jsonl":
        path.write_text("\n".join([*map(json.dumps, ROWS), "{", "[1]"]) + "\n")
    elif end == ".json":
        path.write_text(json.dumps([*ROWS, 1, "x"]))
    else:
        pd.DataFrame(ROWS).to_parquet(path)
    return path.name


@pytest.mark.parametrize(
    ("end", "bad"), [(".csv", 2), (".tsv", 2), (".jsonl", 2), (".json", 2), (".parquet", 0)]
)
def test_files_of_all_kinds_are_looked_into(tmp_path: Path, end: str, bad: int) -> None:
    found = samples.look(Folder.of(tmp_path), written(tmp_path, end))
    assert (found.rows, found.bad_rows, len(found.bad)) == (3, bad, bad)
    assert found.names == ["text", "label"]
    text, label = found.columns
    assert (text["missing"], text["distinct"], text["mean_length"]) == (1, 2, 3.0)
    assert (label["missing"], label["distinct"]) == (0, 2)
    assert [row["c1"] for row in found.sample_sheet.rows] == ["x", "y", "x"]


def test_a_text_file_is_rows_of_one_column(tmp_path: Path) -> None:
    (tmp_path / "shakespeare.txt").write_text("to be\nor not\n")
    found = samples.look(Folder.of(tmp_path), "shakespeare.txt")
    assert (found.rows, found.names) == (2, ["text"])


def test_the_balance_of_classes_is_counted(tmp_path: Path) -> None:
    rows = [{"text": f"row {n}", "label": n % 3 == 0} for n in range(30)]
    (tmp_path / "set.jsonl").write_text("\n".join(map(json.dumps, rows)))
    column, counts = samples.look(Folder.of(tmp_path), "set.jsonl").classes
    assert (column, counts) == ("label", {"False": 20, "True": 10})


def test_of_a_large_file_the_start_is_read_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "START_BYTES", 100)
    (tmp_path / "set.txt").write_text("0123456789\n" * 1000)
    found = samples.look(Folder.of(tmp_path), "set.txt")
    assert (found.rows, found.whole, found.total) == (9, False, None)  # 99 of 100 bytes


def test_of_a_large_table_the_start_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "START_BYTES", 100_000)
    pd.DataFrame({"text": ["x" * 10_000] * 1_000}).to_parquet(tmp_path / "set.parquet")
    found = samples.look(Folder.of(tmp_path), "set.parquet")
    assert (found.rows, found.whole, found.total) == (100, False, 1_000)  # a portion of 1 MB


def test_behind_a_quote_that_is_never_closed_no_rows_are_counted(tmp_path: Path) -> None:
    """A field may have 131,072 characters in a process that trains no language models."""
    (tmp_path / "set.csv").write_text('text,label\nab,x\n"' + "y,z\n" * 50_000)
    others = csv.field_size_limit(131_072)
    try:
        found = samples.look(Folder.of(tmp_path), "set.csv")
    finally:
        csv.field_size_limit(others)
    assert (found.rows, found.whole, found.total, found.bad_rows) == (1, False, None, 1)


def test_of_a_large_list_of_json_the_start_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"text": f"row {n:04}"} for n in range(100)]
    content = json.dumps(rows)
    (tmp_path / "set.json").write_text(content)
    monkeypatch.setattr(samples, "START_BYTES", 200)
    found = samples.look(Folder.of(tmp_path), "set.json")
    each = len(json.dumps(rows[0])) + len(", ")
    assert (found.rows, found.whole, found.total) == ((200 - len("[")) // each, False, None)
    assert found.bad_rows == 0


def test_data_sets_of_the_hub_are_those_that_the_configs_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    place = tmp_path / "datasets--nyu-mll--glue" / "snapshots" / "main"
    place.mkdir(parents=True)
    (tmp_path / "datasets--somebody--else").mkdir()
    blobs = place.parents[1] / "blobs"
    blobs.mkdir()
    pd.DataFrame(ROWS).to_parquet(blobs / "ab12")
    (place / "train.parquet").symlink_to(blobs / "ab12")  # as the hub's cache has it
    named = {one.id: one for one in hub.named()}
    assert named["nyu-mll/glue"].workloads == ("bert",)
    assert named["nyu-mll/glue"].folder is not None
    assert named["uoft-cs/cifar10"].folder is None
    shelf = Shelf(seen(tmp_path / "results"))
    (found,) = datasets.files(shelf.folders())
    assert found.bytes == (blobs / "ab12").stat().st_size
    base, relative = shelf.data_file(found.name)
    assert samples.look(base, relative).rows == 3


def test_a_data_file_outside_of_the_given_folders_is_not_looked_into(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link.csv").symlink_to(tmp_path / "secret.csv")
    for relative in ("../secret.csv", "link.csv", str(tmp_path / "secret.csv")):
        with pytest.raises(BrokenError, match="leads out"):
            samples.look(Folder.of(tmp_path / "data"), relative)


def test_sensors_are_those_of_the_doctor_here_and_of_other_hosts_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = {"meter": "counters", "component": "cpu:0", "source": "rapl", "grade": "B"}
    findings = {"created": "2026-01-01", "conclusion": "grade B available", "channels": [channel]}
    monkeypatch.setattr(kept, "file", lambda: tmp_path / "doctor.json")
    (tmp_path / "doctor.json").write_text(json.dumps(findings))
    made = record(host="other", environment={"doctor": {**findings, "conclusion": "theirs"}})
    place = tmp_path / "results" / "other" / made.id
    store.write(place, made, {})
    watcher = seen(tmp_path / "results")
    here, other = sensors.hosts(watcher.latest, watcher.folder)
    assert (here.name, here.here, here.conclusion) == (host_name(), True, "grade B available")
    assert (other.name, other.here, other.conclusion) == ("other", False, "theirs")
    rows = sensors.sensors([here, other]).rows
    assert [(row["host"], row["grade"]) for row in rows] == [(host_name(), "B"), ("other", "B")]


# Pictures


def keys(options: object) -> set[str]:
    if isinstance(options, dict):
        return set(options).union(*map(keys, options.values()))
    if isinstance(options, list):
        return set().union(*map(keys, options))
    return set()


def test_no_key_of_a_picture_comes_from_a_record(measured: Path, tmp_path: Path) -> None:
    """What stands behind a key that begins with a colon would be run in the browser."""
    plain = record(label="prune")
    evil = record(label=":formatter", host=":x", workload=":y")
    found = []
    for made in (plain, evil):
        rows = prepared(frame(made))
        family = pictures.families(rows)[0]
        found.append(
            keys(charts.pareto(pictures.front(rows), family.unit, 100.0, "%", ENGLISH))
            | keys(charts.forest(choosing.sheet(rows).rows, ENGLISH))
            | keys(charts.break_even([(made.label, 1.0, 2.0)], 3.0, "J", ENGLISH))
            | keys(charts.classes({made.label: 1}, ENGLISH))
        )
    assert found[0] == found[1]
    assert {key for key in found[1] if key.startswith(":")} == {":formatter"}


def behind(options: object, key: str) -> set[str]:
    if isinstance(options, dict):
        here = {str(options[key])} if key in options else set()
        return here.union(*(behind(value, key) for value in options.values()))
    return set().union(*(behind(v, key) for v in options)) if isinstance(options, list) else set()


def test_what_is_run_in_the_browser_is_one_word_of_ours() -> None:
    options = charts.break_even([(":evil", 1.0, 2.0)], 3.0, ":evil", ENGLISH)
    assert behind(options, ":formatter") == {axes.SHORT}


def test_pictures_of_a_session_and_a_training_hold_every_point(measured: Path) -> None:
    watcher = seen(measured)
    found = opened(watcher, "structured_pruning")
    session = runs.session(watcher.folder, found)
    shown = charts.windows(session, ENGLISH)
    assert sum(len(one["data"]) for one in shown["series"]) == len(session.windows)
    ratio = charts.running_ratio(session, ENGLISH)
    assert len(ratio["series"][-1]["data"]) == len(session.ratios)
    assert not charts.empty(charts.losses(runs.training(watcher.folder, found), ENGLISH))
    assert charts.empty(charts.losses(curves.Training(), ENGLISH))


def test_a_copy_of_the_folder_shows_the_same(measured: Path, tmp_path: Path) -> None:
    shutil.copytree(measured, tmp_path / "copy", ignore=shutil.ignore_patterns(".pairs*"))
    one, two = seen(measured), seen(tmp_path / "copy")
    columns = ["folder", "_ratio", "_verdict"]
    pd.testing.assert_frame_equal(one.latest.pairs[columns], two.latest.pairs[columns])
