"""Encoders of the BERT family: found, built, and made smaller."""

from __future__ import annotations

import copy
import importlib.util
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertTokenizer,
    PreTrainedModel,
)
from transformers.utils import logging

from bench.workloads import WorkloadError
from bench.workloads.language import anatomy

PACKAGED = "package:"
"""Prefix of a model that lies inside an installed Python package."""

logging.set_verbosity_error()  # it warns of every classifier that is yet to be trained
logging.disable_progress_bar()


def located(model: str, key: str) -> str:
    """Return what transformers loads: a hub id, or the path of a folder.

    Raises:
        WorkloadError: A package that is not installed, or a path without a model.
    """
    if model.startswith(PACKAGED):
        package, _, inside = model.removeprefix(PACKAGED).partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise WorkloadError(
                f"{key}={model}: the package {package} is not installed: "
                f"pip install {package.replace('_', '-')}"
            )
        return str(Path(spec.origin).parent / inside)
    looks_local = model.startswith((".", "/", "~")) or model.count("/") > 1
    path = Path(model).expanduser()
    if path.is_dir():
        return str(path)
    if looks_local:
        raise WorkloadError(f"{key}={model}: there is no such folder; a hub id is name or org/name")
    return model


def pretrained(model: str, outputs: int, key: str = "workload.model") -> PreTrainedModel:
    """Return a published encoder with a classifier that is yet to be trained.

    Raises:
        WorkloadError: It cannot be found or read.
    """
    try:
        # Nothing of the model's own code is run: the library's default, said aloud.
        return AutoModelForSequenceClassification.from_pretrained(
            located(model, key), num_labels=outputs, trust_remote_code=False
        )
    except (OSError, ValueError) as err:
        raise WorkloadError(
            f"{key}={model} cannot be loaded: {str(err).splitlines()[0]} Give a hub id that can be "
            f"reached, a local folder with config.json and model.safetensors, or take "
            f"workload.pretrained=false for the architecture with random weights"
        ) from err


def fresh(architecture: Mapping[str, Any], outputs: int) -> PreTrainedModel:
    """Return an encoder with random weights.

    Raises:
        WorkloadError: transformers knows no such architecture.
    """
    try:
        config = AutoConfig.for_model(**architecture, num_labels=outputs)
        return AutoModelForSequenceClassification.from_config(config)
    except (ValueError, TypeError, KeyError) as err:
        raise WorkloadError(
            f"workload.architecture={dict(architecture)} cannot be built: {err}"
        ) from err


@lru_cache(maxsize=4)
def tokenizer(name: str) -> Any:
    """Return the tokenizer of a model, or of a folder that holds one (``vocab.txt`` will do).

    Raises:
        WorkloadError: It cannot be found or read.
    """
    place = located(name, "workload.vocabulary")
    words = Path(place, "vocab.txt")
    try:
        if words.is_file() and not Path(place, "config.json").is_file():
            lines = words.read_text(encoding="utf-8").splitlines()
            return BertTokenizer(vocab={word: number for number, word in enumerate(lines)})
        return AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except (OSError, ValueError) as err:
        raise WorkloadError(
            f"the tokenizer of {name} cannot be loaded: {str(err).splitlines()[0]} "
            f"workload.vocabulary takes a local folder with tokenizer.json or vocab.txt"
        ) from err


def require_fit(model: PreTrainedModel, words: Any, max_length: int) -> None:
    """Refuse a model that has fewer embeddings than the tokenizer has tokens, or is too short.

    Raises:
        WorkloadError: Naming both.
    """
    config = model.config
    if config.vocab_size < len(words):
        raise WorkloadError(
            f"the tokenizer has {len(words):,} tokens and the model {config.vocab_size:,} "
            f"embeddings: workload.vocabulary must be the one that the model was trained with"
        )
    if config.max_position_embeddings < max_length:
        raise WorkloadError(
            f"workload.max_length={max_length}: the model has {config.max_position_embeddings} "
            f"positions"
        )


def shape_named(name: str) -> tuple[int, int | None] | None:
    """Return layers and width of ``4L-312``, or of ``3L`` without a width; else ``None``."""
    found = re.fullmatch(r"(\d+)L(?:-(\d+))?", name)
    return None if found is None else (int(found[1]), int(found[2]) if found[2] else None)


def smaller(model: PreTrainedModel, shape: tuple[int, int | None], name: str) -> nn.Module:
    """Return an encoder with fewer layers: some of the model's own, or narrower ones made anew.

    Layers are taken evenly, the last among them: of six to three those numbered 1, 3, 5 from 0, as
    in DistilBERT (Sanh et al. 2019, arXiv:1910.01108, section 3). A narrower one keeps the number
    of heads and has a feed-forward part of four times its width, as TinyBERT has (Jiao et al.
    2020, arXiv:1909.10351, section 4.2: 312 wide with 12 heads).

    Raises:
        WorkloadError: More layers than the model has, or a width that its heads do not divide.
    """
    layers, width = shape
    there = anatomy.layers(model)
    if not 1 <= layers <= len(there):
        raise WorkloadError(f"technique.student={name}: the model has {len(there)} layers")
    if width is None:
        kept = [(i + 1) * len(there) // layers - 1 for i in range(layers)]
        anatomy.keep_layers(model, kept)
        return model
    config = copy.deepcopy(model.config)
    if width % config.num_attention_heads:
        raise WorkloadError(
            f"technique.student={name}: a width of {width} cannot be shared by "
            f"{config.num_attention_heads} heads"
        )
    config.num_hidden_layers, config.hidden_size = layers, width
    for feed_forward in ("intermediate_size", "hidden_dim"):  # BERT's name and DistilBERT's
        if hasattr(config, feed_forward):
            setattr(config, feed_forward, 4 * width)
    return type(model)(config)
