"""Data sets of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence

import datasets

from bench.workloads import WorkloadError


def splits_of(
    dataset: str, subset: str | None, splits: Sequence[str]
) -> dict[str, datasets.Dataset]:
    """Return the tables ``train`` and ``test`` of a data set of the hub.

    Args:
        dataset: Its id.
        subset: Its configuration, if it has several.
        splits: What the two are called there.

    Raises:
        WorkloadError: It cannot be reached, or there is no such data set.
    """
    try:
        tables = datasets.load_dataset(dataset, subset, split=list(splits))
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as err:
        raise WorkloadError(
            f"workload.dataset={dataset} cannot be loaded: {str(err).splitlines()[0]} "
            f"data.root=DIR reads local files"
        ) from err
    return dict(zip(("train", "test"), tables, strict=True))
