"""What the report finds, in a few sentences, and row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bench.reporting.cells import interval, ratio, ratio_end
from bench.reporting.claims import verdict_text
from bench.reporting.judging import MEASURED, contains_one, said
from bench.reporting.prose import Paragraph, counted, listed, paragraph
from bench.reporting.rows import Row
from bench.reporting.scales import scale

MOST = 40
"""Comparisons that are listed one by one."""


def summary(rows: Sequence[Row], listing: bool = True) -> Paragraph:
    """Return in how many comparisons a technique saves what, and each of them if ``listing``.

    A comparison is a technique on one workload under one set of conditions: a row.
    """
    compared = [row for row in rows if not row.is_noise_floor]
    items = [finding(row) for row in compared[:MOST]] if listing else []
    if listing and len(compared) > MOST:
        items.append(f"{len(compared) - MOST:,} more are in tables/energy.csv")
    return paragraph(
        *_measured([row for row in compared if row.lead in MEASURED]),
        *_timed([row for row in compared if row.lead not in MEASURED]),
        *_noise_floors(rows),
        items=items,
    )


def _measured(compared: Sequence[Row]) -> Iterator[str]:
    if not compared:
        return
    headlines = sum(row.verdict.headline for row in compared)
    costs = sum(row.verdict.energy == "costs" for row in compared)
    yield (
        f"In {headlines or 'none'} of {counted(len(compared), 'comparison')} with counted joules "
        f"the technique saves energy at non-inferior quality"
        + (f", in {costs:,} it costs energy" if costs else "")
    )


def _timed(compared: Sequence[Row]) -> Iterator[str]:
    if not compared:
        return
    verdicts = Counter(row.verdict.time for row in compared)
    each = listed(
        f"{word} in {verdicts[word]:,}"
        for word in ("faster", "slower", "undecided")
        if verdicts[word]
    )
    yield (
        f"For {counted(len(compared), 'comparison')} there was no energy counter, and no joule is "
        f"claimed: by the clock the technique is {each}"
    )


def _noise_floors(rows: Sequence[Row]) -> Iterator[str]:
    floors = [row for row in rows if row.is_noise_floor and row.lead in row.ratios]
    families = {row.family for row in rows}
    passed = sum(contains_one(row.ratios[row.lead]) for row in floors)
    if not floors:
        yield "There is no valid A/A pair: the noise floor is not known"
    elif passed == len(floors) == 1:
        yield "The A/A pair's interval contains 1"
    else:
        every = "Every A/A interval contains" if passed == len(floors) else "A/A intervals contain"
        yield f"{every} 1 ({passed:,} of {len(floors):,})"
    if floors and len({row.family for row in floors}) < len(families):
        yield "Some conditions lack an A/A pair"


def finding(row: Row) -> str:
    """Return the figures of a row on one line, and what may be said of it."""
    where = f"{row.key['label']} of {row.key['workload']} on {row.key.get('host', 'several hosts')}"
    found = row.ratios.get(row.lead)
    judged, shown = row.quality, scale(row.quality.metric)
    figures = [f"no ratio of {said(row.lead)}"]
    if found is not None:
        figures = [
            f"{said(row.lead)} {ratio(found.ratio)} {interval(found.low, found.high, ratio_end)}"
        ]
    change = (
        f"{shown.difference(judged.difference)} {shown.step} "
        f"{shown.ends(judged.low, judged.high, judged.margin)}"
    )
    figures.append(f"{judged.metric} {change}")
    return f"{where}: {'; '.join(figures)}: {verdict_text(row)}"
