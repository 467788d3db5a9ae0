"""Does the quality follow from what both arms answered?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.digests import labels_sha256
from bench.statistics import metrics
from bench.statistics.quality import bootstrap_difference, mean_difference, tango_interval
from bench.validate import Finding
from bench.validate.case import Case, Columns


def check(case: Case) -> Iterator[Finding]:
    """Hold predictions and quality against each other, and quality against its margin."""
    judged = case.record.quality
    verdict = "inferior" if judged.high < -judged.margin else "inconclusive"
    if judged.low > -judged.margin:
        verdict = "non-inferior"
    yield from case.equal("quality verdict", "quality.verdict", judged.verdict, verdict)
    yield from case.equal(
        "difference", "quality.difference", judged.difference, judged.variant - judged.baseline
    )
    for name in ("baseline", "variant"):
        alone = getattr(case.record, name).metrics.get(judged.metric)
        field = f"{name}.metrics.{judged.metric}"
        yield from case.equal("metrics", field, alone, getattr(judged, name))
        if (phase := getattr(case.record, name).phases.get("evaluate")) is None:
            yield case.error("examples", f"{name}.phases lacks evaluate")
        else:
            field = f"{name}.phases.evaluate.items"
            yield from case.equal("examples", field, phase.items, judged.examples)
    if (answers := case.tables.get("predictions")) is None:
        return
    yield from _rows(case, answers)
    if is_known(judged.metric) and len(answers["example"]):
        yield from (_accuracy if judged.metric == "accuracy" else _others)(case, answers)


def is_known(metric: str) -> bool:
    """Return whether a metric can be computed anew from predictions."""
    return metric in metrics.METRICS or metrics.is_mean(metric)


def _rows(case: Case, answers: Columns) -> Iterator[Finding]:
    """The file holds every test example once, in order, with the label of the data set."""
    examples = case.record.quality.examples
    yield from case.equal("examples", "quality.examples", examples, len(answers["example"]))
    if not np.array_equal(answers["example"], np.arange(len(answers["example"]))):
        yield case.error("examples", "predictions.parquet: examples do not count from 0 upwards")
    for name in ("label", "baseline", "variant"):
        if answers[name].dtype.kind == "f" and np.isnan(answers[name]).any():
            yield case.error("examples", f"predictions.parquet: {name} has empty cells")
    test = case.record.data.get("test")
    if case.rules["max_examples"] is not None or not isinstance(test, dict):
        return  # a rehearsal's examples are the first few
    if "examples" in test:
        yield from case.equal("examples", "quality.examples", examples, test["examples"])
    if "labels_sha256" in test and answers["label"].dtype.kind in "iuf":
        found = labels_sha256(answers["label"])
        field = "SHA-256 of the labels in predictions.parquet"
        yield from case.equal("labels", field, found, test["labels_sha256"])


def _accuracy(case: Case, answers: Columns) -> Iterator[Finding]:
    judged = case.record.quality
    baseline, variant = (answers[arm] == answers["label"] for arm in ("baseline", "variant"))
    for name, right in (("baseline", baseline), ("variant", variant)):
        field = f"quality.{name}"
        yield from case.equal("accuracy", field, getattr(judged, name), float(right.mean()))
    lost, gained = int((baseline & ~variant).sum()), int((variant & ~baseline).sum())
    yield from case.equal("lost and gained", "quality.lost", judged.lost, lost)
    yield from case.equal("lost and gained", "quality.gained", judged.gained, gained)
    low, high = tango_interval(lost, gained, len(baseline))
    yield from case.equal("quality interval", "quality.low", judged.low, low)
    yield from case.equal("quality interval", "quality.high", judged.high, high)


def _others(case: Case, answers: Columns) -> Iterator[Finding]:
    judged, truth = case.record.quality, answers["label"]
    is_mean = metrics.is_mean(judged.metric)
    of = metrics.mean if is_mean else metrics.METRICS[judged.metric]
    for name in ("baseline", "variant"):
        found = of(truth, answers[name])
        yield from case.equal(judged.metric, f"quality.{name}", getattr(judged, name), found)
    arms = answers["baseline"], answers["variant"]
    again = mean_difference(*arms) if is_mean else bootstrap_difference(of, truth, *arms)
    yield from case.equal("quality interval", "quality.low", judged.low, again.low)
    yield from case.equal("quality interval", "quality.high", judged.high, again.high)
