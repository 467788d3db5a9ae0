"""What cannot be trained, or is no graph, is refused with its reason before anything is made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from test_distillation import Narrow
from tiny import EAGER, RECIPE, Tiny, same_tensors
from torch import nn

from bench import artefacts, asked, production
from bench.measurement import Gauge
from bench.meters import Meters
from bench.production import History, Order
from bench.runtime import Runtime
from bench.techniques import Technique, TechniqueError
from bench.techniques.adapters.lora import Lora
from bench.techniques.distillation.hinton import Distillation
from bench.techniques.distillation.small import SmallModel
from bench.techniques.half import Half
from bench.techniques.int8.static import Int8Static
from bench.techniques.retrained import Retrained
from bench.techniques.structured_pruning import StructuredPruning
from bench.workloads import WorkloadError


@dataclass(frozen=True)
class Finished(Tiny):
    """A workload of whose training there is no code, and whose model is no graph."""

    untrainable: ClassVar[str] = "its authors keep that to themselves"

    def require(self, mode: str) -> None:
        if mode == "export":
            raise WorkloadError("it cannot be exported as one graph")

    def student(self, name: str, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(Narrow())


NOTHING = dataclasses.replace(RECIPE, epochs=0)
LORA = Lora("lora", ["fc"], 2.0, 0.01, True, variant="lora", rank=4, alpha=8, dropout=0.0)
SMALL = SmallModel("small_model", "half", None, None)


def refusal(workload: Tiny, technique: Technique, training: Any, runtime: Runtime = EAGER) -> str:
    """Return what is said of parts that cannot work together; nothing where they can."""
    try:
        asked.require(workload, technique, training, runtime, dataclasses.asdict(training))
    except (TechniqueError, WorkloadError) as err:
        return str(err)
    return ""


def pruning(importance: str = "magnitude", epochs: float = 0) -> StructuredPruning:
    return StructuredPruning("prune", 0.5, None, importance, "layer", 1, 8, epochs, 0.1)


@pytest.mark.parametrize(
    ("technique", "asks"),
    [
        (pruning(epochs=3), "technique.epochs=3"),
        (pruning("taylor"), "technique.importance=taylor"),
        (dataclasses.replace(SMALL, epochs=2.0), "technique.epochs=2"),
        (Retrained("mixed_precision", {"precision": "bf16"}), "technique=mixed_precision"),
        (Distillation("distillation", "half", None, None, 2, 0.5, {}, 0), "technique=distillation"),
        (LORA, "technique=lora"),
        (Distillation("distillation", "half", 3.0, None, 2, 0.5, {}, 0), "technique=distillation"),
    ],
)
def test_a_technique_that_trains_is_refused_where_nothing_can_be_trained(
    technique: Technique, asks: str
) -> None:
    said = refusal(Finished(), technique, NOTHING)
    assert said.startswith(f"{asks}: tiny cannot be trained here, since its authors keep that to")
    assert "technique=bf16" in said
    assert "cannot be trained" not in refusal(Tiny(), technique, RECIPE)


def test_a_baseline_that_is_to_be_trained_is_refused() -> None:
    said = refusal(Finished(), Half("bf16", "bf16"), RECIPE)
    assert said.startswith("training.epochs=1: tiny cannot be trained here, since its authors")


@pytest.mark.parametrize("technique", [Half("bf16", "bf16"), pruning(), SMALL])
def test_a_technique_that_trains_nothing_is_not_refused(technique: Technique) -> None:
    assert refusal(Finished(), technique, NOTHING) == ""


@pytest.mark.parametrize(
    "technique",
    [
        Retrained("mixed_precision", {"precision": "bf16"}),
        Distillation("distillation", "half", None, None, 2, 0.5, {}, 0),
    ],
)
def test_a_training_of_no_epochs_is_refused_where_it_is_the_technique(
    technique: Technique,
) -> None:
    said = refusal(Tiny(), technique, NOTHING)
    assert said.startswith(f"technique={technique.name}")
    assert "training.epochs=0" in said


def test_what_is_no_graph_is_not_made_one() -> None:
    compiled = dataclasses.replace(EAGER, mode="compile")
    int8 = Int8Static("int8_static", 64, 8)
    assert refusal(Finished(), int8, NOTHING, compiled) == "it cannot be exported as one graph"
    assert refusal(Tiny(), int8, NOTHING, compiled) == ""


def test_a_small_model_of_a_baseline_that_was_not_trained_is_not_trained(tmp_path: Path) -> None:
    workload, nothing = Finished(), Meters((), required=False)
    artefacts.save(workload.build(5), (), torch.zeros(1), tmp_path, "ab" * 32)
    order = Order(workload, (SMALL,), NOTHING, EAGER, 5, tmp_path, tmp_path, "", nothing)
    history = History(lambda: True)
    with nothing as meters:
        made = production._optimise(order, Gauge(meters, EAGER.synchronise), tmp_path, history)
    assert same_tensors(made.state_dict(), workload.student("half", 5).state_dict())
    assert (history.items, history.trainings) == (0, 0)
