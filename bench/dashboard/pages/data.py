"""Data sets: as records describe them, and files in the folders that the viewer was given."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from nicegui import ui

from bench.dashboard import charts
from bench.dashboard.data import datasets, hub, samples
from bench.dashboard.data.folder import BrokenError
from bench.dashboard.data.folder import words as plain
from bench.dashboard.pages.frame import Place, follow
from bench.dashboard.pages.parts import Grid, Picture, heading, listed, take, whole
from bench.dashboard.take import NotNowError


async def show(place: Place) -> None:
    """Build the page, and look into the file that the address names."""
    words = place.words
    heading(words("data"), 1)
    heading(words("described"))
    described = Grid(place, whole(lambda: datasets.described(place.snapshot.pairs)))
    take(place, "data_sets")
    follow(place, described.refresh, lambda: place.snapshot.records)
    heading(words("named_title"))
    Grid(place, whole(hub.sheet))
    take(place, "hub")
    heading(words("files_here"))
    ui.label(words("files_hint")).classes("small")
    try:
        place.shelf.undisturbed()
    except NotNowError as err:
        ui.label(words(str(err))).classes("notice")
        return
    if folders := place.shelf.folders():
        found = await asyncio.to_thread(datasets.files, folders)
        Grid(
            place,
            whole(lambda: datasets.listed(found)),
            href=lambda row: place.link("data", file=str(row["folder"])),
        )
        take(place, "files")
    if name := place.query.get("file"):
        await _file(place, name)


async def _file(place: Place, name: str) -> None:
    words = place.words
    heading(plain(name), name=True)
    try:
        base, relative = place.shelf.data_file(name)
        found = await asyncio.to_thread(samples.look, base, relative)
    except BrokenError as err:
        ui.label(words("problem", problem=str(err))).classes("notice")
        return
    total = words("unknown_total") if found.total is None else f"{found.total:,}"
    ui.label(words("looked_at", rows=f"{found.rows:,}", total=total))
    column, counts = found.classes
    if counts:
        Picture(words("classes", column=column), charts.classes(counts, words))
    heading(words("columns_title"))
    Grid(place, whole(lambda: found.column_sheet))
    heading(words("samples_title"))
    Grid(place, whole(lambda: found.sample_sheet))
    if found.bad_rows:
        heading(f"{words('bad_rows_title')}: {found.bad_rows:,}")
        listed(found.bad)
    take(place, "columns", "samples", query=f"file={quote(name)}")
