"""One side of a check: a function, called over and over in windows."""

from __future__ import annotations

import gc
import inspect
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from statistics import median
from typing import Any
from typing import Protocol as Contract

from bench.ci.instruments import Instruments, Taken, synchronise
from bench.measurement.protocol import AGREEING, Protocol

_TRACE_THREADS: Callable[[Any], None] = getattr(
    threading, "settrace_all_threads", threading.settrace
)
_PROFILE_THREADS: Callable[[Any], None] = getattr(
    threading, "setprofile_all_threads", threading.setprofile
)
"""Of threads that run already, from Python 3.12 on; before that of new ones alone."""


class UndoneError(TypeError):
    """A function puts its work off; the message says how it is done within the call."""


class Side(Contract):
    """What takes turns: a function in this process, or one in another."""

    def warm_up(self, protocol: Protocol, window_s: float, warmup_s: float) -> float:
        """Work until warm; return wall seconds per call.

        Args:
            protocol: Says when calibrations agree.
            window_s: Length of a window, in seconds.
            warmup_s: Least seconds of work.
        """
        ...

    def window(self, calls: int, lead_in: int, core: int) -> Taken:
        """Call ``lead_in`` times unmeasured, then ``calls`` times in a window.

        Args:
            calls: That are measured.
            lead_in: That are not.
            core: Number of the core to begin on; beyond the last it goes on from the first.
        """
        ...


class LocalSide:
    """A function in this process.

    Args:
        function: Called without arguments; what it returns is dropped.
        instruments: To measure with.
    """

    def __init__(self, function: Callable[[], object], instruments: Instruments) -> None:
        self._function = function
        self._instruments = instruments

    def warm_up(self, protocol: Protocol, window_s: float, warmup_s: float) -> float:
        """Work until warm; return wall seconds per call.

        Calls are doubled until they take a quarter of a window, so that the clock does not weigh.
        The first call may be slow for reasons of its own and tells nothing, unless it takes longer
        than the warm-up: then the function is called twice, no more.

        Raises:
            UndoneError: The function returns its work undone.
        """
        until_s = time.monotonic() + warmup_s
        wanted = 1 if self._first() > warmup_s else AGREEING
        calls = 1
        rates: list[float] = []
        while len(rates) < wanted or time.monotonic() < until_s or not protocol.settled(rates):
            seconds = self._timed(calls)
            if seconds < window_s / 4:
                calls *= 2
            else:
                rates.append(seconds / calls)
        return median(rates[-AGREEING:])

    def _first(self) -> float:
        """Call it once, look at what it returns, and return the seconds that it took."""
        with _untraced():
            begin_s = time.monotonic()
            returned = self._function()
            synchronise()
            seconds = time.monotonic() - begin_s
        refuse_undone(self._function, returned)
        return seconds

    def _timed(self, calls: int) -> float:
        with _untraced():  # as windows are
            begin_s = time.monotonic()
            self._repeat(calls)
            synchronise()
            return time.monotonic() - begin_s

    def window(self, calls: int, lead_in: int, core: int) -> Taken:
        """Call ``lead_in`` times unmeasured, then ``calls`` times in a window.

        Garbage is collected in the lead-in, not in the window: there one arm's would be charged to
        the other.
        """
        move_to(core)
        with _untraced():
            self._repeat(lead_in)
            with _uncollected():
                return self._instruments.take(lambda: self._repeat(calls))

    def _repeat(self, calls: int) -> None:
        function = self._function
        for _ in itertools.repeat(None, calls):
            function()


def refuse_undone(function: Callable[[], object], returned: object) -> None:
    """Refuse a function whose calls only promise its work.

    Args:
        function: That was called.
        returned: What it gave.

    Raises:
        UndoneError: That is to be awaited, or run over.
    """
    if inspect.isasyncgen(returned):
        what, way = "an asynchronous generator", "asyncio.run(...) of a coroutine that runs over it"
    elif inspect.isgenerator(returned):
        what, way = "a generator", "list(...)"
    elif inspect.isawaitable(returned):
        what, way = "an awaitable", "asyncio.run(...)"
    else:
        return
    if inspect.iscoroutine(returned):
        returned.close()  # else Python warns that nobody has awaited it
    name = getattr(function, "__qualname__", None) or repr(function)
    raise UndoneError(
        f"{name} returns {what}: to call it does none of the work, and nothing would be measured. "
        f"Do the work inside of the function that you give, e.g. with {way}"
    )


def move_to(core: int) -> None:
    """Take this thread to one of the cores it may use, and leave it free to go on from there.

    The kernel lets a process stay where it is. Two sides on two cores, of which one shares its
    silicon with a busy neighbour, would differ by that core in every block. Other threads, of
    this process and of those it starts, may use all cores as before.

    Args:
        core: Counted through those that are allowed, again from the first beyond the last.
    """
    if not hasattr(os, "sched_setaffinity"):  # only Linux
        return
    allowed = os.sched_getaffinity(0)
    with suppress(OSError):  # one was taken offline meanwhile: then it stays where it is
        os.sched_setaffinity(0, {sorted(allowed)[core % len(allowed)]})
    os.sched_setaffinity(0, allowed)


@contextmanager
def _uncollected() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _untraced() -> Iterator[None]:
    """Keep coverage and profilers that trace lines out of windows, and of threads at work there."""
    tracer, profiler = sys.gettrace(), sys.getprofile()
    of_threads = (_TRACE_THREADS, threading.gettrace()), (_PROFILE_THREADS, threading.getprofile())
    used = [(put, tool) for put, tool in of_threads if tool is not None]
    for put, _ in used:
        put(None)
    sys.settrace(None)
    sys.setprofile(None)
    try:
        yield
    finally:
        for put, tool in used:
            put(tool)
        sys.settrace(tracer)  # after the others', which are this thread's as well
        sys.setprofile(profiler)
