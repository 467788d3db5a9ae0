"""Saved models: named by a digest of everything that shaped them, made once, loaded safely.

An artefact is a folder with ``model.safetensors`` (tensors only: no pickle, no code), ``probe``
tensors that a fresh process must reproduce, and ``card.json`` with what it cost to make.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench import codec
from bench.readings import Event, Logged, Phase, uncounted
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
        artefact: Digest, bytes, and the digest of the content.
        parameters: Number of parameters.
        nonzero_parameters: Those that are not 0.
        sparsity: Kind of the zeros that a technique made on purpose, ``none`` without.
        macs: Multiply-accumulates of one example.
        input_shapes: Of that example, by input.
        phases: ``train`` for a baseline; ``optimise`` and ``convert`` for a variant.
        history: What was logged while training, stage after stage.
        events: What happened to its trainings: resumed, short of memory, overfitting, stopped.
        training_peak_memory_bytes: Of the process that made it; ``None`` without a training.
        data: What the workload says of its data.
        trained_parameters: Of its last training; ``None`` without one.
        adapter_bytes: Of a file of what was trained, where other weights stayed as they were.
        made_on: Name of the machine whose joules these are.
    """

    artefact: Artefact
    parameters: int
    nonzero_parameters: int
    sparsity: str
    macs: int
    input_shapes: dict[str, tuple[int, ...]]
    phases: dict[str, Phase]
    history: tuple[Logged, ...]
    events: tuple[Event, ...]
    training_peak_memory_bytes: int | None
    data: dict[str, Any]
    trained_parameters: int | None = None
    adapter_bytes: int | None = None
    made_on: str | None = None


def save(
    model: nn.Module, stages: Sequence[Technique], probe: Tensor, folder: Path, digest: str
) -> Artefact:
    """Write weights and the probe's outputs; return what is served from now on."""
    tensors = model.state_dict()
    for stage in stages:
        tensors = stage.pack(model, tensors)
    again = _tied(model)
    plain = {
        name: t.detach().cpu().contiguous().clone()
        for name, t in tensors.items()
        if name not in again or t.data_ptr() != tensors[again[name]].data_ptr()
    }
    save_file(plain, folder / WEIGHTS)
    save_file({"outputs": probe.detach().cpu().contiguous()}, folder / PROBE)
    with (folder / WEIGHTS).open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return Artefact(digest, (folder / WEIGHTS).stat().st_size, content)


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
        model = stage.restore(model, tensors, workload)
    for stage in reversed(stages):
        tensors = stage.unpack(model, tensors)
    tied = {name: first for name, first in _tied(model).items() if name not in tensors}
    tensors |= {name: tensors[first] for name, first in tied.items()}
    try:
        model.load_state_dict(tensors, assign=True)
    except RuntimeError as err:
        raise ArtefactError(
            f"{folder} does not fit the model built from this configuration: "
            f"{str(err).splitlines()[-1].strip()}. Remove the folder to make it anew"
        ) from err
    for name, first in tied.items():  # assigning has taken the two apart
        place, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(place), leaf, model.get_parameter(first))
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for stage in stages:
        model = stage.deploy(model)
    return model


def _tied(model: nn.Module) -> dict[str, str]:
    """Return names under which a parameter stands again, with the name of its first place."""
    first: dict[int, str] = {}
    return {
        name: first[id(parameter)]
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if first.setdefault(id(parameter), name) != name
    }


def load_probe(folder: Path) -> Tensor:
    """Return the outputs that the maker saw for the first test batch."""
    return load_file(folder / PROBE)["outputs"]


def write_card(card: Card, folder: Path) -> None:
    """Write the card beside the weights."""
    (folder / CARD).write_text(codec.encode(card))


def read_card(folder: Path) -> Card:
    """Read a card back."""
    return codec.decode(Card, json.loads((folder / CARD).read_text()))


def without_joules(card: Card, reason: str) -> Card:
    """Return a card whose joules are missing: they cannot be told from those of others."""
    return dataclasses.replace(
        card,
        phases={name: uncounted(phase, reason) for name, phase in card.phases.items()},
        history=tuple(uncounted(point, reason) for point in card.history),
    )


def is_there(folder: Path) -> bool:
    """Return whether an artefact stands in ``folder``, whole or not."""
    return (folder / CARD).is_file()


def damage(folder: Path) -> str | None:
    """Return what is wrong with an artefact, such as bits that were lost on the way; or ``None``.

    Its weights are read to the end: they must have the digest that their maker wrote down.
    """
    try:
        kept = read_card(folder).artefact
        with (folder / WEIGHTS).open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as err:
        return f"it cannot be read: {err}"
    if content != kept.sha256:
        return f"{WEIGHTS} has the digest {content[:12]}, its card says {kept.sha256[:12]}"
    return None
