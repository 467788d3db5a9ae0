"""Rows of texts by split: from the hub, from a folder laid out like it, or from a user's file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.workloads import WorkloadError, files, hub
from bench.workloads.causal_lm.cleaning import cleaned
from bench.workloads.files import Row

NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
"""Splits, and what they are called in files and on the hub."""

STRETCHES = 100
"""Pieces into which one long text is cut before it is split: lines that follow each other stay
together, and no split holds nothing but the end."""

_UNSPLIT = "all"


def require_shares(splits: Mapping[str, float]) -> None:
    """Refuse shares of the splits that are none.

    Raises:
        ValueError: Naming the key.
    """
    given = f"workload.splits is {dict(splits)}"
    if set(splits) != {*NAMES, "seed"}:
        raise ValueError(f"{given}: shares of {', '.join(NAMES)} and a seed are due")
    shares = [splits[name] for name in NAMES]
    if not math.isclose(sum(shares), 1) or min(shares) < 0:
        raise ValueError(f"{given}: shares are fractions that add up to 1")
    if not (splits["train"] and splits["test"]):
        raise ValueError(f"{given}: nothing to train or to test on")
    if splits["seed"] != int(splits["seed"]):
        raise ValueError(f"{given}: the seed is a whole number")


@dataclass(frozen=True)
class Source:
    """Which rows are wanted.

    Attributes:
        dataset: Hub id, used when there is no ``root``.
        subset: Its configuration, and a folder inside ``root``.
        root: Local folder or file.
        columns: Texts of a row.
        optional: Those of them that may be missing.
        ratios: Shares of ``train``, ``validation`` and ``test`` where the data have one split.
        seed: Of that split: the same for all seeds of a pair, which are tested on equal rows.
        cleaning: Steps of ``cleaning``.
    """

    dataset: str
    subset: str | None
    root: str | None
    columns: tuple[str, ...]
    optional: tuple[str, ...]
    ratios: Mapping[str, float]
    seed: int
    cleaning: Sequence[str]


@dataclass(frozen=True)
class Rows:
    """What is there.

    Attributes:
        splits: Rows by ``train``, ``test`` and perhaps ``validation``.
        lines: Whether they are lines of one text, which follow each other.
        origin: Source, split and cleaning, for the record.
    """

    splits: Mapping[str, Sequence[Row]]
    lines: bool
    origin: Mapping[str, Any]


def prepare(source: Source) -> Rows:
    """Return the rows that are wanted, cleaned and split.

    Raises:
        WorkloadError: They cannot be found, read or split.
    """
    found, named = (_of_hub if source.root is None else _of_files)(source)
    lines = all(name.lower().endswith(".txt") for name in named) and source.root is not None
    required = [i for i, column in enumerate(source.columns) if column not in source.optional]
    tables, effects = cleaned(found, source.cleaning, required)
    origin = {
        "source": ", ".join(named),
        "rows_found": {name: len(table) for name, table in found.items()},
        "cleaning": effects,
        "split": "as given",
    }
    if _UNSPLIT in tables:
        tables = drawn(tables[_UNSPLIT], source, lines)
        origin["split"] = {**source.ratios, "seed": source.seed}
    for name, table in tables.items():
        if not table:
            raise WorkloadError(f"{origin['source']}: no rows are left in the {name} split")
    return Rows(tables, lines, origin)


def drawn(rows: Sequence[Row], source: Source, lines: bool) -> dict[str, list[Row]]:
    """Return rows split at random by ratio; within a split they keep their order.

    Args:
        rows: All of them.
        source: Ratios and seed.
        lines: Whether rows are lines of one text: then stretches of it are drawn.
    """
    units = min(len(rows), STRETCHES) if lines else len(rows)
    generator = torch.Generator().manual_seed(source.seed)
    order = torch.randperm(units, generator=generator).tolist()
    tested, kept = (round(source.ratios[name] * units) for name in ("test", "validation"))
    parts = {
        "train": order[tested + kept :],
        "validation": order[tested : tested + kept],
        "test": order[:tested],
    }
    if not parts["validation"]:
        del parts["validation"]
    bounds = [unit * len(rows) // units for unit in range(units + 1)] if units else []
    return {
        name: [row for unit in sorted(part) for row in rows[bounds[unit] : bounds[unit + 1]]]
        for name, part in parts.items()
    }


def texts_sha256(rows: Sequence[Row]) -> str:
    """Return a digest of all texts, in their order."""
    whole = hashlib.sha256()
    for row in rows:
        whole.update("\x1f".join(row).encode() + b"\x1e")
    return whole.hexdigest()


def _of_hub(source: Source) -> tuple[dict[str, list[Row]], list[str]]:
    where = f"workload.dataset={source.dataset}"
    more = "; workload.subset names one of several configurations"
    loaded = hub.load(source.dataset, source.subset, more=more)
    splits = {name: [name] for name in loaded}
    found = {
        name: files.from_table(
            loaded[first].with_format("arrow")[:],
            source.columns,
            source.optional,
            f"{where} ({first})",
        )
        for name, (first,) in _as_ours(splits, where).items()
    }
    return found, [source.dataset]


def _of_files(source: Source) -> tuple[dict[str, list[Row]], list[str]]:
    assert source.root is not None
    root, where = Path(source.root).expanduser(), f"data.root={source.root}"
    if root.is_file():
        chosen = {_UNSPLIT: [root]}
    elif root.is_dir():
        chosen = _as_ours(_split_files(root, source.subset, where), where)
    else:
        raise WorkloadError(f"{where}: there is no such folder or file")
    found = {
        name: [row for file in part for row in files.read(file, source.columns, source.optional)]
        for name, part in chosen.items()
    }
    return found, [file.name for part in chosen.values() for file in part]


def _split_files(root: Path, subset: str | None, where: str) -> dict[str, list[Path]]:
    """Return the files of each split, or the only file there is."""
    places = [root / name for name in (subset, "data") if name is not None]
    for place in (*(place for place in places if place.is_dir()), root):
        by_split = {name: found for name in NAMES if (found := _of_split(place, name))}
        if by_split:
            return by_split
    there = [
        file
        for file in sorted(root.iterdir())
        if file.is_file() and file.suffix.removeprefix(".").lower() in files.KINDS
    ]
    if len(there) != 1:
        raise WorkloadError(
            f"{where}: neither train.parquet (nor shards train-*.parquet, nor "
            f"{', '.join(f'.{kind}' for kind in files.KINDS[1:])}) nor one single file, but "
            f"{', '.join(file.name for file in there) or 'nothing of these kinds'}; data.root can "
            f"also name a file"
        )
    return {_UNSPLIT: there}


def _of_split(place: Path, split: str) -> list[Path]:
    for name in NAMES[split]:
        for kind in files.KINDS:
            found = sorted((*place.glob(f"{name}.{kind}"), *place.glob(f"{name}-*.{kind}")))
            if found:
                return found
    return []


def _as_ours(found: Mapping[str, list[Any]], where: str) -> dict[str, list[Any]]:
    """Return splits by our names: one alone is yet to be split, and something is held out."""
    if len(found) == 1:
        return {_UNSPLIT: next(iter(found.values()))}
    ours = {split: found[name] for split, names in NAMES.items() for name in names if name in found}
    if "train" not in ours or len(ours) < 2:
        raise WorkloadError(
            f"{where} has the splits {', '.join(found)}: train and one of validation and test are "
            f"due, or one alone"
        )
    if "test" not in ours:
        ours["test"] = ours.pop("validation")
    return ours
