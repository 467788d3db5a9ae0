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
}
"""Options of pytest that mean something else, or nothing, on a silent side."""

_OURS = ("bench", "conftest", "__main__", "__mp_main__")
"""Modules that may come from anywhere: ourselves, and what is named after no project."""


class Worker:
    """A plugin of pytest, registered on the sides of a job only.

    Args:
        line: To the referee.
        side: ``head``, ``base``, ``fresh head`` or ``fresh base``.
        tree: The commit's own folder.
        other: The head's folder, if that is another.
    """

    def __init__(self, line: Line, side: str, tree: Path, other: Path | None) -> None:
        self._line = line
        self.silent = side != HEAD
        self._side = side
        self._tree, self._other = tree, other
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
        tree, other = Path(os.environ.pop(TREE)), os.environ.pop(OTHER, "")
        worker = cls(Line.to(path), side, tree, Path(other) if other else None)
        if worker.silent:
            for name, value in _SILENCED.items():
                setattr(config.option, name, value)
        worker._line.send(
            {"event": "hello", "version": VERSION, "side": side, "path": list(sys.path)}
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
        wanted = self._heard()["run"]
        chosen = [there[test] for test in wanted if test in there]
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
        """
        if strangers := self._strangers():
            self._line.send({"event": "foreign", "test": test, "modules": strangers})
        else:
            wants = {"measure": settings.measure, "limit": settings.limit}
            self._line.send({"event": "ready", "test": test, "most_s": settings.most_s, **wants})
        side: LocalSide | None = None
        while True:
            order = self._heard()
            match order["do"]:
                case "warm_up":
                    side = LocalSide(function, self._done(self._opened, order["measure"]))
                    self._line.send({"seconds_per_call": self._done(_warm_up, side, order)})
                case "window" if side is not None:
                    self._line.send({"taken": self._done(_window, side, order)})
                case "done":
                    return codec.decode(Result, order["result"])
                case "alone":
                    return str(order["reason"])
                case "skip":
                    pytest.skip(f"bench.ci: {order['reason']}")
                case what:
                    raise LinkError(f"the referee says {what!r}, which means nothing here")

    def _opened(self, measure: str) -> Instruments:
        if self._instruments is None:
            self._instruments = Instruments.open(measure)
        return self._instruments

    def _done(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Return what the work returns; if it raises, so do we, once the referee knows."""
        try:
            return work(*arguments)
        except BaseException as err:
            self._line.send({"raised": f"{type(err).__name__}: {err}"})
            raise

    def _heard(self) -> dict[str, Any]:
        document = self._line.receive()
        if document is None:
            raise LinkError("python -m bench.ci has gone, and with it the other side")
        return document

    def _strangers(self) -> list[str]:
        """Return modules of the project that this side took from the head's tree.

        An editable install leads every process to the head's code, whatever folder it runs in: it
        would be measured against itself.
        """
        if self._other is None:
            return []
        return sorted(
            f"{name} ({module.__file__})"
            for name, module in list(sys.modules.items())
            if name.partition(".")[0] not in _OURS and self._strange(module)
        )

    def _strange(self, module: Any) -> bool:
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or self._other is None:
            return False
        path = Path(file).resolve()
        environments = (Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve())
        return (
            path.is_relative_to(self._other)
            and not path.is_relative_to(self._tree)
            and "site-packages" not in path.parts
            and not any(path.is_relative_to(environment) for environment in environments)
        )


def _asks_for_joules(item: pytest.Item) -> bool:
    return "joules" in getattr(item, "fixturenames", ())


def _warm_up(side: LocalSide, order: dict[str, Any]) -> float:
    protocol = Protocol(**order["protocol"])
    return side.warm_up(protocol, float(order["window_s"]), float(order["warmup_s"]))


def _window(side: LocalSide, order: dict[str, Any]) -> dict[str, Any]:
    return dataclasses.asdict(side.window(order["calls"], order["lead_in"], order["core"]))
