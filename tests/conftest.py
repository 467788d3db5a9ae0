"""What several test files need of their surroundings."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from bench import locks

if "PYTEST_XDIST_WORKER" in os.environ:
    # Two processes with as many threads as cores each wait for each other most of the time.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Take back what a command has told its children by the environment, such as ``-q``."""
    with patch.dict(os.environ):
        yield


@pytest.fixture
def own_lock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder for the host's lock, like /tmp: who measures here meanwhile is not seen."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o1777)
        monkeypatch.setattr(locks, "SHARED_FOLDERS", (folder,))
        yield folder


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """Give up root's rights, to which no folder is read-only, and give a folder to try in."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    yield folder
    if was_root:
        os.seteuid(0)
    folder.chmod(0o777)
    shutil.rmtree(folder)
