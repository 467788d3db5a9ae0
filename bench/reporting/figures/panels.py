"""Rows that may stand in one pair of axes: one family and one measure, so one grade."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from bench.reporting.figures.style import Look
from bench.reporting.items import Item, item_of
from bench.reporting.pairs import told_apart
from bench.reporting.rows import CONDITIONS, Row

SHEET_IN = 8.0
"""Height of the panels on one sheet; what does not fit goes on another."""


Shown = TypeVar("Shown")


class NothingToDrawError(Exception):
    """A figure for which the records hold nothing; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Material:
    """What figures are made of.

    Attributes:
        rows: Pooled pairs.
        pairs: The flat rows that enter a report: no rehearsals, no synthetic joules.
        root: Folder of the results, for the files beside a record.
        looks: How each label is drawn.
    """

    rows: tuple[Row, ...]
    pairs: pd.DataFrame
    root: Path
    looks: Mapping[str, Look]

    def look(self, row: Row) -> Look:
        """Return how a row is drawn."""
        return self.looks[str(row.key["label"])]

    def beside(self, folder: str, name: str) -> pd.DataFrame | None:
        """Return a table that lies beside a record, ``None`` if it is not there or no table."""
        try:
            return pd.read_parquet(self.root / folder / f"{name}.parquet")
        except (OSError, ValueError):  # pyarrow's own errors are of these kinds
            return None


@dataclass(frozen=True, slots=True)
class Panel:
    """Techniques of one workload on one host under the same conditions, by one measure.

    Attributes:
        title: What they have in common.
        measure: Prefix of the measure, such as ``energy_b``: the one that leads.
        floor: The A/A pair, if it was compared by this measure.
        techniques: The others, in the order of the rows; each has a ratio by this measure.
        reference: The baseline's joules or seconds per inference: geometric mean over the sessions.
        missing: Sentences on rows that have no ratio.
    """

    title: str
    measure: str
    floor: Row | None
    techniques: tuple[Row, ...]
    reference: float
    missing: tuple[str, ...]

    @property
    def item(self) -> Item:
        """What the workload serves."""
        return item_of(self.rows)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what is missing, the noise floor among it."""
        unknown = f"{self.title}: no valid A/A pair, the noise floor is not known."
        return self.missing if self.floor else (*self.missing, unknown)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The A/A pair, if any, and the techniques."""
        return (*((self.floor,) if self.floor else ()), *self.techniques)

    def cost(self, row: Row) -> tuple[float, float, float]:
        """Return joules or seconds per inference of a row's variant, and their 95 % interval.

        Its ratio times ``reference``: what was measured side by side is the ratio, and a host that
        was slower in one session than in another must not move a technique.
        """
        found = row.ratios[self.measure]
        return (
            self.reference * found.ratio,
            self.reference * found.low,
            self.reference * found.high,
        )


def panels(rows: Sequence[Row]) -> list[Panel]:
    """Return the panels of all rows, in the rows' order.

    Raises:
        NothingToDrawError: No row of a technique has a ratio.
    """
    families: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        families.setdefault(row.family, []).append(row)
    named = titles([family[0].key for family in families.values()])
    found = [
        panel
        for title, family in zip(named, families.values(), strict=True)
        for panel in _panels(title, family)
    ]
    if not found:
        raise NothingToDrawError("no technique was measured in a valid session")
    return found


def name(row: Row) -> str:
    """Return how a figure calls a row: by its label, the A/A pair by what it is."""
    return "baseline (A/A)" if row.is_noise_floor else str(row.key["label"])


def sheets(found: Sequence[Shown], panel_in: float) -> list[Sequence[Shown]]:
    """Return panels of that height, two in a row, in portions that fit a page, about equal."""
    most = 2 * max(1, int(SHEET_IN / panel_in))
    portion = math.ceil(len(found) / math.ceil(len(found) / most))
    portion += portion % 2 if len(found) > most else 0  # whole rows
    return [found[start : start + portion] for start in range(0, len(found), portion)]


def _panels(title: str, family: Sequence[Row]) -> list[Panel]:
    techniques = [row for row in family if not row.is_noise_floor]
    floors = [row for row in family if row.is_noise_floor]
    measures = list(dict.fromkeys(row.lead for row in techniques if row.lead in row.ratios))
    missing = tuple(
        f"{row.key['label']} ({title}): no valid session." for row in family if not row.ratios
    )
    made = []
    for measure in measures:
        floor = next((row for row in floors if measure in row.ratios), None)
        led = [row for row in techniques if row.lead == measure and measure in row.ratios]
        made.append(Panel(title, measure, floor, tuple(led), _reference(led, measure), missing))
    return made


def _reference(rows: Sequence[Row], measure: str) -> float:
    each = np.concatenate([row.of(f"{measure}_baseline_per_item").astype(float) for row in rows])
    return math.exp(float(np.log(each[np.isfinite(each)]).mean()))


def titles(keys: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return workload and host of each, and what else tells two of the same apart."""
    found = []
    for key in keys:
        place = [str(key[name]) for name in ("workload", "host") if key.get(name) is not None]
        alike = [
            other for other in keys if all(other.get(n) == key.get(n) for n in ("workload", "host"))
        ]
        for name in ("recipe_json", "protocol_json", "runtime_json"):
            values = {str(other[name]) for other in alike if other.get(name) is not None}
            if name not in CONDITIONS or len(values) < 2:
                continue
            plain = name.removesuffix("_json")
            if len({other.get(plain) for other in alike}) == len(values):
                place.append(str(key[plain]))  # their names tell them apart
            else:
                place.append(told_apart(sorted(values))[str(key[name])])
        found.append(", ".join(place))
    return found
