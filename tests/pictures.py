"""Made-up image files in the layouts that data comes in."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tiny import configured


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what the loader makes of the files out of the user's cache."""
    place = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", place)


def png(level: int, side: int = 32) -> bytes:
    """A grey image of one level, as a file."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (level, level, level)).save(file, "PNG")
    return file.getvalue()


def write_parquet(
    file: Path, contents: Sequence[bytes], labels: Sequence[int | None], column: str = "img"
) -> None:
    """Write a table as the hub does, without the hub's library."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": content, "path": f"row{i}.png"} for i, content in enumerate(contents)]
    table = pa.table({column: pa.array(rows, kind), "label": pa.array(labels, pa.int64())})
    pq.write_table(table, file)


def write_folders(root: Path, files: dict[str, int]) -> None:
    """Write grey images by their path and level."""
    for name, level in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(level))


def cifar_like(root: Path, **changes: Any) -> Any:
    """Return the CIFAR-10 workload on other data, which is not augmented."""
    return configured("resnet18_cifar10", data_root=str(root), augment="none", **changes)
