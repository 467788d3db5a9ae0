"""A function in a process of its own, which is asked to leave when we are, or when it hangs."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, fields
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar, cast

from bench import interruption
from bench.interruption import Interrupted

T = TypeVar("T")
log = logging.getLogger(__name__)

GRACE_S = 60.0
"""Seconds between asking a process that hangs to leave and killing it: a checkpoint's time."""

_UNKILLABLE_S = 10.0
"""Seconds after which a process that was killed and is still there is left to the kernel."""

_UNKNOWN = 255
"""What ``multiprocessing`` says if the server that should know how a process ended has died."""

_SECONDS_PER_HOUR = 3600.0


class ChildError(RuntimeError):
    """The function raised in its process; the message holds the child's traceback."""

    def __init__(self, summary: str, details: str) -> None:
        super().__init__(summary)
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes, those of launchers too, with both."""
        return type(self), (str(self), self.details)


def details(err: BaseException) -> str:
    """Return the traceback of an error that is being handled, or that of the child it came from."""
    return err.details if isinstance(err, ChildError) else traceback.format_exc()


class HungError(RuntimeError):
    """A step took longer than it may; the message names the limit and where to look."""


@dataclass(frozen=True)
class Limits:
    """Hours after which a step counts as hung; ``conf/config.yaml`` holds the values.

    Attributes:
        make_h: Making one arm: training it, or optimising it.
        evaluate_h: Evaluating one arm.
        measure_h: Measuring a pair.
    """

    make_h: float | None
    evaluate_h: float | None
    measure_h: float | None

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        for field in fields(self):
            if (hours := getattr(self, field.name)) is not None and hours <= 0:
                raise ValueError(
                    f"limits.{field.name} is {hours}: hours above 0, or null, which sets no limit"
                )

    def of(self, key: str) -> Limit:
        """Return the limit of a step, with its name for the message."""
        return Limit(f"limits.{key}", getattr(self, key))


@dataclass(frozen=True)
class Limit:
    """How long a step may take.

    Attributes:
        key: The knob.
        hours: Its value; ``None`` for any time.
    """

    key: str
    hours: float | None

    @property
    def seconds(self) -> float | None:
        """The same in seconds."""
        return None if self.hours is None else self.hours * _SECONDS_PER_HOUR


NO_LIMIT = Limit("", None)


def in_fresh_process(function: Callable[..., T], *arguments: Any, limit: Limit = NO_LIMIT) -> T:
    """Return ``function(*arguments)``, run in a process of its own while this one sleeps.

    The parent blocks in the kernel: a parent that polls would be metered with the child (it took
    half a core in a peer). If the parent is killed, the child stops too; if it is asked to leave,
    the child is asked, and given the time it takes. The process is forked from a server that has
    imported what we have and done nothing else, so that it starts at once.

    Args:
        function: A module-level function; it and its arguments are pickled.
        arguments: Passed on.
        limit: How long it may take.

    Raises:
        ChildError: The function raised, or its process died.
        Interrupted: Either process was asked to leave.
        HungError: It took longer than its limit.
    """
    interruption.check()
    context = _fresh()
    ours, theirs = context.Pipe(duplex=False)
    level, kept_in = logging.getLogger().level, log_file()
    child = context.Process(target=_child, args=(theirs, level, kept_in, function, arguments))
    try:
        child.start()
        theirs.close()
        with interruption.passed_on_to(child.pid):
            outcome = _outcome(ours, child, function, limit)
    except BaseException:  # Ctrl-C in the parent: leave no orphan that measures on
        if child.pid is not None:
            child.terminate()
        raise
    finally:
        if child.pid is not None:
            child.join(None if limit.hours is None else GRACE_S + _UNKILLABLE_S)
        ours.close()
    return _value(outcome, child.exitcode, function)


def _outcome(ours: Connection, child: Any, function: Callable[..., Any], limit: Limit) -> Any:
    """Wait for what the child says; ``None`` if it dies without a word."""
    if not wait([ours, child.sentinel], limit.seconds):
        _stop(child)
        raise HungError(
            f"{function.__name__} took more than {limit.key}={limit.hours:g} hours: its process "
            f"was stopped. If it was at work, give it more ({limit.key}=HOURS; null sets no "
            f"limit): the same command goes on from the last checkpoint. If it hung, dmesg and "
            f"nvidia-smi may say what on"
        )
    try:
        said = ours.recv() if ours.poll() else None
    except EOFError:
        said = None
    if said is None and child.exitcode in (None, _UNKNOWN):
        _end(child.pid)  # it was their server that died, and the child does not know
    return said


def _end(pid: int) -> None:
    """Kill a process that may be dead already, and wait until it is gone."""
    end_s = time.monotonic() + _UNKILLABLE_S
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < end_s:
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


def _stop(child: Any) -> None:
    child.terminate()
    if wait([child.sentinel], GRACE_S):
        return
    child.kill()
    if not wait([child.sentinel], _UNKILLABLE_S):
        log.error("process %s cannot even be killed: a driver holds it; reboot", child.pid)


def _value(outcome: Any, exit_code: int | None, function: Callable[..., T]) -> T:
    value, failure = outcome or (None, (_death(exit_code, function), "no traceback was left"))
    if isinstance(failure, Interrupted):
        raise Interrupted(interruption.asked() or failure.by)
    if failure is None:
        return cast("T", value)
    if (by := interruption.asked()) is not None:
        raise Interrupted(by) from ChildError(*failure)  # its workers were asked, too, say
    raise ChildError(*failure)


def _fresh() -> Any:
    known = multiprocessing.get_all_start_methods()
    if multiprocessing.get_start_method() not in known:
        # In joblib's workers it is "loky", for which our children would look in vain.
        multiprocessing.set_start_method("spawn", force=True)
    if "forkserver" not in known:
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver, resource_tracker

    context = multiprocessing.get_context("forkserver")
    ours = [name for name in sys.modules if name.startswith("bench.") and "__main__" not in name]
    context.set_forkserver_preload(ours)  # heard by the server when it starts, once
    # Batch systems send a signal to every process. The server must outlive it: it tells us how our
    # children end. The tracker comes first because its start lets signals in again.
    resource_tracker.ensure_running()
    with interruption.held_back():
        forkserver.ensure_running()
    return context


def _death(exit_code: int | None, function: Callable[..., Any]) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = "; the kernel may have been out of memory" if name == "SIGKILL" else ""
        return f"the process of {function.__name__} was killed by {name}{hint}"
    return f"the process of {function.__name__} ended with status {exit_code}"


def log_file() -> str | None:
    """Return where this process logs to, so that a child's lines land in the same file."""
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both; the parent asks us
    interruption.watch()
    try:
        interruption.let_in()
        with interruption.at_once():
            outcome: tuple[Any, Any] = (function(*arguments), None)
    except Interrupted as err:
        outcome = (None, err)
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
