"""Data and weights that cannot be used are refused: with the key, its value and a way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pictures import cifar_like, png, write_folders, write_parquet
from pictures import own_cache as own_cache
from safetensors.torch import save_file
from tiny import configured

from bench.workloads import WorkloadError
from bench.workloads.vision import images

pytestmark = pytest.mark.usefixtures("own_cache")


def told(root: Path, **changes: Any) -> str:
    """What is said of a folder that cannot be used."""
    with pytest.raises(WorkloadError) as caught:
        cifar_like(root, **changes).train_examples()
    return str(caught.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    message = told(tmp_path / "absent")
    assert message.startswith(f"data.root={tmp_path / 'absent'} is not a folder: give the one")


def test_a_folder_in_no_known_layout_is_refused_with_both_layouts(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [png(1)], [0])
    message = told(tmp_path)
    for word in (f"data.root={tmp_path}", "test.parquet", "train-*.parquet", "train/<class>/"):
        assert word in message


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [png(1)], [0])
    write_parquet(tmp_path / "test.parquet", [png(2)], [0])
    tables = images.load("made/up", ("train", "test"), str(tmp_path))
    assert len(images.checked(tables["test"], "img", "label", 10, "here (test)")) == 1
    with pytest.raises(
        WorkloadError, match=r"^here \(test\): no rows; a split that is empty can be"
    ):
        images.checked(tables["test"].select([]), "img", "label", 10, "here (test)")


def test_a_folder_with_an_empty_split_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [], [])
    write_parquet(tmp_path / "test.parquet", [png(1)], [0])
    message = told(tmp_path)
    assert message.startswith(f"data.root={tmp_path} cannot be read as parquet: ")
    assert "A split that is empty" in message
    (tmp_path / "other" / "train" / "cat").mkdir(parents=True)
    write_folders(tmp_path / "other", {"test/cat/1.png": 1})
    assert "cannot be read as imagefolder: " in told(tmp_path / "other", image_column="image")


def test_a_parquet_file_that_is_cut_off_is_refused(two: Path) -> None:
    whole = (two / "train.parquet").read_bytes()
    (two / "train.parquet").write_bytes(whole[: len(whole) // 2])
    assert told(two).startswith(f"data.root={two} cannot be read as parquet: ")


def test_labels_that_are_missing_or_no_integers_are_refused(two: Path) -> None:
    write_parquet(two / "train.parquet", [png(1), png(2)], [0, None])
    message = told(two)
    assert "column 'label' holds int64, 1 of them missing; workload.label_column names" in message
    table = pq.read_table(two / "test.parquet")
    pq.write_table(table.set_column(1, "label", [["cat", "dog"]]), two / "train.parquet")
    images.load.cache_clear()
    assert "column 'label' holds string, 0 of them missing" in told(two)


def test_an_image_that_is_missing_is_refused_with_its_row(two: Path) -> None:
    table = pq.read_table(two / "test.parquet")
    row = pa.array([table["img"][0].as_py(), None], table["img"].type)
    pq.write_table(table.set_column(0, "img", row), two / "train.parquet")
    assert told(two).startswith("image 1 (no path) cannot be decoded: ")


@pytest.fixture
def two(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        write_parquet(tmp_path / f"{split}.parquet", [png(1), png(2)], [0, 5])
    return tmp_path


def test_a_missing_column_is_refused_with_the_columns_there_are(two: Path) -> None:
    assert told(two, image_column="image") == (
        f"data.root={two} (train): no column 'image' (there are img, label); "
        f"workload.image_column names the right one"
    )
    assert "no column 'fine_label' (there are img, label); workload.label_column" in told(
        two, label_column="fine_label"
    )


def test_labels_out_of_range_are_refused_with_their_range(two: Path) -> None:
    assert told(two, classes=5).endswith("labels run from 0 to 5, workload.classes=5 needs 0 to 4")
    write_parquet(two / "train.parquet", [png(1), png(2)], [-1, 9])  # as the hub hides test labels
    images.load.cache_clear()
    assert "labels run from -1 to 9, workload.classes=10 needs 0 to 9" in told(two)


@pytest.mark.parametrize("content", [b"", b"not an image", png(200)[:60]])
def test_an_image_that_cannot_be_decoded_is_refused_with_row_and_path(
    tmp_path: Path, content: bytes
) -> None:
    for split in ("train", "test"):
        write_parquet(tmp_path / f"{split}.parquet", [png(1), content], [0, 5])
    message = told(tmp_path)
    assert message.startswith("image 1 (row1.png) cannot be decoded: ")
    assert message.endswith("Mend or remove it in data.root")


def test_an_image_file_that_cannot_be_decoded_is_refused_with_its_place(tmp_path: Path) -> None:
    write_folders(tmp_path, {"train/a/1.png": 1, "test/a/1.png": 2})
    broken = tmp_path / "train" / "a" / "2.png"
    broken.write_bytes(b"nothing")
    examples = cifar_like(tmp_path, image_column="image", in_memory=False).train_examples()
    with pytest.raises(WorkloadError, match=r"image 1 .* cannot be decoded") as caught:
        examples.__getitems__([0, 1])
    assert str(broken) in str(caught.value)


def test_an_image_of_another_size_is_refused_in_memory_and_cropped_otherwise(
    tmp_path: Path,
) -> None:
    for split in ("train", "test"):
        write_parquet(tmp_path / f"{split}.parquet", [png(1), png(2, side=40)], [0, 5])
    message = told(tmp_path)
    assert message.startswith("image 1 has 40x40 pixels, workload.image_size=32")
    assert "workload.in_memory=false" in message
    examples = cifar_like(tmp_path, in_memory=False).train_examples()
    assert examples.__getitems__([0, 1])["pixel_values"].shape == (2, 3, 32, 32)


def test_weights_that_hold_code_are_not_loaded(tmp_path: Path) -> None:
    file, trace = tmp_path / "weights.pth", tmp_path / "trace"
    torch.save({"fc.weight": Writes(trace)}, file)
    with pytest.raises(Exception, match="weights_only"):
        configured("resnet_digits", weights=str(file)).build(0)
    assert not trace.exists()


class Writes:
    """A pickle that leaves a file when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"architecture": "resnet7"},
            ["workload.architecture", "'resnet7'", "resnet18", "resnet10"],
        ),
        (
            {"architecture": "resnet50", "weights": "IMAGENET"},
            ["workload.weights", "'IMAGENET'", "IMAGENET1K_V1", "IMAGENET1K_V2", ".safetensors"],
        ),
        ({"weights": "IMAGENET1K_V1"}, ["'IMAGENET1K_V1'", "resnet10 has none", ".safetensors"]),
        (
            {"architecture": "mobilenet_v2"},
            ["workload.stem=cifar", "workload.architecture=mobilenet_v2", "workload.stem=imagenet"],
        ),
        ({"weights": "none/such.pth"}, ["workload.weights", "none/such.pth", "no such file"]),
        (
            {"weights": "none/such.safetensors"},
            ["workload.weights", "none/such.safetensors", "no such file"],
        ),
    ],
)
def test_a_model_that_cannot_be_built_is_refused_with_key_value_and_way_out(
    changes: dict[str, str], told: list[str]
) -> None:
    with pytest.raises(WorkloadError) as caught:
        configured("resnet_digits", **changes).build(0)
    assert [word for word in told if word not in str(caught.value)] == []


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_weights_that_are_no_weights_are_refused_with_their_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"<html>not found</html>")
    with pytest.raises(WorkloadError) as caught:
        configured("resnet_digits", weights=str(file)).build(0)
    assert str(caught.value).startswith(f"workload.weights={file} cannot be read: ")


def test_weights_of_another_number_of_classes_are_refused_with_both_shapes(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(configured("resnet_digits", classes=7).build(0).state_dict(), file)
    with pytest.raises(WorkloadError, match=r"workload\.weights=.*weights\.safetensors") as caught:
        configured("resnet_digits", weights=str(file)).build(0)
    for word in ("workload.architecture=resnet10", "fc.bias", "[7]", "[10]"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"stem": "tiny"}, r"workload\.stem is 'tiny': one of imagenet, cifar"),
        ({"augment": "mixup"}, r"workload\.augment is 'mixup': one of none, shift, shift_flip"),
        ({"augment": "resized_crop"}, r"needs workload\.in_memory=false"),
        ({"in_memory": False}, r"workload\.augment=shift needs workload\.in_memory=true"),
        ({"batch_size": 0}, r"workload\.batch_size is 0"),
        ({"margin": 1.5}, r"workload\.margin must be in \(0, 1\), got 1\.5.*one point is 0\.01"),
    ],
)
def test_an_impossible_knob_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        configured("resnet_digits", **changes)
