"""Pictures as options of ECharts, which draws them in the browser.

What a record says is only ever a value in here, never a key: the library of the pages runs what
stands behind keys that begin with a colon. Tooltips are drawn, not made of HTML, and nothing moves
by itself, which would cost the host that is watched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from bench.dashboard.axes import (
    BARS,
    COLOURS,
    FAINT,
    NEUTRAL,
    Options,
    at_one,
    chart,
    counted,
    line,
    logarithmic,
    scatter,
)
from bench.dashboard.data.blocks import Session
from bench.dashboard.data.curves import Line, Stage, Training
from bench.dashboard.data.pictures import Point
from bench.dashboard.data.system import Sample
from bench.dashboard.language import Words

_BASELINE, _VARIANT = NEUTRAL, COLOURS[0]
MOST_LINES = 12
MOST_IN_FOREST = 40
DERIVED = ("pace", "throughput", "perplexity")
"""Figures that a stage works out of its lines."""


def empty(options: Options) -> bool:
    """Return whether a picture shows nothing."""
    return not any(series.get("data") for series in options["series"])


def loads(samples: Sequence[Sample], words: Words) -> Options:
    """Return how full processor, memory, disk and GPUs were, in percent over time."""
    lines: dict[str, Line] = {
        words("cpu"): [(s.at_s, 100 * s.cpu) for s in samples if s.cpu is not None],
        words("memory"): [(s.at_s, 100 * s.memory) for s in samples if s.memory is not None],
        words("disk"): [(s.at_s, 100 * s.disk) for s in samples if s.disk is not None],
    }
    for name in dict.fromkeys(name for s in samples for name in s.gpu):
        lines[name] = [(s.at_s, 100 * s.gpu[name]) for s in samples if name in s.gpu]
    for name in dict.fromkeys(name for s in samples for name in s.gpu_memory):
        held = [(s.at_s, 100 * s.gpu_memory[name]) for s in samples if name in s.gpu_memory]
        lines[f"{name}, {words('memory')}"] = held
    return _over_time(lines, "%", most=100)


def rates(samples: Sequence[Sample], words: Words) -> Options:
    """Return what went from and to disks, in megabytes per second."""
    lines: dict[str, Line] = {
        words("read"): [
            (s.at_s, s.read_bytes_per_s / 1e6) for s in samples if s.read_bytes_per_s is not None
        ],
        words("written"): [
            (s.at_s, s.written_bytes_per_s / 1e6)
            for s in samples
            if s.written_bytes_per_s is not None
        ],
    }
    return _over_time(lines, "MB/s")


def powers(samples: Sequence[Sample]) -> Options:
    """Return watts by counter over time."""
    names = dict.fromkeys(name for sample in samples for name in sample.power_w)
    lines: dict[str, Line] = {
        name: [(s.at_s, s.power_w[name]) for s in samples if name in s.power_w] for name in names
    }
    return _over_time(lines, "W")


def losses(training: Training, words: Words) -> Options:
    """Return training and validation losses of all stages."""
    lines: dict[str, Line] = {}
    for stage in training.stages:
        title = _title(stage, words)
        lines[f"{title}: {words('training_loss')}"] = stage.lines["loss"]
        if stage.lines["validation_loss"]:
            lines[f"{title}: {words('validation_loss')}"] = stage.lines["validation_loss"]
    return _over(lines, words("steps"), "nats")


def of_stages(training: Training, name: str, unit: str, words: Words) -> Options:
    """Return one figure of all stages: a line of theirs, or one of ``DERIVED``."""
    lines = {
        _title(stage, words): getattr(stage, name) if name in DERIVED else stage.lines[name]
        for stage in training.stages
    }
    return _over(lines, words("steps"), unit)


def energies(training: Training, words: Words, power: bool) -> Options:
    """Return joules since each stage began, or mean watts since the point before, in time."""
    lines = {
        f"{_title(stage, words)}: {name}": each
        for stage in training.stages
        for name, each in (stage.power_w if power else stage.energy_j).items()
    }
    return _over(lines, words("stage_seconds"), "W" if power else "J")


def windows(session: Session, words: Words) -> Options:
    """Return what each window took per sample, both arms in their order; discarded ones hollow."""
    series = []
    for arm, colour in (("baseline", _BASELINE), ("variant", _VARIANT)):
        for kept in (True, False):
            points = [
                [window.number, window.per_item]
                for window in session.windows
                if window.arm == arm and window.kept is kept and window.per_item is not None
            ]
            style = {"color": colour if kept else "transparent", "borderColor": colour}
            name = words(arm) if kept else f"{words(arm)} ({words('discards').lower()})"
            if points or kept:
                series.append(scatter(name, points, {**style, "borderWidth": 1.5}))
    return counted(chart(series, words("window"), f"{session.unit} {words('per_sample')}"))


def running_ratio(session: Session, words: Words) -> Options:
    """Return the ratio and its interval after so many blocks."""
    ratios = session.ratios
    series = [
        line("", [[r.blocks, end] for r, end in zip(ratios, ends, strict=True)], BARS)
        for ends in ([r.low for r in ratios], [r.high for r in ratios])
    ]
    series.append(line(words("ratio"), [[r.blocks, r.ratio] for r in ratios], _VARIANT))
    series[-1]["markLine"] = at_one("yAxis")
    return counted(chart(series, words("blocks"), words("ratio")))


def pareto(points: Sequence[Point], unit: str, times: float, of: str, words: Words) -> Options:
    """Return quality against cost with intervals; who is on the front is filled.

    Args:
        points: Of one family.
        unit: Of the cost, per sample.
        times: What the metric is multiplied by on the axis.
        of: Unit of the metric on the axis.
        words: The language.
    """
    bars: list[list[float | None]] = []
    for p in points:
        middle, height = p.cost[0], times * p.quality[0]
        bars += [[p.cost[1], height], [p.cost[2], height], [None, None]]
        bars += [[middle, times * p.quality[1]], [middle, times * p.quality[2]], [None, None]]
    series = [line("", bars, BARS)]
    for front in (True, False):
        found = [
            {"name": p.label, "value": [p.cost[0], times * p.quality[0]]}
            for p in points
            if p.front is front
        ]
        style = {"color": _VARIANT if front else "transparent", "borderColor": _VARIANT}
        name = words("on_front" if front else "dominated")
        series.append(scatter(name, found, {**style, "borderWidth": 1.5}))
    best = sorted((p for p in points if p.front), key=lambda p: p.cost[0])
    series.append(line("", [[p.cost[0], times * p.quality[0]] for p in best], FAINT))
    series[-1]["step"] = "end"
    options = chart(series, f"{unit} {words('per_sample')}", of)
    options["tooltip"] = {**options["tooltip"], "trigger": "item"}
    return options


def forest(rows: Sequence[Mapping[str, Any]], words: Words) -> Options:
    """Return ratios of one family under each other with their intervals, the lowest on top."""
    found = [r for r in rows if None not in (r["ratio"], r["low"], r["high"])][:MOST_IN_FOREST]
    found.sort(key=lambda row: row["ratio"])
    bars: list[list[float | None]] = []
    for place, row in enumerate(found):
        bars += [[row["low"], place], [row["high"], place], [None, None]]
    points = [
        {"name": row["label"], "value": [row["ratio"], place]} for place, row in enumerate(found)
    ]
    series = [line("", bars, NEUTRAL), scatter(words("ratio"), points, {"color": _VARIANT})]
    series[1]["markLine"] = at_one("xAxis")
    options = chart(series, words("ratio"), "")
    labels = [f"{row['label']}, {words('seed')} {row['seed'] or 0:.0f}" for row in found]
    options["yAxis"] = {
        "type": "category",
        "data": labels,
        "inverse": True,
        "axisLabel": {"color": NEUTRAL, "width": 190, "overflow": "truncate"},
        "axisTick": {"show": False},
    }
    options["tooltip"] = {**options["tooltip"], "trigger": "item"}
    return options


def break_even(
    rows: Sequence[tuple[str, float, float]], baseline: float, unit: str, words: Words
) -> Options:
    """Return what is spent over the number of items served, both axes logarithmic.

    Args:
        rows: Label, cost of the optimisation, cost per inference; the cost may be 0.
        baseline: Cost per inference of the baseline.
        unit: Of all costs.
        words: The language.
    """
    inferences = [10 ** (n / 4) for n in range(8, 41)]
    series = [line(words("baseline"), [[n, baseline * n] for n in inferences], _BASELINE)]
    for colour, (label, cost, each) in zip(COLOURS, rows, strict=False):
        series.append(line(label, [[n, cost + each * n] for n in inferences], colour))
    return logarithmic(chart(series, words("inferences"), unit))


def classes(counts: Mapping[str, int], words: Words) -> Options:
    """Return how often each class occurs."""
    options = chart(
        [{"type": "bar", "name": words("rows"), "data": list(counts.values()), "color": _VARIANT}],
        words("rows"),
        "",
    )
    options["yAxis"] = {
        "type": "category",
        "data": list(counts),
        "inverse": True,
        "axisLabel": {"color": NEUTRAL, "width": 120, "overflow": "truncate"},
    }
    return options


def _title(stage: Stage, words: Words) -> str:
    arm = words(stage.arm)
    return arm if stage.name == "train" else f"{arm}, {stage.name}"


def _over_time(lines: Mapping[str, Line], unit: str, most: float | None = None) -> Options:
    """Return lines over the hour; a gap of a minute is a gap in the line."""
    series = [
        line(
            name, [[_clock(at_s), value] for at_s, value in _gaps(each)], COLOURS[n % len(COLOURS)]
        )
        for n, (name, each) in enumerate(list(lines.items())[:MOST_LINES])
    ]
    options = chart(series, "", unit)
    options["xAxis"] = {**options["xAxis"], "type": "time", "name": ""}
    if times := [at_s for each in lines.values() for at_s, _ in each]:
        # One sample alone would stand in the middle of two days.
        ends = min(times), max(max(times), min(times) + 60)
        options["xAxis"] |= dict(zip(("min", "max"), map(_clock, ends), strict=True))
    if most is not None:
        options["yAxis"] = {**options["yAxis"], "min": 0, "max": most}
    return options


def _gaps(each: Line) -> Iterable[tuple[float, float | None]]:
    for before, now in pairwise([None, *each]):
        if before is not None and now is not None and now[0] - before[0] > 60:
            yield before[0] + 1, None
        if now is not None:
            yield now


def _clock(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")


def _over(lines: Mapping[str, Line], x: str, y: str) -> Options:
    there = [(name, each) for name, each in lines.items() if each][:MOST_LINES]
    series = [
        line(name, [list(point) for point in each], COLOURS[n % len(COLOURS)])
        for n, (name, each) in enumerate(there)
    ]
    return chart(series, x, y)
