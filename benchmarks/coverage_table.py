"""The findings of ``benchmarks.coverage`` as Markdown, each held against its bar."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class Finding:
    """One row.

    Attributes:
        what: Was simulated.
        figure: A share, within [0, 1].
        error: Its Monte-Carlo standard error; ``None`` if it is exact.
        bar: From and to where it should lie, both included; ``None`` for what stands beside.
        beside: Other figures, as printed.
        holds: Whether the bar is met, where more than the figure says so.
    """

    what: str
    figure: float
    error: float | None
    bar: tuple[float, float] | None
    beside: tuple[str, ...]
    holds: bool | None = None

    def verdict(self) -> str:
        """Return whether the bar is met, or nothing where there is none."""
        if self.bar is None:
            return ""
        inside = self.bar[0] <= self.figure <= self.bar[1]
        return "holds" if (inside if self.holds is None else self.holds) else "FAILS"


@dataclass(frozen=True)
class Section:
    """A table of its own.

    Attributes:
        name: Key of ``TEXTS``.
        findings: Its rows.
    """

    name: str
    findings: list[Finding]


CAMPAIGN = (
    "Log energy with a linear drift of 4 %, AR(1) noise of 2 % with rho 0.9 between windows, noise "
    "of 1 % within them and, where it says spikes, an exponential addition of mean 8 % in one of "
    "twenty windows. True ratio 0.80"
)

TEXTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "ratio": (
        "One session's ratio",
        f"{CAMPAIGN}. {{repeats:,}} campaigns a row. Student's t on the blocks' log ratios "
        "(`ratios.paired_ratio`); the bar wants a bias of the log ratio under 0.1 % as well. "
        "Spikes make the tails of the block ratios heavy, and t then errs on the wide side. The "
        "sequential design stands beside: nothing in it tells the drift from the arms.",
        ("campaign", "bias", "median half-width", "coverage"),
    ),
    "pooled": (
        "The ratio over several records",
        "As above, 8 blocks a record; {repeats:,} repetitions. Scatter is what true "
        "log ratios differ by between sessions or seeds; the truth is their mean, 0.80. From "
        "three records on their own spread gives the interval (`random`). Two do not show how "
        "records scatter: their interval (`fixed`) speaks of these two, holds where they do not "
        "differ, and of others holds as little as the last row says. With spikes it is wider than "
        "need be: their heavy tails make the two spreads differ by chance, which costs Welch's t "
        "degrees of freedom.",
        ("records", "bias", "median half-width", "coverage"),
    ),
    "tango": (
        "Tango's interval of a difference in accuracy",
        "Exact: the probability of all tables whose interval holds the true difference, for test "
        "sets of four sizes and the shares of examples that only the baseline (lost) or only the "
        "variant (gained) gets right. Where fewer than 8 examples are expected to differ there are "
        "too few tables for any interval to come near 95 % at every rate; such rows have no bar.",
        ("test set", "lost", "gained", "coverage"),
    ),
    "break-even": (
        "Break-even",
        "The campaigns of the first table, with a cost of 1,000 times the baseline's joules per "
        "item (before drift); the truth is the cost over the expected saving. Absolute joules "
        "share the slow noise of their session, which its blocks cannot show: against the "
        "machine's expected level one session without spikes covers too rarely, against its own "
        "level it does not; with spikes t's wide side about makes up for it. So one session's "
        "break-even speaks of that session, that of several records of the machine. The bar is "
        "asked of the campaign with spikes. The last row pools five seeds whose log ratios scatter "
        "by 3 % and whose costs by 5 % (Fieller). `never` is "
        "the share of campaigns without a break-even, which count as missed.",
        ("campaign", "truth at", "never", "coverage"),
    ),
    "sweeps": (
        "False claims",
        "{sweeps:,} sweeps of ten techniques that change nothing, in the campaigns of the first "
        "table with spikes. Share of the sweeps in which any technique is said to save or to cost "
        "(`pooling.energy_verdict`), after Holm's adjustment and without it.",
        ("sweep", "without Holm", "after Holm"),
    ),
}
"""Title, what it shows, and headings by name of the section."""


def report(sections: list[Section], repeats: int, sweeps: int, seed: int) -> str:
    """Return the findings as Markdown."""
    lines = [
        "# Coverage of the intervals, by `python -m benchmarks.coverage`",
        "",
        f"Synthetic: it judges the statistics, never models. Seed {seed}; Python "
        f"{platform.python_version()}, numpy {version('numpy')}, scipy {version('scipy')}. After ± "
        "the Monte-Carlo standard error. Intervals are nominal 95 %.",
    ]
    for section in sections:
        title, text, headings = TEXTS[section.name]
        lines += ["", f"## {title}", "", text.format(repeats=repeats, sweeps=sweeps), ""]
        lines += table(section.findings, headings)
    barred = [found for section in sections for found in section.findings if found.bar]
    failed = [found.what for found in barred if found.verdict() == "FAILS"]
    outcome = f"{len(barred) - len(failed)} of {len(barred)} bars hold"
    failures = f"; these fail: {'; '.join(failed)}." if failed else "."
    return "\n".join([*lines, "", "## Bars", "", outcome + failures]) + "\n"


def table(findings: list[Finding], headings: tuple[str, ...]) -> Iterator[str]:
    yield "| " + " | ".join((*headings, "bar", "")) + " |"
    yield "|---|" + "---:|" * len(headings) + "---|"
    for found in findings:
        error = "" if found.error is None else f" ± {found.error:.3f}"
        bar = "" if found.bar is None else f"{found.bar[0]:g} to {found.bar[1]:g}"
        figure = f"{found.figure:.3f}{error}"
        cells = (found.what, *found.beside, figure, bar, found.verdict())
        yield "| " + " | ".join(cells) + " |"
