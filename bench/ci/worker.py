"""One side of ``python -m bench.ci``: a pytest that measures when it is told to.

The head runs as its user called it; what it finds is decided by the referee and reported here. All
other sides are silent: they run the tests they are told, up to the measurement, and their outcome
is nobody's concern.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bench import codec
from bench.ci import origins
from bench.ci.instruments import Instruments
from bench.ci.link import LINK, OTHER, SIDE, TREE, VERSION, Line, LinkError
from bench.ci.reports import NAME as REPORTS
from bench.ci.results import Result
from bench.ci.settings import Settings
from bench.ci.sides import LocalSide
from bench.measurement.protocol import Protocol

NAME = "joules-worker"

HEAD = "head"
"""The one side that is not silent."""

_SILENCED: Mapping[str, Any] = {
    # The head writes them.
    **{"xmlpath": None, "joules_markdown": None, "joules_action": None},
    # One broken file, or test, must not keep the others from being measured.
    **{"continue_on_collection_errors": True, "maxfail": 0},
    # Which tests run is for the referee to say, not for a cache.
    **{"lf": False, "failedfirst": False, "newfirst": False, "stepwise": False},
    # The head's own: pytest empties it before it uses it.
    "basetemp": None,
    # pytest-timeout: a silent side waits for the head in each test. pytest-reportlog: one file.
    **{"timeout": 0, "report_log": None},
}
"""Options of pytest that mean something else, or nothing, on a silent side."""


class Worker:
    """A plugin of pytest, registered on the sides of a job only.

    Args:
        line: To the referee.
        side: ``head``, ``base``, ``fresh head`` or ``fresh base``.
        tree: The commit's own folder.
        other: The folder of the commit that it is measured against.
    """

    def __init__(self, line: Line, side: str, tree: Path, other: Path) -> None:
        self._line = line
        self.silent = side != HEAD
        self._tree, self._other = tree, other
        self._changed: frozenset[str] = frozenset()
        self._instruments: Instruments | None = None

    @classmethod
    def join(cls, config: pytest.Config) -> None:
        """Call the referee, and register with pytest."""
        if getattr(config.option, "numprocesses", None):
            raise pytest.UsageError(
                "python -m bench.ci measures both sides in turns, one test at a time: leave out "
                "-n, or add -n 0 where it stands in addopts"
            )
        path, side = os.environ.pop(LINK), os.environ.pop(SIDE)
        tree, other = Path(os.environ.pop(TREE)), Path(os.environ.pop(OTHER))
        try:
            worker = cls(Line.to(path), side, tree, other)
        except LinkError as err:
            raise pytest.UsageError(
                f"python -m bench.ci runs pytest once, and has gone or serves another: {err}"
            ) from err
        if worker.silent:
            for name, value in _SILENCED.items():
                setattr(config.option, name, value)
            config.args = _there(config)
        worker._line.send(
            {
                **{"event": "hello", "version": VERSION, "side": side, "path": list(sys.path)},
                **{"root": str(config.rootpath), "covers": config.pluginmanager.hasplugin("_cov")},
            }
        )
        config.pluginmanager.register(worker, NAME)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep what the referee wants of a silent side, in its order."""
        if not self.silent:
            return
        there = {item.nodeid: item for item in items if _asks_for_joules(item)}
        broken = session.testsfailed  # so far only files that cannot be collected
        self._line.send({"event": "collected", "tests": list(there), "broken": broken})
        order = self._heard()
        self._changed = frozenset(order["changed"])
        chosen = [there[test] for test in order["run"] if test in there]
        kept = set(map(id, chosen))
        config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
        items[:] = chosen

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Tell the referee what the head has, in the order in which it will run."""
        if not self.silent:
            tests = [item.nodeid for item in session.items if _asks_for_joules(item)]
            self._line.send({"event": "collected", "tests": tests})

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Tell the referee that a silent side is done with a test, measured or not."""
        if self.silent:
            self._line.send({"event": "finished", "test": nodeid})

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand over what the head found."""
        if not self.silent:
            reports = session.config.pluginmanager.get_plugin(REPORTS)
            documents = list(reports.documents.values()) if reports is not None else []
            with suppress(LinkError):  # it has gone, and every check has said so
                self._line.send({"event": "end", "results": documents})
        if self._instruments is not None:
            self._instruments.close()
        self._line.close()

    def measured(
        self, test: str, function: Callable[[], object], settings: Settings
    ) -> Result | str:
        """Take turns as the referee says, and return the result, or why there is none.

        Args:
            test: Node id.
            function: What is measured on this side.
            settings: Of this side's command line.

        Raises:
            LinkError: The referee has gone.
            pytest.skip.Exception: The referee wants no more of this test.
        """
        try:
            last = self._served(test, function, settings)
        except LinkError:
            raise
        except BaseException as err:  # of the function, or of a plugin that waits no longer
            with suppress(LinkError):
                self._line.send({"test": test, "raised": f"{type(err).__name__}: {err}"})
            raise
        match last["do"]:
            case "done":
                return codec.decode(Result, last["result"])
            case "alone":
                return str(last["reason"])
            case "skip":
                pytest.skip(f"bench.ci: {last['reason']}")
            case what:
                raise LinkError(f"the referee says {what!r}, which means nothing here")

    def _served(
        self, test: str, function: Callable[[], object], settings: Settings
    ) -> dict[str, Any]:
        """Measure as long as the referee asks for it; return its last word."""
        wants = {"measure": settings.measure, "limit": settings.limit}
        wants |= {"most_s": settings.most_s, "half_width": settings.half_width}
        self._line.send({"event": "ready", "test": test, **wants, **self._strangers()})
        side: LocalSide | None = None
        while (order := self._heard(test))["do"] in ("warm_up", "window"):
            if side is None or order["do"] == "warm_up":
                side = LocalSide(function, self._opened(order["measure"]))
                answer = {"seconds_per_call": _warm_up(side, order), **self._strangers()}
            else:
                answer = {"taken": _window(side, order)}
            self._line.send({"test": test, **answer})
        return order

    def _opened(self, measure: str) -> Instruments:
        if self._instruments is None:
            self._instruments = Instruments.open(measure)
        return self._instruments

    def _heard(self, test: str | None = None) -> dict[str, Any]:
        """Return what the referee says next; of a test, what it says of no other."""
        while (document := self._line.receive()) is not None:
            if document.get("test") == test:  # else of one that ended before its time
                return document
        raise LinkError("python -m bench.ci has gone, and with it the other side")

    def _strangers(self) -> dict[str, list[str]]:
        return {"strangers": origins.strangers(self._tree, self._other, self._changed)}


def _asks_for_joules(item: pytest.Item) -> bool:
    return "joules" in getattr(item, "fixturenames", ())


def _there(config: pytest.Config) -> list[str]:
    """Return those of the user's files and folders that this commit has.

    Of ``file::test`` the file is enough: the referee says which tests run.
    """
    if config.args_source is not pytest.Config.ArgsSource.ARGS or config.option.pyargs:
        return list(config.args)
    folder = config.invocation_params.dir
    names = dict.fromkeys(word.partition("::")[0] for word in config.args)
    return [name for name in names if (folder / name).exists()]


def _warm_up(side: LocalSide, order: dict[str, Any]) -> float:
    protocol = Protocol(**order["protocol"])
    return side.warm_up(protocol, float(order["window_s"]), float(order["warmup_s"]))


def _window(side: LocalSide, order: dict[str, Any]) -> dict[str, Any]:
    return dataclasses.asdict(side.window(order["calls"], order["lead_in"], order["core"]))
