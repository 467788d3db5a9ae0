"""What to do about machines that fail: full disks, disks that are gone, GPUs that do not answer."""

from __future__ import annotations

import re

_GOES_ON = "nothing half-written is left, and the same command goes on from there"

_SIGNS = (
    (
        r"No space left on device|Disk quota exceeded",
        f"the disk is full: make room, or give store.root=DIR or store.artefacts=DIR on another; "
        f"{_GOES_ON}",
    ),
    (
        r"Read-only file system",
        f"the disk takes nothing any more, as a kernel does after errors (dmesg): mend or remount "
        f"it; {_GOES_ON}",
    ),
    (
        r"Stale file handle|Transport endpoint is not connected|Input/output error",
        f"the disk has gone, or its server: mount it again (dmesg says more); {_GOES_ON}",
    ),
    (
        r"GPU is lost|fallen off the bus|uncorrectable ECC|unspecified launch failure"
        r"|CUDA error: device-side|CUDA-capable device\(s\) is/are busy|NCCL.*unhandled cuda error",
        f"the GPU does not answer: `dmesg | grep -i xid` and nvidia-smi say why; it needs a reset "
        f"(nvidia-smi -r) or the host a reboot; {_GOES_ON}",
    ),
    (
        r"Too many open files",
        "this user may open too few files: `ulimit -n 4096`, or training.workers=0",
    ),
)
"""What the system or a library says, and what is meant and the way out."""


class FaultError(RuntimeError):
    """A machine that failed; the message says what to do."""


def advice(err: BaseException) -> str | None:
    """Return what to do about an error that is the machine's; ``None`` of any other."""
    text = str(err)
    return next((way_out for sign, way_out in _SIGNS if re.search(sign, text)), None)


def fault(err: BaseException) -> FaultError | None:
    """Return an error that is the machine's with its way out; ``None`` of any other."""
    way_out = advice(err)
    return None if way_out is None else FaultError(f"{err}; {way_out}")
