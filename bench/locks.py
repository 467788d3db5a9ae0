"""Locks: one measurement at a time on a host, one maker of a model at a time on all hosts."""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout

log = logging.getLogger(__name__)

SHARED_FOLDERS = (Path("/run/lock"), Path("/tmp"))
"""Where users share files. Not TMPDIR, which batch systems set per job; and /run/lock first,
because some give every job a /tmp of its own."""

LOCK = "joulebench.lock"
"""The file in there that is locked."""

POLL_S = 1.0
"""Seconds from one look at a lock file to the next: whoever waits must not disturb who measures."""

LEASE_S = 300.0
"""Seconds without a sign of life after which a maker on another host counts as gone. NFS shows a
file's time up to a minute late (nfs(5), acregmax)."""
_HEARTBEAT_S = 60.0

_FOR_ALL = stat.S_ISVTX | stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO
_FILE_MODE = 0o666
_ATTEMPTS = 20
_MOST_BYTES = 4096


class LockError(RuntimeError):
    """The host's lock cannot be taken; the message names the file and the command that mends it."""


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file, waiting for whoever has it; the kernel frees it if we are killed.

    Args:
        path: The lock file.
        what: For the message while waiting, e.g. ``another measurement on this host``.
    """
    lock = FileLock(path, mode=_FILE_MODE)  # other users of the host take the same lock
    with _held(lock, f"{what} ({path})"):
        yield


@contextlib.contextmanager
def leased(path: Path, what: str) -> Iterator[None]:
    """Hold a lease that also holds between the hosts of a shared file system.

    The file exists while somebody holds it and is touched every minute; ``flock`` is of one host
    only on some of these systems. It is taken over from a holder that is dead on this host, or has
    given no sign of life for ``LEASE_S`` on another. A holder that was only slow goes on beside the
    next one: what is done under a lease must be published by a rename.

    Args:
        path: The lease's file.
        what: For the message while waiting.
    """
    _remove_if_never_signed(path)
    lease = SoftFileLease(
        path, lease_duration=LEASE_S, heartbeat_interval=_HEARTBEAT_S, mode=_FILE_MODE
    )
    with _held(lease, f"{what}; if there is nobody, remove {path}"):
        yield


@contextlib.contextmanager
def _held(lock: BaseFileLock, waiting_for: str) -> Iterator[None]:
    """Hold a lock of either kind; say once what is waited for."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("waiting for %s", waiting_for)
        lock.acquire(poll_interval=POLL_S)
    try:
        yield
    finally:
        lock.release()


def _remove_if_never_signed(path: Path) -> None:
    """Remove a file whose maker lost power before its name was on the disk: nobody else would."""
    with contextlib.suppress(OSError):
        found = path.stat()
        if found.st_size == 0 and time.time() - found.st_mtime > 2 * LEASE_S:
            path.unlink()


@contextlib.contextmanager
def host_lock(what: str = "a measurement", windows: bool = False) -> Iterator[None]:
    """Keep two measurements on one host from overlapping, whoever starts them.

    The lock file lies where all users and all batch jobs of the host look; it is never removed, and
    the kernel frees it if its holder is killed.

    Args:
        what: What is being done, for those who wait.
        windows: Whether windows are measured: then who only looks on should rest (``held_by``).

    Raises:
        LockError: The lock file cannot be opened by this user; the message says how to mend it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        with exclusive(_file(), "another measurement on this host"):
            yield
        return
    with _opened() as descriptor:
        _take(descriptor, fcntl.LOCK_EX)
        _sign(descriptor, what, windows)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)


@contextlib.contextmanager
def host_share(what: str) -> Iterator[Callable[[], bool]]:
    """Keep measurements off this host while something is prepared; others may prepare beside it.

    Gives a function that tells whether nobody else has prepared here since: counters count all that
    a host does, so only then are the joules those of one.

    Args:
        what: What is being prepared, for those who wait.

    Raises:
        LockError: As of ``host_lock``.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        with exclusive(_file(), "whoever measures or prepares on this host"):
            yield lambda: True
        return
    with _opened() as descriptor:
        _take(descriptor, fcntl.LOCK_SH)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone, mine = True, _sign(descriptor, what)
        except BlockingIOError:
            alone, mine = False, b""
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # what was held until here is lost when it is asked
        if not alone:
            os.lseek(descriptor, 0, os.SEEK_END)
            os.write(descriptor, _signature(what))
        # Whoever joins adds a line of its own.
        yield lambda: alone and os.pread(descriptor, len(mine) + 1, 0) == mine


def held_by() -> dict[str, Any] | None:
    """Return what the holder of the host's lock, or of a share of it, has signed, if there is one.

    For those who only look on: it takes some 50 microseconds and never makes the file. Anyone may
    have written in there: what comes back is text to show and a number to look for, nothing more.
    """
    try:
        import fcntl

        descriptor = os.open(_file(), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (ImportError, OSError):  # the first: Windows, where nobody is seen
        return None
    try:
        if not (signed := os.pread(descriptor, _MOST_BYTES, 0)):
            return None  # let go in order
        found = [_read(line) for line in signed.splitlines()]
        if found[0] and found[0].get("windows") is not True:
            # The lock itself is not tried: a share that begins just then would not be alone.
            return next((holder for holder in found if _alive(holder.get("pid"))), None)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None  # its holder was killed; closing the file lets go again
        return found[0]
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _file() -> Path:
    return _shared_folder() / LOCK


@contextlib.contextmanager
def _opened() -> Iterator[int]:
    descriptor = _open_shared(_file())
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, kind: int) -> None:
    """Take the lock exclusively or shared; wait, and say for whom."""
    import fcntl

    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _read(os.pread(descriptor, _MOST_BYTES, 0).partition(b"\n")[0])
        log.warning("waiting for %s (%s)", described(holder), _file())
        fcntl.flock(descriptor, kind)  # asleep in the kernel


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


def _sign(descriptor: int, what: str, windows: bool = False) -> bytes:
    """Write who holds the lock alone, and return it."""
    signature = _signature(what, windows)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, signature, 0)
    return signature


def _signature(what: str, windows: bool = False) -> bytes:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder: dict[str, Any] = {"pid": os.getpid(), "user": _user(), "since": since, "what": what}
    if windows:
        holder["windows"] = True
    return json.dumps(holder).encode() + b"\n"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a number without a name, as in some containers
        return str(os.getuid())


def described(holder: Mapping[str, Any]) -> str:
    """Return what a holder has signed in words that can be printed, whoever wrote them."""
    try:
        who = [str(holder[key])[:80] for key in ("what", "user", "pid", "since")]
    except KeyError:
        return "another measurement on this host"
    return "{} of {} (process {}, since {})".format(*(w if w.isprintable() else "?" for w in who))


def _read(line: bytes) -> dict[str, Any]:
    """Return a signature; nothing for what is none."""
    with contextlib.suppress(ValueError, RecursionError):
        if isinstance(found := json.loads(line), dict):
            return found
    return {}


def _alive(pid: object) -> bool:
    try:
        return type(pid) is int and psutil.pid_exists(pid)
    except OverflowError:  # no number of a process
        return False
