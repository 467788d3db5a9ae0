"""Do the comparisons, the totals of inference and the break-even follow from the windows?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.findings import Comparison
from bench.readings import ELSEWHERE, Phase
from bench.statistics.ratios import sign_flip_p
from bench.validate import Finding
from bench.validate.case import Case, Columns

ENUMERATED = 16
"""Most blocks whose sign vectors are all written out here: 2**16 rows of 16 signs are 8 MB."""

MEAN_OVER_MEAN = 10.0
"""Most that an arithmetic mean of windows of one work exceeds their geometric mean: a factor that
no noise reaches (a spread of 2 in logarithms) and every slip of a unit does."""

LEADING = ("A", "B", "S")
"""Grades that come before seconds, the best first."""

Values = NDArray[Any]


class Figure(NamedTuple):
    """What can be compared: joules of one meter and grade, or seconds."""

    measure: str
    scope: str
    source: str
    grade: str


def planned(case: Case) -> list[Figure]:
    """Return what the session can compare, the one that leads first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for channel in case.channels:
        groups.setdefault((channel.meter, channel.grade), []).append(channel.component)
    joules = [Figure("energy_j", "+".join(c), m, grade) for (m, grade), c in groups.items()]
    leading = [
        figure
        for grade in LEADING
        for figure in joules
        if figure.grade == grade and _counts_what_serves(case, figure)
    ]
    return [
        *leading,
        Figure("wall_s", "clock", "clock", "none"),
        Figure("cpu_s", "process tree", "clock", "none"),
        *(figure for figure in joules if figure not in leading),
    ]


def _counts_what_serves(case: Case, figure: Figure) -> bool:
    """Whether joules are of the device that the record says served; of an unknown one they are."""
    served_on = case.record.environment.get("served_on", {})
    if served_on.get("cuda") is None and served_on.get("device") != "cpu":
        return True
    device = "cpu" if served_on["device"] == "cpu" else "gpu"
    return any(name.split(":")[0] in ("wall", "soc", device) for name in figure.scope.split("+"))


def values_of(case: Case, windows: Columns, figure: Figure) -> Values | None:
    """Return a figure of every window, NaN where a component is missing; ``None`` without any."""
    if figure.measure != "energy_j":
        return windows[figure.measure]
    columns = [
        windows.get(channel.column)
        for channel in case.channels
        if (channel.meter, channel.grade) == (figure.source, figure.grade)
    ]
    if not columns or any(column is None for column in columns):
        return None
    total: Values = np.sum([column for column in columns if column is not None], axis=0)
    return total


def arms_per_item(windows: Columns, values: Values | None) -> tuple[Values, Values] | None:
    """Return a figure per item of the kept blocks, two arrays of shape ``(blocks, 2)``.

    ``None`` if a block hasn't two windows of each arm.
    """
    if values is None:
        return None
    arms = []
    numbers = np.unique(windows["block"][windows["kept"]])
    for arm in ("baseline", "variant"):
        chosen = windows["kept"] & (windows["arm"] == arm)
        found, counts = np.unique(windows["block"][chosen], return_counts=True)
        if not np.array_equal(found, numbers) or not (counts == 2).all():
            return None
        order = np.argsort(windows["block"][chosen], kind="stable")
        arms.append((values[chosen] / windows["items"][chosen])[order].reshape(-1, 2))
    return arms[0], arms[1]


def check(case: Case) -> Iterator[Finding]:
    """Compute everything again from the windows."""
    yield from _lead(case)
    yield from _totals(case)
    if (windows := case.tables.get("windows")) is None:
        return
    expected = []
    for figure in planned(case):
        found = arms_per_item(windows, values_of(case, windows, figure))
        if found is not None and (found[0] > 0).all() and (found[1] > 0).all():
            expected.append((figure, found))
    wanted = [figure for figure, _ in expected]
    given = [Figure(c.measure, c.scope, c.source, c.grade) for c in case.record.comparisons]
    if given != wanted:
        one, two = next(pair for pair in itertools.zip_longest(given, wanted) if pair[0] != pair[1])
        yield case.error("comparisons", f"comparisons has {_named(one)}, expected {_named(two)}")
    for place, comparison in enumerate(case.record.comparisons):
        if given[place] in wanted:
            _, arms = expected[wanted.index(given[place])]
            if len(arms[0]) >= 2:
                yield from _comparison(case, f"comparisons[{place}]", comparison, arms)
    yield from _infer(case, windows)
    yield from _break_even(case, windows)


def _lead(case: Case) -> Iterator[Finding]:
    record = case.record
    if not record.comparisons:
        yield case.error("comparisons", "comparisons is empty")
    elif record.comparison != record.comparisons[0]:
        yield case.error("lead", "comparison is not the first of comparisons")


def _comparison(
    case: Case, field: str, given: Comparison, arms: tuple[Values, Values]
) -> Iterator[Finding]:
    baseline, variant = (np.log(arm) for arm in arms)
    d = variant.mean(axis=1) - baseline.mean(axis=1)
    margin = stats.t.ppf(0.975, len(d) - 1) * stats.sem(d)
    for check_name, name, value in (
        ("ratio", "ratio", np.exp(d.mean())),
        ("interval", "low", np.exp(d.mean() - margin)),
        ("interval", "high", np.exp(d.mean() + margin)),
        ("p-value", "p_value", _p_value(d)),
        ("spread", "log_ratio_sd", d.std(ddof=1)),
        ("per-item", "baseline_per_item", np.exp(baseline.mean())),
        ("per-item", "variant_per_item", np.exp(variant.mean())),
    ):
        yield from case.equal(check_name, f"{field}.{name}", getattr(given, name), float(value))


def _p_value(d: Values) -> float:
    if len(d) > ENUMERATED:
        return sign_flip_p(d)
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(d))))
    # The same sum in another order differs in its last bits and must still count as equal.
    least = abs(d.sum()) - 1e-12 * np.abs(d).sum()
    return float((np.abs(signs @ d) >= least).mean())


def _totals(case: Case) -> Iterator[Finding]:
    """Joules or seconds per item, times items, make the total: from the record alone."""
    for place, comparison in enumerate(case.record.comparisons):
        for name in ("baseline", "variant"):
            phase = getattr(case.record, name).phases.get("infer")
            total = None if phase is None else _spent(phase, Figure(*_key(comparison)))
            if phase is None or total is None or phase.items <= 0:
                continue
            per_item = getattr(comparison, f"{name}_per_item")
            factor = total / phase.items / per_item if per_item > 0 else math.inf
            if not 1 - 1e-9 <= factor <= MEAN_OVER_MEAN:
                yield case.error(
                    "per-item",
                    f"comparisons[{place}].{name}_per_item is {per_item:.6g}, but phase infer of "
                    f"the {name} has {total:.6g} for {phase.items:.8g} items: {factor:.4g} times "
                    f"that",
                )


def _key(comparison: Comparison) -> tuple[str, str, str, str]:
    return comparison.measure, comparison.scope, comparison.source, comparison.grade


def _spent(phase: Phase, figure: Figure) -> float | None:
    if figure.measure == "wall_s":
        return phase.wall_s
    if figure.measure == "cpu_s":
        return phase.cpu_s
    found = [r for r in phase.readings if (r.meter, r.grade) == (figure.source, figure.grade)]
    read = {reading.component.split(":")[0] for reading in found}
    if any(part.split(":")[0] not in read for part in figure.scope.split("+")):
        return None  # gpu:0 alone is not what gpu:0+cpu:0 serves with
    energies_j = [reading.energy_j for reading in found if reading.energy_j is not None]
    return sum(energies_j) if len(energies_j) == len(found) else None


def _infer(case: Case, windows: Columns) -> Iterator[Finding]:
    """Phase ``infer`` of an arm is the sum of its kept windows."""
    for name in ("baseline", "variant"):
        phase = getattr(case.record, name).phases.get("infer")
        if phase is None:
            yield case.error("infer", f"{name}.phases lacks infer")
            continue
        chosen, field = windows["kept"] & (windows["arm"] == name), f"{name}.phases.infer"
        items = float(windows["items"][chosen].sum())
        yield from case.equal("items", f"{field}.items", phase.items, items)
        for seconds in ("wall_s", "cpu_s"):
            total = float(windows[seconds][chosen].sum())
            yield from case.equal("infer", f"{field}.{seconds}", getattr(phase, seconds), total)
        given = {f"{r.meter}/{r.component}_j": r.energy_j for r in phase.readings}
        columns = {column for column in windows if "/" in column and column.endswith("_j")}
        if given.keys() != columns:
            odd = ", ".join(sorted(given.keys() ^ columns))
            yield case.error("infer", f"{field}.readings and windows.parquet differ in {odd}")
        for column in sorted(given.keys() & columns):
            joules = float(windows[column][chosen].sum())
            expected = None if math.isnan(joules) else joules
            yield from case.equal("infer", f"{field}, {column}", given[column], expected)


def _break_even(case: Case, windows: Columns) -> Iterator[Finding]:
    record = case.record
    figure = planned(case)[0]
    spent = [
        _spent(phase, figure)
        for name in ("search", "optimise", "convert")
        if (phase := record.variant.phases.get(name)) is not None
    ]
    found = arms_per_item(windows, values_of(case, windows, figure))
    if found is None or len(found[0]) < 2:
        return
    expected: tuple[float | None, ...] = (None, None, None)
    made_here = ELSEWHERE.match(record.break_even_reason or "") is None
    if made_here and None not in spent and not np.isnan(found).any():
        saving = found[0].mean(axis=1) - found[1].mean(axis=1)
        margin = stats.t.ppf(0.975, len(saving) - 1) * stats.sem(saving)
        if saving.mean() - margin > 0:
            cost = sum(joules for joules in spent if joules is not None)
            by = (saving.mean(), saving.mean() + margin, saving.mean() - margin)
            expected = tuple(float(cost / each) for each in by)
    given = record.break_even
    for name, value in zip(("inferences", "low", "high"), expected, strict=True):
        yield from case.equal("break-even", f"break_even.{name}", getattr(given, name, None), value)
    if given is not None:
        yield from case.equal("break-even", "break_even.measure", given.measure, figure.measure)
    if (given is None) is (record.break_even_reason is None):
        yield case.error("break-even", "break_even and its reason: one of both stands there")


def _named(figure: Figure | None) -> str:
    if figure is None:
        return "no more"
    return f"{figure.measure} of {figure.source} ({figure.scope}), grade {figure.grade}"
