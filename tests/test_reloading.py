"""Whatever a technique makes is loaded by a fresh process that opens no pickle."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from tiny import CONF, EAGER, RECIPE, configured, tiny_language

import bench.configured  # noqa: F401 - the configuration asks for its resolvers
from bench import artefacts, facts
from bench.techniques import Setting, Technique, TechniqueError, Terms
from bench.workloads import Workload

ELSEWHERE = {
    *(
        "fp16",
        "float8_dynamic",
        "int4_weight_only",
        "semi_structured_pruning",
        "qlora",
    ),  # need a GPU
    "compile",  # wants runtime=eager: tests/test_compiled.py
    "int8_qat",  # its graph takes 20 s to convert, and is that of int8_static: tests/test_int8.py
}


def workloads() -> dict[str, Workload]:
    """One of images and one of texts, small and the same in every process."""
    return {
        "images": configured("resnet_digits", architecture="resnet10"),
        "texts": tiny_language(padding="fixed"),
    }


CONFIGURED = {"images": "resnet_digits", "texts": "bert_sentences"}
SMALLER = {"resolution": ["technique.size=4"], "sequence_length": ["technique.length=8"]}
"""The usual values leave inputs as small as these as they are."""


def technique(option: str, kind: str) -> Technique:
    with initialize_config_dir(str(CONF), version_base=None):
        words = [f"workload={CONFIGURED[kind]}", f"technique={option}"]
        config = compose("config", words + SMALLER.get(option, []))
    return instantiate(config.technique, _convert_="all")  # type: ignore[no-any-return]


def made(option: str, kind: str, workload: Workload, folder: Path) -> bool:
    """Save what a technique makes of an untrained model; ``False`` if it cannot be done to it."""
    stages = technique(option, kind).stages
    alone = len(stages) == 1
    terms = Terms(workload, dataclasses.asdict(RECIPE), "compile", torch.device("cpu"), alone)
    model = workload.build(0).eval()
    setting = Setting(workload, copy.deepcopy(model).requires_grad_(False), 0)
    try:
        for stage in stages:
            stage.require(terms)
    except TechniqueError:
        return False
    for stage in stages:
        model = stage.prepare(model, setting)
        model.eval()  # an exported graph returns nothing here
        model = stage.convert(model, setting)
    for stage in stages:
        model = stage.deploy(model)
    outputs = facts.probe(workload, EAGER, model, facts.probe_batch(workload))
    folder.mkdir(parents=True)
    artefacts.save(model, stages, outputs, folder, "ab" * 32)
    return True


def load_all(root: Path) -> dict[str, bool]:
    """Return of every artefact whether it repeats its maker's outputs and can be counted.

    Run in a fresh process.
    """
    found = {}
    for name, workload in workloads().items():
        batch = facts.probe_batch(workload)
        for folder in sorted(path for path in (root / name).iterdir() if path.is_dir()):
            stages = technique(folder.name, name).stages
            with no_pickle():
                model = artefacts.load(workload, stages, 0, folder)
                outputs = facts.probe(workload, EAGER, model, batch)
                same = torch.equal(outputs, artefacts.load_probe(folder))
                counted = 0 < facts.nonzero_parameters(model) <= facts.parameters(model)
                works = facts.macs(workload, EAGER, model, batch) > 0
            found[f"{name}/{folder.name}"] = bool(same and counted and works)
    return found


class no_pickle:  # noqa: N801 - reads like a statement
    """Inside, whoever opens a pickle fails."""

    NAMES = ("load", "loads", "Unpickler", "_Unpickler")

    def __enter__(self) -> None:
        self.kept = {name: getattr(pickle, name) for name in self.NAMES}
        self.load = torch.load

        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError("a pickle was opened")

        for name in self.NAMES:
            setattr(pickle, name, refuse)
        torch.load = refuse

    def __exit__(self, *args: object) -> None:
        for name, function in self.kept.items():
            setattr(pickle, name, function)
        torch.load = self.load


def test_a_fresh_process_repeats_every_techniques_outputs_without_a_pickle(tmp_path: Path) -> None:
    every = {path.stem for path in (CONF / "technique").glob("*.yaml")}
    options = sorted(every - ELSEWHERE)
    taken = set()
    for name, workload in workloads().items():
        for option in options:
            if made(option, name, workload, tmp_path / name / option):
                taken.add(option)
    assert every - taken == ELSEWHERE
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) >= len(taken)
    assert [name for name, same in found.items() if not same] == []


if __name__ == "__main__":
    print(json.dumps(load_all(Path(sys.argv[1]))))
