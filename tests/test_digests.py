"""Digests name content: equal content, equal name; whatever shapes a model changes it."""

from __future__ import annotations

import hashlib
import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import digests

PACKAGE = Path(__file__).parents[1] / "bench"


def test_the_digest_of_a_configuration_ignores_the_order_of_its_keys_and_nothing_else() -> None:
    one = {"seed": 1, "workload": {"name": "digits", "splits": ["train", "test"]}}
    turned = {"workload": {"splits": ["train", "test"], "name": "digits"}, "seed": 1}
    others: list[dict[str, Any]] = [
        {**one, "seed": 2},
        {**one, "seed": "1"},
        {**one, "more": None},
        {"seed": 1, "workload": {"name": "digits", "splits": ["test", "train"]}},
    ]
    assert digests.digest(one) == digests.digest(turned)
    assert len({digests.digest(it) for it in [one, *others]}) == 5
    # printf '{"a":{"b":1,"c":[2]}}' | sha256sum
    assert digests.digest({"a": {"c": [2], "b": 1}}).startswith("ac17f81feca9b77b")


def test_a_pair_that_pays_for_a_search_has_another_name_and_one_without_keeps_its_own() -> None:
    groups = ("workload", "technique", "training", "runtime", "protocol", "meter")
    plain: dict[str, Any] = {name: {"name": "x"} for name in groups} | {"seed": 0, "session": 0}
    named = digests.pair_digest(plain, None)
    assert digests.pair_digest({**plain, "search": None}, None) == named
    searched = digests.pair_digest({**plain, "search": "results/.searches/mine"}, None)
    assert searched != named
    moved = digests.pair_digest({**plain, "search": "elsewhere/.searches/mine"}, None)
    assert moved == searched  # where the results lie says nothing about what was searched


def test_the_digest_of_a_data_folder_changes_with_names_and_sizes(tmp_path: Path) -> None:
    def fill(name: str, **changes: str) -> Path:
        folder = tmp_path / name
        for file, text in ({"train/a": "12345", "val/b": "123"} | changes).items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text)
        return folder

    plain = digests.folder_digest(str(fill("plain")))
    assert plain == digests.folder_digest(str(fill("moved")))
    assert digests.folder_digest(None) is None
    changed = [
        fill("longer", **{"train/a": "123456"}),
        fill("more", **{"val/c": ""}),
        fill("shifted", **{"train/a": "123", "val/b": "12345"}),
    ]
    renamed = fill("renamed")
    (renamed / "val" / "b").rename(renamed / "val" / "c")
    found = {digests.folder_digest(str(folder)) for folder in [*changed, renamed]}
    assert len(found) == 4
    assert plain not in found


def test_the_digest_of_a_data_file_changes_with_a_letter(tmp_path: Path) -> None:
    file = tmp_path / "said.txt"
    file.write_text("The boat.\n")
    boat = digests.folder_digest(str(file))
    file.write_text("The goat.\n")
    assert digests.folder_digest(str(file)) != boat
    file.write_text("The boat.\n")
    assert digests.folder_digest(str(file)) == boat


def test_the_digest_of_a_data_folder_sees_what_lies_behind_links(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / "train").symlink_to(elsewhere)
    (root / "broken").symlink_to(tmp_path / "gone")
    before = digests.folder_digest(str(root))
    (elsewhere / "image").write_text("1")
    assert digests.folder_digest(str(root)) != before


def asked(**knobs: Any) -> dict[str, Any]:
    workload = {"name": "w", "model": "org/name", "vocabulary": None, "weights": None}
    technique = {"name": "t", "student": "3L"}
    return {
        "data": {"root": knobs.pop("root", None)},
        "workload": workload | {k: v for k, v in knobs.items() if k in workload},
        "technique": technique | {k: v for k, v in knobs.items() if k not in workload},
    }


def test_models_by_name_leave_the_digest_of_the_data_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows").write_text("1")
    root = str(tmp_path / "data")
    assert digests.inputs_digest(asked()) is None
    assert digests.inputs_digest(asked(root=root)) == digests.folder_digest(root)
    assert digests.inputs_digest(asked(weights="IMAGENET1K_V2")) is None


@pytest.mark.parametrize("knob", ["model", "vocabulary", "weights", "student", "stages"])
def test_a_model_in_a_folder_is_told_by_its_content(knob: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    weights = folder / "model.safetensors"
    weights.write_bytes(b"old weights")
    named: Any = [{"student": str(folder)}] if knob == "stages" else str(folder)
    old = digests.inputs_digest(asked(**{knob: named}))
    assert old is not None
    assert digests.inputs_digest(asked(**{knob: named})) == old
    weights.write_bytes(b"new weights")  # of the same architecture, and so of the same size
    os.utime(weights, ns=(1, 1))
    assert digests.inputs_digest(asked(**{knob: named})) != old
    weights.write_bytes(b"old weights")
    os.utime(weights, ns=(2, 2))
    assert digests.inputs_digest(asked(**{knob: named})) == old


def test_a_sweep_lists_the_data_once_and_reads_weights_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"weights")
    roots: list[str | None] = []
    listed = cache(lambda root: roots.append(root))
    first = digests.inputs_digest(asked(weights=str(weights)), listed)
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert digests.inputs_digest(asked(weights=str(weights), student="4L"), listed) == first
    assert roots == [None]


def test_the_digest_of_code_changes_with_the_source_that_shapes_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "bench"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    here = digests.code_digest()
    monkeypatch.setattr(digests, "__file__", str(package / "digests.py"))
    assert digests.code_digest() == here
    (package / "report.py").write_text("# tables do not shape models\n")
    assert digests.code_digest() == here
    shaping = [
        *("training/engine.py", "production.py", "techniques/half.py"),
        "workloads/vision/images.py",
    ]
    found = {here}
    for name in shaping:
        with (package / name).open("a") as file:
            file.write("\n# changed\n")
        found.add(digests.code_digest())
    (package / "techniques" / "new.py").touch()
    found.add(digests.code_digest())
    assert len(found) == len(shaping) + 2


def test_the_versions_are_those_of_the_installed_libraries() -> None:
    versions = digests.library_versions()
    assert torch.__version__.startswith(versions["torch"])
    assert {"transformers", "torch-pruning", "numpy"} <= versions.keys()
