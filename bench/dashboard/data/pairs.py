"""The pairs as pages want them: with what leads, the verdict in a word, and a text to search in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bench.dashboard.data.happened import seconds
from bench.flat import GRADES, MEASURES
from bench.reporting.judging import MEASURED
from bench.reporting.rows import BASELINE

VERDICTS = ("headline", "saves", "costs", "faster", "slower", "undecided", "A/A", "invalid")
"""What is said of a pair in one word: the first that holds, from the end."""

LEADING = ("ratio", "low", "high", "baseline_per_item", "variant_per_item")
"""Figures of the leading comparison, here as ``_ratio`` and so on."""

_SEARCHED = ("id", "label", "host", "protocol")

_KEPT = (
    *("id", "host", "folder", "created", "workload", "technique", "label", "seed"),
    *("session_number", "protocol", "lead", "metric", "data_json"),
    *(f"quality_{name}" for name in ("baseline", "variant", "difference", "low", "high")),
    *("break_even_inferences", "verdict_reason", "session_reason", "variant_latency_p50_s"),
    *(f"{arm}_{name}" for arm in ("baseline", "variant") for name in ("digest", "parameters")),
    *(f"{cost}_energy_{g.lower()}_j" for cost in ("train", "optimise") for g in GRADES),
    *(f"{cost}_{clock}_s" for cost in ("train", "optimise") for clock in ("wall", "cpu")),
    *(f"{measure}_{name}" for measure in MEASURES for name in ("source", "scope")),
)
"""What pages show; the rest of the flat columns would only fill the memory."""


def prepared(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return rows of ``bench.flat.SCHEMA``, what is shown of them, with columns of our own.

    The newest comes first. ``_created_s`` is in seconds since 1970; ``_ratio``, ``_low``,
    ``_high``, ``_baseline_per_item`` and ``_variant_per_item`` are of the measure in ``lead``;
    ``_verdict`` is one of ``VERDICTS``; ``_text`` is what a search looks in.
    """
    created = [seconds(when) or 0.0 for when in pairs["created"]]
    own: dict[str, Any] = {
        "_created_s": np.asarray(created, float),
        "_verdict": _verdicts(pairs),
        "_text": _texts(pairs),
    }
    leads = [pairs["lead"].eq(measure).to_numpy(bool, na_value=False) for measure in MEASURES]
    for name in LEADING:
        figures = [pairs[f"{measure}_{name}"].to_numpy(float) for measure in MEASURES]
        own[f"_{name}"] = np.select(leads, figures, np.nan)
    whole = pairs[list(_KEPT)].assign(**own)
    ordered = whole.sort_values(["_created_s", "folder"], ascending=[False, True], kind="stable")
    return ordered.reset_index(drop=True)


def _verdicts(pairs: pd.DataFrame) -> np.ndarray:
    counted = pairs["lead"].isin(MEASURED).to_numpy(bool)
    said = np.where(counted, pairs["verdict_energy"], pairs["verdict_time"]).astype(object)
    said[pairs["headline"].eq(True).to_numpy(bool, na_value=False)] = "headline"
    said[pairs["technique"].eq(BASELINE).to_numpy(bool, na_value=False)] = "A/A"
    said[pairs["session_valid"].eq(False).to_numpy(bool, na_value=False)] = "invalid"
    return said


def _texts(pairs: pd.DataFrame) -> list[str]:
    columns = (pairs[name].astype(object) for name in _SEARCHED)
    return [" ".join(str(part) for part in parts).lower() for parts in zip(*columns, strict=True)]
