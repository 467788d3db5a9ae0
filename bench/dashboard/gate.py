"""Who is let in, and what a browser may do with what it gets.

On the loopback only pages of this server may ask it for anything: a name that is not this machine's
(DNS rebinding) and sockets of other pages are refused. Bound elsewhere a token is asked for, once
per browser. In any case nothing but reading is let through, and the browser is told to fetch
nothing from anywhere else.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "joulebench"
SOCKETS = "/_nicegui_ws/"
"""Where pages talk to their server; the only place that takes anything but GET."""

_HOST = re.compile(r"(?P<name>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
_YEAR_S = 31_536_000
_FOLLOWED = ("navigate", "document")
"""How a browser asks for what a link leads to."""

_OURS = ("same-origin", "none", None)
"""From where it asks: this page, its address line, or it does not say. ``same-site`` is another
port of this host, where somebody else may serve."""


def loopback(host: str) -> bool:
    """Return whether only this machine can reach a server bound to this address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass
class Gate:
    """Stands before the pages, as ASGI has it.

    Attributes:
        app: What is behind it.
        token: Asked for; ``None`` on the loopback, where names are looked at instead.
    """

    app: App
    token: str | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in, or refuse."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        if scope["type"] == "http" and (target := self._entering(scope)) is not None:
            await _answer(send, 303, "", [("location", target), ("set-cookie", self._cookie())])
            return
        if (refused := self._refused(scope, headers)) is not None:
            await _refuse(scope, send, *refused)
            return
        await self.app(scope, receive, _guarded(send, headers.get("host", "")))

    def _entering(self, scope: Scope) -> str | None:
        """Return where to go on without the token in the address, if it is the right one."""
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == "token"]
        if self.token is None or not given or not _same(given[0], self.token):
            return None
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        # Two slashes would be another machine, and so would be one and a backslash.
        path = "/" + quote(str(scope["path"]).lstrip("/"))
        return f"{path}?{rest}" if rest else path

    def _cookie(self) -> str:
        # Lax: whoever follows a link to the page keeps his way in; other sites' sockets do not.
        return f"{COOKIE}={self.token}; Path=/; Max-Age={_YEAR_S}; HttpOnly; SameSite=Lax"

    def _refused(self, scope: Scope, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Return status and reason for who is not let in."""
        asked = headers.get("host", "")
        if (found := _HOST.fullmatch(asked)) is None:
            return 400, "no host"
        name = found["name"]
        if self.token is None:
            if not loopback(name):
                return 403, f"{name} is not this machine: ask for localhost"
        elif not any(_same(given, self.token) for given in _given(headers)):
            return 401, "this page wants the token that the server printed: ?token=..."
        if _foreign(headers, asked):
            return 403, "another site's page may not ask here"
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            ours = str(scope["path"]).startswith(SOCKETS) and scope["method"] == "POST"
            if not ours:
                return 405, "this server only shows"
        return None


def _foreign(headers: Mapping[str, str], asked: str) -> bool:
    """Return whether another site's page asks: it would make this host work, or read along.

    A link may lead here from anywhere.
    """
    asks = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    if headers.get("sec-fetch-site") not in _OURS and asks != _FOLLOWED:
        return True
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != asked


def _given(headers: Mapping[str, str]) -> list[str]:
    """Return the tokens that a request carries."""
    found = []
    scheme, _, word = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found.append(word.strip())
    # Split by hand: http.cookies gives up at the first odd cookie, and those of all servers on this
    # host come along.
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return found + [value for name, _, value in pairs if name == COOKIE]


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _guarded(send: Send, host: str) -> Send:
    """Return ``send`` that adds to each answer what the browser may do with it."""
    # The pages' library builds its templates in the browser, which takes 'unsafe-eval'.
    rules = (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        f"connect-src 'self' ws://{host} wss://{host}; worker-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    added = [
        (b"content-security-policy", rules.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
    ]

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message.get("headers", [])}
            more = [(name, value) for name, value in added if name not in there]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await send(message)

    return guarded


async def _refuse(scope: Scope, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return
    await _answer(send, status, reason, [])


async def _answer(send: Send, status: int, text: str, headers: list[tuple[str, str]]) -> None:
    body = text.encode()
    plain = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body)))]
    encoded = [(name.encode(), value.encode()) for name, value in [*plain, *headers]]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
