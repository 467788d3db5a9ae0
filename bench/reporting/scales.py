"""How task metrics are printed: fractions as percent, losses as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench.reporting.cells import interval, percent, points, signed, told_apart
from bench.statistics.metrics import unit


@dataclass(frozen=True, slots=True)
class Scale:
    """How one metric is printed.

    Attributes:
        unit: Of the metric.
        step: Unit of a difference of two.
        value: From the metric, as records hold it, to its text.
        signed: From a difference, and a number of digits beyond the usual ones, likewise; with its
            sign unless it is zero.
        times: What a figure's axis multiplies by.
    """

    unit: str
    step: str
    value: Callable[[float], str]
    signed: Callable[[float, int], str]
    times: float

    @property
    def mark(self) -> str:
        """What stands behind a figure in a column of percent, and a space before it."""
        return "" if self.unit == "%" else f" {self.unit}"

    def margin(self, margin: float) -> str:
        """Return a margin, which has no sign."""
        return self.difference(margin).removeprefix("+")

    def difference(self, value: float) -> str:
        """Return a difference of two, with its sign unless it is zero."""
        return self.signed(value, 0)

    def end(self, value: float, margin: float) -> str:
        """Return an end of a difference's interval, on the side of the margin on which it is."""
        return told_apart(value, -margin, self.signed)

    def ends(self, low: float, high: float, margin: float) -> str:
        """Return an interval of a difference in brackets."""
        return interval(low, high, lambda value: self.end(value, margin))


_FRACTION = Scale("%", "pp", percent, points, 100.0)
_OTHERS = {
    # Of a token: an optimisation that costs 0.01 nats makes the perplexity 1 % larger.
    "log_likelihood": Scale("nats", "nats", partial(signed, plus=""), signed, 1.0),
}


def scale(metric: str) -> Scale:
    """Return the scale of a metric by its name in the record, in which its unit may be."""
    if (named := unit(metric)) is not None:
        return Scale(named, named, partial(signed, plus=""), signed, 1.0)
    return _OTHERS.get(metric, _FRACTION)
