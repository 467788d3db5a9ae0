"""Metrics that are means over examples: named with their unit, judged by Student's interval."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from factories import frame, quality, record
from scipy import stats

from bench import conclusions
from bench.measurement.windows import Window, per_item
from bench.records import Record, from_json, to_json
from bench.reporting import specs
from bench.reporting.metrics import metric_column
from bench.reporting.pairs import TableError
from bench.reporting.rows import rows
from bench.reporting.scales import scale
from bench.reporting.sections import Section, assemble
from bench.reporting.selection import Records
from bench.statistics.metrics import METRICS, is_mean, unit
from bench.statistics.quality import mean_difference
from bench.validate import design


def test_the_unit_of_a_mean_is_the_end_of_its_name() -> None:
    assert [unit(name) for name in ("neg_mcd_db", "audio_s", "f1", "duration_change")] == [
        *("dB", "s"),
        *(None, None),
    ]
    assert not any(is_mean(name) or unit(name) for name in METRICS)
    assert scale("neg_mcd_db").value(-1.25) == "\N{MINUS SIGN}1.250"
    assert scale("neg_mcd_db").margin(0.5) == "0.500"
    assert (scale("neg_mcd_db").mark, scale("accuracy").mark) == (" dB", "")


def test_the_interval_of_a_mean_is_that_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(3)
    baseline, variant = rng.normal(0, 1, (2, 12))
    found = mean_difference(baseline, variant)
    expected = stats.ttest_rel(variant, baseline).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.difference == pytest.approx(variant.mean() - baseline.mean())
    with pytest.raises(ValueError, match="two vectors of 2 or more"):
        mean_difference([1.0], [2.0])


def test_a_variant_is_judged_by_its_distance_at_a_margin_in_decibels() -> None:
    near = (-0.2, -0.3, -0.25, -0.22)
    found = conclusions.quality("neg_mcd_db", (0.0,) * 4, ((0.0,) * 4, near), 0.5)
    assert (found.baseline, found.variant) == (0.0, pytest.approx(-0.2425))
    assert (found.verdict, found.lost, found.examples) == ("non-inferior", None, 4)
    far = tuple(10 * x for x in near)
    assert conclusions.quality("neg_mcd_db", (0.0,) * 4, ((0.0,) * 4, far), 0.5).verdict == (
        "inferior"
    )
    same = conclusions.quality("neg_mcd_db", (0.0,) * 4, ((0.0,) * 4, (0.0,) * 4), 0.5)
    assert (same.low, same.high, same.verdict) == (0, 0, "non-inferior")


def test_items_may_be_seconds_of_audio() -> None:
    span: Any = SimpleNamespace(readings=(), wall_s=3.0)
    windows = [
        Window(0, "ABBA", place, arm, 2.5 if arm == "baseline" else 1.25, span, kept=True)
        for place, arm in enumerate(("baseline", "variant", "variant", "baseline"))  # type: ignore[arg-type]
    ]
    baseline, variant = per_item(windows, lambda span: span.wall_s)
    assert baseline.tolist() == [[1.2, 1.2]]
    assert variant.tolist() == [[2.4, 2.4]]


@pytest.mark.parametrize(
    ("items", "wrong"), [([19.5, 19.5], 0), ([16, 16], 0), ([15, 15], 1), ([19.5, 20.5], 1)]
)
def test_only_examples_come_in_batches(items: list[float], wrong: int) -> None:
    case: Any = SimpleNamespace(
        record=SimpleNamespace(config={"workload": {"batch_size": 8}}),
        error=lambda check, message: message,
    )
    windows = {
        "items": np.array([*items, 8, 8]),
        "arm": np.array(["baseline", "baseline", "variant", "variant"], dtype=object),
        "kept": np.ones(4, bool),
    }
    found: Iterator[Any] = design._items(case, windows)
    assert len(list(found)) == wrong


def spoken(technique: str = "bf16", **metrics: float) -> Record:
    """A made-up pair of speech: half a decibel away."""
    made = record(technique, workload="speech")
    judged = dataclasses.replace(
        quality(0.0, -0.25), metric="neg_mcd_db", margin=0.5, lost=None, gained=None
    )
    arms: dict[str, Any] = {
        "baseline": dataclasses.replace(made.baseline, metrics={"audio_s": 2.5, "neg_mcd_db": 0.0}),
        "variant": dataclasses.replace(made.variant, metrics={"audio_s": 2.475, **metrics}),
    }
    return dataclasses.replace(made, quality=judged, **arms)


def section(*made: Record) -> Section:
    (found,) = assemble(Records(frame(*made), (), Path("x")), specs.load("speech")).sections
    return found


def test_speech_has_a_table_of_seconds_of_audio_and_decibels() -> None:
    found = section(spoken())
    cells = {c.name: cell for c, cell in zip(found.columns, found.cells[0], strict=True)}
    headings = {c.name: (c.heading, c.unit) for c in found.columns}
    assert headings["wall"][0] == "seconds"
    assert cells["quality"].text == "0.000 dB"
    assert cells["difference"].text == "\N{MINUS SIGN}0.250 dB"
    assert (cells["audio_s"].text, cells["audio_s"].below) == ("2.50", "\N{RIGHTWARDS ARROW} 2.48")
    assert headings["audio_s"] == ("audio of a text", "s")
    assert headings["wall_per_item"][0] == "time for 1 s of audio (real-time factor)"
    assert "log_mel_distance_db" not in cells  # nobody has it
    assert any("log mel distance" in note.text for note in found.notes)


def test_seeds_of_what_a_workload_draws_are_pooled_and_its_knobs_are_not() -> None:
    def of(seed: int, rate: float) -> Record:
        made = spoken()
        workload = {**made.config.get("workload", {}), "seed": seed, "speaking_rate": rate}
        config = {**made.config, "workload": workload}
        return dataclasses.replace(made, seed=seed, id=f"speech/bf16/{seed}-{rate}", config=config)

    three = [of(seed, 1.0) for seed in (0, 1, 2)]
    found = section(*three)
    (row,) = found.cells
    cells = {column.name: cell for column, cell in zip(found.columns, row, strict=True)}
    assert cells["pairs"].text.startswith("3")
    both = Records(frame(*three, of(3, 2.0)), (), Path("x"))
    assert len(assemble(both, specs.load("speech")).sections) == 2


def test_other_workloads_are_not_in_the_table_of_speech() -> None:
    assert assemble(Records(frame(record()), (), Path("x")), specs.load("speech")).sections == ()


def test_a_metric_is_a_mean_over_the_pairs_that_have_it() -> None:
    pairs = frame(
        spoken(duration_change=0.01),
        dataclasses.replace(spoken(duration_change=0.03), seed=1, id="other"),
    )
    (row,) = rows(pairs)
    column = metric_column("duration_change")
    assert column.values(row) == (None, pytest.approx(0.02))
    assert column.cell(row).note == "no duration_change was evaluated"
    assert (column.heading, column.unit) == ("duration change", "")


def test_a_column_without_a_metrics_name_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "caption: x\nof: techniques\nby: [workload, technique, label]\n"
        "sections: [workload]\ncolumns: [technique, metrics.]\n"
    )
    with pytest.raises(TableError, match=r"metrics\. is not known here"):
        specs.load(str(file))


def test_a_record_with_fractions_of_items_comes_back() -> None:
    made = spoken()
    phases = {"infer": dataclasses.replace(made.baseline.phases["train"], items=12.375)}
    arm = dataclasses.replace(made.baseline, phases=phases)
    again = from_json(to_json(dataclasses.replace(made, baseline=arm)))
    assert again.baseline.phases["infer"].items == 12.375
