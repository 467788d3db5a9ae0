"""The middle of a job: it brings both commits to one test after the other, and answers the head.

The head's pytest is the user's own; the base's follows it, test by test.
"""

from __future__ import annotations

import dataclasses
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

from bench import codec
from bench.ci.contest import Contest, Job
from bench.ci.instructions import InstructionsError
from bench.ci.link import Exchange
from bench.ci.parties import Party, PartyError, RaisedError, refuse_strangers
from bench.ci.results import Result
from bench.ci.words import first_line
from bench.locks import LockError
from bench.meters import MeterError

_UNANNOUNCED = "joules was fetched with getfixturevalue: name it in the test's signature"
"""Which tests ask for it, a side must know before it runs them."""


@dataclass
class Referee:
    """Runs one job.

    Attributes:
        job: What is measured against what.
        results: What the head reported, in the end.
        trouble: Why the base could not be measured, or not to the end; ``None`` if it could, or
            has nothing to be measured.
    """

    job: Job
    results: list[Result] = field(default_factory=list)
    trouble: str | None = None
    _base: Party | None = field(default=None, init=False)
    _asking: frozenset[str] = field(default=frozenset(), init=False)
    _common: frozenset[str] = field(default=frozenset(), init=False)
    _broken: int = field(default=0, init=False)
    _contest: Contest | None = field(default=None, init=False)
    _answers: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)

    def run(self) -> int:
        """Run both sides to the end, and return the exit status of the head's pytest.

        Raises:
            PartyError: The head's pytest cannot be started, or never called.
        """
        with closing(Exchange(self.job.folder)) as exchange:
            head = Party("head", self.job.head, exchange, None)
            try:
                self._join(head, exchange)
                self._serve(head)
                exchange.close()  # a second pytest of the same command shall not wait for us
                return head.end()
            except KeyboardInterrupt:  # the terminal has interrupted its pytest as well
                head.leave()
                raise
            except BaseException:  # a job that is cancelled does not let the tests run on
                head.stop()
                raise
            finally:
                self._release_base()
                if self._contest is not None:
                    self._contest.close()

    def _join(self, head: Party, exchange: Exchange) -> None:
        """Start the base, and tell it which tests both have, in the head's order."""
        try:
            calls = self.job.silent(head.hello)
            if calls is None:
                return
            self._contest = Contest(self.job, calls, exchange)
            self._base = Party("base", calls["base"], exchange, self.job.folder / "base.log")
            collected = self._base.heard("collected")
            there, self._broken = frozenset(collected["tests"]), collected["broken"]
        except PartyError as err:
            self._give_up(str(err))
            there = frozenset()
        told = head.hear()  # nothing, if its pytest ends before it has collected
        tests = told["tests"] if told is not None and told.get("event") == "collected" else []
        self._asking = frozenset(tests)
        self._common = there & self._asking
        self._say_to_base(self.job.order(test for test in tests if test in self._common))

    def _serve(self, head: Party) -> None:
        """Answer the head until it has run all its tests."""
        while (event := head.hear()) is not None:
            if event.get("event") == "ready":
                test = event["test"]
                if test not in self._answers:  # a plugin that tries again gets the same answer
                    self._answers[test] = {"test": test, **self._answer(head, event)}
                head.say(self._answers[test])
            elif event.get("event") == "end":
                self.results = [codec.decode(Result, found) for found in event["results"]]
                break
        lacking = [answer["lacks"] for answer in self._answers.values() if "lacks" in answer]
        compared = any(answer["do"] == "done" for answer in self._answers.values())
        if lacking and not compared and self.trouble is None:
            self.trouble = lacking[0]
        if self._contest is not None and self.trouble is None:
            self.trouble = self._contest.trouble

    def _answer(self, head: Party, event: dict[str, Any]) -> dict[str, Any]:
        """Return what the head shall do about a test, and what the base lacked for it, if so."""
        test: str = event["test"]
        try:
            if (lacks := self._lacks(test)) is not None:
                return _alone(lacks)
            if self._base is None or self._contest is None or test not in self._common:
                return {"do": "alone", "reason": "new: the base has no such test"}
            refuse_strangers(head, event)
            result = self._contest.measured(head, self._base, event)
        except RaisedError as err:
            if err.party is not head:
                return _alone(str(err))
            self._say_to_base({"do": "skip", "test": test, "reason": "the head raised"})
            return {"do": "alone", "reason": f"no baseline: {first_line(err)}"}
        except (PartyError, MeterError, InstructionsError, LockError) as err:
            self._give_up(str(err))
            return _alone(str(err))
        answer = {"do": "done", "result": dataclasses.asdict(result)}
        self._say_to_base({**answer, "test": test})
        return answer

    def _say_to_base(self, document: dict[str, Any]) -> None:
        if self._base is not None:
            with suppress(PartyError):  # the next test will tell that it has gone
                self._base.say(document)

    def _lacks(self, test: str) -> str | None:
        """Bring the base to where it can measure a test; return why it cannot if it should.

        Raises:
            PartyError: It has gone, or its code is the head's.
        """
        if self.trouble is not None:
            return self.trouble
        if self._base is not None and test not in self._asking:
            return _UNANNOUNCED
        if self._base is None or test not in self._common:
            files = f"{self._broken} file{'s' * (self._broken > 1)}"
            return f"on the base {files} could not be collected" if self._broken else None
        while (event := self._base.hear()) is not None:
            if event.get("event") == "ready":
                refuse_strangers(self._base, event)
                if event["test"] == test:
                    return None
                skip = {"do": "skip", "reason": "the head did not get so far"}
                self._base.say({**skip, "test": event["test"]})
            elif event.get("event") == "finished" and event["test"] == test:
                return "on the base the test ends before it measures"
        raise PartyError(f"the base's pytest ended early{self._base.tail()}")

    def _give_up(self, trouble: str) -> None:
        """Measure the rest of the head alone."""
        self.trouble = trouble
        self._release_base()

    def _release_base(self) -> None:
        if self._base is not None:
            self._base.end()
            self._base = None


def _alone(lacks: str) -> dict[str, Any]:
    """Return the answer about a test that the base should have been measured at, and was not."""
    return {"do": "alone", "reason": f"no baseline: {first_line(lacks)}", "lacks": lacks}
