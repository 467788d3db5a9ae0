"""The measured windows of a pair, read from beside its record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.reporting.pooled import ARMS
from bench.reporting.rows import Row
from bench.statistics.ratios import block_log_ratios

NAME = "windows.parquet"


def log_ratios(row: Row, root: Path) -> list[NDArray[np.float64]] | str:
    """Return the blocks' log ratios of a row's leading measure, one array per pair.

    Args:
        row: Of ``rows``.
        root: Folder of the results.

    Returns:
        Why there are none, if the windows of one pair are not there or lack what is compared.
    """
    found = []
    folders = row.of("folder")
    sources, scopes = row.of(f"{row.lead}_source"), row.of(f"{row.lead}_scope")
    for position, folder, source, scope in zip(row.valid, folders, sources, scopes, strict=True):
        path = root / folder / NAME
        columns = [f"{source}/{component}_j" for component in str(scope).split("+")]
        if row.lead == "wall":
            columns = ["wall_s"]
        try:
            frame = pq.read_table(path, columns=["block", "arm", "items", "kept", *columns])
            found.append(_blocks(frame.to_pandas(), columns))
        except (OSError, pa.ArrowException, KeyError, ValueError):
            return f"{NAME} of {row.source.name(position)} is not there, or lacks {columns[0]}"
    return found


def _blocks(windows: pd.DataFrame, columns: list[str]) -> NDArray[np.float64]:
    kept = windows[windows["kept"]].sort_values("block", kind="stable")
    per_item = kept[columns].sum(axis=1, skipna=False) / kept["items"]
    return block_log_ratios(
        *(per_item[kept["arm"] == arm].to_numpy(float).reshape(-1, 2) for arm in ARMS)
    )
