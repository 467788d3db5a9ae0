"""One pair's windows in their order, and its ratio as blocks came in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.dashboard.data.choosing import unit
from bench.dashboard.data.folder import (
    POINTS_BYTES,
    BrokenError,
    Folder,
    columns,
    number,
    words,
)
from bench.dashboard.data.sheets import Column, Sheet
from bench.reporting.cells import amount
from bench.statistics import t_interval
from bench.statistics.ratios import block_log_ratios

ARMS = ("baseline", "variant")
MOST_WINDOWS = 4_000
"""Windows of a session that are shown, the last; the protocol of a paper takes 160 at most."""

_LARGEST_LOG = 700.0  # of what a float holds
_NEEDED = ("block", "position", "arm", "items", "kept", "wall_s", "cpu_s")


@dataclass(frozen=True, slots=True)
class Seen:
    """One window.

    Attributes:
        number: Place in the session, from 0.
        block: Its block.
        order: ``ABBA`` or ``BAAB``.
        arm: ``baseline`` or ``variant``.
        per_item: Joules or seconds per sample; ``None`` where the reading failed.
        items: Samples.
        wall_s: Seconds.
        kept: Whether its block was kept.
    """

    number: int
    block: int
    order: str
    arm: str
    per_item: float | None
    items: float
    wall_s: float
    kept: bool


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratio after so many kept blocks, with its 95 % interval."""

    blocks: int
    ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Session:
    """What a session shows.

    Attributes:
        unit: ``J`` or ``s``, per sample.
        windows: In their order.
        ratios: After 2, 3, ... kept blocks.
        discards: Block, condition and detail of what was thrown away.
        problem: Why there is nothing to show, if so.
    """

    unit: str
    windows: tuple[Seen, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    discards: tuple[tuple[int, str, str], ...] = ()
    problem: str = ""

    @property
    def sheet(self) -> Sheet:
        """The windows as a table."""
        rows = [
            {
                "block": window.block,
                "order": window.order,
                "arm": window.arm,
                "per_sample": window.per_item,
                "items": window.items,
                "wall_s": window.wall_s,
                "kept": window.kept,
            }
            for window in self.windows
        ]
        each = Column("per_sample", "per_sample", lambda value: amount(value, self.unit))
        return Sheet("windows", (*_FIRST, each, *_REST), rows)

    @property
    def discard_sheet(self) -> Sheet:
        """What was thrown away, with the reason."""
        rows = [
            {"block": block, "condition": condition, "detail": detail}
            for block, condition, detail in self.discards
        ]
        return Sheet("discards", _DISCARDS, rows)


def finished(folder: Folder, pair: Mapping[str, Any], discards: Sequence[Any]) -> Session:
    """Return the session of a record, from the windows beside it.

    Args:
        folder: The results.
        pair: Its flat row.
        discards: Of the record's session.
    """
    relative, lead = f"{pair['folder']}/windows.parquet", str(pair["lead"])
    thrown = tuple((d.block, words(d.condition), words(d.detail)) for d in discards)
    try:
        frame = columns(folder.table(relative), (*_NEEDED, "order"), relative)
        newest = frame.sort_values(["block", "position"], kind="stable").tail(MOST_WINDOWS)
        ordering = newest.assign(_spent=_spent(newest, pair, lead, relative))
    except BrokenError as err:
        return Session(unit(lead), discards=thrown, problem=str(err))
    except (TypeError, ValueError):
        return Session(unit(lead), discards=thrown, problem=f"{relative}: words for figures")
    windows = tuple(_seen(number_, row) for number_, row in enumerate(ordering.to_dict("records")))
    return Session(unit(lead), windows, _ratios(windows), thrown)


def under_way(folder: Folder, told: str) -> Session:
    """Return what has come in of a session that is being measured, or has failed.

    Args:
        folder: The results.
        told: File of the pair's points, below them.
    """
    try:
        lines = folder.lines(told, POINTS_BYTES)
    except BrokenError as err:
        return Session("s", problem=str(err))
    blocks = [line for line in lines if isinstance(line.get("windows"), list)]
    rows = [
        {
            **window,
            "block": line.get("block"),
            "order": line.get("order"),
            "kept": line.get("discard") is None,
            "_spent": window.get("figure"),
        }
        for line in blocks
        for window in line["windows"]
        if isinstance(window, dict)
    ]
    windows = tuple(_seen(number_, row) for number_, row in enumerate(rows))
    thrown = tuple(
        (int(number(line.get("block")) or 0), words(line.get("discard")), words(line.get("detail")))
        for line in blocks
        if line.get("discard") is not None
    )
    measures = {line.get("measure") for line in blocks}
    return Session("J" if measures == {"energy_j"} else "s", windows, _ratios(windows), thrown)


def _spent(frame: pd.DataFrame, pair: Mapping[str, Any], lead: str, name: str) -> np.ndarray:
    """Return what each window took in the leading measure, in joules or seconds."""
    if not lead.startswith("energy"):
        return frame[f"{lead}_s"].to_numpy(float)
    source, scope = pair[f"{lead}_source"], pair[f"{lead}_scope"]
    needed = [f"{source}/{component}_j" for component in str(scope).split("+")]
    return columns(frame, needed, name)[needed].sum(axis=1, skipna=False).to_numpy(float)


def _seen(place: int, row: Mapping[Any, Any]) -> Seen:
    items, spent = number(row.get("items")) or 0.0, number(row.get("_spent"))
    per_item = spent / items if spent is not None and items > 0 else None
    return Seen(
        number=place,
        block=int(number(row.get("block")) or 0),
        order=words(row.get("order")),
        arm="variant" if row.get("arm") == "variant" else "baseline",
        per_item=per_item,
        items=items,
        wall_s=number(row.get("wall_s")) or 0.0,
        kept=bool(row.get("kept")),
    )


def _ratios(windows: Sequence[Seen]) -> tuple[Ratio, ...]:
    """Return the running ratio; none where windows are missing or a figure is not positive."""
    arms = []
    for arm in ARMS:
        each = [window.per_item for window in windows if window.kept and window.arm == arm]
        if len(each) % 2 or any(value is None or value <= 0 for value in each):
            return ()
        arms.append(np.asarray(each, float).reshape(-1, 2))
    baseline, variant = arms
    if baseline.shape != variant.shape:
        return ()
    each_block = block_log_ratios(baseline, variant)
    found = []
    for blocks in range(2, len(each_block) + 1):
        centre, margin = t_interval(each_block[:blocks], 0.95)
        if abs(centre) + margin > _LARGEST_LOG:
            return ()
        ends = (math.exp(centre + sign * margin) for sign in (0, -1, 1))
        found.append(Ratio(blocks, *ends))
    return tuple(found)


_FIRST = (
    Column("block", "block"),
    Column("order", "order", words=True),
    Column("arm", "arm", words=True, said=True),
)
_REST = (
    Column("items", "samples", lambda value: f"{value:,.0f}"),
    Column("wall_s", "seconds", lambda value: f"{value:.2f}"),
    Column("kept", "kept", lambda value: "✓" if value else "✗", words=True),
)
_DISCARDS = (
    Column("block", "block"),
    Column("condition", "condition", words=True),
    Column("detail", "detail", words=True),
)
