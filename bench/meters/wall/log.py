"""A power meter's log that somebody else writes while we measure, followed line by line.

Joules come from the trapezoid rule between samples, with both edges interpolated. Nothing is
guessed: a span that the log does not cover, or with a hole or a line that is no sample in it, has
no joules but a reason.
"""

from __future__ import annotations

import bisect
import itertools
import math
import os
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

MAX_GAP_PERIODS = 3.0
"""A hole of more sampling periods than this is no interpolation any more."""

_HEAD_BYTES = 65_536
_LAST_INTERVALS = 100


class LogError(ValueError):
    """The log cannot answer; the message says why."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a line is read.

    Attributes:
        time_column: Name of the column of times.
        value_column: Name of the column of watts or joules.
        time_format: ``epoch_s``, ``iso8601`` or a pattern of ``strptime``. A time without a zone is
            local.
        cumulative: Whether the values are joules counted up, not watts.
        paired: Whether every line names its values (``Time,..,Watts,..``), as SPEC's PTDaemon
            writes them; else the first line names the columns.
    """

    time_column: str
    value_column: str
    time_format: str
    cumulative: bool = False
    paired: bool = False

    def fields(self, line: str, header: list[str]) -> Mapping[str, str] | None:
        """Return the values of a line by name; ``None`` if the line is none of the samples'.

        Raises:
            LogError: The line was cut off or is something else.
        """
        cells = [cell.strip() for cell in line.split(",")]
        if self.paired:
            if cells[0] != self.time_column:
                return None  # a message of the daemon
            if len(cells) % 2:
                raise LogError(f"{line!r} is cut off")
            return dict(zip(cells[::2], cells[1::2], strict=True))
        if cells == header:
            return None  # the writer began again
        if len(cells) != len(header):
            raise LogError(f"{line!r} has {len(cells)} of {len(header)} columns")
        return dict(zip(header, cells, strict=True))

    def sample(self, fields: Mapping[str, str]) -> tuple[float, float]:
        """Return epoch seconds and the value of one line.

        Raises:
            LogError: It is not a time or not a figure that a meter can show.
        """
        try:
            time_s, value = (
                self._epoch_s(fields[self.time_column]),
                float(fields[self.value_column]),
            )
        except (KeyError, ValueError) as err:
            raise LogError(f"{','.join(fields.values())!r} is no sample ({err})") from err
        if not (math.isfinite(time_s) and math.isfinite(value) and value >= 0):
            raise LogError(f"{','.join(fields.values())!r} is no sample: {value} is no reading")
        return time_s, value

    def _epoch_s(self, text: str) -> float:
        if self.time_format == "epoch_s":
            return float(text)
        if self.time_format == "iso8601":
            return datetime.fromisoformat(text).timestamp()
        return datetime.strptime(text, self.time_format).timestamp()


@dataclass
class Log:
    """What was read of the log so far.

    Attributes:
        path: The file.
        layout: How its lines are read.
        offset_s: Added to its times to get ours.
        times_s: Times of the samples on our clock, ascending.
        values: Watts or cumulative joules, as many.
        simulated: Whether its head says that nothing was measured.
        broken: Why nothing that is appended can be trusted any more; ``None`` if all is well.
    """

    path: Path
    layout: Layout
    offset_s: float
    times_s: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    simulated: bool = False
    broken: str | None = None
    _flaws: list[tuple[float, str]] = field(default_factory=list)
    _header: list[str] = field(default_factory=list)
    _rest: bytes = b""
    _file: BinaryIO | None = None
    _following: bool = False

    def open(self) -> None:
        """Read the head and the last samples of what is there already.

        Raises:
            OSError: The file cannot be read.
            LogError: It has no header, or not the columns that were asked for.
        """
        self._file = self.path.open("rb")
        head = self._file.read(_HEAD_BYTES).decode(errors="replace")
        lines = head.splitlines()
        if not self.layout.paired:
            self._header = self._columns(lines)
        told = itertools.takewhile(lambda line: not self._is_sample(line), lines)
        self.simulated = any("simulated" in line.lower() for line in told)
        size = self.path.stat().st_size
        self._file.seek(max(0, size - _HEAD_BYTES))
        if self._file.tell():
            self._file.readline()  # the end of a line
        self.update()
        self._following = True

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def update(self) -> bool:
        """Read what was appended, up to the last whole line; say whether samples came."""
        if self._file is None or self.broken:
            return False
        try:
            told = self.path.stat()
            here = self._file.tell()
            *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
            if told.st_size < here or told.st_ino != _inode(self._file):
                self.broken = f"{self.path} was cut or replaced while it was read"
        except OSError as err:
            self.broken = f"{self.path} cannot be read any more ({type(err).__name__}: {err})"
            return False
        before = len(self.times_s)
        for line in lines:
            self._take(line.decode(errors="replace").strip())
        return len(self.times_s) > before

    @property
    def period_s(self) -> float:
        """Median time between the last samples; 0 if there are fewer than three."""
        times_s = self.times_s[-_LAST_INTERVALS:]
        steps_s = [later - earlier for earlier, later in itertools.pairwise(times_s)]
        return statistics.median(steps_s) if len(steps_s) > 1 else 0.0

    def joules(self, start_s: float, end_s: float) -> float:
        """Return the energy between two times of our clock.

        Raises:
            LogError: The log does not cover them without a hole.
        """
        if self.broken:
            raise LogError(self.broken)
        if not self.times_s or start_s < self.times_s[0]:
            raise LogError(f"{self.path} begins after the span")
        if end_s > self.times_s[-1]:
            mid_line = ", in the middle of a line" if self._rest else ""
            raise LogError(
                f"{self.path} ends {end_s - self.times_s[-1]:.2f} s before the span does{mid_line}"
            )
        first = bisect.bisect_right(self.times_s, start_s) - 1
        last = bisect.bisect_left(self.times_s, end_s)
        self._check(first, last)
        inner = [i for i in range(first + 1, last) if start_s < self.times_s[i] < end_s]
        points = [(start_s, self._at(start_s))]
        points += [(self.times_s[i], self.values[i]) for i in inner]
        points.append((end_s, self._at(end_s)))
        if self.layout.cumulative:
            return points[-1][1] - points[0][1]
        return sum((t2 - t1) * (p1 + p2) / 2 for (t1, p1), (t2, p2) in itertools.pairwise(points))

    def _check(self, first: int, last: int) -> None:
        """Refuse samples ``first`` to ``last`` if anything lies between them that is no sample."""
        begin_s, end_s = self.times_s[first], self.times_s[last]
        for at_s, reason in self._flaws:
            if begin_s <= at_s < end_s:
                raise LogError(f"{self.path}: {reason}")
        limit_s = MAX_GAP_PERIODS * self.period_s
        for i in range(first, last):
            gap_s = self.times_s[i + 1] - self.times_s[i]
            if gap_s > limit_s:
                raise LogError(
                    f"{self.path} has a hole of {gap_s:.2f} s in the span; it samples every "
                    f"{self.period_s:.2g} s, and over {MAX_GAP_PERIODS:g} of those nothing is known"
                )
            if self.layout.cumulative and self.values[i + 1] < self.values[i]:
                back_j = self.values[i] - self.values[i + 1]
                raise LogError(f"{self.path}: the counter went back by {back_j:.6g} J")

    def _at(self, time_s: float) -> float:
        i = bisect.bisect_right(self.times_s, time_s) - 1
        if i == len(self.times_s) - 1:
            return self.values[i]
        span_s = self.times_s[i + 1] - self.times_s[i]
        share = (time_s - self.times_s[i]) / span_s
        return self.values[i] + share * (self.values[i + 1] - self.values[i])

    def _take(self, line: str) -> None:
        if not line or line.startswith("#"):
            return
        try:
            fields = self.layout.fields(line, self._header)
            if fields is None:
                return
            time_s, value = self.layout.sample(fields)
        except LogError as err:
            self._flaws.append((self.times_s[-1] if self.times_s else -math.inf, str(err)))
            return
        time_s += self.offset_s
        if self.times_s and time_s < self.times_s[-1]:
            back_s = self.times_s[-1] - time_s
            if self._following:
                self.broken = f"the times in {self.path} went back by {back_s:.3f} s"
                return
            self.times_s.clear()  # an earlier session's samples
            self.values.clear()
        self.times_s.append(time_s)
        self.values.append(value)

    def _columns(self, lines: list[str]) -> list[str]:
        first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
        header = [cell.strip() for cell in first.split(",")]
        wanted = (self.layout.time_column, self.layout.value_column)
        if absent := [name for name in wanted if name not in header]:
            raise LogError(f"its first line {first!r} names no column {' and no '.join(absent)}")
        return header

    def _is_sample(self, line: str) -> bool:
        try:
            fields = self.layout.fields(line.strip(), self._header)
            return fields is not None and bool(self.layout.sample(fields))
        except LogError:
            return False


def _inode(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_ino
