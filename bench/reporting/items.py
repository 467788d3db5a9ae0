"""What joules and seconds are per: a sample, a token, a second of audio."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.reporting.rows import Row

SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class Item:
    """What a workload serves, in words.

    Attributes:
        one: As in ``J per sample``.
        many: As in ``samples/s``.
        use: One of them served, as in ``per inference``.
        uses: As in ``in 1 M inferences``.
    """

    one: str
    many: str
    use: str
    uses: str

    def said(self, text: str) -> str:
        """Return a text with the words in the place of ``{one}``, ``{many}`` and so on."""
        for name in self.__slots__:
            text = text.replace(f"{{{name}}}", getattr(self, name))
        return text


def named(name: str) -> Item:
    """Return the words for an item by its name in the record."""
    if name == SAMPLE:
        return Item(SAMPLE, "samples", "inference", "inferences")
    first, of, rest = name.partition(" of ")
    many = f"{first}s{of}{rest}"
    return Item(name, many, name, many)


SAMPLES = named(SAMPLE)


def item_of(rows: Iterable[Row]) -> Item:
    """Return the words for what these rows serve, ``item`` where that differs."""
    found = {name for row in rows for name in row.source.distinct("item", row.positions)}
    return named(found.pop() if len(found) == 1 else "item" if found else SAMPLE)
