"""A record as one row of a table whose columns never change: what is cached, pooled and printed.

A column that holds joules carries its grade in its name (``energy_b_ratio``, ``train_energy_b_j``),
so joules of two grades cannot meet in one. What a record lacks is null, never 0.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import pyarrow as pa

from bench import readings
from bench.findings import Comparison
from bench.readings import ELSEWHERE, MEASURED_GRADES, Phase, Reading, total
from bench.records import Arm, Record

GRADES = ("A", "B", "C", "S")
MEASURES = (*(f"energy_{grade.lower()}" for grade in GRADES), "wall", "cpu")
"""Prefixes of the columns of a comparison: joules by grade, seconds, CPU-seconds."""

_COMPARED = {
    "source": pa.string(),
    "scope": pa.string(),
    **dict.fromkeys(("ratio", "low", "high", "p_value", "log_ratio_sd"), pa.float64()),
    **dict.fromkeys(("baseline_per_item", "variant_per_item"), pa.float64()),
}
_ARM = {
    "digest": pa.string(),
    **dict.fromkeys(("bytes", "parameters", "nonzero_parameters"), pa.int64()),
    "sparsity": pa.string(),
    "macs": pa.int64(),
    **dict.fromkeys(("peak_memory_bytes", "training_peak_memory_bytes"), pa.int64()),
    **dict.fromkeys(("trained_parameters", "adapter_bytes"), pa.int64()),
    **{"metrics_json": pa.string(), "events": pa.string(), "latency_requests": pa.int64()},
    **{f"latency_{quantile}_s": pa.float64() for quantile in ("p50", "p90", "p99")},
    **{f"infer_mean_power_{grade}_w": pa.float64() for grade in "ab"},
}
_OF_ARM = (
    *("parameters", "nonzero_parameters", "sparsity", "macs", "peak_memory_bytes"),
    *("training_peak_memory_bytes", "trained_parameters", "adapter_bytes"),
)
_COST = {
    **{f"energy_{grade.lower()}_j": pa.float64() for grade in GRADES},
    **{"wall_s": pa.float64(), "cpu_s": pa.float64(), "items": pa.int64()},
}
_COSTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "train": ("baseline", ("train",)),
    "optimise": ("variant", ("search", "optimise", "convert")),
    "compile_baseline": ("baseline", ("compile",)),
    "compile_variant": ("variant", ("compile",)),
}
"""What was spent once: whose phases are added up."""

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "host", "folder", "created", "workload")),
        *((name, pa.string()) for name in ("technique", "label", "technique_json")),
        ("recipe_json", pa.string()),
        ("seed", pa.int64()),
        ("session_number", pa.int64()),
        ("measuring_version", pa.int64()),
        *((name, pa.bool_()) for name in ("rehearsal", "synthetic")),
        ("item", pa.string()),
        *((name, pa.string()) for name in ("protocol", "protocol_json", "runtime", "runtime_json")),
        *((name, pa.string()) for name in ("served_on_json", "environment_json", "meters_json")),
        *((name, pa.string()) for name in ("unavailable_json", "data_json")),
        ("lead", pa.string()),
        ("blocks", pa.int64()),
        ("discarded", pa.int64()),
        ("discards_json", pa.string()),
        *((f"{m}_{name}", kind) for m in MEASURES for name, kind in _COMPARED.items()),
        ("side_by_side_json", pa.string()),
        ("metric", pa.string()),
        *((f"quality_{name}", pa.float64()) for name in ("baseline", "variant", "difference")),
        *((f"quality_{name}", pa.float64()) for name in ("low", "high", "margin")),
        *((f"quality_{name}", pa.int64()) for name in ("examples", "lost", "gained")),
        ("quality_verdict", pa.string()),
        *(
            (f"{arm}_{name}", kind)
            for arm in ("baseline", "variant")
            for name, kind in _ARM.items()
        ),
        *((f"{cost}_{name}", kind) for cost in _COSTS for name, kind in _COST.items()),
        *((f"break_even_{name}", pa.float64()) for name in ("inferences", "low", "high")),
        ("break_even_measure", pa.string()),
        ("break_even_reason", pa.string()),
        *((name, pa.bool_()) for name in ("bytes_fell", "no_simulation_left", "reload_exact")),
        ("exploited", pa.bool_()),
        ("kernels", pa.string()),
        *((f"verdict_{name}", pa.string()) for name in ("energy", "time", "reason")),
        ("headline", pa.bool_()),
        ("session_valid", pa.bool_()),
        ("session_reason", pa.string()),
        ("started", pa.string()),
        ("idle_power_a_w", pa.float64()),
        ("idle_power_b_w", pa.float64()),
        ("idle_drift", pa.float64()),
        ("baseline_drift", pa.float64()),
        *((f"overhead_{name}", pa.float64()) for name in ("cpu_share", "wall_s", "edges_cpu_s")),
        *((f"overhead_energy_{grade}_j", pa.float64()) for grade in "ab"),
    ]
)
"""Columns and their types; units are suffixes, ``_json`` holds what differs from host to host."""

_CLOCKS = ("frequency_mhz", "sm_clock_mhz", "memory_clock_mhz")
_OWN = tuple(f.name for f in fields(Record) if f.name in SCHEMA.names)
_json = json.JSONEncoder(sort_keys=True, default=str, ensure_ascii=False).encode


def row(record: Record, folder: str) -> dict[str, Any]:
    """Return the columns of one record that are not null.

    Args:
        record: The pair.
        folder: Where it lies, relative to the results' root, with forward slashes.
    """
    judged, session, knobs = record.quality, record.session, record.config.get("workload")
    return {
        **{name: getattr(record, name) for name in _OWN},
        "folder": folder,
        "technique_json": _json(record.config.get("technique")),
        "recipe_json": _json(recipe(record.config)),
        "synthetic": record.is_synthetic,
        # From before items had names: language models say how they are served.
        "item": record.item or ("token" if "serve" in (knobs or {}) else "sample"),
        "protocol": _title(record.protocol),
        "protocol_json": _json(record.protocol),
        "runtime": _title(record.runtime),
        "runtime_json": _json(record.runtime),
        "served_on_json": _json(record.environment.get("served_on")),
        "environment_json": _json(_environment(record.environment)),
        "meters_json": _json(session.meters),
        "unavailable_json": _json(session.unavailable),
        "data_json": _json(record.data),
        "lead": measure_of(record.comparison),
        "blocks": record.comparison.blocks,
        "discarded": record.comparison.discarded,
        "discards_json": _json([d.condition for d in session.discards]),
        **_comparisons((record.comparison, *record.comparisons)),
        "side_by_side_json": _side_by_side(record.comparisons),
        "metric": judged.metric,
        **{f"quality_{name}": value for name, value in _parts(judged).items() if name != "metric"},
        **_arm("baseline", record.baseline, record),
        **_arm("variant", record.variant, record),
        **_costs(record),
        **{f"break_even_{name}": value for name, value in _parts(record.break_even).items()},
        "break_even_reason": record.break_even_reason,
        **_parts(record.proof),
        "kernels": ", ".join(record.proof.kernels),
        "verdict_energy": record.verdict.energy,
        "verdict_time": record.verdict.time,
        "verdict_reason": record.verdict.reason,
        "headline": record.verdict.headline,
        "session_valid": session.valid,
        "session_reason": session.reason,
        "started": session.started,
        **_power("idle_power", session.phases.get("idle_before"), record),
        "idle_drift": session.idle_drift,
        "baseline_drift": session.baseline_drift,
        "overhead_cpu_share": session.overhead.cpu_share,
        "overhead_wall_s": session.overhead.wall_s,
        "overhead_edges_cpu_s": session.overhead.edges_cpu_s,
        **{f"overhead_energy_{g.lower()}_j": _most(session.overhead.readings, g) for g in "AB"},
    }


def measure_of(comparison: Comparison) -> str:
    """Return the prefix of the columns that a comparison fills, one of ``MEASURES``."""
    if comparison.measure == "energy_j":
        return f"energy_{comparison.grade.lower()}"
    return comparison.measure.removesuffix("_s")


def digest(text: str) -> str:
    """Return a short name for a JSON column's value: equal values, equal names."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _comparisons(found: Iterable[Comparison]) -> dict[str, Any]:
    """Return the first comparison of each measure and grade: the leading meter's."""
    columns: dict[str, Any] = {}
    for comparison in found:
        prefix = measure_of(comparison)
        for name in _COMPARED:
            columns.setdefault(f"{prefix}_{name}", getattr(comparison, name))
    return columns


def _side_by_side(found: Iterable[Comparison]) -> str | None:
    """Return what several meters counted of one session; ``None`` if there were none or one."""
    counted = [c for c in found if c.is_counted]
    names = ("source", "scope", "grade", "ratio", "baseline_per_item")
    each = [{name: getattr(c, name) for name in names} for c in counted]
    return _json(each) if len(each) > 1 else None


def _environment(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what records of one machine share: no findings, no clock of the moment."""

    def steady(part: Any) -> Any:
        if isinstance(part, list):
            return [steady(one) for one in part]
        kept = part.items() if isinstance(part, dict) else ()
        return {name: value for name, value in kept if name not in _CLOCKS} if kept else part

    return {name: steady(part) for name, part in found.items() if name != "doctor"}


def recipe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked for of workload and training, but for data's place and the seed."""
    asked = config.get("workload")
    named = {k: v for k, v in asked.items() if k not in ("data_root", "seed")} if asked else None
    return {"training": config.get("training"), "workload": named}


def _arm(name: str, arm: Arm, record: Record) -> dict[str, Any]:
    return {
        f"{name}_digest": arm.artefact.digest,
        f"{name}_bytes": arm.artefact.bytes,
        **{f"{name}_{key}": getattr(arm, key) for key in _OF_ARM},
        f"{name}_metrics_json": _json(arm.metrics),
        f"{name}_events": ", ".join(dict.fromkeys(e.kind for e in arm.events)) or None,
        **{f"{name}_latency_{key}": value for key, value in _parts(arm.latency).items()},
        **_power(f"{name}_infer_mean_power", arm.phases.get("infer"), record),
    }


def _costs(record: Record) -> dict[str, float | None]:
    columns: dict[str, float | None] = {}
    apart = _made_elsewhere(record)
    for cost, (arm, names) in _COSTS.items():
        all_phases = getattr(record, arm).phases
        phases = [all_phases[name] for name in names if name in all_phases]
        if not phases:
            continue
        if cost not in apart:  # seconds of two machines are no sum, either
            columns[f"{cost}_wall_s"] = sum(phase.wall_s for phase in phases)
            columns[f"{cost}_cpu_s"] = sum(phase.cpu_s for phase in phases)
        searched = "search" in names and "search" in all_phases  # most of it was no training
        columns[f"{cost}_items"] = None if searched else sum(phase.items for phase in phases)
        for grade in GRADES:
            columns[f"{cost}_energy_{grade.lower()}_j"] = joules(phases, grade, record)
    return columns


def _made_elsewhere(record: Record) -> set[str]:
    """Return which costs another machine has paid, in part or as a whole."""
    reason = ELSEWHERE.match(record.break_even_reason or "")
    here = reason["here"] if reason else record.variant.made_on
    trained = record.baseline.made_on not in (None, here)
    return {cost for cost, apart in (("train", trained), ("optimise", reason)) if apart}


def joules(phases: Iterable[Phase], grade: str, record: Record) -> float | None:
    """Return the joules of phases by the meter that leads in that grade; ``None`` if any lack."""
    lead = next((c for c in record.comparisons if c.grade == grade), None)
    if lead is None:
        return None
    return readings.joules(total(phases).readings, lead.source, lead.grade, lead.scope)


def _power(prefix: str, phase: Phase | None, record: Record) -> dict[str, float]:
    if phase is None or phase.wall_s <= 0:
        return {}
    return {
        f"{prefix}_{grade.lower()}_w": energy_j / phase.wall_s
        for grade in sorted(MEASURED_GRADES)
        if (energy_j := joules([phase], grade, record)) is not None
    }


def _title(settings: Mapping[str, Any]) -> str:
    return str(settings.get("name") or digest(_json(settings)))


def _parts(part: Any) -> dict[str, Any]:
    """Return the fields of a part of a record; none if there is no such part."""
    return {name: getattr(part, name) for name in _names(part.__class__)} if part else {}


@functools.cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))


def _most(readings: Iterable[Reading], grade: str) -> float | None:
    found = [r.energy_j for r in readings if r.grade == grade and r.energy_j is not None]
    return max(found, default=None)
