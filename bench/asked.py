"""What is asked of a pair: its parts as configured, and what they refuse beforehand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from bench.isolation import Limits
from bench.measurement.protocol import Protocol
from bench.meters import Meters
from bench.runtime import Runtime
from bench.techniques import Technique, Terms
from bench.training.recipe import Training
from bench.workloads import Workload

Stage = Literal["all", "prepare", "measure"]
"""What is done of a pair: everything; only training and optimising; only what needs no training."""


def require_stage(stage: str) -> None:
    """Refuse a stage that is none.

    Raises:
        ValueError: The message names those there are.
    """
    if stage not in get_args(Stage):
        raise ValueError(
            f"stage is {stage!r}: one of {', '.join(get_args(Stage))}; prepare trains and "
            f"optimises, on any host and many at once, measure does the rest, all does both"
        )


@dataclass(frozen=True)
class Pair:
    """What is measured, as configured; ``conf/config.yaml`` is this constructor's tree.

    Attributes:
        workload: Model, data, metric.
        technique: What makes the variant out of the baseline.
        training: The baseline's recipe.
        runtime: How both arms are served.
        protocol: How they are measured.
        meters: What is read.
        seed: Of initialisation, data order, augmentation and block order.
        session_number: Tells measurements of the same artefacts apart.
        place: Folder of the record.
        artefacts: Folder of the trained models, shared by all pairs.
        config: The resolved configuration, for the record.
        data_digest: Of the data and models that are the user's own, if there are any.
        host: Name of the machine.
        replace: Whether a record that stands there is measured again.
        stage: Which part of it is done.
        limits: How long the steps may take.
    """

    workload: Workload
    technique: Technique
    training: Training
    runtime: Runtime
    protocol: Protocol
    meters: Meters
    seed: int
    session_number: int
    place: Path
    artefacts: Path
    config: Mapping[str, Any]
    data_digest: str | None
    host: str
    replace: bool
    stage: Stage
    limits: Limits

    def __post_init__(self) -> None:
        """Refuse a stage that is none."""
        require_stage(self.stage)


def require(
    workload: Workload,
    technique: Technique,
    training: Training,
    runtime: Runtime,
    asked: Mapping[str, Any],
) -> None:
    """Refuse parts that cannot work together, before anything is trained.

    Args:
        workload: Of the pair.
        technique: What makes the variant.
        training: The baseline's recipe.
        runtime: How both arms are served.
        asked: The recipe as configured.

    Raises:
        TechniqueError: The message names the key and the way out.
        WorkloadError: Likewise.
        ValueError: A stage's own recipe has a value out of range.
    """
    stages = technique.stages
    terms = Terms(workload, asked, runtime.mode, runtime.torch_device, alone=len(stages) == 1)
    workload.require(runtime.mode)
    if runtime.mode == "compile":
        terms.require_compiler("runtime.mode=compile")
    if training.epochs:
        workload.require_trainable(f"training.epochs={training.epochs:g}")
    for stage in stages:
        stage.require(terms)
        if stage.recipe is not None:
            recipe = dataclasses.replace(training, **stage.recipe)  # or refused: out of range
            if recipe.epochs:
                workload.require_trainable(f"technique.epochs={recipe.epochs:g}")
