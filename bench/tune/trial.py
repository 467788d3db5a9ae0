"""One trial: a pair with drawn knobs is made, judged on held-out examples, measured, paid for."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hydra.errors import HydraException

from bench import artefacts, conclusions, faults, isolation, machine, pair, store
from bench.asked import Pair
from bench.findings import Comparison, Quality
from bench.interruption import Interrupted
from bench.isolation import ChildError
from bench.locks import LockError, exclusive
from bench.measurement.figures import Figure
from bench.meters import MeterError
from bench.readings import Phase, total
from bench.records import Record
from bench.search import Spent, State, Tried
from bench.store import StoreError
from bench.training import resuming
from bench.tune.space import Value

_REASON_CHARACTERS = 200


class HopelessError(RuntimeError):
    """A variant that has lost so much of the metric that nobody wants to know what it takes."""


class UnmeasuredError(RuntimeError):
    """A pair whose measurement says nothing."""


@dataclass(frozen=True)
class Draft:
    """What a trial is to try.

    Attributes:
        number: Of the trial.
        drawn: Values of the knobs.
        command: Measures a pair with these knobs.
        build: Returns the pair; refuses values that its parts cannot take.
    """

    number: int
    drawn: dict[str, Value]
    command: str
    build: Callable[[], Pair]


@dataclass(frozen=True)
class Terms:
    """What is the same for all trials of a search.

    Attributes:
        figure: What is minimised.
        floor: Loss of the metric beyond which a variant is not measured; ``None`` measures all.
        own_baselines: Whether each trial trains a baseline of its own, which it is charged.
    """

    figure: Figure
    floor: float | None
    own_baselines: bool


@dataclass
class _Books:
    """What is known of a trial so far, whatever may happen to it next."""

    hosts: set[str]
    made: dict[str, Phase] = field(default_factory=dict)
    evaluated: list[Phase] = field(default_factory=list)
    measured: list[Phase] = field(default_factory=list)
    pair: Pair | None = None
    quality: Quality | None = None
    comparison: Comparison | None = None
    record: str | None = None


def attempt(draft: Draft, terms: Terms) -> Tried:
    """Try what was drawn and return what came of it.

    A pair that fails is a finding, too, with its reason; what a training that failed has cost is
    not known. What is wrong with this host or this disk is no finding, and no more is a request to
    leave: both are raised, and the trial is begun again when the search goes on.

    Raises:
        Interrupted: This process was asked to leave.
        FaultError: The disk or the GPU has failed.
    """
    books, begin_s = _Books({machine.host_name()}), time.monotonic()
    state: State = "complete"
    reason: str | None = None
    try:
        _run(draft, terms, books)
    except HopelessError as err:
        state, reason = "pruned", str(err)
    except (Interrupted, LockError, MeterError, StoreError):
        raise
    except (HydraException, RuntimeError, ValueError) as err:
        if isinstance(err, ChildError) and str(err).startswith(MeterError.__name__):
            raise  # as above, from another process
        if (fault := faults.fault(err)) is not None:
            raise fault from err
        state, reason = "failed", _said(err)
        if books.pair is not None:
            place, config = books.pair.place, books.pair.config
            store.write_failure(place, err, isolation.details(err), config)
            books.measured += _broken_off(books.pair.place)
    return Tried(
        number=draft.number,
        state=state,
        technique=books.pair.technique.name if books.pair else "",
        label=books.pair.technique.label if books.pair else "",
        knobs=dict(draft.drawn),
        quality=books.quality,
        comparison=books.comparison if state == "complete" else None,
        spent=Spent(
            books.made,
            total(books.evaluated),
            total(books.measured),
            time.monotonic() - begin_s,
        ),
        record=books.record,
        reason=reason,
        command=draft.command,
        hosts=tuple(sorted(books.hosts)),
    )


def _run(draft: Draft, terms: Terms, books: _Books) -> None:
    built = books.pair = draft.build()

    def consider(baseline: Path, variant: Path) -> None:
        _judge(built, baseline, variant, terms, books)

    claim = store.claim(built.place)
    claim.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(claim, "a worker that has drawn the same"):
        record = store.find(built.place)
        if record is None:
            record = pair.run(built, consider).record
            assert record is not None  # a plan with another stage than all is refused
        else:  # by a worker that died before it could tell, or for a trial that drew the same
            arms = (record.baseline, record.variant)
            consider(*(built.artefacts / arm.artefact.digest[:16] for arm in arms))
    _account(record, terms, books)


def _broken_off(place: Path) -> list[Phase]:
    """Return what sessions that came to no record have spent, and forget it: it is paid for now."""
    folder = store.broken_off(place)
    spent = [one.phase for one in resuming.spent_before(folder)]
    shutil.rmtree(folder, ignore_errors=True)
    return spent


def _judge(built: Pair, baseline: Path, variant: Path, terms: Terms, books: _Books) -> None:
    """Compare the arms on held-out examples.

    Raises:
        HopelessError: The variant has lost more than the search allows.
    """
    folders = [variant, baseline] if terms.own_baselines else [variant]
    for folder in folders:
        if variant != baseline or terms.own_baselines:
            card = artefacts.read_card(folder)
            books.made[card.artefact.digest] = total(card.phases.values())
            if card.made_on is not None:
                books.hosts.add(card.made_on)
    share = built.training.validation
    seen = (
        pair.evaluated(built, (), baseline, baseline, share),
        pair.evaluated(built, built.technique.stages, variant, baseline, share),
    )
    books.evaluated += seen[1].phases.values()
    books.quality = found = conclusions.quality(
        built.workload.metric,
        seen[0].labels,
        (seen[0].predictions, seen[1].predictions),
        built.workload.margin,
    )
    if terms.floor is not None and -found.difference > terms.floor:
        raise HopelessError(
            f"{found.metric} fell from {found.baseline:.4g} to {found.variant:.4g} on held-out "
            f"examples, by more than tuner.floor={terms.floor:g}"
        )


def _account(record: Record, terms: Terms, books: _Books) -> None:
    """Enter what was measured and what measuring has cost.

    Raises:
        UnmeasuredError: The session is invalid, or lacks what is minimised.
    """
    phases = record.variant.phases
    books.evaluated += [phases[name] for name in ("compile", "evaluate") if name in phases]
    if record.session.spent is not None:  # older versions did not keep it
        books.measured.append(record.session.spent)
    books.record = record.id
    if not record.session.valid:
        raise UnmeasuredError(f"the session is invalid: {record.session.reason}")
    figure = terms.figure
    wanted = (figure.measure, figure.source, figure.grade)
    found = [c for c in record.comparisons if (c.measure, c.source, c.grade) == wanted]
    if not found:
        raise UnmeasuredError(
            f"{figure.measure} of {figure.source} (grade {figure.grade}) is missing in its windows"
        )
    books.comparison = found[0]


def _said(err: BaseException) -> str:
    """Return the first line of the first cause."""
    while isinstance(err, HydraException) and err.__cause__ is not None:
        err = err.__cause__
    text = str(err).strip().partition("\n")[0] or type(err).__name__
    return text[:_REASON_CHARACTERS]
