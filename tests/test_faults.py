"""A machine that fails is told what to do about it, and loses nothing that was whole."""

from __future__ import annotations

import errno
import os

import pytest

from bench.faults import advice


def said(number: int) -> OSError:
    """The system's own words."""
    return OSError(number, os.strerror(number), "results/record.json")


@pytest.mark.parametrize(
    ("err", "told"),
    [
        (said(errno.ENOSPC), "the disk is full: make room"),
        (said(errno.EDQUOT), "the disk is full: make room"),
        (said(errno.EROFS), "takes nothing any more"),
        (said(errno.ESTALE), "mount it again"),
        (said(errno.EIO), "mount it again"),
        (said(errno.EMFILE), "ulimit -n"),
        # As safetensors, NVML and torch say it.
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (RuntimeError("NVMLError_GpuIsLost: GPU is lost"), "the GPU does not answer"),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "does not answer"),
        (RuntimeError("CUDA error: unspecified launch failure"), "does not answer"),
    ],
)
def test_what_the_system_says_is_turned_into_what_to_do(err: Exception, told: str) -> None:
    assert told in str(advice(err))


@pytest.mark.parametrize("text", ["CUDA out of memory", "the variant removed no channel", ""])
def test_other_errors_get_no_advice(text: str) -> None:
    assert advice(RuntimeError(text)) is None
