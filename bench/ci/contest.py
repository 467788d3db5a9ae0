"""One test of two commits: measured in turns, and anew in fresh processes before it fails.

Where a program's memory lies differs from process to process and can cost some percent, which no
number of blocks of one process shows. So the first processes only say whether there is something to
be found: what lies above the limit, surely or not, is measured anew, and that alone is the finding.
No check fails more often than its second measurement does by chance. Source: Mytkowicz et al.
(2009) Producing wrong data without doing anything obviously wrong, ASPLOS; Kalibera and Jones
(2013) Rigorous benchmarking in reasonable time, ISMM.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.ci.conclusion import Subject, concluded
from bench.ci.instruments import Instruments
from bench.ci.link import Exchange
from bench.ci.parties import Call, Party, PartyError, RemoteSide, refuse_strangers
from bench.ci.results import Result
from bench.ci.rules import FIRST_SHARE, FRESH_SHARE, rules_for
from bench.ci.sides import Side
from bench.ci.turns import Rules, seed_of, take_turns
from bench.ci.words import first_line, interval
from bench.locks import host_lock
from bench.measurement.windows import ArmName

_FRESH_SEED = "1"
"""Of hashes in fresh processes, where the first ones had 0: other tables, another layout."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is measured against what.

    Attributes:
        head: How the user's pytest is started.
        silent: How the silent sides' are, of ``head`` and ``base``; given what the head said of
            itself. ``None`` if the base has not even the folder.
        against: Name of the base.
        changed: Files that differ between both, relative to the checkout.
        folder: For logs and the line.
    """

    head: Call
    silent: Callable[[dict[str, Any]], Mapping[str, Call] | None]
    against: str
    changed: frozenset[str]
    folder: Path

    def order(self, tests: Iterable[str]) -> dict[str, Any]:
        """Return what a silent side is told once it has collected."""
        return {"run": list(tests), "changed": sorted(self.changed)}


@dataclass
class Contest:
    """Measures the tests of a job, one after the other.

    Attributes:
        job: Whose.
        calls: How silent sides are started, of ``head`` and ``base``.
        exchange: Where fresh ones call.
        trouble: Why something was not measured anew that should have been; ``None`` if all was.
    """

    job: Job
    calls: Mapping[str, Call]
    exchange: Exchange
    trouble: str | None = field(default=None, init=False)
    _instruments: Instruments | None = field(default=None, init=False)

    def measured(self, head: Party, base: Party, event: Mapping[str, Any]) -> Result:
        """Let both take turns; what lies above the limit is measured anew in fresh processes.

        Args:
            head: Stands ready to measure the test.
            base: Likewise.
            event: What the head has said of it.

        Raises:
            PartyError: A side is no longer there, or not at this test.
            RaisedError: What is measured has raised.
            MeterError: The measure that is wanted cannot be read.
            InstructionsError: Likewise, of instructions.
            LockError: The host's lock cannot be taken.
        """
        if self._instruments is None:
            self._instruments = Instruments.open(event["measure"])
        limit = event["limit"]
        subject = Subject(event["test"], "against", limit, self.job.against)
        first, anew = (
            rules_for(self._instruments, limit, share * event["most_s"], event["half_width"])
            for share in (FIRST_SHARE, FRESH_SHARE)
        )
        with host_lock(f"the energy check {event['test']}", windows=True):
            result = _turns(head, base, first, subject)
            if result.verdict in ("fails", "undecided") and (result.ratio or 0.0) > limit:
                result = self._anew(result, anew, subject)
        file = Path(head.hello["root"]).resolve() / subject.test.partition("::")[0]
        if file in {self.job.head.tree / name for name in self.job.changed}:
            note = "the test's own file differs, too: the ratio is that of test and code together"
            result = dataclasses.replace(result, reason=_joined(result.reason, note))
        return result

    def _anew(self, first: Result, rules: Rules, subject: Subject) -> Result:
        """Return what two fresh processes say, which nobody chose for being high.

        Without them there is no verdict: what the first two found was looked at for being high.
        """
        try:
            with (
                self._fresh("head", subject.test) as head,
                self._fresh("base", subject.test) as base,
            ):
                found = _turns(head, base, rules, subject)
        except PartyError as err:
            self.trouble = f"not measured anew in fresh processes: {err}"
            reason = _joined(first.reason, first_line(self.trouble))
            return dataclasses.replace(first, verdict="undecided", reason=reason)
        told = f"measured anew in fresh processes; the first gave {interval(first)}"
        return dataclasses.replace(
            found,
            spent_s=first.spent_s + found.spent_s,
            first_s=first.spent_s,
            reason=_joined(found.reason, told),
        )

    @contextmanager
    def _fresh(self, side: str, test: str) -> Iterator[Party]:
        """Give a new process of one side that stands ready to measure one test."""
        call = self.calls[side]
        seeded = {**call.environment, "PYTHONHASHSEED": _FRESH_SEED}
        call = dataclasses.replace(call, environment=seeded)
        log = self.job.folder / f"fresh-{side}.log"
        party = Party(f"fresh {side}", call, self.exchange, log)
        try:
            party.heard("collected")
            party.say(self.job.order([test]))
            refuse_strangers(party, party.heard("ready"))
            yield party
            party.say({"do": "skip", "test": test, "reason": "measured"})
        finally:
            party.end()

    def close(self) -> None:
        """Close meters."""
        if self._instruments is not None:
            self._instruments.close()


def _turns(head: Party, base: Party, rules: Rules, subject: Subject) -> Result:
    measure = rules.measure.name
    sides: dict[ArmName, Side] = {
        "baseline": RemoteSide(base, subject.test, measure),
        "variant": RemoteSide(head, subject.test, measure),
    }
    return concluded(subject, take_turns(sides, rules, seed_of(subject.test)), rules)


def _joined(*reasons: str | None) -> str:
    return "; ".join(reason for reason in reasons if reason)
