"""What a search says while it goes on, and when it has come to its end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from bench import store
from bench.reporting import searched, tables
from bench.reporting.cells import ratio
from bench.reporting.fronts import ranked, spent
from bench.reporting.scales import scale
from bench.reporting.terminal import TerminalTable
from bench.search import Search, Tried
from bench.store import write_bytes
from bench.tune.budget import seconds_left
from bench.tune.settings import Budget
from bench.tune.space import Value, overrides

_FREE_BYTES = 50_000_000
_SHOWN = 5
"""Commands that a terminal shows; the CSV has all."""


def begun(number: int, drawn: Mapping[str, Value]) -> str:
    """Return a line on a trial that begins."""
    return f"trial {number}: {', '.join(overrides(drawn)) or 'nothing drawn'}"


def came_of(tried: Tried) -> str:
    """Return a line on a finished trial."""
    if tried.quality is None or tried.state != "complete" or tried.comparison is None:
        return f"trial {tried.number}: {tried.state}, {tried.reason}"
    judged, cost = tried.quality, tried.comparison
    as_printed = scale(judged.metric)
    measure = "joules" if cost.measure == "energy_j" else "seconds"
    return (
        f"trial {tried.number}: {judged.metric} {as_printed.value(judged.variant)} "
        f"{as_printed.unit} held out ({as_printed.difference(judged.difference)}), {measure} times "
        f"{ratio(cost.ratio)} [{ratio(cost.low)}, {ratio(cost.high)}]"
    )


def progress(search: Search, budget: Budget, workers: int) -> str:
    """Return a line on what is done, what it has cost and how long the rest will take.

    Args:
        search: So far.
        budget: Its limits.
        workers: At work, this one included.
    """
    of = "" if budget.trials is None else f" of {budget.trials}"
    left_s = seconds_left(budget, search, workers)
    left = "" if left_s is None else f", about {math.ceil(left_s / 60)} min left"
    return f"{len(search.tried)}{of} trials, {spent(search)} so far{left}"


def write(search: Search, paper: Path) -> list[Path]:
    """Write the Pareto set as tables and as a figure; joules that were simulated are not written.

    Raises:
        StoreError: The paper cannot be written.
    """
    from bench.reporting.figures import search as figure

    if search.grade == "S" or not ranked(search).best:
        return []
    out = paper / "tables"
    store.check_writable(out, _FREE_BYTES, key="paper.root")
    table = searched.table(search)
    contents = {end: form(table) for end, form in tables.FORMATS.items()}
    written = [write_bytes(out / f"{table.name}.{end}", made) for end, made in contents.items()]
    return [*written, *figure.write(search, paper / "figures")]


def show(search: Search, console: Console) -> None:
    """Print the Pareto set, what the search took, and the lines to paste."""
    console.print(TerminalTable(searched.table(search)))
    best = ranked(search).best
    for point in best[:_SHOWN]:
        console.print(f"Apply {came_of(point.tried)}", markup=False, soft_wrap=True)
        console.print(f"  {point.tried.command}", markup=False, soft_wrap=True)
    if len(best) > _SHOWN:
        console.print(f"... and {len(best) - _SHOWN} more: column command of the CSV")
