"""The machine's description and load, against files and processes whose figures are known."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bench import machine
from bench.machine import HostLoad

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
    children = [SimpleNamespace(cpu_times=gone), stays]
    before = machine.cpu_seconds()
    monkeypatch.setattr(psutil.Process, "children", lambda *_, **__: children)
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
    assert set(found["cpu"]["flags"] or ()) <= set(machine.CPU_FLAGS)


def test_a_library_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LIBRARIES", ("psutil", "no-such-library-at-all"))
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
