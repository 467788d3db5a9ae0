"""How figures were made of windows and answers: estimators, intervals, tests, verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pandas as pd

from bench.reporting.judging import MEASURED, JudgedQuality
from bench.reporting.means import geometric_means
from bench.reporting.prose import (
    NBSP,
    Paragraph,
    Section,
    Sentence,
    counted,
    listed,
    paragraph,
    section,
    spanned,
)
from bench.reporting.rows import Row
from bench.reporting.scales import scale
from bench.statistics.metrics import is_mean

EXACT_BLOCKS = 40
"""Most blocks whose sign flips are all counted, as in ``bench.statistics.ratios``."""


def described(rows: Sequence[Row], pairs: pd.DataFrame) -> Section | None:
    """Return the statistics behind these rows: only methods that one of them used."""
    return section(
        "Statistics",
        _ratio(pairs),
        _pooled(rows),
        _quality(rows),
        paragraph(*_decided(rows)),
        paragraph(*_paid_back(rows)),
    )


def _ratio(pairs: pd.DataFrame) -> Paragraph:
    blocks = pairs["blocks"]
    flips = None
    if blocks.max() <= EXACT_BLOCKS:
        flips = Sentence(
            "Records also hold the exact two-sided p of flipping the signs of their blocks",
            ("fisher1935",),
        )
    return paragraph(
        "The estimand is the ratio of geometric means, variant over baseline, of what a sample "
        "takes; below 1 the variant needs less",
        "Each block gives one observation, the difference of the mean logarithms of its two "
        "windows of either arm",
        Sentence(
            "A pair's ratio is the exponential of their mean and its 95 % interval Student's t, "
            f"over {spanned(map(int, blocks.unique()))} blocks a pair; every block that was kept "
            "enters",
            ("student1908",),
        ),
        flips,
    )


def _pooled(rows: Sequence[Row]) -> Paragraph:
    units: dict[str, list[int]] = {"blocks": [], "fixed": [], "random": []}
    for row in rows:
        for ratio in row.ratios.values():
            units.setdefault(ratio.method, []).append(ratio.units)
    said: list[Sentence] = []
    if units["blocks"]:
        said.append(
            Sentence(
                "Where a row of a table is a single pair, its interval speaks of that session on "
                "that host"
            )
        )
    if units["fixed"]:
        said.append(
            Sentence(
                "Two pairs of one technique are pooled as fixed effects: the geometric mean of "
                "their ratios, with the error of their blocks and approximate degrees of freedom; "
                "the interval speaks of these two",
                ("satterthwaite1946", "welch1947"),
            )
        )
    if units["random"]:
        said.append(
            Sentence(
                f"Three pairs or more (here {spanned(units['random'])}) are a sample of such "
                "pairs: the interval is Student's t over their mean logarithms, each pair counted "
                "once",
                ("student1908",),
            )
        )
    if geometric_means(rows):
        said.append(
            Sentence(
                "Over workloads a technique's ratios are taken together by their geometric mean, "
                "each workload once, with the errors of all and approximate degrees of freedom; "
                "that interval speaks of these workloads",
                ("fleming1986", "satterthwaite1946"),
            )
        )
    return paragraph(*said)


def _margin(judged: JudgedQuality) -> str:
    shown = scale(judged.metric)
    text = shown.margin(judged.margin)
    if shown.step != "pp":
        return f"{text}{NBSP}{shown.step}"
    return f"{text}{NBSP}percentage {'point' if text == '1.00' else 'points'}"


def _quality(rows: Sequence[Row]) -> Paragraph:
    judged = [row.quality for row in rows]
    metrics = listed(sorted({q.metric for q in judged}))
    examples = sorted({q.examples for q in judged})
    margins = sorted({_margin(q) for q in judged})
    single = [q for q in judged if q.seeds == 1]
    several = [q.seeds for q in judged if q.seeds > 1]
    sentences = [
        Sentence(f"Both arms answer the same test examples, {spanned(examples)} of them"),
        Sentence(
            f"A variant is non-inferior in {metrics} if the lower end of the 95 % interval of the "
            f"difference lies above minus the margin, {listed(margins, 'or')}, fixed beforehand"
        ),
    ]
    if any(q.metric == "accuracy" for q in single):
        sentences.append(
            Sentence(
                "The interval of one training's difference in accuracy is Tango's for paired "
                "proportions",
                ("tango1998",),
            )
        )
    others = {is_mean(q.metric) for q in single if q.metric != "accuracy"}
    if True in others:
        sentences.append(
            Sentence("Means over test examples have Student's paired interval", ("student1908",))
        )
    if False in others:
        sentences.append(
            Sentence("Other metrics have the percentile bootstrap of test examples", ("efron1993",))
        )
    if several:
        sentences.append(
            Sentence(
                f"Over several trainings (here {spanned(several)}) it is Student's t on their "
                "differences, widened by what the test examples, the same for all, contribute "
                "themselves",
                ("student1908",),
            )
        )
    return paragraph(*sentences)


def _decided(rows: Sequence[Row]) -> Iterator[Sentence]:
    techniques = Counter(row.family for row in rows if not row.is_noise_floor and row.ratios)
    if not techniques:
        return
    most = max(techniques.values())
    adjusted = ""
    if most > 1:
        adjusted = (
            ", adjusted by Holm's method for the techniques that share workload, recipe, host, "
            f"protocol and runtime (here {spanned(techniques.values())}; the A/A pair claims "
            "nothing and is not among them)"
        )
    counted_joules = any(row.lead in MEASURED for row in rows)
    what = (
        "saves or costs energy, or is faster or slower,"
        if counted_joules
        else "is faster or slower"
    )
    yield Sentence(
        f"A technique {what} if the two-sided p of its t is below 0.05{adjusted}",
        ("holm1979",) if most > 1 else (),
    )
    yield Sentence(
        "The headline that it saves energy at non-inferior quality needs all of these: joules of "
        "grade A or B, an interval of their ratio below 1, p below 0.05, non-inferior quality, an "
        "artefact that is smaller, holds no simulated compression, answers alike when reloaded and "
        "turns fewer operations into less time, valid sessions, and an A/A pair whose interval "
        "contains 1"
    )
    headlines = sum(row.verdict.headline for row in rows)
    total = counted(sum(techniques.values()), "comparison")
    yield Sentence(f"{headlines or 'None'} of {total} {'meets' if headlines < 2 else 'meet'} them")


def _paid_back(rows: Sequence[Row]) -> Iterator[Sentence]:
    found = [row for row in rows if row.break_even is not None]
    if not found:
        return
    several = any(len(row.valid) > 2 for row in found)
    yield Sentence(
        "Break-even is the number of items served after which what the optimisation took is "
        "repaid: its cost over the saving per item, with Fieller's interval (the cost of a single "
        "pair counts as known)",
        ("fieller1954",),
    )
    if several:
        yield Sentence("Of three pairs or more cost and saving are both uncertain")
