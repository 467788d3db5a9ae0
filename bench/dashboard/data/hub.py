"""Data sets of the Hugging Face hub that the configs name, as far as this user's cache has them.

Nothing is fetched. What a record names is never looked for: only what our own configs do.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.dashboard.data.folder import Folder
from bench.dashboard.data.sheets import Column, Sheet
from bench.folders import conf_folder

_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Named:
    """A data set of the hub.

    Attributes:
        id: On the hub.
        workloads: Configs that name it.
        folder: Its folder in the cache; ``None`` where it was never loaded.
    """

    id: str
    workloads: tuple[str, ...]
    folder: Folder | None


def named() -> list[Named]:
    """Return what the configs of workloads name, by id."""
    base = cache()
    found = []
    for name, workloads in sorted(_ids().items()):
        place = base / f"datasets--{name.replace('/', '--')}"
        found.append(Named(name, workloads, Folder.of(place) if place.is_dir() else None))
    return found


def sheet() -> Sheet:
    """Return the same as a table."""
    rows = [
        {
            "data_set": one.id,
            "workloads": ", ".join(one.workloads),
            "here": one.folder is not None,
        }
        for one in named()
    ]
    return Sheet("hub", COLUMNS, rows)


def cache() -> Path:
    """Return the folder in which the hub's library keeps what it has loaded.

    As huggingface_hub has it (``constants.py``: HF_HUB_CACHE, else HF_HOME, else XDG_CACHE_HOME).
    """
    if chosen := os.environ.get("HF_HUB_CACHE"):
        return Path(os.path.expandvars(chosen)).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or str(Path(caches, "huggingface"))
    return Path(os.path.expandvars(home)).expanduser() / "hub"


@functools.cache
def _ids() -> Mapping[str, tuple[str, ...]]:
    """Return ids with the configs that name them."""
    found: dict[str, list[str]] = {}
    for path in sorted((conf_folder() / "workload").glob("*.yaml")):
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        name = config.get("workload", {}).get("dataset")
        if isinstance(name, str) and _ID.fullmatch(name):
            found.setdefault(name, []).append(path.stem)
    return {name: tuple(workloads) for name, workloads in found.items()}


COLUMNS = (
    Column("data_set", "data_set", words=True),
    Column("workloads", "workload", words=True),
    Column("here", "here", lambda value: "✓" if value else "✗", words=True),
)
