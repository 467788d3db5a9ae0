"""The command as a user types it, for tests that run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
QUICK = ("protocol=rehearsal", "training.max_steps=3", "training.batch_size=16")


def arguments(folder: Path, *words: str) -> list[str]:
    """Return the command that writes into a folder."""
    places = (f"store.root={folder}/results", f"paper.root={folder}/paper", "store.host=testhost")
    return [sys.executable, "-m", "bench", *words, *places]


def bench(folder: Path, *words: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        arguments(folder, *words), capture_output=True, text=True, cwd=ROOT, timeout=timeout_s
    )


def records(folder: Path) -> list[Path]:
    """Return the records that it has written."""
    return sorted((folder / "results").glob("testhost/*/*/*/record.json"))
