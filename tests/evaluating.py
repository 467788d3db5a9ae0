"""Evaluation of an arm as a pair does it, without a pair."""

from __future__ import annotations

from pathlib import Path

from tiny import EAGER
from torch import nn

from bench import artefacts, evaluation, facts
from bench.evaluation import Evaluation, Look
from bench.meters import Meters
from bench.techniques import Technique
from bench.workloads import Workload


def evaluated(
    workload: Workload,
    model: nn.Module,
    stages: tuple[Technique, ...],
    folder: Path,
    baseline: Path,
    seed: int = 0,
    held_out: float = 0.0,
) -> Evaluation:
    """Save a model and evaluate it; the baseline has been before, in its folder."""
    folder.mkdir()
    outputs = facts.probe(workload, EAGER, model, facts.probe_batch(workload))
    artefacts.save(model, stages, outputs, folder, "ab" * 32)
    nothing = Meters((), required=False)
    look = Look(workload, stages, EAGER, seed, folder, baseline, nothing, None, held_out)
    evaluation.evaluate(look)
    found = evaluation.read(look)
    assert found is not None
    return found
