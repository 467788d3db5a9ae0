"""When a check fails: only when its interval says so."""

from __future__ import annotations

import argparse
import re
from typing import Literal

Verdict = Literal["passes", "fails", "undecided", "no limit", "no baseline", "invalid"]

_LIMIT = re.compile(r"ratio:(?P<limit>\d+(\.\d+)?)")


class GateError(argparse.ArgumentTypeError):
    """A limit that is none; pytest prints the message as a usage error."""


def limit_of(text: str) -> float:
    """Return the limit that ``--joules-fail`` names, a ratio of candidate over baseline.

    Raises:
        GateError: It is no limit; the message says what one looks like.
    """
    found = _LIMIT.fullmatch(text.strip())
    limit = float(found["limit"]) if found else 0.0
    if limit <= 0:
        raise GateError(
            f"--joules-fail is {text!r}: it takes ratio:LIMIT, what the candidate may cost in "
            "baselines; ratio:1.05 allows 5 % more, ratio:0.9 asks for 10 % less"
        )
    return limit


def verdict(low: float, high: float, limit: float | None) -> Verdict:
    """Return what the interval of a ratio, from ``low`` to ``high``, says of a limit.

    It fails only if all of the interval is above, and passes only if none of it is: whatever lies
    between is undecided, and no failure. Of a 95 % interval that is a test of non-inferiority and
    one of inferiority at 2.5 % each: where the true ratio is the limit, one measurement in forty
    fails (against a base commit two must), where it is 1 the fewer the narrower their intervals.
    Every check of a run is judged by itself. Source: Schuirmann (1987) J. Pharmacokinet. Biopharm.
    15:657-680.
    """
    if limit is None:
        return "no limit"
    if low > limit:
        return "fails"
    return "passes" if high <= limit else "undecided"
