"""RAPL zones of packages, each counter once: some kernels show one counter in several places."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_DIE = re.compile(r"package-(\d+)-die-\d+")

SAME_UJ = 1e6
"""Microjoules by which two readings of one counter lie apart at most, when they are taken one after
the other; counters of two dies have run apart since the machine was started."""


def by_counter(zones: Sequence[tuple[str, Path]]) -> list[list[Path]]:
    """Return the folders of packages, those that show one counter together.

    A zone may stand there twice under one name. And AMD's processors of several dies count a
    socket as a whole, which the kernel shows for each die (issues 1274 and 1379 of CodeCarbon); the
    dies of Intel's count for themselves.

    Args:
        zones: Name and folder of each, in order.
    """
    found: list[tuple[str, list[Path]]] = []
    for name, folder in zones:
        for other, folders in found:
            if name == other or (_one_socket(name, other) and _alike(folder, folders[0])):
                folders.append(folder)
                break
        else:
            found.append((name, [folder]))
    return [folders for _, folders in found]


def _one_socket(name: str, other: str) -> bool:
    dies = [_DIE.fullmatch(word) for word in (name, other)]
    numbers = {die[1] for die in dies if die is not None}
    return None not in dies and len(numbers) == 1


def _alike(folder: Path, other: Path) -> bool:
    try:
        one, two = (int((place / "energy_uj").read_text()) for place in (folder, other))
    except (OSError, ValueError):
        return False
    return abs(one - two) < SAME_UJ
