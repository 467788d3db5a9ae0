"""One arm alone in a fresh process: loaded from its artefact, scored, and looked at."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench import artefacts, codec, digests, facts, machine
from bench.live import Live, Teller
from bench.measurement import Gauge
from bench.measurement.serving import first_call
from bench.meters import Meters
from bench.progress import Bar
from bench.readings import Phase
from bench.runtime import Runtime
from bench.techniques import Technique
from bench.training.splitting import Part, split
from bench.whole import write_beside
from bench.workloads import Batch, Examples, Workload


@dataclass(frozen=True)
class Evaluation:
    """What one arm does to the test split.

    Attributes:
        labels: One per example.
        predictions: Likewise.
        metrics: Fractions by name, or in the unit that ends the name.
        phases: ``evaluate``, and ``compile`` if the runtime compiles.
        peak_memory_bytes: Of this process, with one model in it.
        kernels: Operators of one batch, longest first.
        simulations: What still pretends in the model, by name.
        reload_exact: Whether the first batch's outputs equal the maker's to the last bit.
        exhibits: Folder of what people can look at or listen to, relative to that of all artefacts;
            ``None`` where the workload leaves nothing of the kind.
    """

    labels: tuple[float, ...]
    predictions: tuple[float, ...]
    metrics: dict[str, float]
    phases: dict[str, Phase]
    peak_memory_bytes: int | None
    kernels: tuple[str, ...]
    simulations: tuple[str, ...]
    reload_exact: bool
    exhibits: str | None = None


@dataclass(frozen=True)
class Look:
    """What to evaluate.

    Attributes:
        workload: Data and metric.
        stages: What was done to the model; empty for a baseline.
        runtime: How it is served.
        seed: Of the pair.
        folder: The artefact.
        baseline: That of the pair's baseline, evaluated before; the same one for the baseline.
        meters: Read around each phase.
        max_examples: Test examples to look at; ``None`` for all.
        held_out: Fraction of the training split that was kept from training, to be looked at
            instead of the test split; 0 looks at the test split.
        live: Whom to tell how far it is.
    """

    workload: Workload
    stages: Sequence[Technique]
    runtime: Runtime
    seed: int
    folder: Path
    baseline: Path
    meters: Meters
    max_examples: int | None
    held_out: float = 0.0
    live: Live | None = None

    def examples(self) -> Examples:
        """Return the examples to look at."""
        if not self.held_out:
            return self.workload.test_examples()
        _, kept = split(self.workload, lambda examples: examples, self.held_out, self.seed)
        if kept is None:
            raise ValueError(f"training.validation={self.held_out} keeps no example: take more")
        return kept

    @property
    def file(self) -> Path:
        """Where the result is kept: beside the artefact, one file a runtime and host."""
        shaping = {
            "host": machine.host_name(),  # whose joules and kernels they are
            "runtime": dataclasses.asdict(self.runtime),
            "batch_size": self.workload.batch_size,
            "max_examples": self.max_examples,
        } | ({"held_out": self.held_out} if self.held_out else {})
        name = digests.digest(shaping)[:12]
        return self.folder / f"evaluation-{name}.json"

    @property
    def exhibits(self) -> Path:
        """Where the workload leaves what people can look at or listen to."""
        return self.file.with_suffix("")


def evaluate(look: Look) -> None:
    """Evaluate the artefact and keep the result beside it."""
    look.runtime.set_up(cold=True)
    model = artefacts.load(look.workload, look.stages, look.seed, look.folder)
    model = look.runtime.place(model)
    # A batch as it is served: a compiled model is compiled for its shape.
    batch, _ = next(_batches(look.workload.test_examples(), 1, look.workload.batch_size))
    with look.meters as meters:
        gauge = Gauge(meters, look.runtime.synchronise)
        inputs = look.runtime.inputs(batch, model)
        served = first_call(
            look.runtime, model, lambda served: look.workload.forward(served, inputs), gauge
        )
        with gauge.span("evaluate"):
            labels, predictions = _predict(look, model, served)
    peak_memory_bytes = facts.peak_memory_bytes(look.runtime)
    # Not before: a probe may hold more examples than are served at once.
    outputs = facts.probe(look.workload, look.runtime, model, facts.probe_batch(look.workload))
    result = Evaluation(
        labels=tuple(labels.tolist()),
        predictions=tuple(predictions.tolist()),
        metrics=dict(look.workload.score(labels, predictions)),
        phases={s.name: s.as_phase(items=len(labels)) for s in gauge.spans},
        peak_memory_bytes=peak_memory_bytes,
        kernels=facts.kernels(look.workload, look.runtime, served, batch),
        simulations=facts.simulations(model),
        reload_exact=bool(torch.equal(outputs, artefacts.load_probe(look.folder))),
        exhibits=f"{look.folder.name}/{look.exhibits.name}" if look.exhibits.is_dir() else None,
    )
    text = codec.encode(_beside_baseline(look, result))
    write_beside(text, look.file)


def read(look: Look) -> Evaluation | None:
    """Return the kept result, or ``None`` if there is none yet."""
    if not look.file.is_file():
        return None
    return codec.decode(Evaluation, json.loads(look.file.read_text()))


def _beside_baseline(look: Look, seen: Evaluation) -> Evaluation:
    """Return what was seen of an arm with its distances from the baseline, if those are quality.

    Args:
        look: What was looked at; its exhibits are there, and so are the baseline's.
        seen: What was seen.
    """
    of_baseline = dataclasses.replace(look, folder=look.baseline)
    found = look.workload.distances(of_baseline.exhibits, look.exhibits)
    if not found:
        return seen
    means = {name: float(np.mean(each)) for name, each in found.items()}
    scores = tuple(found[look.workload.metric].tolist())
    return dataclasses.replace(seen, predictions=scores, metrics=seen.metrics | means)


def _predict(look: Look, model: nn.Module, served: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    labels: list[np.ndarray] = []
    predictions: list[np.ndarray] = []
    examples = look.examples()
    places = examples.indices if isinstance(examples, Part) else range(len(examples))
    total = min(len(examples), look.max_examples or len(examples))
    teller = Teller(look.live, "evaluate_variant" if look.stages else "evaluate_baseline")
    done = 0
    with Bar(f"{look.workload.name}: evaluating") as bar:
        for batch, count in _batches(examples, total, look.workload.batch_size):
            inputs = look.runtime.inputs(batch, model)
            with torch.inference_mode():
                outputs = look.workload.forward(served, inputs)
                found = look.workload.predict(outputs, inputs)[:count]
            shown = places[done : done + count]
            look.workload.exhibit(outputs[:count], shown, look.exhibits)
            predictions.append(found.cpu().numpy())
            labels.append(batch["labels"][:count].numpy())
            done += count
            bar.tell(done, total, f"{done} of {total} examples")
            teller.tell(done, total, "examples")
    return np.concatenate(labels), np.concatenate(predictions)


def _batches(examples: Examples, total: int, size: int) -> Iterator[tuple[Batch, int]]:
    """Give batches of one size: the last is filled up with its first example again.

    A compiled model has static shapes, and would be compiled anew for a shorter batch.
    """
    for start in range(0, total, size):
        indices = list(range(start, min(start + size, total)))
        yield examples.__getitems__(indices + [start] * (size - len(indices))), len(indices)
