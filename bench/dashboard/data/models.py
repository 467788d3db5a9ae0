"""The trained models that lie in the results: what each is, what it took, and its files."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.dashboard.data.folder import BrokenError, Folder, number, words
from bench.dashboard.data.sheets import Column, Sheet, clock
from bench.dashboard.data.watching import Snapshot
from bench.flat import GRADES
from bench.records import Record
from bench.reporting.cells import amount
from bench.reporting.scales import scale

ARTEFACTS = ".artefacts"
WEIGHTS = "model.safetensors"
_NAME = re.compile(r"[0-9a-f]{16}")
_CHARACTERS = 16
_MADE = {"baseline": "train", "variant": "optimise"}


def sheet(snapshot: Snapshot, folder: Folder) -> Sheet:
    """Return all models that are there, the newest first."""
    there = sorted(_there(folder), key=lambda one: -one[2])
    known = _known(snapshot.pairs, [name for name, _, _ in there])
    found = [
        {**known.get(name, {}), "digest": name, "bytes": size, "made": clock(made_s)}
        for name, size, made_s in there
    ]
    return Sheet("models", COLUMNS, found)


def weights(folder: Folder, name: str) -> Path:
    """Return the weights of a model, inside the folder of the results.

    Raises:
        BrokenError: There is no such model in it.
    """
    if not _NAME.fullmatch(name):
        raise BrokenError(f"{words(name)}: no model")
    relative = f"{ARTEFACTS}/{name}/{WEIGHTS}"
    folder.size(relative, most_bytes=2**62)
    return folder.path(relative)


def record_of(folder: Folder, snapshot: Snapshot, name: str) -> tuple[Record, str]:
    """Return the newest record whose variant a model is, and the record's folder.

    Raises:
        BrokenError: No record has it, or it cannot be read.
    """
    pairs = snapshot.pairs
    ours = pairs["variant_digest"].str.startswith(name).to_numpy(bool, na_value=False)
    if not _NAME.fullmatch(name) or not ours.any():
        raise BrokenError(f"{words(name)}: the variant of no record")
    place = str(pairs["folder"][ours].iloc[0])
    return folder.record(place), place


def _there(folder: Folder) -> Iterator[tuple[str, int, float]]:
    """Yield name, bytes and time of making of every model."""
    for name in filter(_NAME.fullmatch, folder.names(ARTEFACTS)):
        try:
            status = os.lstat(folder.root / ARTEFACTS / name / WEIGHTS)
        except OSError:
            continue  # being made, or something else
        if stat.S_ISREG(status.st_mode):
            yield name, status.st_size, status.st_mtime


def _known(pairs: pd.DataFrame, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what records say of these models, the newest record's word."""
    found: dict[str, dict[str, Any]] = {}
    for arm, cost in _MADE.items():  # an A/A pair's variant is a baseline
        costs = [f"{cost}_wall_s", *(f"{cost}_energy_{g.lower()}_j" for g in GRADES)]
        of_arm = [f"{arm}_digest", f"quality_{arm}", f"{arm}_parameters"]
        needed = pairs[["folder", "workload", "label", "metric", *of_arm, *costs]]
        starts = pairs[f"{arm}_digest"].str[:_CHARACTERS]
        ours = needed[starts.isin(names).to_numpy(bool)].drop_duplicates(f"{arm}_digest")
        for pair in ours.to_dict("records"):
            name = str(pair[f"{arm}_digest"])[:_CHARACTERS]
            found.setdefault(name, _of(pair, arm, cost))
    return found


def _of(pair: Mapping[Any, Any], arm: str, cost: str) -> dict[str, Any]:
    quality, of_metric = number(pair[f"quality_{arm}"]), scale(str(pair["metric"]))
    shown = None if quality is None else f"{of_metric.value(quality)} {of_metric.unit}"
    joules = {g: number(pair[f"{cost}_energy_{g.lower()}_j"]) for g in GRADES}
    grade = next((g for g, energy_j in joules.items() if energy_j is not None), None)
    energy_j = None if grade is None else joules[grade]
    return {
        "type": arm,
        "workload": words(pair["workload"]),
        "technique": words(pair["label"]) if arm == "variant" else "-",
        "parameters": number(pair[f"{arm}_parameters"]),
        "metric": words(pair["metric"]),
        "quality": quality,
        "quality_shown": shown,
        "energy_j": energy_j,
        "grade": grade,
        "energy_shown": None if energy_j is None else f"{amount(energy_j, 'J')} ({grade})",
        "making_s": number(pair[f"{cost}_wall_s"]),
        "folder": str(pair["folder"]),
    }


def _bytes(value: float) -> str:
    return amount(value, "B")


def _seconds(value: float) -> str:
    return f"{value:,.0f} s"


COLUMNS = (
    Column("digest", "digest", words=True),
    Column("type", "type", words=True, said=True),
    Column("workload", "workload", words=True),
    Column("technique", "technique", words=True, link="pair"),
    Column("bytes", "size", _bytes),
    Column("parameters", "parameters", amount),
    Column("made", "made", words=True),
    Column("metric", "metric", words=True),
    Column("quality", "quality", text="quality_shown"),
    Column("energy_j", "energy", text="energy_shown"),
    Column("grade", "grade", words=True, page=False),
    Column("making_s", "seconds", _seconds),
)
