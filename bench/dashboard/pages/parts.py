"""What pages are made of: tables that are paged on the server, pictures, texts, files to take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nicegui import events, ui

from bench.dashboard import charts
from bench.dashboard.axes import Options
from bench.dashboard.data.sheets import Column, Sheet
from bench.dashboard.pages.frame import Place
from bench.dashboard.take import TABLES

Source = Callable[[int, int, str, bool], tuple[Sheet, int]]
"""From start, number, column and direction to a portion of a table and the number of all rows."""

ROWS = 25
_MOST_ROWS = 100
_LINK = (
    '<q-td :props="props"><a v-if="props.row.href" :href="props.row.href">{{ props.value }}</a>'
    "<span v-else>{{ props.value }}</span></q-td>"
)


def whole(sheet: Callable[[], Sheet]) -> Source:
    """Return a table that is small enough to be made at once as one that is paged, in its order."""

    def portion(start: int, count: int, _key: str, _falling: bool) -> tuple[Sheet, int]:
        found = sheet()
        return Sheet(found.name, found.columns, found.rows[start : start + count]), len(found.rows)

    return portion


class Grid:
    """A table of which the browser only ever has one page.

    Names of columns and rows are numbers in the browser: what a record says is a value there and
    never a name.

    Args:
        place: Of the page.
        source: Gives portions.
        select: Called with the rows that are chosen; ``None`` where none can be.
        href: Where a row's linking cell leads; its page with the row's folder if left out.
    """

    def __init__(
        self,
        place: Place,
        source: Source,
        select: Callable[[list[Mapping[str, Any]]], None] | None = None,
        href: Callable[[Mapping[str, Any]], str] | None = None,
    ) -> None:
        self._place, self._source, self._select, self._href = place, source, select, href
        self._start, self._count, self._key, self._falling = 0, ROWS, "", False
        sheet, self._total = source(0, ROWS, "", False)
        self._columns = sheet.shown
        self._figures: dict[str, Mapping[str, Any]] = {}
        self._rows = self._cells(sheet)
        self._order = self._orders()
        self.table = ui.table(
            columns=self._headings(),
            rows=list(self._rows),
            row_key="key",
            selection="multiple" if select is not None else None,
            pagination=self._pagination(),
        )
        self.table.classes("w-full").props("flat dense bordered binary-state-sort")
        self.table.props["rows-per-page-options"] = [ROWS, 50, _MOST_ROWS]
        for number, column in enumerate(self._columns):
            if column.link:
                self.table.add_slot(f"body-cell-c{number}", _LINK)
        self.table.on("request", self._asked, ["pagination"])
        if select is not None:
            self.table.on_select(self._chosen)

    def _orders(self) -> ui.select | None:
        """Offer every order to the keyboard and to phones: headings take a click."""
        signs = {False: "↑", True: "↓"}
        offered = {
            (column.key, falling): f"{self._heading(column)} {sign}"
            for column in self._columns
            if column.sorts
            for falling, sign in signs.items()
        }
        if not offered:
            return None
        none = {("", False): self._place.words("newest_first")}
        box = ui.select(none | offered, value=("", False), label=self._place.words("order_by"))
        box.on_value_change(lambda event: self._ordered(*event.value))
        return box.classes("orders")

    def _ordered(self, key: str, falling: bool) -> None:
        """Show another order from its first row on, unless it is the one that is shown."""
        if (key, falling) != (self._key, self._falling):
            self._key, self._falling, self._rows = key, falling, []
            self.refresh(first=True)

    def refresh(self, first: bool = False) -> None:
        """Push the page that is shown if anything on it has changed.

        Args:
            first: Whether to go back to the first page.
        """
        if first:
            self._start = 0
        sheet, total = self._source(self._start, self._count, self._key, self._falling)
        if self._start >= total > 0:
            self._start = 0
            sheet, total = self._source(0, self._count, self._key, self._falling)
        rows, columns = self._cells(sheet), sheet.shown
        if (rows, total, len(columns)) == (self._rows, self._total, len(self._columns)):
            return
        if len(columns) != len(self._columns):
            self._columns = columns
            rows = self._cells(sheet)
            self.table.columns = self._headings()
        self._rows, self._total = rows, total
        self.table.pagination = self._pagination()
        self.table.update_rows(list(rows), clear_selection=False)

    def _asked(self, event: events.GenericEventArguments) -> None:
        """Show the page, number of rows and order that the browser asks for."""
        asked = event.args["pagination"]
        self._count = min(max(1, int(asked.get("rowsPerPage") or ROWS)), _MOST_ROWS)
        self._start = (max(1, int(asked.get("page") or 1)) - 1) * self._count
        self._falling = bool(asked.get("descending"))
        name = str(asked.get("sortBy") or "")
        number = int(name[1:]) if name[1:].isdecimal() else -1
        known = 0 <= number < len(self._columns) and self._columns[number].sorts
        self._key = self._columns[number].key if known else ""
        self._rows = []  # the order of the page is new, whatever is on it
        self.refresh()
        if self._order is not None:
            order = (self._key, self._falling and known)
            self._order.set_value(order if order in self._order.options else ("", False))

    def _chosen(self, event: events.TableSelectionEventArguments) -> None:
        keys = (str(row.get("key")) for row in event.selection)
        if self._select is not None:
            self._select([self._figures[key] for key in keys if key in self._figures])

    def _pagination(self) -> dict[str, Any]:
        keys = [column.key for column in self._columns]
        return {
            "page": self._start // self._count + 1,
            "rowsPerPage": self._count,
            "rowsNumber": self._total,
            "sortBy": f"c{keys.index(self._key)}" if self._key in keys else "",
            "descending": self._falling,
        }

    def _headings(self) -> list[dict[str, Any]]:
        return [
            {
                "name": f"c{number}",
                "field": f"c{number}",
                "label": self._heading(column),
                "align": "left" if column.words else "right",
                "sortable": column.sorts,
            }
            for number, column in enumerate(self._columns)
        ]

    def _heading(self, column: Column) -> str:
        return self._place.words(column.heading) if column.literal is None else column.literal

    def _cells(self, sheet: Sheet) -> list[dict[str, str]]:
        found = []
        for number, row in enumerate(sheet.rows):
            # What is chosen stays chosen on another page, so it needs a name of its own.
            key = str(row["folder"]) if self._select else str(self._start + number)
            self._figures[key] = row
            cells = {f"c{n}": self._cell(column, row) for n, column in enumerate(self._columns)}
            found.append({"key": key, "href": self._address(row), **cells})
        return found

    def _cell(self, column: Column, row: Mapping[str, Any]) -> str:
        shown = column.cell(row)
        return self._place.words.said.get(shown, shown) if column.said else shown

    def _address(self, row: Mapping[str, Any]) -> str:
        if self._href is not None:
            return self._href(row)
        page = next((column.link for column in self._columns if column.link), "")
        folder = str(row.get("folder") or "")
        return self._place.link(page, pair=folder) if page and folder else ""


class Picture:
    """A picture that is pushed only when it has changed, and hidden while it shows nothing."""

    def __init__(self, title: str, options: Options, tall: bool = False) -> None:
        with ui.element("section").classes("box") as self._box:
            self._title = ui.element("h2")
            with self._title:
                self._label = ui.label(title)
            self._chart = ui.echart(dict(options)).classes("chart forest" if tall else "chart")
        self._shown = options
        self._box.set_visibility(not charts.empty(options))

    def show(self, options: Options, title: str | None = None) -> None:
        """Show other options, if they are others."""
        if title is not None:
            self._label.set_text(title)
        if options == self._shown:
            return
        self._shown = options
        self._chart.options.clear()
        self._chart.options.update(options)
        self._chart.update()
        self._box.set_visibility(not charts.empty(options))


def heading(text: str, level: int = 2, name: bool = False) -> None:
    """Show a heading; texts of records go through a label, which escapes them.

    Args:
        text: What it says.
        level: 1 for the page's own.
        name: Whether it is a name of a record's, which is shown as it is written.
    """
    with ui.element(f"h{level}").classes("name" if name else ""):
        ui.label(text)


def text(content: str) -> ui.label:
    """Show a text as it is, in a box that a keyboard can scroll."""
    return ui.label(content).classes("text").props("tabindex=0")


def take(place: Place, *names: str, query: str = "") -> None:
    """Offer tables of the page as files."""
    with ui.element("div").classes("row small"):
        ui.label(place.words("take_along") + ":")
        for name in names:
            for kind in TABLES:
                target = f"/take/{name}.{kind}" + (f"?{query}" if query else "")
                ui.link(f"{name}.{kind}", target)


def listed(lines: Sequence[str]) -> None:
    """Show lines under each other."""
    with ui.element("ul"):
        for line in lines:
            with ui.element("li"):
                ui.label(line)
