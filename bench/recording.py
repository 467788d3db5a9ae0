"""What the acts on a pair have found, as its record."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import conclusions, doctor, machine, search, store
from bench.artefacts import Card, read_card
from bench.asked import Pair
from bench.comparison import Measured
from bench.evaluation import Evaluation
from bench.findings import BreakEven, Comparison, Proof
from bench.flat import recipe
from bench.measurement.figures import Figure, available
from bench.measurement.session import ArmName, Outcome
from bench.measurement.version import VERSION
from bench.readings import Phase, elsewhere, total, uncounted
from bench.records import Arm, Record, Session
from bench.search import Search

CHARGED = ("search", "optimise", "convert")
"""Phases of a variant that its technique is charged."""


def record(
    pair: Pair,
    cards: tuple[Card, Card],
    seen: tuple[Evaluation, Evaluation],
    measured: Measured,
    earlier: Sequence[Phase],
    searched: Search | None,
) -> Record:
    """Return the record of a pair.

    Args:
        pair: What was asked.
        cards: Of both artefacts.
        seen: Both, evaluated.
        measured: Both, measured.
        earlier: What sessions of this pair that were broken off had spent.
        searched: The search that found the variant's knobs, if one is to be charged.
    """
    outcome = measured.outcome
    figures = available(measured.channels, pair.runtime.torch_device.type)
    found = conclusions.comparisons(outcome.windows, figures, outcome.discards)
    baseline = arm("baseline", cards[0], seen[0], outcome)
    variant = arm("variant", cards[1], seen[1], outcome, searched)
    quality = conclusions.quality(
        pair.workload.metric,
        seen[0].labels,
        (seen[0].predictions, seen[1].predictions),
        pair.workload.margin,
    )
    wall = next(c for c in found if c.measure == "wall_s")
    proven = Proof(
        bytes_fell=variant.artefact.bytes < baseline.artefact.bytes,
        no_simulation_left=not seen[1].simulations,
        kernels=seen[1].kernels,
        reload_exact=seen[1].reload_exact,
        exploited=conclusions.exploited(baseline, variant, wall),
    )
    break_even, reason = _break_even(figures[0], outcome, variant, searched)
    return Record(
        id="/".join(pair.place.parts[-3:]),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        workload=pair.workload.name,
        technique=pair.technique.name,
        label=pair.technique.label if searched is None else f"{pair.technique.label} (searched)",
        seed=pair.seed,
        session_number=pair.session_number,
        host=pair.host,
        protocol=dataclasses.asdict(pair.protocol),
        runtime=dataclasses.asdict(pair.runtime),
        config=dict(pair.config),
        environment=machine.fingerprint() | {"served_on": measured.served_on} | doctor.last(),
        data=cards[0].data | {"folder_sha256": pair.data_digest},
        baseline=baseline,
        variant=variant,
        comparison=found[0],
        comparisons=found,
        quality=quality,
        proof=proven,
        break_even=break_even,
        break_even_reason=reason,
        verdict=conclusions.verdict(
            found,
            quality,
            proven,
            outcome.invalid,
            _noise_floor(pair, found[0]),
            not pair.technique.stages,
        ),
        session=session(measured, earlier),
        measuring_version=VERSION,
        files={},  # the store knows them
        rehearsal=pair.protocol.rehearsal,
        item=pair.workload.item,
    )


def spent(found: Record | None, made: Sequence[Path]) -> tuple[Phase, ...]:
    """Return what a run has spent: on the models that it made, and on measuring.

    Args:
        found: Its record; ``None`` if it only prepared.
        made: Artefacts that it made; those that it found were paid for by another run.
    """
    phases = [phase for folder in made for phase in read_card(folder).phases.values()]
    if found is not None and found.session.spent is not None:
        phases.append(found.session.spent)
    return tuple(phases)


def trained_s(folder: Path) -> float | None:
    """Return the seconds that training a model took; ``None`` if it was not trained."""
    phase = read_card(folder).phases.get("train")
    return None if phase is None else phase.wall_s


def in_a_word(found: Record) -> str:
    """Return what a record says: of joules where they were counted, else of seconds."""
    if found.technique == "none":
        return "A/A"
    return found.verdict.energy if found.comparison.is_counted else found.verdict.time


def _break_even(
    figure: Figure, outcome: Outcome, variant: Arm, searched: Search | None
) -> tuple[BreakEven | None, str | None]:
    if elsewhere := _elsewhere(variant.made_on) or _searched_elsewhere(searched):
        return None, elsewhere
    spent = [variant.phases[p] for p in CHARGED if p in variant.phases]
    return conclusions.break_even(figure, outcome.windows, spent)


def _elsewhere(made_on: str | None, done: str = "made") -> str | None:
    """Return why what making a model took cannot stand beside what serving it takes here."""
    here = machine.host_name()
    if made_on is None or made_on == here:
        return None
    return elsewhere(done, made_on, here)


def _searched_elsewhere(searched: Search | None) -> str | None:
    """Return why what a search took cannot, either: a part of it was done by another machine."""
    hosts = () if searched is None else searched.hosts
    return next((why for host in hosts if (why := _elsewhere(host, "searched"))), None)


def _noise_floor(pair: Pair, lead: Comparison) -> Comparison | None:
    """Return what the newest valid A/A pair shows that can be held beside this pair, if any.

    It is of the same recipe, protocol and runtime on this host, measured by the same code, and of
    the same measure: what seconds cannot tell apart says nothing of joules.
    """
    places = (pair.place.parents[1] / "none").glob("[!.]*")
    found = [record for place in places if (record := store.find(place)) is not None]
    alike = [
        record
        for record in found
        if record.session.valid
        and record.measuring_version == VERSION
        and recipe(record.config) == recipe(pair.config)
        and record.protocol == dataclasses.asdict(pair.protocol)
        and record.runtime == dataclasses.asdict(pair.runtime)
    ]
    newest_first = sorted(alike, key=lambda record: record.created, reverse=True)
    shown = (c for record in newest_first for c in record.comparisons if c.origin == lead.origin)
    return next(shown, None)


def arm(
    name: ArmName,
    card: Card,
    evaluated: Evaluation,
    outcome: Outcome,
    searched: Search | None = None,
) -> Arm:
    """Return an arm: its making from the card, its evaluation, its share of the windows.

    Training is charged to the baseline alone, also where the variant is the baseline itself. A
    search for the variant's knobs is charged but for making this artefact, which stands beside it.
    """
    windows = [w for w in outcome.windows if w.kept and w.arm == name]
    infer = dataclasses.replace(
        total(w.span.as_phase() for w in windows), items=sum(w.items for w in windows)
    )
    made = {k: phase for k, phase in card.phases.items() if name == "baseline" or k != "train"}
    if elsewhere := _elsewhere(card.made_on):
        made = {k: uncounted(phase, elsewhere) for k, phase in made.items()}
    if searched is not None:
        phase = search.charged(searched.tried, (card.artefact.digest,))
        elsewhere = _searched_elsewhere(searched)
        made["search"] = uncounted(phase, elsewhere) if elsewhere else phase
    own = name == "baseline" or "train" not in card.phases
    return Arm(
        artefact=card.artefact,
        parameters=card.parameters,
        nonzero_parameters=card.nonzero_parameters,
        sparsity=card.sparsity,
        macs=card.macs,
        input_shapes=card.input_shapes,
        peak_memory_bytes=evaluated.peak_memory_bytes,
        latency=outcome.latency.get(name),
        phases=made | evaluated.phases | {"infer": infer},
        metrics=evaluated.metrics,
        events=card.events if own else (),
        training_peak_memory_bytes=card.training_peak_memory_bytes if own else None,
        trained_parameters=card.trained_parameters if own else None,
        adapter_bytes=card.adapter_bytes if own else None,
        made_on=card.made_on,
        exhibits=evaluated.exhibits,
    )


def session(measured: Measured, earlier: Sequence[Phase] = ()) -> Session:
    """Return the conditions of the measurement, and what it took with those broken off before."""
    outcome = measured.outcome
    return Session(
        started=outcome.started,
        phases={
            "idle_before": outcome.idle_before.as_phase(),
            "warmup": outcome.warmup.as_phase(),
            "idle_after": outcome.idle_after.as_phase(),
        },
        discards=outcome.discards,
        valid=outcome.invalid is None,
        reason=outcome.invalid,
        idle_drift=outcome.idle_drift,
        baseline_drift=outcome.baseline_drift,
        meters={
            name: [
                dataclasses.asdict(dataclasses.replace(c, detail=dict(c.detail))) for c in channels
            ]
            for name, channels in measured.channels.items()
        },
        unavailable=measured.unavailable,
        overhead=outcome.overhead,
        spent=total([*earlier, measured.whole]),
        broken_off=len(earlier),
    )
