"""Who may import whom: the architecture, read from the imports."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "bench"

LAYERS = {
    "codec": 0,
    "faults": 0,
    "folders": 0,
    "interruption": 0,
    "readings": 0,
    "whole": 0,
    "findings": 1,
    "records": 2,
    "search": 2,
    "meters": 3,
    "meters.nvml": 4,
    "workloads": 3,
    "techniques": 4,
    "runtime": 4,
    "artefacts": 5,
    "digests": 3,
    "facts": 5,
    "isolation": 5,
    "locks": 5,
    "machine": 2,
    "progress": 5,
    "statistics": 5,
    "store": 5,
    "flat": 5,
    "collection": 6,
    "live": 6,
    "training": 5,
    "meters.counters": 5,
    "meters.codecarbon": 5,
    "meters.impact_tracker": 5,
    "meters.wall": 5,
    "meters.polled": 5,
    "workloads.vision": 5,
    "workloads.batching": 4,
    "workloads.checkpoints": 4,
    "workloads.files": 4,
    "workloads.hub": 4,
    "workloads.causal_lm": 5,
    "workloads.language": 5,
    "workloads.speech": 5,
    "workloads.language.anatomy": 4,
    "techniques.half": 5,
    "techniques.quantized": 6,
    "techniques.tied": 5,
    "techniques.fine_tuning": 5,
    "techniques.semi_structured_pruning": 6,
    "techniques.int8": 6,
    "techniques.distillation": 6,
    "techniques.resolution": 6,
    "techniques.retrained": 5,
    "techniques.unstructured_pruning": 6,
    "techniques.channels_last": 5,
    "techniques.compiled": 5,
    "techniques.reshaping": 5,
    "techniques.structured_pruning": 6,
    "techniques.encoder_pruning": 6,
    "techniques.sequence_length": 6,
    "techniques.adapters": 5,
    "measurement": 6,
    "asked": 7,
    "ranks": 7,
    "spending": 7,
    "evaluation": 7,
    "comparison": 7,
    "conclusions": 7,
    "reporting": 7,
    "reporting.figures": 8,
    "doctor": 7,
    "configured": 8,
    "production": 8,
    "proof": 8,
    "recording": 8,
    "making": 9,
    "mistakes": 9,
    "report": 9,
    "compare": 9,
    "validate": 9,
    "push": 9,
    "sweeping": 9,
    "dashboard.data": 10,
    "ci": 9,
    "pair": 10,
    "dashboard": 11,
    "__main__": 11,
    "tune": 12,
}
"""A module may import from layers below its own; parts of one package import each other."""

FENCES = {
    "torch": {
        "artefacts",
        "comparison",
        "evaluation",
        "facts",
        "measurement",
        "production",
        "ranks",
        "runtime",
        "techniques",
        "training",
        "workloads",
    },
    "hydra": {"__main__", "configured", "mistakes", "push", "sweeping", "tune"},
    "filelock": {"locks", "tune.storage"},
    "optuna": {"tune"},
    "zeus": {"meters.counters"},
    "codecarbon": {"meters.codecarbon"},
    "experiment_impact_tracker": {"meters.impact_tracker"},
    "pynvml": {"machine", "meters.nvml"},
    "transformers": {
        "techniques.adapters",
        "techniques.unstructured_pruning",
        "training",
        "workloads.causal_lm",
        "workloads.checkpoints",
        "workloads.language",
        "workloads.speech",
    },
    "librosa": {"workloads.speech"},
    "soundfile": {"workloads.speech"},
    "peft": {"techniques.adapters"},
    "bitsandbytes": {"techniques.adapters"},
    "huggingface_hub": {"push", "workloads.causal_lm"},
    "evaluate": {"workloads.language"},
    "datasets": {"workloads"},
    "torch_pruning": {"techniques"},
    "torchao": {"techniques", "training.optimizers"},
    "matplotlib": {"reporting.figures"},
    "seaborn": {"reporting.figures"},
    "typst": {"reporting.typeset"},
    "xlsxwriter": {"reporting.workbook", "dashboard.data.sheets"},
    "nicegui": {"dashboard.pages", "dashboard.server"},
    "fastapi": {"dashboard.server"},
    "uvicorn": {"dashboard.server"},
    "pytest": {"ci.fixture", "ci.reports", "ci.settings", "ci.storage", "ci.worker"},
    "pytest_benchmark": {"ci.storage"},
}
"""Libraries that only some modules may know."""


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def unit(name: str) -> str:
    """Return the longest part of a module's name that has a layer."""
    while name and name not in LAYERS:
        name = name.rpartition(".")[0]
    return name


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path: Path) -> set[str]:
    return {
        unit(name.removeprefix("bench.")) for name in imports(path) if name.startswith("bench.")
    }


@pytest.mark.parametrize("path", sources(), ids=dotted)
def test_a_module_imports_only_from_layers_below(path: Path) -> None:
    here = unit(dotted(path))
    if not dotted(path):
        assert not ours(path)
        return
    assert here, f"{path.name} has no layer: give it one in LAYERS"
    above = {
        name for name in ours(path) - {here, ""} if name in LAYERS and LAYERS[name] >= LAYERS[here]
    }
    assert not above, f"{dotted(path)} (layer {LAYERS[here]}) imports {sorted(above)}"


@pytest.mark.parametrize("path", sources(), ids=dotted)
def test_a_library_is_known_only_where_it_belongs(path: Path) -> None:
    name = dotted(path)
    for library, allowed in FENCES.items():
        if any(i == library or i.startswith(f"{library}.") for i in imports(path)):
            assert any(name == a or name.startswith(f"{a}.") for a in allowed), (
                f"{name} imports {library}, which is for {sorted(allowed)}"
            )


@pytest.mark.parametrize("path", sources(), ids=dotted)
def test_a_file_is_no_longer_than_three_hundred_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def test_every_layer_belongs_to_a_module_that_is_there() -> None:
    there = {dotted(path) for path in sources()}
    assert set(LAYERS) <= there
