"""Saved models: named by a digest of everything that shaped them, made once, loaded safely.

An artefact is a folder with ``model.safetensors`` (tensors only: no pickle, no code), ``probe``
tensors that a fresh process must reproduce, and ``card.json`` with what it cost to make.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench import codec
from bench.readings import Phase
from bench.records import Artefact
from bench.techniques import Technique
from bench.workloads import Workload

WEIGHTS = "model.safetensors"
CARD = "card.json"
PROBE = "probe.safetensors"


class ArtefactError(RuntimeError):
    """A saved model that cannot be loaded; the message names the folder and the way out."""


@dataclass(frozen=True)
class Card:
    """What is known of an artefact from its making.

    Attributes:
        artefact: Digest and bytes.
        parameters: Number of parameters.
        macs: Multiply-accumulates of one example.
        phases: ``train`` for a baseline; ``optimise`` and ``convert`` for a variant.
        losses: Logged training losses, ``(step, nats)``, the last training only.
        data: What the workload says of its data.
    """

    artefact: Artefact
    parameters: int
    macs: int
    phases: dict[str, Phase]
    losses: tuple[tuple[float, ...], ...]
    data: dict[str, Any]


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``folder`` when the block ends well.

    Whatever a killed process left half made is removed by the next one.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    half = folder.with_name(f"{folder.name}.making")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    yield half
    half.replace(folder)


def write_beside(text: str, file: Path) -> None:
    """Write a file whole or not at all."""
    half = file.with_name(f"{file.name}.making")
    half.write_text(text)
    half.replace(file)


def save(model: nn.Module, probe: Tensor, folder: Path) -> int:
    """Write weights and the probe's outputs; return the bytes of the weights file."""
    # A tensor that two modules share is written once under each name, as it is served.
    tensors = {
        name: t.detach().cpu().contiguous().clone() for name, t in model.state_dict().items()
    }
    save_file(tensors, folder / WEIGHTS)
    save_file({"outputs": probe.detach().cpu().contiguous()}, folder / PROBE)
    return (folder / WEIGHTS).stat().st_size


def load(workload: Workload, stages: Sequence[Technique], seed: int, folder: Path) -> nn.Module:
    """Return the model that ``folder`` holds, in evaluation mode.

    The architecture is built anew and each stage shapes it, then tensors are assigned: the saved
    dtype is the served dtype, and no code is loaded from the file.

    Raises:
        ArtefactError: The file cannot be read, or its tensors do not fit, as when the code has
            changed under a kept artefact.
    """
    try:
        tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as err:
        raise ArtefactError(
            f"{folder / WEIGHTS} cannot be read: {err}. Remove the folder to make it anew"
        ) from err
    model = workload.build(seed)
    for stage in stages:
        model = stage.restore(model, tensors)
    try:
        model.load_state_dict(tensors, assign=True)
    except RuntimeError as err:
        raise ArtefactError(
            f"{folder} does not fit the model built from this configuration: "
            f"{str(err).splitlines()[-1].strip()}. Remove the folder to make it anew"
        ) from err
    return model.eval().requires_grad_(False)


def load_probe(folder: Path) -> Tensor:
    """Return the outputs that the maker saw for the first test batch."""
    return load_file(folder / PROBE)["outputs"]


def write_card(card: Card, folder: Path) -> None:
    """Write the card beside the weights."""
    (folder / CARD).write_text(codec.encode(card))


def read_card(folder: Path) -> Card:
    """Read a card back."""
    return codec.decode(Card, json.loads((folder / CARD).read_text()))
