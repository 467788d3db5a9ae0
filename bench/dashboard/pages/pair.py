"""One pair's windows, its ratio as blocks came in, and what may be said of it."""

from __future__ import annotations

from urllib.parse import quote

from nicegui import ui

from bench.dashboard import charts
from bench.dashboard.data import runs
from bench.dashboard.data.folder import words as plain
from bench.dashboard.data.runs import Opened
from bench.dashboard.pages.frame import Place
from bench.dashboard.pages.parts import Grid, Picture, heading, take, whole
from bench.dashboard.pages.run import chosen, keep_up, latest
from bench.reporting.cells import interval, ratio, ratio_end


def show(place: Place) -> None:
    """Build the page of the pair that the address names, or of the newest."""
    words, folder = place.words, place.watcher.folder
    found = chosen(place, "pair", "run")
    if found is None:
        return
    _verdict(place, found)
    session = runs.session(folder, found)
    if session.problem:
        ui.label(words("problem", problem=session.problem)).classes("notice")
    with ui.element("div").classes("pictures"):
        windows = Picture(words("windows"), charts.windows(session, words))
        running = Picture(words("running_ratio"), charts.running_ratio(session, words))

    heading(words("discards"))
    thrown = Grid(place, whole(lambda: runs.session(folder, latest(place, found)).discard_sheet))
    none = ui.label(words("no_discards"))
    heading(words("windows"))
    each = Grid(place, whole(lambda: runs.session(folder, latest(place, found)).sheet))
    take(place, "windows", "discards", query=f"pair={quote(found.place)}")

    def show_more(now: Opened) -> None:
        came_in = runs.session(folder, now)
        windows.show(charts.windows(came_in, words))
        running.show(charts.running_ratio(came_in, words))
        thrown.refresh()
        each.refresh()
        none.set_visibility(not came_in.discards)
        thrown.table.set_visibility(bool(came_in.discards))

    show_more(found)
    keep_up(place, found, "pair", show_more)


def _verdict(place: Place, found: Opened) -> None:
    """Say what may be said, in the record's own words."""
    words, record = place.words, found.record
    if record is None:
        return
    said, compared = record.verdict, record.comparison
    with ui.element("section").classes("box"):
        unit = "J" if compared.measure == "energy_j" else "s"
        grade = f", {compared.grade}" if compared.measure == "energy_j" else ""
        ends = interval(compared.low, compared.high, ratio_end)
        ui.label(f"{words('ratio')}: {ratio(compared.ratio)} {ends} ({unit}{grade})").classes(
            "figure"
        )
        found_of = {"energy": said.energy, "time": said.time, "quality": said.quality}
        named = {name: words.said.get(word, word) for name, word in found_of.items()}
        ui.label(words("verdict_sentence", **named))
        if not record.session.valid:
            reason = plain(record.session.reason)
            ui.label(words("invalid_session", reason=reason)).classes("notice")
        elif said.headline:
            ui.label(words("headline_holds"))
        else:
            ui.label(words("headline_fails", reason=plain(said.reason)))
