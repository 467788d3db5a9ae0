"""Trackers of losses are copies of the record's own curve: read back from their stores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import EAGER, RECIPE, Tiny

from bench.artefacts import Card, read_card
from bench.meters import Meters
from bench.production import Order, produce
from bench.training.recipe import Training

LOOKED = replace(RECIPE, epochs=2.0, validation=0.2, evaluate_every=2)


def tracked(folder: Path, tracker: str, seed: int = 0) -> Card:
    """Train a tiny model with a tracker, and return what the record holds."""
    recipe = replace(LOOKED, trackers=(tracker,))
    place = folder / "results" / ".artefacts" / f"made-{seed}"
    order = Order(
        Tiny(), (), recipe, EAGER, seed, None, place, "ab" * 32, Meters((), required=False)
    )
    produce(order)
    return read_card(place)


def losses(card: Card) -> dict[int, float]:
    return {point.step: point.loss for point in card.history if point.loss is not None}


def looks(card: Card) -> dict[int, float]:
    found = {point.step: point.validation_loss for point in card.history}
    return {step: loss for step, loss in found.items() if loss is not None}


def test_tensorboard_holds_the_losses_of_the_record(tmp_path: Path) -> None:
    card = tracked(tmp_path, "tensorboard")
    (run,) = (tmp_path / "results" / ".runs").iterdir()
    assert run.name == "tiny-train-seed0-abababab"
    store = EventAccumulator(str(run))
    store.Reload()
    told = {name: store.Scalars(name) for name in ("train/loss", "eval/loss")}
    found = {name: {event.step: event.value for event in told[name]} for name in told}
    assert found["train/loss"] == pytest.approx(losses(card), rel=1e-6)  # it keeps 32 bits
    assert found["eval/loss"] == pytest.approx(looks(card), rel=1e-6)
    assert len(losses(card)) > 3 < len(looks(card)) + 1


def test_runs_lie_beside_each_other_so_that_curves_overlay(tmp_path: Path) -> None:
    for seed in (0, 1):
        tracked(tmp_path, "tensorboard", seed)
    names = sorted(path.name for path in (tmp_path / "results" / ".runs").iterdir())
    assert names == ["tiny-train-seed0-abababab", "tiny-train-seed1-abababab"]


def track_with_trackio(folder: str) -> None:
    """In a process of its own: where the store lies is read when the library is imported."""
    card = tracked(Path(folder), "trackio")
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = SQLiteStorage.get_runs("joulebench")
    told = SQLiteStorage.get_logs("joulebench", run)
    print(json.dumps([run, told, losses(card), looks(card)]))


def test_trackio_holds_the_losses_of_the_record(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        env={**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    run, told, trained, looked = json.loads(done.stdout.splitlines()[-1])
    assert run == "tiny-train-seed0-abababab"
    for key, ours in (("train/loss", trained), ("eval/loss", looked)):
        theirs = {str(row["train/global_step"]): row[key] for row in told if key in row}
        assert theirs == pytest.approx(ours)
    assert trained
    assert looked


def test_a_tracker_that_is_not_installed_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"training\.trackers has wandb, .* pip install wandb"):
        Training(**{**vars(RECIPE), "trackers": ("wandb",)})


if __name__ == "__main__":
    track_with_trackio(sys.argv[1])
