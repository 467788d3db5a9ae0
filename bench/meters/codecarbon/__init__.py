"""CodeCarbon as the named tracker beside the counters, its figures kept under their own source.

CodeCarbon knows for every component how it obtained the joules and does not publish it. Here the
method is read from its hardware objects and decides source and grade: RAPL, Windows' energy meter
and the GPUs' energy counters are B; all else (a TDP times the load, a constant, power that is
polled and stretched over the time between) is C. Its RAM figure is a constant times the time.

It sums over devices, so the components are ``cpu``, ``gpu`` and ``ram``. PUE stays 1. The country's
carbon intensity is recorded with year and source, and moves no joule: grams are worked out from
counted joules in the reports.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import logging
import tempfile
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bench.meters import Channel, Counts, MeterError
from bench.meters.codecarbon import calibration as calibrations
from bench.meters.codecarbon.calibration import Calibration
from bench.meters.codecarbon.channels import carbon_of, channels_of
from bench.meters.codecarbon.tracker import Log, tracker_class
from bench.meters.codecarbon.tracker import losses_of as _losses

__all__ = ["CodeCarbon", "_losses"]

_JOULES_PER_KWH = 3.6e6


@dataclass
class CodeCarbon:
    """CodeCarbon's offline tracker, without files, network or console output.

    Attributes:
        country_iso_code: ISO 3166 alpha-3. It moves grams of CO2 only.
        sample_s: Seconds between CodeCarbon's own samples; every reading is a sample too.
        cpu_power_w: The CPU's TDP in watts, for the model, which then replaces a counter.
        calibration: Path of a file with ``idle_w``, ``full_load_w`` and ``source`` of this machine;
            a straight line between the two then replaces CodeCarbon's model, and a counter.
        name: ``codecarbon``.
        missing: Components that CodeCarbon would count as zero, with the reason.
    """

    country_iso_code: str
    sample_s: float = 1.0
    cpu_power_w: float | None = None
    calibration: str | None = None
    name: str = field(default="codecarbon", init=False)
    missing: dict[str, str] = field(default_factory=dict, init=False)
    _tracker: Any = field(default=None, init=False, repr=False, compare=False)
    _channels: tuple[Channel, ...] = field(default=(), init=False, repr=False, compare=False)
    _log: Log = field(default_factory=Log, init=False, repr=False, compare=False)

    _running: ClassVar[CodeCarbon | None] = None

    def __post_init__(self) -> None:
        """Check the ranges; the country is checked when CodeCarbon's table can be read."""
        for knob in ("sample_s", "cpu_power_w"):
            value = getattr(self, knob)
            if value is not None and not value > 0:
                raise ValueError(f"meter.codecarbon.{knob}={value!r} should be above 0")
        if self.cpu_power_w is not None and self.calibration is not None:
            raise ValueError(
                f"meter.codecarbon.cpu_power_w={self.cpu_power_w:g} and meter.codecarbon."
                f"calibration={self.calibration!r}: both replace CodeCarbon's default, give one"
            )

    def open(self) -> tuple[Channel, ...]:
        """Start the tracker and read once, so that whatever it looks up is looked up now.

        Raises:
            MeterError: CodeCarbon is missing, cannot start, does not know the country, or is
                running in this process already.
        """
        if CodeCarbon._running is not None:
            raise MeterError("meter.codecarbon: one tracker per process, and one is running")
        CodeCarbon._running = self
        logging.getLogger("codecarbon").addFilter(self._log)
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self._channels

    def read(self) -> Counts:
        """Return cumulative joules now, from a sample that is taken now."""
        names = [channel.component for channel in self._channels]
        try:
            totals = self._sample()
        except MeterError as err:
            return Counts({}, dict.fromkeys(names, str(err)), dict(self._tracker.breaks))
        energy_j = {name: getattr(totals, f"{name}_energy") * _JOULES_PER_KWH for name in names}
        return Counts(energy_j, breaks=dict(self._tracker.breaks))

    def close(self) -> None:
        """Stop CodeCarbon's threads."""
        if self._tracker is not None:
            self._tracker.stop()
            self._tracker = None
        self._channels = ()
        logging.getLogger("codecarbon").removeFilter(self._log)
        if CodeCarbon._running is self:
            CodeCarbon._running = None

    def _start(self) -> None:
        try:
            # amdsmi, which codecarbon imports, prints where there is no AMD driver.
            with contextlib.redirect_stdout(io.StringIO()):
                tracker = tracker_class()
        except ImportError as err:
            raise MeterError(f"meter.codecarbon: {err}: pip install 'joulebench[measure]'") from err
        carbon = self._carbon()
        calibration = self._calibration()
        self._tracker = tracker(
            calibration,
            country_iso_code=self.country_iso_code,
            measure_power_secs=self.sample_s,
            # Defaults too: ~/.codecarbon.config decides on what is left out.
            force_cpu_power=calibration.full_load_w if calibration else self.cpu_power_w,
            force_ram_power=None,
            force_mode_cpu_load=False,
            rapl_include_dram=False,
            rapl_prefer_psys=False,
            tracking_mode="machine",
            pue=1.0,
            electricitymaps_api_token=False,
            emissions_endpoint=False,
            api_call_interval=-1,
            output_methods=[],
            output_dir=tempfile.gettempdir(),
            allow_multiple_runs=True,
            log_level="warning",
        )
        try:
            self._tracker.get_detected_hardware()  # what start() would do and suppress
        except Exception as err:  # whatever a driver or a half-built tracker raises
            raise MeterError(f"meter.codecarbon: {self._log.suppressed or err}") from err
        self._tracker.start()
        forced_w = None if calibration else self.cpu_power_w
        found = channels_of(self._tracker, self._sample(), forced_w, calibration, carbon)
        self.missing = {name: reason for name, reason in found.items() if isinstance(reason, str)}
        self._channels = tuple(c for c in found.values() if isinstance(c, Channel))

    def _calibration(self) -> Calibration | None:
        if self.calibration is None:
            return None
        try:
            return calibrations.load(self.calibration)
        except calibrations.CalibrationError as err:
            raise MeterError(f"meter.codecarbon.calibration={self.calibration!r}: {err}") from err

    def _carbon(self) -> dict[str, Any]:
        """Return the country's carbon intensity, which is CodeCarbon's own."""
        from codecarbon.input import DataSource

        source: Any = DataSource  # its constructor has no types
        table = source().get_global_energy_mix_data()
        if self.country_iso_code in table:
            return carbon_of(table[self.country_iso_code])
        names = {str(row["country_name"]).upper(): code for code, row in table.items()}
        wanted = str(self.country_iso_code).upper()
        near = [names.get(n, n) for n in difflib.get_close_matches(wanted, [*table, *names], n=3)]
        hint = ", ".join(f"{code} ({table[code]['country_name']})" for code in dict.fromkeys(near))
        raise MeterError(
            f"meter.codecarbon.country_iso_code={self.country_iso_code!r} is no ISO 3166 alpha-3 "
            f"code that CodeCarbon knows (it moves CO2, not joules); nearest: {hint or 'none'}"
        )

    def _sample(self) -> Any:
        """Let CodeCarbon measure now and return its totals, or raise MeterError if none come."""
        self._tracker.totals, self._log.suppressed = None, None
        self._tracker.flush()
        if self._tracker.totals is None:
            raise MeterError(f"meter.codecarbon: no totals came: {self._log.suppressed}")
        return self._tracker.totals
