"""What one pair produced, as frozen data: the only thing the reports ever read.

A record is one JSON document with a schema number. Fields carry their unit as a suffix; a reading
that failed is ``None`` with a reason, never zero. ``results/README.md`` explains every field.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from bench import codec
from bench.findings import BreakEven, Comparison, Proof, Quality, Verdict
from bench.readings import Event, Overhead, Phase

SCHEMA = 1
"""Number of the record's layout; a rename or a change of meaning raises it."""


class RecordError(ValueError):
    """A document that is not a record of this schema; the message names the field."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """The saved model that is loaded to serve.

    Attributes:
        digest: SHA-256 of everything that shaped it (config, code, data, library versions).
        bytes: Size of its weights file.
        sha256: Of the content of that file.
    """

    digest: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from request to answer, one example at a time, one request after another.

    Attributes:
        requests: How many were timed.
        p50_s: Median.
        p90_s: Ninth decile; ``None`` with fewer than 1,000 requests.
        p99_s: ``None`` with fewer than 10,000.
    """

    requests: int
    p50_s: float
    p90_s: float | None
    p99_s: float | None


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of a pair.

    Attributes:
        artefact: What is served.
        parameters: Number of parameters.
        nonzero_parameters: Those that are not 0.
        sparsity: Kind of the zeros that were made on purpose: ``none``, ``unstructured``, ``2:4``.
        macs: Multiply-accumulates of one forward pass of one example.
        input_shapes: Of that example, by input, without the batch.
        peak_memory_bytes: Peak resident (CPU) or allocated (GPU) memory while evaluating alone in a
            fresh process; ``None`` if the platform does not tell.
        latency: At batch 1, both arms in turn; ``None`` if the protocol asks for no requests.
        phases: ``train``, ``optimise``, ``convert``, ``compile``, ``evaluate``, ``infer``.
        metrics: Fractions by name, e.g. ``{"accuracy": 0.93}``, or in the unit that ends the name.
        events: What happened to its trainings: resumed, short of memory, overfitting, stopped.
        training_peak_memory_bytes: Of the process that made it, resident (CPU) or allocated (GPU);
            ``None`` without a training.
        trained_parameters: Number of parameters that its last training changed; ``None`` without.
        adapter_bytes: Size of a file of these alone, where all others stayed as they were.
        made_on: Name of the machine that made it; ``None`` of records that do not tell.
        exhibits: Folder below ``store.artefacts`` of what people can look at or listen to of its
            answers, files named by the example; ``None`` where there is nothing of the kind.
    """

    artefact: Artefact
    parameters: int
    nonzero_parameters: int
    sparsity: str
    macs: int
    input_shapes: dict[str, tuple[int, ...]]
    peak_memory_bytes: int | None
    latency: Latency | None
    phases: dict[str, Phase]
    metrics: dict[str, float]
    events: tuple[Event, ...] = ()
    training_peak_memory_bytes: int | None = None
    trained_parameters: int | None = None
    adapter_bytes: int | None = None
    made_on: str | None = None
    exhibits: str | None = None


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
        idle_drift: Relative change of idle power from before to after, of the component that moved
            most; ``None`` without a counter.
        baseline_drift: Relative change of the baseline's leading figure over the session; ``None``
            with fewer than four windows.
        meters: Per meter what it reads and with which constants, as it reported at start.
        unavailable: Meters that could not be opened, with the reason.
        overhead: What measuring itself cost.
        spent: All that the session took, lead-ins, pauses and the sessions of this pair that were
            broken off before it included; ``None`` of records that do not tell.
        broken_off: How many those were.
    """

    started: str
    phases: dict[str, Phase]
    discards: tuple[Discard, ...]
    valid: bool
    reason: str | None
    idle_drift: float | None
    baseline_drift: float | None
    meters: dict[str, Any]
    unavailable: dict[str, str]
    overhead: Overhead
    spent: Phase | None = None
    broken_off: int = 0


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
        session_number: Tells measurements of the same artefacts apart.
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
        measuring_version: Of the code that measures; figures of two versions are never pooled.
        files: SHA-256 of each file beside the record, by name.
        rehearsal: True for records that never enter a table.
        item: What a served item is: ``sample``, ``token``, ``second of audio``; ``None`` in records
            from before items had names.
        schema: Layout number.
    """

    id: str
    created: str
    workload: str
    technique: str
    label: str
    seed: int
    session_number: int
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
    measuring_version: int
    files: dict[str, str]
    rehearsal: bool = False
    item: str | None = None
    schema: int = field(default=SCHEMA)

    @property
    def is_synthetic(self) -> bool:
        """Whether any joule of it was made up."""
        return any(c.grade == "S" for c in (self.comparison, *self.comparisons)) or any(
            reading.grade == "S"
            for part in (self.baseline, self.variant, self.session)
            for phase in part.phases.values()
            for reading in phase.readings
        )


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
