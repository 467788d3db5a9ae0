"""What stands under a table: where its figures come from, what they don't cover, what is missing.

A loud note is one that a reader must not overlook. A table's YAML names the kinds that it wants.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.collection import SetAside
from bench.reporting import metered
from bench.reporting.cells import Note, listed, ratio_end
from bench.reporting.items import SAMPLE, item_of
from bench.reporting.judging import contains_one, said
from bench.reporting.measures import MODELLED
from bench.reporting.rows import Row
from bench.reporting.scales import scale
from bench.reporting.stability import conditions_of

_NAMED = 5


def of_section(rows: Sequence[Row], kinds: Sequence[str]) -> tuple[Note, ...]:
    """Return the notes of those kinds on rows of one section; sessions that are invalid always."""
    return tuple(note for kind in (*kinds, "invalid") for note in KINDS[kind](rows))


def of_collection(
    left_out: Mapping[str, Sequence[str]], set_aside: Sequence[SetAside]
) -> tuple[Note, ...]:
    """Return the notes on everything that did not enter any table, each thing named."""
    notes = [
        Note(f"{kind} never enter a table; left out: {len(names)} ({_some(names)}).")
        for kind, names in left_out.items()
    ]
    notes += [
        Note(f"Set aside: {path.as_posix()} ({reason}).", loud=True)
        for path, reason in sorted(set_aside)
    ]
    return tuple(notes)


def _how_to_read(rows: Sequence[Row]) -> Iterator[Note]:
    yield Note(
        f"Ratios are variant over baseline, per {item_of(rows).one}: below 1 the variant needs "
        "less. Brackets hold 95 % intervals."
    )
    for name, found in sorted(_by_item(rows).items()):
        if name != SAMPLE and found != {row.key["workload"] for row in rows}:
            yield Note(f"An item of {', '.join(sorted(found))} is a {name}.")


def _by_item(rows: Sequence[Row]) -> dict[str, set[Any]]:
    """Return the workloads by what they serve."""
    found: dict[str, set[Any]] = defaultdict(set)
    for row in rows:
        found[item_of([row]).one].add(row.key["workload"])
    return found


def _quality(rows: Sequence[Row]) -> Iterator[Note]:
    margins = listed(_margin(row) for row in rows)
    examples = listed(f"{row.quality.examples:,}" for row in rows)
    metrics = listed(row.quality.metric for row in rows)
    yield Note(
        f"Quality is {metrics} on {examples} test examples; non-inferior means that the lower end "
        f"of the difference lies above {margins}, a margin fixed beforehand."
    )


def _margin(row: Row) -> str:
    shown = scale(row.quality.metric)
    return f"{shown.difference(-row.quality.margin)} {shown.step}"


def _pooling(rows: Sequence[Row]) -> Iterator[Note]:
    methods = {found.method for row in rows if (found := row.ratios.get(row.lead))}
    texts = {
        "blocks": "one pair by the interval of its session, which speaks of that session",
        "fixed": "two by the errors of their blocks, which speak of these two",
        "random": "three or more as a sample, by their own spread",
    }
    how = "; ".join(text for method, text in texts.items() if method in methods)
    if how:
        yield Note(f"Pooled over seeds and sessions, each pair counted once: {how}.")


def _adjusted(rows: Sequence[Row]) -> Iterator[Note]:
    techniques = sum(not row.is_noise_floor for row in rows)
    if techniques > 1:
        yield Note(
            f"Verdicts hold after Holm's correction of p for {techniques} rows: at most one table "
            "in twenty claims any difference that is none."
        )


def _break_even(rows: Sequence[Row]) -> Iterator[Note]:
    measures = {said(row.lead) for row in rows if row.break_even}
    if measures:
        yield Note(
            f"Break-even: {item_of(rows).uses} until the optimisation has paid for itself, counted "
            f"in {' or '.join(sorted(measures))}."
        )


def _discards(rows: Sequence[Row]) -> Iterator[Note]:
    conditions: Counter[str] = sum((conditions_of(row) for row in rows), Counter())
    if conditions:
        lost = sum(int(row.made("discarded").sum()) for row in rows)
        total = lost + sum(int(row.made("blocks").sum()) for row in rows)
        each = ", ".join(f"{name} {count}" for name, count in sorted(conditions.items()))
        yield Note(
            f"Blocks discarded on a condition, never on their energy: {lost} of {total} ({each})."
        )


def _overhead(rows: Sequence[Row]) -> Iterator[Note]:
    """Yield what measuring cost, the worst of these rows."""
    wall_s, edges_cpu_s, share, *charged_j = (
        max((float(v) for row in rows for v in row.made(f"overhead_{name}") if v == v), default=0.0)
        for name in ("wall_s", "edges_cpu_s", "cpu_share", "energy_a_j", "energy_b_j")
    )
    joules = f" and at most {max(charged_j):.2g} J a counter" if any(charged_j) else ""
    yield Note(
        f"Cost of measuring, at most: an empty window is charged {1e3 * wall_s:.2g} ms{joules}; "
        f"reading at its edges takes {1e3 * edges_cpu_s:.2g} CPU-ms outside it; harness and meters "
        f"take {share:.2%} of a core while idling."
    )


def _noise_floor(rows: Sequence[Row]) -> Iterator[Note]:
    floors = [row for row in rows if row.is_noise_floor and row.valid.size]
    if not floors:
        yield Note(
            "No valid A/A pair (technique=none) under these conditions: the noise floor is not "
            "known, and no difference in this table is shown to lie above it.",
            loud=True,
        )
    for row in floors:
        shown = {m: found for m, found in row.ratios.items() if m != MODELLED}
        off = {m: found for m, found in shown.items() if not contains_one(found)}
        ends = ", ".join(
            f"{said(m)} {ratio_end(found.low)} to {ratio_end(found.high)}"
            for m, found in (off or shown).items()
        )
        whose = f", seed {row.key['seed']}" if "seed" in row.key else ""
        if off:
            yield Note(
                f"A/A interval{whose}: {ends} does NOT contain 1. Differences of this size come "
                "from the harness or the host, not from a technique.",
                loud=True,
            )
        else:
            yield Note(f"A/A interval{whose}: {ends}; contains 1.")


def _invalid(rows: Sequence[Row]) -> Iterator[Note]:
    for row in rows:
        for position in row.invalid:
            reason = row.source.column("session_reason")[position] or "no reason given"
            yield Note(
                f"Session of {row.key['label']}, seed {row.source.column('seed')[position]}, is "
                f"invalid: {reason}.",
                loud=True,
            )


KINDS: dict[str, Callable[[Sequence[Row]], Iterator[Note]]] = {
    "reading": _how_to_read,
    "quality": _quality,
    "pooling": _pooling,
    "adjusted": _adjusted,
    "joules": metered.joules,
    "side_by_side": metered.side_by_side,
    "modelled": metered.modelled,
    "carbon": metered.carbon,
    "break_even": _break_even,
    "discards": _discards,
    "overhead": _overhead,
    "noise_floor": _noise_floor,
    "invalid": _invalid,
}
"""By the name that a table's YAML gives them."""


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - _NAMED
    return ", ".join(ordered[:_NAMED]) + (f" and {more} more" if more > 0 else "")
