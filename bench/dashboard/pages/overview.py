"""The sweep at a glance."""

from __future__ import annotations

from nicegui import ui

from bench.dashboard import charts
from bench.dashboard.data import overview
from bench.dashboard.pages.frame import Place, follow
from bench.dashboard.pages.parts import Grid, Picture, heading, take, whole


def show(place: Place) -> None:
    """Build the page."""
    words, system = place.words, place.watcher.system
    heading(words("overview"), 1)
    values = {}

    def shown(card: overview.Card) -> str:
        return words(card.value) if card.said else card.value

    with ui.element("div").classes("cards"):
        first, *others_now = overview.moment(place.snapshot)
        for card in (first, *overview.cards(place.snapshot), *others_now):
            with ui.element("div").classes("box"):
                ui.label(words(card.key)).classes("small")
                values[card.key] = ui.label(shown(card)).classes("figure")
                ui.label(words(f"{card.key}_hint")).classes("small")
    samples = list(system.samples)
    with ui.element("div").classes("pictures"):
        load = Picture(words("processor", host=system.host), charts.loads(samples, words))
        power = Picture(words("power_title"), charts.powers(samples))
        rate = Picture(words("rates"), charts.rates(samples, words))
    counted = ui.label(words("no_counter")).classes("small")
    heading(words("recent_events"))
    events = Grid(place, whole(lambda: overview.events(place.snapshot)))
    take(place, "events", "system")
    with ui.element("div") as others:
        left_out = ui.label().classes("notice")
        aside = Grid(place, whole(lambda: overview.set_aside(place.snapshot)))
        take(place, "set_aside")

    def tell(cards: list[overview.Card]) -> None:
        for card in cards:
            values[card.key].set_text(shown(card))

    def update() -> None:
        tell(overview.moment(place.snapshot))
        events.refresh()

    def read() -> None:
        tell(overview.cards(place.snapshot))
        aside.refresh()
        count = len(place.snapshot.set_aside)
        left_out.set_text(words("set_aside_count", count=count))
        others.set_visibility(count > 0)

    def sampled() -> None:
        now = list(system.samples)
        load.show(charts.loads(now, words))
        rate.show(charts.rates(now, words))
        options = charts.powers(now)
        power.show(options)
        counted.set_visibility(len(now) > 2 and charts.empty(options))

    update()
    read()
    sampled()
    follow(place, update)
    follow(place, read, lambda: place.snapshot.records)
    follow(place, sampled, lambda: system.samples[-1].at_s if system.samples else None)
