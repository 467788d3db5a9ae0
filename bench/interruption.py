"""Leaving when asked: SIGTERM, SIGUSR1 and SIGUSR2, as batch systems send them before they kill.

    batch system -- SIGTERM --> process -- passes it on --> its child: checkpoint, what was spent
                                        <-- "interrupted" --
                                process: exit status 75; the same command goes on from there

Python runs handlers in the main thread between two of its own instructions. A process either leaves
at once, or takes note and leaves where a checkpoint can be written. Signals that somebody else
handles (submitit requeues its job on SIGUSR2) are left to them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import psutil

BROKEN_OFF = 128 + signal.SIGINT
"""Exit status after Ctrl-C, as shells have it."""

REQUEUE = 75
"""Exit status of a run that was asked to leave: the same command, run again, goes on. EX_TEMPFAIL
of BSD's sysexits.h: a temporary failure, try again later. Slurm's ``RequeueExit`` takes it."""

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
"""All that ask to leave; Ctrl-C is left to Python."""


class Interrupted(RuntimeError):  # noqa: N818 - it is no error
    """This process was asked to leave.

    Attributes:
        by: Name of the signal.
    """

    def __init__(self, by: str) -> None:
        super().__init__(
            f"stopped by {by}: what is finished is kept, and the same command goes on from there"
        )
        self.by = by

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes by the signal's name, not by the message."""
        return type(self), (self.by,)


@dataclass
class _State:
    """Of this process.

    Attributes:
        owner: Its id: a process that is forked from it inherits the handler, and must not heed it.
        by: Name of the first signal that asked to leave.
        at_once: Whether to leave wherever the first signal finds it.
        leaving: Whether it does already; what comes then must not disturb that.
        child: Id of the process that works for it meanwhile, which is asked instead.
        workers: Whether it only waits for processes of its own, which are asked, too.
    """

    owner: int = 0
    by: str | None = None
    at_once: bool = False
    leaving: bool = False
    child: int | None = None
    workers: bool = False


_state = _State()


def watch(workers: bool = False) -> None:
    """Take note of signals from now on, where nobody else handles them.

    Args:
        workers: Whether to ask all processes of ours as well.
    """
    _state.owner, _state.workers = os.getpid(), workers
    if threading.current_thread() is not threading.main_thread():
        return  # Python lets no other thread set handlers
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _heed)


def _heed(number: int, _: FrameType | None) -> None:
    if os.getpid() != _state.owner:
        return
    _state.by = _state.by or signal.Signals(number).name
    if _state.child is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(_state.child, signal.SIGTERM)
    elif _state.at_once and not _state.leaving:
        _state.leaving = True
        raise Interrupted(_state.by)
    elif _state.workers:
        for worker in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                worker.terminate()


def asked() -> str | None:
    """Return the name of the signal that has asked this process to leave, if one has."""
    return _state.by


def check() -> None:
    """Leave here, if that was asked for.

    Raises:
        Interrupted: It was.
    """
    if _state.by is not None:
        _state.leaving = True
        raise Interrupted(_state.by)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Leave wherever a signal comes while the block runs."""
    with _leaving(at_once=True):
        check()
        yield


@contextlib.contextmanager
def later() -> Iterator[None]:
    """Only take note while the block runs: it calls ``check`` where it can leave in good order."""
    with _leaving(at_once=False):
        yield


@contextlib.contextmanager
def _leaving(at_once: bool) -> Iterator[None]:
    former, _state.at_once = _state.at_once, at_once
    try:
        yield
    finally:
        _state.at_once = former


@contextlib.contextmanager
def passed_on_to(child: int) -> Iterator[None]:
    """Ask ``child`` to leave instead of this process, which waits for it while the block runs."""
    _state.child = child
    try:
        yield
    finally:
        _state.child = None


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Start processes in the block that are never stopped by these signals, nor by Ctrl-C.

    They inherit the mask, and so do theirs, until ``let_in``: nothing is lost before a handler is
    there.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # A terminal sends Ctrl-C to all: the parent alone answers it.
    former = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, *SIGNALS))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def let_in() -> None:
    """Let in what was held back until here."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
