"""What a point will take, by records of points like it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import collection

if TYPE_CHECKING:
    import pandas

_ALIKE = (
    ("workload", "technique", "protocol"),
    ("workload", "protocol"),
    ("protocol",),
)
"""Of which records the median is taken: of the first kind that there are any of on this host."""


@dataclass(frozen=True, eq=False)
class Earlier:
    """Records of this host, as far as they say how long things take.

    Attributes:
        rows: One per record: names, ``measure_s``, ``train_s``, ``optimise_s``, ``bytes``.
    """

    rows: pandas.DataFrame

    @classmethod
    def read(cls, results: Path, host: str) -> Earlier:
        """Read those below a folder; there may be none."""
        import pandas

        pairs = collection.read(results).pairs
        pairs = pairs[pairs["host"] == host]
        ended, began = (
            pandas.to_datetime(pairs[name], utc=True) for name in ("created", "started")
        )
        rows = pandas.DataFrame(
            {
                **{name: pairs[name].astype(str) for name in ("workload", "technique", "protocol")},
                "measure_s": (ended - began).dt.total_seconds(),
                "train_s": pairs["train_wall_s"],
                "optimise_s": pairs["optimise_wall_s"],
                "baseline_bytes": pairs["baseline_bytes"],
                "variant_bytes": pairs["variant_bytes"],
            }
        )
        return cls(rows)

    def seconds(self, config: Mapping[str, Any], trains: bool) -> float | None:
        """Return how long a point will take; ``None`` if nothing like it was ever measured.

        Args:
            config: The point's, resolved.
            trains: Whether its baseline is still to be trained.
        """
        measure_s = self._median("measure_s", config)
        if measure_s is None:
            return None
        made_s = [self._median("optimise_s", config)]
        if trains:
            made_s.append(self._median("train_s", config))
        return measure_s + sum(seconds or 0.0 for seconds in made_s)

    def bytes(self, config: Mapping[str, Any], trains: bool) -> float:
        """Return what a point's artefacts will take of the disk, as far as that is known."""
        sizes = [self._median("variant_bytes", config)]
        if trains:
            sizes.append(self._median("baseline_bytes", config))
        return sum(size or 0.0 for size in sizes)

    def _median(self, column: str, config: Mapping[str, Any]) -> float | None:
        names = {key: config[key]["name"] for key in ("workload", "technique", "protocol")}
        for keys in _ALIKE:
            alike = self.rows
            for key in keys:
                alike = alike[alike[key] == names[key]]
            found = alike[column].dropna()
            if len(found):
                return float(found.median())
        return None
