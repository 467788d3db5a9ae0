"""Image classification with torchvision models: digits, CIFAR-10, ImageNet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.digests import labels_sha256
from bench.workloads import Batch, Examples, Workload, WorkloadError
from bench.workloads.vision import images, resnet
from bench.workloads.vision.images import Augment, Split


@dataclass(frozen=True)
class Vision(Workload):
    """A torchvision classifier on a data set of labelled images.

    Attributes:
        architecture: Name in torchvision's registry, or ``resnet10`` (one basic block a stage).
        stem: ``imagenet`` as published, or ``cifar``: a 3x3 stride-1 first convolution and no
            max-pool, for images of 32 pixels and less (He et al. 2016, section 4.2).
        weights: ``None`` for random, a torchvision weights name, or a local ``.safetensors`` /
            ``.pth`` file.
        classes: Number of classes.
        dataset: Hub id.
        splits: Names of the training and the held-out split on the hub.
        image_column: Column with the image.
        label_column: Column with the class index.
        image_size: Side in pixels of what the model sees.
        resize: Side the short edge is resized to before the test crop; ``None`` leaves it.
        mean: Per channel, of pixels in [0, 1]; the YAML names the source.
        std: Likewise.
        augment: ``none``, ``shift`` (pad by an eighth and crop), ``shift_flip`` (and mirror:
            He et al. 2016, 4.2), ``resized_crop`` (Inception crop and mirror).
        in_memory: Decode everything once (small images), else decode as batches are fetched.
    """

    architecture: str
    stem: Literal["imagenet", "cifar"]
    weights: str | None
    classes: int
    dataset: str
    splits: tuple[str, str]
    image_column: str
    label_column: str
    image_size: int
    resize: int | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    augment: Augment
    in_memory: bool

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        super().__post_init__()
        for key, value, known in (
            ("stem", self.stem, ("imagenet", "cifar")),
            ("augment", self.augment, ("none", "shift", "shift_flip", "resized_crop")),
        ):
            if value not in known:
                raise ValueError(f"workload.{key} is {value!r}: one of {', '.join(known)}")
        if self.in_memory and self.augment == "resized_crop":
            raise ValueError(
                "workload.augment=resized_crop needs workload.in_memory=false: it resizes each "
                "image anew, so nothing can be decoded once"
            )
        if not self.in_memory and self.augment in ("shift", "shift_flip"):
            raise ValueError(
                f"workload.augment={self.augment} needs workload.in_memory=true: it moves images "
                f"of one size, a batch at a time; from files take resized_crop or none"
            )

    def build(self, seed: int) -> nn.Module:
        """Return the classifier; the stem is replaced before weights from a file are loaded.

        Raises:
            WorkloadError: Unknown architecture, or weights that do not fit it.
        """
        torch.manual_seed(seed)
        model = _architecture(self.architecture, self.classes)
        if self.stem == "cifar":
            if not isinstance(model, torchvision.models.ResNet):
                raise WorkloadError(
                    f"workload.stem=cifar is for ResNets: workload.architecture="
                    f"{self.architecture} keeps workload.stem=imagenet"
                )
            model = resnet.cifar_stem(model)
        model = resnet.with_own_activations(model)
        if self.weights is not None:
            _load_weights(model, self.architecture, self.weights)
        return model

    def train_examples(self) -> Examples:
        """Return the training split, augmented."""
        return self._examples("train", self.augment)

    def plain_train_examples(self) -> Examples:
        """Return the training split, neither augmented nor, from files, decoded at once."""
        return self._examples("train", "none")

    @property
    def answers_repeat(self) -> bool:
        """Whether images are neither moved, mirrored nor cropped."""
        return self.augment == "none"

    def student(self, name: str, seed: int) -> nn.Module:
        """Return another architecture, with the same stem and classes and random weights."""
        return replace(self, architecture=name, weights=None).build(seed)

    def test_examples(self) -> Examples:
        """Return the held-out split."""
        return self._examples("test", "none")

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return logits, shape ``(batch, classes)``."""
        return model(batch["pixel_values"])

    def loss(self, outputs: Tensor, batch: Batch, smoothing: float) -> Tensor:
        """Return cross-entropy in nats."""
        return F.cross_entropy(outputs, batch["labels"], label_smoothing=smoothing)

    def predict(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the class with the largest logit."""
        return outputs.argmax(dim=1)

    def score(self, labels: np.ndarray, predictions: np.ndarray) -> Mapping[str, float]:
        """Return top-1 accuracy."""
        return {"accuracy": float(np.mean(labels == predictions))}

    def describe_data(self) -> dict[str, Any]:
        """Return source, split sizes and a digest of the labels of both splits."""
        description: dict[str, Any] = {"source": self._source}
        for split in ("train", "test"):
            labels = self._labels(split)
            description[split] = {
                "examples": len(labels),
                "labels_sha256": labels_sha256(labels),
            }
        return description

    @property
    def _source(self) -> str:
        return self.dataset if self.data_root is None else f"local copy of {self.dataset}"

    def _table(self, split: Split) -> Any:
        tables = images.load(self.dataset, tuple(self.splits), self.data_root)
        where = (
            f"data.root={self.data_root}" if self.data_root else f"workload.dataset={self.dataset}"
        )
        return images.checked(
            tables[split], self.image_column, self.label_column, self.classes, f"{where} ({split})"
        )

    def _labels(self, split: Split) -> np.ndarray:
        return self._table(split).data.column(self.label_column).to_numpy().copy()

    def _pixels(self, split: Split) -> Tensor:
        return images.decode_all(self._table(split), self.image_column, self.image_size)

    def _examples(self, split: Split, augment: Augment) -> Examples:
        normalise = images.Normalise(self.mean, self.std)
        labels = torch.tensor(self._labels(split), dtype=torch.int64)
        if self.in_memory:
            return images.MemoryImages(self._pixels(split), labels, normalise, augment)
        transform = images.transform(augment, self.image_size, self.resize)
        return images.FileImages(
            self._table(split), self.image_column, labels, normalise, transform
        )


@dataclass(frozen=True)
class Digits(Vision):
    """Scikit-learn's handwritten digits: 1,797 images of 8x8, shipped inside the package.

    Every fifth image is held out. Source: Alpaydin and Kaynak (1998), UCI Optical Recognition of
    Handwritten Digits, as in ``sklearn.datasets.load_digits``.
    """

    @property
    def _source(self) -> str:
        return self.dataset

    def _labels(self, split: Split) -> np.ndarray:
        return images.digits(split)[1]

    def _pixels(self, split: Split) -> Tensor:
        return images.digits(split)[0]


def _architecture(name: str, classes: int) -> Any:
    if name == "resnet10":
        published = torchvision.models.resnet
        return published.ResNet(published.BasicBlock, [1, 1, 1, 1], num_classes=classes)
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise WorkloadError(
            f"workload.architecture is {name!r}: torchvision knows {', '.join(known)}, "
            f"and joulebench adds resnet10"
        )
    return torchvision.models.get_model(name, weights=None, num_classes=classes)


def _load_weights(model: nn.Module, architecture: str, weights: str) -> None:
    state = _state(architecture, weights)
    try:
        model.load_state_dict(state)
    except RuntimeError as err:
        raise WorkloadError(
            f"workload.weights={weights} does not fit workload.architecture={architecture} "
            f"with its stem and number of classes: {str(err).splitlines()[-1].strip()}"
        ) from err


def _state(architecture: str, weights: str) -> Any:
    path = Path(weights).expanduser()
    if path.suffix in {".safetensors", ".pth", ".pt"}:
        if not path.is_file():
            raise WorkloadError(f"workload.weights={path}: there is no such file")
        try:
            if path.suffix == ".safetensors":
                return load_file(path)
            # weights_only: a pickle from the net may hold code, tensors are all that is wanted.
            return torch.load(path, weights_only=True, map_location="cpu")
        except Exception as err:  # of many kinds, for a file that is cut off or something else
            raise WorkloadError(f"workload.weights={path} cannot be read: {err}") from err
    known = architecture != "resnet10"
    names = torchvision.models.get_model_weights(architecture) if known else ()
    published = {w.name: w for w in names}
    if weights not in published:
        raise WorkloadError(
            f"workload.weights is {weights!r}: {architecture} has "
            f"{', '.join(published) or 'none that are published'}; or give a local .safetensors "
            f"or .pth file, or null for random weights"
        )
    return published[weights].get_state_dict(progress=False, check_hash=True, weights_only=True)
