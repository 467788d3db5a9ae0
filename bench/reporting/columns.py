"""Kinds of columns: what is read from a record, how it is shown, which raw figures go to CSV.

Joules have one column per grade, because a wall meter, a counter and a model don't measure the
same thing. A cell that shows joules says their grade and source, so that ``one_grade`` can refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.readings import Grade, Phase
from bench.records import Arm, Comparison, MeasureName, Record
from bench.reporting.cells import Cell, amount, interval, missing, ratio, seconds

MEASURED: tuple[Grade, ...] = ("A", "B")
MODELLED: Grade = "C"

Value = str | int | float | bool | None


class TableError(ValueError):
    """A table that must not be made; the message names what cannot stand together."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One raw number or word: a column of the CSV file.

    Attributes:
        name: Its name there, with the unit as suffix.
        value: Its value; ``None`` if missing, for the reason that the column's cell gives.
    """

    name: str
    value: Callable[[Record], Value]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: How messages call it.
        heading: What is printed above it.
        unit: Printed below the heading; empty if there is none.
        cell: What it says of a record.
        figures: The raw figures behind the cell.
        words: Whether it holds words, which are set left and may be wrapped.
        stacked: Whether narrow formats set it on the second line of the column before it.
        rank: The higher, the sooner it gives way where the page is narrow; 0 never does.
    """

    name: str
    heading: str
    unit: str
    cell: Callable[[Record], Cell]
    figures: tuple[Figure, ...] = ()
    words: bool = False
    stacked: bool = False
    rank: int = 0


def one_grade(name: str, records: Sequence[Record], cells: Sequence[Cell]) -> None:
    """Make sure that a column's joules are all of one grade.

    Raises:
        TableError: Two grades meet; the message names them, their sources and the records.
    """
    seen: dict[Grade, tuple[str, str]] = {}
    for record, cell in zip(records, cells, strict=True):
        if cell.grade is not None:
            seen.setdefault(cell.grade, (cell.source, f"{record.id} on {record.host}"))
    if len(seen) > 1:
        met = " and ".join(
            f"grade {grade} from {source} ({record})"
            for grade, (source, record) in sorted(seen.items())
        )
        raise TableError(
            f"column {name} would show {met}: joules of two grades don't share a column; "
            "give each grade its own"
        )


def compared(record: Record, measure: MeasureName, grade: Grade = "none") -> Comparison | None:
    """Return a record's comparison of that measure and grade, the primary one if it fits."""
    for comparison in (record.comparison, *record.comparisons):
        if comparison.measure == measure and comparison.grade == grade:
            return comparison
    return None


def measured(record: Record) -> bool:
    """Whether joules of a wall meter or a counter are there."""
    return any(compared(record, "energy_j", grade) for grade in MEASURED)


def comparison_cell(comparison: Comparison) -> Cell:
    """Return a ratio and its interval; joules say their grade and source."""
    shown = Cell(ratio(comparison.ratio), interval(comparison.low, comparison.high, ratio))
    if comparison.measure != "energy_j":
        return shown
    return Cell(shown.text, shown.below, grade=comparison.grade, source=comparison.source)


def comparison_column(
    heading: str, measure: MeasureName, grade: Grade = "none", rank: int = 0
) -> Column:
    """Return the column of one measure's ratio, of one grade, with its interval."""
    prefix = f"energy_{grade.lower()}" if measure == "energy_j" else measure
    unit = "j" if measure == "energy_j" else "s"

    def figure(name: str, read: Callable[[Comparison], Value]) -> Figure:
        def value(record: Record) -> Value:
            found = compared(record, measure, grade)
            return read(found) if found else None

        return Figure(f"{prefix}_{name}", value)

    def cell(record: Record) -> Cell:
        found = compared(record, measure, grade)
        return comparison_cell(found) if found else missing(_why_absent(record, measure, grade))

    figures = (
        figure("ratio", lambda c: c.ratio),
        figure("ratio_low", lambda c: c.low),
        figure("ratio_high", lambda c: c.high),
        figure("p_value", lambda c: c.p_value),
        figure("log_ratio_sd", lambda c: c.log_ratio_sd),
        figure(f"baseline_{unit}_per_item", lambda c: c.baseline_per_item),
        figure(f"variant_{unit}_per_item", lambda c: c.variant_per_item),
        figure("scope", lambda c: c.scope),
        figure("source", lambda c: c.source),
    )
    return Column(prefix, heading, "ratio [95 %]", cell, figures, rank=rank)


def _why_absent(record: Record, measure: MeasureName, grade: Grade) -> str:
    if measure != "energy_j":
        return f"{measure} was not compared"
    if grade == MODELLED:
        return "no model was run"
    return "; ".join([f"no joules of grade {grade}", *unavailable(record)])


def unavailable(record: Record) -> list[str]:
    """Return why meters could not be opened, without how to mend that, which is no finding."""
    said = {
        name: " ".join(reason.partition("\n")[0].partition(". ")[0].split()).rstrip(".")
        for name, reason in sorted(record.session.unavailable.items())
    }
    return [text if name in text else f"{name}: {text}" for name, text in said.items()]


@dataclass(frozen=True, slots=True)
class Cost:
    """What was spent once, before the first inference.

    Attributes:
        name: Name of its figures.
        arm: Whose it is.
        phases: Phases that are added up.
        absent: Why there is none, if none of the phases is there.
    """

    name: str
    arm: Callable[[Record], Arm]
    phases: tuple[str, ...]
    absent: str

    def seconds(self, record: Record, clock: str = "wall_s") -> float | None:
        """Return its seconds, ``None`` if nothing was spent here."""
        spent = [float(getattr(phase, clock)) for phase in self._spent(record)]
        return sum(spent) if spent else None

    def joules(self, record: Record, grade: Grade) -> float | None:
        """Return its joules, from the meter that the record compares in that grade.

        ``None`` if there is no such meter or any of its readings failed: half a sum is no sum.
        """
        found = compared(record, "energy_j", grade)
        readings = [
            reading.energy_j
            for phase in self._spent(record)
            for reading in phase.readings
            if found and reading.grade == grade and found.source in (reading.meter, reading.source)
        ]
        whole = [joules for joules in readings if joules is not None]
        return sum(whole) if whole and len(whole) == len(readings) else None

    def why_absent(self, record: Record, grade: Grade) -> str:
        """Return why ``joules`` has none."""
        if not self._spent(record):
            return self.absent
        failed = {
            reading.reason
            for phase in self._spent(record)
            for reading in phase.readings
            if reading.grade == grade and reading.energy_j is None and reading.reason
        }
        return "; ".join(sorted(failed)) or f"no joules of grade {grade} for the {self.name}"

    def _spent(self, record: Record) -> list[Phase]:
        phases = self.arm(record).phases
        return [phases[name] for name in self.phases if name in phases]


TRAINING = Cost("training", lambda r: r.baseline, ("train",), "the baseline was not trained here")
OPTIMISATION = Cost(
    "optimisation", lambda r: r.variant, ("optimise", "convert"), "nothing was optimised"
)


def joules_column(cost: Cost, grade: Grade, stacked: bool = False) -> Column:
    """Return the column of a cost in joules of one grade."""

    def cell(record: Record) -> Cell:
        spent = cost.joules(record, grade)
        if spent is None:
            return missing(cost.why_absent(record, grade))
        found = compared(record, "energy_j", grade)
        return Cell(amount(spent, "J"), grade=grade, source=found.source if found else "")

    name = f"{cost.name}_{grade.lower()}_j"
    figure = Figure(name, lambda record: cost.joules(record, grade))
    return Column(name, f"{cost.name} J ({grade})", "", cell, (figure,), stacked=stacked, rank=5)


def seconds_column(cost: Cost, stacked: bool = False) -> Column:
    """Return the column of a cost in seconds."""

    def cell(record: Record) -> Cell:
        spent = cost.seconds(record)
        return missing(cost.absent) if spent is None else Cell(seconds(spent))

    figures = (
        Figure(f"{cost.name}_wall_s", lambda record: cost.seconds(record)),
        Figure(f"{cost.name}_cpu_s", lambda record: cost.seconds(record, "cpu_s")),
    )
    return Column(f"{cost.name}_s", f"{cost.name} s", "", cell, figures, stacked=stacked, rank=5)
