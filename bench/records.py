"""What one pair produced, as frozen data: the only thing the reports ever read.

A record is one JSON document with a schema number. Fields carry their unit as a suffix; a reading
that failed is ``None`` with a reason, never zero. ``results/README.md`` explains every field.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

SCHEMA = 1
"""Number of the record's layout; a rename or a change of meaning raises it."""

Grade = Literal["A", "B", "C", "S", "none"]
"""How a joule was obtained: wall meter, hardware counter, model, synthetic (tests), not at all."""

MEASURED_GRADES: frozenset[str] = frozenset({"A", "B"})
"""Grades that may carry a headline."""

MeasureName = Literal["energy_j", "cpu_s", "wall_s"]


class RecordError(ValueError):
    """A document that is not a record of this schema; the message names the field."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Joules of one component over one phase or window.

    Attributes:
        meter: Name of the meter, e.g. ``counters``.
        component: What was metered, e.g. ``cpu:0``, ``gpu:1``, ``dram:0``.
        source: Where the figure comes from, e.g. ``zeus.rapl``, ``codecarbon.cpu_load``.
        grade: How it was obtained.
        energy_j: Joules, gross; ``None`` if the reading failed.
        reason: Why ``energy_j`` is missing; ``None`` when it is there.
    """

    meter: str
    component: str
    source: str
    grade: Grade
    energy_j: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """One accounted span of work.

    Attributes:
        wall_s: Seconds on a monotonic clock.
        cpu_s: CPU-seconds of the process tree.
        readings: Joules by meter and component.
        items: Samples processed (training examples, inferences), 0 where that means nothing.
    """

    wall_s: float
    cpu_s: float
    readings: tuple[Reading, ...] = ()
    items: int = 0


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
    """

    started: str
    phases: dict[str, Phase]
    discards: tuple[Discard, ...]
    valid: bool
    reason: str | None
    meters: dict[str, Any]
    unavailable: dict[str, str]


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


T = TypeVar("T")


def to_json(record: Record) -> str:
    """Return the record as indented JSON with sorted keys and no NaN."""
    plain = dataclasses.asdict(record)
    return json.dumps(plain, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


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
    if schema != SCHEMA:
        raise RecordError(f"schema is {schema!r}, this version of joulebench reads {SCHEMA}")
    return build(Record, document)


def build(kind: type[T], value: Any, where: str = "") -> T:
    """Build a dataclass of this module from plain JSON values, checking every field.

    Args:
        kind: The dataclass wanted.
        value: A mapping of its fields.
        where: Dotted path of ``value`` in its document, for the error message.

    Raises:
        RecordError: A field is missing, unknown or of the wrong type.
    """
    return typing.cast(T, _decode(kind, value, where or kind.__name__.lower()))


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _decode_fields(kind, value, where)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = [a for a in arguments if a is not type(None)]
        return _decode(inner, value, where)
    if origin is Literal:
        _require(value in arguments, where, f"one of {arguments}", value)
        return value
    if origin is tuple:
        _require(isinstance(value, list | tuple), where, "a list", value)
        return tuple(_decode(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        _require(isinstance(value, dict), where, "an object", value)
        return {k: _decode(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is float:
        _require(isinstance(value, int | float) and not isinstance(value, bool), where, kind, value)
        return float(value)
    _require(isinstance(value, kind) and not (kind is int and value is True), where, kind, value)
    return value


def _decode_fields(kind: Any, value: Any, where: str) -> Any:
    _require(isinstance(value, dict), where, "an object", value)
    hints = typing.get_type_hints(kind)
    required = {
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - set(value)):
        raise RecordError(f"{where} lacks {', '.join(missing)}")
    if unknown := sorted(set(value) - set(hints)):
        raise RecordError(f"{where} has fields this schema does not know: {', '.join(unknown)}")
    return kind(**{name: _decode(hints[name], v, f"{where}.{name}") for name, v in value.items()})


def _require(holds: bool, where: str, wanted: object, value: object) -> None:
    if not holds:
        expected = wanted.__name__ if isinstance(wanted, type) else wanted
        raise RecordError(f"{where} should be {expected}, is {value!r}")
