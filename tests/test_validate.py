"""A reviewer's check of somebody's results: clean ones pass, and every planted fault is found."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from campaigns import write_campaign, write_pair
from factories import record as make_record

from bench import conclusions
from bench.findings import Comparison
from bench.measurement import conditions as measured_conditions
from bench.measurement import latency as measured_latency
from bench.measurement.protocol import Protocol
from bench.readings import elsewhere
from bench.records import from_json
from bench.validate import claims, conditions, examination, family, place
from bench.validate.__main__ import main

ROOT = Path(__file__).parents[1]
STOLEN = 2
"""Block of the pruned pair in which the hypervisor kept 5 % of the cores."""


@dataclasses.dataclass
class Edit:
    """A record taken apart: whatever is changed here is written back, with new digests."""

    record: dict[str, Any]
    tables: dict[str, pd.DataFrame]

    @property
    def windows(self) -> pd.DataFrame:
        return self.tables["windows"]


@contextmanager
def edited(folder: Path) -> Iterator[Edit]:
    """Open a record for a forger who also renews every digest of the files."""
    names = ("windows", "predictions", "trace", "training")
    edit = Edit(
        json.loads((folder / "record.json").read_text()),
        {name: pd.read_parquet(folder / f"{name}.parquet") for name in names},
    )
    yield edit
    for name, table in edit.tables.items():
        path = folder / f"{name}.parquet"
        table.to_parquet(path, index=False)
        edit.record["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "record.json").write_text(json.dumps(edit.record))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An A/A pair and a pruned one, of a host with counters, with their weights."""
    root = tmp_path_factory.mktemp("clean") / "results"
    write_pair(root, technique="none", weights=True)
    write_pair(root, technique="structured_pruning", weights=True, stolen={STOLEN: 0.05})
    return root


@pytest.fixture
def results(clean: Path, tmp_path: Path) -> Path:
    """A copy of the clean results that a test may spoil."""
    return Path(shutil.copytree(clean, tmp_path / "results"))


def pruned(results: Path) -> Path:
    """Folder of the pruned pair."""
    (folder,) = results.glob("*/*/structured_pruning/*")
    return folder


def errors(results: Path, strict: bool = False) -> dict[str, list[str]]:
    """Messages of the errors found, by check."""
    found: dict[str, list[str]] = {}
    for finding in examination.examine(results, strict).findings:
        if finding.severity == "error":
            found.setdefault(finding.check, []).append(finding.message)
    return found


def test_results_as_they_were_measured_are_clean_even_for_a_submission(clean: Path) -> None:
    found = examination.examine(clean, strict=True)
    assert found.findings == ()
    assert (found.records, found.files) == (2, 8)
    assert found.notes == {"pairs that failed": 0}


@pytest.mark.parametrize(
    "changes",
    [
        {"grades": ("A", "B", "C")},
        {"grades": ("A", "B"), "cuda": True},
        {"grades": ("B",), "cuda": True},
        {"grades": ("C",)},
        {"grades": ()},
        {"noise": 0.05, "seed": 1},
        {"ratio": 1.3},
        {"accuracy": (0.93, 0.85)},
        {"accuracy": (0.93, 0.94)},
        {"protocol": "smoke"},
        {"stolen": {0: 0.5, 1: 0.02, 5: 0.03}},
        {"drift": 0.9},
    ],
    ids=str,
)
def test_pairs_of_every_kind_are_clean(tmp_path: Path, changes: dict[str, Any]) -> None:
    common = {k: v for k, v in changes.items() if k in ("grades", "protocol", "cuda")}
    write_pair(tmp_path / "results", technique="none", **common)
    write_pair(tmp_path / "results", technique="bf16", **changes)
    assert examination.examine(tmp_path / "results", strict=True).findings == ()


def test_an_a_a_pair_of_seconds_is_no_noise_floor_of_joules(tmp_path: Path) -> None:
    write_pair(tmp_path / "results", technique="none", grades=("C",))
    folder = write_pair(tmp_path / "results", technique="bf16", grades=("B", "C"))
    found = from_json((folder / "record.json").read_text())
    assert found.verdict.reason is not None
    assert found.verdict.reason.startswith("no A/A pair")
    wrong = examination.examine(tmp_path / "results", strict=True).findings
    assert {finding.check for finding in wrong} == {"weights"}  # made twice, with other meters
    write_pair(tmp_path / "other", technique="none", grades=("B", "C"))
    folder = write_pair(tmp_path / "other", technique="bf16", grades=("B", "C"))
    assert from_json((folder / "record.json").read_text()).verdict.headline


def test_the_joules_of_a_cpu_do_not_lead_where_a_gpu_serves(tmp_path: Path) -> None:
    folder = write_pair(tmp_path / "results", grades=("B",), cuda=True)
    found = from_json((folder / "record.json").read_text())
    assert [c.measure for c in found.comparisons] == ["wall_s", "cpu_s", "energy_j"]
    assert found.verdict.energy == "undecided"


# Faults in one record. Each is planted by one function, and named by the check that must find it.


def change_accuracy(edit: Edit) -> None:
    edit.record["quality"]["variant"] += 0.002
    edit.record["variant"]["metrics"]["accuracy"] += 0.002


def change_accuracy_of_an_arm(edit: Edit) -> None:
    edit.record["variant"]["metrics"]["accuracy"] += 0.001


def change_difference(edit: Edit) -> None:
    edit.record["quality"]["difference"] = 0.0


def narrow_quality(edit: Edit) -> None:
    edit.record["quality"]["low"] *= 0.8


def move_lost(edit: Edit) -> None:
    edit.record["quality"]["lost"] -= 5


def judge_quality(edit: Edit) -> None:
    edit.record["quality"]["verdict"] = edit.record["verdict"]["quality"] = "inferior"


def widen_margin(edit: Edit) -> None:
    edit.record["quality"]["margin"] = 0.05


def widen_margin_everywhere(edit: Edit) -> None:
    edit.record["quality"]["margin"] = 0.05
    edit.record["config"]["workload"]["margin"] = 0.05


def swap_arms(edit: Edit) -> None:
    record = edit.record
    record["baseline"], record["variant"] = record["variant"], record["baseline"]


def swap_answers(edit: Edit) -> None:
    names = {"baseline": "variant", "variant": "baseline"}
    edit.tables["predictions"] = edit.tables["predictions"].rename(columns=names)


def shuffle_answers(edit: Edit) -> None:
    answers = edit.tables["predictions"]
    answers["variant"] = answers["variant"].sample(frac=1, random_state=0).to_numpy()


def shuffle_examples(edit: Edit) -> None:
    edit.tables["predictions"] = edit.tables["predictions"].sample(frac=1, random_state=0)


def drop_examples(edit: Edit) -> None:
    answers = edit.tables["predictions"]
    edit.tables["predictions"] = answers[(answers["variant"] == answers["label"])]


def change_labels(edit: Edit) -> None:
    answers = edit.tables["predictions"]
    answers["label"] = answers["variant"]


def edit_window(edit: Edit) -> None:
    edit.windows.loc[edit.windows["arm"] == "variant", "counters/cpu:0_j"] *= 0.98


def edit_window_and_trace(edit: Edit) -> None:
    edit_window(edit)
    trace = edit.tables["trace"]
    of_window = (trace["span"] == "window") & (trace["component"] == "cpu:0")
    joules = edit.windows["counters/cpu:0_j"].to_numpy()
    seconds = (edit.windows["end_ns"] - edit.windows["start_ns"]).to_numpy() * 1e-9
    trace.loc[of_window, "power_w"] = joules / seconds


def drop_block(edit: Edit) -> None:
    edit.tables["windows"] = edit.windows[edit.windows["block"] != 4]


def drop_block_and_renumber(edit: Edit) -> None:
    drop_block(edit)
    blocks = edit.windows["block"]
    edit.tables["windows"] = edit.windows.assign(block=blocks.where(blocks < 4, blocks - 1))


def drop_window(edit: Edit) -> None:
    edit.tables["windows"] = edit.windows.drop(index=6)


def add_block(edit: Edit) -> None:
    last = edit.windows["block"].max()
    extra = edit.windows[edit.windows["block"] == last - 1].assign(block=last + 1)
    shift_ns = int(edit.windows["end_ns"].max() - extra["start_ns"].min()) + 10**9
    extra["start_ns"] += shift_ns
    extra["end_ns"] += shift_ns
    edit.tables["windows"] = pd.concat([edit.windows, extra], ignore_index=True)


def repeat_window(edit: Edit) -> None:
    edit.tables["windows"] = pd.concat([edit.windows.iloc[:6], edit.windows.iloc[5:]])


def swap_windows_of_a_block(edit: Edit) -> None:
    edit.windows.loc[[0, 1], "arm"] = edit.windows.loc[[1, 0], "arm"].to_numpy()


def same_order_twice(edit: Edit) -> None:
    turned = {"baseline": "variant", "variant": "baseline"}
    of_block = edit.windows["block"] == 5
    edit.windows.loc[of_block, "arm"] = edit.windows.loc[of_block, "arm"].map(turned)
    orders = edit.windows.loc[of_block, "order"].map({"ABBA": "BAAB", "BAAB": "ABBA"})
    edit.windows.loc[of_block, "order"] = orders


def overlap_windows(edit: Edit) -> None:
    edit.windows.loc[3, "start_ns"] -= 5 * 10**9
    edit.windows.loc[3, "wall_s"] += 5


def turn_time_back(edit: Edit) -> None:
    start, end = (edit.windows[name].to_numpy().copy() for name in ("start_ns", "end_ns"))
    edit.windows.loc[7, "start_ns"], edit.windows.loc[7, "end_ns"] = end[7], start[7]


def change_seconds(edit: Edit) -> None:
    edit.windows.loc[edit.windows["arm"] == "variant", "wall_s"] *= 0.9


def change_items(edit: Edit) -> None:
    edit.windows.loc[5, "items"] *= 2


def change_items_after_the_first_kept(edit: Edit) -> None:
    """What a session may do before a block is kept, it may not do later."""
    last = edit.windows["block"].max()
    edit.windows.loc[edit.windows["block"] == last, "items"] *= 2


def change_items_of_an_arm(edit: Edit) -> None:
    edit.windows.loc[edit.windows["arm"] == "variant", "items"] += 64
    kept = edit.windows[edit.windows["kept"] & (edit.windows["arm"] == "variant")]
    edit.record["variant"]["phases"]["infer"]["items"] = int(kept["items"].sum())


def change_total(edit: Edit) -> None:
    edit.record["variant"]["phases"]["infer"]["readings"][0]["energy_j"] *= 0.97


def discard_without_cause(edit: Edit) -> None:
    """The block that spoils the result goes, with a reason that its windows do not bear out."""
    edit.windows.loc[edit.windows["block"] == 6, "kept"] = False
    discard = {"block": 6, "condition": "foreign load", "detail": "9.1% of the cores, limit 5.0%"}
    edit.record["session"]["discards"].append(discard)


def discard_for_energy(edit: Edit) -> None:
    edit.windows.loc[edit.windows["block"] == 6, "kept"] = False
    discard = {"block": 6, "condition": "outlier", "detail": "3 sigma"}
    edit.record["session"]["discards"].append(discard)


def keep_discarded(edit: Edit) -> None:
    edit.windows["kept"] = True


def keep_stolen(edit: Edit) -> None:
    """A block that the hypervisor disturbed counts, and nothing tells that it was discarded."""
    edit.windows["kept"] = True
    edit.record["session"]["discards"] = []


def steal(edit: Edit) -> None:
    edit.windows.loc[13, "steal_share"] = 0.03


def load(edit: Edit) -> None:
    edit.windows.loc[13, "foreign_share"] = 0.2


def negative_share(edit: Edit) -> None:
    edit.windows.loc[13, "foreign_share"] = -0.01


def throttle(edit: Edit) -> None:
    edit.windows.loc[13, "cpu_throttles"] = 4


def heat(edit: Edit) -> None:
    hot = (edit.windows["block"] == 3) & (edit.windows["arm"] == "variant")
    edit.windows.loc[hot, "cpu:0_start_c"] += 9


def fault_pages(edit: Edit) -> None:
    edit.windows.loc[13, "major_faults"] = 5_000


def lose_reading(edit: Edit) -> None:
    edit.windows.loc[13, "counters/dram:0_j"] = None


def still_counter(edit: Edit) -> None:
    edit.windows.loc[13, "counters/dram:0_j"] = 0.0


def milli(edit: Edit) -> None:
    """Windows, totals and the trace in millijoules; every ratio stays as it was."""
    edit.windows["counters/cpu:0_j"] *= 1_000
    edit.windows["counters/dram:0_j"] *= 1_000
    trace = edit.tables["trace"]
    trace.loc[(trace["span"] == "window") & (trace["meter"] == "counters"), "power_w"] *= 1_000
    for arm in ("baseline", "variant"):
        for reading in edit.record[arm]["phases"]["infer"]["readings"]:
            reading["energy_j"] *= 1_000 if reading["meter"] == "counters" else 1
    for found in (edit.record["comparison"], *edit.record["comparisons"]):
        if found["grade"] == "B":
            found["baseline_per_item"] *= 1_000
            found["variant_per_item"] *= 1_000


def kilowatt_hours(edit: Edit) -> None:
    for reading in edit.record["variant"]["phases"]["optimise"]["readings"]:
        reading["energy_j"] /= 3.6e6


def cheap_training(edit: Edit) -> None:
    for reading in edit.record["variant"]["phases"]["optimise"]["readings"]:
        reading["energy_j"] *= 0.6


def per_item_in_millijoules(edit: Edit) -> None:
    for found in (edit.record["comparison"], edit.record["comparisons"][0]):
        found["baseline_per_item"] *= 1_000
        found["variant_per_item"] *= 1_000


def set_lead(name: str, value: Any) -> Callable[[Edit], None]:
    """Set a field of the leading comparison, in both places."""

    def plant(edit: Edit) -> None:
        for found in (edit.record["comparison"], edit.record["comparisons"][0]):
            found[name] = value(found[name]) if callable(value) else value

    return plant


def scale_ratio(edit: Edit) -> None:
    for found in (edit.record["comparison"], edit.record["comparisons"][0]):
        for name in ("ratio", "low", "high", "variant_per_item"):
            found[name] *= 0.95


def lead_with_seconds(edit: Edit) -> None:
    edit.record["comparison"] = edit.record["comparisons"][1]


def reorder_comparisons(edit: Edit) -> None:
    edit.record["comparisons"].reverse()
    edit.record["comparison"] = edit.record["comparisons"][0]


def hide_comparison(edit: Edit) -> None:
    del edit.record["comparisons"][-1]


def upgrade_comparison(edit: Edit) -> None:
    edit.record["comparisons"][-1]["grade"] = "B"


def upgrade_everywhere(edit: Edit) -> None:
    """Modelled joules pass for counted ones in every place of record and trace."""

    def upgrade(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("grade") == "C":
                node["grade"] = "B"
            node = list(node.values())
        if isinstance(node, list):
            for part in node:
                upgrade(part)

    upgrade(edit.record)
    edit.tables["trace"]["grade"] = "B"


def mix_grades(edit: Edit) -> None:
    edit.record["baseline"]["phases"]["infer"]["readings"][0]["grade"] = "A"


def mix_grades_in_the_trace(edit: Edit) -> None:
    edit.tables["trace"].loc[3, "grade"] = "A"


def sooner_break_even(edit: Edit) -> None:
    edit.record["break_even"]["inferences"] /= 2


def never_break_even(edit: Edit) -> None:
    edit.record["break_even"] = None
    edit.record["break_even_reason"] = "never: a saving per inference is not shown"


def claim(edit: Edit) -> None:
    edit.record["verdict"].update(energy="costs")


def claim_headline(edit: Edit) -> None:
    """The joules are modelled only, and the headline stands all the same."""
    modelled = edit.record["comparisons"][-1]
    edit.record["comparisons"] = [modelled, *edit.record["comparisons"][1:-1]]
    edit.record["comparison"] = modelled


def claim_time(edit: Edit) -> None:
    edit.record["verdict"]["time"] = "slower"


def give_other_reason(edit: Edit) -> None:
    edit.record["verdict"].update(headline=False, reason="the served artefact is not smaller")


def claim_smaller(edit: Edit) -> None:
    edit.record["variant"]["artefact"]["bytes"] = edit.record["baseline"]["artefact"]["bytes"] + 1


def hide_unexploited(edit: Edit) -> None:
    edit.record["proof"]["exploited"] = False


def hide_idle_drift(edit: Edit) -> None:
    edit.record["session"]["idle_drift"] = 0.0


def drift_idle(edit: Edit) -> None:
    """Idle power rose by 8 %, in the trace as well, and the session is still called valid."""
    session, trace = edit.record["session"], edit.tables["trace"]
    for reading in session["phases"]["idle_after"]["readings"]:
        reading["energy_j"] *= 1.08
    last = trace["start_ns"] == trace["start_ns"].max()
    trace.loc[last, "power_w"] *= 1.08
    session["idle_drift"] = 1.006 * 1.08 - 1


def invalidate(edit: Edit) -> None:
    edit.record["session"].update(valid=False, reason="it looked odd")


def shorten_windows(edit: Edit) -> None:
    """Windows of a tenth of the length: all that can be scaled is scaled."""
    columns = ["wall_s", "cpu_s", *(c for c in edit.windows if c.endswith("_j"))]
    edit.windows[columns] /= 10
    start = edit.windows["start_ns"]
    edit.windows["end_ns"] = start + (edit.windows["end_ns"] - start) // 10
    edit.windows["wall_s"] = (edit.windows["end_ns"] - start) * 1e-9


def change_protocol(edit: Edit) -> None:
    edit.record["protocol"]["max_steal"] = 0.5


def change_protocol_everywhere(edit: Edit) -> None:
    edit.record["protocol"]["max_steal"] = 0.5
    edit.record["config"]["protocol"]["max_steal"] = 0.5


def stop_early(edit: Edit) -> None:
    """The last kept block is left out, in windows and trace; everything else is as it was."""
    last = edit.windows["block"].max()
    edit.tables["windows"] = edit.windows[edit.windows["block"] < last]
    start_ns = set(edit.windows["start_ns"])
    trace = edit.tables["trace"]
    edit.tables["trace"] = trace[(trace["span"] != "window") | trace["start_ns"].isin(start_ns)]


def other_schema(edit: Edit) -> None:
    edit.record["schema"] = 99


def unknown_field(edit: Edit) -> None:
    edit.record["comparison"]["note"] = "trust me"


def other_seed(edit: Edit) -> None:
    edit.record["seed"] = 7


def other_config(edit: Edit) -> None:
    edit.record["config"]["training"]["epochs"] = 200


def no_cell(edit: Edit) -> None:
    edit.tables["windows"] = edit.windows.drop(columns="steal_share")


def text_for_numbers(edit: Edit) -> None:
    edit.tables["windows"] = edit.windows.assign(items=edit.windows["items"].astype(str))


def words_for_joules(edit: Edit) -> None:
    joules = edit.windows["counters/cpu:0_j"].map("{:.1f} J".format)
    edit.tables["windows"] = edit.windows.assign(**{"counters/cpu:0_j": joules})


def rehearse(edit: Edit) -> None:
    edit.record["protocol"]["rehearsal"] = True


def same_artefact(edit: Edit) -> None:
    edit.record["variant"]["artefact"] = edit.record["baseline"]["artefact"]


def quicker_tail(edit: Edit) -> None:
    edit.record["variant"]["latency"]["p90_s"] = edit.record["variant"]["latency"]["p50_s"] / 2


def tail_of_too_few(edit: Edit) -> None:
    edit.record["variant"]["latency"]["p99_s"] = 0.02


def more_nonzero(edit: Edit) -> None:
    edit.record["variant"]["nonzero_parameters"] = edit.record["variant"]["parameters"] + 1


def written_before_measured(edit: Edit) -> None:
    edit.record["created"] = "2020-01-01T00:00:00+00:00"


def reason_beside_joules(edit: Edit) -> None:
    edit.record["baseline"]["phases"]["train"]["readings"][0]["reason"] = "permission denied"


def evaluate_fewer(edit: Edit) -> None:
    edit.record["variant"]["phases"]["evaluate"]["items"] = 64


def no_digest(edit: Edit) -> None:
    edit.record["variant"]["artefact"]["digest"] = "0123"


def upgrade_overhead(edit: Edit) -> None:
    edit.record["session"]["overhead"]["readings"][-1]["grade"] = "B"


def other_training(edit: Edit) -> None:
    edit.record["baseline"]["phases"]["train"]["cpu_s"] += 1


def idle_less(edit: Edit) -> None:
    edit.record["session"]["phases"]["idle_after"]["wall_s"] = 3.0


FAULTS: dict[str, tuple[Callable[[Edit], None], str, str]] = {
    "an accuracy is raised": (change_accuracy, "accuracy", "quality.variant is 0.932"),
    "an arm's metric is not that of the quality": (
        change_accuracy_of_an_arm,
        "metrics",
        "variant.metrics.accuracy",
    ),
    "the difference in accuracy is set to 0": (change_difference, "difference", "is 0, expected"),
    "the interval of the accuracies is narrowed": (
        narrow_quality,
        "quality interval",
        "quality.low",
    ),
    "fewer examples are lost than were": (move_lost, "lost and gained", "quality.lost"),
    "the verdict on quality does not follow": (judge_quality, "quality verdict", "non-inferior"),
    "the margin is not the configured one": (widen_margin, "margin", "quality.margin is 0.05"),
    "the margin is widened in the configuration, too": (
        widen_margin_everywhere,
        "digest",
        "config or data were changed",
    ),
    "the arms are swapped": (swap_arms, "arms", "variant.phases has train"),
    "the answers of the arms are swapped": (swap_answers, "accuracy", "quality.baseline"),
    "the variant's answers are shuffled": (shuffle_answers, "accuracy", "quality.variant"),
    "the examples are shuffled": (shuffle_examples, "examples", "count from 0 upwards"),
    "examples that the variant got wrong are left out": (
        drop_examples,
        "examples",
        "quality.examples is 10000",
    ),
    "the labels are those that suit": (change_labels, "labels", "SHA-256 of the labels"),
    "joules of windows are lowered": (edit_window, "trace", "counters/cpu:0_j of block"),
    "joules of windows and trace are lowered": (
        edit_window_and_trace,
        "ratio",
        "comparisons[0].ratio",
    ),
    "a block is missing": (drop_block, "blocks", "block 4 is missing"),
    "a block is missing and the others are renumbered": (
        drop_block_and_renumber,
        "order",
        "are both",
    ),
    "a window is missing": (drop_window, "blocks", "block 1 has 3 windows"),
    "a block is added": (add_block, "blocks", "blocks is 8, expected 9"),
    "a window stands there twice": (repeat_window, "blocks", "block 1 has 5 windows"),
    "two windows of a block change arms": (swap_windows_of_a_block, "order", "its order column"),
    "two blocks in a row have the same order": (same_order_twice, "order", "are both"),
    "windows overlap": (overlap_windows, "clock", "windows overlap"),
    "a window ends before it starts": (turn_time_back, "clock", "ends"),
    "seconds are not those of the clock": (change_seconds, "clock", "wall_s of block"),
    "a window has other items": (change_items, "items", "expected one number for all"),
    "a late block has other items": (
        change_items_after_the_first_kept,
        "items",
        "expected one number for all",
    ),
    "all windows of an arm have other items": (
        change_items_of_an_arm,
        "per-item",
        "variant_per_item",
    ),
    "a total is not the sum of its windows": (change_total, "infer", "variant.phases.infer"),
    "a block is discarded without cause": (
        discard_without_cause,
        "discards",
        "none of its windows violates",
    ),
    "a block is discarded for its energy": (discard_for_energy, "discards", "'outlier'"),
    "a discarded block counts as kept": (keep_discarded, "kept", "session.discards names [2]"),
    "a block is kept although the hypervisor stole": (
        keep_stolen,
        "conditions",
        "steal_share is 0.05, limit 0.01",
    ),
    "a kept window was stolen from": (steal, "conditions", "steal_share is 0.03"),
    "a kept window ran beside others' work": (load, "conditions", "foreign_share is 0.2"),
    "a share is negative": (negative_share, "range", "foreign_share of block 3"),
    "a kept window was throttled": (throttle, "conditions", "cpu_throttles is 4"),
    "the arms of a kept block began at other temperatures": (
        heat,
        "conditions",
        "gap of cpu:0_start_c is 9",
    ),
    "a kept window waited for storage": (fault_pages, "conditions", "major_faults is 5000"),
    "a kept window lacks a reading": (lose_reading, "conditions", "missing reading"),
    "a counter of a kept window stood still": (still_counter, "conditions", "still counter"),
    "joules are millijoules": (milli, "power", "are its joules joules?"),
    "joules of an optimisation are kilowatt-hours": (kilowatt_hours, "power", "optimise"),
    "an optimisation cost less than its log says": (cheap_training, "training", "optimise"),
    "joules per item are in another unit": (per_item_in_millijoules, "per-item", "0.001 times"),
    "a ratio is lowered": (set_lead("ratio", 0.7), "ratio", "comparisons[0].ratio is 0.7"),
    "a ratio is scaled with its interval": (scale_ratio, "ratio", "comparisons[0].ratio"),
    "an interval is narrowed": (set_lead("high", 0.8001), "interval", "comparisons[0].high"),
    "a p-value is forged": (set_lead("p_value", 0.0001), "p-value", "p_value is 0.0001"),
    "a spread is lowered": (
        set_lead("log_ratio_sd", lambda sd: sd / 2),
        "spread",
        "log_ratio_sd",
    ),
    "joules per item are lowered": (
        set_lead("variant_per_item", lambda j: 0.99 * j),
        "per-item",
        "variant_per_item",
    ),
    "more blocks are claimed than were kept": (set_lead("blocks", 12), "blocks", "is 12"),
    "fewer discards are claimed than were made": (
        set_lead("discarded", 0),
        "discards",
        "discarded is 0, expected 1",
    ),
    "the leading comparison is not the first": (lead_with_seconds, "lead", "not the first"),
    "the leading comparison is not of the best grade": (
        reorder_comparisons,
        "comparisons",
        "expected energy_j of counters",
    ),
    "a comparison is hidden": (hide_comparison, "comparisons", "no more"),
    "a modelled comparison is called counted": (
        upgrade_comparison,
        "comparisons",
        "grade B, expected",
    ),
    "modelled joules are called counted everywhere": (
        upgrade_everywhere,
        "grade",
        "codecarbon.cpu_load is of grade B",
    ),
    "two grades meet in one component": (mix_grades, "grade", "grade A"),
    "the trace is of another grade": (mix_grades_in_the_trace, "grade", "trace.parquet"),
    "a break-even comes sooner": (sooner_break_even, "break-even", "break_even.inferences"),
    "a break-even is denied": (never_break_even, "break-even", "is null, expected"),
    "a verdict on joules does not follow": (claim, "verdict", "verdict.energy is costs"),
    "a headline stands on modelled joules": (claim_headline, "verdict", "grade C"),
    "a verdict on seconds does not follow": (claim_time, "verdict", "verdict.time is slower"),
    "a headline is denied for a reason that does not hold": (
        give_other_reason,
        "verdict",
        "no condition of this record failed",
    ),
    "a larger artefact is called smaller": (claim_smaller, "proof", "proof.bytes_fell is True"),
    "what is exploited is called nominal": (hide_unexploited, "proof", "proof.exploited"),
    "a drift of idle power is hidden": (hide_idle_drift, "session", "session.idle_drift is 0"),
    "a session that drifted is called valid": (drift_idle, "session", "valid is True, but idle"),
    "a valid session is called invalid": (invalidate, "session", "nothing exceeds"),
    "windows last a tenth of what the protocol says": (
        shorten_windows,
        "protocol",
        "protocol plans 10 s",
    ),
    "the protocol is not the configured one": (change_protocol, "config", "protocol.max_steal"),
    "the protocol is changed in the configuration, too": (
        change_protocol_everywhere,
        "digest",
        "configuration",
    ),
    "measuring stopped before the protocol allowed": (stop_early, "stopping", "min_blocks=8"),
    "the schema is of the future": (other_schema, "schema", "schema is 99"),
    "the record has a field of its own": (unknown_field, "schema", "note"),
    "the seed is another": (other_seed, "place", "seed is 7"),
    "the configuration is another": (other_config, "digest", "the folder's digest is"),
    "a column of the windows is missing": (no_cell, "parquet", "lacks the columns steal_share"),
    "a column of the windows holds text": (text_for_numbers, "parquet", "column items holds"),
    "joules of the windows are words": (
        words_for_joules,
        "parquet",
        "column counters/cpu:0_j holds",
    ),
    "a rehearsal passes for a measurement": (rehearse, "rehearsal", "rehearsal is False"),
    "the variant is the baseline": (same_artefact, "arms", "are equal"),
    "the tail is quicker than the median": (quicker_tail, "latency", "expected rising"),
    "a tail is told of too few requests": (tail_of_too_few, "latency", "p99_s needs 10000"),
    "more parameters are not 0 than there are": (more_nonzero, "counts", "nonzero_parameters"),
    "the record was written before it was measured": (written_before_measured, "time", "after"),
    "fewer examples were evaluated than compared": (
        evaluate_fewer,
        "examples",
        "variant.phases.evaluate.items is 64",
    ),
    "an artefact's digest is none": (no_digest, "counts", "artefact.digest is no SHA-256"),
    "the grade of what measuring costs is another": (
        upgrade_overhead,
        "grade",
        "session.overhead",
    ),
    "a training has the cost of another": (other_training, "card", "baseline.phases.train"),
    "idling took less than the protocol says": (idle_less, "protocol", "protocol.idle_s=30"),
    "a reading has joules and a reason": (reason_beside_joules, "reading", "not both"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_although_its_digests_were_renewed(
    results: Path, fault: str
) -> None:
    plant, check, words = FAULTS[fault]
    folder = pruned(results)
    with edited(folder) as edit:
        plant(edit)
    found = examination.examine(results).findings
    messages = [f.message for f in found if (f.check, f.severity) == (check, "error")]
    assert any(words in message for message in messages), found
    assert "stumbled" not in {f.check for f in found}
    assert {f.path for f in found} == {folder.relative_to(results).as_posix()}


def test_a_variant_that_another_machine_made_has_no_break_even(results: Path) -> None:
    with edited(pruned(results)) as edit:
        edit.record["variant"]["made_on"] = "elsewhere"
        edit.record["break_even"] = None
        edit.record["break_even_reason"] = "made on elsewhere and measured on here: joules of two"
    assert not {f for f in examination.examine(results).findings if f.check == "break-even"}


# Faults of files and folders, for which a record need not be taken apart.


def test_a_file_that_is_not_the_one_that_was_written_is_named(results: Path) -> None:
    path = pruned(results) / "windows.parquet"
    windows = pd.read_parquet(path)
    windows.loc[0, "counters/cpu:0_j"] += 1.0
    windows.to_parquet(path, index=False)
    assert "windows.parquet is" in errors(results)["sha256"][0]


def test_a_missing_file_is_named(results: Path) -> None:
    (pruned(results) / "trace.parquet").unlink()
    assert errors(results) == {"files": ["trace.parquet cannot be read: No such file or directory"]}


def test_a_file_that_the_record_does_not_name_is_missing_all_the_same(results: Path) -> None:
    path = pruned(results) / "record.json"
    record = json.loads(path.read_text())
    del record["files"]["predictions.parquet"]
    path.write_text(json.dumps(record))
    assert errors(results) == {
        "files": ["files lacks predictions.parquet, which belongs beside every record"]
    }


def test_a_truncated_file_is_named_and_the_other_checks_go_on(results: Path) -> None:
    path = pruned(results) / "windows.parquet"
    path.write_bytes(path.read_bytes()[:2_000])
    found = errors(results)
    assert set(found) == {"sha256", "parquet"}
    assert found["parquet"][0].startswith("windows.parquet: ")


def test_a_truncated_record_is_named_and_the_other_records_are_checked(results: Path) -> None:
    path = pruned(results) / "record.json"
    path.write_text(path.read_text()[:5_000])
    found = examination.examine(results)
    assert [(f.check, f.severity) for f in found.findings] == [("schema", "error")]
    assert "not JSON" in found.findings[0].message
    assert (found.records, found.files) == (2, 4)


@pytest.mark.parametrize("meters", [{"counters": [{"component": "cpu:0"}]}, {"counters": 3}])
def test_meters_that_are_none_are_a_schema_error(results: Path, meters: Any) -> None:
    with edited(pruned(results)) as edit:
        edit.record["session"]["meters"] = meters
    assert set(errors(results)) == {"schema"}


def test_a_check_that_stumbles_says_so_and_the_others_go_on(results: Path) -> None:
    with edited(pruned(results)) as edit:
        del edit.record["protocol"]["max_steal"]
    found = errors(results)
    assert "protocol lacks max_steal" in found["protocol"]
    assert any("KeyError: 'max_steal'" in message for message in found["stumbled"])
    assert "config" in found


def test_weights_that_were_exchanged_are_found(results: Path) -> None:
    record = json.loads((pruned(results) / "record.json").read_text())
    digest = record["variant"]["artefact"]["digest"]
    (results / ".artefacts" / digest[:16] / "model.safetensors").write_bytes(b"others")
    found = errors(results)["weights"]
    assert any("variant.artefact.sha256" in message for message in found)
    assert any(f"bytes is {record['variant']['artefact']['bytes']}" in m for m in found)


def test_a_record_that_contradicts_the_card_of_its_artefact_is_found(results: Path) -> None:
    with edited(pruned(results)) as edit:
        edit.record["variant"]["macs"] //= 2
        edit.record["variant"]["phases"]["optimise"]["cpu_s"] *= 0.9
    found = errors(results)["card"]
    assert "variant.macs" in found[0]
    assert found[1] == "variant.phases.optimise is not that of card.json"


def test_without_the_weights_it_says_that_they_are_not_at_hand(results: Path) -> None:
    shutil.rmtree(results / ".artefacts")
    found = examination.examine(results)
    assert found.findings == ()
    assert found.notes["artefacts not at hand"] == 4


def test_a_record_in_another_hosts_folder_is_found(results: Path) -> None:
    shutil.move(results / "made-up-host", results / "better-host")
    assert "host is made-up-host, expected better-host" in errors(results)["place"]


def test_a_copy_under_another_name_is_found(results: Path) -> None:
    folder = pruned(results)
    shutil.copytree(folder, folder.with_name("1-000000000000"))
    found = errors(results)
    assert {"duplicate", "place", "digest"} <= set(found)
    assert any("windows.parquet is that of" in message for message in found["duplicate"])


def test_the_same_windows_under_two_seeds_are_found(results: Path) -> None:
    first, second = pruned(results), write_pair(results, seed=1, weights=True)
    with edited(first) as edit:
        windows = edit.tables["windows"]
    with edited(second) as edit:
        edit.tables["windows"] = windows
    assert any("windows.parquet is that of" in m for m in errors(results)["duplicate"])


def test_a_headline_against_an_a_a_pair_that_excludes_1_is_found(tmp_path: Path) -> None:
    floor = write_pair(tmp_path, technique="none", seed=0)
    write_pair(tmp_path, technique="bf16")
    with edited(floor) as edit:
        for found in (edit.record["comparison"], edit.record["comparisons"][0]):
            found.update(low=0.95, high=0.99)
    assert any("excludes 1" in message for message in errors(tmp_path)["verdict"])


def test_one_artefact_with_two_costs_is_a_warning(results: Path) -> None:
    """Where the artefact itself is not at hand; it may have been made twice."""
    shutil.rmtree(results / ".artefacts")
    with edited(pruned(results)) as edit:
        other_training(edit)
    (found,) = examination.examine(results).findings
    assert (found.check, found.severity) == ("weights", "warning")
    assert "phases.train is not that of the same artefact" in found.message


def test_a_resumed_training_begins_its_log_anew_and_another_does_not(results: Path) -> None:
    with edited(pruned(results)) as edit:
        log = edit.tables["training"]
        rows = log.index[log["arm"] == "variant"]
        half = len(rows) // 2
        spent = ["wall_s", *(column for column in log if column.endswith("_j"))]
        log.loc[rows[half:], spent] -= log.loc[rows[half - 1], spent].astype(float)
    assert {message.rpartition(" ")[2] for message in errors(results)["training"]} == {"falls"}
    with edited(pruned(results)) as edit:
        stage = edit.tables["training"]["stage"].iloc[-1]
        event = {"stage": stage, "step": 1, "kind": "resumed", "text": "from checkpoint-1"}
        edit.record["variant"]["events"] = [event]
    assert not examination.examine(results).findings


def test_a_model_of_another_machine_has_its_joules_on_its_card_alone(results: Path) -> None:
    why = elsewhere("made", "another-host", "host")
    with edited(pruned(results)) as edit:
        for name in ("optimise", "convert"):
            for reading in edit.record["variant"]["phases"][name]["readings"]:
                reading |= {"energy_j": None, "reason": why}
        edit.record |= {"break_even": None, "break_even_reason": why}
    assert "card" not in errors(results)
    with edited(pruned(results)) as edit:
        edit.record["variant"]["phases"]["optimise"]["wall_s"] += 1.0
    assert "variant.phases.optimise is not that of card.json" in errors(results)["card"][0]


def test_one_artefact_with_two_sizes_of_work_is_an_error(results: Path) -> None:
    shutil.rmtree(results / ".artefacts")
    with edited(pruned(results)) as edit:
        edit.record["baseline"]["macs"] += 1
    (message,) = errors(results)["weights"]
    assert "macs is" in message


def test_labels_that_differ_between_records_of_one_workload_are_a_warning(tmp_path: Path) -> None:
    write_pair(tmp_path, technique="none", host="one", examples=400)
    write_pair(tmp_path, technique="none", host="two", examples=500)
    (found,) = examination.examine(tmp_path).findings
    assert (found.check, found.severity) == ("data", "warning")


def test_a_record_in_a_folder_of_its_own_is_out_of_place_and_nothing_stumbles(
    clean: Path, tmp_path: Path
) -> None:
    shutil.copytree(pruned(clean), tmp_path / "sent")
    found = examination.examine(tmp_path / "sent")
    assert {f.check for f in found.findings} == {"place", "digest", "A/A"}


# What a reader should know: warnings, which a submission may not have.


def dirty(edit: Edit) -> None:
    edit.record["environment"]["source"]["dirty"] = True


def no_log(edit: Edit) -> None:
    edit.tables["training"] = edit.tables["training"].iloc[:0]


def no_commit(edit: Edit) -> None:
    edit.record["environment"]["source"] = {"commit": None, "dirty": None}


def newer_version(edit: Edit) -> None:
    edit.record["measuring_version"] += 1


@pytest.mark.parametrize(
    ("plant", "check", "words"),
    [
        pytest.param(dirty, "source", "code differs from commit", id="changed code"),
        pytest.param(no_commit, "source", "names no commit", id="unknown code"),
        pytest.param(no_log, "training", "no row of the baseline", id="no log of a training"),
        pytest.param(newer_version, "version", "measuring_version is 1", id="two versions"),
    ],
)
def test_what_a_reader_should_know_is_a_warning_and_an_error_for_a_submission(
    results: Path, plant: Callable[[Edit], None], check: str, words: str
) -> None:
    with edited(pruned(results)) as edit:
        plant(edit)
    found, *more = examination.examine(results).findings
    assert {f.severity for f in (found, *more)} == {"warning"}
    assert {f.check for f in (found, *more)} == {check}
    assert words in found.message
    assert main([str(results), "-q"]) == 0
    assert main([str(results), "-q", "--strict"]) == 1


@pytest.mark.parametrize(
    ("changes", "check"),
    [({"protocol": "rehearsal"}, "rehearsal"), ({"grades": ("S",)}, "synthetic")],
    ids=["a rehearsal", "simulated sensors"],
)
def test_what_enters_no_table_is_a_warning(
    tmp_path: Path, changes: dict[str, Any], check: str
) -> None:
    for technique in ("none", "bf16"):
        write_pair(tmp_path, technique=technique, **changes)
    assert errors(tmp_path) == {}
    assert set(errors(tmp_path, strict=True)) == {check}


def test_a_pair_without_an_a_a_pair_is_a_warning(results: Path) -> None:
    shutil.rmtree(next(results.glob("*/*/none")))
    (found,) = examination.examine(results).findings
    assert (found.check, found.severity) == ("A/A", "warning")
    assert "(1 records)" in found.message


def test_failures_are_counted_and_broken_records_named(results: Path) -> None:
    (pruned(results) / "record.json.broken-1").write_text("{")
    failed = pruned(results).with_name("3-0123456789ab")
    failed.mkdir()
    (failed / "failure.json").write_text("{}")
    found = examination.examine(results)
    assert found.notes["pairs that failed"] == 1
    assert [f.message for f in found.findings] == ["record.json.broken-1 was set aside: no record"]


def judged_by(metric: str, results: Path) -> examination.Examined:
    """Examine results whose accuracies go by another name."""
    with edited(pruned(results)) as edit:
        edit.record["quality"].update(metric=metric, lost=None, gained=None)
        for arm in ("baseline", "variant"):
            edit.record[arm]["metrics"][metric] = edit.record["quality"][arm]
    return examination.examine(results)


def test_a_metric_that_is_not_known_is_named_as_not_recomputed(results: Path) -> None:
    found = judged_by("bleu", results)
    assert found.findings == ()
    assert found.notes["quality not recomputed (bleu)"] == 1


def test_a_correlation_that_does_not_follow_from_the_predictions_is_an_error(results: Path) -> None:
    found = judged_by("f1", results)
    assert {f.check for f in found.findings} == {"f1", "quality interval"}


def test_a_mean_that_does_not_follow_from_the_predictions_is_an_error(results: Path) -> None:
    found = judged_by("score_db", results)
    assert {f.check for f in found.findings} == {"score_db", "quality interval"}
    assert not [note for note in found.notes if "not recomputed" in note]


# The command.


def test_the_command_is_silent_about_records_that_are_well(
    clean: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(clean), "--strict"]) == 0
    told = capsys.readouterr().out
    assert told == "2 records and 8 files checked: 0 errors and 0 warnings in 0 folders\n"


def test_the_command_names_record_check_field_and_expectation(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with edited(pruned(results)) as edit:
        set_lead("p_value", 0.5)(edit)
    assert main([str(results)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0] == pruned(results).relative_to(results).as_posix()
    assert told[1].split() == (
        [*("error", "p-value:", "comparisons[0].p_value", "is", "0.5,", "expected", "0.0078125")]
    )
    assert told[-1].startswith("2 records and 8 files checked: 1 errors and 0 warnings in 1")


def test_the_command_speaks_json(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with edited(pruned(results)) as edit:
        set_lead("p_value", 0.5)(edit)
    assert main([str(results), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["records"], told["files"]) == (2, 8)
    (found,) = told["findings"]
    assert (found["check"], found["severity"]) == ("p-value", "error")


def test_any_folder_among_the_results_can_be_checked(clean: Path) -> None:
    assert main([str(pruned(clean).parent), "-q"]) == 0


def test_a_folder_that_is_not_there_is_a_wrong_command_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "nowhere")])
    assert ended.value.code == 2


def test_a_folder_without_records_is_not_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 1
    assert f"No record below {tmp_path}" in capsys.readouterr().err


def test_a_reviewer_needs_neither_torch_nor_what_measures(clean: Path) -> None:
    """On a machine with the base requirements alone."""
    script = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "psutil", "pynvml", "hydra", "safetensors", "zeus"):
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Absent())
from bench.validate.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(clean), "--strict"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


# What is written out twice, there and here, because a reviewer has no sensors: held equal.


@pytest.mark.parametrize(
    "name",
    [
        *("COUNTERS", "SHORTEST", "FEWEST_TICKS", "LEAST_OF_IDLE", "MOST_OF_LIMIT"),
        *("IDLE_TICKS", "FAULTS_PER_S", "CROSS_CHECKED", "TOO_SHORT"),
    ],
)
def test_limits_of_conditions_are_those_that_measuring_uses(name: str) -> None:
    assert getattr(conditions, name) == getattr(measured_conditions, name)


def test_every_condition_of_measuring_is_checked_or_believed_by_name(clean: Path) -> None:
    source = Path(conditions.__file__).read_text()
    for name in (*measured_conditions.CHECKS, *measured_conditions.BLOCK_CHECKS):
        assert f'"{name}"' in source
    assert set(conditions.BELIEVED) < set(measured_conditions.CHECKS)


def test_other_constants_are_those_of_the_code_that_uses_them() -> None:
    assert claims.P90_REQUESTS == measured_latency.P90_REQUESTS
    assert claims.P99_REQUESTS == measured_latency.P99_REQUESTS
    assert claims.UNEXPLOITED_MACS == conclusions.UNEXPLOITED_MACS
    assert claims.UNEXPLOITED_TIME == conclusions.UNEXPLOITED_TIME
    assert set(place.RULES) <= {field.name for field in dataclasses.fields(Protocol)}
    source = (ROOT / "bench" / "artefacts.py").read_text()
    assert f'WEIGHTS = "{family.WEIGHTS}"' in source
    assert f'CARD = "{family.CARD}"' in source


@pytest.mark.parametrize("condition", range(12))
def test_the_reason_of_a_verdict_is_understood_whichever_condition_failed(
    results: Path, condition: int
) -> None:
    """Each reason as ``bench.conclusions`` words it, under the condition that it tells of."""
    made = make_record(grades=("B",), ratio=0.8)
    lead = made.comparison
    invalid = "it drifted" if condition == 0 else None
    floor: Comparison | None = dataclasses.replace(lead, low=0.99, high=1.01)
    quality, proof, found = made.quality, made.proof, list(made.comparisons)
    if condition == 2:
        found = found[1:]
    if condition == 3:
        found[0] = dataclasses.replace(lead, grade="S")
    if condition == 4:
        found[0] = dataclasses.replace(lead, high=1.2)
    if condition == 5:
        quality = dataclasses.replace(quality, verdict="inferior")
    for at, field in enumerate(
        ("bytes_fell", "no_simulation_left", "reload_exact", "exploited"), start=6
    ):
        if condition == at:
            proof = dataclasses.replace(proof, **{field: False})
    if condition == 10:
        floor = None
    if condition == 11:
        floor = lead
    verdict = conclusions.verdict(found, quality, proof, invalid, floor, condition == 1)
    made = dataclasses.replace(
        made,
        technique="none" if condition == 1 else made.technique,
        comparison=found[0],
        comparisons=tuple(found),
        quality=quality,
        proof=proof,
        verdict=verdict,
        session=dataclasses.replace(made.session, valid=invalid is None, reason=invalid),
    )
    assert not verdict.headline
    case = examination.Case("", results, made, (), {})
    assert list(claims._verdict(case)) == []
    forged = dataclasses.replace(verdict, reason="no energy counter on this moon")
    case = examination.Case("", results, dataclasses.replace(made, verdict=forged), (), {})
    assert condition == 2 or list(claims._verdict(case)) != []


def test_a_campaign_of_every_technique_and_seed_is_clean(tmp_path: Path) -> None:
    """What the tests of tables and figures build upon."""
    folders = write_campaign(
        tmp_path, {"structured_pruning": 0.8, "bf16": 0.6}, seeds=(0, 1), examples=500
    )
    assert len(folders) == 6
    assert examination.examine(tmp_path, strict=True).findings == ()
    ratios = [json.loads((f / "record.json").read_text())["comparison"]["ratio"] for f in folders]
    wanted = [1.0, 0.8, 0.6] * 2
    assert np.allclose(np.log(ratios), np.log(wanted), atol=0.01)
    assert math.isclose(ratios[0], 1, abs_tol=0.01)
