"""What can be taken along: every page's tables as CSV and Excel, and the comparison as a report."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.dashboard.data import (
    choosing,
    datasets,
    hub,
    kitchen,
    models,
    overview,
    runs,
    samples,
    sensors,
    sheets,
)
from bench.dashboard.data.folder import BrokenError, Folder, words
from bench.dashboard.data.sheets import Sheet
from bench.dashboard.data.watching import Watcher

Query = Mapping[str, str]

TABLES = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
REPORTS = {"pdf": "application/pdf", "html": "text/html"}
_LONGEST_S = 900
"""Seconds that a report may take."""


class NotNowError(Exception):
    """Something that would disturb a measurement, or stands in the way of itself.

    Its text is a key of the strings.
    """


@dataclass
class Shelf:
    """Hands over what a watcher saw.

    Attributes:
        watcher: Of the results.
        bases: Folders of data that may be looked into.
    """

    watcher: Watcher
    bases: tuple[Folder, ...] = ()
    _printing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def sheet(self, name: str, query: Query) -> Sheet:
        """Return a table by its name.

        Args:
            name: One of ``names()``.
            query: Of the page: what it is narrowed to, or which pair it shows.

        Raises:
            BrokenError: There is no such table, or what it shows cannot be read.
        """
        if name not in _SHEETS:
            raise BrokenError(f"{words(name)}: no table; there are {', '.join(_SHEETS)}")
        return _SHEETS[name](self, query)

    def table(self, name: str, kind: str, query: Query) -> bytes:
        """Return a table as a file.

        Raises:
            NotNowError: As for ``undisturbed``.
            BrokenError: As for ``sheet``, or ``kind`` is none of ``TABLES``.
        """
        self.undisturbed()
        if kind not in TABLES:
            raise BrokenError(f"{words(kind)}: no kind of file; there are {', '.join(TABLES)}")
        found = self.sheet(name, query)
        return sheets.csv_bytes(found) if kind == "csv" else sheets.xlsx_bytes(found)

    def folders(self) -> dict[str, Folder]:
        """Return the folders that may be looked into, by the names that links give them."""
        given = {str(number): base for number, base in enumerate(self.bases)}
        cached = {one.folder.root.name: one.folder for one in hub.named() if one.folder}
        return {**given, **cached}

    def data_file(self, name: str) -> tuple[Folder, str]:
        """Return folder and path of a data file by the name that ``datasets`` gives it.

        Raises:
            BrokenError: There is no such folder.
        """
        base, _, relative = name.partition("/")
        folder = self.folders().get(base)
        if folder is None or not relative:
            raise BrokenError(f"{words(name)}: in none of the folders of data (--data DIR)")
        return folder, relative

    async def report(self, kind: str, query: Query) -> bytes:
        """Return the comparison of the chosen pairs as one file, made by a process of its own.

        Args:
            kind: One of ``REPORTS``.
            query: Which pairs are meant.

        Raises:
            NotNowError: As for ``undisturbed``, or another report is being made.
            BrokenError: It cannot be made of these pairs; the message says why.
        """
        self.undisturbed()
        if self._printing.locked():
            raise NotNowError("busy")
        async with self._printing:
            chosen = choosing.chosen(self.watcher.latest.pairs, choosing.Choice.of(query))
            with tempfile.TemporaryDirectory(prefix="joulebench-report-") as scratch:
                root, folders = self.watcher.folder.root, chosen["folder"].tolist()
                return await _printed(root, folders, Path(scratch), kind, self.undisturbed)

    def undisturbed(self) -> None:
        """Go on only while no windows are measured on this host: whatever takes a while asks first.

        Raises:
            NotNowError: They are.
        """
        if self.watcher.latest.resting:
            raise NotNowError("not_now")

    def opened(self, query: Query) -> runs.Opened:
        """Return the pair that a query names."""
        return runs.opened(self.watcher.folder, self.watcher.latest, query.get("pair", ""))


def names() -> tuple[str, ...]:
    """Return the names of all tables."""
    return tuple(_SHEETS)


async def _printed(
    root: Path, folders: list[str], scratch: Path, kind: str, undisturbed: Callable[[], None]
) -> bytes:
    """Return what ``bench.dashboard.printing`` makes: its memory goes with its process.

    Once a second it is asked whether it may go on; a measurement that begins meanwhile ends it.
    """
    asked = scratch / "folders.json"
    asked.write_text(json.dumps(folders), encoding="utf-8")
    command = [sys.executable, "-m", "bench.dashboard.printing", str(root), str(scratch), kind]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    ending = asyncio.ensure_future(process.communicate())
    try:
        for _ in range(_LONGEST_S):
            if (await asyncio.wait({ending}, timeout=1.0))[0]:
                break
            undisturbed()
    finally:
        if process.returncode is None:
            process.kill()
        _, said = await ending
    made = scratch / f"report.{kind}"
    if process.returncode or not made.is_file():
        lines = said.decode(errors="replace").strip().splitlines()
        raise BrokenError(words(lines[-1] if lines else "", 400) or "the report was not made")
    return made.read_bytes()


def _pairs(shelf: Shelf, query: Query) -> Sheet:
    return choosing.sheet(choosing.chosen(shelf.watcher.latest.pairs, choosing.Choice.of(query)))


def _beside(shelf: Shelf, query: Query) -> Sheet:
    chosen = query.get("chosen", "").split("\n")
    return choosing.beside(shelf.watcher.latest.pairs, chosen)


def _metrics(shelf: Shelf, query: Query) -> Sheet:
    found = shelf.opened(query)
    if found.record is None:
        raise BrokenError(found.problem or f"{words(found.place)}: no record yet")
    return runs.metrics(found.record)


def _look(shelf: Shelf, query: Query) -> samples.Look:
    base, relative = shelf.data_file(query.get("file", ""))
    return samples.look(base, relative)


_SHEETS: dict[str, Callable[[Shelf, Query], Sheet]] = {
    "events": lambda shelf, _: overview.events(shelf.watcher.latest),
    "system": lambda shelf, _: overview.samples(shelf.watcher.system),
    "set_aside": lambda shelf, _: overview.set_aside(shelf.watcher.latest),
    "training": lambda shelf, q: runs.training(shelf.watcher.folder, shelf.opened(q)).sheet,
    "metrics": _metrics,
    "windows": lambda shelf, q: runs.session(shelf.watcher.folder, shelf.opened(q)).sheet,
    "discards": lambda shelf, q: runs.session(shelf.watcher.folder, shelf.opened(q)).discard_sheet,
    "pairs": _pairs,
    "side_by_side": _beside,
    "kitchen": lambda shelf, _: kitchen.sheet(shelf.watcher.latest, shelf.watcher.folder),
    "data_sets": lambda shelf, _: datasets.described(shelf.watcher.latest.pairs),
    "hub": lambda *_: hub.sheet(),
    "files": lambda shelf, _: datasets.listed(datasets.files(shelf.folders())),
    "columns": lambda shelf, q: _look(shelf, q).column_sheet,
    "samples": lambda shelf, q: _look(shelf, q).sample_sheet,
    "models": lambda shelf, _: models.sheet(shelf.watcher.latest, shelf.watcher.folder),
    "sensors": lambda shelf, _: sensors.sensors(
        sensors.hosts(shelf.watcher.latest, shelf.watcher.folder)
    ),
    "checks": lambda shelf, _: sensors.checks(
        sensors.hosts(shelf.watcher.latest, shelf.watcher.folder)
    ),
}
