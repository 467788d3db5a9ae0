"""Runs experiment-impact-tracker 0.1.8 beside another process and samples until it is told to end.

    <python of its environment> watch.py PID FOLDER REGION

Started by the meter, in an environment that has no joulebench. PID is the process whose tree is
watched, FOLDER gets the tracker's files, REGION answers its look-up. It ends when its standard
input does, so it never outlives whoever started it.

What is changed of the tracker, and why:

* It watches its parent; here ``os.getppid`` names the measured process, and its sampling function
  is called in a loop as its own monitor does it, without a process in between.
* Its region look-up asks a web service and fails without a network; it is answered.
* It writes to the disk for half a second per sample to measure the disk's speed; left out.
* It ends with an error if a watched child ends while it samples; here only that sample is lost, and
  by its own rule the next one stands for it.
* It cannot read what ``nvidia-smi`` of drivers since 535 writes, on a Python since 3.9; bridged at
  the one place where it parses.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator


class _Element(ElementTree.Element):
    """An element with the method that Python 3.9 took away."""

    def getiterator(self, tag: str | None = None) -> Iterator[ElementTree.Element]:
        """Return what ``iter`` does."""
        return self.iter(tag)


def _parse(text: bytes) -> ElementTree.Element:
    """Parse what ``nvidia-smi -q -x`` writes, with the names it used before driver 535."""
    told = text.decode()
    for new, old in (
        ("gpu_power_readings", "power_readings"),
        ("instant_power_draw", "power_draw"),
    ):
        told = told.replace(new, old)
    builder = ElementTree.TreeBuilder(element_factory=_Element)
    return ElementTree.fromstring(told, parser=ElementTree.XMLParser(target=builder))


def main(pid: int, folder: str, region: str) -> None:
    """Sample until standard input ends."""
    import psutil

    os.getppid = lambda: pid
    logging.disable(logging.WARNING)  # it warns of every sample
    # Before compute_tracker is imported, which takes the name for itself.
    import experiment_impact_tracker.emissions.get_region_metrics as regions  # type: ignore

    regions.get_current_region_info_cached = lambda: ({"id": region}, {"carbonIntensity": None})
    from experiment_impact_tracker import compute_tracker, data_info_and_router
    from experiment_impact_tracker.gpu import nvidia  # type: ignore

    nvidia.fromstring = _parse
    headers = data_info_and_router.DATA_HEADERS
    headers[:] = [header for header in headers if header["name"] != "disk_write_speed"]
    tracker = compute_tracker.ImpactTracker(folder)
    while True:
        try:
            compute_tracker._sample_and_log_power(folder, tracker.initial_info, tracker.logger)
        except psutil.NoSuchProcess:
            if not psutil.pid_exists(pid):
                return
        if select.select([sys.stdin], [], [], compute_tracker.SLEEP_TIME)[0]:
            return


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
