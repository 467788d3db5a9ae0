"""The model card: what was found of one run, how, and what it does not say.

Markdown for the hub. What comes out of a record is text in it and nothing else: every sign that
could begin markup, HTML, a link or a formula is escaped, and what is not printable is dropped. The
one block of code that depends on a record is the command that ``overrides`` has put together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.findings import Comparison
from bench.flat import joules
from bench.readings import MEASURED_GRADES
from bench.records import Arm, Record
from bench.reporting.cells import DASH, amount, interval, ratio, ratio_end, seconds

_SIGNS = re.compile(r"([!-*./:-@\[-`{-~])")
"""Punctuation of ASCII but plus, comma and minus, which mean something at the start of a line only,
where no text of a record stands."""

_LONGEST = 300
_HEADER = "---\ntags:\n- joulebench\n- energy-efficiency\n---"
_GRADES = {
    "A": "a wall meter",
    "B": "a hardware sensor",
    "C": "a model, which is no measurement and carries no claim",
}
_PARTS = {"cpu": "CPU packages", "ram": "memory", "gpu": "GPUs"}
"""By what stands in a scope where they are counted: ``dram`` of counters, ``ram`` of models."""

_BEYOND_SENSORS = ("mainboard", "disks", "network", "fans", "the power supply's losses")
_COSTS = (
    ("training the baseline", "baseline", ("train",)),
    ("searching its knobs", "variant", ("search",)),
    ("making the variant", "variant", ("optimise", "convert")),
)
_SIZES = {
    "parameters": "parameters",
    "nonzero_parameters": "parameters that are not 0",
    "trained_parameters": "parameters that were trained",
    "adapter_bytes": "bytes of what was trained alone",
    "macs": "multiply-accumulates of one example",
    "peak_memory_bytes": "peak memory when serving alone",
    "training_peak_memory_bytes": "peak memory when training",
}


def text(record: Record, place: str, command: str | None) -> str:
    """Return the card.

    Args:
        record: The run.
        place: Folder of the record in the repository, made of plain names.
        command: Measures the same again; ``None`` where it cannot be given.
    """
    item = record.item or "item"  # of records from before items had names
    heading = f"per {literal(item)}", "baseline", "variant", "variant / baseline [95 %]"
    blocks = [
        _HEADER,
        f"# {literal(record.workload)}: {literal(record.label)}",
        f"{_what(record)} on {literal(record.host)} with joulebench. One pair, one session: "
        f"intervals speak of the blocks of that session, not of other seeds, days or machines.",
        "## Findings",
        _table(heading, _ratios(record)),
        _verdict(record),
        _quality(record),
        "## Cost and size",
        _table(
            ("spent once", "seconds", *(f"joules ({g})" for g in _grades(record))), _costs(record)
        ),
        _table(("", "baseline", "variant"), _sizes(record)),
        "## What the joules are, and what they leave out",
        " ".join(_limits(record)),
        "## The same again",
        _again(record, command),
        f"The whole record, with every measured window, is in {literal(place)}. It is checked with",
        "```sh\npython -m bench.validate results\n```",
        "`model.safetensors` holds tensors only; the configuration in the record builds the model "
        "that they fit into.",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def literal(value: object) -> str:
    """Return what a record says as Markdown that shows it as it is, on one line."""
    plain = "".join(sign if sign.isprintable() else " " for sign in str(value))
    short = " ".join(plain.split())
    cut = short if len(short) <= _LONGEST else f"{short[:_LONGEST]}..."
    return _SIGNS.sub(r"\\\1", cut)


def _what(record: Record) -> str:
    workload = f"{literal(record.workload)} (seed {record.seed})"
    if record.variant.artefact.digest == record.baseline.artefact.digest:
        return f"The baseline of {workload}, measured against itself"
    return (
        f"The model that {literal(record.label)} makes of {workload}, measured against the baseline"
    )


def _table(heading: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [heading, ("---", *("---:",) * (len(heading) - 1)), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _grades(record: Record) -> list[str]:
    found = (c.grade for c in record.comparisons if c.measure == "energy_j")
    return list(dict.fromkeys(found))


def _ratios(record: Record) -> Iterator[tuple[str, ...]]:
    for found in record.comparisons:
        unit = "J" if found.measure == "energy_j" else "s"
        yield (
            _measure(found),
            amount(found.baseline_per_item, unit),
            amount(found.variant_per_item, unit),
            f"{ratio(found.ratio)} {interval(found.low, found.high, ratio_end)}",
        )


def _measure(found: Comparison) -> str:
    if found.measure != "energy_j":
        return {"wall_s": "seconds", "cpu_s": "CPU-seconds"}[found.measure]
    modelled = "" if found.grade in MEASURED_GRADES else "modelled "
    return (
        f"{modelled}joules of {literal(found.scope)}, grade {found.grade} ({literal(found.source)})"
    )


def _verdict(record: Record) -> str:
    """Return what may be said; of an invalid session only that."""
    if not record.session.valid:
        return f"**The session is invalid:** {literal(record.session.reason)}."
    found = record.verdict
    counted = any(grade in MEASURED_GRADES for grade in _grades(record))
    energy = f"energy: {found.energy}" if counted else "energy: no claim, no counter was read"
    said = f"Verdict: {energy}; time: {found.time}; quality: {found.quality}."
    if found.headline:
        return f"{said} It saves energy at non-inferior quality."
    return f"{said} No headline: {literal(found.reason)}."


def _quality(record: Record) -> str:
    found = record.quality
    return (
        f"Quality, {literal(found.metric)} on {found.examples:,} held-out examples: "
        f"{found.baseline:.4f} of the baseline, {found.variant:.4f} of the variant, difference "
        f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}] (95 %), margin "
        f"{found.margin:g}."
    )


def _costs(record: Record) -> Iterator[tuple[str, ...]]:
    for title, arm, names in _COSTS:
        phases = [p for name, p in getattr(record, arm).phases.items() if name in names]
        if not phases and names == ("search",):
            continue  # most were not searched for
        spent = [joules(phases, grade, record) for grade in _grades(record)] if phases else []
        yield (
            title,
            seconds(sum(p.wall_s for p in phases)) if phases else DASH,
            *(
                DASH if j is None else amount(j, "J")
                for j in spent or [None] * len(_grades(record))
            ),
        )


def _sizes(record: Record) -> Iterator[tuple[str, ...]]:
    arms: tuple[Arm, Arm] = (record.baseline, record.variant)
    yield "file of weights", *(amount(arm.artefact.bytes, "B") for arm in arms)
    for name, title in _SIZES.items():
        values = [getattr(arm, name, None) for arm in arms]
        if any(value is not None for value in values):
            unit = "B" if name.endswith("bytes") else ""
            yield title, *(DASH if v is None else amount(v, unit) for v in values)


def _limits(record: Record) -> Iterator[str]:
    found = [c for c in record.comparisons if c.measure == "energy_j"]
    if not found:
        yield (
            "No meter gave any joules on that machine: the findings are seconds and CPU-seconds, "
            "and no joule is claimed."
        )
        return
    yield "Joules are gross: nothing is subtracted for idling, nothing added for a data centre."
    for grade in _grades(record):
        yield f"Grade {grade} comes from {_GRADES.get(grade, 'elsewhere')}."
    for one in found:
        parts = [words for part, words in _PARTS.items() if part not in one.scope]
        beyond = [] if one.grade == "A" else [*parts, *_BEYOND_SENSORS]
        yield (
            f"Joules of {literal(one.scope)} (grade {one.grade}) leave out "
            f"{', '.join([*beyond, 'cooling'])} and the data centre's losses (PUE)."
        )


def _again(record: Record, command: str | None) -> str:
    made = record.environment.get("source")
    commit = made.get("commit") if isinstance(made, dict) else None
    at = f" (measured at commit {literal(commit)})" if commit else ""
    if command is None:
        return (
            f"This run's configuration cannot be given as one command of this version{at}; the "
            f"record holds it whole, under config."
        )
    data = " DIR holds the data in the hub's layout." if "data.root=DIR" in command else ""
    return f"With joulebench{at}:{data}\n\n```sh\n{command}\n```"
