"""Pictures as files whose bytes depend on what is drawn and on nothing else."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

DPI = 200


def save(name: str, sheets: Sequence[Figure], out: Path, origin: str) -> list[Path]:
    """Write each sheet as PDF and as PNG and return their paths.

    The first is called ``name``, the next ``name-2`` and so on. What an earlier report left of this
    name beyond that is removed, so that no picture of other records stays among them.

    Args:
        name: Of the figure.
        sheets: In order; none only removes.
        out: Their folder, which is there.
        origin: From which records and by which command; the files carry it.
    """
    written = []
    for number, sheet in enumerate(sheets, start=1):
        stem = name if number == 1 else f"{name}-{number}"
        arrange(sheet)
        # No date and no version of any library: the same picture has the same bytes.
        pdf = {"Title": stem, "Subject": origin, "CreationDate": None, "Producer": "joulebench"}
        png = {"Title": stem, "Description": origin, "Software": "joulebench"}
        written.append(_write(sheet, out / f"{stem}.pdf", {**pdf, "Creator": "joulebench"}))
        written.append(_write(sheet, out / f"{stem}.png", png))
    stale = re.compile(rf"{re.escape(name)}(-\d+)?\.(pdf|png)")
    for path in out.iterdir():
        if stale.fullmatch(path.name) and path not in written:
            path.unlink()
    return written


def svg(sheet: Figure) -> str:
    """Return a sheet as SVG whose bytes depend on nothing else either."""
    arrange(sheet)
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "joulebench", "svg.fonttype": "path"}):
        sheet.savefig(out, format="svg", metadata={"Date": None, "Creator": "joulebench"})
    return out.getvalue()


def arrange(sheet: Figure) -> None:
    """Give everything its place once, so that both formats show the same picture."""
    sheet.draw_without_rendering()
    sheet.set_layout_engine("none")


def _write(sheet: Figure, path: Path, metadata: Mapping[str, str | None]) -> Path:
    staging = path.with_name(f".{path.name}.writing-{os.getpid()}")
    try:
        sheet.savefig(staging, format=path.suffix[1:], dpi=DPI, metadata=metadata)
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)
    return path
