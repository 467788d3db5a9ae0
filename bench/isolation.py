"""A function in a process of its own, and one measurement at a time on a host."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

T = TypeVar("T")
log = logging.getLogger(__name__)


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


def host_lock() -> contextlib.AbstractContextManager[None]:
    """Return the lock that keeps two measurements on one host from overlapping."""
    return exclusive(
        Path(tempfile.gettempdir()) / "joulebench-measurement.lock",
        "another measurement on this host",
    )
