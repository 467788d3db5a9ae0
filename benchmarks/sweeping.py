"""What a sweep costs beside the work of its points, against Hydra's own loop over the same points.

    python -m benchmarks.sweeping                    ten pairs of digits, about three minutes
    python -m benchmarks.sweeping seeds=0,1,2,3,4,5

The rival is an application whose job does nothing, with our configuration: what Hydra takes to
compose each point, make its folder and write its files. A point's own work is what it takes from
its begin to its end, as a run by itself would. How much of that the record counts (training,
optimising, evaluating, the measuring session) is printed, too: the rest starts processes, opens
meters, loads artefacts and proves that they are what they promise. The second run finds every pair
measured already.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BAR_S = 2.0
"""Seconds a point that are allowed."""

TECHNIQUES = "technique=none,bf16"
QUICK = ("protocol=rehearsal", "training.max_steps=3", "training.batch_size=16")

RIVAL = """
import hydra
from omegaconf import OmegaConf
from bench.folders import conf_folder

OmegaConf.register_new_resolver("host_name", lambda: "here")

@hydra.main(version_base=None, config_path=str(conf_folder()), config_name="config")
def job(config):
    pass

job()
"""


def seconds(program: tuple[str, ...], words: tuple[str, ...], folder: Path) -> float:
    """Return the seconds that a sweep takes, from the command to its end."""
    places = (f"store.root={folder}/results", f"paper.root={folder}/paper", "store.host=here")
    command = [sys.executable, *program, "-m", *words, *QUICK, *places]
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - began


def own_work_s(folder: Path) -> float:
    """Return what the points took from their begin to their end, as each would by itself."""
    found = (folder / "results" / ".logs").glob("*/*/outcome.json")
    return sum(json.loads(path.read_text())["wall_s"] for path in found)


def phases_s(folder: Path) -> float:
    """Return what the records count of that: each artefact once, and each session."""
    made: dict[str, float] = {}
    sessions_s = 0.0
    for path in (folder / "results" / "here").rglob("record.json"):
        record = json.loads(path.read_text())
        began, ended = record["session"]["started"], record["created"]
        sessions_s += (
            datetime.fromisoformat(ended) - datetime.fromisoformat(began)
        ).total_seconds()
        for arm in (record["baseline"], record["variant"]):
            made[arm["artefact"]["digest"]] = made_s(arm["phases"])
    return sessions_s + sum(made.values())


def made_s(phases: dict[str, Any]) -> float:
    """Return the seconds of making and evaluating an arm."""
    kinds = ("train", "optimise", "convert", "evaluate")
    return sum(phases[kind]["wall_s"] for kind in kinds if kind in phases)


def main(words: list[str]) -> None:
    """Sweep three times and print the cost of a point."""
    seeds = dict(word.split("=") for word in words).get("seeds", "0,1,2,3,4")
    axes = (f"seed={seeds}", TECHNIQUES)
    points = 2 * len(seeds.split(","))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rival = folder / "rival.py"
        rival.write_text(RIVAL)
        hydra_s = seconds((str(rival),), (*axes, "~hydra.callbacks.sweep"), folder / "rival")
        measured_s = seconds(("-m", "bench"), axes, folder)
        own_s, counted_s = own_work_s(folder), phases_s(folder)
        skipped_s = seconds(("-m", "bench"), axes, folder)
    print(f"{points} points; Hydra's own loop over them: {hydra_s:.1f} s")
    print(f"own work: {own_s:.1f} s, of which the records count {counted_s:.1f} s")
    for what, wall_s, work_s in (
        ("measured", measured_s, own_s),
        ("measured already", skipped_s, 0.0),
    ):
        cost_s = (wall_s - hydra_s - work_s) / points
        met = "met" if cost_s <= BAR_S else "not met"
        print(
            f"{what}: {wall_s:.1f} s, own work {work_s:.1f} s; beside it and Hydra {cost_s:.2f} s "
            f"a point, start and end of the command included (at most {BAR_S:g} s: {met})"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
