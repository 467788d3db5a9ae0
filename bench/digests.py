"""Names by content: equal configuration, code, data and libraries give equal digests."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_ASKED_FOR = (
    *("workload", "technique", "training", "runtime", "protocol", "meter"),
    *("seed", "session"),
)
_SHAPING_CODE = ("workloads", "techniques", "training", "production.py")
_SHAPING_LIBRARIES = (
    *("torch", "torchao", "torchvision", "torch-pruning"),
    *("transformers", "tokenizers", "accelerate", "peft", "datasets", "numpy"),
    *("scikit-learn", "pillow", "timm", "bitsandbytes"),
)
_OF_MODELS = ("model", "vocabulary", "weights", "student")
"""Knobs of workloads and techniques that may name a file or folder of the user's."""


def digest(parts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a configuration: equal values, equal digest, whatever their order."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def pair_digest(config: Mapping[str, Any], data: str | None) -> str:
    """Return the digest that names a pair's folder: of all that was asked for.

    Args:
        config: The resolved configuration.
        data: ``inputs_digest`` of it.
    """
    asked = {key: config[key] for key in _ASKED_FOR}
    # Where the data lies says nothing about what it is; its digest does.
    asked["workload"] = {k: v for k, v in config["workload"].items() if k != "data_root"}
    if config.get("search") is not None:  # the same models, but another account of their cost
        asked["search"] = Path(config["search"]).name
    return digest(asked | {"data": data})


def code_digest() -> str:
    """Return a digest of the source that shapes a trained model."""
    package = Path(__file__).parent
    digest_of_all = hashlib.sha256()
    for name in _SHAPING_CODE:
        place = package / name
        for source in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest_of_all.update(source.relative_to(package).as_posix().encode())
            digest_of_all.update(source.read_bytes())
    return digest_of_all.hexdigest()


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that shape a trained model, of those installed."""
    found = {}
    for name in _SHAPING_LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def labels_sha256(labels: np.ndarray) -> str:
    """Return a digest of labels: classes as 64-bit integers, scores as 64-bit floats."""
    whole = bool((labels % 1 == 0).all())
    return hashlib.sha256(labels.astype("<i8" if whole else "<f8").tobytes()).hexdigest()


def inputs_digest(
    config: Mapping[str, Any], listed: Callable[[str | None], str | None] | None = None
) -> str | None:
    """Return a digest of what a pair reads of the user's: data, and models that lie in a folder.

    Args:
        config: The resolved configuration.
        listed: ``folder_digest``, or one that remembers.

    Returns:
        That of the data alone where all models come from a hub or a package, whose names say what
        they are; ``None`` where there are no data of the user's either.
    """
    data = (listed or folder_digest)(config["data"]["root"])
    knobs = sorted({value for part in ("workload", "technique") for value in _models(config[part])})
    places = [path for path in (Path(value).expanduser() for value in knobs) if path.exists()]
    if not places:
        return data
    return digest({"data": data, "models": [_content_digest(place) for place in places]})


def _models(knobs: Any) -> Iterator[str]:
    """Yield the values of knobs that may name a model, of a chain's links as well."""
    if isinstance(knobs, Mapping):
        for name, value in knobs.items():
            if isinstance(value, str) and name in _OF_MODELS:
                yield value
            yield from _models(value)
    elif isinstance(knobs, Sequence) and not isinstance(knobs, str):
        for knob in knobs:
            yield from _models(knob)


def _content_digest(place: Path) -> str:
    """Return a digest of a file, or of all files below a folder: weights keep their size."""
    files = [place] if place.is_file() else [p for p in sorted(place.rglob("*")) if p.is_file()]
    top = place.parent if place.is_file() else place
    return digest(
        {
            file.relative_to(top).as_posix(): _file_digest(file, *_version(file.stat()))
            for file in files
        }
    )


def _version(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns


@cache
def _file_digest(file: Path, size: int, modified_ns: int) -> str:
    """Return a digest of a file's content; once a process, for that of weights takes seconds."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def folder_digest(root: str | None) -> str | None:
    """Return a digest of a data file, or of names and sizes of all files below a data folder.

    Names and sizes, not contents: ImageNet is 150 GB. An edit that keeps every size goes unseen,
    which is why the record also keeps a digest of the labels. A single file is read: it is a user's
    own, edited by hand, and may have no labels.

    Returns:
        ``None`` without a place.
    """
    if root is None:
        return None
    top = Path(root).expanduser()
    listing = hashlib.sha256()
    if top.is_file():
        listing.update(f"{top.name}\0".encode(errors="surrogateescape"))
        with top.open("rb") as file:
            listing.update(hashlib.file_digest(file, "sha256").digest())
    # Links are followed: splits of a large set are often links to where there was room.
    for folder, names, files in os.walk(top, followlinks=True):
        names.sort()
        for name in sorted(files):
            path = Path(folder, name)
            size = path.stat().st_size if path.exists() else "nothing behind this link"
            line = f"{path.relative_to(top).as_posix()}\0{size}\n"
            listing.update(line.encode(errors="surrogateescape"))
    return listing.hexdigest()
