"""The server: pages in every language, files to take along, and the gate before all of it."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import uvicorn
from fastapi import Request, Response
from fastapi.responses import FileResponse, PlainTextResponse
from nicegui import app, ui
from starlette.types import Message, Receive, Scope, Send

from bench.dashboard.data import audio, models
from bench.dashboard.data.folder import BrokenError
from bench.dashboard.data.watching import Watcher
from bench.dashboard.gate import Gate
from bench.dashboard.language import ENGLISH, Words, languages
from bench.dashboard.pages import compare, data, doctor, kitchen, overview, pair, run
from bench.dashboard.pages import models as models_page
from bench.dashboard.pages.frame import THEME, Place, framed
from bench.dashboard.take import REPORTS, TABLES, NotNowError, Shelf
from bench.push import card, overrides

_SHOWN: dict[str, Callable[[Place], Any]] = {
    "overview": overview.show,
    "run": run.show,
    "pair": pair.show,
    "compare": compare.show,
    "kitchen": kitchen.show,
    "data": data.show,
    "models": models_page.show,
    "doctor": doctor.show,
}
_RECONNECT_S = 30.0
_MESSAGES = 100
_LOOK_S = 1.0
_BUILD_S = 30.0
"""Longest that a page may take: a folder of data may lie on a slow disk."""


def serve(shelf: Shelf, host: str, port: int, token: str | None) -> None:
    """Serve until the process is told to stop.

    Args:
        shelf: What there is to show.
        host: Address to bind to.
        port: Likewise.
        token: Asked for at the gate; ``None`` on the loopback.
    """
    register(shelf)
    app.add_middleware(Gate, token=token)
    setattr(uvicorn.Server, main_loop.__name__, main_loop)
    app.on_startup(shelf.watcher.start)
    app.on_shutdown(shelf.watcher.stop)
    gc.collect()
    gc.freeze()  # what is imported stays: looking through it again takes tens of milliseconds
    ui.run(
        host=host,
        port=port,
        title="joulebench",
        reload=False,
        show=False,
        dark=None,
        show_welcome_message=False,
        binding_refresh_interval=None,  # nothing is bound: ten looks a second for nothing
        reconnect_timeout=_RECONNECT_S,
        message_history_length=_MESSAGES,
        gzip_middleware_factory=None,  # to this host it would save nothing, and takes its processor
        uvicorn_logging_level="warning",
    )


async def main_loop(self: uvicorn.Server) -> None:
    """Look once a second, not ten times, whether to end: most of what an idle server takes."""
    while not await self.on_tick(0):
        await asyncio.sleep(_LOOK_S)


def register(shelf: Shelf) -> None:
    """Make pages and files known to the library."""
    for words in languages().values():
        for name, show in _SHOWN.items():
            path = f"{words.prefix}/{'' if name == 'overview' else name}".rstrip("/") or "/"
            title = f"{words('title')}: {words(name)}"
            language = cast("Any", words.quasar)
            page = ui.page(path, title=title, language=language, response_timeout=_BUILD_S)
            page(_page(shelf, words, name, show))
    for path, endpoint in (
        ("/take/report.{kind}", _report),
        ("/take/{name}.{kind}", _table),
        ("/models/{digest}/model.safetensors", _weights),
        ("/models/{digest}/README.md", _card),
        ("/audio/{digest}/{evaluation}/{name}.wav", _audio),
    ):
        app.add_api_route(
            path,
            _bound(endpoint, shelf),
            methods=["GET"],
            response_model=None,
            include_in_schema=False,
        )


def _page(
    shelf: Shelf, words: Words, name: str, show: Callable[[Place], Any]
) -> Callable[..., Any]:
    async def page(request: Request) -> None:
        place = Place(shelf, words, dict(request.query_params), request.cookies.get(THEME, ""))
        with framed(place, name):
            built = show(place)
            if inspect.isawaitable(built):
                await built

    return page


def _bound(endpoint: Callable[[Shelf, Request], Any], shelf: Shelf) -> Callable[..., Any]:
    async def answer(request: Request) -> Response:
        words = languages()[ENGLISH]
        try:
            found: Response = await endpoint(shelf, request)
        except NotNowError as err:
            return PlainTextResponse(words(str(err)), 503, {"Retry-After": "60"})
        except BrokenError as err:
            return PlainTextResponse(words("failed_to_make", problem=str(err)), 404)
        return found

    return answer


async def _table(shelf: Shelf, request: Request) -> Response:
    name, kind = request.path_params["name"], request.path_params["kind"]
    query = dict(request.query_params)
    content = await asyncio.to_thread(shelf.table, name, kind, query)
    return _file(content, f"{name}.{kind}", TABLES[kind])


async def _report(shelf: Shelf, request: Request) -> Response:
    kind = request.path_params["kind"]
    if kind not in REPORTS:
        raise BrokenError(f"report.{kind}: there are {', '.join(REPORTS)}")
    content = await shelf.report(kind, dict(request.query_params))
    return _file(content, f"joulebench.{kind}", REPORTS[kind])


async def _weights(shelf: Shelf, request: Request) -> Response:
    """Hand over a model; gigabytes would disturb a measurement."""
    shelf.undisturbed()
    digest = request.path_params["digest"]
    path = models.weights(shelf.watcher.folder, digest)
    return Patient(path, shelf.watcher, f"{digest}-{models.WEIGHTS}")


class Patient(FileResponse):
    """A large file that waits, wherever it is, while windows are measured on this host."""

    def __init__(self, path: Path, watcher: Watcher, filename: str) -> None:
        """Hand over a file under a name."""
        super().__init__(path, filename=filename)
        self.watcher = watcher

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, a part at a time."""

        async def send_later(message: Message) -> None:
            while self.watcher.latest.resting:
                await asyncio.sleep(_LOOK_S)
            await send(message)

        await super().__call__(scope, receive, send_later)


async def _audio(shelf: Shelf, request: Request) -> Response:
    """Hand over what an arm sounds like, to be heard or kept; not while windows are measured."""
    if shelf.watcher.latest.resting:
        raise NotNowError("not_now")
    asked = request.path_params
    exhibits = f"{asked['digest']}/{asked['evaluation']}"
    path = audio.wav(shelf.watcher.folder, exhibits, asked["name"])
    return FileResponse(path, media_type="audio/wav")


async def _card(shelf: Shelf, request: Request) -> Response:
    """Write the card that ``python -m bench.push`` would upload with a model."""
    shelf.undisturbed()
    digest = request.path_params["digest"]
    text = await asyncio.to_thread(_text_of_card, shelf, digest)
    return _file(text.encode(), f"{digest}-README.md", "text/markdown; charset=utf-8")


def _text_of_card(shelf: Shelf, digest: str) -> str:
    watcher = shelf.watcher
    record, place = models.record_of(watcher.folder, watcher.latest, digest)
    return card.text(record, f"results/{place}", overrides.command(record))


def _file(content: bytes, name: str, kind: str) -> Response:
    """Return a file that a browser keeps and never shows: what is in it is others' words."""
    disposition = f"attachment; filename*=UTF-8''{quote(name)}"
    return Response(content, media_type=kind, headers={"Content-Disposition": disposition})
