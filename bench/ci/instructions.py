"""Retired instructions of this process, in user mode, where the kernel gives them.

They depend little on what else the machine does, and say nothing of caches, clocks or waiting. A
virtual machine seldom has the counter, and containers often forbid the call.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_CALL_NUMBERS = {"x86_64": 298, "aarch64": 241}
"""Of perf_event_open: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h."""

# include/uapi/linux/perf_event.h, struct perf_event_attr in its first layout of 64 bytes: type,
# size, config, sample_period, sample_type, read_format, flags, wakeup_events, bp_type, bp_addr.
_ATTRIBUTES = struct.Struct("=IIQQQQQIIQ")
_HARDWARE = 0
_INSTRUCTIONS = 1
_TIMES = 0b11  # PERF_FORMAT_TOTAL_TIME_ENABLED and _RUNNING beside the count
_INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HYPERVISOR = 1 << 1, 1 << 5, 1 << 6
_CLOSE_ON_EXEC = 8
_ANSWER = struct.Struct("=QQQ")


class InstructionsError(RuntimeError):
    """There is no such counter here; the message says why and what to choose instead."""


class Count(NamedTuple):
    """What has been counted so far.

    Attributes:
        instructions: Retired.
        uncounted_ns: Thread time during which others had the counter, in nanoseconds.
    """

    instructions: int
    uncounted_ns: int

    def since(self, begun: Count) -> int | None:
        """Return the instructions between two readings; ``None`` if the counter was shared."""
        if self.uncounted_ns != begun.uncounted_ns:  # what was missed would be extrapolated
            return None
        return self.instructions - begun.instructions


@dataclass(frozen=True, slots=True)
class Instructions:
    """Counts what all threads of this process retire, those included that they start later.

    Attributes:
        descriptors: One per thread that was there when it was opened.
    """

    descriptors: Sequence[int]

    @classmethod
    def open(cls) -> Instructions:
        """Start counting every thread that is there; a thread's children are counted with it.

        Raises:
            InstructionsError: The kernel has no such counter for us.
        """
        number = _CALL_NUMBERS.get(platform.machine())
        if platform.system() != "Linux" or number is None:
            raise InstructionsError(
                "--joules-measure=instructions needs Linux on x86-64 or 64-bit Arm; choose cpu_s"
            )
        library = ctypes.CDLL(None, use_errno=True)
        library.syscall.restype = ctypes.c_long
        descriptors: list[int] = []
        try:
            for thread in os.listdir("/proc/self/task"):  # noqa: PTH208  # numbers, no paths
                descriptors += _opened(library, number, int(thread))
        except InstructionsError:
            cls(descriptors).close()
            raise
        return cls(descriptors)

    def read(self) -> Count:
        """Return what all of them have counted so far."""
        found = [_ANSWER.unpack(os.read(d, _ANSWER.size)) for d in self.descriptors]
        return Count(
            instructions=sum(count for count, _, _ in found),
            uncounted_ns=sum(enabled_ns - running_ns for _, enabled_ns, running_ns in found),
        )

    def close(self) -> None:
        """Stop counting."""
        for descriptor in self.descriptors:
            os.close(descriptor)


def _opened(library: ctypes.CDLL, number: int, thread: int) -> list[int]:
    """Return the descriptor of one thread's counter; none if the thread has ended meanwhile."""
    flags = _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HYPERVISOR
    attributes = _ATTRIBUTES.pack(
        _HARDWARE, _ATTRIBUTES.size, _INSTRUCTIONS, 0, 0, _TIMES, flags, 0, 0, 0
    )
    any_cpu, no_group = ctypes.c_int(-1), ctypes.c_int(-1)
    answer = library.syscall(
        ctypes.c_long(number),
        ctypes.create_string_buffer(attributes, len(attributes)),
        ctypes.c_int(thread),
        any_cpu,
        no_group,
        ctypes.c_ulong(_CLOSE_ON_EXEC),
    )
    if answer >= 0:
        return [int(answer)]
    if ctypes.get_errno() == errno.ESRCH:
        return []
    problem = os.strerror(ctypes.get_errno())
    raise InstructionsError(
        f"--joules-measure=instructions: the kernel gives no counter of retired instructions "
        f"({problem}). Bare metal has one; `sudo sysctl kernel.perf_event_paranoid=2` opens it to "
        "users, and containers need the perf_event_open call; else choose cpu_s"
    )
