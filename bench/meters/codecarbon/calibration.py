"""What this machine's CPU draws idle and fully loaded: a file that replaces CodeCarbon's defaults.

CodeCarbon's model of a CPU without counter is ``tdp_w * (0.1 + 0.9 * load**3)``: it knows the power
at full load (``force_cpu_power``) and has no word for the power at rest. With a calibration the
model is the straight line between the two figures. It stays a model (grade C): it knows how busy
the cores are and not with what.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_KEYS = ("idle_w", "full_load_w", "source")


class CalibrationError(ValueError):
    """The file is no calibration; the message says what it lacks."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Two powers of this machine's CPU.

    Attributes:
        idle_w: With nothing to do.
        full_load_w: With every core busy.
        source: Where they come from: a wall meter's name, a data sheet.
        file: Path they were read from.
    """

    idle_w: float
    full_load_w: float
    source: str
    file: str

    def power_w(self, load: float) -> float:
        """Return the power at a load of all cores from 0 to 1."""
        return self.idle_w + (self.full_load_w - self.idle_w) * load


def load(file: str) -> Calibration:
    """Read a YAML or JSON file with ``idle_w``, ``full_load_w`` and ``source``.

    Raises:
        CalibrationError: It is not there, lacks one of them, or they are out of range.
    """
    try:
        found = yaml.safe_load(Path(file).read_text())  # JSON is YAML
    except (OSError, yaml.YAMLError) as err:
        raise CalibrationError(f"it cannot be read ({err})") from err
    lacking = [key for key in _KEYS if not isinstance(found, dict) or found.get(key) is None]
    if lacking:
        raise CalibrationError(
            f"it lacks {', '.join(lacking)}; it needs idle_w and full_load_w in watts, and source: "
            "the wall meter or data sheet they come from"
        )
    idle_w, full_load_w = _watts(found, "idle_w"), _watts(found, "full_load_w")
    if not 0 <= idle_w < full_load_w:
        raise CalibrationError(
            f"idle_w={idle_w:g} and full_load_w={full_load_w:g}: 0 <= idle_w < full_load_w is meant"
        )
    return Calibration(idle_w, full_load_w, str(found["source"]), file)


def _watts(found: dict[str, Any], key: str) -> float:
    try:
        value = float(found[key])
    except (TypeError, ValueError) as err:
        raise CalibrationError(f"{key}={found[key]!r} is no number of watts") from err
    if not math.isfinite(value):
        raise CalibrationError(f"{key}={value} is no number of watts")
    return value
