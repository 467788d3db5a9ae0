"""The meters under simulated sensors whose true energy is known, and under their failures.

The rig lies beside the checkout and gives an unmodified program a private RAPL tree and a GPU
library that advance by a closed form. Where it cannot run, these tests skip and say why.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RIG = Path(__file__).parents[2] / "shared" / "rig"
ROOT = Path(__file__).parents[1]
WINDOW_S = 2.0

# Every script begins with this. The truth of a window is taken between the middles of the two
# readings, since nobody knows when within them the counter was read.
PRELUDE = """
import json, multiprocessing, os, sys, time
import psutil
from bench import machine
from bench.meters import difference
from bench.meters.codecarbon import CodeCarbon
from bench.meters.counters import Counters
from bench.meters.polled import Polled

def window(meter, channels, seconds):
    edges = []
    for wait in (seconds, 0):
        before = time.monotonic()
        counts = meter.read()
        edges.append(((before + time.monotonic()) / 2, counts))
        time.sleep(wait)
    (start_s, start), (end_s, end) = edges
    readings = difference(meter.name, channels, start, end)
    return {
        "start_s": start_s, "end_s": end_s,
        "energy_j": {r.component: r.energy_j for r in readings},
        "reasons": {r.component: r.reason for r in readings if r.reason},
        "grades": {r.component: r.grade for r in readings},
        "sources": {r.component: r.source for r in readings},
    }

def report(**found):
    print("FOUND " + json.dumps(found))
"""


def run(script: str, tmp_path: Path, *rig: str, **variables: str) -> Any:
    """Run a script, under the RAPL rig if it is given options, and return what it reported."""
    file = tmp_path / "script.py"
    file.write_text(PRELUDE + script)
    command = [sys.executable, str(file)]
    if rig:
        command = [sys.executable, str(RIG / "rapl_rig.py"), *rig, "--", *command]
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, done.stderr
    return json.loads(lines[-1].removeprefix("FOUND "))


@functools.cache
def obstacle() -> str | None:
    """Return why the RAPL rig cannot run here."""
    if not (RIG / "rapl_rig.py").exists():
        return "the rig is not beside this checkout"
    command = [
        sys.executable,
        "-B",
        str(RIG / "rapl_rig.py"),
        "--power",
        "constant:1",
        "--",
        "true",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    return "no root or user namespaces, or no overlayfs: " + done.stderr.strip()[-200:]


@pytest.fixture
def rapl() -> None:
    if (reason := obstacle()) is not None:
        pytest.skip(reason)


@pytest.fixture
def fake_gpu(tmp_path: Path) -> dict[str, str]:
    """Return the environment of two simulated GPUs: 250 W, and 100 and 400 W in turns at 1 Hz."""
    if not (RIG / "fake_gpu_env.sh").exists():
        pytest.skip("the rig is not beside this checkout")
    if shutil.which("gcc") is None or shutil.which("bash") is None:
        pytest.skip("the simulated GPU library needs gcc and bash")
    copy = tmp_path / "rig"  # it is built in place, and the original may be read-only
    shutil.copytree(RIG, copy)
    for folder in (copy, copy / "fake_nvml"):
        folder.chmod(0o755)
    source = f'. "{copy}/fake_gpu_env.sh" "constant:250;square:100,400,1" && env -0'
    told = subprocess.run(["bash", "-c", source], capture_output=True, text=True, check=True).stdout
    names = ("LD_LIBRARY_PATH", "PATH", "FAKE_NVML_PROFILE")
    pairs = (line.partition("=") for line in told.split("\0"))
    return {name: value for name, _, value in pairs if name in names}


BOTH_METERS = """
meters = [(meter, meter.open()) for meter in (Counters(), CodeCarbon("USA"))]
found = {meter.name: window(meter, channels, WINDOW_S) for meter, channels in meters}
missing = dict(meters[0][0].missing)
for meter, _ in meters:
    meter.close()
gpus = machine.gpus()
report(windows=found, missing=missing, gpus=gpus)
""".replace("WINDOW_S", str(WINDOW_S))


@pytest.mark.usefixtures("rapl")
def test_both_meters_read_the_rigs_rapl_at_its_true_energy(tmp_path: Path) -> None:
    options = ("--power", "constant:50", "--dram", "constant:5", "--psys", "constant:80")
    found = run(BOTH_METERS, tmp_path, *options, "--packages", "2", "--no-net")
    counters, codecarbon = found["windows"]["counters"], found["windows"]["codecarbon"]

    true_s = counters["end_s"] - counters["start_s"]
    watts = {"cpu:0": 50.0, "cpu:1": 50.0, "dram:0": 5.0, "dram:1": 5.0}
    expected_j = {name: watts * true_s for name, watts in watts.items()}
    assert counters["energy_j"] == pytest.approx(expected_j, rel=0.01)
    assert set(counters["grades"].values()) == {"S"}
    assert set(counters["sources"].values()) == {"rapl"}
    assert "gpu" in found["missing"]

    true_s = codecarbon["end_s"] - codecarbon["start_s"]
    assert codecarbon["energy_j"]["cpu"] == pytest.approx(100.0 * true_s, rel=0.03)
    assert codecarbon["grades"] == {"cpu": "S", "ram": "C"}
    assert codecarbon["sources"]["cpu"] == "codecarbon.rapl"


def test_both_meters_read_the_simulated_gpus_at_their_true_energy(
    tmp_path: Path, fake_gpu: dict[str, str]
) -> None:
    found = run(BOTH_METERS, tmp_path, **fake_gpu)
    counters, codecarbon = found["windows"]["counters"], found["windows"]["codecarbon"]

    # 2 s are two whole periods of the square wave, so its mean is 250 W whatever the phase; what
    # the window is longer than 2 s may be at 100 or at 400 W.
    true_s = counters["end_s"] - counters["start_s"]
    slack_j = 150.0 * (true_s - WINDOW_S)
    assert counters["energy_j"]["gpu:0"] == pytest.approx(250.0 * true_s, rel=0.01)
    square_j = pytest.approx(250.0 * true_s, rel=0.01, abs=5.0 + slack_j)
    assert counters["energy_j"]["gpu:1"] == square_j
    assert counters["grades"] == {"gpu:0": "S", "gpu:1": "S"}

    true_s = codecarbon["end_s"] - codecarbon["start_s"]
    assert codecarbon["energy_j"]["gpu"] == pytest.approx(500.0 * true_s, rel=0.03)
    assert codecarbon["grades"]["gpu"] == "S"
    assert codecarbon["sources"]["gpu"] == "codecarbon.pynvml"

    # As the head of fake_nvml.c has it.
    first = found["gpus"][0]
    assert (first["name"], first["driver"]) == ("NVIDIA Fake H100", "550.00.fake")
    assert (first["power_limit_w"], first["memory_bytes"]) == (700.0, 80 * 2**30)
    assert (first["sm_clock_mhz"], first["memory_clock_mhz"]) == (1980, 2619)


@pytest.mark.parametrize("setting", ["1", "GPU-fa4e0000-0000-0000-0000-000000000001"])
def test_only_visible_gpus_are_read_under_their_physical_number(
    tmp_path: Path, fake_gpu: dict[str, str], setting: str
) -> None:
    script = "meter = Counters()\nreport(channels=[c.component for c in meter.open()])"
    found = run(script, tmp_path, CUDA_VISIBLE_DEVICES=setting, **fake_gpu)
    assert found["channels"] == ["gpu:1"]


def test_a_gpu_without_an_energy_counter_is_missing_for_us_and_polled_for_codecarbon(
    tmp_path: Path, fake_gpu: dict[str, str]
) -> None:
    script = """
try:
    Counters().open()
except Exception as err:
    refused = str(err)
meter = CodeCarbon("USA")
gpu = next(c for c in meter.open() if c.component == "gpu")
meter.close()
report(refused=refused, gpu=[gpu.source, gpu.grade])
"""
    found = run(script, tmp_path, FAKE_NVML_NO_ENERGY="1", **fake_gpu)
    assert "gpu:0: nvml cannot be read: NVMLError_NotSupported" in found["refused"]
    assert found["gpu"] == ["codecarbon.pynvml_power", "C"]


@pytest.mark.usefixtures("rapl")
def test_a_counter_that_is_lost_for_a_while_gives_reasons_and_never_zero(tmp_path: Path) -> None:
    script = """
file = "/sys/class/powercap/intel-rapl/intel-rapl:0/energy_uj"
counters, codecarbon = Counters(), CodeCarbon("USA", sample_s=0.1)
read, model = counters.open(), codecarbon.open()
sound = codecarbon.read()
os.rename(file, file + ".gone")
time.sleep(0.3)
gone = window(counters, read, 0.1)
os.rename(file + ".gone", file)
time.sleep(0.3)
after = codecarbon.read()
over = difference("codecarbon", model, sound, after)
later = window(codecarbon, model, 0.5), window(counters, read, 0.5)
counters.close()
codecarbon.close()
over = {r.component: [r.energy_j, r.reason] for r in over}
report(gone=gone, over=over, later=later)
"""
    found = run(script, tmp_path, "--power", "constant:50")
    assert found["gone"]["energy_j"] == {"cpu:0": None}
    assert "FileNotFoundError" in found["gone"]["reasons"]["cpu:0"]
    joules, reason = found["over"]["cpu"]
    assert joules is None
    assert reason.endswith("energy_uj could not be read, CodeCarbon counted nothing")
    assert found["over"]["ram"][1] is None
    for meter, name in zip(found["later"], ("cpu", "cpu:0"), strict=True):
        true_j = 50.0 * (meter["end_s"] - meter["start_s"])
        assert meter["energy_j"][name] == pytest.approx(true_j, rel=0.04)


@pytest.mark.usefixtures("rapl")
def test_the_counters_work_in_a_spawned_process_that_ends_although_it_never_closes_them(
    tmp_path: Path,
) -> None:
    script = """
def work(queue):
    meter = Counters()
    found = window(meter, meter.open(), 1.0)
    queue.put((found, len(multiprocessing.active_children())))

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=work, args=(queue,))
    process.start()
    found, children = queue.get(timeout=30)
    process.join(timeout=10)
    report(found=found, exitcode=process.exitcode, children=children)
"""
    found = run(script, tmp_path, "--power", "constant:50", "--dram", "constant:5")
    true_s = found["found"]["end_s"] - found["found"]["start_s"]
    expected_j = {"cpu:0": 50.0 * true_s, "dram:0": 5.0 * true_s}
    assert found["found"]["energy_j"] == pytest.approx(expected_j, rel=0.02)
    assert (found["exitcode"], found["children"]) == (0, 0)


@pytest.mark.usefixtures("rapl")
def test_joules_are_right_where_the_counter_wraps_more_than_once_a_second(tmp_path: Path) -> None:
    # 50 W fill 30 J in 0.6 s: four or five wraps in the window.
    script = """
meter = Counters()
report(**window(meter, meter.open(), 2.8))
meter.close()
"""
    found = run(script, tmp_path, "--power", "constant:50", "--max-range-uj", "30000000")
    true_j = 50.0 * (found["end_s"] - found["start_s"])
    assert found["reasons"] == {}
    assert found["energy_j"]["cpu:0"] == pytest.approx(true_j, rel=0.01)


def test_polled_power_is_integrated_to_the_simulated_gpus_true_energy(
    tmp_path: Path, fake_gpu: dict[str, str]
) -> None:
    script = """
meter = Polled()
channels = meter.open()
report(**window(meter, channels, 2.0))
meter.close()
"""
    found = run(script, tmp_path, FAKE_NVML_NO_ENERGY="1", **fake_gpu)
    true_s = found["end_s"] - found["start_s"]
    assert found["sources"] == dict.fromkeys(("gpu:0", "gpu:1"), "nvml.power_instant")
    assert found["grades"] == {"gpu:0": "S", "gpu:1": "S"}
    assert found["energy_j"]["gpu:0"] == pytest.approx(250.0 * true_s, rel=0.005)
    # Two periods of 100 and 400 W: each of four or five edges is seen half a poll early or late.
    edges_j = 5 * 300.0 * 0.025 + 150.0 * (true_s - 2.0)
    assert found["energy_j"]["gpu:1"] == pytest.approx(250.0 * true_s, abs=edges_j)
