"""CodeCarbon as the named tracker beside the counters, its figures kept under their own source.

CodeCarbon knows for every component how it obtained the joules and does not publish it. Here the
method is read from its hardware objects and decides source and grade: RAPL, Windows' energy meter
and the GPUs' energy counters are B; all else (a TDP times the load, a constant, power that is
polled and stretched over the time between) is C. Its RAM figure is a constant times the time.

It sums over devices, so the components are ``cpu``, ``gpu`` and ``ram``. PUE stays 1.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import logging
import tempfile
import threading
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bench.meters import Channel, Counts, MeterError, counter_grade

_JOULES_PER_KWH = 3.6e6

# CodeCarbon 3.3's ways to read a CPU. Counters: our source, longest seconds between two updates.
_CPU_COUNTERS = {"intel_rapl": ("codecarbon.rapl", 0.001), "windows_emi": ("codecarbon.emi", 0.0)}
_CPU_FORMULAS = {
    "cpu_load": "tdp_w * (0.1 + 0.9 * load**3), load of all cores from 0 to 1",
    "constant": "0.5 * tdp_w",
}
_POLLED = {"AppleSiliconChip": "powermetrics", "Raspberry": "raspberry_pmic"}
_LOAD_STEP_S = 0.01  # the kernel counts load in ticks of 10 ms
_GPU_STEP_S = 0.1  # NVML's energy counter: 20 to 100 ms by board (arXiv 2312.02741)
_WATTS_PER_THREAD = 4  # codecarbon.core.cpu.DEFAULT_POWER_PER_CORE


@dataclass
class CodeCarbon:
    """CodeCarbon's offline tracker, without files, network or console output.

    Attributes:
        country_iso_code: ISO 3166 alpha-3. CodeCarbon wants one; it moves grams of CO2 only.
        sample_s: Seconds between CodeCarbon's own samples; every reading is a sample too.
        cpu_power_w: The CPU's TDP in watts, for the model, which then replaces a counter.
        name: ``codecarbon``.
        missing: Components that CodeCarbon would count as zero, with the reason.
    """

    country_iso_code: str
    sample_s: float = 1.0
    cpu_power_w: float | None = None
    name: str = field(default="codecarbon", init=False)
    missing: dict[str, str] = field(default_factory=dict, init=False)
    _tracker: Any = field(default=None, init=False, repr=False, compare=False)
    _channels: tuple[Channel, ...] = field(default=(), init=False, repr=False, compare=False)
    _log: _Log = field(default_factory=lambda: _Log(), init=False, repr=False, compare=False)

    _running: ClassVar[CodeCarbon | None] = None

    def __post_init__(self) -> None:
        """Check the ranges; the country is checked when CodeCarbon's table can be read."""
        for knob in ("sample_s", "cpu_power_w"):
            value = getattr(self, knob)
            if value is not None and not value > 0:
                raise ValueError(f"meter.codecarbon.{knob}={value!r} should be above 0")

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
                tracker_class = _tracker_class()
        except ImportError as err:
            raise MeterError(f"meter.codecarbon: {err}: pip install 'joulebench[measure]'") from err
        self._check_country()
        self._tracker = tracker_class(
            country_iso_code=self.country_iso_code,
            measure_power_secs=self.sample_s,
            # Defaults too: ~/.codecarbon.config decides on what is left out.
            force_cpu_power=self.cpu_power_w,
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
        found = _channels(self._tracker, self._sample(), self.cpu_power_w)
        self.missing = {name: reason for name, reason in found.items() if isinstance(reason, str)}
        self._channels = tuple(c for c in found.values() if isinstance(c, Channel))

    def _check_country(self) -> None:
        from codecarbon.input import DataSource

        source: Any = DataSource  # its constructor has no types
        table = source().get_global_energy_mix_data()
        if self.country_iso_code in table:
            return
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


class _Log(logging.Filter):
    """Keeps the console quiet below errors, and the exceptions that CodeCarbon suppresses."""

    suppressed: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            self.suppressed = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        return record.levelno >= logging.ERROR


def _tracker_class() -> Any:
    """Return CodeCarbon's offline tracker, mended where its readings would be late or wrong.

    Checked against codecarbon 3.3.2, whose private methods these are:

    * Its background thread and ``flush`` measure without a lock; meeting, they count joules twice.
    * ``flush`` does not measure if the last sample is under 50 ms old.
    * A counter that cannot be read gives zero joules, or polled power, and only the log says so.
    * A background sample that is due while ``stop`` runs starts the clock again.
    """
    from codecarbon import OfflineEmissionsTracker
    from codecarbon.output_methods.base_output import BaseOutput

    class Tracker(OfflineEmissionsTracker, BaseOutput):
        totals: Any = None

        def __init__(self, **knobs: Any) -> None:
            self.breaks: dict[str, tuple[int, str]] = {}
            self._one_at_a_time = threading.Lock()
            super().__init__(output_handlers=[self], **knobs)

        def out(self, total: Any, delta: Any) -> None:
            self.totals = total  # flush hands them to every output handler

        def _measure_power_and_energy(self) -> None:
            with self._one_at_a_time:
                try:
                    super()._measure_power_and_energy()
                    losses = _losses(self._hardware)
                except Exception as err:  # in its thread it would print a traceback, and be over
                    losses = dict.fromkeys(("cpu", "gpu", "ram"), f"CodeCarbon failed: {err!r}")
                for name, reason in losses.items():
                    self.breaks[name] = (self.breaks.get(name, (0, ""))[0] + 1, reason)

        def _measure_power_and_energy_if_stale(self, min_interval_s: float = 0.0) -> None:
            self._measure_power_and_energy()

        def stop(self) -> None:
            clocks: tuple[Any, ...] = (self._scheduler, self._scheduler_monitor_power)
            super().stop()
            for clock in clocks:
                if clock is not None and clock._timer is not None:
                    clock._timer.join()
                    clock.stop()

    return Tracker


def _losses(hardware: list[Any]) -> dict[str, str]:
    """Return which counters the last sample could not read, by component."""
    losses = {}
    for part in hardware:
        for zone in getattr(getattr(part, "_intel_interface", None), "_rapl_files", ()):
            if zone.sample_skipped:
                losses["cpu"] = f"{zone.path} could not be read, CodeCarbon counted nothing"
        for device in _watched(part) if hasattr(part, "devices") else ():
            if device._has_counter and device._use_power_fallback:
                losses["gpu"] = f"GPU {device.gpu_index}'s counter failed, CodeCarbon polled power"
    return losses


def _channels(tracker: Any, totals: Any, cpu_power_w: float | None) -> dict[str, Channel | str]:
    """Return what CodeCarbon counts, by component; a string says why it is not counted."""
    common = {
        "codecarbon": totals.codecarbon_version,
        "country_iso_code": totals.country_iso_code,
        "sample_s": tracker._measure_power_secs,
        "pue": totals.pue,
    }
    found: dict[str, Channel | str] = {}
    for part in tracker._hardware:
        # Apple's and the Raspberry's parts say which they are, the others by their class.
        name = str(getattr(part, "chip_part", type(part).__name__)).lower()
        if type(part).__name__ in _POLLED:
            source = f"codecarbon.{_POLLED[type(part).__name__]}"
            found[name] = Channel(name, source, "C", 0.0, common)
        elif name == "cpu":
            found[name] = _cpu(part, totals, cpu_power_w, common)
        elif name == "gpu":
            found[name] = _gpu(part, common)
        else:
            constants = {"power_w": part.total_power().W, "memory_gib": totals.ram_total_size}
            found[name] = Channel(name, "codecarbon.ram_model", "C", 0.0, common | constants)
    return found


def _cpu(part: Any, totals: Any, forced_w: float | None, common: dict[str, Any]) -> Channel | str:
    mode = part._mode
    if mode in _CPU_COUNTERS:
        source, step_s = _CPU_COUNTERS[mode]
        zones = [zone.path for zone in getattr(part._intel_interface, "_rapl_files", ())]
        if mode == "intel_rapl" and not zones:
            return "CodeCarbon chose RAPL and found no zone in it, so it would count zero"
        detail = {"model": part.get_model(), "zones": zones}
        return Channel("cpu", source, counter_grade("cpu"), step_s, common | detail)
    tdp_from = "CodeCarbon's table of CPUs"
    if forced_w is not None:
        tdp_from = "meter.codecarbon.cpu_power_w"
    elif part._is_generic_tdp:
        tdp_from = "a constant, as CodeCarbon has no figure for this CPU"
    elif part._tdp == _WATTS_PER_THREAD * totals.cpu_count:
        tdp_from = f"{_WATTS_PER_THREAD} W per thread, as CodeCarbon does not know this CPU"
    detail = {"model": part.get_model(), "tdp_w": part._tdp, "tdp_from": tdp_from}
    detail["formula"] = _CPU_FORMULAS.get(mode, "power that is polled")
    return Channel("cpu", f"codecarbon.{mode}", "C", _LOAD_STEP_S, common | detail)


def _watched(gpu: Any) -> list[Any]:
    return [device for device in gpu.devices.devices if device.gpu_index in gpu._get_gpu_ids()]


def _gpu(part: Any, common: dict[str, Any]) -> Channel | str:
    watched = _watched(part)
    if not watched:
        return "CUDA_VISIBLE_DEVICES leaves CodeCarbon no GPU, so it would count zero"
    library = "amdsmi" if type(watched[0]).__name__.startswith("AMD") else "pynvml"
    names = [f"{device.gpu_index}: {device._gpu_name}" for device in watched]
    if all(device._has_counter for device in watched):
        grade, detail = counter_grade("gpu", " ".join(names)), {"gpus": names}
        return Channel("gpu", f"codecarbon.{library}", grade, _GPU_STEP_S, common | detail)
    common = common | {"gpus": names, "formula": "power, polled once a second, times seconds"}
    return Channel("gpu", f"codecarbon.{library}_power", "C", 1.0, common)
