"""The middle of a job: it pairs the tests of two commits and lets both sides take turns.

The head's pytest is the user's own; the base's follows it, test by test. A test that fails is
measured again in two fresh processes before it is said to: where a program's memory lies differs
from process to process and can cost some percent, which no number of blocks of one process shows.
Source: Mytkowicz et al. (2009) Producing wrong data without doing anything obviously wrong, ASPLOS;
Kalibera and Jones (2013) Rigorous benchmarking in reasonable time, ISMM.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import codec
from bench.ci.conclusion import Subject, concluded
from bench.ci.instructions import InstructionsError
from bench.ci.instruments import Instruments
from bench.ci.link import Exchange
from bench.ci.parties import (
    Call,
    Party,
    PartyError,
    RaisedError,
    RemoteSide,
    refuse_strangers,
)
from bench.ci.results import Result
from bench.ci.rules import STAGE_SHARE, rules_for
from bench.ci.sides import Side
from bench.ci.turns import Rules, seed_of, take_turns
from bench.ci.words import interval
from bench.locks import LockError, host_lock
from bench.measurement.windows import ArmName
from bench.meters import MeterError

_FRESH_SEED = "1"
"""Of hashes in fresh processes, where the first ones had 0: other tables, another layout."""


@dataclass
class Job:
    """What is measured against what.

    Attributes:
        head: How the user's pytest is started.
        base: How the base's is; given what the head said of itself. ``None`` if the base has not
            even the folder.
        against: Name of the base.
        changed: Files that differ between both, relative to the checkout.
        folder: For logs and the line.
    """

    head: Call
    base: Callable[[dict[str, Any]], Call | None]
    against: str
    changed: frozenset[str]
    folder: Path


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
    _common: frozenset[str] = field(default=frozenset(), init=False)
    _broken: int = field(default=0, init=False)
    _instruments: Instruments | None = field(default=None, init=False)
    _calls: list[Call] = field(default_factory=list, init=False)
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
                self._serve(head, exchange)
                exchange.close()  # a second pytest of the same command shall not wait for us
                return head.end()
            except BaseException:  # a job that is cancelled does not let the tests run on
                head.stop()
                raise
            finally:
                self._release_base()
                if self._instruments is not None:
                    self._instruments.close()

    def _join(self, head: Party, exchange: Exchange) -> None:
        """Start the base, and tell it which tests both have, in the head's order."""
        try:
            call = self.job.base(head.hello)
            if call is None:
                return
            self._calls = [self.job.head, call]
            self._base = Party("base", call, exchange, self.job.folder / "base.log")
            collected = self._base.heard("collected")
            there, self._broken = frozenset(collected["tests"]), collected["broken"]
        except PartyError as err:
            self._give_up(str(err))
            there = frozenset()
        told = head.hear()  # nothing, if its pytest ends before it has collected
        tests = told["tests"] if told is not None and told.get("event") == "collected" else []
        self._common = there & frozenset(tests)
        self._say_to_base(self._order(test for test in tests if test in self._common))

    def _order(self, tests: Iterable[str]) -> dict[str, Any]:
        """Return what a silent side is told once it has collected."""
        return {"run": list(tests), "changed": sorted(self.job.changed)}

    def _serve(self, head: Party, exchange: Exchange) -> None:
        """Answer the head until it has run all its tests."""
        while (event := head.hear()) is not None:
            if event.get("event") == "ready":
                test = event["test"]
                if test not in self._answers:  # a plugin that tries again gets the same answer
                    self._answers[test] = {"test": test, **self._answer(head, event, exchange)}
                head.say(self._answers[test])
            elif event.get("event") == "end":
                self.results = [codec.decode(Result, found) for found in event["results"]]
                break
        lacking = [answer["lacks"] for answer in self._answers.values() if "lacks" in answer]
        compared = any(answer["do"] == "done" for answer in self._answers.values())
        if lacking and not compared and self.trouble is None:
            self.trouble = lacking[0]

    def _answer(self, head: Party, event: dict[str, Any], exchange: Exchange) -> dict[str, Any]:
        """Return what the head shall do about a test, and what the base lacked for it, if so."""
        test: str = event["test"]
        try:
            if (lacks := self._lacks(test)) is not None:
                return _alone(lacks)
            if self._base is None or test not in self._common:
                return {"do": "alone", "reason": "new: the base has no such test"}
            refuse_strangers(head, event)
            result = self._measured(head, self._base, event, exchange)
        except RaisedError as err:
            if err.party is not head:
                return _alone(str(err))
            self._say_to_base({"do": "skip", "test": test, "reason": "the head raised"})
            return {"do": "alone", "reason": f"no baseline: {_first_line(err)}"}
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

    def _measured(
        self, head: Party, base: Party, event: dict[str, Any], exchange: Exchange
    ) -> Result:
        """Let both take turns; a failure is measured once more in fresh processes."""
        if self._instruments is None:
            self._instruments = Instruments.open(event["measure"])
        most_s = STAGE_SHARE * event["most_s"]
        rules = rules_for(self._instruments, event["limit"], most_s, event["half_width"])
        subject = Subject(event["test"], "against", event["limit"], self.job.against)
        with host_lock(f"the energy check {event['test']}", windows=True):
            result = _turns(head, base, rules, subject)
            if result.verdict == "fails":
                result = self._again(result, rules, subject, exchange)
        file = Path(head.hello["root"]).resolve() / subject.test.partition("::")[0]
        if file in {self.job.head.tree / name for name in self.job.changed}:
            note = "the test's own file differs, too: the ratio is that of test and code together"
            result = dataclasses.replace(result, reason=_joined(result.reason, note))
        return result

    def _again(self, first: Result, rules: Rules, subject: Subject, exchange: Exchange) -> Result:
        """Return what two fresh processes say, which nobody chose for being high."""
        try:
            with (
                self._fresh("head", subject.test, exchange) as head,
                self._fresh("base", subject.test, exchange) as base,
            ):
                second = _turns(head, base, rules, subject)
        except PartyError as err:
            told = f"not confirmed in fresh processes: {_first_line(err)}"
            return dataclasses.replace(first, reason=told)
        spent_s = first.spent_s + second.spent_s
        told = f"the first processes gave {interval(first)}"
        if second.verdict == "fails":
            told = f"confirmed in fresh processes; {told}"
        else:
            told = f"{told}, fresh ones {interval(second)}: that is no finding"
        reason = _joined(second.reason, told)
        return dataclasses.replace(second, spent_s=spent_s, reason=reason)

    @contextmanager
    def _fresh(self, side: str, test: str, exchange: Exchange) -> Iterator[Party]:
        """Give a new process of one side that stands ready to measure one test."""
        call = self._calls[0 if side == "head" else 1]
        seeded = {**call.environment, "PYTHONHASHSEED": _FRESH_SEED}
        log = self.job.folder / f"fresh-{side}.log"
        party = Party(f"fresh {side}", dataclasses.replace(call, environment=seeded), exchange, log)
        try:
            party.heard("collected")
            party.say(self._order([test]))
            refuse_strangers(party, party.heard("ready"))
            yield party
            party.say({"do": "skip", "test": test, "reason": "measured"})
        finally:
            party.end()

    def _give_up(self, trouble: str) -> None:
        """Measure the rest of the head alone."""
        self.trouble = trouble
        self._release_base()

    def _release_base(self) -> None:
        if self._base is not None:
            self._base.end()
            self._base = None


def _turns(head: Party, base: Party, rules: Rules, subject: Subject) -> Result:
    measure = rules.measure.name
    sides: dict[ArmName, Side] = {
        "baseline": RemoteSide(base, subject.test, measure),
        "variant": RemoteSide(head, subject.test, measure),
    }
    return concluded(subject, take_turns(sides, rules, seed_of(subject.test)), rules)


def _alone(lacks: str) -> dict[str, Any]:
    """Return the answer about a test that the base should have been measured at, and was not."""
    return {"do": "alone", "reason": f"no baseline: {_first_line(lacks)}", "lacks": lacks}


def _first_line(problem: object) -> str:
    """Return a message without what was printed before it: that stands in the job's own output."""
    return str(problem).partition("\n")[0]


def _joined(*reasons: str | None) -> str:
    return "; ".join(reason for reason in reasons if reason)
