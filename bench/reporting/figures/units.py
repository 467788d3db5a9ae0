"""What is on an axis: joules with their grade, or seconds where nothing counted joules."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_GRADES = {"A": "wall meter", "B": "hardware counter", "C": "modelled, not measured"}
_PREFIXES = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit in which the figures of an axis are between 1 and 1,000, as far as possible.

    Attributes:
        name: Such as ``mJ`` or ``h``.
        per: How many of it are one joule or second.
    """

    name: str
    per: float


def grade(measure: str) -> str:
    """Return how joules of a measure (``energy_b``) were obtained, or that there are none."""
    if not measure.startswith("energy"):
        return "no energy counter"
    return f"grade {measure[-1].upper()}: {how(measure)}"


def how(measure: str) -> str:
    """Return what the joules of a measure come from."""
    return _GRADES[measure[-1].upper()]


def quantity(measure: str) -> str:
    """Return ``energy`` or ``time``."""
    return "energy" if measure.startswith("energy") else "time"


def base(measure: str) -> str:
    """Return the unit in which records hold a measure: ``J`` or ``s``."""
    return "J" if measure.startswith("energy") else "s"


def unit(measure: str, values: Iterable[float]) -> Unit:
    """Return the unit for figures of a measure, in joules or seconds."""
    largest = max((abs(value) for value in values), default=0.0)
    if base(measure) == "s" and largest >= 2 * _HOUR_S:
        return Unit("h", 1 / _HOUR_S)
    thousands = math.floor(math.log10(largest) / 3) if largest > 0 else 0
    power = 3 * min(max(thousands, -4), 4 if base(measure) == "J" else 0)
    return Unit(_PREFIXES[power] + base(measure), 10.0**-power)
