"""Whole results folders made up for tests: windows with a known ratio, and the record they give.

What is simulated is what the machine does (seconds, joules, answers). Everything after that is the
project's own code: which blocks are discarded, when measuring stops, every figure of the record,
and the files beside it. So a folder written here is one that a measurement could have written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import random
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from bench import codec, conclusions, digests, store
from bench.findings import Comparison, Proof
from bench.machine import Circumstances
from bench.measurement import Span, validity
from bench.measurement.conditions import Bounds, bounds, violated
from bench.measurement.figures import Figure, available
from bench.measurement.frames import trace_frame, training_frame, windows_frame
from bench.measurement.protocol import Protocol
from bench.measurement.session import ORDERS, Window, per_item
from bench.measurement.version import VERSION
from bench.meters import Channel
from bench.readings import Grade, Logged, Overhead, Phase, Reading, total
from bench.records import Arm, Artefact, Discard, Latency, Record, Session
from bench.statistics.ratios import block_log_ratios, half_width

CONF = Path(__file__).parents[1] / "conf"

CHANNELS: dict[str, tuple[str, tuple[Channel, ...]]] = {
    "A": ("wall", (Channel("wall", "wall.socket", "A", 0.1, {"file": "socket.csv"}),)),
    "B": (
        "counters",
        (Channel("cpu:0", "rapl", "B", 0.001), Channel("dram:0", "rapl", "B", 0.001)),
    ),
    "C": (
        "codecarbon",
        (
            Channel("cpu", "codecarbon.cpu_load", "C", 0.01, {"tdp_w": 125}),
            Channel("ram", "codecarbon.ram_model", "C", 0.0, {"power_w": 20.0}),
        ),
    ),
    "S": ("counters", (Channel("cpu:0", "rapl", "S", 0.001), Channel("dram:0", "rapl", "S"))),
}
"""Meter and channels of each grade."""

IDLE_W = {"wall": 70.0, "cpu:0": 22.0, "dram:0": 4.0, "cpu": 12.5, "ram": 20.0}
WORK_W = {"wall": 240.0, "cpu:0": 118.0, "dram:0": 11.0, "cpu": 121.0, "ram": 20.0}

SHRUNK = {
    "none": (1.0, 1.0, 1.0),
    "structured_pruning": (0.25, 0.25, 0.25),
    "bf16": (0.5, 1.0, 1.0),
    "structured_pruning+bf16": (0.125, 0.25, 0.25),
}
"""Bytes, parameters and multiply-accumulates of a variant over its baseline's."""

SECONDS_PER_ITEM = 0.0055
TRAIN_S = 582.0
_EPOCH = datetime(2026, 3, 2, 8, tzinfo=UTC)
_NS_PER_S = 1_000_000_000


def write_pair(
    root: Path,
    *,
    technique: str = "structured_pruning",
    seed: int = 0,
    ratio: float = 0.8,
    grades: tuple[Grade, ...] = ("B", "C"),
    session_number: int = 0,
    host: str = "made-up-host",
    workload: str = "resnet18_cifar10",
    protocol: Mapping[str, Any] | str = "paper",
    accuracy: tuple[float, float] = (0.931, 0.930),
    examples: int = 10_000,
    noise: float = 0.006,
    drift: float = 0.01,
    stolen: Mapping[int, float] | None = None,
    weights: bool = False,
    cuda: bool = False,
    **changes: Any,
) -> Path:
    """Simulate one pair, write its record as the store does, and return its folder.

    Write the A/A pair (``technique="none"``) first, as a sweep does, for a headline.

    Args:
        root: The results.
        technique: A name below ``conf/technique``, or one that is made up; ``none`` makes the A/A
            pair.
        seed: Of the pair; records of one workload and seed share the baseline's artefact.
        ratio: True ratio of joules and of seconds; 1 for ``none`` whatever is given.
        grades: Of the joules that the host can read; ``A``, ``B`` or ``S``, ``C``; may be empty.
        session_number: Tells sessions of the same artefacts apart.
        host: Name of the machine.
        workload: A name below ``conf/workload``.
        protocol: Name below ``conf/protocol``, or knobs that differ from ``paper``.
        accuracy: Of both arms; for ``none`` the baseline's alone.
        examples: In the test split.
        noise: Standard deviation of a window's logarithm.
        drift: Linear drift of the machine over 40 blocks, a fraction.
        stolen: Share of the cores that the hypervisor keeps in a block's first window, by block.
        weights: Whether to write the artefacts below ``.artefacts``, a few kilobytes each.
        cuda: Whether a GPU serves, of which no meter reads anything.
        changes: Fields of the record to set outright.
    """
    config = _config(root, workload, technique, protocol, seed, session_number, host, grades)
    technique = config["technique"]["name"]
    same = technique == "none"
    rules = Protocol(**{k: v for k, v in config["protocol"].items() if k != "_target_"})
    rng = _rng(host, workload, technique, seed, session_number)
    channels = dict(CHANNELS[grade] for grade in grades)
    figures = available(channels, "cuda" if cuda else "cpu")
    measured = _measure(
        rules, channels, figures[0], rng, seed, (1.0 if same else ratio, noise, drift), stolen or {}
    )
    predictions = _predictions(workload, technique, seed, examples, accuracy)
    arms, histories = _arms(
        root, config, channels, measured.windows, predictions, accuracy, seed, weights
    )
    found = conclusions.comparisons(measured.windows, figures, measured.discards)
    judged = conclusions.quality(
        "accuracy",
        predictions["label"].tolist(),
        (predictions["baseline"].tolist(), predictions["variant"].tolist()),
        config["workload"]["margin"],
    )
    wall = next(c for c in found if c.measure == "wall_s")
    proof = Proof(
        arms[1].artefact.bytes < arms[0].artefact.bytes,
        True,
        ("aten::mkldnn_convolution [float]", "aten::add_ [float]"),
        True,
        conclusions.exploited(*arms, wall),
    )
    spent = [arms[1].phases[p] for p in ("optimise", "convert") if p in arms[1].phases]
    break_even, never = conclusions.break_even(figures[0], measured.windows, spent)
    data = _data(predictions)
    place = store.place(root, host, workload, technique, seed, digests.digest(asked(config)))
    drifts = (
        validity.idle_drift(measured.idle[0], measured.idle[1]),
        validity.baseline_drift(measured.windows, figures[0].of),
    )
    invalid = validity.too_many_discards(
        measured.windows, measured.discards, rules
    ) or validity.too_much_drift(*drifts, rules)
    started = _EPOCH + timedelta(days=session_number, hours=seed, minutes=0 if same else 20)
    record = Record(
        id="/".join(place.parts[-3:]),
        created=(started + timedelta(minutes=12)).isoformat(timespec="seconds"),
        workload=workload,
        technique=technique,
        label=" ".join([technique, *(str(v) for v in [config["technique"].get("ratio")] if v)]),
        seed=seed,
        session_number=session_number,
        host=host,
        protocol=dataclasses.asdict(rules),
        runtime={k: v for k, v in config["runtime"].items() if k != "_target_"},
        config=config,
        environment=_environment(host, cuda),
        data=data,
        baseline=arms[0],
        variant=arms[1],
        comparison=found[0],
        comparisons=found,
        quality=judged,
        proof=proof,
        break_even=break_even,
        break_even_reason=never,
        verdict=conclusions.verdict(
            found, judged, proof, invalid, _noise_floor(place, rules, found[0]), same
        ),
        session=_session(measured, started, drifts, invalid, channels),
        measuring_version=VERSION,
        files={},
        rehearsal=rules.rehearsal,
    )
    tables = {
        "windows": windows_frame(measured.windows),
        "predictions": predictions,
        "trace": trace_frame(measured.spans),
        "training": training_frame(histories),
    }
    return store.write(place, dataclasses.replace(record, **changes), tables, replace=True)


def write_campaign(
    root: Path,
    ratios: Mapping[str, float],
    *,
    seeds: Iterable[int] = (0,),
    hosts: Iterable[str] = ("made-up-host",),
    **same: Any,
) -> list[Path]:
    """Write the A/A pair and one pair per technique, seed and host; return their folders."""
    return [
        write_pair(root, technique=technique, ratio=ratio, seed=seed, host=host, **same)
        for host in hosts
        for seed in seeds
        for technique, ratio in {"none": 1.0, **ratios}.items()
    ]


def asked(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the digest in a folder's name is taken of, as the command does."""
    keys = ("workload", "technique", "training", "runtime", "protocol", "meter", "seed", "session")
    workload = {k: v for k, v in config["workload"].items() if k != "data_root"}
    return {key: config[key] for key in keys} | {"workload": workload, "data": None}


@dataclasses.dataclass(frozen=True)
class _Simulated:
    windows: list[Window]
    discards: list[Discard]
    idle: tuple[Span, Span]
    warmup: Span
    spans: list[Span]


def _rng(*names: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(names).encode()))


def _span(
    name: str,
    start_s: float,
    wall_s: float,
    channels: Mapping[str, tuple[Channel, ...]],
    watts: Mapping[str, float],
    scale: float,
    steal_share: float = 0.0,
) -> Span:
    """A span of so many seconds; its joules are those of ``watts``, times ``scale``."""
    start_ns, end_ns = round(start_s * _NS_PER_S), round((start_s + wall_s) * _NS_PER_S)
    exact_s = (end_ns - start_ns) * 1e-9
    readings = tuple(
        Reading(meter, c.component, c.source, c.grade, watts[c.component] * exact_s * scale)
        for meter, group in channels.items()
        for c in group
    )
    busy = 0.002 if name == "idle" else 7.6
    host = Circumstances({"cpu:0": 61.0}, cpu_throttles=0, major_faults=0)
    return Span(name, start_ns, end_ns, busy * exact_s, readings, steal_share, 0.004, host)


def _measure(
    rules: Protocol,
    channels: Mapping[str, tuple[Channel, ...]],
    lead: Figure,
    rng: np.random.Generator,
    seed: int,
    truth: tuple[float, float, float],
    stolen: Mapping[int, float],
) -> _Simulated:
    """Idle, warm up, measure blocks until the protocol is content, idle."""
    ratio, noise, drift = truth
    clock_s = 5_000.0

    def take(name: str, wall_s: float, watts: Mapping[str, float], scale: float, steal: float = 0):
        nonlocal clock_s
        span = _span(name, clock_s, wall_s, channels, watts, scale, steal)
        clock_s += wall_s + 0.01
        return span

    idle_before = take("idle", rules.idle_s, IDLE_W, 1.0)
    warmup = take("warmup", max(rules.warmup_s, 0.1), WORK_W, 0.97)
    limits: Bounds = bounds(rules, channels, idle_before, {})
    steps_s = [c.step_s for group in channels.values() for c in group]
    window_s = max(rules.window_s, rules.min_ticks * max(steps_s, default=0.0))
    batch = 64
    per_arm_s = {"baseline": SECONDS_PER_ITEM, "variant": SECONDS_PER_ITEM * ratio}
    passes = {arm: max(1, round(window_s / (s * batch))) for arm, s in per_arm_s.items()}
    windows: list[Window] = []
    discards: list[Discard] = []
    first = random.Random(seed).randrange(2)
    number = kept = 0
    while not _enough(rules, windows, kept, len(discards), lead):
        order = ORDERS[(first + number) % 2]
        block = []
        for position, arm in enumerate(order):
            clock_s += rules.lead_in_s + 0.05
            speed = math.exp(drift * number / 40 + rng.normal(0, noise))
            items = passes[arm] * batch
            span = take(
                "window",
                items * per_arm_s[arm] * speed,
                WORK_W,
                math.exp(rng.normal(0, noise / 3)),
                stolen.get(number, 0.0) if position == 0 else 0.0,
            )
            name = "ABBA" if order[0] == "baseline" else "BAAB"
            block.append(Window(number, name, position, arm, items, span, kept=True))
        bad = violated([(window.arm, window.span) for window in block], limits)
        if bad is None:
            kept += 1
        else:
            discards.append(Discard(number, *bad))
            block = [dataclasses.replace(window, kept=False) for window in block]
        windows += block
        number += 1
    idle_after = take("idle", rules.idle_s, IDLE_W, 1.006)
    spans = [idle_before, warmup, *(window.span for window in windows), idle_after]
    return _Simulated(windows, discards, (idle_before, idle_after), warmup, spans)


def _enough(
    rules: Protocol, windows: list[Window], kept: int, discarded: int, lead: Figure
) -> bool:
    """The stopping rule of ``bench.measurement.session``."""
    if discarded > max(2.0, rules.max_discarded * rules.max_blocks):
        return True
    if kept < rules.min_blocks:
        return False
    baseline, variant = per_item(windows, lead.of)
    return kept >= rules.max_blocks or (
        half_width(block_log_ratios(baseline, variant)) <= rules.half_width
    )


def _predictions(
    workload: str, technique: str, seed: int, examples: int, accuracy: tuple[float, float]
) -> pd.DataFrame:
    """Answers that are right in exactly the shares asked for (to half an example)."""
    labels = _rng(workload, "labels").integers(10, size=examples)
    wrong = (labels + 1 + _rng(workload, seed, "wrong").integers(9, size=examples)) % 10
    order = _rng(workload, seed, "order").permutation(examples)
    right = round(accuracy[0] * examples)
    baseline = wrong.copy()
    baseline[order[:right]] = labels[order[:right]]
    variant = baseline.copy()
    if technique != "none":
        fewer = right - round(accuracy[1] * examples)
        both = min(round(0.01 * examples), examples - right)
        lost = order[: both + max(fewer, 0)]
        gained = order[right : right + both + max(-fewer, 0)]
        variant[lost], variant[gained] = wrong[lost], labels[gained]
    columns = {"label": labels, "baseline": baseline, "variant": variant}
    floats = {name: values.astype(float) for name, values in columns.items()}
    return pd.DataFrame({"example": range(examples), **floats})


def _data(predictions: pd.DataFrame) -> dict[str, Any]:
    labels = predictions["label"].to_numpy().astype("<i8").tobytes()
    return {
        "source": "made-up/images",
        "train": {"examples": 50_000, "labels_sha256": hashlib.sha256(b"train").hexdigest()},
        "test": {
            "examples": len(predictions),
            "labels_sha256": hashlib.sha256(labels).hexdigest(),
        },
        "folder_sha256": None,
    }


def _arms(
    root: Path,
    config: Mapping[str, Any],
    channels: Mapping[str, tuple[Channel, ...]],
    windows: list[Window],
    predictions: pd.DataFrame,
    accuracy: tuple[float, float],
    seed: int,
    weights: bool,
) -> tuple[tuple[Arm, Arm], dict[str, tuple[Logged, ...]]]:
    """Both arms, and what their trainings logged."""
    workload, technique = config["workload"]["name"], config["technique"]["name"]
    made: dict[str, Arm] = {}
    histories: dict[str, tuple[Logged, ...]] = {}
    for name in ("baseline", "variant"):
        changed = name == "variant" and technique != "none"
        stages = technique if changed else "none"
        size, count, work = SHRUNK.get(stages, (0.5, 0.5, 0.5))
        digest = digests.digest({"of": [workload, stages, seed, accuracy[changed], weights]})
        content = digest.encode() * round(80 * size)
        bytes_ = len(content) if weights else round(44_745_160 * size)
        artefact = Artefact(digest, bytes_, hashlib.sha256(content).hexdigest())
        phases, history = _making(channels, stages, workload, seed)
        taken = [w for w in windows if w.kept and w.arm == name]
        infer = dataclasses.replace(
            total(w.span.as_phase() for w in taken), items=sum(w.items for w in taken)
        )
        kept = {k: v for k, v in phases.items() if name == "baseline" or k != "train"}
        evaluated = _span("evaluate", 0.0, 37.9 * size, channels, WORK_W, 0.9)
        latency_s = 0.0062 * (0.6 if changed else 1.0)
        parameters = round(11_173_962 * count)
        made[name] = Arm(
            artefact=artefact,
            parameters=parameters,
            nonzero_parameters=parameters - 12,
            sparsity="none",
            macs=round(555_422_720 * work),
            input_shapes={"pixel_values": (3, 32, 32)},
            peak_memory_bytes=860_127_232,
            latency=Latency(1_007, latency_s, latency_s * 1.2, None)
            if config["protocol"]["latency_requests"]
            else None,
            phases=kept | {"evaluate": evaluated.as_phase(len(predictions)), "infer": infer},
            metrics={"accuracy": float((predictions["label"] == predictions[name]).mean())},
        )
        if changed or name == "baseline":
            histories[name] = history
        if weights:
            _write_artefact(root, made[name], content, phases, history)
    return (made["baseline"], made["variant"]), histories


def _making(
    channels: Mapping[str, tuple[Channel, ...]], stages: str, workload: str, seed: int
) -> tuple[dict[str, Phase], tuple[Logged, ...]]:
    """Training of a baseline, or pruning and fine-tuning: phases, and points that were logged."""
    rng = _rng(workload, stages, seed, "making")
    wall_s = TRAIN_S * (1.0 if stages == "none" else 0.1) * math.exp(rng.normal(0, 0.02))
    steps = 20 * round(wall_s)
    points = []
    stage = "train" if stages == "none" else stages
    for at in range(1, 21):
        part = _span("train", 0.0, wall_s * at / 20 * 0.99, channels, WORK_W, 0.95)
        step, reached = steps * at // 20, (part.wall_s, part.readings)
        loss = 0.35 + 1.9 * math.exp(-at / 5) + abs(rng.normal(0, 0.01))
        points.append(Logged(stage, step, loss, 0.05 * (1 - at / 20), None, *reached))
        if at % 4 == 0:  # a validation
            metric = 0.93 - 0.8 * math.exp(-at / 5)
            points.append(Logged(stage, step, None, None, metric, *reached))
    whole = _span("train", 0.0, wall_s, channels, WORK_W, 0.95).as_phase(steps * 64)
    if stages == "none":
        return {"train": whole}, tuple(points)
    convert = _span("convert", 0.0, 0.4, channels, WORK_W, 0.5).as_phase()
    return {"optimise": whole, "convert": convert}, tuple(points)


def _write_artefact(
    root: Path,
    arm: Arm,
    content: bytes,
    phases: Mapping[str, Phase],
    history: tuple[Logged, ...],
) -> None:
    """Weights that are no tensors, and the card that ``bench.artefacts`` writes beside them."""
    folder = root / ".artefacts" / arm.artefact.digest[:16]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(content)
    plain = json.loads(codec.encode(arm))
    card = {
        key: plain[key]
        for key in (
            *("artefact", "parameters", "nonzero_parameters", "sparsity", "macs"),
            "input_shapes",
        )
    }
    card["phases"] = {name: dataclasses.asdict(phase) for name, phase in phases.items()}
    card["history"] = [dataclasses.asdict(point) for point in history]
    card["data"] = {}
    (folder / "card.json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")


def _session(
    measured: _Simulated,
    started: datetime,
    drifts: tuple[float | None, float | None],
    invalid: str | None,
    channels: Mapping[str, tuple[Channel, ...]],
) -> Session:
    idle = measured.idle[0]
    return Session(
        started=started.isoformat(timespec="seconds"),
        phases={
            "idle_before": idle.as_phase(),
            "warmup": measured.warmup.as_phase(),
            "idle_after": measured.idle[1].as_phase(),
        },
        discards=tuple(measured.discards),
        valid=invalid is None,
        reason=invalid,
        idle_drift=drifts[0],
        baseline_drift=drifts[1],
        meters={name: [dataclasses.asdict(c) for c in group] for name, group in channels.items()},
        unavailable={} if channels else {"counters": "no /sys/class/powercap on this host"},
        overhead=Overhead(
            windows=5,
            wall_s=2e-6,
            cpu_s=2e-6,
            readings=tuple(
                dataclasses.replace(r, energy_j=(r.energy_j or 0.0) * 1e-5) for r in idle.readings
            ),
            edges_wall_s=0.0021,
            edges_cpu_s=0.0015,
            cpu_share=0.003,
        ),
    )


def _environment(host: str, cuda: bool) -> dict[str, Any]:
    return {
        "python": "3.11.7",
        "platform": "Linux-6.1-made-up",
        "kernel": "6.1-made-up",
        "libraries": {"joulebench": "0.1.0", "torch": "2.15.0"},
        "source": {"commit": hashlib.sha1(b"made up").hexdigest(), "dirty": False},
        "cpu": {"model": f"made-up CPU of {host}", "cores": 8, "threads": 8, "virtual": False},
        "memory_bytes": 33_554_432_000,
        "cpu_limit_cores": None,
        "gpus": None,
        "variables": {},
        "served_on": {
            "device": "made-up GPU" if cuda else "cpu",
            "cuda": "12.8" if cuda else None,
            "threads": 8,
        },
        "doctor": None,
        "doctor_reason": "made up",
    }


def _noise_floor(place: Path, rules: Protocol, lead: Comparison) -> Comparison | None:
    """The newest A/A pair beside the place, as ``bench.pair`` looks for it."""
    records = [store.read(p) for p in place.parents[1].glob(f"none/[!.]*/{store.RECORD}")]
    alike = [r for r in records if r.session.valid and r.protocol == dataclasses.asdict(rules)]
    newest_first = sorted(alike, key=lambda record: record.created, reverse=True)
    shown = (c for record in newest_first for c in record.comparisons if c.origin == lead.origin)
    return next(shown, None)


def _config(
    root: Path,
    workload: str,
    technique: str,
    protocol: Mapping[str, Any] | str,
    seed: int,
    session_number: int,
    host: str,
    grades: tuple[Grade, ...],
) -> dict[str, Any]:
    """The resolved configuration of the pair, from the YAML of the project."""
    return {
        "workload": _yaml("workload", workload)["workload"] | {"data_root": None},
        "technique": _technique(technique),
        "training": {"epochs": 8, "learning_rate": 0.05, "batch_size": 64},
        "runtime": _yaml("runtime", "eager"),
        "protocol": _protocol(protocol),
        "meter": {**{CHANNELS[grade][0]: {} for grade in grades}, "required": False},
        "seed": seed,
        "session": session_number,
        "data": {"root": None},
        "store": {"root": root.name, "host": host, "artefacts": f"{root.name}/.artefacts"},
    }


def _protocol(protocol: Mapping[str, Any] | str) -> dict[str, Any]:
    """Its YAML upon those that it is built on."""
    knobs = _yaml("protocol", "paper")
    if not isinstance(protocol, str):
        return knobs | dict(protocol)
    if protocol != "paper":
        knobs |= _yaml("protocol", "smoke")
    if protocol == "rehearsal":
        knobs |= _yaml("protocol", "rehearsal")["protocol"]
    return knobs


def _technique(name: str) -> dict[str, Any]:
    """Its YAML where there is one; a technique that is made up has a name."""
    if (CONF / "technique" / f"{name}.yaml").is_file():
        return _yaml("technique", name)
    return {"name": name}


def _yaml(group: str, name: str) -> dict[str, Any]:
    path = CONF / group / f"{name}.yaml"
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return {key: value for key, value in loaded.items() if key != "defaults"}
