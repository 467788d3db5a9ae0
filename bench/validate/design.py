"""Are the windows what the protocol makes: blocks of four, mirrored, in turn, one after another?"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.validate import Finding
from bench.validate.case import Case, Columns, same

LETTERS = {"baseline": "A", "variant": "B"}
ORDERS = ("ABBA", "BAAB")
RANGES = {"steal_share": 1, "foreign_share": 1, "cpu_throttles": np.inf, "major_faults": np.inf}
"""What a column holds at most, where it is known; nothing in it is below 0."""
MOST_CORES = 1.05
"""CPU-seconds per second and hardware thread that rounding of the kernel's ticks explains."""


def check(case: Case) -> Iterator[Finding]:
    """Hold windows.parquet against the design."""
    if (windows := case.tables.get("windows")) is None:
        return
    yield from _blocks(case, windows)
    yield from _orders(case, windows)
    yield from _clock(case, windows)
    yield from _ranges(case, windows)
    yield from _items(case, windows)
    yield from _kept(case, windows)


def _blocks(case: Case, windows: Columns) -> Iterator[Finding]:
    numbers, counts = np.unique(windows["block"], return_counts=True)
    for number, count in zip(numbers, counts, strict=True):
        if count != 4:
            yield case.error("blocks", f"block {number} has {count} windows, expected 4")
    if missing := sorted(set(range(int(numbers.max(initial=-1)) + 1)) - set(numbers.tolist())):
        yield case.error("blocks", f"block {missing[0]} is missing, {len(missing)} in all")
    if (np.diff(windows["block"]) < 0).any():
        yield case.error("blocks", "blocks do not stand in the order of their numbers")
    kept = len(np.unique(windows["block"][windows["kept"]]))
    for place, comparison in enumerate(case.record.comparisons):
        field = f"comparisons[{place}]"
        yield from case.equal("blocks", f"{field}.blocks", comparison.blocks, kept)
        discarded = len(numbers) - kept
        yield from case.equal("discards", f"{field}.discarded", comparison.discarded, discarded)


def _orders(case: Case, windows: Columns) -> Iterator[Finding]:
    before = None
    for number in np.unique(windows["block"]):
        of_block = windows["block"] == number
        declared = set(windows["order"][of_block])
        found = "".join(LETTERS.get(arm, "?") for arm in windows["arm"][of_block])
        if len(declared) != 1 or found not in declared or found not in ORDERS:
            wanted = " and ".join(sorted(map(str, declared)))
            yield case.error("order", f"block {number} is {found}, its order column says {wanted}")
        if windows["position"][of_block].tolist() != list(range(int(of_block.sum()))):
            yield case.error("order", f"block {number}: positions do not count from 0 upwards")
        if found == before:
            yield case.error("order", f"blocks {number - 1} and {number} are both {found}")
        before = found
    if len(windows["order"]):
        drawn = ORDERS[random.Random(case.record.seed).randrange(2)]
        if windows["order"][0] != drawn:
            message = f"block 0 is {windows['order'][0]}, seed {case.record.seed} draws {drawn}"
            yield case.warning("order", message)


def _clock(case: Case, windows: Columns) -> Iterator[Finding]:
    start, end = windows["start_ns"], windows["end_ns"]
    for row in np.flatnonzero(end <= start):
        yield case.error("clock", f"{_window(windows, row)} ends {start[row] - end[row]} ns early")
    for row in np.flatnonzero(start[1:] < end[:-1]):
        one, two = _window(windows, row), _window(windows, row + 1)
        yield case.error("clock", f"{two} starts before {one} ends: windows overlap")
    wall_s = (end - start) * 1e-9
    for row in np.flatnonzero(~np.isclose(windows["wall_s"], wall_s, rtol=1e-9, atol=1e-12)):
        field = f"wall_s of {_window(windows, row)}"
        yield from case.equal("clock", field, float(windows["wall_s"][row]), float(wall_s[row]))
    cpu = case.record.environment.get("cpu") or {}
    threads = cpu.get("threads") or np.inf
    cpu_s = windows["cpu_s"]
    for row in np.flatnonzero((cpu_s < 0) | (cpu_s > MOST_CORES * threads * wall_s + 0.1)):
        yield case.error(
            "clock",
            f"cpu_s of {_window(windows, row)} is {cpu_s[row]:.4g} in {wall_s[row]:.4g} s on "
            f"{threads} hardware threads",
        )


def _ranges(case: Case, windows: Columns) -> Iterator[Finding]:
    for name, most in RANGES.items():
        values = windows[name]
        for row in np.flatnonzero((values < 0) | (values > most))[:1]:
            message = f"{name} of {_window(windows, row)} is {values[row]:g}"
            yield case.error("range", f"{message}, it lies within 0 and {most:g}")


def _items(case: Case, windows: Columns) -> Iterator[Finding]:
    batch = case.record.config["workload"].get("batch_size")
    # Short windows of a disturbed calibration are planned anew until a first block is kept.
    settled = np.maximum.accumulate(windows["kept"].astype(bool))
    for arm in LETTERS:
        counts = windows["items"][(windows["arm"] == arm) & settled]
        if len(found := np.unique(counts)) > 1:
            listed = ", ".join(map(str, found[:4]))
            message = f"windows of the {arm} have {listed} items, expected one number for all"
            yield case.error("items", message)
        for count in found[:1]:
            # What is no number of examples, as seconds of audio, comes in no batches.
            counted = counts.dtype.kind in "iu"
            if count <= 0 or (batch and counted and count % batch):
                message = f"windows of the {arm} have {count} items, expected batches of {batch}"
                yield case.error("items", message)


def _kept(case: Case, windows: Columns) -> Iterator[Finding]:
    for number in np.unique(windows["block"]):
        if len(np.unique(windows["kept"][windows["block"] == number])) > 1:
            yield case.error("kept", f"block {number} is kept in part, a block is kept as a whole")
    thrown = sorted({int(n) for n in windows["block"][~windows["kept"]]})
    named = sorted(discard.block for discard in case.record.session.discards)
    if not same(thrown, named):
        message = f"blocks that are not kept: {thrown}; session.discards names {named}"
        yield case.error("kept", message)


def _window(windows: Columns, row: Any) -> str:
    return f"block {windows['block'][row]}, window {windows['position'][row]}"
