"""Items that are no examples, such as seconds of audio."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from factories import quality, record

from bench.measurement.windows import Window, per_item
from bench.records import Record, from_json, to_json
from bench.validate import design


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


def test_a_record_with_fractions_of_items_comes_back() -> None:
    made = spoken()
    phases = {"infer": dataclasses.replace(made.baseline.phases["train"], items=12.375)}
    arm = dataclasses.replace(made.baseline, phases=phases)
    again = from_json(to_json(dataclasses.replace(made, baseline=arm)))
    assert again.baseline.phases["infer"].items == 12.375
