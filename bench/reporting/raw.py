"""All pairs as one CSV file: every flat column, nothing pooled, nothing rounded."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from bench.flat import SCHEMA, digest
from bench.reporting.formats import NOT_THERE, REASONS
from bench.reporting.pairs import Pairs, unavailable

_LONG = (
    *("environment_json", "meters_json", "unavailable_json", "data_json", "side_by_side_json"),
    "kernels",
)
"""What is told in words under the tables."""

_SETTINGS = ("recipe_json", "technique_json", "protocol_json", "runtime_json", "served_on_json")
"""What is given by a code of its values: pairs with equal codes may be pooled."""

_JUDGED = ("verdict_energy", "verdict_time", "verdict_reason", "headline")
"""Verdicts are a table's, which knows the other techniques and the A/A pair."""

_REASONS = {
    "energy_a_ratio": "energy_a: no joules of grade A",
    "energy_b_ratio": "energy_b: no joules of grade B",
    "energy_c_ratio": "energy_c: no model was run",
    "wall_ratio": "wall: seconds were not compared",
    "cpu_ratio": "cpu: CPU-seconds were not compared",
    "quality_lost": "quality_lost, quality_gained: the metric is no accuracy",
    "baseline_peak_memory_bytes": "peak_memory_bytes: the platform does not tell",
    "baseline_latency_p50_s": "latency: the protocol asks for no requests",
    "baseline_latency_p90_s": "latency_p90_s: fewer than 1,000 requests",
    "baseline_latency_p99_s": "latency_p99_s: fewer than 10,000 requests",
    "train_wall_s": "train: the baseline was not trained here",
    "optimise_wall_s": "optimise: nothing was optimised",
    "compile_baseline_wall_s": "compile_baseline: it was not compiled",
    "compile_variant_wall_s": "compile_variant: it was not compiled",
    "idle_drift": "idle_drift, idle_power: no counter",
    "baseline_drift": "baseline_drift: fewer than four windows",
}
"""What a missing figure means, by the column that shows whether it is missing."""


def csv_bytes(source: Pairs, origin: str) -> bytes:
    """Return pairs by host and id, after a line that names the records.

    A missing figure is ``NA``; the last column says why figures are missing.
    """
    order = np.lexsort([source.codes(name)[0] for name in ("id", "host")])
    names = [name for name in SCHEMA.names if _wanted(name)]
    columns = [
        _codes(source, name, order) if name in _SETTINGS else _texts(source, name, order)
        for name in names
    ]
    names = [name.replace("_json", "_code") if name in _SETTINGS else name for name in names]
    columns.append(pa.array(_why_missing(source)[order], pa.string()))
    out = io.BytesIO()
    out.write(f"# {origin}\n".encode())
    table = pa.table(columns, names=[*names, REASONS])
    pyarrow.csv.write_csv(table, out, pyarrow.csv.WriteOptions(quoting_style="needed"))
    return out.getvalue()


def _wanted(name: str) -> bool:
    synthetic = name.startswith("energy_s_") or name.endswith("_energy_s_j")
    return not synthetic and name not in (*_LONG, *_JUDGED, "rehearsal", "synthetic")


def _codes(source: Pairs, name: str, order: NDArray[np.intp]) -> pa.Array:
    codes, values = source.codes(name)
    shown = np.array([*map(digest, values), NOT_THERE], object)  # the last is for -1, a missing one
    return pa.array(shown[codes[order]], pa.string())


def _texts(source: Pairs, name: str, order: NDArray[np.intp]) -> pa.Array:
    # From the frame's own types: a column of integers in which one is missing holds floats.
    values = pa.Array.from_pandas(source.frame[name]).take(pa.array(order))
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values.cast(SCHEMA.field(name).type).cast(pa.string()).fill_null(NOT_THERE)


def _why_missing(source: Pairs) -> NDArray[np.object_]:
    absent = np.stack([pd.isna(source.frame[name]).to_numpy() for name in _REASONS])
    unread, reasons = source.codes("unavailable_json")
    never, whys = source.codes("break_even_reason")
    # One number per combination: few occur, however many pairs there are.
    bits = np.left_shift(1, np.arange(len(absent))) @ absent
    combined = (bits * (len(reasons) + 1) + unread + 1) * (len(whys) + 1) + never + 1
    _, firsts, which = np.unique(combined, return_index=True, return_inverse=True)
    texts = []
    for first in firsts:
        lacks = zip(absent[:, first], _REASONS.values(), strict=True)
        said = [text for lacking, text in lacks if lacking]
        if unread[first] >= 0:
            said += unavailable([reasons[unread[first]]])
        if never[first] >= 0:
            said.append(f"break_even: {whys[never[first]]}")
        texts.append(" | ".join(said) or "nothing")
    found: NDArray[np.object_] = np.array(texts, object)[which]
    return found
