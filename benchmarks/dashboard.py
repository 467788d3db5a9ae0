"""What the dashboard takes of a host, with many pairs in the folder: printed, and written nowhere.

    python -m benchmarks.dashboard                     # 5,000 and 100,000 pairs, some ten minutes
    python -m benchmarks.dashboard counts=5000 idle_s=20

Records are made up (``benchmarks.many``). Seconds are of the data behind a page; the server's
start, processor and memory are of a process of its own that a browser-like client has asked once.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
COUNTS = "5000,100000"
IDLE_S = "20"
MEGABYTE = 1e6
FIRST_S, FILTER_S, IDLE_SHARE, MEMORY_BYTES, OF = 3.0, 0.5, 0.05, 400e6, 5_000
"""The bars: first page, a filter, share of a core while nothing changes, memory; and pairs."""


def timed(what: str, work: Callable[[], Any], bar_s: float | None = None) -> Any:
    """Do some work, print what it took, and return what came out."""
    begin_s = time.perf_counter()
    found = work()
    took_s = time.perf_counter() - begin_s
    holds = "" if bar_s is None else f" ({'holds' if took_s <= bar_s else 'FAILS'}: {bar_s:g} s)"
    print(f"  {what}: {took_s:.3f} s{holds}")
    return found


def data(root: Path, count: int) -> None:
    """Time what is behind pages."""
    from bench.dashboard.data import choosing, kitchen, overview, pictures
    from bench.dashboard.data.choosing import Choice
    from bench.dashboard.data.folder import Folder
    from bench.dashboard.data.watching import Watcher

    watcher = Watcher(Folder.of(root))
    timed("first look, records read", watcher.look)
    again = Watcher(Folder.of(root))
    bar = FIRST_S if count <= OF else None
    timed("first look, from the cache", again.look, bar)
    timed("a look while nothing changes", again.look)
    latest = again.latest
    timed("overview", lambda: (overview.cards(latest), overview.events(latest)), bar)
    timed("overview, while pairs run", lambda: overview.moment(latest))
    bar = FILTER_S if count <= OF else None
    meant = timed("a filter", lambda: choosing.chosen(latest.pairs, Choice(text="prune 07")), bar)
    timed("a page of rows", lambda: choosing.sheet(meant.iloc[:25]), bar)
    timed("another order", lambda: choosing.sorted_by(latest.pairs, "ratio", True), bar)
    family = pictures.families(latest.pairs)[0]
    timed("front of a picture", lambda: pictures.front(pictures.of_family(latest.pairs, family)))
    timed("a portion of the kitchen", lambda: kitchen.dishes(latest, again.folder, 24, 24))


@contextmanager
def serving(root: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Serve a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "bench.dashboard", str(root), "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def answered(url: str) -> bytes:
    """Ask until the server answers."""
    while True:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                content: bytes = answer.read()
                return content
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)


def server(root: Path, count: int, idle_s: float) -> None:
    """Print what a server takes."""
    with serving(root) as (running, url):
        timed("start to the first page", lambda: answered(url))
        time.sleep(5)
        for page in ("", "compare", "kitchen"):
            timed(f"/{page}", lambda page=page: answered(f"{url}/{page}"), FIRST_S)
        process = psutil.Process(running.pid)
        before = process.cpu_times()
        time.sleep(idle_s)
        after = process.cpu_times()
        share = (after.user + after.system - before.user - before.system) / idle_s
        memory = process.memory_info().rss
        holds = share <= IDLE_SHARE and (memory <= MEMORY_BYTES or count > OF)
        print(
            f"  while nothing changes: {share:.2%} of a core, {memory / MEGABYTE:.0f} MB "
            f"({'holds' if holds else 'FAILS'})"
        )


def telling() -> None:
    """Print what it costs a training to tell."""
    from bench import live

    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch, "h", "w", "t", "0-a")
        with live.told(place, "h", "t", "accuracy") as told:
            quiet, busy = live.Teller(told, "baseline", 3600), live.Teller(told, "baseline", 0)
            quiet.tell(0, 1)
            for what, teller, times in (("passed over", quiet, 100_000), ("written", busy, 2_000)):
                begin_s = time.process_time()
                for step in range(times):
                    teller.tell(step, times)
                each_s = (time.process_time() - begin_s) / times
                print(f"  a step that is {what}: {each_s * 1e6:.2f} us of processor time")


def main(words: list[str]) -> None:
    """Print all figures."""
    from benchmarks import many

    options = {"counts": COUNTS, "idle_s": IDLE_S, **dict(w.split("=", 1) for w in words)}
    print("telling")
    telling()
    for count in map(int, options["counts"].split(",")):
        print(f"{count:,} pairs")
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch, "results")
            many.write(root, count)
            time.sleep(3)  # what has just been written is not believed to stay as it is
            data(root, count)
            server(root, count, float(options["idle_s"]))


if __name__ == "__main__":
    main(sys.argv[1:])
