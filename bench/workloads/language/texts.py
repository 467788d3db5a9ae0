"""Labelled texts: where they come from, and how a batch of their tokens is made."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from bench.workloads import Batch, WorkloadError, hub
from bench.workloads.batching import lengths, places

READERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "parquet": ("parquet", {}),
    "csv": ("csv", {"keep_default_na": False}),  # an empty text is a text, and so is "null"
    "tsv": ("csv", {"keep_default_na": False, "sep": "\t"}),
    "jsonl": ("json", {}),
    "json": ("json", {}),
}
"""Ending of a file, and the loader of ``datasets`` that reads it."""

_AT_ONCE = 10_000
"""Texts that are tokenised together: the tokenizer's own lists are large."""


@lru_cache(maxsize=2)
def load(
    dataset: str, subset: str, splits: tuple[str, str], root: str | None
) -> Mapping[str, datasets.Dataset]:
    """Return the tables ``train`` and ``test``, from the hub or from a local folder.

    Args:
        dataset: Hub id, used when there is no folder.
        subset: Its configuration, and the name of the folder inside ``root``.
        splits: What the two are called.
        root: Folder with ``<subset>/<split>.parquet`` (or shards, CSV, TSV, JSON, JSON lines), or
            the folder of the subset itself.

    Raises:
        WorkloadError: The folder is missing or laid out otherwise, or a file cannot be read.
    """
    if root is None:
        return hub.splits_of(dataset, subset, splits)
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise WorkloadError(f"data.root={root} is not a folder: give the one that holds the data")
    folder = folder / subset if (folder / subset).is_dir() else folder
    return {
        name: _read(_files(folder, split, f"data.root={root}"), f"data.root={root}")
        for name, split in zip(("train", "test"), splits, strict=True)
    }


def _files(folder: Path, split: str, where: str) -> list[Path]:
    for ending in READERS:
        found = sorted((*folder.glob(f"{split}.{ending}"), *folder.glob(f"{split}-*.{ending}")))
        if found:
            return found
    raise WorkloadError(
        f"{where}: {folder.name}/ has no {split}.parquet (nor shards {split}-*.parquet, nor "
        f"{', '.join(f'.{ending}' for ending in READERS if ending != 'parquet')})"
    )


def _read(files: Sequence[Path], where: str) -> datasets.Dataset:
    kind, options = READERS[files[0].suffix.removeprefix(".")]
    if kind != "parquet":
        for file in files:
            _require_utf8(file, where)
    names = [glob.escape(str(file)) for file in files]
    try:
        return datasets.load_dataset(kind, data_files=names, split="train", **options)
    except (datasets.exceptions.DatasetsError, ValueError) as err:
        raise WorkloadError(
            f"{where}: {files[0].name} cannot be read as {kind}: {err.__cause__ or err}"
        ) from err


def _require_utf8(file: Path, where: str) -> None:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as err:
                raise WorkloadError(
                    f"{where}: {file.name}, line {number} is not UTF-8 (byte {err.start + 1}: "
                    f"0x{line[err.start]:02x}); convert the file, say with iconv"
                ) from err


def checked(
    table: datasets.Dataset, columns: Sequence[str], classes: int, where: str
) -> datasets.Dataset:
    """Return the table, or say what is wrong with it. An empty text is a text; a missing one isn't.

    Args:
        table: One split.
        columns: Of its texts.
        classes: Labels are integers below this; 0 where they are numbers to be predicted.
        where: What the table is, for messages.

    Raises:
        WorkloadError: No rows, a missing column, a text that is missing or no UTF-8, or a label
            outside its range; the message names the row.
    """
    if len(table) == 0:
        raise WorkloadError(f"{where}: no rows, so nothing to train or test on")
    if missing := [c for c in (*columns, "label") if c not in table.column_names]:
        raise WorkloadError(
            f"{where}: no column {', '.join(missing)} (there are {', '.join(table.column_names)})"
        )
    for column in columns:
        _require_texts(table, column, where)
    labels = table.data.column("label")
    if labels.null_count:
        row = pc.index(pc.is_null(labels), True).as_py()
        raise WorkloadError(f"{where}, row {row}: the label is missing")
    numbers = pa.types.is_integer(labels.type) or pa.types.is_boolean(labels.type)
    if classes and not numbers:
        raise WorkloadError(f"{where}: labels are {labels.type}, integers below {classes} are due")
    if not (numbers or pa.types.is_floating(labels.type)):
        raise WorkloadError(f"{where}: labels are {labels.type}, numbers are due")
    values = labels.to_numpy()
    allowed = (values >= 0) & (values < classes) if classes else np.isfinite(values)
    if not allowed.all():
        row = int(np.argmin(allowed))
        due = f"0 to {classes - 1} are due" if classes else "a number is due"
        raise WorkloadError(f"{where}, row {row}: label {values[row]}, {due}")
    return table


def _require_texts(table: datasets.Dataset, column: str, where: str) -> None:
    found = table.data.column(column)
    if not (pa.types.is_string(found.type) or pa.types.is_large_string(found.type)):
        raise WorkloadError(f"{where}: column {column!r} holds {found.type}, texts are due")
    if found.null_count:
        row = pc.index(pc.is_null(found), True).as_py()
        raise WorkloadError(f"{where}, row {row}: {column!r} is missing; an empty text would do")
    try:
        found.validate(full=True)
    except pa.ArrowInvalid as err:  # invalid UTF-8, which Parquet does not keep out
        row = next(i for i, text in enumerate(found.cast(pa.binary())) if not _is_utf8(text))
        raise WorkloadError(f"{where}, row {row}: {column!r} is not UTF-8") from err


def _is_utf8(text: Any) -> bool:
    try:
        text.as_py().decode()
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True)
class Tokens:
    """Texts as tokens, padded a batch at a time.

    Attributes:
        ids: Tokens of all texts, one after the other: int32, ``(tokens,)``.
        segments: 0 for a first text and 1 for a second: uint8, likewise.
        starts: Where each example begins, and at last the end: int64, ``(examples + 1,)``.
        labels: int64, or float32 for scores: ``(examples,)``.
        order: Rows of the examples in the order in which they are numbered here.
        padding: Token that fills up.
        length: Tokens of every example after padding; ``None`` for those of the longest of a batch.
        bucketing: Whether training batches hold texts of like length.
        with_segments: Whether the model takes ``token_type_ids``.
    """

    ids: Tensor
    segments: Tensor
    starts: Tensor
    labels: Tensor
    order: Tensor
    padding: int
    length: int | None
    bucketing: bool
    with_segments: bool

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.order)

    @property
    def lengths(self) -> Sequence[int] | None:
        """Tokens of each example, or ``None`` where batches are not made by length."""
        if self.length is not None or not self.bucketing:
            return None
        return lengths(self.starts, self.order)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return ``input_ids``, ``attention_mask``, perhaps ``token_type_ids``, and ``labels``."""
        rows = self.order[torch.as_tensor(indices)]
        source, real = places(self.starts, rows, self.length)
        batch = {
            "input_ids": torch.where(real, self.ids[source].long(), self.padding),
            "attention_mask": real.long(),
            "labels": self.labels[rows],
        }
        if self.with_segments:
            batch["token_type_ids"] = torch.where(real, self.segments[source].long(), 0)
        return batch


def tokenised(
    table: datasets.Dataset, columns: Sequence[str], tokenizer: Any, max_length: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``ids``, ``segments`` and ``starts`` of ``Tokens`` for all rows, in their order.

    What is longer than ``max_length`` loses tokens at its end, the longer of two texts first.
    """
    ids, segments, counts = [], [], [np.zeros(1, np.int64)]
    for start in range(0, len(table), _AT_ONCE):
        part = table[start : start + _AT_ONCE]
        found = tokenizer(
            *(part[column] for column in columns),
            truncation="longest_first",
            max_length=max_length,
            return_token_type_ids=True,
            return_attention_mask=False,
        )
        ids += [np.asarray(tokens, np.int32) for tokens in found["input_ids"]]
        segments += [np.asarray(kinds, np.uint8) for kinds in found["token_type_ids"]]
        counts.append(np.asarray([len(tokens) for tokens in found["input_ids"]], np.int64))
    return (
        torch.from_numpy(np.concatenate(ids)),
        torch.from_numpy(np.concatenate(segments)),
        torch.from_numpy(np.cumsum(np.concatenate(counts))),
    )
