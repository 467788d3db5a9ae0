"""Every pair as a dish: a flame for its power, a thermometer for how far it is, a timer."""

from __future__ import annotations

from nicegui import ui

from bench.dashboard.data import kitchen
from bench.dashboard.data.kitchen import Dish
from bench.dashboard.pages.frame import Place, follow
from bench.dashboard.pages.parts import heading, take
from bench.reporting.cells import DASH

PORTION = 24
_FLAME_PER_W = 1 / 400
"""A flame is full at 400 W, what a server's processors draw under load."""

_ICONS = {"ready": "restaurant", "burnt": "whatshot"}


def show(place: Place) -> None:
    """Build the page."""
    words = place.words
    heading(words("kitchen"), 1)
    count = ui.label().classes("small")
    stove = ui.element("div").classes("pictures")
    start = [0]
    shown: dict[str, _Pan] = {}
    with ui.element("div").classes("row"):
        newer = ui.button(words("earlier"), on_click=lambda: turn(-PORTION)).props("flat")
        older = ui.button(words("later"), on_click=lambda: turn(PORTION)).props("flat")
    take(place, "kitchen")

    def update() -> None:
        total = kitchen.count(place.snapshot)
        start[0] = max(0, min(start[0], total - 1))
        found = kitchen.dishes(place.snapshot, place.watcher.folder, start[0], PORTION)
        count.set_text(words("dishes", count=f"{total:,}"))
        newer.set_enabled(start[0] > 0)
        older.set_enabled(start[0] + PORTION < total)
        if [dish.key for dish in found] != list(shown):
            stove.clear()
            shown.clear()
            with stove:
                for dish in found:
                    shown[dish.key] = _Pan(place, dish)
        for dish in found:
            shown[dish.key].show(dish)

    def turn(by: int) -> None:
        start[0] = start[0] + by
        update()

    update()
    follow(place, update)


class _Pan:
    """One dish on the page; only what has changed is pushed."""

    def __init__(self, place: Place, dish: Dish) -> None:
        self._words = place.words
        self._stage = ""
        with ui.element("article").classes("box") as self._box:
            with ui.element("div").classes("row"):
                self._icon = ui.icon("soup_kitchen", size="1.6rem")
                ui.link(dish.title, place.link("run", pair=dish.folder)).classes("figure")
            ui.label(dish.host).classes("small")
            self._state = ui.label()
            with ui.element("div").classes("row"):
                ui.icon("device_thermostat", size="1.3rem")
                # No motion: it would cost the host that is watched.
                bar = ui.linear_progress(value=0, show_value=False).props("instant-feedback")
                self._bar = bar.style("flex: 1; min-width: 8rem")
            with ui.element("div").classes("row") as self._heat:
                self._flame = ui.icon("local_fire_department", color="orange")
                self._power = ui.label()
            with ui.element("div").classes("row") as self._clock:
                ui.icon("timer", size="1.3rem")
                self._left = ui.label()
            self._said = ui.label().classes("small")

    def show(self, dish: Dish) -> None:
        """Show how the dish is now."""
        words = self._words
        if dish.stage != self._stage:
            self._box.classes(dish.stage, remove=self._stage or None)
            self._icon.set_name(_ICONS.get(dish.stage, "soup_kitchen"))
            self._stage = dish.stage
        self._state.set_text(f"{words(dish.stage)}, {dish.progress:.0%}")
        self._bar.set_value(round(dish.progress, 3))
        hot = dish.power_w is not None
        self._heat.set_visibility(hot)
        if dish.power_w is not None:
            size = 1 + 1.5 * min(1.0, dish.power_w * _FLAME_PER_W)
            self._flame.style(f"font-size: {size:.1f}rem")
            self._power.set_text(words("flame", watts=f"{dish.power_w:.0f}", meter=dish.meter))
        self._clock.set_visibility(dish.left_s is not None)
        if dish.left_s is not None:
            self._left.set_text(words("timer", left=_duration(dish.left_s)))
        self._said.set_text(self._sentence(dish))

    def _sentence(self, dish: Dish) -> str:
        """Say what is done to a dish, or what became of it."""
        words = self._words
        if dish.stage == "preheating" and not dish.act:
            return words("waits")
        said = words.said.get(dish.said, dish.said) if dish.stage == "ready" else dish.said
        if dish.act:
            said = words("at_work", act=words(f"act_{dish.act}"), note=said)
        if dish.heard:
            said = words("silent", when=dish.heard, said=said)
        if dish.pid is not None:
            said = words("process_gone", pid=dish.pid, said=said)
        return dish.reason or said or DASH


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
