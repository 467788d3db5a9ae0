"""Where the package's own files lie."""

from __future__ import annotations

from pathlib import Path


def conf_folder() -> Path:
    """Return the configuration tree: beside the package in a checkout, inside it once installed."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"
