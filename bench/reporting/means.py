"""The mean of one technique's ratios over the workloads it was measured on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.flat import MEASURES
from bench.reporting.cells import Cell
from bench.reporting.columns import Column
from bench.reporting.measures import CPU_SECONDS, ENERGY, MODELLED_ENERGY, SECONDS
from bench.reporting.rows import Row, scopes_apart
from bench.statistics.pooling import Pooled, geometric_mean

WORKLOAD = ("workload", "recipe_json")
"""What a mean is taken over."""


@dataclass(frozen=True, slots=True)
class Mean:
    """One technique on one host, over several workloads.

    Attributes:
        key: What its rows have in common, the workload left out.
        rows: One per workload.
        ratios: Geometric means of the measures that all of them have; of joules, where they cover
            the same parts.
    """

    key: dict[str, Any]
    rows: tuple[Row, ...]
    ratios: dict[str, Pooled]

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"{self.key['label']} over {', '.join(self.workloads)}"

    @property
    def workloads(self) -> tuple[str, ...]:
        """The workloads, in order."""
        return tuple(str(row.key["workload"]) for row in self.rows)

    def origin_of(self, measure: str) -> str:
        """Return the meters of a measure's joules."""
        return ", ".join(sorted({row.origin_of(measure) for row in self.rows} - {""}))

    def partial(self, measure: str) -> str | None:
        """Say so if only some of the pairs of a row have a measure."""
        found = {row.key["workload"]: row.partial(measure) for row in self.rows}
        return "; ".join(f"{name}: {said}" for name, said in found.items() if said) or None

    def why_absent(self, measure: str) -> str:
        """Return why there is no mean of a measure."""
        for row in self.rows:
            if measure not in row.ratios:
                return f"{row.key['workload']}: {row.why_absent(measure)}"
        return f"joules have no mean: {scopes_apart(self.rows, measure)}"


def geometric_means(rows: Sequence[Row]) -> tuple[Mean, ...]:
    """Return the means of the techniques that have rows of two or more workloads.

    Only rows of one host, protocol and runtime are taken together, and no A/A pairs. A workload
    that was trained by several recipes has no one row, so it is left out.
    """
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if not row.is_noise_floor and row.valid.size:
            groups[tuple(v for k, v in row.key.items() if k not in WORKLOAD)].append(row)
    found = []
    for group in groups.values():
        names = [row.key["workload"] for row in group]
        single = tuple(row for row in group if names.count(row.key["workload"]) == 1)
        if len(single) > 1:
            key = {k: v for k, v in single[0].key.items() if k not in WORKLOAD}
            shared = [m for m in MEASURES if all(m in row.ratios for row in single)]
            shared = [m for m in shared if not scopes_apart(single, m)]
            ratios = {m: geometric_mean([row.ratios[m] for row in single]) for m in shared}
            found.append(Mean(key, single, ratios))
    return tuple(found)


TECHNIQUE: Column[Mean] = Column(
    name="technique",
    heading="technique",
    unit="",
    cell=lambda mean: Cell(str(mean.key["label"])),
    figures=("technique", "label"),
    values=lambda mean: (mean.key["technique"], mean.key["label"]),
    words=True,
)
COLUMNS: tuple[Column[Any], ...] = (
    TECHNIQUE,
    *ENERGY,
    SECONDS,
    CPU_SECONDS,
    MODELLED_ENERGY,
)
