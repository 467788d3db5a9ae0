"""Data sets of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets

from bench.workloads import WorkloadError, first_line


def splits_of(
    dataset: str, subset: str | None, splits: Sequence[str]
) -> dict[str, datasets.Dataset]:
    """Return the tables ``train`` and ``test`` of a data set of the hub.

    Args:
        dataset: Its id.
        subset: Its configuration, if it has several.
        splits: What the two are called there.

    Raises:
        WorkloadError: As for ``load``.
    """
    return dict(zip(("train", "test"), load(dataset, subset, list(splits)), strict=True))


def load(dataset: str, subset: str | None, splits: list[str] | None = None, more: str = "") -> Any:
    """Return some splits of a data set of the hub, or all of them by name.

    Args:
        dataset: Its id.
        subset: Its configuration, if it has several.
        splits: Their names; ``None`` for all.
        more: Said behind the way out.

    Raises:
        WorkloadError: It cannot be reached, or there is no such data set.
    """
    try:
        return datasets.load_dataset(dataset, subset, split=splits)
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as err:
        raise WorkloadError(
            f"workload.dataset={dataset} cannot be loaded: {first_line(err)} data.root=DIR reads "
            f"local files{more}"
        ) from err
