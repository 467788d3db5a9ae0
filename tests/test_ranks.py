"""Several processes on one host: together one training, whose meters are read once."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import load_file
from tiny import CONF, EAGER, RECIPE, Tiny

from bench import artefacts, ranks
from bench.isolation import ChildError, in_fresh_process
from bench.meters import Meters
from bench.production import Order, produce
from bench.ranks import RankError

TWO = replace(RECIPE, processes=2, epochs=2.0, batch_size=10)
"""A hundred examples are ten batches: each rank has five, and none is filled up from the start."""


def made(folder: Path, **changes: Any) -> Path:
    """An artefact, made as a pair does."""
    order = Order(Tiny(), (), TWO, EAGER, 0, None, folder, "ab" * 32, Meters((), required=False))
    in_fresh_process(produce, replace(order, **changes))
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Without what normalisation has seen on the way: of that, each rank sees a part."""
    found = load_file(folder / artefacts.WEIGHTS)
    seen = ("running_mean", "running_var", "num_batches_tracked")
    return {name: value for name, value in found.items() if not name.endswith(seen)}


def test_two_processes_train_as_one_that_adds_the_gradients_of_two_batches(tmp_path: Path) -> None:
    one = made(tmp_path / "one", training=replace(TWO, processes=1, accumulation=2))
    two = made(tmp_path / "two")
    expected = weights(one)
    for name, value in weights(two).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)
    cards = [artefacts.read_card(folder) for folder in (one, two)]
    assert cards[0].phases["train"].items == cards[1].phases["train"].items > 0
    assert [point.step for point in cards[0].history] == [point.step for point in cards[1].history]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_pruned_model_is_trained_on_by_both(tmp_path: Path) -> None:
    """Both remove the same channels: else their gradients would not fit each other."""
    baseline = made(tmp_path / "baseline", training=replace(TWO, processes=1, max_steps=2))
    pruning = instantiate(OmegaConf.load(CONF / "technique" / "structured_pruning.yaml"))
    found = [
        weights(made(tmp_path / name, stages=pruning.stages, baseline=baseline, training=recipe))
        for name, recipe in (("one", replace(TWO, processes=1, accumulation=2)), ("two", TWO))
    ]
    assert [value.shape for value in found[0].values()] == [v.shape for v in found[1].values()]
    for name, value in found[1].items():
        torch.testing.assert_close(value, found[0][name], rtol=1e-4, atol=1e-5)


def refuse() -> None:
    raise ValueError("no such kernel")


def wait_for_another() -> None:
    with ranks.beside(2, refuse):
        raise RuntimeError("Connection closed by peer")


def test_what_another_rank_failed_of_is_told_not_that_it_is_gone() -> None:
    with pytest.raises(ChildError, match="rank 1: ValueError: no such kernel"):
        in_fresh_process(wait_for_another)


def fail_alone() -> None:
    with ranks.beside(1, refuse):
        raise RuntimeError("out of paper")


def test_one_process_is_left_to_itself() -> None:
    before = dict(os.environ)
    with pytest.raises(RuntimeError, match="out of paper") as caught:
        fail_alone()
    assert not isinstance(caught.value, RankError)
    assert dict(os.environ) == before


def test_more_processes_than_devices_are_refused() -> None:
    many = 1 + (torch.cuda.device_count() or os.cpu_count() or 1)
    told = f"training.processes is {many}: one for each device, and this host has {many - 1} "
    with pytest.raises(ValueError, match=re.escape(told)):
        replace(RECIPE, processes=many)
