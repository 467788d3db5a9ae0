"""Killed at any point, by many, with a full disk: nothing lost, nothing torn, nothing twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pandas as pd
import psutil
import pytest
from runs import QUICK, ROOT, arguments, records

from bench import artefacts

TINY = ("-m", *QUICK, "protocol.latency_requests=0")
MODELS_MB = 64
"""What both models of a pair and their checkpoints take, with room to spare."""


class Swarm:
    """Processes that work through one sweep into one folder, and are killed at random.

    Args:
        folder: Where they write.
        words: The sweep.
        processes: How many at once.
        seed: Of who is killed when.
    """

    def __init__(self, folder: Path, words: tuple[str, ...], processes: int, seed: int) -> None:
        self.folder, self.words, self.wanted = folder, words, processes
        self.draw = random.Random(seed)
        self.running: list[subprocess.Popen[bytes]] = []
        self.said = (folder / "said").open("ab")
        self.kills = 0

    def fill_up(self) -> None:
        """Start as many as are missing."""
        self.running = [process for process in self.running if process.poll() is None]
        while len(self.running) < self.wanted:
            command = arguments(self.folder, *self.words)
            self.running.append(
                subprocess.Popen(command, cwd=ROOT, stdout=self.said, stderr=self.said)
            )

    def kill_one(self) -> None:
        """Kill -9 one of them, or a process that works for one."""
        with contextlib.suppress(psutil.NoSuchProcess):
            chosen = psutil.Process(self.draw.choice(self.running).pid)
            self.draw.choice([chosen, *chosen.children(recursive=True)]).kill()
            self.kills += 1

    def finish(self, patience_s: float) -> None:
        """Let those that are left come to their end, and run the sweep once more to the end."""
        end_s = time.monotonic() + patience_s
        for process in self.running:
            process.wait(max(1.0, end_s - time.monotonic()))
        last = subprocess.run(
            arguments(self.folder, *self.words), cwd=ROOT, stdout=self.said, stderr=self.said
        )
        assert last.returncode == 0, self.told()[-3000:]

    def told(self) -> str:
        self.said.flush()
        return (self.folder / "said").read_text(errors="replace")

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
        self.said.close()


@contextlib.contextmanager
def swarm(folder: Path, words: tuple[str, ...], processes: int) -> Iterator[Swarm]:
    made = Swarm(folder, words, processes, seed=7)
    try:
        yield made
    finally:
        made.end()


def check_whole(folder: Path, pairs: int) -> None:
    """All records are there, each complete and once; every model is what its maker saved."""
    found = records(folder)
    assert len(found) == pairs
    assert len({path.parent.name for path in found}) == pairs
    for path in found:
        record = json.loads(path.read_text())
        for name, digest in record["files"].items():
            assert hashlib.sha256((path.parent / name).read_bytes()).hexdigest() == digest
        assert not (path.parent / "failure.json").exists()
    for card in (folder / "results" / ".artefacts").glob(f"*/{artefacts.CARD}"):
        assert artefacts.damage(card.parent) is None
    left = [p for p in (folder / "results" / "testhost").rglob(".*.writing-*")]
    assert left == []
    assert not list((folder / "results").rglob("record.json.broken-*"))


def sessions(folder: Path) -> list[tuple[int, int]]:
    """Begin and end of each session's windows on the host's monotonic clock, in order."""
    spans = []
    for path in records(folder):
        trace = pd.read_parquet(path.parent / "windows.parquet")
        spans.append((int(trace["start_ns"].min()), int(trace["end_ns"].max())))
    return sorted(spans)


def check_apart(folder: Path) -> None:
    """No session begins before the one before it has ended."""
    found = sessions(folder)
    assert all(end < begin for (_, end), (begin, _) in pairwise(found))


@pytest.mark.slow
def test_a_few_pairs_survive_a_few_kills(tmp_path: Path) -> None:
    words = (*TINY, "seed=0,1", "technique=none,bf16")
    with swarm(tmp_path, words, processes=2) as workers:
        for _ in range(4):
            workers.fill_up()
            time.sleep(workers.draw.uniform(5, 20))
            workers.kill_one()
        workers.fill_up()
        workers.finish(patience_s=600)
        assert "already holds a record" not in workers.told()
    check_whole(tmp_path, pairs=4)
    check_apart(tmp_path)


@pytest.mark.slow
def test_forty_pairs_survive_eight_processes_that_are_killed_at_random(tmp_path: Path) -> None:
    words = (*TINY, "seed=range(20)", "technique=none,bf16")
    with swarm(tmp_path, words, processes=8) as workers:
        while len(records(tmp_path)) < 40:
            workers.fill_up()
            time.sleep(workers.draw.uniform(2, 15))
            workers.kill_one()
        workers.finish(patience_s=3600)
        assert "already holds a record" not in workers.told()
        print(f"{workers.kills} kills")
    check_whole(tmp_path, pairs=40)
    check_apart(tmp_path)


@pytest.fixture
def disk_of(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many megabytes."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size_mb: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(place)]
        if subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("this user may not mount a small disk to fill")
        return place

    yield mount
    subprocess.run(["umount", "-l", str(place)], capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "processes"), [(2, 2), (20, 8)])
def test_a_disk_that_is_full_in_the_middle_costs_nothing_that_was_whole(
    disk_of: Callable[[int], Path], seeds: int, processes: int
) -> None:
    small_disk = disk_of(2 * seeds * MODELS_MB)
    words = (*TINY, f"seed=range({seeds})", "technique=none,bf16", "store.min_free_bytes=0")
    with swarm(small_disk, words, processes) as workers:
        workers.fill_up()
        while len(records(small_disk)) < seeds:
            workers.fill_up()
            time.sleep(1)
        before = {path: path.read_bytes() for path in records(small_disk)}
        with contextlib.suppress(OSError), (small_disk / "filler").open("wb") as filler:
            while True:
                filler.write(b"\0" * 2**16)
        for process in workers.running:
            process.wait(900)  # they fail, and say so; or were done
        (small_disk / "filler").unlink()
        assert {path: path.read_bytes() for path in before} == before
        workers.fill_up()
        workers.finish(patience_s=3600)
    check_whole(small_disk, pairs=2 * seeds)


@pytest.mark.slow
def test_two_measurements_that_start_together_never_overlap(tmp_path: Path) -> None:
    """By the clock of their windows, CLOCK_MONOTONIC, which is one for a host."""
    blocks = ("protocol.min_blocks=10", "protocol.max_blocks=10")
    both = [
        subprocess.Popen(
            arguments(tmp_path, "technique=bf16", f"seed={seed}", *QUICK, *blocks),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for seed in (0, 1)
    ]
    for process in both:
        _, said = process.communicate(timeout=600)
        assert process.returncode == 0, said[-3000:]
    assert len(sessions(tmp_path)) == 2
    check_apart(tmp_path)
