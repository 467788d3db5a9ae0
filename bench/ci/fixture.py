"""The fixture ``joules``: what a test calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import pytest

from bench.ci import reports, words
from bench.ci.instructions import InstructionsError
from bench.ci.instruments import MACHINE_WIDE, Instruments
from bench.ci.link import LinkError
from bench.ci.results import Kind, Result
from bench.ci.settings import Settings
from bench.ci.sides import LocalSide, Side, UndoneError, refuse_undone
from bench.ci.worker import NAME as WORKER
from bench.ci.worker import Worker
from bench.locks import LockError, described, held_by, host_lock
from bench.meters import MeterError

if TYPE_CHECKING:
    from bench.measurement.windows import ArmName

_INSTRUMENTS = pytest.StashKey[Instruments]()

_PARALLEL = (
    "{measure} are the whole machine's, and with pytest-xdist other tests run beside: run the "
    "energy checks with -n 0, or compare what is this process's own, --joules-measure=cpu_s"
)


class Joules:
    """Measures functions for one test.

    Args:
        config: Of the session.
        node: The test.
    """

    def __init__(self, config: pytest.Config, node: pytest.Item) -> None:
        self._config, self._node = config, node
        self._worker: Worker | None = config.pluginmanager.get_plugin(WORKER)
        self._settings = Settings.of(config)
        self._used = False

    def pair(self, baseline: Callable[[], object], candidate: Callable[[], object]) -> Result:
        """Let two functions take turns in this process, and return candidate over baseline.

        Args:
            baseline: Called without arguments, over and over.
            candidate: Likewise. Both should do nothing but the work: prepare inputs before.

        Raises:
            pytest.fail.Exception: --joules-fail is given and the whole interval is above; or a
                function returns what is still to be awaited or run over.
        """
        self._begin(baseline, candidate)
        if self._worker is not None and self._worker.silent:
            pytest.skip("bench.ci: a pair is measured on the head alone")
        return self._kept(self._turns("pair", {"baseline": baseline, "variant": candidate}))

    def measure(self, function: Callable[[], object]) -> Result:
        """Measure one function, against the base commit or stored runs if there are any.

        Args:
            function: Called without arguments, over and over.

        Raises:
            pytest.fail.Exception: As for ``pair``.
        """
        self._begin(function)
        reason = None
        if self._worker is not None:
            with _told(LinkError, MeterError, InstructionsError, UndoneError):
                found = self._worker.measured(self._node.nodeid, function, self._settings)
            if isinstance(found, Result):
                return found if self._worker.silent else self._kept(found)
            reason = found
        result = self._turns("alone", {"variant": function})
        if reason is not None:
            return self._kept(dataclasses.replace(result, reason=result.reason or reason))
        return self._kept(self._beside_stored(result))

    def _beside_stored(self, result: Result) -> Result:
        if self._settings.baseline is None:
            return result
        from bench.ci import stored

        with _told(stored.StoredError):
            return stored.beside(result, self._settings.baseline)

    def _begin(self, *functions: Callable[[], object]) -> None:
        if self._used:
            pytest.fail(
                "joules measures once a test: write another test, or parametrise this one",
                pytrace=False,
            )
        self._used = True
        if self._settings.disabled:
            for function in functions:
                with _told(UndoneError):
                    refuse_undone(function, function())
            pytest.skip("called once, not measured (--joules-disable)")

    def _turns(self, kind: Kind, functions: dict[ArmName, Callable[[], object]]) -> Result:
        # A side of bench.ci only works, and gets by without numpy and scipy.
        from bench.ci.conclusion import Subject, concluded
        from bench.ci.rules import rules_for
        from bench.ci.turns import seed_of, take_turns

        instruments, settings = self._instruments(), self._settings
        rules = rules_for(instruments, settings.limit, settings.most_s, settings.half_width)
        sides: dict[ArmName, Side] = {
            arm: LocalSide(function, instruments) for arm, function in functions.items()
        }
        subject = Subject(self._node.nodeid, kind, settings.limit)
        what = f"the energy check {self._node.nodeid}"
        self._say_who_measures()
        with _told(LockError, UndoneError), host_lock(what, windows=True):
            turns = take_turns(sides, rules, seed_of(self._node.nodeid))
        return concluded(subject, turns, rules)

    def _say_who_measures(self) -> None:
        """Name another measurement on this host: silence, while we wait, would look like a hang."""
        if (holder := held_by()) is None:
            return
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        with nullcontext() if capture is None else capture.global_and_fixture_disabled():
            print(f"\nwaiting for {described(holder)}", flush=True)

    def _instruments(self) -> Instruments:
        """Open them for the session, at the first check."""
        found = self._config.stash.get(_INSTRUMENTS, None)
        if found is None:
            with _told(MeterError, InstructionsError):
                found = Instruments.open(self._settings.measure)
            self._config.stash[_INSTRUMENTS] = found
            self._config.add_cleanup(found.close)
        if self._settings.parallel and found.measure.name in MACHINE_WIDE:
            pytest.fail(_PARALLEL.format(measure=found.measure.name), pytrace=False)
        return found

    def _kept(self, result: Result) -> Result:
        """Hand a result to the reports; fail the test if that is what it says."""
        callspec = getattr(self._node, "callspec", None)
        params = {} if callspec is None else {k: str(v) for k, v in callspec.params.items()}
        self._node.stash[reports.FOUND] = {
            "result": dataclasses.asdict(result),
            "params": params,
            "param": None if callspec is None else callspec.id,
        }
        self._node.user_properties += reports.properties(result)
        if result.verdict == "fails":
            pytest.fail(words.failure(result), pytrace=False)
        return result


@contextmanager
def _told(*problems: type[Exception]) -> Iterator[None]:
    """Let what a message explains fail the test with the message alone."""
    try:
        yield
    except problems as err:
        raise pytest.fail.Exception(str(err), pytrace=False) from None
