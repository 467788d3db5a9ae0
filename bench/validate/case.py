"""One record with all that lies beside it, opened once for all checks."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.records import Record
from bench.validate import Finding

RELATIVE = 1e-6
"""Relative difference up to which a recomputed figure is the same. JSON and Parquet keep every bit
of a float, but sums in another order and other libraries differ in the last digits (1e-12); no
table prints more than five."""

ABSOLUTE = 1e-12
"""Likewise, of figures around 0 (differences in accuracy, whose root finding ends at 2e-12)."""

_MEASURED = ("_j", "_start_c")
"""Ends of names of columns that come with the host: joules and degrees."""
_WHOLE, _NUMBER, _TEXT, _BOOL = "iu", "iuf", "O", "b"
TABLES: Mapping[str, Mapping[str, str]] = {
    "windows": {
        **dict.fromkeys(("block", "position", "start_ns", "end_ns"), _WHOLE),
        "items": _NUMBER,
        **dict.fromkeys(("order", "arm"), _TEXT),
        **dict.fromkeys(("wall_s", "cpu_s", "steal_share", "foreign_share"), _NUMBER),
        **dict.fromkeys(("cpu_throttles", "major_faults"), _NUMBER),
        "kept": _BOOL,
    },
    "predictions": {
        "example": _WHOLE,
        **dict.fromkeys(("label", "baseline", "variant"), _NUMBER + _TEXT),
    },
    "trace": {
        **dict.fromkeys(("start_ns", "end_ns"), _WHOLE),
        **dict.fromkeys(("span", "meter", "component", "source", "grade"), _TEXT),
        "power_w": _NUMBER,
    },
    "training": {
        **dict.fromkeys(("arm", "stage"), _TEXT),
        "step": _WHOLE,
        **dict.fromkeys(("loss", "learning_rate", "metric", "wall_s"), _NUMBER),
    },
}
"""Columns that each file beside a record must have, with numpy's kinds of what they hold."""

Columns = Mapping[str, NDArray[Any]]
"""Columns of a table by name; numbers that are null are NaN."""


class Channel(NamedTuple):
    """What a meter read of one component, as the session says."""

    meter: str
    component: str
    source: str
    grade: str
    step_s: float

    @property
    def column(self) -> str:
        """Where its joules stand in windows.parquet."""
        return f"{self.meter}/{self.component}_j"


@dataclass(frozen=True, slots=True)
class Case:
    """One record, opened.

    Attributes:
        path: Of its folder, relative to the folder that is examined, with forward slashes.
        folder: The folder itself.
        record: The document.
        channels: What the session's meters read.
        tables: Of the files beside it, those that can be read, by name without suffix.
    """

    path: str
    folder: Path
    record: Record
    channels: tuple[Channel, ...]
    tables: Mapping[str, Columns]

    def error(self, check: str, message: str) -> Finding:
        """Return a contradiction."""
        return Finding(self.path, check, "error", message)

    def warning(self, check: str, message: str) -> Finding:
        """Return what a reader should know."""
        return Finding(self.path, check, "warning", message)

    def equal(self, check: str, field: str, found: object, expected: object) -> Iterator[Finding]:
        """Yield an error unless both are the same: numbers within ``RELATIVE``."""
        if not same(found, expected):
            message = f"{field} is {shown(found)}, expected {shown(expected)}"
            yield self.error(check, message)

    @property
    def rules(self) -> Mapping[str, Any]:
        """The protocol's knobs."""
        return self.record.protocol


def same(one: object, two: object) -> bool:
    """Return whether two figures are the same; a missing one is the same as none but itself."""
    if isinstance(one, float) and isinstance(two, float | int):
        return math.isclose(one, two, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return one == two


def shown(value: object) -> str:
    """Return a value as a message prints it."""
    if value is None:
        return "null"
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def open_case(path: str, folder: Path, record: Record) -> tuple[Case, list[Finding], int]:
    """Open what lies beside a record.

    Returns:
        The case, what is wrong with its files, and how many files were checked.
    """
    tables: dict[str, Columns] = {}
    case = Case(path, folder, record, _channels(record), tables)
    wrong = [
        case.error("files", f"files lacks {name}.parquet, which belongs beside every record")
        for name in TABLES
        if f"{name}.parquet" not in record.files
    ]
    checked = 0
    for name, digest in sorted(record.files.items()):
        if Path(name).name != name:
            wrong.append(case.error("files", f"files names {name!r}, which is no file's name"))
            continue
        try:
            content = (folder / name).read_bytes()
        except OSError as err:
            wrong.append(case.error("files", f"{name} cannot be read: {err.strerror}"))
            continue
        checked += 1
        found = hashlib.sha256(content).hexdigest()
        wrong += case.equal("sha256", f"SHA-256 of {name}", found, digest)
        if (table := name.removesuffix(".parquet")) in TABLES:
            try:
                tables[table] = _columns(content, TABLES[table])
            except (pa.ArrowException, OSError, ValueError) as err:
                wrong.append(case.error("parquet", f"{name}: {_first_line(err)}"))
    listed = {f"{name}.parquet" for name in TABLES} | set(record.files)
    wrong += [
        case.warning("files", f"{stray.name} lies beside the record, whose files do not name it")
        for stray in sorted(folder.glob("*.parquet"))
        if stray.name not in listed
    ]
    return case, wrong, checked


def _channels(record: Record) -> tuple[Channel, ...]:
    return tuple(
        Channel(meter, c["component"], c["source"], c["grade"], c["step_s"])
        for meter, group in record.session.meters.items()
        for c in group
    )


def _columns(content: bytes, wanted: Mapping[str, str]) -> Columns:
    """Read a table.

    Raises:
        ValueError: A column is missing, or holds something else.
    """
    table = pq.read_table(io.BytesIO(content))
    if missing := sorted(set(wanted) - set(table.column_names)):
        raise ValueError(f"it lacks the columns {', '.join(missing)}")
    columns = {}
    for name in table.column_names:
        column = table.column(name)
        nothing = pa.types.is_null(column.type)
        values = np.full(len(column), np.nan) if nothing else column.to_numpy()
        kinds = wanted.get(name, _NUMBER if name.endswith(_MEASURED) else "")
        if kinds and values.size and values.dtype.kind not in kinds:
            raise ValueError(f"its column {name} holds {column.type}")
        columns[name] = values
    return columns


def _first_line(err: Exception) -> str:
    return str(err).strip().partition("\n")[0] or type(err).__name__
