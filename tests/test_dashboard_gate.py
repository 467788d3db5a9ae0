"""Who is let in: the loopback by name, others by a token, and nobody to do more than look."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bench.dashboard.__main__ import TOKEN, main
from bench.dashboard.gate import COOKIE, SOCKETS, Gate, loopback

SECRET = "0123456789abcdef0123456789abcdef"
Headers = dict[str, str]


async def page(scope: Any, receive: Any, send: Any) -> None:
    """What is behind the gate."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-page", b"1")]})
    await send({"type": "http.response.body", "body": b"page"})


def asked(
    gate: Gate,
    path: str = "/",
    headers: Headers | None = None,
    method: str = "GET",
    query: str = "",
    kind: str = "http",
) -> tuple[int | str, Headers, bytes]:
    """Ask the gate once; return status, or a socket's answer, with headers and content."""
    given = {"host": "localhost:8080", **(headers or {})}
    scope = {
        "type": kind,
        "path": path,
        "method": method,
        "query_string": query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in given.items()],
    }
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("nothing is read before somebody is let in")

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(gate(scope, receive, send))
    if kind == "websocket":
        return sent[0]["type"], {}, b""
    found = {k.decode().lower(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], found, sent[1]["body"]


LOOPBACK = Gate(page, None)
ELSEWHERE = Gate(page, SECRET)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080", "127.9.9.9"])
def test_the_loopback_is_let_in_under_its_own_names(host: str) -> None:
    status, _, body = asked(LOOPBACK, headers={"host": host})
    assert (status, body) == (200, b"page")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.evil.example"])
def test_a_foreign_name_that_points_here_is_refused(host: str) -> None:
    """DNS rebinding: a page of that name would read all that this server shows."""
    assert asked(LOOPBACK, headers={"host": host})[0] == 403


@pytest.mark.parametrize(
    "host", ["", "a b", "x\r\ny", "localhost:80\n", "localhost:8080:1", "localhost; script-src *"]
)
def test_a_host_that_is_no_name_is_refused(host: str) -> None:
    assert asked(LOOPBACK, headers={"host": host})[0] == 400


def test_elsewhere_nothing_is_shown_without_the_token() -> None:
    for headers in ({}, {"cookie": f"{COOKIE}=guess"}, {"authorization": "Bearer guess"}):
        status, _, body = asked(ELSEWHERE, headers=headers)
        assert status == 401
        assert SECRET.encode() not in body
    assert asked(ELSEWHERE, query="token=guess")[0] == 401
    assert asked(ELSEWHERE, kind="websocket")[0] == "websocket.close"


def test_the_token_is_given_once_and_leaves_the_address() -> None:
    status, headers, _ = asked(ELSEWHERE, "/kitchen", query=f"token={SECRET}&a=%26")
    assert (status, headers["location"]) == (303, "/kitchen?a=%26")
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    kept = {"cookie": cookie.partition(";")[0]}
    assert asked(ELSEWHERE, headers=kept)[0] == 200
    assert asked(ELSEWHERE, headers=kept, kind="websocket")[0] == "websocket.accept"
    assert asked(ELSEWHERE, headers={"authorization": f"Bearer {SECRET}"})[0] == 200


@pytest.mark.parametrize(
    ("path", "leads"),
    [
        ("//evil.example/x", "/evil.example/x"),
        ("/\\evil.example", "/%5Cevil.example"),
        ("/a\r\nset-cookie: x", "/a%0D%0Aset-cookie%3A%20x"),
    ],
)
def test_the_way_in_leads_to_no_other_machine(path: str, leads: str) -> None:
    _, headers, _ = asked(ELSEWHERE, path, query=f"token={SECRET}")
    assert headers["location"] == leads


def test_an_odd_cookie_of_another_server_here_keeps_nobody_out() -> None:
    """Cookies know no ports: all servers of a host see each other's."""
    odd = f'settings={{"a": [1, 2]}}; x; {COOKIE}={SECRET}; [y]=ü'
    assert asked(ELSEWHERE, headers={"cookie": odd})[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_but_looking_is_let_through(method: str) -> None:
    assert asked(LOOPBACK, "/take/pairs.csv", method=method)[0] == 405


def test_pages_talk_to_their_server_and_those_of_others_do_not() -> None:
    ours, theirs = {"origin": "http://localhost:8080"}, {"origin": "http://evil.example"}
    assert asked(LOOPBACK, SOCKETS, headers=ours, kind="websocket")[0] == "websocket.accept"
    assert asked(LOOPBACK, SOCKETS, headers=theirs, kind="websocket")[0] == "websocket.close"
    assert asked(LOOPBACK, SOCKETS, headers=ours, method="POST")[0] == 200
    assert asked(LOOPBACK, SOCKETS, headers=theirs, method="POST")[0] == 403
    assert asked(LOOPBACK, SOCKETS, headers={"origin": "null"}, kind="websocket")[0] == (
        "websocket.close"
    )


def test_a_page_of_another_origin_reads_nothing() -> None:
    """The library of the pages would tell the browser that every origin may read its sockets."""
    for origin in ("http://evil.example", "http://localhost:9999", "null", "http://["):
        assert asked(LOOPBACK, SOCKETS, headers={"origin": origin})[0] == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_page_may_lead_here_but_not_make_this_host_work(site: str) -> None:
    """``same-site`` is another port of this host as well, where somebody else may serve."""
    asks = {"sec-fetch-site": site}
    link = {**asks, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    frame = {**asks, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    picture = {**asks, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    assert asked(LOOPBACK, headers=link)[0] == 200
    for headers in (frame, picture):
        assert asked(LOOPBACK, "/take/report.pdf", headers=headers)[0] == 403


def test_every_page_tells_the_browser_to_fetch_from_nowhere_else() -> None:
    _, headers, _ = asked(LOOPBACK)
    rules = headers["content-security-policy"]
    assert "default-src 'self'" in rules
    assert "connect-src 'self' ws://localhost:8080 wss://localhost:8080;" in rules
    assert "http" not in rules
    assert headers["x-page"] == "1"


@pytest.mark.parametrize(
    ("host", "ours"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("lab", False)],
)
def test_which_addresses_only_this_machine_reaches(host: str, ours: bool) -> None:
    assert loopback(host) is ours


@pytest.mark.parametrize(
    "token", ["short", "with a space in it, and long", "semi;colon" * 4, "é" * 20]
)
def test_a_token_that_cannot_stand_in_an_address_is_refused(
    token: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TOKEN, token)
    with pytest.raises(SystemExit) as ended:
        main(["results"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert TOKEN in said
    assert token not in said


def test_a_folder_of_data_that_is_not_there_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--data", "nowhere"])
    assert "--data nowhere: there is no such folder" in capsys.readouterr().err
