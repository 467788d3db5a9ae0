"""Checkpoints of a training that may be killed at any point, and what it had cost until then.

    <place>/checkpoint-120/...      weights, optimiser, schedule, generators: transformers' own
    <place>/spent-1.json            what the first process spent, up to its last point of the log

A checkpoint is whole when its last file is there. What was spent between the last logged point
and the kill is not known to anybody.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from bench import codec
from bench.readings import Logged, Phase
from bench.whole import write_beside

_LAST_FILE = "trainer_state.json"


@dataclass(frozen=True)
class Spent:
    """What one process spent on a training that it did not finish.

    Attributes:
        phase: Seconds, CPU-seconds, joules, and the examples it saw.
        points: What it logged.
        host: Name of its machine; ``None`` of files that do not tell.
    """

    phase: Phase
    points: tuple[Logged, ...]
    host: str | None = None


def latest(place: Path) -> Path | None:
    """Return the newest checkpoint that is whole, if there is one."""
    whole = [path for path in place.glob("checkpoint-*") if (path / _LAST_FILE).is_file()]
    return max(whole, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """Return the optimiser steps that a checkpoint has behind it."""
    found = re.fullmatch(r"checkpoint-(\d+)", checkpoint.name)
    assert found is not None  # it was globbed by this name
    return int(found[1])


def spent_before(place: Path) -> list[Spent]:
    """Return what earlier processes spent, in their order."""
    files = sorted(place.glob("spent-*.json"), key=lambda path: int(path.stem.partition("-")[2]))
    return [codec.decode(Spent, json.loads(path.read_text())) for path in files]


def next_file(place: Path) -> Path:
    """Return where this process notes what it spends."""
    return place / f"spent-{len(list(place.glob('spent-*.json'))) + 1}.json"


def note(spent: Spent, file: Path) -> None:
    """Write what is spent so far, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_beside(codec.encode(spent), file)
