"""Any number of made-up records on disk, for ``benchmarks.scale``; nothing in them was measured."""

from __future__ import annotations

import json
import math
import random
import re
import sys
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests"))

from factories import record  # noqa: E402

from bench.records import to_json  # noqa: E402
from bench.store import RECORD  # noqa: E402

HOSTS, WORKLOADS, SEEDS, SESSIONS = 5, 10, 10, 5
TECHNIQUES = ("none", *(f"prune_{number:02}" for number in range(1, 40)))
"""100,000 pairs: 2,000 rows of a table, 50 records each; fewer pairs are fewer rows."""

BETWEEN, WITHIN, BLOCKS, T_7 = 0.01, 0.012, 8, 2.364624
"""Standard deviations of log ratios between records and between blocks; Student's t at 0.975."""

_MARK = re.compile(r'"@(\w+)@"')

Values = dict[str, Any]


def write(root: Path, count: int) -> None:
    """Write ``count`` records below ``root``, each in the place the store would give it."""
    template = {same: Template(same) for same in (True, False)}
    for number, key in enumerate(islice(keys(), count)):
        values = drawn(number, *key)
        place = root / values["host"] / values["id"]
        place.mkdir(parents=True)
        (place / RECORD).write_text(template[key[0] == "none"].filled(values), encoding="utf-8")


def keys() -> Iterator[tuple[str, int, int, int, int]]:
    """Yield technique, workload, host, seed and session of one pair after another."""
    rows = product(range(HOSTS), range(WORKLOADS), TECHNIQUES)
    for (host, workload, technique), seed, session in product(rows, range(SEEDS), range(SESSIONS)):
        yield technique, workload, host, seed, session


def drawn(number: int, technique: str, workload: int, host: int, seed: int, session: int) -> Values:
    """Return what tells one record from the others, all figures in agreement with each other."""
    draw = random.Random(number)
    kept = 1.0 if technique == "none" else 1.05 - 0.02 * int(technique[-2:])
    workload_name = f"workload_{workload:02}"
    values: Values = {
        "id": f"{workload_name}/{technique}/{seed}-{draw.getrandbits(48):012x}",
        "workload": workload_name,
        "technique": technique,
        "label": technique.replace("_", " "),
        "seed": seed,
        "session": session,
        "host": f"host-{host}",
        "mhz": round(draw.uniform(1200, 3800), 3),
        "baseline_digest": f"{draw.getrandbits(256):064x}",
        "variant_digest": f"{draw.getrandbits(256):064x}",
    }
    for prefix, baseline in (("B", 1.4), ("none", 0.0125), ("cpu", 0.0238), ("C", 1.1)):
        mean = math.log(kept) + draw.gauss(0, BETWEEN)
        margin = T_7 * WITHIN / math.sqrt(BLOCKS)
        per_item = baseline * math.exp(draw.gauss(0, 0.02))
        values |= {
            f"{prefix}_ratio": math.exp(mean),
            f"{prefix}_low": math.exp(mean - margin),
            f"{prefix}_high": math.exp(mean + margin),
            f"{prefix}_baseline_per_item": per_item,
            f"{prefix}_variant_per_item": per_item * math.exp(mean),
        }
    accuracy, loss = 0.93 + draw.gauss(0, 0.001), 0.02 * (1 - kept) + draw.gauss(0, 0.001)
    return values | {
        "quality_baseline": accuracy,
        "quality_variant": accuracy - loss,
        "quality_difference": -loss,
        "quality_low": -loss - 0.004,
        "quality_high": -loss + 0.004,
    }


class Template:
    """The text of a record with gaps; writing one is joining strings, not dumping a tree."""

    def __init__(self, same: bool) -> None:
        made = record("none" if same else "prune", grades=("B", "C"), ratio=0.998 if same else 0.8)
        document = json.loads(to_json(made)) | SURROUNDINGS
        for name in ("id", "workload", "technique", "label", "seed", "host"):
            document[name] = f"@{name}@"
        document["session_number"] = "@session@"
        document["environment"]["cpu"]["frequency_mhz"] = "@mhz@"
        for found in (document["comparison"], *document["comparisons"]):
            prefix = "cpu" if found["measure"] == "cpu_s" else found["grade"]
            for name in ("ratio", "low", "high", "baseline_per_item", "variant_per_item"):
                found[name] = f"@{prefix}_{name}@"
        for name in ("baseline", "variant", "difference", "low", "high"):
            document["quality"][name] = f"@quality_{name}@"
        for arm in ("baseline", "variant"):
            document[arm]["artefact"]["digest"] = f"@{arm}_digest@"
            document[arm]["phases"] |= EVALUATED
        text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        self._pieces = _MARK.split(text)  # every second one is a name

    def filled(self, values: Values) -> str:
        """Return the text of one record."""
        pieces = self._pieces
        return "".join(
            json.dumps(values[piece]) if number % 2 else piece
            for number, piece in enumerate(pieces)
        )


def spoil(root: Path, text: str) -> dict[str, str]:
    """Put documents among the records that are none; return how each is to be named, by path.

    Args:
        root: Folder of the records.
        text: Of a whole record, to be spoilt.
    """
    broken = {
        "truncated": (text[: len(text) // 2].encode(), "not JSON"),
        "foreign": (b'{"name": "of another program"}\n', "schema is None"),
        "future": (text.replace('"schema": 1', '"schema": 2').encode(), "schema is 2"),
        "not-a-number": (
            re.sub(r'"ratio": [0-9.]+', '"ratio": NaN', text, count=1).encode(),
            "should be a finite number",
        ),
        "not-utf-8": (text.encode("utf-16"), "codec can't decode"),
        "unknown-field": (text.replace('"host"', '"watts": 1, "host"').encode(), "watts"),
    }
    said = {}
    for kind, (content, reason) in broken.items():
        path = root / "host-0" / "broken" / kind / RECORD
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        said[path.relative_to(root).as_posix()] = reason
    folder = root / "host-0" / "broken" / "folder" / RECORD
    folder.mkdir(parents=True)
    return said | {folder.relative_to(root).as_posix(): "not a file"}


def _phase(wall_s: float, items: int = 0) -> dict[str, Any]:
    readings = [
        {
            "meter": meter,
            "component": component,
            "source": source,
            "grade": grade,
            "energy_j": wall_s * watts,
            "reason": None,
        }
        for meter, source, grade in (
            ("counters", "zeus.rapl", "B"),
            ("codecarbon", "codecarbon.cpu_load", "C"),
        )
        for component, watts in (("cpu:0", 61.25), ("dram:0", 8.5))
    ]
    return {"wall_s": wall_s, "cpu_s": wall_s * 1.9, "readings": readings, "items": items}


EVALUATED = {
    "evaluate": _phase(12.125, 10_000),
    "infer": _phase(320.5, 25_600),
    "compile": _phase(0.25),
}
# fmt: off
LIBRARIES = (
    "accelerate", "amdsmi", "codecarbon", "datasets", "evaluate", "hydra-core", "joulebench",
    "numpy", "nvidia-ml-py", "omegaconf", "pandas", "peft", "psutil", "pyarrow", "safetensors",
    "scikit-learn", "scipy", "tokenizers", "torch", "torch-pruning", "torchao", "torchvision",
    "transformers", "triton", "zeus",
)
# fmt: on
PROTOCOL = {
    **{"name": "paper", "window_s": 10.0, "lead_in_s": 3.0, "jitter_s": 0.1, "warmup_s": 30.0},
    **{"warmup_tolerance": 0.02, "idle_s": 30.0, "min_blocks": 8, "max_blocks": 40},
    **{"half_width": 0.02, "min_ticks": 100, "max_idle_drift": 0.05, "max_discarded": 0.2},
    **{"max_steal": 0.02, "max_foreign": 0.02, "max_examples": None, "rehearsal": False},
}
RUNTIME = {
    **{"name": "eager", "mode": "eager", "device": "auto", "threads": None},
    **{"memory_format": "contiguous", "freezing": False},
}
CHECK = {
    "name": "a check of the host with a name of usual length",
    "passed": True,
    "found": "figures and units of what was found, a sentence of the usual length or somewhat more",
    "advice": "what to do about it, if there is something to be done",
}
SURROUNDINGS: dict[str, Any] = {
    "protocol": PROTOCOL,
    "runtime": RUNTIME,
    "config": {
        "protocol": PROTOCOL,
        "runtime": RUNTIME,
        "technique": {"_target_": "bench.techniques.made_up.MadeUp", "ratio": 0.5, "epochs": 3},
        "training": {"epochs": 12, "batch_size": 64, "learning_rate": 0.05, "momentum": 0.9},
        "meter": {"counters": {"_target_": "bench.meters.counters.Counters"}, "required": False},
        "store": {"root": "results", "host": "made-up", "min_free_bytes": 2e9},
        "workload": {"name": "made_up", "margin": 0.01, "batch_size": 32, "image_size": 32},
    },
    "environment": {
        "python": "3.11.7",
        "platform": "Linux-6.12.0-x86_64-with-glibc2.36",
        "kernel": "6.12.0",
        "libraries": {name: f"{number}.1.0" for number, name in enumerate(LIBRARIES)},
        "source": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "cpu": {
            **{"model": "made up", "cores": 16, "threads": 32, "usable_threads": 32},
            **{"flags": ["avx2", "avx512_bf16", "avx512_vnni", "avx512f"], "sgx": False},
            **{"virtual": False, "frequency_max_mhz": 3800.0, "governor": "performance"},
            **{"turbo": True},
        },
        "memory_bytes": 137_438_953_472,
        "cpu_limit_cores": None,
        "gpus": None,
        "variables": {"OMP_NUM_THREADS": "16", "OMP_PROC_BIND": "true"},
        "served_on": {"device": "cpu", "threads": 16, "interop_threads": 16, "deterministic": True},
        "doctor": {"created": "2026-01-01T00:00:00+00:00", "quick": False, "checks": 8 * [CHECK]},
        "doctor_reason": None,
    },
    "data": {
        "folder_sha256": None,
        "source": "made up",
        "test": {"examples": 10_000, "labels_sha256": 64 * "5"},
        "train": {"examples": 50_000, "labels_sha256": 64 * "6"},
    },
    "files": {
        f"{name}.parquet": 64 * "7" for name in ("windows", "predictions", "trace", "training")
    },
}
