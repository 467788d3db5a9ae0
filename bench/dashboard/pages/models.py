"""Trained models, their weights to download, and their cards for the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nicegui import ui

from bench.dashboard.data import models
from bench.dashboard.data.sheets import Column, Sheet
from bench.dashboard.pages.frame import Place, follow
from bench.dashboard.pages.parts import Grid, heading, take, whole

_DOWNLOADED = Column("digest", "download", words=True, link="models")


def show(place: Place) -> None:
    """Build the page."""
    words = place.words
    heading(words("models"), 1)
    ui.label(words("models_hint")).classes("small")
    grid = Grid(place, whole(lambda: _sheet(place)), href=_weights)
    take(place, "models")
    heading(words("card"))
    cards = Grid(place, whole(lambda: _cards(place)), href=_card)

    def update() -> None:
        grid.refresh()
        cards.refresh()

    def saved() -> object:
        events = place.snapshot.events
        made_s = next((event.at_s for event in events if event.kind == "saved"), None)
        return place.snapshot.records, made_s

    follow(place, update, saved)


def _sheet(place: Place) -> Sheet:
    found = models.sheet(place.snapshot, place.watcher.folder)
    rest = (replace(column, link="") for column in found.columns[1:])
    return replace(found, columns=(_DOWNLOADED, *rest))


def _cards(place: Place) -> Sheet:
    """Return the models that are a record's variant: of others there is no card."""
    found = models.sheet(place.snapshot, place.watcher.folder)
    variants = [row for row in found.rows if row.get("type") == "variant"]
    columns = [replace(column, link="") for column in found.columns[1:4]]
    return Sheet("cards", (replace(_DOWNLOADED, heading="card"), *columns), variants)


def _weights(row: Mapping[str, Any]) -> str:
    return f"/models/{row['digest']}/{models.WEIGHTS}"


def _card(row: Mapping[str, Any]) -> str:
    return f"/models/{row['digest']}/README.md"
