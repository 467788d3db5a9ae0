"""Training loss along the optimiser's steps: of the baseline, and of what techniques train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bench.reporting.figures import style
from bench.reporting.figures.panels import Material, NothingToDrawError, sheets, titles
from bench.reporting.rows import BASELINE

SEEDS = 10
"""Most trainings of one label that are drawn; a note says of how many."""

_TRAINED = ["workload", "recipe_json"]
_PANEL_IN = 2.0
_CROWD = 8

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """One stage of the training of one label.

    Attributes:
        name: As in the legend.
        look: How it is drawn.
        seeds: Of each training steps and losses, shape ``(points, 2)``.
    """

    name: str
    look: style.Look
    seeds: tuple[Points, ...]

    @property
    def mean(self) -> Points:
        """The mean over the trainings, where all have been; straight between logged points."""
        first = max(seed[0, 0] for seed in self.seeds)
        last = min(seed[-1, 0] for seed in self.seeds)
        steps = np.unique(np.concatenate([seed[:, 0] for seed in self.seeds]))
        steps = steps[(steps >= first) & (steps <= last)]
        losses = [np.interp(steps, *seed.T) for seed in self.seeds]
        return np.column_stack([steps, np.mean(losses, axis=0)])


def draw(material: Material) -> list[Figure]:
    """Return the losses, whichever host trained: one panel for baselines, one for techniques."""
    groups = list(material.pairs.groupby(_TRAINED, dropna=False))
    named = titles([dict(zip(_TRAINED, key, strict=True)) for key, _ in groups])
    shown: list[tuple[str, list[Curve]]] = []
    notes: list[str] = []
    for title, (_, pairs) in zip(named, groups, strict=True):
        for what, of_what in (("training", _trained), ("optimisation", _optimised)):
            found, sentences = of_what(material, pairs)
            shown += [(f"{title}: {what}", found)] if found else []
            notes += [f"{title}: {sentence}" for sentence in sentences]
    if not shown:
        raise NothingToDrawError("no pair has a logged training (training.parquet)")
    return [_sheet(portion, notes) for portion in sheets(shown, _PANEL_IN)]


def _trained(material: Material, pairs: pd.DataFrame) -> tuple[list[Curve], list[str]]:
    ordered = pairs.sort_values(["seed", "host", "id"], kind="stable")
    models = ordered.drop_duplicates("baseline_digest")
    return _curves(material, models, "baseline", "baseline", style.BASELINE_LOOK)


def _optimised(material: Material, pairs: pd.DataFrame) -> tuple[list[Curve], list[str]]:
    ordered = pairs[pairs["technique"] != BASELINE].sort_values(
        ["label", "seed", "host", "id"], kind="stable"
    )
    models = ordered.drop_duplicates(["label", "variant_digest"])
    found: list[Curve] = []
    notes: list[str] = []
    for label, of_label in models.groupby("label"):
        look = material.looks[str(label)]
        curves, sentences = _curves(material, of_label, "variant", str(label), look)
        found, notes = [*found, *curves], [*notes, *sentences]
    return found, notes


def _curves(
    material: Material, models: pd.DataFrame, arm: str, name: str, look: style.Look
) -> tuple[list[Curve], list[str]]:
    """Return a curve per stage, and sentences on what is not drawn."""
    seeds: dict[str, list[Points]] = {}
    drawn = models["folder"].head(SEEDS)
    missing = 0
    for folder in drawn:
        logged = material.beside(folder, "training")
        if logged is None:
            missing += 1
            continue
        # A validation is logged without a loss.
        kept = logged[(logged["arm"] == arm) & logged["loss"].notna()]
        for stage, points in kept.groupby("stage", sort=False):
            seeds.setdefault(str(stage), []).append(points[["step", "loss"]].to_numpy(float))
    notes = [f"{SEEDS} of {len(models)} trainings of {name}."] if len(models) > SEEDS else []
    if missing:
        notes.append(f"no training.parquet of {missing} of {len(drawn)} trainings of {name}.")
    alone = len(seeds) == 1
    return [
        Curve(name if alone else f"{name}, {stage}", look, tuple(each))
        for stage, each in seeds.items()
    ], notes


def _sheet(shown: Sequence[tuple[str, list[Curve]]], notes: Sequence[str]) -> Figure:
    crowded = max(len(curves) for _, curves in shown) > _CROWD
    figure, places = style.multiples(len(shown), _PANEL_IN, wide=crowded)
    entries: dict[str, Artist] = {}
    for axes, (title, curves) in zip(places, shown, strict=True):
        entries |= _panel(axes, title, curves)
    style.legend(figure, entries)
    several = any(len(curve.seeds) > 1 for _, curves in shown for curve in curves)
    style.note(figure, [*(["Thin lines: seeds; thick: their mean."] if several else []), *notes])
    sns.despine(fig=figure)
    return figure


def _panel(axes: Axes, title: str, curves: Sequence[Curve]) -> dict[str, Artist]:
    entries: dict[str, Artist] = {}
    for curve in curves:
        colour, line = curve.look.colour, curve.look.line
        for seed in curve.seeds if len(curve.seeds) > 1 else ():
            axes.plot(*seed.T, color=colour, lw=0.5, alpha=0.5)
        axes.plot(*curve.mean.T, color=colour, ls=line, lw=1.4, label=curve.name)
        entries[curve.name] = Line2D([], [], color=colour, ls=line, lw=1.4)
    axes.set_xlim(left=0)
    style.title(axes, title)
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel("training loss (nats)")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=True))
    return entries
