"""Workloads and models small enough for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor, nn

from bench.runtime import Runtime
from bench.training.recipe import Training
from bench.workloads import Batch, Examples, Workload

CONF = Path(__file__).parents[1] / "conf"
DATA = Path(__file__).parents[2] / "shared" / "data"
EAGER = Runtime("eager", "eager", "cpu", None, "contiguous", freezing=False, tf32=False)

RECIPE = Training(
    epochs=1.0,
    batch_size=32,
    accumulation=1,
    checkpointing=False,
    optimizer="sgd",
    learning_rate=0.05,
    momentum=0.9,
    weight_decay=0.0,
    clipping=0.0,
    schedule="linear",
    schedule_options=None,
    warmup=0.2,
    label_smoothing=0.0,
    precision="fp32",
    regularised=False,
    workers=0,
    processes=1,
    max_steps=None,
    validation=0.0,
    evaluate_every=None,
    target=None,
    patience=None,
    improvement=0.0,
    restore_best=False,
    save_every=None,
    keep_saved=1,
    guard="warn",
    memory_limit_gb=None,
    trackers=(),
)
"""A recipe to change one knob of."""


@cache
def _configured(option: str) -> Any:
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", [f"workload={option}"])
    return instantiate(config.workload, _convert_="all")


def configured(option: str, **changes: Any) -> Any:
    """Return the workload of ``conf/workload/<option>.yaml`` with some knobs changed."""
    return replace(_configured(option), **changes)


class Net(nn.Module):
    """Two convolutions with normalisation and a classifier of four classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.fc = nn.Linear(32, 4)

    def forward(self, pixels: Tensor) -> Tensor:
        hidden = F.relu(self.bn1(self.conv1(pixels)))
        hidden = F.relu(self.bn2(self.conv2(hidden)))
        return self.fc(hidden.mean(dim=(2, 3)))


@dataclass
class Noise:
    """Random pixels; augmented, each fetch adds more of them from torch's global generator."""

    count: int
    augmented: bool

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(7)
        self.pixels = torch.randn(self.count, 3, 8, 8, generator=generator)
        self.labels = torch.arange(self.count) % 4
        self.fetched: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        self.fetched += indices
        pixels = self.pixels[list(indices)]
        if self.augmented:
            pixels = pixels + 0.1 * torch.randn(pixels.shape)
        return {"pixels": pixels, "labels": self.labels[list(indices)]}


@dataclass(frozen=True)
class Tiny(Workload):
    """Noise to be told apart by ``Net``, trained and tested on the same 100 examples."""

    name: str = "tiny"
    batch_size: int = 16
    margin: float = 0.01
    data_root: str | None = None
    count: int = 100
    augmented: bool = True

    def build(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return Net()

    def train_examples(self) -> Examples:
        return Noise(self.count, self.augmented)

    def plain_train_examples(self) -> Examples:
        return Noise(self.count, augmented=False)

    def test_examples(self) -> Examples:
        return Noise(self.count, augmented=False)

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch["pixels"])

    def loss(self, outputs: Tensor, batch: Batch, smoothing: float) -> Tensor:
        return F.cross_entropy(outputs, batch["labels"], label_smoothing=smoothing)

    def predict(self, outputs: Tensor, batch: Batch) -> Tensor:
        return outputs.argmax(dim=1)

    def score(self, labels: np.ndarray, predictions: np.ndarray) -> Mapping[str, float]:
        return {"accuracy": float(np.mean(labels == predictions))}

    def describe_data(self) -> dict[str, Any]:
        return {"source": "noise"}


def trained_looking(model: nn.Module, seed: int = 3) -> nn.Module:
    """Return the model with normalisation that is not the identity, as training leaves it."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                tensor.data.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias, module.running_mean):
                tensor.data.uniform_(-0.5, 0.5, generator=generator)
    return model.eval()


def same_tensors(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Return whether both hold the same names, dtypes, shapes and bits."""
    return one.keys() == other.keys() and all(
        a.dtype == b.dtype and torch.equal(a, b)
        for a, b in ((one[name], other[name]) for name in one)
    )


def tiny_language(layers: int = 4, **changes: Any) -> Any:
    """Return the generated sentences with a BERT that is 32 wide and has 4 heads."""
    shape = {
        "model_type": "bert",
        "hidden_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "vocab_size": 400,
        "max_position_embeddings": 64,
    }
    return configured("bert_sentences", architecture=shape, batch_size=16, **changes)


LANGUAGE_MODELS: Mapping[str, Mapping[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_head": 4, "n_positions": 64},
    "gptj": {"n_embd": 32, "n_head": 4, "n_positions": 64, "rotary_dim": 4},
    "llama": {
        **{"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4},
        **{"num_key_value_heads": 2, "max_position_embeddings": 64, "tie_word_embeddings": True},
    },
    "qwen3": {
        **{"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "head_dim": 16},
        **{"num_key_value_heads": 2, "max_position_embeddings": 64, "tie_word_embeddings": True},
    },
}
"""Architectures that are 32 wide and have 4 heads, by their type."""


def tiny_lm(layers: int = 2, model_type: str = "gpt2", **changes: Any) -> Any:
    """Return the generated tasks with a language model that is 32 wide and has 4 heads."""
    depth = {"n_layer" if model_type.startswith("gpt") else "num_hidden_layers": layers}
    tokens = {"vocab_size": 256, "bos_token_id": None, "eos_token_id": 3}
    shape = {"model_type": model_type, **LANGUAGE_MODELS[model_type], **depth, **tokens}
    return configured("lm_sentences", architecture=shape, batch_size=8, **changes)


SPEECH: Mapping[str, Any] = {
    **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 32},
    **{"flow_size": 8, "spectrogram_bins": 5, "posterior_encoder_num_wavenet_layers": 1},
    **{"prior_encoder_num_wavenet_layers": 1, "depth_separable_num_layers": 1},
    **{"upsample_initial_channel": 64, "resblock_kernel_sizes": [3]},
    **{"resblock_dilation_sizes": [[1, 3]]},
}
"""A VITS that says a sentence in some hundredths of a second."""


def tiny_speech(architecture: Mapping[str, Any] | None = None, **changes: Any) -> Any:
    """Return two sentences to be spoken by a VITS that is 16 wide."""
    said = {"texts": ["Rice is served.", "Four hours of steady work."], **changes}
    return configured("speech", architecture={**SPEECH, **(architecture or {})}, **said)


class Nobody:
    """Follows a training and tells nobody."""

    def stepped(self, step: int, steps: int, items: int) -> None: ...

    def logged(self, step: int, loss: float, learning_rate: float) -> None: ...

    def validated(self, step: int, loss: float, metric: float) -> None: ...

    def noted(self, step: int, kind: str, text: str) -> None: ...

    def saved(self, step: int) -> None: ...
