"""How often a check finds work that was planted, and how often it cries wolf.

    python -m benchmarks.regressions                    50 runs of each, three to five hours
    python -m benchmarks.regressions runs=2 modes=pair  does it work? prints, and writes no table

A forward pass of a hundred small layers gets 0, 2, 5, 10 or 20 layers more, whose outputs nobody
uses. Every run asks three judges about the same two versions: a pair in one process, the checkout
against its base commit, and pytest-benchmark with the base's stored run. Meanwhile the machine has
two cores and more to do: one other process works all the time, another now and then.

Every finding is appended to a file at once, and a run that was broken off goes on from there. Other
words: model=torch, seed=0, max_s=50, kept=FILE, out=FILE. The plugin must be installed
(`pip install -e '.[ci]'`).
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import machine
from benchmarks.regressions_table import RUNS, made_before, report

ROOT = Path(__file__).parents[1]
OUT = ROOT / "paper" / "benchmarks" / "regressions.md"

EXTRA = (0, 2, 5, 10, 20)
"""Layers planted, of a hundred: so many percent more work."""

MODES = ("pair", "against", "pytest-benchmark")
WORDS = ("runs", "modes", "model", "seed", "max_s", "kept", "out")
LIMIT = 1.05
CORES = 2
PATIENCE_S = 600.0

PLANTED = "EXTRA_LAYERS = {extra}\n"

HOG = """
import os, random, sys, time
parent = os.getppid()
draw, always = random.Random(int(sys.argv[1])), sys.argv[2] == "always"
while os.getppid() == parent:
    end_s = time.monotonic() + draw.uniform(0.2, 3.0)
    while time.monotonic() < end_s:
        sum(range(10_000))
    if not always:
        time.sleep(draw.uniform(0.2, 3.0))
"""
"""Works all the time, or about half of it, until whoever started it is gone."""

KINDS = {
    "numpy": """
import numpy as np

draw = np.random.default_rng(0)
WEIGHTS = draw.normal(0, (2 / 64) ** 0.5, (100, 64, 64)).astype(np.float32)
INPUTS = draw.normal(size=(32, 64)).astype(np.float32)


def forward(extra):
    hidden = INPUTS
    for index in range(100 + extra):
        outputs = np.maximum(hidden @ WEIGHTS[index % 100], 0)
        if index < 100:
            hidden = outputs
    return hidden
""",
    "torch": """
import torch
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)
LAYERS = nn.ModuleList(nn.Linear(64, 64) for _ in range(100)).eval()
INPUTS = torch.randn(32, 64)


@torch.inference_mode()
def forward(extra):
    hidden = INPUTS
    for index in range(100 + extra):
        outputs = torch.relu(LAYERS[index % 100](hidden))
        if index < 100:
            hidden = outputs
    return hidden
""",
}

TESTS = """
from model import forward
from planted import EXTRA_LAYERS


def test_pair(joules):
    joules.pair(lambda: forward(0), lambda: forward(EXTRA_LAYERS))


def test_against(joules):
    joules.measure(lambda: forward(EXTRA_LAYERS))


def test_timed(benchmark):
    benchmark(lambda: forward(EXTRA_LAYERS))
"""


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        runs: Of each planted amount and each judge.
        modes: Judges.
        model: ``numpy`` or ``torch``.
        seed: Of the order of all runs.
        max_s: Seconds that a check may take.
        kept: File to which findings are appended.
    """

    runs: int
    modes: tuple[str, ...]
    model: str
    seed: int
    max_s: float
    kept: Path


@contextmanager
def load(seed: int) -> Iterator[None]:
    """Keep the machine busy, on the same cores as everything that we start."""
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    os.sched_setaffinity(0, cores)
    command = [sys.executable, "-c", HOG]
    hogs = [
        subprocess.Popen([*command, str(seed + number), word])
        for number, word in enumerate(("always", "sometimes"))
    ]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def project(folder: Path, kind: str) -> None:
    """Make a checkout whose base has nothing planted."""
    (folder / "model.py").write_text(KINDS[kind])
    (folder / "planted.py").write_text(PLANTED.format(extra=0))
    (folder / "test_model.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    (folder / ".gitignore").write_text("__pycache__\n.benchmarks\n.pytest_cache\n*.json\n")
    who = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "base"]):
        subprocess.run(["git", *who, *words], cwd=folder, check=True)


def run(folder: Path, *words: str) -> tuple[int, str, float]:
    """Run a command in the project; return status, output and wall seconds."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",  # the planted file may change within a second
    }
    begun_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
    )
    return done.returncode, done.stdout, time.monotonic() - begun_s


def ours(folder: Path, mode: str, max_s: float) -> dict[str, Any]:
    """Ask our check, in one process or against the base commit."""
    found = folder / "found.json"
    found.unlink(missing_ok=True)
    check = ["-m", "pytest", "-q", "-k", f"test_{mode}", f"--joules-fail=ratio:{LIMIT}"]
    check += ["--joules-measure=cpu_s", f"--joules-max-time={max_s:g}"]
    check += [f"--benchmark-json={found}", "-p", "no:cacheprovider"]
    if mode == "against":
        check = ["-m", "bench.ci", "--against", "HEAD", "--", sys.executable, *check]
    status, output, wall_s = run(folder, *check)
    if status not in (0, 1) or not found.exists() or not found.read_text():
        raise SystemExit(f"the check could not be run (status {status}):\n{output}")
    entries = json.loads(found.read_text())["benchmarks"]
    (info,) = [e["extra_info"] for e in entries if e["name"] == f"test_{mode}"]
    keys = ("verdict", "ratio", "low", "high", "blocks", "spent_s", "log_ratio_sd", "host_class")
    return {"failed": status == 1, "wall_s": wall_s, **{key: info[key] for key in keys}}


def theirs(folder: Path) -> dict[str, Any]:
    """Ask pytest-benchmark: the base's run is stored first, then the candidate compared with it."""
    common = ["-m", "pytest", "-q", "-k", "test_timed", "-p", "no:cacheprovider"]
    planted = folder / "planted.py"
    candidate = planted.read_text()
    planted.write_text(PLANTED.format(extra=0))
    status, output, base_s = run(folder, *common, "--benchmark-save=base")
    planted.write_text(candidate)
    if status != 0:
        raise SystemExit(f"pytest-benchmark could not be run (status {status}):\n{output}")
    now = folder / "now.json"
    gate = ["--benchmark-compare", "--benchmark-compare-fail=mean:5%", f"--benchmark-json={now}"]
    status, output, wall_s = run(folder, *common, *gate)
    failed = "Performance has regressed" in output
    if (status != 0) != failed:
        raise SystemExit(f"pytest-benchmark could not be run (status {status}):\n{output}")
    means = [
        json.loads(path.read_text())["benchmarks"][0]["stats"]["mean"]
        for path in (max((folder / ".benchmarks").rglob("*_base.json")), now)
    ]
    ratio = means[1] / means[0]
    return {"failed": failed, "wall_s": base_s + wall_s, "ratio": ratio, "verdict": None}


def asked(plan: Plan, extra: int, mode: str) -> dict[str, Any]:
    """Plant so many layers in a project of its own, and ask one judge."""
    with tempfile.TemporaryDirectory(prefix="joules-") as name:
        folder = Path(name).resolve()
        project(folder, plan.model)
        (folder / "planted.py").write_text(PLANTED.format(extra=extra))
        if mode == "pytest-benchmark":
            return theirs(folder)
        return ours(folder, mode, plan.max_s)


def findings(plan: Plan) -> list[dict[str, Any]]:
    """Run what is missing, in one random order over all, and return everything."""
    setting = {"model": plan.model, "max_s": plan.max_s, "cpu": machine.cpu()["model"]}
    there = made_before(plan.kept, setting)
    done = {(found["run"], found["extra"], found["mode"]) for found in there}
    rounds = []
    for number in range(plan.runs):
        cases = list(itertools.product([number], EXTRA, plan.modes))
        random.Random(plan.seed * 1_000_003 + number).shuffle(cases)
        rounds += [case for case in cases if case not in done]
    with load(plan.seed):
        for index, (number, extra, mode) in enumerate(rounds):
            found = {"run": number, "extra": extra, "mode": mode, **asked(plan, extra, mode)}
            found |= setting
            there.append(found)
            with plan.kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
            print(
                f"{index + 1} of {len(rounds)}: {mode}, {extra} % more: "
                f"{'fails' if found['failed'] else 'does not fail'}, "
                f"ratio {found['ratio'] or math.nan:.3f}, {found['wall_s']:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    return there


def main(words: list[str]) -> None:
    """Run, and write the table."""
    options: dict[str, str] = dict(word.partition("=")[::2] for word in words)
    if unknown := options.keys() - WORDS:
        raise SystemExit(f"{sorted(unknown)}: the words are {', '.join(WORDS)}, each with = behind")
    plan = Plan(
        runs=int(options.get("runs", RUNS)),
        modes=tuple(options.get("modes", ",".join(MODES)).split(",")),
        model=options.get("model", "numpy"),
        seed=int(options.get("seed", "0")),
        max_s=float(options.get("max_s", "50")),
        kept=Path(options.get("kept", f"regressions-{options.get('model', 'numpy')}.jsonl")),
    )
    text = report(findings(plan), plan.model, plan.max_s, LIMIT, CORES)
    print(text)
    if plan.runs >= RUNS or "out" in options:
        out = Path(options.get("out", OUT))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    main(sys.argv[1:])
