"""One measurement at a time on a host, whoever starts it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import locks
from bench.locks import LockError, host_lock

ROOT = Path(__file__).parents[1]
NOBODY_UID = 65534
PATIENCE_S = 30.0

HOLDER = """
import fcntl, logging, os, pwd, sys, time  # before another user may not read them
from pathlib import Path
from bench import locks

folder, hold_s, uid = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
logging.basicConfig(stream=sys.stdout, format="%(message)s")
locks.SHARED_FOLDERS = (folder,)
if uid >= 0:
    os.setgid(uid)
    os.setuid(uid)
with locks.host_lock("the other one"):
    print("in at", time.monotonic(), flush=True)
    time.sleep(hold_s)
"""


def holder(folder: Path, hold_s: float, uid: int = -1) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-c", HOLDER, str(folder), str(hold_s), str(uid)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_whoever_waits_is_told_who_measures_what_and_since_when(own_lock: Path) -> None:
    with host_lock("training digits"):
        signed = json.loads((own_lock / "joulebench.lock").read_text())
        second = holder(own_lock, hold_s=0)
        told = line(second)
        time.sleep(0.3)  # time to enter, if it were let
        released_s = time.monotonic()
    assert float(line(second).removeprefix("in at ")) >= released_s
    assert second.wait(PATIENCE_S) == 0
    assert told == (
        f"waiting for training digits of {signed['user']} (process {os.getpid()}, "
        f"since {signed['since']}) ({own_lock / 'joulebench.lock'})"
    )


def test_the_lock_is_free_once_its_holder_is_killed(own_lock: Path) -> None:
    with holder(own_lock, hold_s=600) as first:
        assert line(first).startswith("in at ")
        with holder(own_lock, hold_s=0) as second:
            assert f"the other one of {locks._user()} (process {first.pid}," in line(second)
            first.kill()
            assert line(second).startswith("in at ")


def test_the_lock_is_let_go_and_unsigned_when_its_block_raises(own_lock: Path) -> None:
    with pytest.raises(ZeroDivisionError), host_lock():
        _ = 1 / 0
    assert (own_lock / "joulebench.lock").read_text() == ""
    with holder(own_lock, hold_s=0) as second:
        assert line(second).startswith("in at ")


def test_the_file_is_for_all_users_whatever_the_umask(own_lock: Path) -> None:
    former = os.umask(0o077)
    try:
        with host_lock():
            pass
    finally:
        os.umask(former)
    assert stat.S_IMODE((own_lock / "joulebench.lock").stat().st_mode) == 0o666


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be two")
@pytest.mark.parametrize("first_uid", [0, NOBODY_UID])
def test_two_users_exclude_each_other(own_lock: Path, first_uid: int) -> None:
    second_uid = NOBODY_UID - first_uid
    with holder(own_lock, hold_s=600, uid=first_uid) as first:
        assert line(first).startswith("in at ")
        with holder(own_lock, hold_s=0, uid=second_uid) as second:
            told = line(second)
            assert told.startswith("waiting for the other one of ")
            assert f"(process {first.pid}," in told
            first.kill()
            assert line(second).startswith("in at ")


def test_a_file_of_another_user_is_opened_without_creating_it(
    own_lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel does with fs.protected_regular: O_CREAT on an existing file is refused."""
    (own_lock / "joulebench.lock").touch()
    real = os.open

    def protected(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(13, "protected", str(path))
        return real(path, flags, mode)

    with monkeypatch.context() as kernel:
        kernel.setattr(os, "open", protected)
        with host_lock("mine"):
            signed = os.pread(real(own_lock / "joulebench.lock", os.O_RDONLY), 100, 0)
    assert b"mine" in signed


def test_a_file_that_is_closed_to_us_names_the_command(
    own_lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object) -> int:
        raise PermissionError(13, "closed")

    monkeypatch.setattr(locks, "_ATTEMPTS", 2)
    with monkeypatch.context() as kernel:
        kernel.setattr(os, "open", closed)
        with pytest.raises(LockError, match=r"sudo chmod 666 .*joulebench\.lock"), host_lock():
            pass


def test_a_link_in_the_place_of_the_lock_is_not_followed(own_lock: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (own_lock / "joulebench.lock").symlink_to(victim)
    with pytest.raises(LockError, match="is no plain file"), host_lock():
        pass
    assert victim.read_text() == "precious"


def test_what_is_written_in_the_file_by_anyone_does_no_harm(own_lock: Path) -> None:
    with holder(own_lock, hold_s=600) as first:
        assert line(first).startswith("in at ")
        (own_lock / "joulebench.lock").write_text('{"what": "\\u001b[2J", "user": 1}')
        with holder(own_lock, hold_s=0) as second:
            assert line(second).startswith("waiting for another measurement on this host (")
            first.kill()
            assert line(second).startswith("in at ")
