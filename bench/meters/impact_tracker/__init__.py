"""experiment-impact-tracker 0.1.8, watching the measured processes from an environment of its own.

It reads RAPL over two seconds and rests for one, multiplies the package's power with the share of
all used CPU time that falls to the watched processes (DRAM: with their share of used memory), and
takes power times the time since the last sample for energy; the last sample is stretched to the
end. So what stands behind its joules is a counter, but they are a model on top of it: counted in
two seconds of three, and shared out by CPU time, which no joule follows. Grade C, therefore, as
CodeCarbon's polled power is; S where the sensor below is simulated. It is no headline; it is what
another tracker would have published of the same spans.

Its factor for the data centre (PUE, 1.58 by default) never enters: the joules are taken from its
samples, before it is applied. Its own process is a child of the watched one, as in every program
that uses it, and so its own CPU time is part of the share.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.meters import Channel, Counts, MeterError, counter_grade
from bench.readings import Grade

_CHECKOUT = Path(__file__).parents[3]
_WATCH = Path(__file__).with_name("watch.py")
_LOOK_EVERY_S = 0.05  # only while it starts
_MAX_GAP_SAMPLES = 3.0  # as the wall meter: beyond that nothing is known

# Kind of component: our source, and the columns of its samples (attributed, absolute).
_COLUMNS = {
    "cpu": (
        "impact_tracker.rapl",
        "rapl_estimated_attributable_power_draw",
        "rapl_power_draw_absolute",
    ),
    "gpu": (
        "impact_tracker.nvidia_smi",
        "nvidia_estimated_attributable_power_draw",
        "nvidia_draw_absolute",
    ),
}
_FORMULAS = (
    "RAPL package power x share of used CPU time, DRAM x share of used memory; GPU power x share "
    "of its processes; sampled, times the time since the last sample",
    "power of the whole machine, sampled, times the time since the last sample",
)

Row = Mapping[str, Any]


class SampleError(ValueError):
    """The samples cannot answer; the message says why."""


@dataclass
class ImpactTracker:
    """experiment-impact-tracker as a process that watches this one and its children.

    Attributes:
        environment: Folder of its Python environment; relative to the checkout.
        country_iso_code: Answer to its look-up of the region; moves no joule.
        attributed: Whether its published figure is taken, which is the watched processes' share,
            or the whole machine's power.
        shortest_s: Spans under it are missing: it needs a few samples.
        start_timeout_s: Longest wait for its first sample.
        name: ``impact_tracker``.
        missing: Components that it does not sample, with the reason.
    """

    environment: str = ".venv-impact-tracker"
    country_iso_code: str = "USA"
    attributed: bool = True
    shortest_s: float = 15.0
    start_timeout_s: float = 60.0
    name: str = field(default="impact_tracker", init=False)
    missing: dict[str, str] = field(default_factory=dict, init=False)
    rows: list[Row] = field(default_factory=list, init=False, repr=False, compare=False)
    _process: Any = field(default=None, init=False, repr=False, compare=False)
    _folder: Path | None = field(default=None, init=False, repr=False, compare=False)
    _read_bytes: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        for knob in ("shortest_s", "start_timeout_s"):
            value = getattr(self, knob)
            if not value > 0:
                raise ValueError(f"meter.impact_tracker.{knob}={value!r} should be above 0")

    def open(self) -> tuple[Channel, ...]:
        """Start it and wait for its first sample.

        Raises:
            MeterError: Its environment is not there, or it does not sample here.
        """
        self.close()
        folder = _CHECKOUT / self.environment
        python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        if not python.exists():
            raise MeterError(
                f"meter.impact_tracker.environment={self.environment!r} has no Python: it needs an "
                "environment of its own, which `make impact-tracker` builds"
            )
        self._folder = Path(tempfile.mkdtemp(prefix="impact-tracker-"))
        try:
            self._start(python, self._folder)
            self._await_samples()
            return self._channels()
        except BaseException:
            self.close()
            raise

    def read(self) -> Counts:
        """Return the time; ``settled`` returns the joules."""
        return Counts({}, at_s=time.time())

    def settled(self, start: Counts, end: Counts, wait: bool) -> tuple[Counts, Counts]:
        """Return the joules between two readings. It stretches its last sample, so nobody waits."""
        if start.at_s is None or end.at_s is None or self._folder is None:
            return start, end
        energy_j: dict[str, float] = {}
        failures: dict[str, str] = {}
        self._update()
        for component, (_, *columns) in _COLUMNS.items():
            column = columns[0 if self.attributed else 1]
            try:
                self._check(start.at_s, end.at_s)
                energy_j[component] = joules(self.rows, column, start.at_s, end.at_s)
            except SampleError as err:
                failures[component] = str(err)
        zero = Counts(dict.fromkeys(energy_j, 0.0), at_s=start.at_s)
        return zero, Counts(energy_j, failures, at_s=end.at_s)

    def close(self) -> None:
        """End the process and remove its files."""
        process, self._process = self._process, None
        if process is not None:
            process.stdin.close()
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self.rows.clear()
        self.missing.clear()
        self._read_bytes = 0

    @property
    def sample_s(self) -> float:
        """Median time between its samples; 0 if there are fewer than two."""
        times_s = [float(row["timestamp"]) for row in self.rows]
        steps_s = [later - earlier for earlier, later in itertools.pairwise(times_s)]
        return statistics.median(steps_s) if steps_s else 0.0

    def _start(self, python: Path, folder: Path) -> None:
        command = [str(python), str(_WATCH), str(os.getpid()), str(folder), self.country_iso_code]
        # PYTHONPATH would lend it our libraries.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        with (folder / "stderr").open("wb") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=errors, stderr=errors, env=environment
            )

    def _await_samples(self) -> None:
        """Wait for two samples, so that the time between them is known."""
        deadline_s = time.monotonic() + self.start_timeout_s
        while len(self.rows) < 2:
            if (reason := self._why_dead()) is not None:
                raise MeterError(f"meter.impact_tracker: {reason}")
            if time.monotonic() > deadline_s:
                raise MeterError(
                    f"meter.impact_tracker: {len(self.rows)} samples in "
                    f"meter.impact_tracker.start_timeout_s={self.start_timeout_s:g}"
                )
            time.sleep(_LOOK_EVERY_S)
            self._update()

    def _channels(self) -> tuple[Channel, ...]:
        detail = {
            "experiment_impact_tracker": "0.1.8",
            "formula": _FORMULAS[0 if self.attributed else 1],
            "sample_s": round(self.sample_s, 2),
            "shortest_s": self.shortest_s,
            "country_iso_code": self.country_iso_code,
            "pue": 1.0,
        }
        channels = []
        for component, (source, *columns) in _COLUMNS.items():
            if columns[0] not in self.rows[0]:
                sensor = "RAPL" if component == "cpu" else "nvidia-smi"
                self.missing[component] = f"experiment-impact-tracker found no {sensor} here"
                continue
            grade: Grade = "S" if counter_grade(component) == "S" else "C"
            # No step: windows are not stretched to hundreds of its samples.
            channels.append(Channel(component, source, grade, 0.0, detail))
        if not channels:
            raise MeterError(
                "meter.impact_tracker: it found neither RAPL nor nvidia-smi, and models nothing "
                "without them; choose another meter on this machine"
            )
        return tuple(channels)

    def _update(self) -> None:
        """Read the whole lines that it has written since."""
        assert self._folder is not None
        file = self._folder / "impacttracker" / "data.json"
        if not file.exists():
            return
        with file.open("rb") as lines:
            lines.seek(self._read_bytes)
            told = lines.read()
        whole = told[: told.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        self.rows += [json.loads(line) for line in whole.splitlines() if line.strip()]

    def _check(self, start_s: float, end_s: float) -> None:
        """Refuse a span that is too short, or that it slept through."""
        if end_s - start_s < self.shortest_s:
            raise SampleError(
                f"too short ({end_s - start_s:.1f} s; it samples every {self.sample_s:.1f} s): "
                f"spans of meter.impact_tracker.shortest_s={self.shortest_s:g} and more have joules"
            )
        if (reason := self._why_dead()) is not None:
            raise SampleError(reason)
        # The last sample before the span, those in it, and its end, up to which the last holds.
        times_s = [row["timestamp"] for row in self.rows if row["timestamp"] < end_s]
        before = max((t for t in times_s if t <= start_s), default=None)
        if before is None:
            raise SampleError("its samples begin after the span")
        known_s = [before, *(t for t in times_s if t > before), end_s]
        gap_s = max(later - earlier for earlier, later in itertools.pairwise(known_s))
        if gap_s > _MAX_GAP_SAMPLES * self.sample_s:
            raise SampleError(f"it did not sample for {gap_s:.1f} s of the span")

    def _why_dead(self) -> str | None:
        if self._process is None or self._process.poll() is None:
            return None
        assert self._folder is not None
        told = (self._folder / "stderr").read_text(errors="replace").strip().splitlines()
        said = told[-1] if told else "it said nothing"
        hint = (
            "; `sudo chmod -R a+r /sys/class/powercap/intel-rapl*`" if "energy_uj" in said else ""
        )
        return f"experiment-impact-tracker ended with {self._process.returncode}: {said}{hint}"


def joules(rows: Sequence[Row], column: str, start_s: float, end_s: float) -> float:
    """Return power times time by the tracker's own rule (its ``gather_additional_info``).

    A sample's power holds since the sample before it, the last one's until the end.

    Raises:
        SampleError: A sample that is needed lacks the column.
    """
    energy_j, since_s = 0.0, start_s
    for row in rows:
        sampled_s = float(row["timestamp"])
        if sampled_s <= start_s:
            continue
        until_s = min(sampled_s, end_s)
        energy_j += _power_w(row, column) * (until_s - since_s)
        since_s = until_s
        if until_s == end_s:
            return energy_j
    if not rows:
        raise SampleError("there is no sample")
    return energy_j + _power_w(rows[-1], column) * (end_s - since_s)


def _power_w(row: Row, column: str) -> float:
    if column not in row:
        raise SampleError(f"a sample lacks {column}")
    return float(row[column])
