"""What the paper's own text is made of: numbers as macros, and the method section."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.reporting import numbers, prose
from bench.reporting.method import method
from bench.reporting.rows import Row, origin
from bench.store import write_text


def write(rows: Sequence[Row], paper: Path) -> list[Path]:
    """Write ``numbers.tex``, ``method.tex`` and ``method.md``, and return their paths.

    Args:
        rows: Pooled pairs, at least one.
        paper: Folder of the paper.

    Raises:
        TableError: Two rows would share a macro.
    """
    line, sections = origin(rows[0].source.frame), method(rows)
    made = {
        "numbers.tex": numbers.latex(rows, line),
        "method.tex": prose.latex(sections, line),
        "method.md": prose.markdown(sections, line),
    }
    return [write_text(paper / name, text) for name, text in made.items()]
