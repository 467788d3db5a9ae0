"""A bar for people, plain lines for logs, nothing under CI or with ``-q``.

No thread of ours redraws anything: the bar moves only when it is told, between windows.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

QUIET = "JOULEBENCH_QUIET"
"""Environment variable that silences progress in this process and its children."""

log = logging.getLogger(__name__)


def quiet() -> bool:
    """Return whether nothing but errors is to be said: asked for with ``-q``."""
    return bool(os.environ.get(QUIET))


def _unwatched() -> bool:
    """Return whether nobody looks at progress: quiet, or a CI machine, whose log keeps the rest."""
    return quiet() or bool(os.environ.get("CI"))


class Bar:
    """Progress of one long piece of work.

    Args:
        title: What is being done.
        lines_every_s: Without a terminal, the least time between two lines, in seconds.
    """

    def __init__(self, title: str, lines_every_s: float = 30.0) -> None:
        self._title = title
        self._lines_every_s = lines_every_s
        self._last = time.monotonic()
        self._terminal = sys.stderr.isatty() and not _unwatched()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
            disable=not self._terminal,
        )
        self._task = self._bar.add_task(title, total=None, note="")

    def __enter__(self) -> Bar:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self._bar.stop()

    def tell(self, done: float, total: float, note: str) -> None:
        """Move the bar, at most once a second (a line without a terminal comes more seldom)."""
        elapsed = time.monotonic() - self._last
        if elapsed < (1.0 if self._terminal else self._lines_every_s):
            return
        self._last = time.monotonic()
        if self._terminal:
            self._bar.update(self._task, completed=done, total=total, note=note, refresh=True)
        else:
            line = f"{self._title}: {done:g} of {total:g}, {note}"
            log.info(line)
            if not _unwatched():
                print(line, file=sys.stderr, flush=True)
