"""How a check is measured: ``conf/check``, fitted to the measure, the limit and the time."""

from __future__ import annotations

import math
from pathlib import Path

import yaml

from bench.ci.instruments import MACHINE_WIDE, Instruments
from bench.ci.turns import Rules
from bench.folders import conf_folder
from bench.measurement.protocol import Protocol

WINDOW_SHARE = 1 / 80
"""Of all the time there is, for one window at most: 20 blocks fit."""

FIRST_SHARE = 0.25
"""Of a check's time, for the first measurement against the base commit: whether it lies above the
limit says if there is need of another one."""

FRESH_SHARE = 0.58
"""For that one, in fresh processes. Its interval is the finding, so it gets the most: of 10 % more
work at a limit of 1.05 two halves found seven in ten on a loaded machine, since each had to be sure
by itself. What is left goes into starting processes, of which a check against a base has four."""

_OF_ROOM = 1 / 3
"""Half-width of the interval as a share of what the limit leaves above 1: with a true ratio of 1
the whole interval then lies below the limit."""


def rules_for(
    instruments: Instruments, limit: float | None, most_s: float, half_width: float | None = None
) -> Rules:
    """Return the rules of one measurement.

    Args:
        instruments: What it is measured with.
        limit: Ratio above which it fails; a close one asks for a narrow interval.
        most_s: Seconds it may take.
        half_width: Relative half-width of the interval at which it ends; ``None`` for the
            protocol's, or a narrower one that the limit asks for.
    """
    measure = instruments.measure
    machine_wide = measure.name in MACHINE_WIDE
    protocol = read(conf_folder() / "check" / f"{'machine' if machine_wide else 'own'}.yaml")
    window_s = instruments.window_s(protocol)
    if not machine_wide:  # windows of a counter, or of the kernel's ticks, cannot be shortened
        window_s = min(window_s, WINDOW_SHARE * most_s)
    if half_width is None:
        room = abs(math.log(limit)) if limit is not None else 0.0
        half_width = min(protocol.half_width, math.expm1(_OF_ROOM * room) or protocol.half_width)
    bounds = instruments.bounds(protocol)
    return Rules(protocol, measure, bounds, window_s, half_width, most_s)


def read(path: Path) -> Protocol:
    """Return the protocol that a YAML file holds.

    Raises:
        ValueError: A key is missing, misspelt or out of range; the message names the file.
    """
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        return Protocol(**values)
    except (TypeError, ValueError) as err:
        raise ValueError(f"{path}: {err}") from err
