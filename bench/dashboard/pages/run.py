"""One pair's trainings, configuration, environment and log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from nicegui import events, ui

from bench.dashboard import charts
from bench.dashboard.axes import Options
from bench.dashboard.data import audio, runs
from bench.dashboard.data.curves import Training
from bench.dashboard.data.folder import words as plain
from bench.dashboard.data.runs import Opened
from bench.dashboard.data.sheets import clock
from bench.dashboard.language import Words
from bench.dashboard.pages.frame import Place, follow
from bench.dashboard.pages.parts import Grid, Picture, heading, listed, take, text, whole
from bench.records import Arm, Record

_PICTURES = (
    *("loss_title", "learning_rate", "throughput", "pace", "metric", "perplexity"),
    *("energy_title", "power_title"),
)


def show(place: Place) -> None:
    """Build the page of the pair that the address names, or of the newest."""
    words = place.words
    found = chosen(place, "run", "pair")
    if found is None:
        return
    _state(place, found)
    training = runs.training(place.watcher.folder, found)
    if training.problem:
        ui.label(words("problem", problem=training.problem)).classes("notice")
    with ui.element("div").classes("pictures"):
        options = _options(place, training)
        titles = {name: words(name) for name in _PICTURES}
        if training.metric:
            titles["metric"] = plain(f"{words('metric')}: {training.metric}")
        pictures = {name: Picture(titles[name], options[name]) for name in _PICTURES}
    if found.record is not None:
        heading(words("metrics_title"))
        metrics = runs.metrics(found.record)
        Grid(place, whole(lambda: metrics))
        _heard(place, found.record)
    if found.record is not None or found.running is not None:
        _overfitting(place, found)
    heading(words("points"))
    folder = place.watcher.folder
    points = Grid(place, whole(lambda: runs.training(folder, latest(place, found)).sheet))
    names = ("training", "metrics") if found.record is not None else ("training",)
    take(place, *names, query=f"pair={quote(found.place)}")
    _texts(place, found)

    def show_more(now: Opened) -> None:
        for name, shown in _options(place, runs.training(folder, now)).items():
            pictures[name].show(shown)
        points.refresh()

    keep_up(place, found, "run", show_more)


def keep_up(place: Place, found: Opened, page: str, show_more: Callable[[Opened], None]) -> None:
    """Show what comes in of a pair without a record, and build its page again for any other."""

    def update() -> None:
        now = latest(place, found)
        if now.state != found.state:
            # It has got its record, has failed, or has begun anew.
            ui.navigate.to(place.link(page, pair=found.place))
            return
        show_more(now)

    if found.record is None:
        follow(place, update)


def chosen(place: Place, page: str, other: str) -> Opened | None:
    """Begin a page with all pairs to choose from, and return the one that the address names.

    Args:
        place: Of the page.
        page: Its name.
        other: Name of the page that shows the rest of a pair, and is linked.

    Returns:
        The first without a name in the address; ``None`` if there is none, which the page says.
    """
    snapshot, words = place.snapshot, place.words
    heading(words(page), 1)
    places = runs.places(snapshot)
    name = place.query.get("pair") or next(iter(places), "")
    if not name:
        follow(place, lambda: ui.navigate.reload() if runs.places(place.snapshot) else None)
        return None

    def go(event: events.ValueChangeEventArguments[Any]) -> None:
        if event.value:  # not while it is being typed
            ui.navigate.to(place.link(page, pair=str(event.value)))

    known = places if name in places else {**places, name: plain(name)}
    with ui.element("div").classes("row filters"):
        ui.select(known, value=name, label=words("choose"), with_input=True, on_change=go)
    found = runs.opened(place.watcher.folder, snapshot, name)
    if not found.there:
        waits = runs.waits(snapshot, name)
        said = words("waits") if waits else words("gone", place=plain(name))
        ui.label(said).classes("notice")
        if waits:
            follow(place, lambda: ui.navigate.reload() if latest(place, found).there else None)
        return None
    heading(found.title, name=True)
    ui.label(plain(found.place)).classes("small")
    if found.problem:
        ui.label(words("problem", problem=found.problem)).classes("notice")
    ui.link(words(f"open_{other}"), place.link(other, pair=found.place))
    return found


def latest(place: Place, found: Opened) -> Opened:
    """Return what is known by now of a pair."""
    return runs.opened(place.watcher.folder, place.snapshot, found.place)


def _options(place: Place, training: Training) -> dict[str, Options]:
    words = place.words
    of_language = training if training.of_language else Training()
    return {
        "loss_title": charts.losses(training, words),
        "learning_rate": charts.of_stages(training, "learning_rate", "", words),
        "throughput": charts.of_stages(training, "throughput", "1/s", words),
        "pace": charts.of_stages(training.uncounted, "pace", "1/s", words),
        "metric": charts.of_stages(training, "metric", "", words),
        "perplexity": charts.of_stages(of_language, "perplexity", "", words),
        "energy_title": charts.energies(training, words, power=False),
        "power_title": charts.energies(training, words, power=True),
    }


def _state(place: Place, found: Opened) -> None:
    """Say how far it is, or why it has ended."""
    words = place.words
    if found.running is not None and found.record is None:
        state = ui.label().classes("notice").props("role=status")

        def update() -> None:
            now = latest(place, found).running
            if now is not None:
                at = words("at_work", act=words(f"act_{now.act}"), note=now.note)
                said = f"{at} ({now.progress:.0%})"
                if now.state == "silent":
                    said = words("silent", when=clock(now.told_s), said=said)
                state.set_text(said if now.works else words("process_gone", pid=now.pid, said=said))

        update()
        follow(place, update)
    if found.failure is not None and found.record is None:
        ui.label(f"{words('failure')}: {found.failure.error}").classes("notice")
        if traceback := runs.traceback_of(place.watcher.folder, found.failure):
            text(traceback)


def _heard(place: Place, record: Record) -> None:
    """Offer what both arms sound like, text by text, one beside the other."""
    words, folder = place.words, place.watcher.folder
    arms = {"baseline": record.baseline, "variant": record.variant}
    if not any(arm.exhibits for arm in arms.values()):
        return
    names = {of: audio.takes(folder, arm) for of, arm in arms.items()}
    every = sorted({name for found in names.values() for name in found})
    heading(words("audio"))
    hint = words("audio_hint", shown=min(len(every), audio.MOST), count=len(every))
    ui.label(hint if every else words("no_audio")).classes("small")
    for name in every[: audio.MOST]:
        here = {of: arm for of, arm in arms.items() if name in names[of]}
        said = next(filter(None, (audio.said(folder, arm, name) for arm in here.values())), name)
        with ui.element("section").classes("box"):
            ui.label(said)
            with ui.element("div").classes("pictures"):
                for of, arm in here.items():
                    _player(words, of, arm, name)


def _player(words: Words, of: str, arm: Arm, name: str) -> None:
    address = f"/audio/{arm.exhibits}/{name}.wav"
    with ui.element("div").classes("row"):
        ui.label(words(of))
        player = ui.audio(address).style("max-width: 100%")
        player.props["preload"] = "none"  # nothing is fetched that nobody wants to hear
        player.props["aria-label"] = f"{words(of)} {name}"
        ui.link(words("download"), address).props["download"] = f"{of}-{name}.wav"


def _overfitting(place: Place, found: Opened) -> None:
    """Show the verdict of the watch, and what else happened to the trainings."""
    heading(place.words("overfitting"))
    verdict, box = ui.label(), ui.element("div")
    shown: list[tuple[str, str, str]] = []

    def update() -> None:
        record = found.record
        told = runs.happened(place.snapshot, found) if record is None else runs.trained(record)
        verdict.set_text(_verdict(place.words, found, told))
        if told != shown:
            shown[:] = told
            box.clear()
            with box:
                listed([_sentence(place.words, *one) for one in told])

    update()
    if found.record is None:
        follow(place, update)


def _verdict(words: Words, found: Opened, told: list[tuple[str, str, str]]) -> str:
    if any(kind == "overfitting" for _, kind, _ in told):
        return words("overfit_flagged")
    if found.record is None:
        return words("overfit_so_far")
    training = found.record.config.get("training")
    guard = training.get("guard") if isinstance(training, dict) else None
    return words("overfit_none", guard=plain(str(guard))) if guard else words("overfit_unknown")


def _sentence(words: Words, arm: str, kind: str, text: str) -> str:
    of_arm = f"{words(arm)}: " if arm else ""
    return f"{of_arm}{words.said.get(kind, kind)}. {text}"


def _texts(place: Place, found: Opened) -> None:
    words, record = place.words, found.record
    parts = {"configuration": runs.configuration(place.watcher.folder, found)}
    parts["environment"] = "" if record is None else runs.as_yaml(record.environment)
    for name, part in parts.items():
        if part:
            with ui.expansion(words(name)).classes("box w-full"):
                text(part)
    with ui.expansion(words("log")).classes("box w-full"):
        log = text("")

    def update() -> None:
        lines = runs.log_lines(place.watcher, latest(place, found))
        log.set_text("\n".join(lines) or words("no_log"))

    update()
    if found.record is None:
        follow(place, update)
