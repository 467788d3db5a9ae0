"""Encoders of the BERT family: found, built, and made smaller."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from bench.workloads import WorkloadError, first_line
from bench.workloads.checkpoints import evenly, located
from bench.workloads.language import anatomy


def pretrained(model: str, outputs: int, key: str = "workload.model") -> PreTrainedModel:
    """Return a published encoder with a classifier that is yet to be trained.

    Raises:
        WorkloadError: It cannot be found or read.
    """
    try:
        # Nothing of the model's own code is run: the library's default, said aloud.
        return AutoModelForSequenceClassification.from_pretrained(
            located(model, key),
            num_labels=outputs,
            trust_remote_code=False,
            dtype=torch.float32,  # the library would take what the file has, be it 16 bits
        )
    except (OSError, ValueError) as err:
        raise WorkloadError(
            f"{key}={model} cannot be loaded: {first_line(err)} Give a hub id that can be "
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


def smaller(model: PreTrainedModel, shape: tuple[int, int | None], name: str) -> nn.Module:
    """Return an encoder with fewer layers: some of the model's own, or narrower ones made anew.

    A narrower one keeps the number of heads and has a feed-forward part of four times its width, as
    TinyBERT has (Jiao et al. 2020, arXiv:1909.10351, section 4.2: 312 wide with 12 heads).

    Raises:
        WorkloadError: More layers than the model has, or a width that its heads do not divide.
    """
    layers, width = shape
    there = anatomy.layers(model)
    if not 1 <= layers <= len(there):
        raise WorkloadError(f"technique.student={name}: the model has {len(there)} layers")
    if width is None:
        anatomy.keep_layers(model, evenly(layers, len(there)))
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
