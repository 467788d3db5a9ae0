"""Pairs beside each other: filtered, ordered, drawn, chosen, and measured again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import quote

from nicegui import ui

from bench.dashboard import charts
from bench.dashboard.axes import COLOURS
from bench.dashboard.data import choosing, pictures
from bench.dashboard.data.choosing import Choice
from bench.dashboard.data.folder import BrokenError
from bench.dashboard.data.pictures import Family
from bench.dashboard.data.sheets import Sheet
from bench.dashboard.pages.frame import Place, follow
from bench.dashboard.pages.parts import Grid, Picture, heading, take, text, whole
from bench.dashboard.take import REPORTS, TABLES, NotNowError
from bench.push import overrides
from bench.reporting.scales import scale


def show(place: Place) -> None:
    """Build the page."""
    _Comparison(place)


class _Comparison:
    """What the page remembers: which pairs are meant, and which of them are chosen."""

    def __init__(self, place: Place) -> None:
        self.place, self.words = place, place.words
        self.choice = Choice.of(place.query)
        self.rows: list[Mapping[str, Any]] = []
        self.boxes: dict[str, ui.select] = {}
        heading(self.words("compare"), 1)
        ui.label(self.words("pooled_hint")).classes("small")
        self._filters()
        self.grid = Grid(place, self._portion, select=self._chosen)
        self.files = ui.element("div").classes("row small")
        self._files()
        self._beside()
        self._pictures()
        follow(place, self.update, lambda: place.snapshot.records)

    def update(self) -> None:
        """Push what has changed since."""
        for name, offered in self._offered().items():
            if offered != self.boxes[name].options:
                self.boxes[name].set_options(offered)
        self.grid.refresh()
        self._draw()

    def _pairs(self) -> Any:
        return choosing.chosen(self.place.snapshot.pairs, self.choice)

    def _portion(self, start: int, count: int, key: str, falling: bool) -> tuple[Sheet, int]:
        found = self._pairs()
        if key:
            found = choosing.sorted_by(found, key, falling)
        return choosing.sheet(found.iloc[start : start + count]), len(found)

    def _filters(self) -> None:
        words = self.words
        with ui.element("div").classes("row filters"):
            search = ui.input(words("search"), value=self.choice.text).props(
                "debounce=250 clearable type=search"
            )
            search.on_value_change(lambda event: self._narrow("text", event.value))
            for name, offered in self._offered().items():
                box = ui.select(offered, value=getattr(self.choice, name), label=words(name))
                box.on_value_change(lambda event, name=name: self._narrow(name, event.value))
                self.boxes[name] = box

    def _offered(self) -> dict[str, dict[str, str]]:
        """Return what each filter may be set to, and how that is said."""
        found = {}
        for name, values in choosing.options(self.place.snapshot.pairs).items():
            said = self.words.said if name == "verdict" else {}
            chosen = getattr(self.choice, name)
            offered = {each: said.get(each, each) for each in (*values, chosen) if each}
            found[name] = {"": self.words("all"), **offered}
        return found

    def _narrow(self, name: str, value: object) -> None:
        """Show other pairs."""
        said = value if isinstance(value, str) else ""
        self.choice = Choice.of({**asdict(self.choice), name: said})
        self.grid.refresh(first=True)
        self._files()
        self._draw()

    def _files(self) -> None:
        """Offer what is meant as files."""
        query = f"?{self.choice.query}" if self.choice.query else ""
        self.files.clear()
        with self.files:
            ui.label(self.words("take_along") + ":")
            for kind in TABLES:
                ui.link(f"pairs.{kind}", f"/take/pairs.{kind}{query}")
            for kind in REPORTS:
                name = self.words(f"as_{kind}")
                ui.link(name, f"/take/report.{kind}{query}")

    def _beside(self) -> None:
        """Build what shows the chosen rows."""
        words = self.words
        heading(words("beside"))
        self.hint = ui.label(words("beside_hint")).classes("small")
        self.side = ui.element("div")
        with ui.element("div").classes("row"):
            self.again = ui.button(words("command"), icon="content_copy", on_click=self._copy)
            self.again.set_enabled(False)
            self.said = ui.label(words("command_hint")).classes("small")
        self.command = text("")
        self.command.set_visibility(False)

    def _chosen(self, rows: list[Mapping[str, Any]]) -> None:
        self.rows = rows[: choosing.MOST_BESIDE]
        folders = [str(row["folder"]) for row in self.rows]
        self.hint.set_visibility(not folders)
        self.again.set_enabled(len(folders) == 1)
        self.command.set_visibility(False)
        self.side.clear()
        if folders:
            with self.side:
                found = choosing.beside(self.place.snapshot.pairs, folders)
                named = [self._named(row) for row in found.rows]
                Grid(self.place, whole(lambda: replace(found, rows=named)))
                query = f"chosen={quote(chr(10).join(folders))}"
                take(self.place, "side_by_side", query=query)
        self._draw()

    def _named(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**row, "figure": self.words(str(row["figure"]))}

    async def _copy(self) -> None:
        """Find the command that measures the chosen pair again, show it, and copy it."""
        if len(self.rows) != 1:
            return
        folder, place = self.place.watcher.folder, str(self.rows[0]["folder"])
        try:
            self.place.shelf.undisturbed()  # composing a configuration takes a second
            found = await asyncio.to_thread(lambda: overrides.command(folder.record(place)))
        except NotNowError as err:
            self.said.set_text(self.words(str(err)))
            return
        except BrokenError as err:
            self.said.set_text(self.words("problem", problem=str(err)))
            return
        if found is None:
            self.said.set_text(self.words("command_none"))
            return
        self.command.set_text(found)
        self.command.set_visibility(True)
        ui.clipboard.write(found)
        self.said.set_text(self.words("copied"))

    def _pictures(self) -> None:
        words = self.words
        with ui.element("div").classes("row filters"):
            self.families = ui.select({}, label=words("family"))
            self.families.on_value_change(lambda _: self._draw())
        self.which = ui.label().classes("small")
        nothing = charts.forest([], words)
        with ui.element("div").classes("pictures"):
            self.front = Picture(words("pareto", what=""), nothing, tall=True)
            self.forest = Picture(words("forest"), nothing, tall=True)
            self.spent = Picture(words("break_even_title", unit=""), nothing, tall=True)
        self._draw()

    def _draw(self) -> None:
        """Draw one family of the pairs that are meant; the chosen rows where there are any."""
        pairs = self._pairs()
        families = pictures.families(pairs)[: choosing.MOST_OPTIONS]
        found = {f"{one.workload}, {one.host}, {one.lead}": one for one in families}
        names = {name: name for name in found}
        if names != self.families.options:
            kept = self.families.value
            chosen = kept if kept in names else next(iter(names), None)
            self.families.set_options(names, value=chosen)
        family = found.get(self.families.value)
        if family is None:
            for picture in (self.front, self.forest, self.spent):
                picture.show(charts.forest([], self.words))
            self.which.set_text("")
            return
        said = self.words(
            "one_family", workload=family.workload, host=family.host, pairs=family.pairs
        )
        self.which.set_text(said)
        self._draw_family(family, pictures.of_family(pairs, family))

    def _draw_family(self, family: Family, pairs: Any) -> None:
        words = self.words
        metric = scale(str(pairs["metric"].iloc[0]))
        points = pictures.front(pairs)
        options = charts.pareto(points, family.unit, metric.times, metric.unit, words)
        what = words("joules" if family.unit == "J" else "seconds")
        self.front.show(options, words("pareto", what=what))
        chosen = {str(row["folder"]) for row in self.rows}
        some = pairs[pairs["folder"].isin(chosen)] if chosen else pairs
        some = some if len(some) else pairs
        self.forest.show(charts.forest(choosing.sheet(some.head(40)).rows, words))
        lines = [
            (str(row["label"]), cost, float(row["_variant_per_item"]))
            for row in some.head(200).to_dict("records")
            if (cost := pictures.spent(row)) is not None
        ]
        baseline = float(pairs["_baseline_per_item"].median())
        shown = charts.break_even(lines[: len(COLOURS)], baseline, family.unit, words)
        title = words("break_even_title", unit=family.unit)
        self.spent.show(shown if lines else charts.forest([], words), title)
