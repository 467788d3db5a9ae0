"""``python -m bench.doctor``: which joules can be had on this machine, and what is in the way."""

from bench.doctor.kept import last

__all__ = ["last"]
