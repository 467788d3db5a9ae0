"""Labelled images: where they come from, and how a batch of them is made."""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from bench.workloads import Batch, WorkloadError, hub

Split = Literal["train", "test"]
Augment = Literal["none", "shift", "shift_flip", "resized_crop"]


@lru_cache(maxsize=2)
def digits(split: Split) -> tuple[Tensor, np.ndarray]:
    """Return pixels (uint8, ``(n, 3, 8, 8)``) and labels of scikit-learn's digits."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # 16 grey levels, scaled to bytes and repeated over the three channels the stem expects.
    grey = torch.from_numpy((bunch.images * (255 / 16)).round().astype(np.uint8))
    rows = (np.arange(len(grey)) % 5 == 4) == (split == "test")
    return grey[rows].unsqueeze(1).expand(-1, 3, -1, -1).contiguous(), bunch.target[rows]


@lru_cache(maxsize=1)
def load(dataset: str, splits: tuple[str, str], root: str | None) -> Mapping[str, datasets.Dataset]:
    """Return the tables ``train`` and ``test``, from the hub or from a local folder.

    Args:
        dataset: Hub id, used when there is no folder.
        splits: What the hub calls the two splits.
        root: Folder with ``<split>.parquet`` (or ``<split>-*.parquet``) or ``<split>/<class>/``.

    Raises:
        WorkloadError: The folder is missing or laid out otherwise.
    """
    if root is None:
        return hub.splits_of(dataset, None, splits)
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise WorkloadError(f"data.root={root} is not a folder: give the one that holds the data")
    files = {split: _parquet(folder, split) for split in splits}
    folders = {split: _class_folder(folder, split) for split in splits}
    if all(files.values()):
        return _read(root, splits, "parquet", files)
    if all(folders.values()):
        # Named files: left to itself, the loader takes "val" in a file's name for its split.
        # Only <class>/<file>: an image beside the classes would take the split's name for its own.
        patterns = {split: [f"{glob.escape(str(place))}/*/*"] for split, place in folders.items()}
        return _read(root, splits, "imagefolder", patterns, drop_labels=False)
    raise WorkloadError(
        f"data.root={root} does not hold both splits of {dataset}: neither {splits[0]}.parquet and "
        f"{splits[1]}.parquet (or shards {splits[0]}-*.parquet) nor image folders "
        f"{splits[0]}/<class>/ and {splits[1]}/<class>/ (val/ will do for validation/)"
    )


def _read(
    root: str, splits: tuple[str, str], kind: str, files: Mapping[str, list[str]], **options: Any
) -> Mapping[str, datasets.Dataset]:
    try:
        loaded = datasets.load_dataset(kind, data_files=dict(files), **options)
        return {"train": loaded[splits[0]], "test": loaded[splits[1]]}
    except (datasets.exceptions.DatasetsError, ValueError) as err:
        raise WorkloadError(
            f"data.root={root} cannot be read as {kind}: {err.__cause__ or err}. A split that is "
            f"empty, or a file that is cut off, can be neither trained on nor tested"
        ) from err


def _parquet(folder: Path, split: str) -> list[str]:
    found = sorted((*folder.glob(f"{split}.parquet"), *folder.glob(f"{split}-*.parquet")))
    return [glob.escape(str(file)) for file in found]


def _class_folder(folder: Path, split: str) -> Path | None:
    # ImageNet's archive says "val" where the hub says "validation".
    names = (split, "val") if split == "validation" else (split,)
    found = [folder / name for name in names if (folder / name).is_dir()]
    return found[0] if found else None


def checked(
    table: datasets.Dataset, image_column: str, label_column: str, classes: int, where: str
) -> datasets.Dataset:
    """Return the table with its image column decodable, or say what is wrong with it.

    Raises:
        WorkloadError: No rows, a missing column, or labels outside ``[0, classes)``.
    """
    if len(table) == 0:
        raise WorkloadError(
            f"{where}: no rows; a split that is empty can be neither trained on nor tested"
        )
    for knob, column in (("image_column", image_column), ("label_column", label_column)):
        if column not in table.column_names:
            raise WorkloadError(
                f"{where}: no column {column!r} (there are {', '.join(table.column_names)}); "
                f"workload.{knob} names the right one"
            )
    column = table.data.column(label_column)
    if not pa.types.is_integer(column.type) or column.null_count:
        raise WorkloadError(
            f"{where}: column {label_column!r} holds {column.type}, {column.null_count} of them "
            f"missing; workload.label_column names one of integers, none missing"
        )
    labels = column.to_numpy()
    if labels.min() < 0 or labels.max() >= classes:
        raise WorkloadError(
            f"{where}: labels run from {labels.min()} to {labels.max()}, "
            f"workload.classes={classes} needs 0 to {classes - 1}"
        )
    if not isinstance(table.features[image_column], datasets.Image):
        table = table.cast_column(image_column, datasets.Image())
    return table


def decode(table: datasets.Dataset, column: str, index: int) -> Tensor:
    """Return one image as uint8, shape ``(3, height, width)``.

    Raises:
        WorkloadError: The file is not an image; the message names its row and, if known, its path.
    """
    try:
        array = np.asarray(table[index][column].convert("RGB"))
    except (AttributeError, OSError, SyntaxError, ValueError) as err:  # None where there is none
        raw = table.cast_column(column, datasets.Image(decode=False))[index][column] or {}
        raise WorkloadError(
            f"image {index} ({raw.get('path') or 'no path'}) cannot be decoded: {err}. Mend or "
            f"remove it in data.root"
        ) from err
    return torch.from_numpy(array.transpose(2, 0, 1).copy())


@lru_cache(maxsize=1)
def decode_all(table: datasets.Dataset, column: str, size: int) -> Tensor:
    """Return every image as uint8, shape ``(n, 3, size, size)``.

    Raises:
        WorkloadError: An image that cannot be decoded or has another size.
    """
    pixels = torch.empty((len(table), 3, size, size), dtype=torch.uint8)
    for index in range(len(table)):
        image = decode(table, column, index)
        if image.shape != pixels.shape[1:]:
            raise WorkloadError(
                f"image {index} has {image.shape[1]}x{image.shape[2]} pixels, "
                f"workload.image_size={size}: set workload.in_memory=false and "
                f"workload.augment=resized_crop to resize and crop"
            )
        pixels[index] = image
    return pixels


@dataclass(frozen=True)
class Normalise:
    """Bytes to floats of zero mean and unit variance, channel by channel."""

    mean: Sequence[float]
    std: Sequence[float]

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return ``(pixels / 255 - mean) / std`` for a batch of bytes."""
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return (pixels.float() / 255 - mean) / std


@dataclass(frozen=True)
class MemoryImages:
    """Small images, decoded once and augmented a batch at a time.

    Attributes:
        pixels: uint8, ``(n, 3, size, size)``.
        labels: int64, ``(n,)``.
        normalise: Bytes to floats.
        augment: What training does to a batch; draws from torch's global generator.
    """

    pixels: Tensor
    labels: Tensor
    normalise: Normalise
    augment: Augment

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return ``pixel_values`` (float32) and ``labels``."""
        rows = torch.as_tensor(indices)
        pixels = self.pixels[rows]
        if self.augment in ("shift", "shift_flip"):
            pixels = shift(pixels)
        if self.augment == "shift_flip":
            mirrored = torch.rand(len(pixels)) < 0.5
            pixels[mirrored] = pixels[mirrored].flip(-1)
        return {"pixel_values": self.normalise(pixels), "labels": self.labels[rows]}


def shift(pixels: Tensor) -> Tensor:
    """Return each image moved by up to an eighth of its side, black where nothing was.

    Source: He et al. (2016), arXiv:1512.03385, section 4.2: 4 pixels of padding at 32x32.
    """
    count, channels, size, _ = pixels.shape
    padding = size // 8
    padded = F.pad(pixels, [padding] * 4)
    top, left = torch.randint(0, 2 * padding + 1, (2, count, 1, 1, 1))
    span = torch.arange(size)
    rows = (top + span.view(1, 1, -1, 1)).expand(count, channels, size, padded.shape[-1])
    columns = (left + span.view(1, 1, 1, -1)).expand(count, channels, size, size)
    return padded.gather(2, rows).gather(3, columns)


def transform(augment: Augment, size: int, resize: int | None) -> Callable[[Tensor], Tensor]:
    """Return the transform of one image for training (``resized_crop``) or testing.

    Source: torchvision's ImageNet reference, ``RandomResizedCrop(scale=(0.08, 1))`` and mirror for
    training, resize and centre crop for testing; bilinear, antialiased.
    """
    if augment == "resized_crop":
        return v2.Compose([v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip()])
    steps: list[Any] = [] if resize is None else [v2.Resize(resize, antialias=True)]
    return v2.Compose([*steps, v2.CenterCrop(size)])


@dataclass(frozen=True)
class FileImages:
    """Images decoded and transformed as they are fetched.

    Attributes:
        table: Rows with an image column.
        column: Its name.
        labels: int64, ``(n,)``.
        normalise: Bytes to floats.
        transform: From one uint8 image of any size to one of the model's.
    """

    table: datasets.Dataset
    column: str
    labels: Tensor
    normalise: Normalise
    transform: Callable[[Tensor], Tensor]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return ``pixel_values`` (float32) and ``labels``."""
        pixels = torch.stack(
            [self.transform(decode(self.table, self.column, int(i))) for i in indices]
        )
        return {
            "pixel_values": self.normalise(pixels),
            "labels": self.labels[torch.as_tensor(indices)],
        }
