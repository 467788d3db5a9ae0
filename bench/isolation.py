"""A function in a process of its own, and one measurement at a time on a host."""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import multiprocessing
import os
import signal
import stat
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

T = TypeVar("T")
log = logging.getLogger(__name__)


SHARED_FOLDERS = (Path("/run/lock"), Path("/tmp"))
"""Where users share files. Not TMPDIR, which batch systems set per job; and /run/lock first,
because some give every job a /tmp of its own."""

_FOR_ALL = stat.S_ISVTX | stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO
_FILE_MODE = 0o666
_ATTEMPTS = 20


class LockError(RuntimeError):
    """The host's lock cannot be taken; the message names the file and the command that mends it."""


class ChildError(RuntimeError):
    """The function raised in its process; the message holds the child's traceback."""

    def __init__(self, summary: str, details: str) -> None:
        super().__init__(summary)
        self.details = details


def in_fresh_process(function: Callable[..., T], *arguments: Any) -> T:
    """Return ``function(*arguments)``, run in a process of its own while this one sleeps.

    The parent blocks in the kernel: a parent that polls would be metered with the child (it took
    half a core in a peer). If the parent is killed, the child stops too. The process is forked from
    a server that has imported what we have and done nothing else, so that it starts at once.

    Args:
        function: A module-level function; it and its arguments are pickled.
        arguments: Passed on.

    Raises:
        ChildError: The function raised, or its process died.
    """
    context = _fresh()
    ours, theirs = context.Pipe(duplex=False)
    level, log_file = logging.getLogger().level, _log_file()
    child = context.Process(target=_child, args=(theirs, level, log_file, function, arguments))
    child.start()
    theirs.close()
    try:
        wait([ours, child.sentinel])
        outcome = ours.recv() if ours.poll() else None
    except EOFError:
        outcome = None
    except BaseException:  # Ctrl-C in the parent: leave no orphan that measures on
        child.terminate()
        raise
    finally:
        child.join()
        ours.close()
    if outcome is None:
        raise ChildError(_death(child.exitcode, function), "the process left no traceback")
    value, failure = outcome
    if failure is not None:
        raise ChildError(*failure)
    return value  # type: ignore[no-any-return]


def _fresh() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    ours = [name for name in sys.modules if name.startswith("bench.") and "__main__" not in name]
    context.set_forkserver_preload(ours)  # heard by the server when it starts, once
    return context


def _death(exit_code: int | None, function: Callable[..., Any]) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = "; the kernel may have been out of memory" if name == "SIGKILL" else ""
        return f"the process of {function.__name__} was killed by {name}{hint}"
    return f"the process of {function.__name__} ended with status {exit_code}"


def _log_file() -> str | None:
    """Where the parent logs to, so that the child's lines land in the same file."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            return handler.baseFilename
    return None


def _child(
    pipe: Connection, level: int, log_file: str | None, function: Callable[..., Any], arguments: Any
) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    logging.basicConfig(
        level=level,
        format="[%(asctime)s][%(name)s][%(levelname)s] %(message)s",
        handlers=[logging.FileHandler(log_file)] if log_file else [logging.NullHandler()],
    )
    try:
        outcome: tuple[Any, tuple[str, str] | None] = (function(*arguments), None)
    except BaseException as err:
        outcome = (None, (f"{type(err).__name__}: {err}", traceback.format_exc()))
    pipe.send(outcome)
    pipe.close()
    sys.stdout.flush()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])  # asleep until the parent is gone
        os._exit(1)


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file, waiting for whoever has it; the kernel frees it if we are killed.

    Args:
        path: The lock file.
        what: For the message while waiting, e.g. ``another measurement on this host``.
    """
    lock = FileLock(path, mode=0o666)  # other users of the host take the same lock
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("waiting for %s (%s)", what, path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def host_lock(what: str = "a measurement") -> Iterator[None]:
    """Keep two measurements on one host from overlapping, whoever starts them.

    The lock file lies where all users and all batch jobs of the host look; it is never removed, and
    the kernel frees it if its holder is killed.

    Args:
        what: What is being done, for those who wait.

    Raises:
        LockError: The lock file cannot be opened by this user; the message says how to mend it.
    """
    path = _shared_folder() / "joulebench.lock"
    try:
        import fcntl
    except ImportError:  # Windows
        with exclusive(path, "another measurement on this host"):
            yield
        return
    descriptor = _open_shared(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("waiting for %s (%s)", _holder(descriptor), path)
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # asleep in the kernel
        _sign(descriptor, what)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _shared_folder() -> Path:
    """Return a folder in which every user may make files; never one that a job has for itself."""
    for folder in SHARED_FOLDERS:
        with contextlib.suppress(OSError):
            if folder.stat().st_mode & _FOR_ALL == _FOR_ALL:
                return folder
    return Path(tempfile.gettempdir())


def _open_shared(path: Path) -> int:
    """Return a descriptor of the lock file, made if need be, for all users to read and write.

    With fs.protected_regular the kernel refuses O_CREAT on an existing file of another user in a
    sticky folder, so that the file is first opened without.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    for _ in range(_ATTEMPTS):
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, _FILE_MODE)
                os.fchmod(descriptor, _FILE_MODE)  # whatever the umask
                return descriptor
        except PermissionError:
            time.sleep(0.1)  # its maker may be about to open it to all
        except OSError as err:
            raise LockError(f"the host's lock {path} is no plain file: {err}; remove it") from err
    raise LockError(
        f"the host's lock {path} cannot be opened by this user: `sudo chmod 666 {path}` opens it "
        f"to all who measure here"
    )


def _sign(descriptor: int, what: str) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = {"pid": os.getpid(), "user": _user(), "since": since, "what": what}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a number without a name, as in some containers
        return str(os.getuid())


def _holder(descriptor: int) -> str:
    """Return who holds the lock, as it signed; anyone may have written there, so only as text."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        who = [str(holder[key])[:80] for key in ("what", "user", "pid", "since")]
    except (OSError, ValueError, KeyError, TypeError):
        return "another measurement on this host"
    return "{} of {} (process {}, since {})".format(*(w if w.isprintable() else "?" for w in who))
