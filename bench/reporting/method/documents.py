"""Columns of JSON in flat rows, read once per distinct value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd


def documents(pairs: pd.DataFrame, column: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Yield each distinct value of a JSON column, parsed, with the pairs that have it.

    In the order of the JSON's text, so that the order of the pairs doesn't matter. A value that is
    null or JSON's ``null`` is not yielded.
    """
    for text, group in pairs.groupby(column, sort=True):
        document = json.loads(str(text))
        if document is not None:
            yield document, group


def distinct(pairs: pd.DataFrame, column: str) -> list[Any]:
    """Return the distinct values of a JSON column, parsed."""
    return [document for document, _ in documents(pairs, column)]
