"""Comparing pairs: which are meant, in which order, and what stands beside what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd

from bench.dashboard.data.folder import number, words
from bench.dashboard.data.sheets import Column, Sheet
from bench.reporting.cells import amount, interval, ratio, ratio_end
from bench.reporting.scales import Scale, scale

MOST_OPTIONS = 300
MOST_BESIDE = 6
_EXACT = {
    "workload": "workload",
    "technique": "technique",
    "host": "host",
    "protocol": "protocol",
    "lead": "lead",
    "verdict": "_verdict",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which pairs are meant; what is empty does not narrow.

    Attributes:
        text: Part of the id, label, host or protocol, whatever its case.
        workload: Exactly this.
        technique: Likewise.
        host: Likewise.
        protocol: Likewise.
        lead: Measure that leads, one of ``flat.MEASURES``.
        verdict: One of ``pairs.VERDICTS``.
    """

    text: str = ""
    workload: str = ""
    technique: str = ""
    host: str = ""
    protocol: str = ""
    lead: str = ""
    verdict: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Choice:
        """Return what a query asks for; what is not known in it means nothing."""
        return cls(**{f.name: words(query.get(f.name, ""), 100) for f in fields(cls)})

    @property
    def query(self) -> str:
        """The same as a query."""
        return urlencode({name: value for name, value in asdict(self).items() if value})


def chosen(pairs: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    """Return the pairs that are meant, the newest first."""
    keep = np.ones(len(pairs), bool)
    for name, column in _EXACT.items():
        if value := getattr(choice, name):
            keep &= pairs[column].eq(value).to_numpy(bool, na_value=False)
    if choice.text:
        found = pairs["_text"].str.contains(choice.text.lower(), regex=False)
        keep &= found.to_numpy(bool, na_value=False)
    return pairs if keep.all() else pairs[keep]


def options(pairs: pd.DataFrame) -> dict[str, list[str]]:
    """Return what each filter may be set to, as many as somebody may still read."""
    return {
        name: sorted(str(value) for value in pairs[column].dropna().unique())[:MOST_OPTIONS]
        for name, column in _EXACT.items()
    }


def sorted_by(pairs: pd.DataFrame, key: str, falling: bool) -> pd.DataFrame:
    """Return the pairs by one column of the sheet; what is not known there changes nothing."""
    column = _SORTED.get(key)
    if column is None:
        return pairs
    return pairs.sort_values(column, ascending=not falling, kind="stable", na_position="last")


def sheet(pairs: pd.DataFrame) -> Sheet:
    """Return pairs as the table of the page."""
    rows = [_row(row) for row in pairs[list(_USED)].to_dict("records")]
    return Sheet("pairs", COLUMNS, rows)


def beside(pairs: pd.DataFrame, folders: Sequence[str]) -> Sheet:
    """Return some pairs side by side: a figure per row, a pair per column."""
    ours = pairs["folder"].isin(folders).to_numpy(bool)
    found = pairs[ours].head(MOST_BESIDE)[list(_USED)].to_dict("records")
    rows = [_row(pair) for pair in found]
    names = [words(f"{pair['label']}, {pair['host']}, {pair['seed']}") for pair in found]
    columns = (
        Column("figure", "figure", words=True),
        *(Column(f"pair_{n}", "", words=True, literal=name) for n, name in enumerate(names)),
    )
    lines = [
        {
            "figure": column.heading,
            **{f"pair_{n}": column.cell(row) for n, row in enumerate(rows)},
        }
        for column in COLUMNS
        if column.page
    ]
    return Sheet("side_by_side", columns, lines)


def unit(lead: str) -> str:
    """Return the unit of a measure."""
    return "J" if lead.startswith("energy") else "s"


def grade(lead: str) -> str:
    """Return the grade of the joules that lead, ``-`` for seconds."""
    return lead[-1].upper() if lead.startswith("energy") else "-"


def _row(pair: Mapping[Any, Any]) -> dict[str, Any]:
    lead, of_metric = str(pair["lead"]), scale(str(pair["metric"]))
    low, high = number(pair["_low"]), number(pair["_high"])
    quality, difference = number(pair["quality_variant"]), number(pair["quality_difference"])
    per_item = number(pair["_variant_per_item"])
    return {
        "label": words(pair["label"]),
        "workload": words(pair["workload"]),
        "host": words(pair["host"]),
        "seed": number(pair["seed"]),
        "session": number(pair["session_number"]),
        "measure": lead,
        "unit": f"{unit(lead)} ({grade(lead)})" if lead.startswith("energy") else unit(lead),
        "ratio": number(pair["_ratio"]),
        "low": low,
        "high": high,
        "interval": None if low is None or high is None else interval(low, high, ratio_end),
        "per_item": per_item,
        "per_item_shown": None if per_item is None else amount(per_item, unit(lead)),
        "metric": words(pair["metric"]),
        "quality": quality,
        "quality_shown": None if quality is None else _of(of_metric, quality),
        "difference": difference,
        "difference_shown": None if difference is None else _step(of_metric, difference),
        "difference_low": number(pair["quality_low"]),
        "difference_high": number(pair["quality_high"]),
        "break_even": number(pair["break_even_inferences"]),
        "verdict": words(pair["_verdict"]),
        "reason": words(pair["verdict_reason"]) or words(pair["session_reason"]),
        "created": words(pair["created"]),
        "folder": str(pair["folder"]),
    }


def _of(of_metric: Scale, value: float) -> str:
    return f"{of_metric.value(value)} {of_metric.unit}"


def _step(of_metric: Scale, difference: float) -> str:
    return f"{of_metric.difference(difference)} {of_metric.step}"


def _minute(value: str) -> str:
    """Return a record's time without seconds: records are in UTC."""
    return value[:16].replace("T", " ")


def _whole(value: float) -> str:
    return f"{value:.0f}"


COLUMNS = (
    Column("label", "technique", words=True, link="pair", sorts=True),
    Column("workload", "workload", words=True, sorts=True),
    Column("host", "host", words=True, sorts=True),
    Column("seed", "seed", _whole, sorts=True),
    Column("session", "session", _whole),
    Column("measure", "unit", words=True, sorts=True, text="unit"),
    Column("ratio", "ratio", ratio, sorts=True),
    Column("low", "interval", text="interval"),
    Column("high", "interval", page=False),
    Column("per_item", "per_sample", text="per_item_shown"),
    Column("metric", "metric", words=True, page=False),
    Column("quality", "quality", sorts=True, text="quality_shown"),
    Column("difference", "difference", sorts=True, text="difference_shown"),
    Column("difference_low", "difference", page=False),
    Column("difference_high", "difference", page=False),
    Column("break_even", "break_even", amount, sorts=True),
    Column("verdict", "verdict", words=True, sorts=True, said=True),
    Column("reason", "reason", words=True),
    Column("created", "created", _minute, words=True, sorts=True),
    Column("folder", "folder", words=True, page=False),
)

_USED = (
    *("label", "workload", "host", "seed", "session_number", "lead", "metric", "folder"),
    *("_ratio", "_low", "_high", "_variant_per_item", "_verdict", "quality_variant"),
    *("quality_difference", "quality_low", "quality_high", "break_even_inferences"),
    *("verdict_reason", "session_reason", "created"),
)

_SORTED = {
    "label": "label",
    "workload": "workload",
    "host": "host",
    "seed": "seed",
    "measure": "lead",
    "ratio": "_ratio",
    "quality": "quality_variant",
    "difference": "quality_difference",
    "break_even": "break_even_inferences",
    "verdict": "_verdict",
    "created": "_created_s",
}
