"""The machine's description and load, against files and processes whose figures are known."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bench import machine
from bench.machine import Circumstances, HostLoad, HostState, Sensors, identity, nvidia
from bench.machine import load as load_module

# user nice system idle iowait irq softirq steal guest guest_nice, in ticks of 10 ms on Linux
STAT = "cpu  1000 100 300 8000 200 10 40 350 500 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n"


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostLoad:
    monkeypatch.setattr(os, "sysconf", lambda _: 100)
    (tmp_path / "stat").write_text(STAT)
    return HostLoad.read(tmp_path / "stat")


def test_the_kernels_ticks_become_seconds_and_guests_count_once(load: HostLoad) -> None:
    assert load == HostLoad(total_s=100.0, busy_s=14.5, steal_s=3.5)


@pytest.mark.parametrize("content", [None, "", "cpu  1 2 3\n", "intr a b c d e f g h\n"])
def test_a_load_that_cannot_be_read_is_none_and_never_zero(
    tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "stat").write_text(content)
    load = HostLoad.read(tmp_path / "stat")
    assert load == HostLoad(None, None, None)
    assert load.steal_share(load) is None
    assert load.foreign_share(load, own_cpu_s=1.0) is None


def test_shares_are_fractions_of_all_cores_time(load: HostLoad) -> None:
    # 4 cores for 5 s: 20 s, of which 0.5 s were stolen and 12 s worked, 9 s of them by us.
    later = HostLoad(total_s=120.0, busy_s=26.5, steal_s=4.0)
    assert later.steal_share(load) == pytest.approx(0.025)
    assert later.foreign_share(load, own_cpu_s=9.0) == pytest.approx(0.15)
    # Ticks are coarser than our own clock: what is left of us is not foreign.
    assert later.foreign_share(load, own_cpu_s=12.004) == 0.0
    assert load.steal_share(load) is None  # no time has passed


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc/stat")
def test_this_machines_load_rises_with_time() -> None:
    first = HostLoad.read()
    sum(range(2_000_000))
    second = HostLoad.read()
    assert first.total_s is not None
    assert second.total_s is not None
    assert 0 < first.total_s <= second.total_s


BURNER = """
import sys, time
while time.process_time() < {burn_s}:
    pass
print("burnt", flush=True)
sys.stdin.read()
"""


def test_a_childs_cpu_seconds_count_while_it_lives_and_after_it_ended() -> None:
    burn_s = 0.4
    before = machine.cpu_seconds()
    with subprocess.Popen(
        [sys.executable, "-c", BURNER.format(burn_s=burn_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        alive = machine.cpu_seconds() - before
        child.communicate()
    ended = machine.cpu_seconds() - before
    # Two ticks of 10 ms either way, and what we and the interpreter's start spend ourselves.
    assert burn_s - 0.02 <= alive <= burn_s + 0.3
    assert alive - 0.02 <= ended <= burn_s + 0.3


def test_a_child_that_vanishes_while_it_is_asked_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone() -> None:
        raise psutil.NoSuchProcess(1)

    stays = SimpleNamespace(cpu_times=lambda: SimpleNamespace(user=1000.0, system=500.0))
    children = {1: SimpleNamespace(cpu_times=gone), 2: stays}
    monkeypatch.setattr(load_module, "descendants", list)
    before = machine.cpu_seconds()
    monkeypatch.setattr(load_module, "descendants", lambda: [1, 2])
    monkeypatch.setattr(psutil, "Process", children.__getitem__)
    assert machine.cpu_seconds() - before == pytest.approx(1500.0, abs=1.0)


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ("Node-07.Cluster.example", "node-07.cluster.example"),
        ("Ada's Laptop_2", "ada-s-laptop-2"),
        ("../../etc", "etc"),
        ("", "unknown-host"),
    ],
)
def test_a_hosts_name_is_safe_as_a_folder(
    monkeypatch: pytest.MonkeyPatch, node: str, name: str
) -> None:
    monkeypatch.setattr("platform.node", lambda: node)
    assert machine.host_name() == name


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "250000 100000\n"}, 2.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_containers_cpu_limit_is_read_in_cores(
    tmp_path: Path, files: dict[str, str], cores: float | None
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert machine.cpu_limit_cores(tmp_path) == cores


def test_the_fingerprint_is_json_and_says_nothing_of_its_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("HF_TOKEN", "hf_do_not_tell")
    found = machine.fingerprint()
    text = json.dumps(found, allow_nan=False)
    assert found["variables"]["OMP_NUM_THREADS"] == "3"
    assert "hf_do_not_tell" not in text
    assert str(Path.home()) + "/" not in text
    assert str(Path.cwd()) not in text
    assert f'"{getpass.getuser()}"' not in text


def test_the_fingerprint_holds_what_the_libraries_and_the_kernel_tell() -> None:
    found = machine.fingerprint()
    assert found["libraries"]["psutil"] == metadata.version("psutil")
    assert found["cpu"]["threads"] == os.cpu_count()
    assert found["memory_bytes"] == psutil.virtual_memory().total
    assert set(found["cpu"]["flags"] or ()) <= set(identity.CPU_FLAGS)


def test_a_library_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "LIBRARIES", ("psutil", "no-such-library-at-all"))
    libraries = machine.fingerprint()["libraries"]
    assert libraries == {"psutil": metadata.version("psutil"), "no-such-library-at-all": None}


def test_the_source_is_named_by_commit_and_dirty_when_code_or_configuration_differ(
    tmp_path: Path,
) -> None:
    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert machine.source_state(tmp_path) == {"commit": None, "dirty": None}
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "a.py").write_text("a = 1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    clean = {"commit": git("rev-parse", "HEAD"), "dirty": False}
    assert machine.source_state(tmp_path) == clean
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "record.json").write_text("{}\n")
    assert machine.source_state(tmp_path) == clean
    (tmp_path / "bench" / "b.py").write_text("b = 1\n")
    assert machine.source_state(tmp_path) == {**clean, "dirty": True}


def test_without_nvml_there_is_no_list_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert machine.gpus() is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists children per thread")
def test_descendants_are_ours_at_any_depth() -> None:
    code = (
        "import subprocess, sys; child = subprocess.Popen(['sleep', '60']); "
        "print(child.pid, flush=True); sys.stdin.read(); child.kill()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        found = load_module.descendants()
        child.communicate()
    assert {child.pid, grandchild} <= set(found)
    assert not {os.getpid(), os.getppid()} & set(found)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


CORE = "devices/system/cpu/cpu{}/"


def throttle_tree(core: tuple[int, int, int, int], package: int) -> dict[str, str]:
    """Two cores of two threads each in one package."""
    files = {}
    for cpu, count in enumerate(core):
        files[CORE.format(cpu) + "thermal_throttle/core_throttle_count"] = f"{count}\n"
        files[CORE.format(cpu) + "thermal_throttle/package_throttle_count"] = f"{package}\n"
        files[CORE.format(cpu) + "topology/thread_siblings_list"] = f"{cpu % 2},{cpu % 2 + 2}\n"
        files[CORE.format(cpu) + "topology/package_cpus_list"] = "0-3\n"
    return files


def test_heat_events_count_once_per_core_and_once_per_package(tmp_path: Path) -> None:
    write(tmp_path, throttle_tree((5, 7, 5, 7), 100))
    sensors = Sensors.find(tmp_path)
    start = HostState.read(sensors)
    assert start.cpu_throttles == 5 + 7 + 100
    write(tmp_path, throttle_tree((6, 7, 6, 7), 102))
    assert HostState.read(sensors).since(start).cpu_throttles == 3


def test_package_temperatures_are_numbered_and_those_of_single_cores_left_out(
    tmp_path: Path,
) -> None:
    hwmon = "class/hwmon/hwmon{}/"
    files = {
        hwmon.format(2) + "name": "coretemp\n",
        hwmon.format(2) + "temp1_label": "Package id 0\n",
        hwmon.format(2) + "temp1_input": "61000\n",
        hwmon.format(2) + "temp2_label": "Core 0\n",
        hwmon.format(2) + "temp2_input": "99000\n",
        hwmon.format(10) + "name": "coretemp\n",
        hwmon.format(10) + "temp1_label": "Package id 1\n",
        hwmon.format(10) + "temp1_input": "58500\n",
        hwmon.format(0) + "name": "nvme\n",
        hwmon.format(0) + "temp1_label": "Composite\n",
        hwmon.format(0) + "temp1_input": "40000\n",
    }
    state = HostState.read(Sensors.find(write(tmp_path, files)))
    assert {k: v for k, v in state.temperature_c.items() if k.startswith("cpu")} == {
        "cpu:0": 61.0,
        "cpu:1": 58.5,
    }


def test_a_host_without_sensors_is_unknown_and_never_cool_or_unthrottled(tmp_path: Path) -> None:
    sensors = Sensors({}, (), {})
    state = HostState.read(sensors)
    assert (state.temperature_c, state.cpu_throttles) == ({}, None)
    assert state.since(state).cpu_throttles is None


def test_what_is_seen_at_either_edge_befell_the_window() -> None:
    start = HostState({"gpu:0": 50.0}, 3, {"gpu:0": "power brake"}, {"gpu:0": frozenset({9})}, 10)
    end = HostState({"gpu:0": 70.0}, 3, {}, {"gpu:0": frozenset({4}), "gpu:1": frozenset({5})}, 12)
    assert end.since(start) == Circumstances(
        start_temperature_c={"gpu:0": 50.0},
        cpu_throttles=0,
        gpu_slowdowns={"gpu:0": "power brake"},
        gpu_foreign={"gpu:0": (4, 9), "gpu:1": (5,)},
        major_faults=2,
    )


class FakeNvml:
    """Answers of the driver for one GPU."""

    def __init__(self, **answers: object) -> None:
        self.answers = answers

    def __call__(self, function: str, *_: object) -> object:
        return self.answers.get(function)


@pytest.mark.parametrize(
    ("bits", "reason"),
    [
        (0x00, ""),
        (0x01, ""),  # idle
        (0x04, ""),  # software power cap: how a board under load runs
        (0x08, "hardware slowdown"),
        (0x48, "hardware slowdown and hardware thermal slowdown"),
        (0x80, "power brake"),
        (None, None),
    ],
)
def test_only_forced_slowdowns_of_a_gpu_are_told(
    monkeypatch: pytest.MonkeyPatch, bits: int | None, reason: str | None
) -> None:
    answer = FakeNvml(nvmlDeviceGetCurrentClocksEventReasons=bits)
    monkeypatch.setattr(nvidia, "ask", answer)
    assert nvidia.slowdown(object()) == reason


NOBODY = 2**22 + 1  # above the largest process number of Linux


@pytest.mark.parametrize(
    ("pids", "foreign"),
    [
        ([], frozenset()),
        ([os.getpid()], frozenset()),
        ([os.getpid(), os.getppid()], frozenset({os.getppid()})),
        ([os.getpid(), NOBODY], frozenset({NOBODY})),  # we are listed, so numbers mean the same
        ([os.getppid()], frozenset({os.getppid()})),
        ([NOBODY], None),  # another container, or ours by its number outside: not known
    ],
)
def test_processes_on_a_gpu_are_foreign_if_they_are_not_ours(
    monkeypatch: pytest.MonkeyPatch, pids: list[int], foreign: frozenset[int] | None
) -> None:
    listed = [SimpleNamespace(pid=pid) for pid in pids]
    monkeypatch.setattr(nvidia, "ask", FakeNvml(nvmlDeviceGetComputeRunningProcesses=listed))
    assert nvidia.foreign_pids(object()) == foreign


@pytest.mark.parametrize(
    ("setting", "watched"),
    [
        (None, ["gpu:0", "gpu:1", "gpu:2"]),
        ("1", ["gpu:1"]),
        ("GPU-b", ["gpu:1"]),  # the beginning of a UUID does
        ("gpu-B0,0", ["gpu:1", "gpu:0"]),
        ("0,-1,1", ["gpu:0"]),  # as CUDA has it, the list ends there
        ("", []),
    ],
)
def test_those_gpus_are_watched_that_cuda_uses(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, watched: list[str]
) -> None:
    uuids = ["GPU-a0", "GPU-b0", "GPU-c0"]
    asked = {"nvmlDeviceGetHandleByIndex": lambda n: n, "nvmlDeviceGetUUID": uuids.__getitem__}
    monkeypatch.setattr(nvidia, "ask", lambda name, *words: asked[name](*words))
    pynvml = SimpleNamespace(nvmlInit=lambda: None, nvmlDeviceGetCount=lambda: 3)
    monkeypatch.setitem(sys.modules, "pynvml", pynvml)
    if setting is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    assert list(nvidia.handles.__wrapped__()) == watched


def test_a_packages_limit_is_its_highest_constraint_and_none_if_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvidia, "power_limits_w", lambda: {"gpu:0": 700.0})
    files = {}
    for zone, name, enabled in ((0, "package-0", 1), (1, "psys", 1), (2, "package-1", 0)):
        files[f"intel-rapl:{zone}/name"] = name
        files[f"intel-rapl:{zone}/enabled"] = str(enabled)
        files[f"intel-rapl:{zone}/constraint_0_power_limit_uw"] = "125000000"
        files[f"intel-rapl:{zone}/constraint_1_power_limit_uw"] = "253000000"
        files[f"intel-rapl:{zone}:0/name"] = "core"
    found = machine.power_limits_w(write(tmp_path, files))
    assert found == {"gpu:0": 700.0, "cpu:0": 253.0}


def test_the_edge_of_a_window_costs_less_than_a_millisecond() -> None:
    HostState.read()

    def edge_s() -> float:
        started_s = time.perf_counter()
        HostState.read()
        HostLoad.read()
        machine.cpu_seconds()
        return time.perf_counter() - started_s

    assert min(edge_s() for _ in range(50)) < 0.001
