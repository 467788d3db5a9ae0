"""Records made up for tests. No figure in here was ever measured."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from bench import flat
from bench.findings import BreakEven, Comparison, MeasureName, Proof, Quality, Verdict
from bench.readings import Grade, Overhead, Phase, Reading
from bench.records import Arm, Artefact, Discard, Latency, Record, Session

SOURCES = {
    "A": "wall_meter",
    "B": "zeus.rapl",
    "C": "codecarbon.cpu_load",
    "S": "synthetic.constant",
}
METERS = {"A": "wall", "B": "counters", "C": "codecarbon", "S": "synthetic"}
BASELINE_S = 0.0125
WATTS = 80.0


def comparison(
    measure: MeasureName, ratio: float, grade: Grade = "none", half_width: float = 0.012
) -> Comparison:
    """A comparison of eight blocks whose interval is ``ratio`` plus and minus ``half_width``."""
    joules = measure == "energy_j"
    per_item = BASELINE_S * (WATTS if joules else 1.0)
    return Comparison(
        measure=measure,
        scope="cpu+dram" if joules else "process tree" if measure == "cpu_s" else "clock",
        source=METERS[grade] if joules else "clock",
        grade=grade,
        ratio=ratio,
        low=ratio - half_width,
        high=ratio + half_width,
        blocks=8,
        discarded=0,
        p_value=0.0078125,
        log_ratio_sd=0.0125,
        baseline_per_item=per_item,
        variant_per_item=per_item * ratio,
    )


def phase(wall_s: float, grades: tuple[Grade, ...], items: int = 0) -> Phase:
    """A phase that drew ``WATTS`` on two components of one meter per grade."""
    readings = [
        Reading(METERS[grade], component, SOURCES[grade], grade, wall_s * WATTS * share)
        for grade in grades
        for component, share in (("cpu:0", 0.75), ("dram:0", 0.25))
    ]
    return Phase(wall_s, wall_s * 1.9, tuple(readings), items)


def arm(name: str, bytes_: int, macs: int, accuracy: float, phases: dict[str, Phase]) -> Arm:
    """One side of a pair; its digest is that of ``name``."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Arm(
        artefact=Artefact(digest, bytes_, digest[::-1]),
        parameters=bytes_ // 4,
        nonzero_parameters=bytes_ // 4 - 10,
        sparsity="none",
        macs=macs,
        input_shapes={"pixel_values": (3, 32, 32)},
        peak_memory_bytes=412_000_000,
        latency=Latency(1_000, 0.004 * macs / 1.3e9, 0.005 * macs / 1.3e9, None),
        phases=phases,
        metrics={"accuracy": accuracy},
    )


def quality(baseline: float, variant: float, half_width: float = 0.004) -> Quality:
    """Accuracy on 10 000 examples, judged against a margin of one percentage point."""
    difference, margin = variant - baseline, 0.01
    low, high = difference - half_width, difference + half_width
    verdict = "non-inferior" if low > -margin else "inferior" if high < -margin else "inconclusive"
    lost = round(max(0.0, -difference) * 10_000) + 40
    gained = lost + round(difference * 10_000)
    return Quality(
        "accuracy",
        *(baseline, variant, difference, low, high, margin),
        *(10_000, lost, gained, verdict),
    )


def session(grades: tuple[Grade, ...], discards: tuple[Discard, ...] = ()) -> Session:
    """Conditions of a measurement with one meter per grade."""
    meters = {
        METERS[grade]: [
            {
                "component": component,
                "source": SOURCES[grade],
                "grade": grade,
                "step_s": 0.001,
                "detail": {"tdp_w": 125, "floor": 0.1} if grade == "C" else {},
            }
            for component in ("cpu:0", "dram:0")
        ]
        for grade in grades
    }
    counted = {"A", "B"} & set(grades)
    return Session(
        started="2026-01-01T00:00:00+00:00",
        phases={"idle_before": phase(30.0, grades), "idle_after": phase(30.0, grades)},
        discards=discards,
        valid=True,
        reason=None,
        idle_drift=0.004 if counted else None,
        baseline_drift=0.011,
        meters=meters,
        unavailable={} if counted else {"counters": "no /sys/class/powercap on this host"},
        overhead=Overhead(
            windows=5,
            wall_s=0.00002,
            cpu_s=0.00001,
            readings=phase(0.001, grades).readings,
            edges_wall_s=0.002,
            edges_cpu_s=0.0015,
            cpu_share=0.003,
        ),
    )


def record(
    technique: str = "prune",
    label: str | None = None,
    *,
    seed: int = 0,
    workload: str = "resnet50_cifar10",
    host: str = "made-up-host",
    grades: tuple[Grade, ...] = ("C",),
    ratio: float = 0.571,
    accuracy: tuple[float, float] = (0.9320, 0.9291),
    macs: float = 0.5,
    bytes_: float = 0.51,
    **changes: Any,
) -> Record:
    """A synthetic pair.

    Args:
        technique: Name; ``none`` makes an A/A pair.
        label: As printed; the technique if left out.
        seed: Its seed.
        workload: Its workload.
        host: Its host.
        grades: Grades of the joules it holds; without ``A`` or ``B`` the finding is seconds.
        ratio: Variant over baseline, of every measure.
        accuracy: Of both arms.
        macs: Variant over baseline.
        bytes_: Variant over baseline.
        changes: Fields of the record to set outright.
    """
    label = label or technique
    name = f"{workload}/{label}/{seed}/{host}"
    same = technique == "none"
    energies = tuple(comparison("energy_j", ratio, grade) for grade in sorted(grades))
    seconds = (comparison("wall_s", ratio + 0.004), comparison("cpu_s", ratio + 0.009))
    counted = tuple(c for c in energies if c.grade in ("A", "B"))
    modelled = tuple(c for c in energies if c.grade not in ("A", "B"))
    comparisons = (*counted, *seconds, *modelled)
    primary = comparisons[0]
    judged = quality(*accuracy)
    saves = "saves" if primary.high < 1 else "costs" if primary.low > 1 else "undecided"
    faster = "faster" if seconds[0].high < 1 else "slower" if seconds[0].low > 1 else "undecided"
    headline = bool(counted) and saves == "saves" and judged.verdict == "non-inferior"
    reason = "no counter of grade A or B could be read" if not counted else None
    if counted and not headline:
        reason = "the interval of the ratio contains 1" if same else f"accuracy {judged.verdict}"
    train = phase(4310.0, grades, items=1_500_000)
    optimise = {} if same else {"optimise": phase(912.0, grades), "convert": phase(3.5, grades)}
    made = Record(
        id=f"{workload}/{technique}/{seed}-{hashlib.sha256(name.encode()).hexdigest()[:12]}",
        created="2026-01-01T01:00:00+00:00",
        workload=workload,
        technique=technique,
        label=label,
        seed=seed,
        session_number=0,
        host=host,
        protocol={"name": "paper", "window_s": 10.0, "blocks": 8},
        runtime={"name": "eager", "threads": 2, "batch": 32},
        config={"seed": seed},
        environment={"torch": "0.0-made-up"},
        data={"fingerprint": "made-up", "test": 10_000},
        baseline=arm("baseline", 94_000_000, 1_300_000_000, accuracy[0], {"train": train}),
        variant=arm(
            name,
            round(94_000_000 * (1.0 if same else bytes_)),
            round(1_300_000_000 * (1.0 if same else macs)),
            accuracy[1],
            optimise,
        ),
        comparison=primary,
        comparisons=comparisons,
        quality=judged,
        proof=Proof(not same, True, ("aten::mm float32",), True, True),
        break_even=None
        if saves != "saves"
        else BreakEven(171_000.0, 165_000.0, 177_000.0, primary.measure),
        break_even_reason=None if saves == "saves" else "the variant saves nothing",
        verdict=Verdict(
            saves if counted else "undecided", faster, judged.verdict, headline, reason
        ),
        session=session(grades),
        measuring_version=1,
        files={},
    )
    return dataclasses.replace(made, **changes)


def noise_floor(**changes: Any) -> Record:
    """An A/A pair whose intervals contain 1."""
    return record("none", ratio=0.998, accuracy=(0.9320, 0.9320), **changes)


def task_record(
    task: str,
    technique: str = "prune",
    *,
    model: str = "minilm",
    metric: str = "accuracy",
    knobs: Mapping[str, Any] | None = None,
    epochs: int = 3,
    **changes: Any,
) -> Record:
    """A synthetic pair of a model on one task: its workload is ``<model>_<task>``.

    Args:
        task: Its knob ``task``.
        technique: As for ``record``; ``none`` makes an A/A pair whose intervals contain 1.
        model: What the workload's name begins with.
        metric: Name of the task metric.
        knobs: Of the workload, beside the usual ones.
        epochs: Of the training.
        changes: As for ``record``.
    """
    name = f"{model}_{task}"
    workload = {"name": name, "task": task, "model": f"made-up/{model}", "pretrained": True}
    config = {
        "workload": {**workload, "margin": 0.01, **(knobs or {})},
        "training": {"epochs": epochs},
        "technique": {"name": technique},
    }
    if technique == "none":
        changes = {"ratio": 0.998, "accuracy": (0.932, 0.932), **changes}
    made = record(technique, workload=name, config=config, **changes)
    return dataclasses.replace(made, quality=dataclasses.replace(made.quality, metric=metric))


def counted_as(made: Record, **changes: str) -> Record:
    """Return a pair whose joules, counted or modelled, are of another scope or source."""
    changed = {
        one: dataclasses.replace(one, **changes) if one.measure == "energy_j" else one
        for one in (made.comparison, *made.comparisons)
    }
    return dataclasses.replace(
        made,
        comparison=changed[made.comparison],
        comparisons=tuple(changed[one] for one in made.comparisons),
    )


def frame(*records: Record) -> pd.DataFrame:
    """Records as the flat rows that reports are made of."""
    rows = [flat.row(made, f"{made.host}/{made.id}") for made in records]
    return pa.Table.from_pylist(rows, schema=flat.SCHEMA).to_pandas()
