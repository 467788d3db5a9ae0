"""Meters side by side under simulated sensors whose true energy is known.

    python -m benchmarks.meters                        about four minutes, most of them asleep
    python -m benchmarks.meters repeats=2 rig=DIR carbontracker=PYTHON out=FILE

``rig`` is the folder of the simulated sensors, ``../shared/rig`` if left out; ``carbontracker`` a
Python that has it installed. Every meter is held against the truth between the return of its own
start and the call of its own end; all watch the same windows, but for carbontracker, which runs in
an environment of its own under the same rigs at the same time. What comes out is synthetic (grade
S): it judges meters, never models.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.meters import Counts, Meter, MeterError, difference
from bench.meters.codecarbon import CodeCarbon
from bench.meters.counters import Counters
from bench.meters.polled import Polled
from benchmarks.meters_table import report

ROOT = Path(__file__).parents[1]
WINDOWS_S = (0.5, 2.0, 10.0)
COST_S = 10.0
SETTLE_S = 1.5  # after a meter is opened, before its cost is taken
RIGS = {
    "50 W": ("constant:50", None, "constant:250"),
    "20/100 W at 1 Hz": ("square:20,100,1", None, "square:100,400,1"),
    "50 W, wraps every 8 s": ("constant:50", 400, None),
    "50 W, wraps every 1.2 s": ("constant:50", 60, None),
    "50 W, wraps every 0.6 s": ("constant:50", 30, None),
}
"""Name to power of the package, range of its counter in joules, power of the GPU."""

Row = dict[str, Any]


class Ours:
    """A meter of ours; joules by kind of component."""

    def __init__(self, meter: Meter) -> None:
        self.name, self._meter, self._start = meter.name, meter, Counts({})

    def open(self) -> None:
        """Start it."""
        self._channels = self._meter.open()

    def begin(self) -> None:
        """Start a window."""
        self._start = self._meter.read()

    def end(self) -> dict[str, float | None]:
        """Return the window's joules by kind of component."""
        end = self._meter.read()
        found: dict[str, float | None] = {}
        for reading in difference(self.name, self._channels, self._start, end):
            kind = reading.component.partition(":")[0]
            found[kind] = reading.energy_j
            if reading.reason:
                print(f"{self.name} {reading.component}: {reading.reason}", file=sys.stderr)
        return found

    def close(self) -> None:
        """Stop it."""
        self._meter.close()


class Zeus:
    """ZeusMonitor as its documentation uses it."""

    name = "zeus"

    def open(self) -> None:
        """Start it."""
        from zeus.monitor import ZeusMonitor

        gpus = [0] if os.environ.get("FAKE_NVML_PROFILE") else []
        self._monitor = ZeusMonitor(gpu_indices=gpus, cpu_indices=[0])

    def begin(self) -> None:
        """Start a window."""
        self._monitor.begin_window("window", sync_execution=False)

    def end(self) -> dict[str, float | None]:
        """Return the window's joules by kind of component."""
        found = self._monitor.end_window("window", sync_execution=False)
        return {"cpu": (found.cpu_energy or {}).get(0), "gpu": found.gpu_energy.get(0)}

    def close(self) -> None:
        """Leave it: it has no call for that."""


SIDE_BY_SIDE: dict[str, Callable[[], Ours | Zeus]] = {
    "codecarbon": lambda: Ours(CodeCarbon("USA")),
    "zeus": Zeus,
    "polled": lambda: Ours(Polled()),
    "counters": lambda: Ours(Counters()),
}
"""Slowest first: each one's window lies within that of the one before."""


def watch(repeats: int) -> Iterator[Row]:
    """Under a rig: watch every window with every meter, and yield what each said."""
    import power_profile  # the rig puts itself on the path
    from rapl_truth import Truth

    package = Truth()
    gpu = os.environ.get("FAKE_NVML_PROFILE")
    true_j = {"cpu": package.joules}
    if gpu:
        profile = power_profile.parse(gpu)
        true_j["gpu"] = lambda start_s, end_s: profile.energy(end_s) - profile.energy(start_s)
    meters = [make() for name, make in SIDE_BY_SIDE.items() if gpu or name != "polled"]
    for meter in meters:
        meter.open()
        meter.begin()  # unmeasured: zeus starts a process with its first window
        meter.end()
    draw = random.Random(7)
    for window_s in WINDOWS_S:
        for _ in range(repeats):
            time.sleep(draw.random())  # any phase of the square wave
            start_s = {}
            for meter in meters:
                meter.begin()
                start_s[meter.name] = time.monotonic()
            time.sleep(window_s)
            for meter in reversed(meters):
                end_s = time.monotonic()
                found = meter.end()
                for kind, joules in true_j.items():
                    if kind in found:
                        truth = joules(start_s[meter.name], end_s)
                        yield row(meter.name, kind, window_s, truth, found[kind])
    for meter in meters:
        meter.close()


def row(meter: str, kind: str, window_s: float, true_j: float, found_j: float | None) -> Row:
    error = None if found_j is None else 100 * (found_j / true_j - 1)
    return {"meter": meter, "kind": kind, "window_s": window_s, "error": error}


def cost(name: str) -> Row:
    """Under a rig: CPU-seconds that a meter alone takes within a window, and for its readings."""
    meter = SIDE_BY_SIDE[name]()
    meter.open()
    time.sleep(SETTLE_S)
    looks = [cpu_s() for _ in range(21)]
    look_s = (looks[-1] - looks[0]) / 20  # what looking takes is not the meter's
    outside = cpu_s()
    meter.begin()
    inside = cpu_s()
    time.sleep(COST_S)
    ended = cpu_s()
    meter.end()
    readings_s = cpu_s() - ended + inside - outside - 2 * look_s
    share = (ended - inside - look_s) / COST_S
    return {"meter": name, "share": share, "readings_s": readings_s}


def cpu_s() -> float:
    """CPU-seconds of this process and of its children, which are read while they live."""
    children = psutil.Process().children(recursive=True)
    times = [process.cpu_times() for process in children]
    return time.process_time() + sum(t.user + t.system for t in times)


def carbontracker(python: str, rig: Path, repeats: int) -> subprocess.Popen[str]:
    """Start carbontracker's own series under the rig of this process."""
    windows = ",".join(f"{window_s:g}" for window_s in WINDOWS_S)
    counts = ",".join(str(repeats) for _ in WINDOWS_S)
    name = "carbontracker-gpu" if os.environ.get("FAKE_NVML_PROFILE") else "carbontracker"
    command = [python, str(rig / "meter_bench.py"), name, "--windows", windows, "--reps", counts]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def carbontracker_rows(lines: Iterable[str]) -> Iterator[Row]:
    for line in lines:
        if line.startswith("JSON "):
            found = json.loads(line.removeprefix("JSON "))
            for kind, truth in (("cpu", "true"), ("gpu", "gpu_true")):
                if truth in found:
                    joules = found.get(f"r_{kind}")
                    yield row("carbontracker", kind, found["window"], found[truth], joules)


def child(options: dict[str, str]) -> None:
    """Do one task under a rig and print its rows as JSON lines."""
    if "cost" in options:
        print("ROW " + json.dumps(cost(options["cost"])), flush=True)
        return
    beside = None
    if python := options.get("carbontracker"):
        beside = carbontracker(python, Path(options["rig"]), int(options["repeats"]))
    for found in watch(int(options["repeats"])):
        print("ROW " + json.dumps(found), flush=True)
    if beside is not None:
        for found in carbontracker_rows(beside.communicate()[0].splitlines()):
            print("ROW " + json.dumps(found), flush=True)


@dataclass(frozen=True)
class Task:
    """One process under a rig of its own."""

    name: str
    process: subprocess.Popen[str]

    def rows(self) -> list[Row]:
        """Wait for it and return what it found."""
        out, err = self.process.communicate()
        if self.process.returncode:
            sys.exit(f"{self.name} failed under the rig:\n{err[-2000:]}")
        found = [json.loads(line[4:]) for line in out.splitlines() if line.startswith("ROW ")]
        return [{"profile": self.name, **values} for values in found]


def start(name: str, rig: Path, gpu: str | None, arguments: list[str], **options: str) -> Task:
    """Start a task; the simulated GPU is put first on the library path if it is wanted."""
    words = [f"{key}={value}" for key, value in options.items()]
    script = [sys.executable, "-m", "benchmarks.meters", "child=1", f"rig={rig}", *words]
    command = [sys.executable, str(rig / "rapl_rig.py"), "--no-net", *arguments, "--", *script]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    if gpu:
        environment["FAKE_NVML_PROFILE"] = gpu
        environment["LD_LIBRARY_PATH"] = str(rig / "fake_nvml")
        environment["PATH"] = f"{rig / 'fake_nvml'}:{environment['PATH']}"  # its nvidia-smi
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return Task(name, subprocess.Popen(command, cwd=ROOT, env=environment, **pipes))


def measure(rig: Path, options: dict[str, str]) -> tuple[list[Row], list[Row]]:
    """Run all rigs at once; return the errors, then what each meter costs, one after another."""
    series = {key: options[key] for key in ("repeats", "carbontracker") if key in options}
    tasks = []
    for name, (power, range_j, gpu) in RIGS.items():
        ranged = ["--max-range-uj", str(range_j * 1_000_000)] if range_j else []
        tasks.append(start(name, rig, gpu, ["--power", power, *ranged], **series))
    errors = [found for task in tasks for found in task.rows()]
    costs = []
    for meter in SIDE_BY_SIDE:
        task = start("cost", rig, "constant:250", ["--power", "constant:50"], cost=meter)
        costs += task.rows()
    return errors, costs


def main(words: list[str]) -> None:
    """Measure and write the table, or do one task under a rig."""
    options = {"repeats": "10"} | dict(word.split("=", 1) for word in words)
    if "child" in options:
        child(options)
        return
    source = Path(options.get("rig", ROOT.parent / "shared" / "rig"))
    if not (source / "rapl_rig.py").exists():
        sys.exit("no rig: rig=DIR should name the folder of the simulated sensors (rapl_rig.py)")
    with tempfile.TemporaryDirectory() as folder:
        rig = Path(folder) / "rig"  # the GPU library is built in place
        shutil.copytree(source, rig)
        (rig / "fake_nvml").chmod(0o755)
        build = ["bash", "-c", f'. "{rig}/fake_gpu_env.sh" constant:1']
        subprocess.run(build, check=True)
        text = report(*measure(rig, options), [*reversed(SIDE_BY_SIDE), "carbontracker"], options)
    out = Path(options.get("out", ROOT / "paper" / "benchmarks" / "meters.md"))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    print(text)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except MeterError as err:
        sys.exit(str(err))
