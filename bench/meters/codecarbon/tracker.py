"""CodeCarbon's tracker, mended where its readings would be late or wrong."""

from __future__ import annotations

import logging
import threading
from typing import Any

from bench.meters.codecarbon.calibration import Calibration


class Log(logging.Filter):
    """Keeps the console quiet below errors, and the exceptions that CodeCarbon suppresses."""

    suppressed: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a message is shown; keep its exception."""
        if record.exc_info and record.exc_info[1] is not None:
            self.suppressed = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        return record.levelno >= logging.ERROR


def tracker_class() -> Any:
    """Return CodeCarbon's offline tracker, mended where its readings would be late or wrong.

    Its constructor takes a calibration of the CPU, or ``None``, before CodeCarbon's own knobs.

    Checked against codecarbon 3.3.2, whose private methods these are:

    * Its background thread and ``flush`` measure without a lock; meeting, they count joules twice.
    * ``flush`` does not measure if the last sample is under 50 ms old.
    * A counter that cannot be read gives zero joules, or polled power, and only the log says so.
    * A background sample that is due while ``stop`` runs starts the clock again.
    * Its model of a CPU has a knob for the power at full load, none for the power at rest.
    """
    from codecarbon import OfflineEmissionsTracker
    from codecarbon.output_methods.base_output import BaseOutput

    class Tracker(OfflineEmissionsTracker, BaseOutput):
        totals: Any = None

        def __init__(self, calibration: Calibration | None, **knobs: Any) -> None:
            self.breaks: dict[str, tuple[int, str]] = {}
            self._one_at_a_time = threading.Lock()
            self._calibration = calibration
            super().__init__(output_handlers=[self], **knobs)

        def get_detected_hardware(self) -> Any:
            found = super().get_detected_hardware()
            if self._calibration is not None:
                calibrate(self._hardware, self._calibration)
            return found

        def out(self, total: Any, delta: Any) -> None:
            self.totals = total  # flush hands them to every output handler

        def _measure_power_and_energy(self) -> None:
            with self._one_at_a_time:
                try:
                    super()._measure_power_and_energy()
                    losses = losses_of(self._hardware)
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


def losses_of(hardware: list[Any]) -> dict[str, str]:
    """Return which counters the last sample could not read, by component."""
    losses = {}
    for part in hardware:
        for zone in getattr(getattr(part, "_intel_interface", None), "_rapl_files", ()):
            if zone.sample_skipped:
                losses["cpu"] = f"{zone.path} could not be read, CodeCarbon counted nothing"
        for device in watched(part) if hasattr(part, "devices") else ():
            if device._has_counter and device._use_power_fallback:
                losses["gpu"] = f"GPU {device.gpu_index}'s counter failed, CodeCarbon polled power"
    return losses


def watched(gpu: Any) -> list[Any]:
    """Return the devices that CodeCarbon counts."""
    return [device for device in gpu.devices.devices if device.gpu_index in gpu._get_gpu_ids()]


def calibrate(hardware: list[Any], calibration: Calibration) -> None:
    """Let CodeCarbon's CPU take its power from a calibration instead of its own formula."""
    from codecarbon.core.units import Power

    def model_of(cpu: Any) -> Any:
        def power() -> Any:
            load = cpu._cpu_load_meter.percent() / 100
            return Power.from_watts(calibration.power_w(load))

        return power

    for part in hardware:
        if hasattr(part, "_get_power_from_cpu_load"):
            part._get_power_from_cpu_load = model_of(part)
