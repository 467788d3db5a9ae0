"""What hosts can measure: their sensors, each with its grade, and the checks."""

from __future__ import annotations

from nicegui import ui

from bench.dashboard.data import sensors
from bench.dashboard.pages.frame import Place
from bench.dashboard.pages.parts import Grid, heading, take, text, whole

_COMMAND = "python -m bench.doctor"


def show(place: Place) -> None:
    """Build the page."""
    words = place.words
    heading(words("doctor"), 1)
    found = sensors.hosts(place.snapshot, place.watcher.folder)
    for host in found:
        with ui.element("section").classes("box"):
            said = words(host.missing) if host.missing else host.conclusion
            ui.label(words("conclusion", host=host.name, conclusion=said))
            if host.created:
                ui.label(words("examined", when=host.created)).classes("small")
    ui.label(words("doctor_hint", command="")).classes("small")
    text(_COMMAND)
    heading(words("sensors_title"))
    Grid(place, whole(lambda: sensors.sensors(found)))
    heading(words("checks_title"))
    Grid(place, whole(lambda: sensors.checks(found)))
    take(place, "sensors", "checks")
