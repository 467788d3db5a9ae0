"""One pair, from its configuration to its record: the whole story, top to bottom.

    baseline   train, or reuse what equal configuration, code and data have made before
    variant    prepare, train, convert: all charged to the technique
    both       load from the artefact in a fresh process, evaluate
    measure    both in one process: idle, warm-up, blocks ABBA and BAAB, idle
    conclude   ratio with interval, accuracy with interval, proof, break-even, verdict

Every step that touches a model runs in a process of its own while this one sleeps, one at a time on
the host: what is trained is charged joules too.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from bench import (
    artefacts,
    conclusions,
    digests,
    doctor,
    evaluation,
    machine,
    proof,
    recording,
    store,
)
from bench.artefacts import Card
from bench.comparison import Bout, Measured, compare
from bench.evaluation import Evaluation, Look
from bench.findings import Comparison, Proof
from bench.isolation import exclusive, host_lock, in_fresh_process
from bench.measurement.figures import available
from bench.measurement.frames import trace_frame, training_frame, windows_frame
from bench.measurement.protocol import Protocol
from bench.measurement.version import VERSION
from bench.meters import Meters
from bench.production import Order, produce
from bench.records import Record
from bench.runtime import Runtime
from bench.techniques import Technique, Terms
from bench.training.recipe import Training
from bench.workloads import Workload

log = logging.getLogger(__name__)

_NOT_SHAPING = (
    *("name", "batch_size", "margin", "data_root", "default_student"),
    *("serve", "prompt_tokens", "decode_tokens"),
)
"""Knobs of a workload that change how a model is used, not what it learns."""


@dataclass(frozen=True)
class Pair:
    """What is measured, as configured; ``conf/config.yaml`` is this constructor's tree.

    Attributes:
        workload: Model, data, metric.
        technique: What makes the variant out of the baseline.
        training: The baseline's recipe.
        runtime: How both arms are served.
        protocol: How they are measured.
        meters: What is read.
        seed: Of initialisation, data order, augmentation and block order.
        session_number: Tells measurements of the same artefacts apart.
        place: Folder of the record.
        artefacts: Folder of the trained models, shared by all pairs.
        config: The resolved configuration, for the record.
        data_digest: Of the names and sizes in the data folder, if there is one.
        host: Name of the machine.
        replace: Whether a record that stands there is measured again.
    """

    workload: Workload
    technique: Technique
    training: Training
    runtime: Runtime
    protocol: Protocol
    meters: Meters
    seed: int
    session_number: int
    place: Path
    artefacts: Path
    config: Mapping[str, Any]
    data_digest: str | None
    host: str
    replace: bool


def run(pair: Pair) -> Record:
    """Measure the pair, store its record, and return it.

    Raises:
        TechniqueError: The technique cannot be done or served as configured; nothing was trained.
        ProofError: The variant is not what its technique promises; it was not measured.
    """
    _require(pair)
    baseline = _make(pair, stages=(), source=None)
    variant = _make(pair, stages=pair.technique.stages, source=baseline)
    seen = (_evaluate(pair, (), baseline), _evaluate(pair, pair.technique.stages, variant))
    cards = (artefacts.read_card(baseline), artefacts.read_card(variant))
    proof.require(pair.technique, cards, seen[1])
    measured = _measure(pair, baseline, variant)
    record = _conclude(pair, cards, seen, measured)
    predictions = pd.DataFrame(
        {
            "example": range(len(seen[0].labels)),
            "label": seen[0].labels,
            "baseline": seen[0].predictions,
            "variant": seen[1].predictions,
        }
    )
    tables = {
        "windows": windows_frame(measured.outcome.windows),
        "predictions": predictions,
        "trace": trace_frame(measured.spans),
        "training": training_frame(
            {"baseline": cards[0].history}
            | ({"variant": cards[1].history} if variant != baseline else {})
        ),
    }
    store.write(pair.place, record, tables, replace=pair.replace)
    return record


def _require(pair: Pair) -> None:
    terms = Terms(
        pair.workload, pair.config["training"], pair.runtime.mode, pair.runtime.torch_device
    )
    pair.workload.require(pair.runtime.mode)
    for stage in pair.technique.stages:
        stage.require(terms)
        if stage.recipe is not None:
            dataclasses.replace(pair.training, **stage.recipe)  # refuses what is out of range


def _make(pair: Pair, stages: Sequence[Technique], source: Path | None) -> Path:
    """Return the folder of a trained model; equal digests are made once, whoever asks."""
    if source is not None and not stages:
        return source  # A/A: the variant is the baseline
    workload = {k: v for k, v in pair.config["workload"].items() if k not in _NOT_SHAPING}
    digest = digests.digest(
        {
            "workload": workload,
            "training": pair.config["training"],
            "technique": pair.config["technique"] if stages else None,
            "seed": pair.seed,
            "data": pair.data_digest,
            "device": pair.runtime.torch_device.type,
            "code": digests.code_digest(),
            "libraries": digests.library_versions(),
        }
    )
    folder = pair.artefacts / digest[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    what = "variant" if stages else "baseline"
    with exclusive(folder.with_suffix(".lock"), f"whoever is making the same {what}"):
        if (folder / artefacts.CARD).is_file():
            log.info("%s: reused, made before (%s)", what, digest[:16])
            return folder
        log.info("%s: making it (%s)", what, digest[:16])
        order = Order(
            pair.workload,
            stages,
            pair.training,
            pair.runtime,
            pair.seed,
            source,
            folder,
            digest,
            pair.meters,
        )
        with host_lock(f"making a {what} of {pair.workload.name}"):
            in_fresh_process(produce, order)
    return folder


def _evaluate(pair: Pair, stages: Sequence[Technique], folder: Path) -> Evaluation:
    """Return what an arm does to the test split, evaluated once per artefact and runtime."""
    look = Look(
        pair.workload,
        stages,
        pair.runtime,
        pair.seed,
        folder,
        pair.meters,
        pair.protocol.max_examples,
    )
    with exclusive(look.file.with_suffix(".lock"), "whoever is evaluating the same model"):
        if (kept := evaluation.read(look)) is not None:
            return kept
        log.info("%s: evaluating", "variant" if stages else "baseline")
        with host_lock(f"evaluating {pair.workload.name}"):
            in_fresh_process(evaluation.evaluate, look)
        found = evaluation.read(look)
    assert found is not None  # evaluate() has written it or raised
    return found


def _measure(pair: Pair, baseline: Path, variant: Path) -> Measured:
    log.info("measuring under protocol %s", pair.protocol.name)
    bout = Bout(
        pair.workload,
        {"baseline": ((), baseline), "variant": (pair.technique.stages, variant)},
        pair.runtime,
        pair.protocol,
        pair.seed,
        pair.meters,
    )
    with host_lock(f"measuring {pair.workload.name} with {pair.technique.name}"):
        return in_fresh_process(compare, bout)


def _conclude(
    pair: Pair, cards: tuple[Card, Card], seen: tuple[Evaluation, Evaluation], measured: Measured
) -> Record:
    outcome = measured.outcome
    figures = available(measured.channels)
    found = conclusions.comparisons(outcome.windows, figures, outcome.discards)
    baseline = recording.arm("baseline", cards[0], seen[0], outcome)
    variant = recording.arm("variant", cards[1], seen[1], outcome)
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
    spent = [variant.phases[p] for p in ("optimise", "convert") if p in variant.phases]
    break_even, reason = conclusions.break_even(figures[0], outcome.windows, spent)
    return Record(
        id="/".join(pair.place.parts[-3:]),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        workload=pair.workload.name,
        technique=pair.technique.name,
        label=pair.technique.label,
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
            found, quality, proven, outcome.invalid, _noise_floor(pair), not pair.technique.stages
        ),
        session=recording.session(measured),
        measuring_version=VERSION,
        files={},  # the store knows them
        rehearsal=pair.protocol.rehearsal,
    )


def _noise_floor(pair: Pair) -> Comparison | None:
    """Return the newest A/A pair of this workload, protocol and runtime on this host, if any."""
    places = (pair.place.parents[1] / "none").glob("[!.]*")
    found = [record for place in places if (record := store.find(place)) is not None]
    alike = [
        record
        for record in found
        if record.protocol == dataclasses.asdict(pair.protocol)
        and record.runtime == dataclasses.asdict(pair.runtime)
    ]
    newest = max(alike, key=lambda record: record.created, default=None)
    return None if newest is None else newest.comparison
