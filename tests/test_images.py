"""Images from local folders in every layout, and their augmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import cifar_like, png, write_folders, write_parquet
from pictures import own_cache as own_cache
from PIL import Image
from tiny import DATA, configured
from torch import Tensor

from bench.workloads.vision import images

pytestmark = pytest.mark.usefixtures("own_cache")

needs_imagenet = pytest.mark.skipif(
    not (DATA / "imagenet_mini").is_dir(), reason="imagenet_mini is not beside this checkout"
)


def levels(examples: Any) -> list[int]:
    """The grey level of each image, if there is nothing else in it."""
    assert examples.pixels.flatten(1).float().std(dim=1).max() == 0
    return examples.pixels[:, 0, 0, 0].tolist()


def test_parquet_without_the_hubs_metadata_is_read_row_by_row(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [png(v) for v in (10, 20, 30)], [3, 1, 2])
    write_parquet(tmp_path / "test.parquet", [png(v) for v in (40, 50)], [0, 9])
    workload = cifar_like(tmp_path)
    train, test = workload.train_examples(), workload.test_examples()
    assert (levels(train), train.labels.tolist()) == ([10, 20, 30], [3, 1, 2])
    assert (levels(test), test.labels.tolist()) == ([40, 50], [0, 9])


def test_shards_of_parquet_are_joined_in_their_order(tmp_path: Path) -> None:
    for shard, (level, label) in enumerate([(10, 4), (20, 5), (30, 6)]):
        file = tmp_path / f"train-0000{shard}-of-00003.parquet"
        write_parquet(file, [png(level)] * 2, [label, 0])
    write_parquet(tmp_path / "test-00000-of-00001.parquet", [png(40)], [7])
    train = cifar_like(tmp_path).train_examples()
    assert levels(train) == [10, 10, 20, 20, 30, 30]
    assert train.labels.tolist() == [4, 0, 5, 0, 6, 0]
    assert cifar_like(tmp_path).test_examples().labels.tolist() == [7]


def test_image_folders_are_split_by_folder_whatever_their_files_are_called(tmp_path: Path) -> None:
    files = {
        "train/cat/test_1.png": 10,
        "train/cat/val.png": 20,
        "train/validation dog/dev-test.png": 30,
        "train/zebra/1.png": 40,
        "val/cat/train_1.png": 50,
        "val/zebra/train.png": 60,
    }
    write_folders(tmp_path, files)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not an image")
    workload = cifar_like(tmp_path, splits=("train", "validation"), image_column="image")
    train, held_out = workload.train_examples(), workload.test_examples()
    # Classes are numbered by name over both splits: no zebra becomes a dog for want of dogs.
    assert dict(zip(levels(train), train.labels.tolist(), strict=True)) == {
        10: 0,
        20: 0,
        30: 1,
        40: 2,
    }
    assert dict(zip(levels(held_out), held_out.labels.tolist(), strict=True)) == {50: 0, 60: 2}


@needs_imagenet
def test_imagenet_folders_give_crops_of_the_published_size() -> None:
    workload = configured("resnet50_imagenet", data_root=str(DATA / "imagenet_mini"))
    train, held_out = workload.train_examples(), workload.test_examples()
    assert (len(train), len(held_out)) == (400, 200)
    assert np.bincount(held_out.labels.numpy()).tolist() == [20] * 10
    assert held_out.__getitems__([0, 199])["pixel_values"].shape == (2, 3, 224, 224)
    torch.manual_seed(1)
    one = train.__getitems__([0, 0])["pixel_values"]
    torch.manual_seed(1)
    again = train.__getitems__([0, 0])["pixel_values"]
    assert one.shape == (2, 3, 224, 224)
    assert torch.equal(one, again)
    assert not torch.equal(one[0], one[1])


@needs_imagenet
def test_the_test_crop_is_pillows_resize_and_the_middle_of_it() -> None:
    file = min((DATA / "imagenet_mini" / "val").rglob("*.JPEG"))
    pixels = torch.from_numpy(np.array(Image.open(file).convert("RGB")).transpose(2, 0, 1))
    resized = images.transform("none", 96, 120)(pixels)
    expected = Image.open(file).convert("RGB").resize((120, 120), Image.Resampling.BILINEAR)
    middle = np.asarray(expected.crop((12, 12, 108, 108))).transpose(2, 0, 1)
    assert resized.shape == (3, 96, 96)
    assert np.abs(resized.numpy().astype(int) - middle).max() <= 1  # both round bytes
    assert torch.equal(images.transform("none", 100, None)(pixels), pixels[:, 30:130, 30:130])


def translations(image: Tensor, most: int) -> dict[tuple[int, int], Tensor]:
    """Every image that moving by up to ``most`` pixels gives, black where nothing was."""
    side = image.shape[-1]
    found = {}
    for down in range(-most, most + 1):
        for right in range(-most, most + 1):
            moved = torch.zeros_like(image)
            for y in range(side):
                for x in range(side):
                    if 0 <= y - down < side and 0 <= x - right < side:
                        moved[:, y, x] = image[:, y - down, x - right]
            found[down, right] = moved
    return found


@pytest.mark.parametrize(("augment", "flips"), [("shift", {False}), ("shift_flip", {False, True})])
def test_augmentation_moves_and_mirrors_and_does_nothing_else(
    augment: images.Augment, flips: set[bool]
) -> None:
    side, most = 8, 1
    image = torch.randint(1, 256, (3, side, side), generator=torch.Generator().manual_seed(0))
    pixels = image.to(torch.uint8).expand(200, -1, -1, -1).contiguous()
    examples = images.MemoryImages(
        pixels, torch.zeros(200, dtype=torch.int64), images.Normalise((0,) * 3, (1,) * 3), augment
    )
    possible = {
        (offset, flipped): moved
        for flipped in (False, True)
        for offset, moved in translations(
            pixels[0].flip(-1) if flipped else pixels[0], most
        ).items()
    }
    torch.manual_seed(2)
    batch = (examples.__getitems__(range(200))["pixel_values"] * 255).round().to(torch.uint8)
    found = [[way for way, made in possible.items() if torch.equal(made, it)] for it in batch]
    assert {len(ways) for ways in found} == {1}
    # All of the 9 or 18 ways: one of 18 is absent from 200 draws with a chance of 2 in 10,000.
    ways = {way for (way,) in found}
    assert {flipped for _, flipped in ways} == flips
    assert len(ways) == 9 * len(flips)
    # What is kept is as it was: augmentation works on a copy.
    assert torch.equal(examples.pixels[7], image.to(torch.uint8))


def test_an_image_of_cifars_size_moves_by_up_to_four_pixels() -> None:
    pixels = torch.zeros(500, 1, 32, 32, dtype=torch.uint8)
    pixels[:, :, 16, 16] = 255
    torch.manual_seed(0)
    places = images.shift(pixels).nonzero()[:, 2:] - 16
    assert len(places) == 500
    assert places.min(dim=0).values.tolist() == [-4, -4]
    assert places.max(dim=0).values.tolist() == [4, 4]


def test_augmentation_is_fixed_by_torchs_seed_and_never_done_to_the_held_out_split() -> None:
    workload = configured("resnet_digits")
    train, test = workload.train_examples(), workload.test_examples()
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(train.__getitems__(range(64))["pixel_values"])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    once, twice = (test.__getitems__(range(64))["pixel_values"] for _ in range(2))
    assert torch.equal(once, twice)
    assert torch.equal(once, test.normalise(images.digits("test")[0][:64]))


def test_a_folder_may_have_any_name_and_files_beside_its_classes(tmp_path: Path) -> None:
    root = tmp_path / "set [1], *new*"
    files = {"train/cat/1.png": 10, "train/dog/2.png": 20, "test/dog/3.png": 30}
    write_folders(root, files | {"train/preview.png": 99, "test/preview.png": 99})
    (root / "train" / "metadata.csv").write_text("file_name,colour\ncat/1.png,grey\n")
    workload = cifar_like(root, image_column="image")
    train, test = workload.train_examples(), workload.test_examples()
    assert (levels(train), train.labels.tolist()) == ([10, 20], [0, 1])
    assert (levels(test), test.labels.tolist()) == ([30], [1])
    write_parquet(root / "train.parquet", [png(40)], [3])
    write_parquet(root / "test.parquet", [png(50)], [4])
    images.load.cache_clear()
    assert levels(cifar_like(root).train_examples()) == [40]
