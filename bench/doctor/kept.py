"""The last findings on this host, kept for the records measured on it."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from bench import machine

_FOR_RECORDS = (
    "created",
    "quick",
    "channels",
    "checks",
    "shortest_window_s",
    "measured",
    "conclusion",
)
"""What a record keeps: nothing of other people's processes."""


def folder() -> Path:
    """Return the user's cache folder, as the platform has it."""
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "joulebench"
    if platform.system() == "Darwin":
        return Path.home() / "Library" / "Caches" / "joulebench"
    if platform.system() == "Windows" and (chosen := os.environ.get("LOCALAPPDATA")):
        return Path(chosen) / "joulebench"
    return Path.home() / ".cache" / "joulebench"


def file() -> Path:
    """Return where the findings on this host stand."""
    return folder() / f"doctor-{machine.host_name()}.json"


def keep(findings: dict[str, Any]) -> None:
    """Store findings in the place of the last ones."""
    place = file()
    place.parent.mkdir(parents=True, exist_ok=True)
    writing = place.with_suffix(f".{os.getpid()}")
    writing.write_text(json.dumps(findings, indent=1, sort_keys=True) + "\n")
    writing.replace(place)


def last() -> dict[str, Any]:
    """Return ``doctor``, the last findings, or ``None`` with ``doctor_reason``; for a record."""
    try:
        findings = json.loads(file().read_text())
        return {"doctor": {key: findings[key] for key in _FOR_RECORDS}, "doctor_reason": None}
    except FileNotFoundError:
        reason = "python -m bench.doctor has not been run on this host by this user"
    except (OSError, ValueError, KeyError, TypeError) as err:
        reason = f"the last findings cannot be read ({type(err).__name__}): run it again"
    return {"doctor": None, "doctor_reason": reason}
