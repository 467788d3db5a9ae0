"""What the pairs were measured on: hardware, system, libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from bench.reporting.method.documents import distinct
from bench.reporting.prose import (
    Paragraph,
    Section,
    counted,
    listed,
    metric_amount,
    paragraph,
    quantity,
    section,
)

_LIBRARIES = ("joulebench", "torch", "torchvision", "torchao", "transformers", "codecarbon", "zeus")

Facts = Mapping[str, Any]


def described(pairs: pd.DataFrame) -> Section | None:
    """Return each host: processors, memory, system, versions, source."""
    groups = pairs.groupby("host", sort=True)
    return section("Hosts", *(_host(str(host), group) for host, group in groups))


def _host(host: str, pairs: pd.DataFrame) -> Paragraph:
    found = distinct(pairs, "environment_json")
    served = distinct(pairs, "served_on_json")
    hardware = [*_each(found, _cpu), *_each(found, _memory), *_each(found, _gpus)]
    system = [*_each(found, _system), *_each(found, _versions)]
    variables = sorted(
        {f"{k}={v}" for facts in found for k, v in (facts.get("variables") or {}).items()}
    )
    return paragraph(
        f"{host} ({counted(len(pairs), 'pair')}) has {listed(hardware)}" if hardware else None,
        f"Models were served on {listed(words)}" if (words := _each(served, _device)) else None,
        f"Software: {', '.join(system)}" if system else None,
        f"Of the environment was set: {', '.join(variables)}" if variables else None,
        f"joulebench was at {listed(words)}" if (words := _each(found, _source)) else None,
    )


def _each(found: Iterable[Facts], said: Callable[[Facts], str]) -> list[str]:
    """Return what is said of several environments of one host, the same thing once."""
    return sorted({text for facts in found if (text := said(facts))})


def _cpu(facts: Facts) -> str:
    cpu = facts.get("cpu") or {}
    details = [
        counted(cpu["cores"], "core") if cpu.get("cores") else "",
        counted(cpu["threads"], "thread") if cpu.get("threads") else "",
        f"{facts['cpu_limit_cores']:g} of them usable" if facts.get("cpu_limit_cores") else "",
        "in a virtual machine" if cpu.get("virtual") else "",
        f"governor {cpu['governor']}" if cpu.get("governor") else "",
        "" if cpu.get("turbo") is None else f"turbo {'on' if cpu['turbo'] else 'off'}",
    ]
    text = ", ".join(filter(None, details))
    model = cpu.get("model") or "a CPU that does not tell its model"
    return f"{model} ({text})" if text else str(model)


def _memory(facts: Facts) -> str:
    size = facts.get("memory_bytes")
    return f"{metric_amount(size, 'B')} of memory" if size else ""


def _gpus(facts: Facts) -> str:
    gpus = facts.get("gpus") or []
    return listed(f"GPU {gpu.get('index')}: {_gpu(gpu)}" for gpu in gpus) if gpus else ""


def _gpu(gpu: Facts) -> str:
    details = [
        metric_amount(gpu["memory_bytes"], "B") if gpu.get("memory_bytes") else "",
        f"power limit {quantity(gpu['power_limit_w'], 'W')}" if gpu.get("power_limit_w") else "",
        f"driver {gpu['driver']}" if gpu.get("driver") else "",
    ]
    text = ", ".join(filter(None, details))
    return f"{gpu.get('name')} ({text})" if text else str(gpu.get("name"))


def _system(facts: Facts) -> str:
    python = f"Python {facts['python']}" if facts.get("python") else ""
    return ", ".join(filter(None, [str(facts.get("platform") or ""), python]))


def _versions(facts: Facts) -> str:
    versions = facts.get("libraries") or {}
    return ", ".join(f"{name} {versions[name]}" for name in _LIBRARIES if versions.get(name))


def _device(facts: Facts) -> str:
    threads = facts.get("torch_threads")
    details = [
        f"with {counted(threads, 'thread')}" if threads else "",
        f"CUDA {facts['cuda']}" if facts.get("cuda") else "",
    ]
    device = {"cpu": "the CPU", None: ""}.get(facts.get("device"), str(facts.get("device")))
    return " ".join([device, ", ".join(filter(None, details))]).strip() if device else ""


def _source(facts: Facts) -> str:
    source = facts.get("source") or {}
    if not source.get("commit"):
        return ""
    changed = " with changes of its own" if source.get("dirty") else ""
    return f"commit {source['commit'][:12]}{changed}"
