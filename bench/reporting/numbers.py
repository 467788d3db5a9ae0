r"""The figures of the tables as LaTeX macros, so that a text never disagrees with a table.

A row's macros are named ``\jb<Workload><Label><Figure>``, and once more in full with host,
protocol and runtime before the figure. The short ones exist only where no other row could be meant.
What is said of all rows together is ``\jbStudy<Figure>``. A figure that is missing has no macro:
LaTeX then stops where a text uses it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

from bench.flat import digest
from bench.reporting.cells import amount, probability, ratio, ratio_end
from bench.reporting.judging import said
from bench.reporting.latex import escape
from bench.reporting.pairs import TableError
from bench.reporting.prose import counted, listed, plain
from bench.reporting.rows import Row, origin
from bench.reporting.scales import scale
from bench.reporting.summary import summary
from bench.statistics.pooling import Pooled

PREFIX = "jb"
"""Before every name, so that none is one of LaTeX's own."""

_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
_MEASURES = {
    "energy_a": ("JoulesA", "J"),
    "energy_b": ("JoulesB", "J"),
    "energy_c": ("ModelledJoulesC", "J"),
    "wall": ("Seconds", "s"),
    "cpu": ("CpuSeconds", "s"),
}
"""How a name calls a measure, and the unit of its figures per sample."""

_VISIBLE = ("workload", "label", "host", "protocol", "runtime")
_HIDDEN = ("technique", "recipe_json", "protocol_json", "runtime_json")
_INFINITY = "\N{INFINITY}"
_NAMED = 6
"""Most names that a text lists; of more it says how many they are."""

Macros = dict[str, str]


def macros(rows: Sequence[Row]) -> Macros:
    """Return the text of every macro by its name: of the study first, then of the rows in order.

    Texts are those of the cells of tables, without markup. There are none without rows.

    Raises:
        TableError: Two rows whose names differ only in signs would share a macro.
    """
    if not rows:
        return {}
    labels = Counter(_visible(row)[:2] for row in rows)
    places = Counter(_visible(row) for row in rows)
    found = {f"{PREFIX}Study{name}": text for name, text in study(rows).items()}
    owners: dict[str, str] = dict.fromkeys(found, "the study")
    for row in rows:
        visible = _visible(row)
        stems = [spelled(*visible[:2])] if labels[visible[:2]] == 1 else []
        # Rows that differ in values only, not in names, are told apart by a code of those values.
        stems.append(spelled(*visible) + ("" if places[visible] == 1 else _code(row)))
        for name, text in ((f"{PREFIX}{s}{n}", t) for s in stems for n, t in figures(row).items()):
            if name in found:
                raise TableError(
                    f"\\{name} would be a figure of {owners[name]} and of {_named(row)}: LaTeX's "
                    "names hold letters only. Rename one of them"
                )
            found[name], owners[name] = text, _named(row)
    return found


def study(rows: Sequence[Row]) -> Macros:
    """Return what is said of all rows together, by the last part of the macros' names."""
    pairs = rows[0].source.frame
    labels = sorted({str(row.key["label"]) for row in rows if not row.is_noise_floor})
    workloads, hosts = (sorted(map(str, pairs[name].unique())) for name in ("workload", "host"))
    return {
        "Summary": plain(summary(rows, listing=False)),
        "Origin": origin(pairs).partition("| ")[2],
        "Pairs": counted(len(pairs), "pair"),
        "Blocks": counted(int(pairs["blocks"].sum()), "block"),
        "Techniques": counted(len(labels), "technique"),
        "TechniqueNames": _names(labels, "technique") if labels else "the baseline against itself",
        "Workloads": counted(len(workloads), "workload"),
        "WorkloadNames": _names(workloads, "workload"),
        "Hosts": counted(len(hosts), "host"),
        "HostNames": _names(hosts, "host"),
        "Headlines": str(sum(row.verdict.headline for row in rows)),
    }


def _names(words: Sequence[str], noun: str) -> str:
    return listed(words) if len(words) <= _NAMED else counted(len(words), noun)


def spelled(*words: str) -> str:
    """Return words as letters that a macro's name may hold: ``bf16`` is ``BfOneSix``."""
    letters = []
    for part in re.findall(r"[A-Za-z]+|[0-9]|\.(?=[0-9])", " ".join(words)):
        if part == ".":
            letters.append("Point")
        elif part.isdigit():
            letters.append(_DIGITS[int(part)])
        else:
            letters.append(part[0].upper() + part[1:])
    return "".join(letters)


def figures(row: Row) -> Macros:
    """Return the figures of one row by the last part of their macros' names."""
    judged, shown = row.quality, scale(row.quality.metric)
    found = {
        "Workload": str(row.key["workload"]),
        "Label": str(row.key["label"]),
        **{
            name.capitalize(): str(row.key[name])
            for name in ("host", "protocol", "runtime")
            if row.key.get(name) is not None
        },
        "Pairs": f"{len(row.valid):,}",
        "InvalidPairs": f"{len(row.invalid):,}",
        "Trainings": f"{judged.seeds:,}",
        "Measure": said(row.lead),
        "Grade": row.lead[-1].upper() if row.lead.startswith("energy") else "none",
        "Metric": judged.metric,
        "QualityBaseline": shown.value(judged.baseline),
        "QualityVariant": shown.value(judged.variant),
        "QualityDifference": shown.difference(judged.difference),
        "QualityLow": shown.end(judged.low, judged.margin),
        "QualityHigh": shown.end(judged.high, judged.margin),
        "QualityMargin": shown.margin(judged.margin),
        "QualityVerdict": row.verdict.quality,
    }
    for measure, pooled in row.ratios.items():
        if measure in _MEASURES:
            found |= dict(_compared(row, measure, pooled))
    if row.lead in row.ratios:
        found["Blocks"] = f"{row.ratios[row.lead].blocks:,}"
    if row.break_even is not None:
        inferences, low, high = row.break_even
        found["BreakEven"] = amount(inferences)
        found["BreakEvenLow"] = amount(low)
        found["BreakEvenHigh"] = _INFINITY if high is None else amount(high)
    return found


def latex(rows: Sequence[Row], first_line: str) -> str:
    """Return a file that defines the macros; percentages and points are without their sign."""
    lines = [
        f"% {first_line}",
        "% Percent: Saving..., Quality... Percentage points: QualityDifference, Low, High, Margin.",
        "% Ratios are variant over baseline, Baseline and Variant are per item.",
        *(rf"\newcommand{{\{name}}}{{{escape(text)}}}" for name, text in macros(rows).items()),
    ]
    return "\n".join(lines) + "\n"


def saving(value: float) -> str:
    """Return the saving in percent that a printed ratio stands for: 0.571 is ``42.9``.

    Of the rounded ratio, so that a reader who subtracts finds the same figure.
    """
    shown = Decimal(ratio(value))
    exponent = shown.as_tuple().exponent
    assert isinstance(exponent, int)  # it is finite
    text = f"{100 * (1 - shown):.{max(1, -exponent - 2)}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def _compared(row: Row, measure: str, pooled: Pooled) -> Iterator[tuple[str, str]]:
    name, unit = _MEASURES[measure]
    yield f"{name}Ratio", ratio(pooled.ratio)
    yield f"{name}Low", ratio_end(pooled.low)
    yield f"{name}High", ratio_end(pooled.high)
    yield f"{name}Saving", saving(pooled.ratio)
    yield f"{name}SavingLow", saving(pooled.high)
    yield f"{name}SavingHigh", saving(pooled.low)
    if not row.is_noise_floor:
        yield f"{name}P", probability(row.adjusted_p[measure])
    baseline, variant = row.per_item[measure]
    yield f"{name}Baseline", amount(baseline, unit)
    yield f"{name}Variant", amount(variant, unit)


def _visible(row: Row) -> tuple[str, ...]:
    rest = [str(v) for k, v in row.key.items() if k not in _HIDDEN and k not in _VISIBLE]
    return *(str(row.key.get(name) or "") for name in _VISIBLE), *rest


def _code(row: Row) -> str:
    values = [str(row.key.get(name)) for name in _HIDDEN]
    return "".join(chr(ord("A") + int(sign, 16)) for sign in digest("\n".join(values)))


def _named(row: Row) -> str:
    return f"{row.key['label']} of {', '.join(_visible(row)[:1] + _visible(row)[2:])}"
