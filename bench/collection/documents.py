"""All records below one folder as objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench import store
from bench.collection.sources import SetAside
from bench.records import Record, RecordError


@dataclass(frozen=True, slots=True)
class Records:
    """All that a store holds: records by id and host, and what could not be read, by path."""

    records: tuple[Record, ...]
    set_aside: tuple[SetAside, ...]


def read_all(root: Path) -> Records:
    """Return every record below ``root``, and name every document that is none.

    Hidden folders (artefacts, logs, half-written records) are skipped. Nothing is renamed. A root
    that is not there holds nothing; one that is a file raises ``StoreError``.
    """
    if root.exists() and not root.is_dir():
        raise store.StoreError(
            f"store.root is {root}, which is a file: give the folder of the results"
        )
    found: dict[tuple[str, str], tuple[Record, Path]] = {}
    set_aside = []
    for path in sorted(root.rglob(store.RECORD)):
        relative = path.relative_to(root)
        if any(part.startswith(".") for part in relative.parts):
            continue
        try:
            record = store.read(path)
        except (OSError, RecordError) as err:
            # The system's own text would name the folder, which differs between two machines.
            set_aside.append(SetAside(relative, getattr(err, "strerror", None) or str(err)))
            continue
        # A folder copied for safety would otherwise put one pair into the table twice.
        _, first = found.setdefault((record.id, record.host), (record, relative))
        if first != relative:
            set_aside.append(SetAside(relative, f"same id and host as {first.as_posix()}"))
    return Records(tuple(found[key][0] for key in sorted(found)), tuple(sorted(set_aside)))
