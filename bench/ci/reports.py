"""What pytest shows and writes of the results; registered when the first test asks for them."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from bench import codec
from bench.ci import outputs, storage, words
from bench.ci.results import TITLES, Result

NAME = "joules-reports"

FOUND = pytest.StashKey[dict[str, Any]]()
"""Of an item: what its check found, as plain data that travels from a worker of pytest-xdist."""

_COLOURS = {"fails": "red", "passes": "green", "undecided": "yellow", "invalid": "yellow"}


class Reports:
    """A plugin of pytest that gathers results, from this process or from workers.

    Args:
        config: Of this session.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.documents: dict[str, dict[str, Any]] = {}

    @classmethod
    def register(cls, config: pytest.Config) -> None:
        """Register with pytest, once."""
        if not config.pluginmanager.has_plugin(NAME):
            config.pluginmanager.register(cls(config), NAME)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the report carry what the check found."""
        report = yield
        if call.when == "call" and (found := item.stash.get(FOUND, None)) is not None:
            report.__dict__["joules"] = found
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a report carries; in the process that reports, tell pytest-benchmark."""
        found = getattr(report, "joules", None)
        if found is None or hasattr(self._config, "workerinput"):
            return
        self.documents[report.nodeid] = found["result"]
        result = codec.decode(Result, found["result"])
        storage.hand_over(self._config, result, found["params"], found["param"])

    @property
    def results(self) -> list[Result]:
        """What was found, in the order in which it was."""
        return [codec.decode(Result, document) for document in self.documents.values()]

    def pytest_sessionfinish(self) -> None:
        """Write the files that were asked for."""
        markdown: Path | None = self._config.getoption("joules_markdown")
        action: Path | None = self._config.getoption("joules_action")
        if hasattr(self._config, "workerinput"):
            return
        if markdown is not None:
            markdown.parent.mkdir(parents=True, exist_ok=True)
            markdown.write_text(outputs.markdown(self.results, "Energy checks"), encoding="utf-8")
        if action is not None:
            action.parent.mkdir(parents=True, exist_ok=True)
            action.write_text(outputs.action_json(self.results), encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print one line a check, and below what a reader must know."""
        results = self.results
        if not results:
            return
        terminalreporter.write_sep("=", "joules")
        width = max(len(result.test) for result in results)
        for result in results:
            line = f"{result.test:{width}}  {words.measured(result)}: {words.change(result)}"
            if result.ratio is not None:
                line += f"  ratio {words.interval(result)}"
            line += f"  {result.blocks} blocks in {result.blocks_s:.0f} s  "
            terminalreporter.write(line)
            colour = _COLOURS.get(result.verdict)
            terminalreporter.write_line(words.outcome(result), **{colour: True} if colour else {})
            if result.reason:
                terminalreporter.write_line(f"  {result.reason}")
        for note in sorted({f"{TITLES[r.measure]}: {r.note}" for r in results if r.note}):
            terminalreporter.write_line(f"{note}; {words.NOT_JOULES}")


def properties(result: Result) -> list[tuple[str, object]]:
    """Return what JUnit's report shall say of a test, for ``user_properties``."""
    names = ("measure", "grade", "per_call", "ratio", "low", "high", "blocks", "verdict")
    found = [(f"joules.{name}", getattr(result, name)) for name in names]
    if result.limit is not None:
        found.append(("joules.limit", result.limit))
    if result.reason is not None:
        found.append(("joules.reason", result.reason))
    return [(name, value) for name, value in found if value is not None]
