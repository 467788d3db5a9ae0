"""Artefacts come back bit for bit or not at all, and run no code."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import Tiny, same_tensors, trained_looking
from torch import nn

from bench import artefacts
from bench.artefacts import ArtefactError, Card
from bench.isolation import in_fresh_process
from bench.readings import Event, Logged, Phase, Reading
from bench.records import Artefact
from bench.techniques import Setting, Technique
from bench.techniques.half import Half
from bench.techniques.structured_pruning import StructuredPruning
from bench.whole import made_whole, write_beside

TESTS = Path(__file__).parent
PRUNING = StructuredPruning("prune", 0.5, None, "magnitude", "layer", 1, 8, 0, 0.1)


def saved(folder: Path, model: nn.Module) -> torch.Tensor:
    """Save a model with what it answers to the first examples, and return that."""
    outputs = answers(model.eval())
    artefacts.save(model, (), outputs, folder, "ab" * 32)
    return outputs


def answers(model: nn.Module) -> torch.Tensor:
    """What the model says of the first examples."""
    pixels = Tiny().test_examples().__getitems__(range(8))["pixels"]
    with torch.inference_mode():
        return model(pixels.to(next(model.parameters()).dtype))


def bits(model: nn.Module) -> dict[str, tuple[str, tuple[int, ...], str]]:
    """Type, shape and a digest of the bytes of every tensor."""
    return {
        name: (
            str(tensor.dtype),
            tuple(tensor.shape),
            hashlib.sha256(tensor.reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest(),
        )
        for name, tensor in model.state_dict().items()
    }


def reloaded(folder: Path, stages: Sequence[Technique]) -> tuple[int, bool, Any]:
    """Runs in the fresh process."""
    model = artefacts.load(Tiny(), stages, 5, folder)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    return os.getpid(), torch.equal(answers(model), artefacts.load_probe(folder)), bits(model)


@pytest.mark.parametrize("stages", [(), (PRUNING, Half("bf16", "bf16"))])
def test_a_fresh_process_loads_the_same_bits_and_answers_the_same(
    tmp_path: Path, stages: tuple[Technique, ...]
) -> None:
    model = trained_looking(Tiny().build(5))
    for stage in stages:
        setting = Setting(Tiny(), model, 0)
        model = stage.convert(stage.prepare(model, setting), setting)
    saved(tmp_path, model)
    pid, same_answers, same_bits = in_fresh_process(reloaded, tmp_path, stages)
    assert pid != os.getpid()
    assert same_bits == bits(model)
    assert same_answers


def test_the_bytes_of_an_artefact_are_those_of_its_tensors_and_a_header(tmp_path: Path) -> None:
    model = Tiny().build(0)
    kept = artefacts.save(model, (), torch.zeros(1), tmp_path, "ab" * 32)
    tensors = sum(t.nbytes for t in model.state_dict().values())
    file = tmp_path / "model.safetensors"
    assert tensors < kept.bytes < tensors + 2000
    assert kept.bytes == file.stat().st_size
    assert kept.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert kept.digest == "ab" * 32


def test_loading_leaves_pickle_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained_looking(Tiny().build(0))
    outputs = saved(tmp_path, model)

    def poisoned(*_: Any, **__: Any) -> None:
        raise AssertionError("a pickle was opened")

    for module, name in (
        (torch, "load"),
        (pickle, "load"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
    ):
        monkeypatch.setattr(module, name, poisoned)
    loaded = artefacts.load(Tiny(), (), 1, tmp_path)
    assert same_tensors(loaded.state_dict(), model.state_dict())
    assert torch.equal(artefacts.load_probe(tmp_path), outputs)


class Touches:
    """A pickle that leaves a file when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def test_code_in_place_of_weights_is_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    content = pickle.dumps({"fc.weight": Touches(trace)})
    pickle.loads(content)
    assert trace.exists()  # the bait works
    trace.unlink()
    saved(tmp_path, Tiny().build(0))
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(Exception, match=r"(?i)header"):
        artefacts.load(Tiny(), (), 0, tmp_path)
    assert not trace.exists()


@dataclass(frozen=True)
class Tied(Tiny):
    """Has one weight in two places."""

    def build(self, seed: int) -> nn.Module:
        model = super().build(seed)
        model.twin = nn.Linear(32, 4)
        model.twin.weight = model.fc.weight
        return model


def test_a_tensor_in_two_places_is_kept_once_and_loaded_into_both(tmp_path: Path) -> None:
    model = Tied().build(0)
    artefacts.save(model, (), torch.zeros(1), tmp_path, "ab" * 32)
    kept = artefacts.load_file(tmp_path / "model.safetensors")
    assert "twin.weight" not in kept
    assert torch.equal(kept["fc.weight"], model.fc.weight)
    loaded = artefacts.load(Tied(), (), 1, tmp_path)
    assert loaded.twin.weight is loaded.fc.weight
    assert torch.equal(loaded.fc.weight, model.fc.weight)
    assert torch.equal(loaded.twin.bias, model.twin.bias)


@pytest.mark.parametrize("kept", ["pruned", "wider", "lacking"])
def test_a_file_that_does_not_fit_is_refused_with_its_folder_and_a_way_out(
    tmp_path: Path, kept: str
) -> None:
    folder, model = tmp_path / "0123456789abcdef", trained_looking(Tiny().build(0))
    if kept == "pruned":  # loaded without the stage that would make room for it
        model = PRUNING.prepare(model, Setting(Tiny(), model, 0))
    elif kept == "wider":
        model.fc = nn.Linear(32, 5)
    else:
        del model.fc.bias
        model.fc.bias = None
    folder.mkdir()
    artefacts.save(model, (), torch.zeros(1), folder, "ab" * 32)
    with pytest.raises(ArtefactError) as caught:
        artefacts.load(Tiny(), (), 0, folder)
    message = str(caught.value)
    assert message.startswith(f"{folder} does not fit the model built from this configuration: ")
    assert "fc." in message
    assert message.endswith("Remove the folder to make it anew")


@pytest.mark.parametrize("left", [0, 100, None])
def test_weights_that_are_cut_off_or_gone_are_refused_with_their_file(
    tmp_path: Path, left: int | None
) -> None:
    saved(tmp_path, Tiny().build(0))
    file = tmp_path / "model.safetensors"
    content = file.read_bytes()
    file.unlink()
    if left is not None:
        file.write_bytes(content[:left])
    with pytest.raises(ArtefactError) as caught:
        artefacts.load(Tiny(), (), 0, tmp_path)
    assert str(caught.value).startswith(f"{file} cannot be read: ")
    assert str(caught.value).endswith("Remove the folder to make it anew")


def test_what_is_made_stands_in_its_place_only_when_it_is_whole(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "artefact"
    with made_whole(place) as folder:
        (folder / "model").write_text("weights")
        assert not place.exists()
    assert (place / "model").read_text() == "weights"
    assert list(place.parent.iterdir()) == [place]


def fail_to_make(place: Path) -> None:
    with made_whole(place) as folder:
        (folder / "half").write_text("weights")
        raise ArithmeticError("the training diverged")


def test_a_maker_that_fails_leaves_nothing_in_the_place(tmp_path: Path) -> None:
    place = tmp_path / "artefact"
    with pytest.raises(ArithmeticError, match="diverged"):
        fail_to_make(place)
    assert list(tmp_path.iterdir()) == []  # a full disk gets its room back


def test_what_another_host_has_made_meanwhile_stays(tmp_path: Path) -> None:
    place = tmp_path / "artefact"
    with made_whole(place) as folder:
        (folder / "model").write_text("slow")
        place.mkdir()
        (place / "model").write_text("fast")
    assert (place / "model").read_text() == "fast"
    assert list(tmp_path.iterdir()) == [place]


def test_weights_that_lost_a_bit_on_the_way_are_noticed(tmp_path: Path) -> None:
    model = Tiny().build(0)
    outputs = answers(model.eval())
    kept = artefacts.save(model, (), outputs, tmp_path, "ab" * 32)
    artefacts.write_card(Card(kept, 1, 1, "none", 1, {}, {}, (), (), None, {}), tmp_path)
    assert artefacts.is_there(tmp_path)
    assert artefacts.damage(tmp_path) is None
    file = tmp_path / artefacts.WEIGHTS
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert "model.safetensors has the digest" in str(artefacts.damage(tmp_path))
    file.unlink()
    assert "it cannot be read" in str(artefacts.damage(tmp_path))


def test_joules_of_one_among_many_are_missing_with_a_reason() -> None:
    counted = Reading("counters", "cpu:0", "rapl", "B", 12.5)
    lost = Reading("counters", "cpu:0", "rapl", "B", None, "others were at work")
    phase, point = Phase(1.5, 2.5, (counted,), 100), Logged("train", 2, 1.1, 0.05, None, 0.7, ())
    card = Card(
        *(Artefact("ab" * 32, 1, "cd" * 32), 1, 1, "none", 1, {}),
        *({"train": phase}, (dataclasses.replace(point, readings=(counted,)),), (), None, {}),
    )
    found = artefacts.without_joules(card, "others were at work")
    assert found.phases == {"train": dataclasses.replace(phase, readings=(lost,))}
    assert found.history == (dataclasses.replace(point, readings=(lost,)),)


KILLED = """
import os, signal, sys
from pathlib import Path
from bench.whole import made_whole

with made_whole(Path(sys.argv[1])) as folder:
    (folder / "model.safetensors").write_text("half of the weights")
    (folder / "card.json").write_text("{}")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_maker_leaves_nothing_and_the_next_one_begins_anew(tmp_path: Path) -> None:
    place = tmp_path / "artefact"
    done = subprocess.run([sys.executable, "-c", KILLED, str(place)], cwd=TESTS.parent)
    assert done.returncode == -9
    assert not place.exists()
    with made_whole(place) as folder:
        assert list(folder.iterdir()) == []
        (folder / "model").write_text("weights")
    assert [path.name for path in tmp_path.rglob("*")] == ["artefact", "model"]


def test_what_a_killed_process_of_our_own_number_has_left_is_in_nobodys_way(tmp_path: Path) -> None:
    """As in a container that begins anew: its name and its numbers are those of the last one."""
    place = tmp_path / "artefact"
    with made_whole(place) as folder:
        name = folder.name
        (folder / "model").write_text("weights")
    left = tmp_path / name
    left.mkdir()
    (left / "model").write_text("half of the weights")
    place.rename(tmp_path / "elsewhere")
    with made_whole(place) as folder:
        assert list(folder.iterdir()) == []
    assert not left.exists()


def test_a_file_beside_an_artefact_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "evaluation.json"
    for text in ("first", "second"):
        write_beside(text, file)
        assert file.read_text() == text
    assert list(tmp_path.iterdir()) == [file]


def test_a_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    reading = Reading("counters", "cpu:0", "zeus.rapl", "B", 12.5)
    lost = Reading("counters", "gpu:0", "zeus.nvml", "B", None, "lost")
    card = Card(
        artefact=Artefact("ab" * 32, 1234, "cd" * 32),
        parameters=10,
        nonzero_parameters=9,
        sparsity="unstructured",
        macs=20,
        input_shapes={"pixels": (3, 8, 8)},
        phases={"train": Phase(1.5, 2.5, (reading, lost), 100)},
        history=(Logged("train", 2, 1.1, 0.05, None, 0.7, (reading, lost)),),
        events=(Event("train", 2, "overfitting", "the two losses part"),),
        training_peak_memory_bytes=123,
        data={"source": "noise", "train": {"examples": 3}},
    )
    artefacts.write_card(card, tmp_path)
    assert artefacts.read_card(tmp_path) == card
