"""The pytest processes of a job, seen from the middle."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import codec
from bench.ci.instruments import Taken
from bench.ci.link import LINK, OTHER, SIDE, TREE, VERSION, Exchange, Line, LinkError
from bench.machine import Circumstances
from bench.machine.load import descendants
from bench.measurement.protocol import Protocol
from bench.readings import Reading

_PATIENCE_S = 10.0
_LAST_WORDS_S = 2.0
_TAIL_CHARACTERS = 3000


class PartyError(RuntimeError):
    """A side cannot go on; the message says which and why."""


class RaisedError(PartyError):
    """What was measured has raised; its pytest goes on with the next test."""

    def __init__(self, party: Party, problem: str) -> None:
        super().__init__(f"the {party.side} raised {problem}")
        self.party = party


@dataclass(frozen=True, slots=True)
class Call:
    """How a side's pytest is started.

    Attributes:
        command: With its arguments.
        folder: In which it runs.
        tree: Root of its checkout.
        other: Root of the one that it is measured against.
        environment: Beside the variables that tell it whom to call.
    """

    command: Sequence[str]
    folder: Path
    tree: Path
    other: Path
    environment: Mapping[str, str]


class Party:
    """One pytest process and the line to it.

    Args:
        side: ``head``, ``base``, ``fresh head`` or ``fresh base``.
        call: How it is started.
        log: Where a silent side's output goes; ``None`` for the head, which speaks to the user.
    """

    def __init__(self, side: str, call: Call, exchange: Exchange, log: Path | None) -> None:
        self.side, self._log = side, log
        self._line: Line | None = None
        who = {LINK: exchange.path, SIDE: side, TREE: str(call.tree), OTHER: str(call.other)}
        environment = {**call.environment, **who}
        environment.setdefault("PYTHONHASHSEED", "0")  # both sides lay their tables out alike
        output = None if log is None else log.open("wb")
        try:
            self.process = subprocess.Popen(
                list(call.command),
                cwd=call.folder,
                env=environment,
                stdin=None if log is None else subprocess.DEVNULL,
                stdout=output,
                stderr=None if log is None else subprocess.STDOUT,
                start_new_session=log is not None,  # so that all it started ends with it
            )
        except OSError as err:
            raise PartyError(f"{call.command[0]} cannot be started: {err.strerror}") from err
        finally:
            if output is not None:
                output.close()
        try:
            self._line = exchange.accept(lambda: self.process.poll() is None)
            self.hello = self._greeted()
        except BaseException:  # a cancelled job leaves nothing behind
            self.stop()
            raise

    def _greeted(self) -> dict[str, Any]:
        if self._line is None:
            raise PartyError(
                f"the {self.side} ended before it called. Unless its output says why: is it "
                "pytest, is our plugin there (-p joulebench_pytest where none loads by itself), "
                f"and are the environment variables JOULEBENCH_CI_* passed on?{self.tail()}"
            )
        hello = self.heard("hello")
        if hello.get("version") != VERSION or hello.get("side") != self.side:
            raise PartyError(
                f"the {self.side} speaks version {hello.get('version')} of the line, this is "
                f"{VERSION}: its own joulebench was loaded; the next commit can be compared"
            )
        return hello

    def say(self, document: Mapping[str, Any]) -> None:
        """Send one document."""
        try:
            if self._line is not None:
                self._line.send(document)
        except LinkError as err:
            raise PartyError(f"the {self.side} has gone: {err}{self.tail()}") from err

    def hear(self) -> dict[str, Any] | None:
        """Wait for what the side says next; ``None`` if it has gone."""
        return None if self._line is None else self._line.receive()

    def heard(self, event: str) -> dict[str, Any]:
        """Wait for one event.

        Raises:
            PartyError: The side has gone, or says something else.
        """
        document = self.hear()
        if document is None or document.get("event") != event:
            said = "has gone" if document is None else f"said {document.get('event')!r}"
            raise PartyError(f"the {self.side} {said} when {event!r} was due{self.tail()}")
        return document

    def tail(self) -> str:
        """Return the end of what a silent side printed, on lines of their own."""
        if self._log is None:
            return ""
        with suppress(subprocess.TimeoutExpired):  # it hangs up first, and then says why
            self.process.wait(_LAST_WORDS_S)
        try:
            text = self._log.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""
        return f"\n--- {self.side} ---\n{text[-_TAIL_CHARACTERS:]}" if text else ""

    def end(self) -> int:
        """Hang up, wait until it has ended, a silent one not for long, and return its status."""
        self._hang_up()
        return self.process.wait() if self._log is None else self.leave()

    def leave(self) -> int:
        """Hang up, and let it come to its end by itself for a while: it may be writing reports."""
        self._hang_up()
        try:
            return self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            return self.stop()
        except KeyboardInterrupt:  # the second one: at once
            self.stop()
            raise

    def stop(self) -> int:
        """Hang up, and do not let it run to its end."""
        self._hang_up()
        self._signal(signal.SIGTERM)
        try:
            return self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            return self.process.wait()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()

    def _signal(self, number: int) -> None:
        """Send a signal: to a silent side and all that it started, to the user's own alone."""
        with suppress(ProcessLookupError):
            if self._log is None:
                self.process.send_signal(number)
            else:
                os.killpg(self.process.pid, number)


class RemoteSide:
    """A function in another process, as a side that takes turns.

    Args:
        party: Stands ready to measure.
        test: Node id of what it measures.
        measure: What it opens its instruments for.
    """

    def __init__(self, party: Party, test: str, measure: str) -> None:
        self._party, self._test, self._measure = party, test, measure

    def warm_up(self, protocol: Protocol, window_s: float, warmup_s: float) -> float:
        """Let it work until warm; return wall seconds per call.

        Raises:
            PartyError: Its code turns out to be the other side's.
        """
        durations = {"window_s": window_s, "warmup_s": warmup_s}
        order = {"do": "warm_up", **durations, "protocol": dataclasses.asdict(protocol)}
        answer = self._asked(order, "seconds_per_call")
        refuse_strangers(self._party, answer)  # what the function itself has imported
        return float(answer["seconds_per_call"])

    def window(self, calls: int, lead_in: int, core: int) -> Taken:
        """Let it call ``lead_in`` times unmeasured, then ``calls`` times in a window."""
        order = {"do": "window", "calls": calls, "lead_in": lead_in, "core": core}
        return taken(self._asked(order, "taken")["taken"])

    def _asked(self, order: Mapping[str, Any], wanted: str) -> dict[str, Any]:
        self._party.say({**order, "test": self._test, "measure": self._measure})
        answer = self._party.hear()
        if answer is None:
            raise PartyError(f"the {self._party.side} ended while it measured{self._party.tail()}")
        if answer.get("test") == self._test and "raised" in answer:
            raise RaisedError(self._party, answer["raised"])
        if answer.get("test") != self._test or wanted not in answer:
            raise PartyError(f"the {self._party.side} is no longer at {self._test}")
        return answer


def refuse_strangers(party: Party, said: Mapping[str, Any]) -> None:
    """Refuse a side whose code is not its own.

    Raises:
        PartyError: Modules of the project came from the other commit, or from what both share.
    """
    if strangers := said["strangers"]:
        raise PartyError(
            f"the {party.side} took {strangers[0]}, which the other side takes, too: code would "
            "be measured against itself. Install the project so that PYTHONPATH comes first (a "
            "plain `pip install -e .` does), and build in place with --prepare"
        )


def taken(document: dict[str, Any]) -> Taken:
    """Return a window as another process sent it; the job's own processes are not foreign."""
    readings = tuple(codec.decode(Reading, reading) for reading in document.pop("readings"))
    host = Circumstances(**document["host"])
    if host.gpu_foreign:
        host = dataclasses.replace(host, gpu_foreign=_not_ours(host.gpu_foreign))
    return Taken(**{**document, "readings": readings, "host": host})


def _not_ours(foreign: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Return GPUs with processes that no side of this job started: each has the other beside it."""
    ours = set(descendants())
    found = {gpu: tuple(pid for pid in pids if pid not in ours) for gpu, pids in foreign.items()}
    return {gpu: pids for gpu, pids in found.items() if pids}
