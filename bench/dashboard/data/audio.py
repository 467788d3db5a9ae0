"""What a pair's arms sound like: WAV files that their evaluations have left beside the models."""

from __future__ import annotations

import os
import re
from pathlib import Path

from bench.dashboard.data.folder import BrokenError, Folder, shown, words
from bench.dashboard.data.models import ARTEFACTS
from bench.records import Arm

MOST = 20
"""Texts that a page offers; each is a player for each arm."""

_EXHIBITS = re.compile(r"[0-9a-f]{16}/evaluation-[0-9a-f]{12}")
_NAME = re.compile(r"[0-9]{6}")
_WAV = re.compile(r"[0-9]{6}\.wav")
_TEXT_BYTES = 16_000
_MOST_TEXT = 400
_JOINER = "\N{ZERO WIDTH NON-JOINER}"


def takes(folder: Folder, arm: Arm) -> tuple[str, ...]:
    """Return the names of what can be heard of an arm, in the order of its test examples.

    Args:
        folder: The results.
        arm: Whose; its record may name anything, and only what an evaluation leaves is looked at.
    """
    if arm.exhibits is None or not _EXHIBITS.fullmatch(arm.exhibits):
        return ()
    try:
        with os.scandir(_plain(folder, arm.exhibits)) as entries:
            files = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except (OSError, BrokenError):
        return ()  # the models are elsewhere, or were removed
    return tuple(sorted(name.removesuffix(".wav") for name in files if _WAV.fullmatch(name)))


def wav(folder: Folder, exhibits: str, name: str) -> Path:
    """Return the audio of one test example.

    Args:
        folder: The results.
        exhibits: Of an arm, as in its record.
        name: One of ``takes``.

    Raises:
        BrokenError: There is none of this name, or a link leads to it.
    """
    if not _EXHIBITS.fullmatch(exhibits) or not _NAME.fullmatch(name):
        raise BrokenError(f"{words(exhibits)}/{words(name)}: no audio")
    folder.size(f"{ARTEFACTS}/{exhibits}/{name}.wav", most_bytes=2**62)
    return _plain(folder, f"{exhibits}/{name}.wav")


def said(folder: Folder, arm: Arm, name: str) -> str:
    """Return the text that is heard, its start on one line; nothing where it is not known."""
    relative = f"{arm.exhibits}/{name}.txt"
    try:
        _plain(folder, relative)
        text = folder.text(f"{ARTEFACTS}/{relative}", _TEXT_BYTES)
    except BrokenError:
        return ""
    # A sign without width, which is no sign to be printed, and keeps letters of a word apart.
    return _JOINER.join(words(part) for part in text[:_MOST_TEXT].split(_JOINER))


def _plain(folder: Folder, relative: str) -> Path:
    """Return where something below the models lies.

    Raises:
        BrokenError: A link leads to it.
    """
    path = folder.path(f"{ARTEFACTS}/{relative}")
    if path != folder.root / ARTEFACTS / relative:
        raise BrokenError(f"{shown(relative)}: behind a link")
    return path
