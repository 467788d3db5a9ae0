"""A process of its own that dies when it should, a lock that opens when its holder does not."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import joblib
import psutil
import pytest

from bench import isolation, locks
from bench.interruption import Interrupted
from bench.isolation import ChildError, HungError, Limit, in_fresh_process
from bench.locks import exclusive

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0  # for what should come at once, on a machine that is busy with other things


def until(holds: Callable[[], object], what: str) -> None:
    """Wait for something to be so."""
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, what
        time.sleep(0.01)


def described(*values: object) -> tuple[int, tuple[object, ...]]:
    return os.getpid(), values


def test_a_function_returns_its_value_from_another_process() -> None:
    values = (1, {"two": [3.0, None]}, Path("x"))
    pid, echoed = in_fresh_process(described, *values)
    assert echoed == values
    assert pid != os.getpid()
    assert pid != in_fresh_process(described)[0]


def large(size: int) -> bytes:
    return b"7" * size


def test_a_value_larger_than_any_pipe_comes_whole() -> None:
    size = 8 * 2**20  # a pipe holds 64 KiB
    assert in_fresh_process(large, size) == b"7" * size


def test_a_worker_of_joblib_has_processes_of_its_own_too() -> None:
    calls = [joblib.delayed(in_fresh_process)(large, size) for size in (1, 2)]
    assert joblib.Parallel(n_jobs=2, backend="loky")(calls) == [b"7", b"77"]


def test_what_a_child_said_goes_with_its_error_from_process_to_process() -> None:
    again = pickle.loads(pickle.dumps(ChildError("it broke", "line 3")))
    assert (str(again), again.details) == ("it broke", "line 3")


def failing(number: int) -> None:
    raise KeyError(f"nothing at {number}")


def leaving(status: int) -> None:
    os._exit(status)


def quitting(status: int) -> None:
    sys.exit(status)


def killed(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(PATIENCE_S)


def secretive() -> object:
    return lambda: None  # cannot be pickled


def test_an_exception_comes_with_the_childs_traceback() -> None:
    with pytest.raises(ChildError, match="KeyError: 'nothing at 7'") as caught:
        in_fresh_process(failing, 7)
    assert "Traceback (most recent call last)" in caught.value.details
    assert "test_isolation.py" in caught.value.details
    assert 'raise KeyError(f"nothing at {number}")' in caught.value.details


def test_a_child_that_dies_is_named_with_what_ended_it() -> None:
    out_of_memory = "the process of killed was killed by SIGKILL; the kernel may have been out of"
    with pytest.raises(ChildError, match=out_of_memory):
        in_fresh_process(killed, signal.SIGKILL)
    with pytest.raises(ChildError, match=r"the process of killed was killed by SIGALRM$"):
        in_fresh_process(killed, signal.SIGALRM)
    with pytest.raises(ChildError, match=r"the process of leaving ended with status 3$"):
        in_fresh_process(leaving, 3)
    with pytest.raises(ChildError, match="SystemExit: 4"):
        in_fresh_process(quitting, 4)
    with pytest.raises(ChildError, match=r"the process of secretive ended with status 1$"):
        in_fresh_process(secretive)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_child_that_is_asked_to_leave_has_not_failed(number: signal.Signals) -> None:
    with pytest.raises(Interrupted, match=f"stopped by {number.name}: "):
        in_fresh_process(killed, number)


def asleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def stubborn(note: str) -> None:
    """Work on whatever is asked."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(note).write_text(str(os.getpid()))
    time.sleep(600)


def test_a_step_that_takes_too_long_is_stopped_and_its_knob_is_named() -> None:
    limit = Limit("limits.make_h", 0.5 / 3600)
    begin_s = time.monotonic()
    with pytest.raises(HungError, match=r"asleep took more than limits\.make_h=0\.000138889 hours"):
        in_fresh_process(asleep, 600.0, limit=limit)
    assert time.monotonic() - begin_s < 60
    assert in_fresh_process(asleep, 0.01, limit=Limit("limits.make_h", 1.0)) == 0.01


def test_a_step_that_hangs_is_killed_if_it_does_not_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "GRACE_S", 0.5)
    note = tmp_path / "pid"
    with pytest.raises(HungError):
        in_fresh_process(stubborn, str(note), limit=Limit("limits.measure_h", 3 / 3600))
    until(lambda: not psutil.pid_exists(int(note.read_text())), "it lives on")


def kills_its_server(note: str) -> None:
    Path(note).write_text(str(os.getpid()))
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def test_a_child_whose_server_dies_does_not_work_on_beside_the_next_one(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(ChildError):
        in_fresh_process(kills_its_server, str(note))
    until(lambda: not psutil.pid_exists(int(note.read_text())), "it works on")
    assert in_fresh_process(large, 3) == b"777"  # another server is there


def burn(cpu_s: float) -> float:
    while time.process_time() < cpu_s:
        pass
    return time.process_time()


def test_the_parent_uses_hardly_any_cpu_while_it_waits() -> None:
    in_fresh_process(described)  # the server of processes is started once
    before_s = time.process_time()
    child_s = in_fresh_process(burn, 1.0)
    parent_s = time.process_time() - before_s
    assert child_s >= 1.0
    assert parent_s < 0.05 * child_s  # one that polls takes half of a core


def log_a_line(text: str) -> None:
    logging.getLogger("bench.child").info(text)


def test_the_childs_log_lines_land_in_the_parents_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.log"
    handler = logging.FileHandler(file)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [handler])
    monkeypatch.setattr(root, "level", logging.INFO)
    in_fresh_process(log_a_line, "said in the child")
    handler.close()
    assert "[bench.child][INFO] said in the child" in file.read_text()


PARENT = """
import os, signal, sys, time
from pathlib import Path
from bench.isolation import in_fresh_process

def last(file):
    Path(file + ".half").write_text(str(os.getpid()))
    os.rename(file + ".half", file)
    time.sleep(600)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
    in_fresh_process(last, sys.argv[1])
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_the_child_stops_when_its_parent_is_killed_or_interrupted(
    tmp_path: Path, ending: signal.Signals
) -> None:
    script, note = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(PARENT)
    command = [sys.executable, str(script), str(note)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as parent:
        until(note.exists, "the child has not started")
        child = psutil.Process(int(note.read_text()))
        assert not gone(child)
        parent.send_signal(ending)
        try:
            assert parent.wait(PATIENCE_S) == -ending
            until(lambda: gone(child), "the child lives on")
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


HOLDER = """
import logging, sys, time
from pathlib import Path
from bench.locks import exclusive

logging.basicConfig(stream=sys.stdout, format="%(message)s")
with exclusive(Path(sys.argv[1]), "another test"):
    print("in at", time.monotonic(), flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(lock: Path, hold_s: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-c", HOLDER, str(lock), str(hold_s)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_second_process_waits_until_the_first_lets_go(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with exclusive(lock, "a test"):
        second = holder(lock, hold_s=0)
        assert line(second) == f"waiting for another test ({lock})"
        time.sleep(0.3)  # time to enter, if it were let
        released_s = time.monotonic()
    entered = line(second)
    assert second.wait(PATIENCE_S) == 0
    assert entered.startswith("in at ")
    assert float(entered.removeprefix("in at ")) >= released_s


def test_a_lock_is_free_once_its_holder_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with holder(lock, hold_s=600) as first:
        assert line(first).startswith("in at ")
        with holder(lock, hold_s=0) as second:
            assert line(second).startswith("waiting for another test")
            first.kill()
            assert line(second).startswith("in at ")


LESSEE = HOLDER.replace("exclusive", "leased")


def lessee(lease: Path, hold_s: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-c", LESSEE, str(lease), str(hold_s)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_lease_is_waited_for_and_leaves_no_file(tmp_path: Path) -> None:
    lease = tmp_path / "lease"
    with locks.leased(lease, "a test"):
        second = lessee(lease, hold_s=0)
        assert line(second).startswith("waiting for another test; if there is nobody, remove ")
        time.sleep(0.3)  # time to enter, if it were let
        released_s = time.monotonic()
    entered = line(second)
    assert second.wait(PATIENCE_S) == 0
    assert float(entered.removeprefix("in at ")) >= released_s
    assert not lease.exists()


def test_a_lease_is_taken_over_once_its_holder_is_killed(tmp_path: Path) -> None:
    lease = tmp_path / "lease"
    with lessee(lease, hold_s=600) as first:
        assert line(first).startswith("in at ")
        with lessee(lease, hold_s=0) as second:
            assert line(second).startswith("waiting for another test")
            first.kill()
            first.wait()  # until it is reaped it counts as alive
            assert line(second).startswith("in at ")


def test_a_lease_of_another_host_is_taken_over_after_silence_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LEASE_S", 3.0)
    monkeypatch.setattr(locks, "_HEARTBEAT_S", 1.0)
    lease = tmp_path / "lease"
    told = {"pid": 1, "host": "elsewhere", "mode": "lease", "token": "ab" * 16, "duration": 3.0}
    written = "\n".join(["filelock/2", *(f"{key}={value}" for key, value in told.items())])
    lease.write_text(written + "\n")
    begin_s = time.monotonic()
    with locks.leased(lease, "another host"):
        assert time.monotonic() - begin_s >= 3.0


def test_a_lease_that_was_never_signed_is_removed_after_a_while(tmp_path: Path) -> None:
    lease = tmp_path / "lease"
    lease.touch()  # its maker lost power between making it and writing into it
    old_s = time.time() - 3 * locks.LEASE_S
    os.utime(lease, (old_s, old_s))
    with locks.leased(lease, "a test"):
        pass


def test_a_lock_is_let_go_when_its_block_raises(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with pytest.raises(ZeroDivisionError), exclusive(lock, "a test"):
        _ = 1 / 0
    with holder(lock, hold_s=0) as second:
        assert line(second).startswith("in at ")


def test_every_user_of_the_host_may_take_the_same_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SHARED_FOLDERS", ())
    monkeypatch.setattr(locks.tempfile, "tempdir", str(tmp_path))
    former = os.umask(0o077)
    try:
        with locks.host_lock():
            (file,) = tmp_path.iterdir()
            assert stat.S_IMODE(file.stat().st_mode) == 0o666
    finally:
        os.umask(former)
