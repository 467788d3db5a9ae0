"""All records below one folder as one table, and what lies among them that is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bench import store
from bench.collection import cache
from bench.collection.parsing import COLUMNS, JSON
from bench.collection.shares import parse_in_shares
from bench.collection.sources import SetAside, listing

if TYPE_CHECKING:
    import pandas

__all__ = ["Collection", "SetAside", "read"]


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """All that a store holds.

    Attributes:
        pairs: One row per record with the columns of ``flat.SCHEMA``, by id and host, rehearsals
            and synthetic joules included. Columns of JSON, long and often the same, are categorical
            with their categories in order.
        set_aside: What could not be read, by path.
    """

    pairs: pandas.DataFrame
    set_aside: tuple[SetAside, ...]


def read(root: Path, refresh: bool = False) -> Collection:
    """Return every record below ``root``, and name every document that is none.

    Hidden folders (artefacts, logs, half-written records) are skipped. Nothing is renamed. Rows are
    kept in ``.pairs.parquet`` below the root, and only documents that are new or have changed since
    are opened; where that file cannot be written, all are. Of several records with one id and host
    the first by path counts. A root that is not there holds nothing.

    Args:
        root: Folder of the results.
        refresh: Whether every record is read again, whatever the cache says.

    Raises:
        StoreError: The root is a file.
    """
    if root.exists() and not root.is_dir():
        raise store.StoreError(
            f"store.root is {root}, which is a file: give the folder of the results"
        )
    if not root.exists():
        return Collection(_frame(COLUMNS.empty_table()), ())
    rows, set_aside = _gathered(root, refresh)
    first = _firsts(rows)
    own = first == np.arange(len(first))
    # A folder copied for safety would otherwise put one pair into the table twice.
    set_aside += [_copy(rows, here, int(first[here])) for here in np.flatnonzero(~own).tolist()]
    if not own.all():
        rows = rows.filter(pa.array(own))
    return Collection(_frame(rows), tuple(sorted(set_aside)))


def _gathered(root: Path, refresh: bool) -> tuple[pa.Table, list[SetAside]]:
    """Return the rows of all documents as they are now, kept for the next time if any is new."""
    stored = cache.Stored() if refresh else cache.load(root)
    found = listing(root, stored.known)
    try:
        rows = stored.rows()
    except cache.CacheError:
        return _gathered(root, refresh=True)
    new = parse_in_shares(root, sorted(source.folder for source in found.changed))
    set_aside = found.set_aside + new.set_aside
    if not new.table.num_rows and len(found.same) == rows.num_rows:
        return rows, set_aside
    kept = rows.take(pa.array(sorted(found.same), pa.int64()))
    rows = _ordered(pa.concat_tables([kept, new.table]))
    cache.save(root, rows, stored.known, found.changed)
    return rows, set_aside


def _ordered(rows: pa.Table) -> pa.Table:
    """Return rows by id, host and path, every text of JSON once and none that is not there."""
    for place, name in enumerate(rows.column_names):
        if name in JSON:
            texts = rows[name].cast(pa.string()).dictionary_encode()
            rows = rows.set_column(place, COLUMNS.field(name), texts)
    rows = rows.combine_chunks()
    # As paths compare: a/b comes before a-copy/b.
    paths = pc.replace_substring(rows["folder"], "/", "\0")
    keys = pa.table({"id": rows["id"], "host": rows["host"], "path": paths})
    return rows.take(pc.sort_indices(keys, [(name, "ascending") for name in keys.column_names]))


def _firsts(rows: pa.Table) -> NDArray[np.int64]:
    """Return for each row the place of the first one with its id and host; rows are in order."""
    places = np.arange(rows.num_rows)
    new = np.ones(rows.num_rows, bool)
    above, below = rows.slice(0, max(0, rows.num_rows - 1)), rows.slice(1)
    differ = (pc.not_equal(above[name], below[name]) for name in ("id", "host"))
    new[1:] = pc.or_(*differ).to_numpy()
    first: NDArray[np.int64] = np.maximum.accumulate(np.where(new, places, 0))
    return first


def _copy(rows: pa.Table, here: int, first: int) -> SetAside:
    path, original = (Path(rows["folder"][place].as_py(), store.RECORD) for place in (here, first))
    return SetAside(path, f"same id and host as {original.as_posix()}")


def _frame(rows: pa.Table) -> pandas.DataFrame:
    frame: pandas.DataFrame = rows.to_pandas()
    for name in JSON:
        column = frame[name].cat.remove_unused_categories()
        frame[name] = column.cat.reorder_categories(sorted(column.cat.categories))
    return frame
