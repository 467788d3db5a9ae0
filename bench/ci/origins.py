"""Whose code a process has: of its own commit, of the other one, or of what is installed."""

from __future__ import annotations

import sys
from collections.abc import Set
from pathlib import Path

_ANYONES = ("bench", "joulebench_pytest", "conftest", "__main__", "__mp_main__")
"""Modules that may come from anywhere: ourselves, and what is named after no project."""

_INSTALLED = ("site-packages", "dist-packages")


def within(path: Path, top: Path) -> bool:
    """Return whether a resolved path is of a checkout, and not of an environment inside of it."""
    environments = (Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve())
    return (
        path.is_relative_to(top)
        and not set(_INSTALLED) & set(path.parts)
        and not any(path.is_relative_to(environment) for environment in environments)
    )


def strangers(tree: Path, other: Path, changed: Set[str]) -> list[str]:
    """Return loaded modules that would be measured against themselves.

    An import hook of an editable install leads every process to one checkout, whatever folder it
    runs in. And what is installed for good, but is of this project, both sides take from there.

    Args:
        tree: The commit's own folder.
        other: That of the other commit.
        changed: Files that differ between both, relative to their folders.
    """
    files = {
        f"{name} ({file})": Path(file).resolve()
        for name, module in list(sys.modules.items())
        if isinstance(file := getattr(module, "__file__", None), str)
        and name.partition(".")[0] not in _ANYONES
    }
    return sorted(
        name
        for name, path in files.items()
        if (within(path, other) and not within(path, tree)) or _copied(path, changed)
    )


def _copied(path: Path, changed: Set[str]) -> bool:
    """Return whether a module is the installed copy of a file that has changed: of its last parts.

    A file at the top of the checkout has no folder that would tell it from any other of its name.
    """
    place = next((n for n, part in enumerate(path.parts) if part in _INSTALLED), None)
    inside = "" if place is None else "/".join(path.parts[place + 1 :])
    if "/" not in inside:
        return False
    return any(name == inside or name.endswith(f"/{inside}") for name in changed)
