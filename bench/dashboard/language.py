"""What pages say: every sentence is in ``strings.yaml``, one table per language."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

ENGLISH = "en"

PAGES = ("overview", "run", "pair", "compare", "kitchen", "data", "models", "doctor")
"""The pages in their order: keys of their names, and but for the first their paths."""


@dataclass(frozen=True)
class Words:
    """One language; what it lacks is said in English.

    Attributes:
        code: Key of its table, and first part of its pages' paths; English has none.
        name: How it calls itself.
        quasar: Name of the library's own words for it, which decides the direction.
        direction: ``ltr`` or ``rtl``.
        said: By key.
    """

    code: str
    name: str
    quasar: str
    direction: str
    said: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """Return a sentence; ``values`` stand where it names them in braces."""
        text = self.said[key]
        return text.format(**values) if values else text

    @property
    def prefix(self) -> str:
        """What its paths begin with."""
        return "" if self.code == ENGLISH else f"/{self.code}"


@functools.cache
def languages() -> Mapping[str, Words]:
    """Return all languages that the table has, English first."""
    text = files("bench.dashboard").joinpath("strings.yaml").read_text(encoding="utf-8")
    tables: dict[str, dict[str, Any]] = yaml.safe_load(text)
    english = tables[ENGLISH]["words"]
    return {
        code: Words(
            code, table["name"], table["quasar"], table["direction"], {**english, **table["words"]}
        )
        for code, table in tables.items()
    }
