"""Every column that a table's YAML may ask for, by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.reporting import costs, hosts, measures, metrics, stability, subjects, trainings
from bench.reporting.columns import Column
from bench.reporting.multitask import columns as over_tasks

COLUMNS: dict[str, tuple[Column[Any], ...]] = {
    **{name: (subjects.key_column(name),) for name in ("workload", "host", "protocol", "runtime")},
    "technique": (subjects.TECHNIQUE,),
    "seed": (subjects.SEED,),
    "pairs": (subjects.POOLED,),
    "quality": (subjects.QUALITY,),
    "difference": (subjects.DIFFERENCE,),
    "quality_verdict": (subjects.QUALITY_VERDICT,),
    "energy": measures.ENERGY,
    "seconds": (measures.SECONDS,),
    "cpu_seconds": (measures.CPU_SECONDS,),
    "modelled_energy": (measures.MODELLED_ENERGY,),
    "energy_per_item": measures.ENERGY_PER_ITEM,
    "seconds_per_item": (measures.SECONDS_PER_ITEM,),
    "latency_p50": (measures.latency_column("p50"),),
    "latency_p90": (measures.latency_column("p90"),),
    "latency_p99": (measures.latency_column("p99"),),
    "throughput": (measures.THROUGHPUT,),
    "adjusted_p": (measures.ADJUSTED_P,),
    "parameters": (subjects.share_column("parameters", "parameters", ""),),
    "bytes": (subjects.share_column("bytes", "bytes", "B"),),
    "macs": (subjects.share_column("macs", "MACs", ""),),
    "bytes_ratio": (subjects.share_column("bytes", "bytes"),),
    "macs_ratio": (subjects.share_column("macs", "MACs"),),
    "peak_memory": (subjects.share_column("peak_memory_bytes", "peak memory", "B"),),
    "training_memory": (
        subjects.share_column("training_peak_memory_bytes", "memory in training", "B"),
    ),
    "trained_parameters": (subjects.share_column("trained_parameters", "trained", ""),),
    "adapter_bytes": (subjects.ADAPTER,),
    "sparsity": (subjects.SPARSITY,),
    "bits": (subjects.BITS,),
    "training": costs.cost_columns(costs.TRAINING),
    "optimisation": costs.cost_columns(costs.OPTIMISATION),
    "overhead": (costs.OVERHEAD,),
    "making": (trainings.MAKING,),
    "training_rate": (trainings.RATE,),
    "events": (trainings.EVENTS,),
    "break_even": (costs.BREAK_EVEN,),
    "exploited": (subjects.EXPLOITED,),
    "grade": (subjects.GRADE,),
    "blocks": (stability.BLOCKS,),
    "sessions": (stability.SESSIONS,),
    "discards": (stability.DISCARDS,),
    "smallest_saving": (stability.SMALLEST_SAVING,),
    "idle_drift": (stability.IDLE_DRIFT,),
    "baseline_drift": (stability.BASELINE_DRIFT,),
    "measuring": (stability.MEASURING,),
    "verdict": (subjects.VERDICT,),
}
"""Of tables whose rows are techniques; joules have a column per grade."""

MADE = ("saving_at_volume", "robust")
"""Those that depend on more than the row: see ``technique_columns``."""


def technique_columns(name: str, inferences: float, results: Path) -> tuple[Column[Any], ...]:
    """Return the columns of that name.

    Args:
        name: Of ``COLUMNS`` or ``MADE``, or ``metrics.`` and the name of a metric.
        inferences: Over which a life-cycle saving is counted.
        results: Folder beside whose records the windows lie.
    """
    if name == "saving_at_volume":
        return (costs.saving_column(inferences),)
    if name == "robust":
        return (stability.robust_column(results),)
    if name.startswith(metrics.PREFIX):
        return (metrics.metric_column(name.removeprefix(metrics.PREFIX)),)
    return COLUMNS[name]


def is_metric(name: str, of: str) -> bool:
    """Return whether a column's name asks for a metric, whatever metrics the records have."""
    return of == "techniques" and name.startswith(metrics.PREFIX) and name != metrics.PREFIX


def names(of: str) -> tuple[str, ...]:
    """Return the names that a table of ``techniques``, of ``hosts`` or of ``tasks`` knows."""
    known = {"hosts": tuple(hosts.COLUMNS), "tasks": tuple(over_tasks.COLUMNS)}
    return known.get(of, (*COLUMNS, *MADE))
