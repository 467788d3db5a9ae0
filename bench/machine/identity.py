"""What a reader needs to know of the machine: hardware, clock policy, libraries, source."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from bench.machine.kernel import text
from bench.machine.limits import cpu_limit_cores

# fmt: off
LIBRARIES = (
    "joulebench", "accelerate", "amdsmi", "bitsandbytes", "codecarbon", "datasets", "evaluate",
    "hydra-core", "librosa",
    "numpy", "nvidia-ml-py", "omegaconf", "pandas", "peft", "psutil", "pyarrow", "safetensors",
    "scikit-learn", "scipy", "soundfile", "tokenizers", "torch", "torch-pruning", "torchao",
    "torchvision", "transformers", "triton", "zeus",
)
"""Distributions whose versions a record keeps."""

CPU_FLAGS = (
    "amx_bf16", "amx_int8", "amx_tile", "avx2", "avx512_bf16", "avx512_fp16", "avx512_vnni",
    "avx512f", "avx_vnni", "asimddp", "bf16", "fphp", "i8mm", "sve", "sve2",
)
"""Instruction sets that decide which kernels run, by the kernel's names for x86 and ARM."""

VARIABLES = (
    "ATEN_CPU_CAPABILITY", "CUDA_VISIBLE_DEVICES", "DNNL_MAX_CPU_ISA", "GOMP_CPU_AFFINITY",
    "HIP_VISIBLE_DEVICES", "KMP_AFFINITY", "KMP_BLOCKTIME", "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS", "OMP_PLACES", "OMP_PROC_BIND", "OMP_WAIT_POLICY",
    "ONEDNN_MAX_CPU_ISA", "OPENBLAS_NUM_THREADS", "ROCR_VISIBLE_DEVICES",
)
"""Environment variables that a record keeps: they steer threads, kernels and devices."""
# fmt: on

_CPU = Path("/sys/devices/system/cpu")
_SOURCE = Path(__file__).resolve().parents[2]
_SHAPES_THE_WORK = ("bench", "conf", "pyproject.toml")
_MILLIWATTS_PER_WATT = 1000.0


def host_name() -> str:
    """Return the machine's name as a folder name: lower case letters, digits, dots and dashes."""
    return re.sub(r"[^a-z0-9.]+", "-", platform.node().lower()).strip("-.") or "unknown-host"


def fingerprint() -> dict[str, Any]:
    """Return what a reader needs to know of this machine, for a record's ``environment``."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "kernel": platform.release(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "source": source_state(),
        "cpu": cpu(),
        "memory_bytes": psutil.virtual_memory().total,
        "cpu_limit_cores": cpu_limit_cores(),
        "gpus": gpus(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def cpu() -> dict[str, Any]:
    """Return the CPU's model, size, instruction sets, clock policy and whether it is virtual."""
    described = _cpuinfo()
    flags = set((described.get("flags") or described.get("Features") or "").split())
    clock = _clock()
    return {
        "model": described.get("model name") or platform.processor() or None,
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "usable_threads": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else None,
        "flags": sorted(flags.intersection(CPU_FLAGS)) if flags else None,
        # SGX switches on a filter that blurs RAPL over short spans (CVE-2020-8694).
        "sgx": "sgx" in flags if flags else None,
        # Set by x86 hypervisors; ARM has no such flag.
        "virtual": "hypervisor" in flags if "flags" in described else None,
        "frequency_mhz": clock.current if clock and clock.current else None,
        "frequency_max_mhz": clock.max if clock and clock.max else None,
        "governor": text(_CPU / "cpu0/cpufreq/scaling_governor"),
        "turbo": _turbo(),
    }


def gpus() -> list[dict[str, Any]] | None:
    """Return NVIDIA's GPUs with driver, power limit and clocks; ``None`` without its library."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # not installed, no driver, wrong versions
        return None

    def ask(function: str, *arguments: Any) -> Any:
        try:
            return getattr(pynvml, function)(*arguments)
        except (pynvml.NVMLError, AttributeError):
            return None

    found = []
    for index in range(ask("nvmlDeviceGetCount") or 0):
        handle = ask("nvmlDeviceGetHandleByIndex", index)
        limit_mw = ask("nvmlDeviceGetEnforcedPowerLimit", handle)
        memory = ask("nvmlDeviceGetMemoryInfo", handle)
        found.append(
            {
                "index": index,
                "name": ask("nvmlDeviceGetName", handle),
                "driver": ask("nvmlSystemGetDriverVersion"),
                "memory_bytes": getattr(memory, "total", None),
                "power_limit_w": None if limit_mw is None else limit_mw / _MILLIWATTS_PER_WATT,
                "sm_clock_mhz": ask("nvmlDeviceGetClockInfo", handle, pynvml.NVML_CLOCK_SM),
                "sm_clock_max_mhz": ask("nvmlDeviceGetMaxClockInfo", handle, pynvml.NVML_CLOCK_SM),
                "memory_clock_mhz": ask("nvmlDeviceGetClockInfo", handle, pynvml.NVML_CLOCK_MEM),
            }
        )
    ask("nvmlShutdown")
    return found


def source_state(root: Path = _SOURCE) -> dict[str, Any]:
    """Return the commit of the source tree, and whether code or configuration differ from it.

    Args:
        root: The tree; an installed wheel has none, and both are ``None``.
    """
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", *_SHAPES_THE_WORK)
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _git(root: Path, *arguments: str) -> str | None:
    # Without optional locks git only reads.
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _cpuinfo(path: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """Return what the kernel says of the first core."""
    first_core = (text(path) or "").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first_core.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _clock() -> Any:
    try:
        return psutil.cpu_freq()
    except (OSError, NotImplementedError):
        return None


def _turbo() -> bool | None:
    if (disabled := text(_CPU / "intel_pstate/no_turbo")) is not None:
        return disabled == "0"
    boost = text(_CPU / "cpufreq/boost")
    return None if boost is None else boost == "1"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
