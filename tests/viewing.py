"""Folders that are being written, for tests of the dashboard, and one look at them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import psutil

from bench.dashboard.data import curves
from bench.dashboard.data.curves import Training
from bench.dashboard.data.folder import Folder
from bench.dashboard.data.watching import Watcher
from bench.machine import host_name
from bench.sweeping.outcomes import Plan, Planned, write_plan

RUN = "7-0123456789ab"


def seen(root: Path) -> Watcher:
    """Return a watcher that has looked once."""
    watcher = Watcher(Folder.of(root))
    watcher.look()
    return watcher


def under_way(watcher: Watcher) -> Training:
    """Return the trainings of the newest pair that runs."""
    running = watcher.latest.running[0]
    return curves.under_way(watcher.folder, running.points, running.metric)


def tell(
    root: Path, run: str = RUN, points: list[dict[str, Any]] | None = None, **told: Any
) -> Path:
    """Write what a running pair of this process tells, and return its state's file."""
    host = told.pop("host", host_name())
    process = psutil.Process()
    state = {
        "schema": 1,
        "id": f"digits/bf16/{run}",
        "folder": f"{host}/digits/bf16/{run}",
        "workload": "digits",
        "technique": "bf16",
        "label": "bf16",
        "metric": "accuracy",
        "host": host,
        "machine": host,
        "pid": process.pid,
        "born_s": process.create_time(),
        "started_s": time.time() - 100,
        "log": None,
        "act": "baseline",
        "act_started_s": time.time() - 60,
        "done": 1,
        "total": 4,
        "note": "train, loss 0.5",
        "quiet_from_s": None,
        "told_s": time.time(),
        **told,
    }
    file = root / ".live" / host / f"{run}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_name(f".{file.name}.writing")
    half.write_text(json.dumps(state))
    half.replace(file)
    if points is not None:
        file.with_suffix(".jsonl").write_text("".join(json.dumps(p) + "\n" for p in points))
    return file


def place(number: int) -> str:
    """Return where a point of ``plan`` will have its record, below the results."""
    return f"{host_name()}/digits/bf16/{number}-0123456789ab"


def plan(root: Path, points: int = 4, began_s: float = 60.0) -> Path:
    """Write the plan of a sweep that began so many seconds ago; each point takes 100 s."""
    planned = tuple(
        Planned(f"digits, bf16, seed {n}", f"results/{place(n)}", False, 100.0)
        for n in range(points)
    )
    sweep = root / ".logs" / "2026-03-02_08-00-00"
    write_plan(Plan(planned, time.time() - began_s, "results", "paper", here=True), sweep)
    return sweep


def logged(
    step: int, loss: float | None, wall_s: float, joules: float, **more: Any
) -> dict[str, Any]:
    """Return a point of a training as it is told: two components of grade B, one of grade C."""
    readings = [
        ("counters", "cpu:0", "B", 0.75 * joules),
        ("counters", "dram:0", "B", 0.25 * joules),
        ("codecarbon", "cpu", "C", 2 * joules),
    ]
    return {
        "act": "baseline",
        "stage": "train",
        "step": step,
        "loss": loss,
        "learning_rate": 0.1,
        "metric": None,
        "validation_loss": None,
        "wall_s": wall_s,
        "readings": [
            {"meter": m, "component": c, "source": "x", "grade": g, "energy_j": j, "reason": None}
            for m, c, g, j in readings
        ],
        **more,
    }


def block(
    number: int, baseline_s: float, variant_s: float, discard: str | None = None
) -> dict[str, Any]:
    """Return a block as a running pair tells it, ABBA, ten samples a window."""
    arms = ("baseline", "variant", "variant", "baseline")
    spent = {"baseline": baseline_s, "variant": variant_s}
    return {
        "act": "measure",
        "block": number,
        "order": "ABBA",
        "measure": "wall_s",
        "discard": discard,
        "windows": [
            {"position": n, "arm": arm, "items": 10, "wall_s": spent[arm], "figure": spent[arm]}
            for n, arm in enumerate(arms)
        ],
    }
