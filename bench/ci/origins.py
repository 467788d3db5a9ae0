"""Whose code a process has: of its own commit, of the other one, or of what is installed."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Set
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

_ANYONES = ("bench", "joulebench_pytest", "conftest", "__main__", "__mp_main__")
"""Modules that may come from anywhere: ourselves, and what is named after no project."""

_INSTALLED = ("site-packages", "dist-packages")

_COMPILED = tuple(EXTENSION_SUFFIXES)


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
    runs in. And what is installed for good, but is of this project, both sides take from there: a
    copy of what has changed, or what was compiled of a project in which something has.

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
    built = {file for top in (tree, other) for file in _built(top, frozenset(changed))}
    return sorted(
        name
        for name, path in files.items()
        if (within(path, other) and not within(path, tree))
        or _copied(path, changed)
        or path in built
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


@functools.cache
def _built(top: Path, changed: frozenset[str]) -> frozenset[Path]:
    """Return installed modules that were compiled in a checkout, of a project that has changed.

    Their sources have other names, so the whole project counts. Source: PEP 610 for what an
    installer notes of where it found a project.
    """
    found: set[Path] = set()
    for distribution in metadata.distributions() if changed else ():
        source = _source(distribution)
        if source is None or not source.is_relative_to(top):
            continue
        project = source.relative_to(top) if source.is_dir() else Path()  # a wheel may be of all
        if any(Path(name).is_relative_to(project) for name in changed):
            names = [file for file in distribution.files or () if file.name.endswith(_COMPILED)]
            found |= {Path(str(distribution.locate_file(name))).resolve() for name in names}
    return frozenset(found)


def _source(distribution: metadata.Distribution) -> Path | None:
    """Return the folder or file on this host that a distribution was installed from."""
    text = distribution.read_text("direct_url.json")
    url = urlsplit(json.loads(text)["url"] if text else "")
    return Path(url2pathname(url.path)).resolve() if url.scheme == "file" else None
