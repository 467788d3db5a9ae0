"""Answers that people can look at are kept beside the model, and may be what quality is made of."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluating import evaluated
from tiny import Tiny
from torch import Tensor, nn

from bench.evaluation import Evaluation
from bench.techniques import Setting, Technique
from bench.techniques.half import Half
from bench.training.splitting import Part, split
from bench.workloads import Batch

BF16 = Half("bf16", "bf16")


@dataclass(frozen=True)
class Drawn(Tiny):
    """Noise whose first output is written down, and compared with the baseline's."""

    count: int = 20

    @property
    def metric(self) -> str:
        return "neg_gap_db"

    def predict(self, outputs: Tensor, batch: Batch) -> Tensor:
        return outputs[:, 0].float()

    def score(self, labels: np.ndarray, predictions: np.ndarray) -> Mapping[str, float]:
        return {"level_db": float(np.mean(predictions))}

    def exhibit(self, outputs: Tensor, places: Sequence[int], folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for place, row in zip(places, outputs, strict=True):
            (folder / f"{place:06}.txt").write_text(repr(float(row[0])))

    def distances(self, baseline: Path, arm: Path) -> Mapping[str, np.ndarray]:
        names = sorted(file.name for file in baseline.iterdir())
        pairs = [[float((at / name).read_text()) for at in (baseline, arm)] for name in names]
        gaps = np.array([abs(one - other) for one, other in pairs])
        return {"neg_gap_db": 0.0 - gaps, "widest_db": np.full(len(gaps), gaps.max())}


def seen(
    workload: Tiny, stages: tuple[Technique, ...], folder: Path, held_out: float = 0.0
) -> Evaluation:
    """Save and evaluate an arm as a pair does; the baseline's folder is beside it."""
    model: nn.Module = workload.build(5).eval()
    for stage in stages:
        model = stage.convert(model, Setting(workload, copy.deepcopy(model), 0))
    return evaluated(workload, model, stages, folder, folder.with_name("baseline"), 5, held_out)


def test_likeness_to_the_baseline_takes_the_place_of_predictions(tmp_path: Path) -> None:
    baseline = seen(Drawn(), (), tmp_path / "baseline")
    variant = seen(Drawn(), (BF16,), tmp_path / "variant")
    assert baseline.predictions == (0.0,) * 20
    assert baseline.labels == variant.labels
    pixels = Drawn().test_examples().__getitems__(range(20))["pixels"]
    with torch.inference_mode():
        whole = Drawn().build(5).eval()(pixels)[:, 0]
        halved = Drawn().build(5).eval().bfloat16()(pixels.bfloat16())[:, 0].float()
    gaps = (whole - halved).abs().numpy()
    assert variant.predictions == pytest.approx(-gaps, abs=1e-3)
    assert min(variant.predictions) < 0
    assert variant.metrics["neg_gap_db"] == pytest.approx(np.mean(variant.predictions))
    assert variant.metrics["widest_db"] == pytest.approx(-min(variant.predictions))
    assert variant.metrics["level_db"] == pytest.approx(float(halved.mean()), abs=1e-3)


def test_exhibits_are_named_by_the_example_and_found_through_the_record(tmp_path: Path) -> None:
    found = seen(Drawn(), (), tmp_path / "baseline")
    assert found.exhibits is not None
    folder = tmp_path / found.exhibits
    assert folder.parent == tmp_path / "baseline"
    assert sorted(file.name for file in folder.iterdir()) == [f"{n:06}.txt" for n in range(20)]


def test_what_is_kept_from_training_is_named_by_its_place_in_the_split(tmp_path: Path) -> None:
    found = seen(Drawn(), (), tmp_path / "baseline", held_out=0.2)
    _, kept = split(Drawn(), lambda examples: examples, 0.2, 5)
    assert isinstance(kept, Part)
    names = {file.name for file in (tmp_path / str(found.exhibits)).iterdir()}
    assert names == {f"{place:06}.txt" for place in kept.indices}
    assert names != {f"{place:06}.txt" for place in range(4)}


def test_most_workloads_leave_nothing_to_look_at(tmp_path: Path) -> None:
    found = seen(Tiny(), (), tmp_path / "baseline")
    assert found.exhibits is None
    assert set(found.metrics) == {"accuracy"}
    assert not [path for path in (tmp_path / "baseline").iterdir() if path.is_dir()]
