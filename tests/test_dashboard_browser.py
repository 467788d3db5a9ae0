"""The pages in a real browser: Debian's Chromium, without a window, driven by Playwright.

Pictures of every page are kept where ``JOULEBENCH_SCREENSHOTS`` says, else with the test's files.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from campaigns import write_campaign, write_pair
from viewing import block, logged, place, plan, tell

from bench import locks, report, store
from bench.dashboard import standalone
from bench.dashboard.language import PAGES
from bench.machine import host_name

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("nicegui", reason="the extra dashboard is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]

ROOT = Path(__file__).parents[1]
SERVER = """
import sys
from pathlib import Path
from bench import locks
locks.SHARED_FOLDERS = (Path(sys.argv[1]),)
from bench.dashboard.__main__ import main
sys.exit(main(sys.argv[2:]))
"""
SOON_MS = 20_000
"""Patience, no bar: a shared machine may have a slow half minute."""
SCRIPT = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"


class Server:
    """A dashboard on a folder of its own, whose lock is not the host's."""

    def __init__(self, folder: Path) -> None:
        self.root, self.lock = folder / "results", folder / "lock"
        self.root.mkdir()
        self.lock.mkdir(mode=0o1777)
        self.lock.chmod(0o1777)
        data = folder / "data"
        data.mkdir()
        (data / "set.csv").write_text("text,label\n" + "good film,1\nbad film,0\n" * 20 + "x\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = [str(self.lock), str(self.root), "--port", str(self.port), "--data", str(data)]
        # The library looks for pytest in the environment and would wait for a test of its own.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, *words],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.url = f"http://127.0.0.1:{self.port}"
        self._wait()

    def _wait(self) -> None:
        end_s = time.monotonic() + 60
        while time.monotonic() < end_s:
            if self.process.poll() is not None:
                assert self.process.stdout is not None
                pytest.fail(f"the server has ended: {self.process.stdout.read()[-4000:]}")
            try:
                urllib.request.urlopen(self.url, timeout=5).read()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        pytest.fail("the server does not answer")

    def asked(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            found: str = answer.read().decode()
            return found

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on a campaign with a failure, a running pair and a hostile name in it."""
    started = Server(tmp_path_factory.mktemp("server"))
    fill(started.root)
    end_s = time.monotonic() + 10
    while started.asked("/take/pairs.csv").count("resnet18_cifar10") < 4:
        assert time.monotonic() < end_s, "the server does not see the pairs"
        time.sleep(0.2)
    yield started
    started.stop()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Server]:
    """A server on an empty folder."""
    started = Server(tmp_path)
    yield started
    started.stop()


def fill(root: Path) -> None:
    write_campaign(root, {"bf16": 0.6}, examples=400, weights=True)
    write_pair(root, ratio=0.8, stolen={1: 0.5}, examples=400, weights=True)
    write_pair(root, technique="evil", label=SCRIPT, ratio=1.1, examples=400)
    store.write_failure(root / "made-up-host/w/t/0-a", ValueError(SCRIPT), "Traceback", {})
    points = [logged(10 * n, 2.0 / n, 5.0 * n, 400.0 * n) for n in range(1, 8)]
    tell(root, points=points, note=SCRIPT)
    told = [block(n, 1.0 + n / 100, 0.8) for n in range(4)]
    tell(root, "8-aa", act="measure", done=4, total=8, points=told)
    plan(root)


@pytest.fixture
def watched(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A tab that notes what goes wrong and what it asks for; at the end nothing has."""
    options = getattr(request, "param", {})
    context = browser.new_context(**{"viewport": {"width": 1400, "height": 1000}, **options})
    tab = context.new_page()
    wrong: list[str] = []
    hosts: set[str] = set()
    tab.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda err: wrong.append(str(err)))
    tab.on("request", lambda r: hosts.add(urlsplit(r.url).hostname or ""))
    yield tab
    context.close()
    assert not wrong
    assert hosts <= {"127.0.0.1", ""}  # data: and file: have no host


def settled(tab: Any, address: str) -> None:
    tab.goto(address)
    tab.wait_for_selector("main")
    tab.wait_for_load_state("networkidle")


def kept(tab: Any, name: str, folder: Path) -> Path:
    """Keep a picture of the page."""
    place = Path(os.environ.get("JOULEBENCH_SCREENSHOTS", folder))
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{name}.png"
    tab.screenshot(path=path, full_page=True)
    return path


def path_of(page: str) -> str:
    return "/" if page == "overview" else f"/{page}"


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_without_an_error_and_asks_nobody_else(
    server: Server, watched: Any, page: str, tmp_path: Path
) -> None:
    settled(watched, server.url + path_of(page))
    assert watched.get_by_role("heading", level=1).count() == 1
    assert watched.evaluate("window.hacked") is None
    assert kept(watched, page, tmp_path).stat().st_size > 10_000


def test_a_hostile_name_is_seen_as_it_is_written(server: Server, watched: Any) -> None:
    settled(watched, f"{server.url}/compare")
    assert watched.get_by_text(SCRIPT, exact=False).count() > 0
    settled(watched, f"{server.url}/kitchen")
    assert watched.get_by_text(SCRIPT, exact=False).count() > 0
    assert watched.evaluate("window.hacked") is None


SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport="


def status(server: Server, path: str, **headers: str) -> int:
    """Ask the real server, under whatever name and from whatever page."""
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    line.request("GET", path, headers=named)
    found = line.getresponse().status
    line.close()
    return found


def test_the_gate_stands_before_pages_files_and_sockets(server: Server) -> None:
    ours = f"localhost:{server.port}"
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    assert status(server, "/compare", Host=ours) == 200
    assert status(server, "/docs", Host=ours) == status(server, "/openapi.json", Host=ours) == 404
    for path in ("/", "/take/pairs.csv", "/_nicegui/nothing", f"{SOCKET}polling"):
        assert status(server, path, Host="evil.example") == 403
    theirs = {"Host": ours, "Origin": "http://evil.example"}
    assert status(server, f"{SOCKET}polling", **theirs) == 403
    assert status(server, f"{SOCKET}websocket", **theirs, **upgrade) == 403
    own = {"Host": ours, "Origin": f"http://{ours}"}
    assert status(server, f"{SOCKET}websocket", **own, **upgrade) == 101


def test_names_that_no_page_could_hold_stop_no_page(empty: Server, watched: Any) -> None:
    folder = empty.root / os.fsdecode(b"h\xff") / "w" / "t" / "0-a"
    store.write_failure(folder, ValueError("odd name"), "Traceback", {})
    for page in ("", "kitchen", "run", "pair"):
        settled(watched, f"{empty.url}/{page}")
        watched.get_by_text("0-a", exact=False).or_(
            watched.get_by_text("odd name", exact=False)
        ).first.wait_for(timeout=SOON_MS)


def test_while_windows_are_measured_no_file_is_made_and_that_is_said(
    empty: Server, watched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SHARED_FOLDERS", (empty.lock,))
    settled(watched, f"{empty.url}/data?file=0/set.csv")
    watched.get_by_text("40 rows looked at", exact=False).wait_for(timeout=SOON_MS)
    with locks.host_lock("measuring digits with bf16", windows=True):
        watched.get_by_text("measuring digits with bf16", exact=False).wait_for(timeout=SOON_MS)
        for path in ("/take/pairs.xlsx", "/take/report.pdf", f"/models/{'ab' * 8}/README.md"):
            assert status(empty, path) == 503
        settled(watched, f"{empty.url}/data?file=0/set.csv")
        watched.get_by_text("ask again when they are done", exact=False).wait_for(timeout=SOON_MS)
    end_s = time.monotonic() + 10
    while status(empty, "/take/pairs.csv") != 200:
        assert time.monotonic() < end_s
        time.sleep(0.2)


@pytest.mark.parametrize("page", ["run", "pair"])
def test_pairs_that_run_and_pairs_that_failed_can_be_opened(
    server: Server, watched: Any, page: str, tmp_path: Path
) -> None:
    for number, opened in enumerate(
        [
            f"{host_name()}/digits/bf16/8-aa",
            "made-up-host/w/t/0-a",
            place(3),
            "no/such/pair/here",
            "../../etc/passwd",
        ]
    ):
        settled(watched, f"{server.url}/{page}?pair={opened}")
        kept(watched, f"{page}-{number}", tmp_path)


def test_an_empty_folder_says_which_command_fills_it(empty: Server, watched: Any) -> None:
    settled(watched, empty.url)
    watched.get_by_text("python -m bench experiment=smoke").wait_for(timeout=SOON_MS)


def test_a_new_run_and_a_new_record_appear_without_loading_again(
    empty: Server, watched: Any, tmp_path: Path
) -> None:
    settled(watched, f"{empty.url}/kitchen")
    watched.evaluate("window.loaded_once = true")
    begin_s = time.monotonic()
    tell(empty.root)
    watched.get_by_text("digits: bf16").wait_for(timeout=SOON_MS)
    print(f"a new run was seen after {time.monotonic() - begin_s:.1f} s")
    write_pair(empty.root, technique="none", examples=100)
    watched.get_by_text("resnet18_cifar10: none").wait_for(timeout=SOON_MS)
    assert watched.evaluate("window.loaded_once") is True
    kept(watched, "kitchen-live", tmp_path)


def test_the_page_of_a_run_says_when_it_has_failed(empty: Server, watched: Any) -> None:
    log = empty.root / ".logs" / "today" / "joulebench.log"
    log.parent.mkdir(parents=True)
    log.write_text("one line\n")
    told = ".logs/today/joulebench.log"
    state = tell(empty.root, points=[logged(10, 2.0, 5.0, 400.0)], log=told)
    settled(watched, f"{empty.url}/run")
    watched.get_by_text("making the baseline", exact=False).wait_for(timeout=2 * SOON_MS)
    log.write_text("one line\nanother line\n")
    tell(empty.root, log=told)
    watched.get_by_text("another line", exact=False).wait_for(timeout=SOON_MS, state="attached")
    failed = empty.root / host_name() / "digits" / "bf16" / state.stem
    store.write_failure(failed, ValueError("too hot"), "Traceback", {"seed": 7})
    state.unlink()
    watched.get_by_text("It failed: too hot").wait_for(timeout=2 * SOON_MS)


def test_a_killed_run_turns_burnt(empty: Server, watched: Any) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        born_s = psutil.Process(process.pid).create_time()
        tell(empty.root, pid=process.pid, born_s=born_s)
        settled(watched, f"{empty.url}/kitchen")
        watched.get_by_text("simmering", exact=False).wait_for(timeout=SOON_MS)
        process.kill()
    watched.get_by_text("burnt", exact=False).wait_for(timeout=SOON_MS)


def test_dark_and_light_are_remembered(server: Server, watched: Any, tmp_path: Path) -> None:
    settled(watched, server.url)
    dark: Callable[[], bool] = lambda: watched.evaluate(  # noqa: E731
        "document.body.classList.contains('body--dark')"
    )
    assert not dark()
    watched.get_by_role("button", name="Light or dark").click()
    watched.wait_for_function("document.body.classList.contains('body--dark')")
    settled(watched, f"{server.url}/compare")
    assert dark()
    kept(watched, "compare-dark", tmp_path)


@pytest.mark.parametrize("watched", [{"color_scheme": "dark"}], indirect=True)
def test_without_a_choice_the_page_is_as_the_system_is(server: Server, watched: Any) -> None:
    settled(watched, server.url)
    watched.wait_for_function("document.body.classList.contains('body--dark')")
    watched.get_by_role("button", name="Light or dark").click()
    watched.wait_for_function("!document.body.classList.contains('body--dark')")


@pytest.mark.parametrize("watched", [{"viewport": {"width": 375, "height": 800}}], indirect=True)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_no_wider_than_a_phone(
    server: Server, watched: Any, page: str, tmp_path: Path
) -> None:
    settled(watched, server.url + path_of(page))
    kept(watched, f"{page}-phone", tmp_path)
    assert watched.evaluate("document.documentElement.scrollWidth") <= 375


@pytest.mark.parametrize("page", PAGES)
def test_a_language_may_run_from_right_to_left(
    server: Server, watched: Any, page: str, tmp_path: Path
) -> None:
    settled(watched, f"{server.url}/fa{path_of(page)}".rstrip("/"))
    assert watched.evaluate("getComputedStyle(document.documentElement).direction") == "rtl"
    kept(watched, f"{page}-fa", tmp_path)


def test_a_keyboard_gets_to_the_content_and_to_every_page(server: Server, watched: Any) -> None:
    settled(watched, server.url)
    watched.keyboard.press("Tab")
    assert watched.evaluate("document.activeElement.textContent") == "Skip to the content"
    reached = set()
    for _ in range(len(PAGES)):
        watched.keyboard.press("Tab")
        reached.add(watched.evaluate("document.activeElement.getAttribute('href')"))
    assert reached == {path_of(page) for page in PAGES}


def test_rows_are_filtered_ordered_and_set_side_by_side(
    server: Server, watched: Any, tmp_path: Path
) -> None:
    settled(watched, f"{server.url}/compare")
    table = watched.locator(".q-table").first
    rows = table.locator("tbody tr")
    assert rows.count() == 4
    watched.get_by_label("Search").fill("bf16")
    watched.wait_for_function("document.querySelectorAll('.q-table tbody tr').length === 1")
    watched.get_by_label("Search").fill("")
    watched.wait_for_function("document.querySelectorAll('.q-table tbody tr').length === 4")
    table.locator("th").filter(has_text="ratio").first.click()
    watched.wait_for_function(
        "document.querySelector('.q-table tbody tr').textContent.includes('bf16')"
    )
    rows.nth(0).locator(".q-checkbox").click()
    rows.nth(1).locator(".q-checkbox").click()
    watched.get_by_text("side_by_side.csv").wait_for(timeout=SOON_MS)
    kept(watched, "compare-beside", tmp_path)


def test_rows_are_ordered_by_the_keyboard_too(server: Server, watched: Any) -> None:
    settled(watched, f"{server.url}/compare")
    order = watched.get_by_label("Order", exact=True)
    for chosen, first in (
        ("ratio ↓", "evil"),
        ("ratio ↑", "bf16"),
    ):  # 1.1 is the most, 0.6 the least
        order.focus()
        watched.keyboard.press("Enter")
        watched.get_by_role("option", name=chosen, exact=True).wait_for()
        at = watched.locator(".q-manual-focusable--focused")
        for _ in range(30):
            watched.keyboard.press("ArrowDown")
            if at.all_inner_texts() == [chosen]:
                break
        watched.keyboard.press("Enter")
        watched.wait_for_function(
            "name => document.querySelector('.q-table tbody tr a').href.includes(name)", arg=first
        )
    heading = watched.locator(".q-table").first.locator("th").filter(has_text="ratio").first
    heading.click()  # a click says the same in the box
    watched.wait_for_function("document.querySelector('.orders').textContent.includes('ratio ↓')")


def worked_s(pid: int) -> float:
    """Return the processor time of a process; ticks of 10 ms are too coarse for what it takes."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) * 1e-9


def test_while_windows_are_measured_nothing_is_pushed_and_next_to_nothing_is_spent(
    empty: Server, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SHARED_FOLDERS", (empty.lock,))
    tab = browser.new_page()
    frames: list[tuple[float, str]] = []
    tab.on(
        "websocket",
        lambda ws: ws.on("framereceived", lambda f: frames.append((time.monotonic(), str(f)))),
    )
    settled(tab, f"{empty.url}/kitchen")
    with locks.host_lock("measuring digits with bf16", windows=True):
        tab.get_by_text("measuring digits with bf16", exact=False).wait_for(timeout=SOON_MS)
        time.sleep(2)
        tell(empty.root)
        begin_s, before_s = time.monotonic(), worked_s(empty.process.pid)
        time.sleep(10)
        after_s, end_s = worked_s(empty.process.pid), time.monotonic()
    spent = (after_s - before_s) / (end_s - begin_s)
    print(f"{spent:.2%} of a core while windows are measured")
    pushed = [text for at_s, text in frames if begin_s < at_s < end_s and len(text) > 1]
    assert not pushed  # a single sign is the protocol's ping
    assert spent < 0.005
    tab.get_by_text("digits: bf16").wait_for(timeout=SOON_MS)
    tab.close()


def test_the_page_to_take_along_opens_from_the_disk(
    server: Server, watched: Any, tmp_path: Path
) -> None:
    path = tmp_path / "comparison.html"
    path.write_text(standalone.page(report.read(server.root)), encoding="utf-8")
    asked: list[str] = []
    watched.on("request", lambda r: asked.append(r.url))
    watched.goto(path.as_uri())
    widths = watched.eval_on_selector_all("img", "all => all.map(img => img.naturalWidth)")
    assert len(widths) >= 5
    assert min(widths) > 100
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    kept(watched, "standalone", tmp_path)
