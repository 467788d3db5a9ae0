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

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import (
    artefacts,
    digests,
    evaluation,
    interruption,
    live,
    making,
    proof,
    recording,
    search,
    store,
)
from bench.asked import Pair, require
from bench.comparison import Bout, Measured, compare
from bench.evaluation import Evaluation, Look
from bench.isolation import in_fresh_process
from bench.live import Live
from bench.locks import exclusive, host_lock
from bench.measurement import frames
from bench.production import Order
from bench.records import Record
from bench.search import Search
from bench.techniques import Technique
from bench.training import resuming

log = logging.getLogger(__name__)

_NOT_SHAPING = (
    *("name", "batch_size", "margin", "data_root", "default_student"),
    *("serve", "prompt_tokens", "decode_tokens"),
)
"""Knobs of a workload that change how a model is used, not what it learns."""


@dataclass(frozen=True)
class Ran:
    """What a run has come to.

    Attributes:
        record: ``None`` if the pair was only prepared.
        made: Artefacts that were made by this run, not found.
        baseline: The artefact that the variant was made from.
    """

    record: Record | None
    made: tuple[Path, ...]
    baseline: Path


def run(pair: Pair, consider: Callable[[Path, Path], None] | None = None) -> Ran:
    """Measure the pair, store its record, and return it; or only prepare it.

    Args:
        pair: What is measured.
        consider: Shown both arms' folders once they are made; what it raises ends the pair there.

    Raises:
        SearchError: The search that is to be charged cannot be read, or was not for this pair.
        TechniqueError: The technique cannot be done or served as configured; nothing was trained.
        UnpreparedError: ``stage=measure``, and an artefact is missing.
        ProofError: The variant is not what its technique promises; it was not measured.
        Interrupted: This process was asked to leave; the same run goes on from there.
    """
    require(pair.workload, pair.technique, pair.training, pair.runtime, pair.config["training"])
    searched = _searched(pair)
    end = "prepared" if pair.stage == "prepare" else "finished"
    about = pair.technique.label, pair.workload.metric
    with live.told(pair.place, pair.host, *about, end) as told:
        return _run(pair, told, searched, consider)


def _run(
    pair: Pair,
    told: Live,
    searched: Search | None,
    consider: Callable[[Path, Path], None] | None,
) -> Ran:
    stages, made = pair.technique.stages, list[Path]()
    baseline = _make(pair, told, (), None, made)
    variant = _make(pair, told, stages, baseline, made)
    if pair.stage == "prepare":
        return Ran(None, tuple(made), baseline)
    if consider is not None:
        consider(baseline, variant)
    seen = (
        evaluated(pair, (), baseline, baseline, told=told),
        evaluated(pair, stages, variant, baseline, told=told),
    )
    cards = (artefacts.read_card(baseline), artefacts.read_card(variant))
    proof.require(pair.technique, cards, seen[1])
    earlier = [spent.phase for spent in resuming.spent_before(store.broken_off(pair.place))]
    measured = _measure(pair, told, baseline, variant)
    with interruption.later():  # what was measured is in memory only
        record = recording.record(pair, cards, seen, measured, earlier, searched)
        tables = {
            "windows": frames.windows_frame(measured.outcome.windows),
            "predictions": frames.predictions_frame(
                seen[0].labels, *(one.predictions for one in seen)
            ),
            "trace": frames.trace_frame(measured.spans),
            "training": frames.training_frame(
                {"baseline": cards[0].history}
                | ({"variant": cards[1].history} if variant != baseline else {})
            ),
        }
        store.write(pair.place, record, tables, replace=pair.replace)
        shutil.rmtree(store.broken_off(pair.place), ignore_errors=True)  # the record holds it now
    return Ran(record, tuple(made), baseline)


def _searched(pair: Pair) -> Search | None:
    """Return the search that found the variant's knobs, if one is to be charged."""
    folder = pair.config["search"]
    if folder is None:
        return None
    found = search.read(Path(folder))
    search.require(found, pair.workload.name, pair.technique.name)
    return found


def _make(
    pair: Pair, told: Live, stages: Sequence[Technique], source: Path | None, made: list[Path]
) -> Path:
    """Return the folder of a trained model; note whether it was made just now."""
    if source is not None and not stages:
        return source  # A/A: the variant is the baseline
    workload = {k: v for k, v in pair.config["workload"].items() if k not in _NOT_SHAPING}
    device = pair.runtime.torch_device.type
    digest = digests.digest(
        {
            "workload": workload,
            "training": pair.config["training"],
            "technique": pair.config["technique"] if stages else None,
            "seed": pair.seed,
            "data": pair.data_digest,
            "device": device,
            "tf32": pair.runtime.tf32 if device == "cuda" else None,
            "code": digests.code_digest(),
            "libraries": digests.library_versions(),
        }
    )
    order = Order(
        pair.workload,
        stages,
        pair.training,
        pair.runtime,
        pair.seed,
        source,
        pair.artefacts / digest[:16],
        digest,
        pair.meters,
        told,
    )
    what = "variant" if stages else "baseline"
    told.begin(what, "waiting for its turn")
    if making.make(order, what, pair.stage, pair.limits.of("make_h")):
        made.append(order.folder)
        told.event("saved", f"{what} {order.folder.name}")
    return order.folder


def evaluated(
    pair: Pair,
    stages: Sequence[Technique],
    folder: Path,
    baseline: Path,
    held_out: float = 0.0,
    told: Live | None = None,
) -> Evaluation:
    """Return what an arm does to the test split, or to what training left out, evaluated once."""
    look = Look(
        pair.workload,
        stages,
        pair.runtime,
        pair.seed,
        folder,
        baseline,
        pair.meters,
        pair.protocol.max_examples,
        held_out,
        told,
    )
    if told is not None:
        told.begin("evaluate_variant" if stages else "evaluate_baseline", "waiting for its turn")
    with exclusive(look.file.with_suffix(".lock"), "whoever is evaluating the same model"):
        if (kept := evaluation.read(look)) is not None:
            return kept
        log.info("%s: evaluating", "variant" if stages else "baseline")
        with host_lock(f"evaluating {pair.workload.name}"):
            in_fresh_process(evaluation.evaluate, look, limit=pair.limits.of("evaluate_h"))
        found = evaluation.read(look)
    assert found is not None  # evaluate() has written it or raised
    return found


def _measure(pair: Pair, told: Live, baseline: Path, variant: Path) -> Measured:
    log.info("measuring under protocol %s", pair.protocol.name)
    bout = Bout(
        pair.workload,
        {"baseline": ((), baseline), "variant": (pair.technique.stages, variant)},
        pair.runtime,
        pair.protocol,
        pair.seed,
        pair.meters,
        resuming.next_file(store.broken_off(pair.place)),
        told,
    )
    told.begin("measure", "waiting for its turn, or warming up")
    with host_lock(f"measuring {pair.workload.name} with {pair.technique.name}", windows=True):
        return in_fresh_process(compare, bout, limit=pair.limits.of("measure_h"))
