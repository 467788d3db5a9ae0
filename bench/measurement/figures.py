"""What can be compared on this host: joules by grade, wall seconds, CPU-seconds.

Joules of different grades, or of different meters, are never added: each is a figure of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.findings import MeasureName
from bench.measurement import Span
from bench.meters import Channel
from bench.readings import Grade, Phase, Reading, joules

_BEST_FIRST: tuple[Grade, ...] = ("A", "B", "S")
"""Grades that may lead; S only where the sensors are simulated, and never in a table."""


_PARTS = {"cpu": "cpu", "cuda": "gpu"}
_WHOLE = ("wall", "soc")
"""Components that hold every device."""


class OriginError(ValueError):
    """Joules of one component with two origins: they are never added, divided or compared."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that a span can be asked for.

    Attributes:
        measure: Joules, wall seconds or CPU-seconds.
        scope: Components added up, or what the seconds are of.
        source: Name of the meter; ``clock`` for seconds.
        grade: Of the joules; ``none`` for seconds.
    """

    measure: MeasureName
    scope: str
    source: str
    grade: Grade

    def covers(self, device: str) -> bool:
        """Whether these are joules of a device, ``cpu`` or ``cuda``, or of more than that."""
        parts = {component.partition(":")[0] for component in self.scope.split("+")}
        return bool(parts & {*_WHOLE, _PARTS[device]})

    def of(self, span: Span | Phase) -> float | None:
        """Return joules or seconds of a span; ``None`` if a component is missing."""
        if self.measure == "wall_s":
            return span.wall_s
        if self.measure == "cpu_s":
            return span.cpu_s
        return self.joules(span.readings)

    def joules(self, readings: Iterable[Reading]) -> float | None:
        """Return the joules of this figure's meter and grade; ``None`` if one is missing."""
        return joules(readings, self.source, self.grade, self.scope)


WALL = Figure("wall_s", "clock", "clock", "none")
CPU = Figure("cpu_s", "process tree", "clock", "none")


def available(
    channels: Mapping[str, Sequence[Channel]], device: str | None = None
) -> tuple[Figure, ...]:
    """Return what can be compared, the one that leads first.

    The best grade leads, the first meter among equals; without a counter wall seconds lead.
    Modelled joules (grade C) never do, and no more do those of another device than the one that
    works: an idle GPU's joules say nothing of a model that the CPU serves.

    Args:
        channels: By meter.
        device: Type of the torch device that works; ``None`` where nobody knows.
    """
    energies = [
        Figure("energy_j", "+".join(c.component for c in group), meter, grade)
        for meter, all_channels in channels.items()
        for grade in dict.fromkeys(channel.grade for channel in all_channels)
        if (group := [c for c in all_channels if c.grade == grade])
    ]
    covering = [f for f in energies if device is None or f.covers(device)]
    leading = [f for grade in _BEST_FIRST for f in covering if f.grade == grade]
    rest = [f for f in energies if f not in leading]
    return (*leading, WALL, CPU, *rest)


def require_one_origin(windows: Iterable[tuple[str, Span]]) -> None:
    """Refuse windows in which one meter's component has two sources or two grades.

    Args:
        windows: Name of the arm, and what was read.

    Raises:
        OriginError: The message names both origins and the arms they were read for.
    """
    seen: dict[tuple[str, str], tuple[str, str, Grade]] = {}
    for arm, span in windows:
        for reading in span.readings:
            key = (reading.meter, reading.component)
            first, source, grade = seen.setdefault(key, (arm, reading.source, reading.grade))
            if (source, grade) != (reading.source, reading.grade):
                raise OriginError(
                    f"{reading.meter}/{reading.component} is {source} (grade {grade}) in a window "
                    f"of the {first} and {reading.source} (grade {reading.grade}) in one of the "
                    f"{arm}: such joules are never compared or added. Measure the pair again; "
                    f"python -m bench.doctor shows which sensor comes and goes"
                )
