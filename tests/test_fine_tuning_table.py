"""What a table says of fine-tunes: losses in nats, what training took, what happened in it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factories import frame, phase, quality, record
from scipy import stats

from bench.readings import Event
from bench.records import Record
from bench.reporting import specs
from bench.reporting.cells import Cell
from bench.reporting.numbers import figures as numbers
from bench.reporting.rows import rows
from bench.reporting.scales import scale
from bench.reporting.sections import Section, assemble
from bench.reporting.selection import Records
from bench.reporting.summary import finding

MINUS = "\N{MINUS SIGN}"
SPEC = specs.load("fine_tuning")


def fine_tune(seed: int = 0, spent_s: float = 2155.0, **changes: Any) -> Record:
    """A made-up pair: losses of 3.2 and 3.25 nats, and an adapter of 0.8 MB."""
    made = record("lora", seed=seed, workload="causal_lm", **changes)
    losses = {"baseline": 3.2, "variant": 3.25}
    judged = dataclasses.replace(quality(-3.2, -3.25), metric="log_likelihood", margin=0.02)
    arms: dict[str, Any] = {
        name: dataclasses.replace(
            getattr(made, name), metrics={"loss": loss, "perplexity": math.exp(loss)}
        )
        for name, loss in losses.items()
    }
    arms["baseline"] = dataclasses.replace(
        arms["baseline"], trained_parameters=11_000_000, training_peak_memory_bytes=2_000_000_000
    )
    arms["variant"] = dataclasses.replace(
        arms["variant"],
        phases={"optimise": phase(spent_s, ("C",))},
        trained_parameters=200_000,
        adapter_bytes=800_000,
        training_peak_memory_bytes=1_000_000_000,
        events=(
            Event("lora", 40, "out_of_memory", "halved"),
            Event("lora", 80, "stopped", "at 80"),
        ),
    )
    return dataclasses.replace(made, quality=judged, **arms)


def section(*made: Record) -> Section:
    (found,) = assemble(Records(frame(*made), (), Path("x")), SPEC).sections
    return found


def shown(*made: Record) -> dict[str, Cell]:
    found = section(*made)
    names = [column.name for column in found.columns]
    return dict(zip(names, found.cells[0], strict=True))


def test_losses_are_nats_and_not_percent() -> None:
    found = shown(fine_tune())
    assert found["quality"] == Cell(f"{MINUS}3.200 nats", f"→ {MINUS}3.250")
    assert found["difference"].text == f"{MINUS}0.050 nats"
    assert found["perplexity"] == Cell("24.53", "→ 25.79")
    headings = {c.name: (c.heading, c.unit) for c in section(fine_tune()).columns}
    assert headings["quality"] == ("log likelihood", "")
    assert headings["difference"][1] == "[95 %]"
    texts = " ".join(note.text for note in section(fine_tune()).notes)
    assert f"above {MINUS}0.020 nats, a margin fixed beforehand" in texts


def test_one_line_and_macros_of_a_loss_are_nats_too() -> None:
    (row,) = rows(frame(fine_tune()))
    assert f"log_likelihood {MINUS}0.050 nats [{MINUS}0.054, {MINUS}0.046]" in finding(row)
    assert numbers(row)["QualityDifference"] == f"{MINUS}0.050"
    assert scale("accuracy").value(0.932) == "93.20"


def test_what_was_trained_and_what_happened_stand_in_the_table() -> None:
    found = shown(fine_tune())
    assert found["trained_parameters"].text == "0.018"  # 200 k of 11 M
    assert found["adapter_bytes"].text == "800 kB"
    assert found["training_peak_memory_bytes"].text == "0.500"
    assert found["events"] == Cell("out of memory or stopped")


def test_examples_per_second_are_those_of_both_trainings() -> None:
    made = fine_tune()
    spent = dataclasses.replace(made.variant.phases["optimise"], items=3_000_000)
    variant = dataclasses.replace(made.variant, phases={"optimise": spent})
    found = shown(dataclasses.replace(made, variant=variant))["training_rate"]
    # 1.5 million in 4,310 s against 3 million in 2,155 s.
    assert found == Cell("4.000", "348 /s → 1.39 k/s")


def test_making_over_seeds_has_students_interval_of_the_log() -> None:
    took_s = (2155.0, 1724.0, 2586.0)  # of 4,310 s each
    found = section(*(fine_tune(seed, spent) for seed, spent in enumerate(took_s)))
    raw = dict(zip(found.figures, found.values[0], strict=True))
    logs = np.log(np.array(took_s) / 4310.0)
    expected = stats.ttest_1samp(logs, 0.0).confidence_interval(0.95)
    assert raw["making_ratio"] == pytest.approx(np.exp(logs.mean()))
    assert raw["making_ratio_low"] == pytest.approx(np.exp(expected.low))
    assert raw["making_ratio_high"] == pytest.approx(np.exp(expected.high))


def test_one_training_measured_twice_is_one_training() -> None:
    twice = [fine_tune(), dataclasses.replace(fine_tune(), session_number=1, id="again")]
    assert shown(*twice)["making"] == Cell("0.500", note="one training: no interval over trainings")


def test_classifiers_are_not_in_the_table() -> None:
    assert assemble(Records(frame(record()), (), Path("x")), SPEC).sections == ()
