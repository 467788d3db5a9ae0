"""Columns of what was compared: the technique, its quality, its size, and what may be said."""

from __future__ import annotations

from bench.reporting.cells import Cell, amount, arrow, missing, percent, ratio
from bench.reporting.claims import verdict_cell, verdict_text
from bench.reporting.columns import Column, Value, mean
from bench.reporting.rows import Row
from bench.reporting.scales import scale


def _technique(row: Row) -> Cell:
    label = str(row.key["label"])
    plain = not row.is_noise_floor or "A/A" in label
    return Cell(label if plain else f"{label} (A/A)")


def key_column(name: str) -> Column[Row]:
    """Return the column of a grouping column, a word."""
    return Column(
        name=name,
        heading=name,
        unit="",
        cell=lambda row: Cell(str(row.key[name])),
        figures=(name,),
        values=lambda row: (row.key[name],),
        words=True,
    )


TECHNIQUE: Column[Row] = Column(
    name="technique",
    heading="technique",
    unit="",
    cell=_technique,
    figures=("technique", "label"),
    values=lambda row: (row.key["technique"], row.key["label"]),
    words=True,
)
SEED: Column[Row] = Column(
    name="seed",
    heading="seed",
    unit="",
    cell=lambda row: Cell(str(row.key["seed"])),
    figures=("seed", "session_number", "id"),
    values=lambda row: tuple(row.key.get(name) for name in ("seed", "session_number", "id")),
)


def _pooled(row: Row) -> Cell:
    found = row.ratios.get(row.lead)
    if found is None:
        return missing(row.why_absent(row.lead))
    text = f"{len(row.valid)}, {found.blocks} blocks"
    if not row.invalid.size:
        return Cell(text)
    named = ", ".join(f"{row.source.name(at)} ({_why(row, at)})" for at in row.invalid)
    return Cell(text, note=f"not pooled, session invalid: {named}")


def _why(row: Row, position: int) -> str:
    return str(row.source.column("session_reason")[position] or "no reason given")


def _pooled_values(row: Row) -> tuple[Value, ...]:
    found = row.ratios.get(row.lead)
    blocks = found.blocks if found else None
    return len(row.valid), len(row.invalid), row.quality.seeds, blocks


POOLED: Column[Row] = Column(
    name="pairs",
    heading="pairs",
    unit="blocks",
    cell=_pooled,
    figures=("pairs", "invalid_pairs", "trainings", "blocks"),
    values=_pooled_values,
)


def _quality(row: Row) -> Cell:
    judged, shown = row.quality, scale(row.quality.metric)
    below = f"→ {shown.value(judged.variant)}"
    return Cell(f"{shown.value(judged.baseline)}{shown.mark}", below)


def _difference(row: Row) -> Cell:
    judged, shown = row.quality, scale(row.quality.metric)
    text = f"{shown.difference(judged.difference)}{shown.mark}"
    return Cell(text, shown.ends(judged.low, judged.high, judged.margin))


def _quality_verdict(row: Row) -> Cell:
    judged, shown = row.quality, scale(row.quality.metric)
    return Cell(judged.verdict, f"margin {shown.difference(-judged.margin)} {shown.step}")


QUALITY: Column[Row] = Column(
    name="quality",
    heading="quality",
    unit="%",
    cell=_quality,
    figures=("metric", "baseline_quality", "variant_quality"),
    values=lambda row: (row.quality.metric, row.quality.baseline, row.quality.variant),
)
DIFFERENCE: Column[Row] = Column(
    name="difference",
    heading="difference",
    unit="pp [95 %]",
    cell=_difference,
    figures=(
        *(f"quality_difference{end}" for end in ("", "_low", "_high")),
        *("quality_margin", "examples"),
    ),
    values=lambda row: (
        *(row.quality.difference, row.quality.low, row.quality.high),
        *(row.quality.margin, row.quality.examples),
    ),
)
QUALITY_VERDICT: Column[Row] = Column(
    name="quality_verdict",
    heading="quality is",
    unit="",
    cell=_quality_verdict,
    figures=("quality_verdict",),
    values=lambda row: (row.quality.verdict,),
    words=True,
)


def share_column(name: str, heading: str, unit: str | None = None) -> Column[Row]:
    """Return the column of a size of the variant over that of the baseline.

    Args:
        name: Of the flat columns, after the arm.
        heading: What is printed.
        unit: Of both arms' amounts, which then stand below; ``None`` for the ratio alone.
    """

    def sizes(row: Row) -> tuple[float | None, float | None, float | None]:
        baseline, variant = mean(row, f"baseline_{name}"), mean(row, f"variant_{name}")
        share = variant / baseline if baseline and variant is not None else None
        return baseline, variant, share

    def cell(row: Row) -> Cell:
        baseline, variant, share = sizes(row)
        if share is None or baseline is None or variant is None:
            return missing(f"{heading} not known")
        return Cell(ratio(share), "" if unit is None else arrow(baseline, variant, unit))

    return Column(
        name=name if unit is not None else f"{name}_ratio",
        heading=heading,
        unit="ratio",
        cell=cell,
        figures=(f"baseline_{name}", f"variant_{name}", f"{name}_ratio"),
        values=sizes,
        rank=3,
    )


def _adapter(row: Row) -> Cell:
    size = mean(row, "variant_adapter_bytes")
    return missing("no adapter was trained") if size is None else Cell(amount(size, "B"))


ADAPTER: Column[Row] = Column(
    name="adapter_bytes",
    heading="adapter",
    unit="B",
    cell=_adapter,
    figures=("variant_adapter_bytes",),
    values=lambda row: (mean(row, "variant_adapter_bytes"),),
    rank=4,
)


def _zeros(row: Row, arm: str) -> float | None:
    parameters, nonzero = mean(row, f"{arm}_parameters"), mean(row, f"{arm}_nonzero_parameters")
    return 1 - nonzero / parameters if parameters and nonzero is not None else None


def _kinds(row: Row) -> str:
    return " or ".join(row.source.distinct("variant_sparsity", row.positions))


def _sparsity(row: Row) -> Cell:
    zeros = _zeros(row, "variant")
    if zeros is None:
        return missing("parameters not known")
    return Cell(percent(zeros), _kinds(row))


SPARSITY: Column[Row] = Column(
    name="sparsity",
    heading="zeros",
    unit="%, kind",
    cell=_sparsity,
    figures=("baseline_zeros_fraction", "variant_zeros_fraction", "variant_sparsity"),
    values=lambda row: (
        *(_zeros(row, arm) for arm in ("baseline", "variant")),
        _kinds(row) or None,
    ),
    rank=4,
)


def _bits(row: Row, arm: str) -> float | None:
    """Return the artefact's bits per parameter."""
    size, parameters = mean(row, f"{arm}_bytes"), mean(row, f"{arm}_parameters")
    return 8 * size / parameters if parameters and size is not None else None


def _bits_cell(row: Row) -> Cell:
    baseline, variant = _bits(row, "baseline"), _bits(row, "variant")
    if baseline is None or variant is None:
        return missing("parameters not known")
    return Cell(f"{baseline:.1f}", f"→ {variant:.1f}")


BITS: Column[Row] = Column(
    name="bits",
    heading="bits",
    unit="per weight",
    cell=_bits_cell,
    figures=("baseline_bits_per_weight", "variant_bits_per_weight"),
    values=lambda row: (_bits(row, "baseline"), _bits(row, "variant")),
    rank=4,
)
EXPLOITED: Column[Row] = Column(
    name="exploited",
    heading="exploited",
    unit="",
    cell=lambda row: Cell("yes" if row.exploited else "no"),
    figures=("exploited", "bytes_fell", "no_simulation_left", "reload_exact"),
    values=lambda row: tuple(
        bool(row.made(name).all())
        for name in ("exploited", "bytes_fell", "no_simulation_left", "reload_exact")
    ),
    rank=6,
)
GRADE: Column[Row] = Column(
    name="grade",
    heading="grade",
    unit="",
    cell=lambda row: Cell(row.grade),
    figures=("grade",),
    values=lambda row: (row.grade,),
    rank=6,
)
VERDICT: Column[Row] = Column(
    name="verdict",
    heading="verdict",
    unit="",
    cell=verdict_cell,
    figures=("energy_verdict", "time_verdict", "headline", "verdict"),
    values=lambda row: (
        *(row.verdict.energy, row.verdict.time, row.verdict.headline),
        verdict_text(row),
    ),
    words=True,
)
