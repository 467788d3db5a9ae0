"""What is around every page: where one can go, the light, the language, and whether it rests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from nicegui import ui

from bench.dashboard.data.watching import Snapshot, Watcher
from bench.dashboard.language import PAGES, Words, languages
from bench.dashboard.take import Shelf

THEME = "joulebench_theme"
TICK_S = 1.0
"""How often a page asks whether there is anything to push, by comparing numbers: what a look
between two blocks has found is pushed before the next window (``watching.BEFORE_WINDOW_S``)."""

Update = Callable[[], None]
Key = Callable[[], object]

_FIRST_COMMAND = "python -m bench experiment=smoke"
_STYLE = """
:root { --line: rgba(128, 135, 144, .35); --soft: rgba(128, 135, 144, .12); }
body { font-size: 15px; line-height: 1.45; }
.nicegui-content { max-width: 90rem; margin-inline: auto; padding: 1rem; align-items: stretch;
  gap: 1rem; width: 100%; }
.skip { position: absolute; inset-inline-start: -999rem; }
.skip:focus { position: fixed; inset-inline-start: .5rem; top: .5rem; z-index: 9999;
  background: #fff; color: #000; padding: .5rem; }
.bar { background: #20303c !important; color: #fff; padding: .4rem 1rem; gap: .25rem 1rem;
  display: flex; flex-wrap: wrap; align-items: center; }
.bar a { color: #fff; padding: .35rem .5rem; text-decoration: none; border-radius: .3rem; }
.bar a:hover, .bar a:focus-visible { background: #ffffff2e; }
.bar a.here { background: #ffffff33; font-weight: 600; }
.push { margin-inline-start: auto; }
a:focus-visible, button:focus-visible, [tabindex]:focus-visible { outline: 2px solid #0072b2;
  outline-offset: 2px; }
main { display: flex; flex-direction: column; gap: 1rem; min-width: 0; }
h1, h2, h3 { font-size: 1.25rem; font-weight: 600; margin: .25rem 0; line-height: 1.3; }
h2 { font-size: 1.05rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem; }
.pictures { display: grid; gap: .75rem; grid-template-columns:
  repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.box { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; min-width: 0;
  overflow-wrap: anywhere; }
.figure { font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.small { font-size: .82rem; opacity: .8; }
.chart { height: 18rem; width: 100%; direction: ltr; }
.forest { height: 30rem; }
.text { white-space: pre-wrap; font-family: ui-monospace, monospace; font-size: .8rem;
  max-height: 24rem; overflow: auto; background: var(--soft); padding: .6rem; direction: ltr;
  text-align: left; overflow-wrap: anywhere; }
.notice { border-inline-start: 4px solid #e69f00; background: var(--soft); padding: .5rem .8rem; }
main a { color: #0a5fb4; text-decoration: underline; }
.body--dark main a { color: #8cc4ff; }
h2:not(.name)::first-letter { text-transform: uppercase; }
/* Names and figures of records keep their own direction among words of another. */
main * { unicode-bidi: plaintext; }
[dir="rtl"] main { text-align: right; }
.row { display: flex; flex-wrap: wrap; gap: .5rem .9rem; align-items: center; }
.filters > *, .orders { min-width: min(100%, 11rem); }
.orders { align-self: flex-start; }
.q-table td, .q-table th { white-space: normal; overflow-wrap: break-word; }
.q-table td.text-right { white-space: nowrap; }
.burnt { border-color: #d55e00; border-width: 2px; } .ready { border-color: #009e73; }
"""


@dataclass(frozen=True)
class Place:
    """Where a page is shown.

    Attributes:
        shelf: What there is to show.
        words: The language.
        query: Of the address.
        theme: ``dark``, ``light``, or nothing: then the browser decides.
        followers: What to call when something is new, with what tells that it is.
        built_on: The snapshot that the page is being built on; empty once it is.
    """

    shelf: Shelf
    words: Words
    query: Mapping[str, str]
    theme: str
    followers: list[tuple[Key, Update]] = field(default_factory=list)
    built_on: list[Snapshot] = field(default_factory=list)

    @property
    def watcher(self) -> Watcher:
        """Who looks."""
        return self.shelf.watcher

    @property
    def snapshot(self) -> Snapshot:
        """What was seen last; one and the same while the page is built."""
        return self.built_on[0] if self.built_on else self.shelf.watcher.latest

    def link(self, page: str, **query: str) -> str:
        """Return the address of a page in this language."""
        name = "" if page == "overview" else page
        rest = urlencode({key: value for key, value in query.items() if value}, quote_via=quote)
        path = f"{self.words.prefix}/{name}" if name else self.words.prefix or "/"
        return f"{path}?{rest}" if rest else path


@contextmanager
def framed(place: Place, page: str) -> Iterator[None]:
    """Build what is around a page; its content goes into the block."""
    place.built_on.append(place.watcher.latest)
    ui.add_css(_STYLE)
    words = place.words
    dark = ui.dark_mode({"dark": True, "light": False}.get(place.theme))
    with ui.header().classes("bar"):
        ui.link(words("skip"), "#content").classes("skip")  # first, as a keyboard goes
        with ui.element("nav").classes("row"):
            for name in PAGES:
                link = ui.link(words(name), place.link(name))
                if name == page:
                    link.classes("here").props("aria-current=page")
        with ui.element("div").classes("row push"):
            for other in languages().values():
                if other.code != words.code:
                    elsewhere = Place(place.shelf, other, place.query, place.theme)
                    ui.link(other.name, elsewhere.link(page, **place.query))
            button = ui.button(icon="contrast", on_click=lambda: _turn(dark))
            button.props("flat round dense color=white")
            button.props["aria-label"] = words("theme")
    with ui.element("main"):
        ui.link_target("content")
        _notices(place)
        yield
    _tick(place)


def follow(place: Place, update: Update, key: Key | None = None) -> None:
    """Call ``update`` whenever there is something new.

    Args:
        place: Of the page, while it is being built.
        update: Pushes what has changed.
        key: Tells by another value that something is new; the snapshot's version if left out.
    """
    place.followers.append((key or (lambda: place.snapshot.version), update))


def _tick(place: Place) -> None:
    """Ask all followers from one timer; while nothing is new that costs next to nothing."""
    seen = [key() for key, _ in place.followers]
    place.built_on.clear()  # what has come since is new to all of them

    def tick() -> None:
        for number, (key, update) in enumerate(place.followers):
            found = key()
            if found != seen[number]:
                seen[number] = found
                update()

    ui.timer(TICK_S, tick)


def _notices(place: Place) -> None:
    """Show that the page rests, that nothing is there yet, or that records are still being read."""
    resting = ui.label().classes("notice").props("role=status")
    waiting = ui.label().classes("notice").props("role=status")
    hint = ui.label(place.words("empty_hint", command=_FIRST_COMMAND)).classes("text")

    def update() -> None:
        snapshot, words = place.snapshot, place.words
        what = words("a_measurement") if snapshot.holder == "?" else snapshot.holder
        resting.set_text(words("resting", what=what) if snapshot.resting else "")
        resting.set_visibility(snapshot.resting)
        nothing = not (len(snapshot.pairs) or snapshot.running or snapshot.failures)
        waiting.set_text(words("empty" if snapshot.ready else "reading"))
        waiting.set_visibility(nothing)
        hint.set_visibility(nothing and snapshot.ready)

    update()
    follow(place, update)


async def _turn(dark: ui.dark_mode) -> None:
    """Turn the light, and let the browser remember it; without a choice it was the system's."""
    was_dark = await ui.run_javascript("document.body.classList.contains('body--dark')")
    dark.value = not was_dark
    name = "light" if was_dark else "dark"
    ui.run_javascript(f"document.cookie = '{THEME}={name};path=/;max-age=31536000;samesite=lax'")
