"""What one pair produced, as frozen data: the only thing the reports ever read.

A record is one JSON document with a schema number. Fields carry their unit as a suffix; a reading
that failed is ``None`` with a reason, never zero. ``results/README.md`` explains every field.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from bench import codec
from bench.readings import Grade, Overhead, Phase

SCHEMA = 1
"""Number of the record's layout; a rename or a change of meaning raises it."""

MeasureName = Literal["energy_j", "cpu_s", "wall_s"]


class RecordError(ValueError):
    """A document that is not a record of this schema; the message names the field."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """The saved model that is loaded to serve.

    Attributes:
        digest: SHA-256 of everything that shaped it (config, code, data, library versions).
        bytes: Size of its weights file.
    """

    digest: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of a pair.

    Attributes:
        artefact: What is served.
        parameters: Number of parameters.
        macs: Multiply-accumulates of one forward pass of one example.
        peak_memory_bytes: Peak resident (CPU) or allocated (GPU) memory while evaluating alone in a
            fresh process; ``None`` if the platform does not tell.
        phases: ``train``, ``optimise``, ``convert``, ``compile``, ``evaluate``, ``infer``.
        metrics: Fractions by name, e.g. ``{"accuracy": 0.93}``.
    """

    artefact: Artefact
    parameters: int
    macs: int
    peak_memory_bytes: int | None
    phases: dict[str, Phase]
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Variant over baseline, per sample, from the blocks.

    Attributes:
        measure: What is compared.
        scope: Components added up (``cpu+dram+gpu``), or ``process tree`` / ``clock`` for seconds.
        source: Meter the joules come from; ``clock`` for seconds.
        grade: Grade of those joules; ``none`` for seconds.
        ratio: Geometric mean ratio; below 1 the variant needs less.
        low: Lower end of the 95 % interval.
        high: Upper end.
        blocks: Blocks that entered.
        discarded: Blocks thrown away on a condition.
        p_value: Exact two-sided sign-flip p.
        log_ratio_sd: Standard deviation of the blocks' log ratios (repeatability).
        baseline_per_item: Geometric mean per sample, in joules or seconds.
        variant_per_item: Likewise.
    """

    measure: MeasureName
    scope: str
    source: str
    grade: Grade
    ratio: float
    low: float
    high: float
    blocks: int
    discarded: int
    p_value: float
    log_ratio_sd: float
    baseline_per_item: float
    variant_per_item: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Paired difference of the task metric on the same test examples.

    Attributes:
        metric: Name of the metric.
        baseline: Its value for the baseline, a fraction.
        variant: Its value for the variant.
        difference: Variant minus baseline.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
        margin: Non-inferiority margin fixed beforehand, positive.
        examples: Test examples compared.
        verdict: ``non-inferior`` when ``low > -margin``, ``inferior`` when ``high < -margin``.
    """

    metric: str
    baseline: float
    variant: float
    difference: float
    low: float
    high: float
    margin: float
    examples: int
    verdict: Literal["non-inferior", "inferior", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Proof:
    """Evidence that the variant really is compressed (design, section 9).

    Attributes:
        bytes_fell: The served artefact is smaller than the baseline's.
        no_simulation_left: No mask, parametrization or fake-quantize module remains.
        kernels: Operators of one profiled batch with their input type, by time, longest first.
        reload_exact: A fresh process that loads the artefact repeats the predictions.
        exploited: False if MACs fell by over 20 % and time by under 5 %.
    """

    bytes_fell: bool
    no_simulation_left: bool
    kernels: tuple[str, ...]
    reload_exact: bool
    exploited: bool


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Inferences after which the optimisation has paid for itself.

    Attributes:
        inferences: Point estimate.
        low: Lower end of the 95 % interval.
        high: Upper end; ``None`` if the interval is open above.
        measure: Unit in which cost and saving were counted.
    """

    inferences: float
    low: float
    high: float | None
    measure: MeasureName


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be said of the pair.

    Attributes:
        energy: Of joules of grade A or B only; ``undecided`` where there are none.
        time: Of wall seconds: ``faster``, ``slower`` or ``undecided``.
        quality: Of the task metric.
        headline: Whether "saves energy at non-inferior accuracy" may be printed.
        reason: First condition that failed; ``None`` with a headline.
    """

    energy: Literal["saves", "costs", "undecided"]
    time: Literal["faster", "slower", "undecided"]
    quality: Literal["non-inferior", "inferior", "inconclusive"]
    headline: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Discard:
    """A block that was thrown away, never for its energy.

    Attributes:
        block: Its number in order of measurement.
        condition: Name of the condition that failed, e.g. ``steal``.
        detail: The figure and its limit.
    """

    block: int
    condition: str
    detail: str


@dataclass(frozen=True, slots=True)
class Session:
    """The conditions of the measurement.

    Attributes:
        started: UTC, ISO 8601.
        phases: ``idle_before``, ``warmup``, ``idle_after``.
        discards: Blocks thrown away, with reasons.
        valid: False if over the protocol's share of blocks was discarded, or idle drifted.
        reason: Why it is not valid.
        meters: Per meter what it reads and with which constants, as it reported at start.
        unavailable: Meters that could not be opened, with the reason.
        overhead: What measuring itself cost.
    """

    started: str
    phases: dict[str, Phase]
    discards: tuple[Discard, ...]
    valid: bool
    reason: str | None
    meters: dict[str, Any]
    unavailable: dict[str, str]
    overhead: Overhead


@dataclass(frozen=True, slots=True)
class Record:
    """Everything one pair produced.

    Attributes:
        id: ``<workload>/<technique>/<seed>-<digest>``.
        created: UTC, ISO 8601.
        workload: Name of the workload.
        technique: Name of the technique; ``label`` adds the knobs that tell two of them apart.
        label: As printed in tables.
        seed: Seed of data order, initialisation and augmentation.
        host: Name of the machine.
        protocol: Name and values of the protocol.
        runtime: Name and values of the runtime, the same for both arms.
        config: The full resolved configuration.
        environment: Versions, commit, hardware (``bench.machine``).
        data: Fingerprint, source and sizes of the data.
        baseline: Arm A.
        variant: Arm B.
        comparison: The primary one: the best grade available, else wall seconds.
        comparisons: All of them, the primary first.
        quality: The paired accuracy question.
        proof: Evidence of compression.
        break_even: ``None`` with ``break_even_reason`` if there is none.
        break_even_reason: Why not.
        verdict: What may be said.
        session: Conditions of the measurement.
        rehearsal: True for records that never enter a table.
        schema: Layout number.
    """

    id: str
    created: str
    workload: str
    technique: str
    label: str
    seed: int
    host: str
    protocol: dict[str, Any]
    runtime: dict[str, Any]
    config: dict[str, Any]
    environment: dict[str, Any]
    data: dict[str, Any]
    baseline: Arm
    variant: Arm
    comparison: Comparison
    comparisons: tuple[Comparison, ...]
    quality: Quality
    proof: Proof
    break_even: BreakEven | None
    break_even_reason: str | None
    verdict: Verdict
    session: Session
    rehearsal: bool = False
    schema: int = field(default=SCHEMA)


def to_json(record: Record) -> str:
    """Return the record as JSON; ``ValueError`` if a figure is not finite."""
    return codec.encode(record)


def from_json(text: str) -> Record:
    """Read a record back.

    Raises:
        RecordError: Not JSON, another schema, or a field that is missing, unknown or of the
            wrong type; the message names it.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as err:
        raise RecordError(f"not JSON: {err}") from err
    if not isinstance(document, dict):
        raise RecordError(f"a record is a JSON object, this is a {type(document).__name__}")
    schema = document.get("schema")
    if schema != SCHEMA or isinstance(schema, bool):
        raise RecordError(f"schema is {schema!r}, this version of joulebench reads {SCHEMA}")
    try:
        return codec.decode(Record, document)
    except codec.CodecError as err:
        raise RecordError(str(err)) from err
