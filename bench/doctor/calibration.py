"""A machine's idle and full-load power, read off a wall meter by a person, for CodeCarbon's model.

``conf/meter/codecarbon.yaml`` takes the file as ``meter.codecarbon.calibration``.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench.doctor.work import products

SETTLE_S = 60.0
"""Seconds of idling, and of load, before the meter is read: fans and clocks settle."""


class CalibrationError(ValueError):
    """Watts that cannot be; the message says which are meant."""


def write(path: Path, idle_w: float, full_load_w: float, source: str) -> None:
    """Store the two figures.

    Raises:
        CalibrationError: They are not two powers, the second above the first.
    """
    if not 0 <= idle_w < full_load_w < float("inf"):
        raise CalibrationError(
            f"--idle-w {idle_w:g} --full-load-w {full_load_w:g}: watts are meant, idle from 0 on "
            "and full load above idle; read the meter again"
        )
    figures = {"idle_w": idle_w, "full_load_w": full_load_w, "source": source}
    path.write_text(json.dumps(figures, indent=1) + "\n")


def ask(
    say: Callable[[str], None], hear: Callable[[str], str], settle_s: float
) -> tuple[float, float]:
    """Idle and load the machine while a person reads the wall meter.

    Args:
        say: Shows a line.
        hear: Shows a question and returns the answer.
        settle_s: Seconds before each question.
    """
    say(f"Idling for {settle_s:g} s; leave the machine alone.")
    time.sleep(settle_s)
    idle_w = _watts(hear("Watts on the wall meter, idle: "))
    stop = threading.Event()
    worker = threading.Thread(target=_work_until, args=(stop,), daemon=True)
    worker.start()
    try:
        say(f"All cores work for {settle_s:g} s, and on until you have answered.")
        time.sleep(settle_s)
        return idle_w, _watts(hear("Watts on the wall meter, full load: "))
    finally:
        stop.set()
        worker.join()


def _work_until(stop: threading.Event) -> None:
    work = products()
    while not stop.is_set():
        work(10)


def _watts(answer: str) -> float:
    try:
        return float(answer.strip().removesuffix("W").strip().replace(",", "."))
    except ValueError:
        raise CalibrationError(f"{answer!r} is no number of watts; start again") from None
