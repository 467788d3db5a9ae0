"""What was measured, as tables for Parquet: windows, power trace, predictions, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from bench.measurement import Span
from bench.measurement.overhead import NAME as EMPTY
from bench.measurement.session import Window
from bench.readings import Logged


def windows_frame(windows: Sequence[Window]) -> pd.DataFrame:
    """Return one row per window, with a column of joules per meter and component."""
    return pd.DataFrame(
        [
            {
                "block": window.block,
                "order": window.order,
                "position": window.position,
                "arm": window.arm,
                "start_ns": window.span.start_ns,
                "end_ns": window.span.end_ns,
                "items": window.items,
                "wall_s": window.span.wall_s,
                "cpu_s": window.span.cpu_s,
                "steal_share": window.span.steal_share,
                "foreign_share": window.span.foreign_share,
                "cpu_throttles": window.span.host.cpu_throttles,
                "major_faults": window.span.host.major_faults,
                "kept": window.kept,
                **{f"{k}_start_c": c for k, c in window.span.host.start_temperature_c.items()},
                **{f"{r.meter}/{r.component}_j": r.energy_j for r in window.span.readings},
            }
            for window in windows
        ]
    )


def trace_frame(spans: Sequence[Span]) -> pd.DataFrame:
    """Return mean power between edges, one row per span, meter and component.

    Nothing polls during a window, so the edges are all there is; the stretches between spans
    (pauses, lead-ins) are not read.
    """
    columns = ["start_ns", "end_ns", "span", "meter", "component", "source", "grade", "power_w"]
    rows = [
        (
            span.start_ns,
            span.end_ns,
            span.name,
            reading.meter,
            reading.component,
            reading.source,
            reading.grade,
            None if reading.energy_j is None else reading.energy_j / span.wall_s,
        )
        for span in spans
        if span.name != EMPTY  # no time passes in it, so it has no power
        for reading in span.readings
    ]
    return pd.DataFrame(rows, columns=columns)


def predictions_frame(
    labels: Sequence[float], baseline: Sequence[float], variant: Sequence[float]
) -> pd.DataFrame:
    """Return what both arms answered, one row per test example."""
    answers = {"label": labels, "baseline": baseline, "variant": variant}
    return pd.DataFrame({"example": range(len(labels)), **answers})


def training_frame(histories: Mapping[str, Sequence[Logged]]) -> pd.DataFrame:
    """Return one row per logged point of each arm's trainings, joules since the stage began."""
    columns = ["arm", "stage", "step", "loss", "learning_rate", "metric", "validation_loss"]
    columns += ["wall_s"]
    rows = [
        {
            "arm": arm,
            **{name: getattr(point, name) for name in columns[1:]},
            **{f"{r.meter}/{r.component}_j": r.energy_j for r in point.readings},
        }
        for arm, history in histories.items()
        for point in history
    ]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)
