"""The models of the vision workloads, against published sizes and arithmetic, and digits."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from pictures import own_cache as own_cache
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from tiny import DATA, EAGER, configured
from torch import nn

from bench import facts
from bench.workloads.vision import images

pytestmark = pytest.mark.usefixtures("own_cache")

needs_cifar = pytest.mark.skipif(
    not (DATA / "cifar10").is_dir(), reason="the CIFAR-10 subset is not beside this checkout"
)

# Alpaydin and Kaynak (1998), UCI optdigits.names: "Class distribution", test set, classes 0 to 9.
DIGITS_PER_CLASS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def pixels_and_labels(split: images.Split) -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = images.digits(split)
    return pixels.numpy(), labels


def test_digits_are_the_published_ones_and_every_fifth_is_held_out() -> None:
    (train, train_labels), (test, test_labels) = map(pixels_and_labels, ("train", "test"))
    # 1,797 images; the 5th, 10th, ... 1,795th are 359.
    assert (len(train), len(test)) == (1438, 359)
    together = np.bincount(np.concatenate([train_labels, test_labels]))
    assert together.tolist() == DIGITS_PER_CLASS
    whole = load_digits()
    assert (test_labels == whole.target[4::5]).all()
    # 16 grey levels become bytes, the same in each channel: 0 is 0, 16 is 255.
    assert (test.astype(float) * 16 / 255).round().tolist() == [
        [image] * 3 for image in whole.images[4::5].tolist()
    ]
    assert test.max() == 255


def test_no_image_of_digits_is_in_both_splits() -> None:
    (train, _), (test, _) = map(pixels_and_labels, ("train", "test"))
    seen = Counter(image.tobytes() for image in train)
    assert not [image for image in test if image.tobytes() in seen]
    together = seen + Counter(image.tobytes() for image in test)
    assert sum(together.values()) == len(load_digits().images)


def test_mean_and_deviation_of_digits_are_those_of_the_training_split() -> None:
    workload = configured("resnet_digits")
    pixels = pixels_and_labels("train")[0] / 255
    assert workload.mean == pytest.approx(pixels.mean(axis=(0, 2, 3)), abs=5e-4)
    assert workload.std == pytest.approx(pixels.std(axis=(0, 2, 3)), abs=5e-4)


@needs_cifar
def test_mean_and_deviation_of_cifar_agree_with_a_subset_of_it() -> None:
    workload = configured("resnet18_cifar10", data_root=str(DATA / "cifar10"))
    examples = workload.train_examples()
    pixels = examples.pixels[::4].double() / 255
    # 1,650 images: the standard error of a mean is about 0.25 / sqrt(1650) = 0.006 at worst.
    assert workload.mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist(), abs=0.015)
    assert workload.std == pytest.approx(pixels.std(dim=(0, 2, 3)).tolist(), abs=0.015)


@needs_cifar
def test_cifar_from_a_local_folder_has_the_rows_that_its_readme_counts() -> None:
    # test_jpeg.parquet in the same folder is another set and must not be taken for a shard.
    workload = configured("resnet18_cifar10", data_root=str(DATA / "cifar10"))
    described = workload.describe_data()
    assert described["train"]["examples"] == 6600
    assert described["test"]["examples"] == 700
    assert np.bincount(workload.test_examples().labels.numpy()).tolist() == [70] * 10
    batch = workload.test_examples().__getitems__(range(2))
    assert batch["pixel_values"].shape == (2, 3, 32, 32)


def test_the_digest_of_labels_is_that_of_their_64_bit_integers() -> None:
    described = configured("resnet_digits").describe_data()
    labels = b"".join(int(v).to_bytes(8, "little") for v in load_digits().target[4::5])
    assert described["test"] == {
        "examples": 359,
        "labels_sha256": hashlib.sha256(labels).hexdigest(),
    }


def test_a_batch_is_normalised_and_keeps_the_order_asked_for() -> None:
    workload = configured("resnet_digits", mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    batch = workload.test_examples().__getitems__([5, 0, 358])
    whole = load_digits()
    rows = [5 * 5 + 4, 4, 358 * 5 + 4]
    assert batch["labels"].tolist() == whole.target[rows].tolist()
    bytes_ = (whole.images[rows] * 255 / 16).round()
    for channel, (mean, std) in enumerate(zip((0.1, 0.2, 0.3), (0.5, 0.25, 2.0), strict=True)):
        expected = (bytes_ / 255 - mean) / std
        assert batch["pixel_values"][:, channel].numpy() == pytest.approx(expected, abs=1e-6)


def counted_macs(model: nn.Module, size: int) -> int:
    """Multiply-accumulates by the shapes that forward hooks see: outputs times one filter."""
    found = []

    def hook(module: nn.Module, _: object, outputs: torch.Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        found.append(outputs.numel() * weight[0].numel())

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(hook)
    with torch.inference_mode():
        model.eval()(torch.zeros(1, 3, size, size))
    return sum(found)


CARD = torchvision.models.ResNet50_Weights.IMAGENET1K_V2.meta


@pytest.mark.parametrize(
    ("option", "size", "parameters", "gmacs", "digits"),
    [
        ("resnet18_cifar10", 32, 11_173_962, 0.56, 2),  # ResNet18 of kuangliu/pytorch-cifar
        ("resnet50_imagenet", 224, CARD["num_params"], CARD["_ops"], 3),  # 25,557,032 and 4.089
    ],
)
def test_a_network_has_the_published_size_and_work(
    option: str, size: int, parameters: int, gmacs: float, digits: int
) -> None:
    workload = configured(option)
    model = workload.build(0)
    batch = {"pixel_values": torch.zeros(2, 3, size, size)}
    found = facts.macs(workload, EAGER, model, batch)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert round(found / 1e9, digits) == gmacs
    assert found == counted_macs(model, size)


def test_the_cifar_stem_keeps_the_image_as_large_as_it_is() -> None:
    model = configured("resnet18_cifar10").build(0)
    pixels = torch.zeros(1, 3, 32, 32)
    assert model.maxpool(model.conv1(pixels)).shape == (1, 64, 32, 32)
    imagenet = configured("resnet18_cifar10", stem="imagenet").build(0)
    assert imagenet.maxpool(imagenet.conv1(pixels)).shape == (1, 64, 8, 8)


def test_initial_weights_come_from_the_seed_alone() -> None:
    workload = configured("resnet_digits")
    torch.manual_seed(123)
    one, again, other = (workload.build(seed).fc.weight for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_loss_is_cross_entropy_softened_towards_the_mean_of_all_classes() -> None:
    workload = configured("resnet_digits")
    outputs = torch.tensor([[0.0, math.log(3.0)], [math.log(3.0), 0.0]])
    batch = {"labels": torch.tensor([1, 1])}
    # -ln p is ln(4/3) where the model is right and ln(4) where it is wrong.
    right, wrong = math.log(4 / 3), math.log(4)
    plain, even = (right + wrong) / 2, (right + wrong) / 2
    assert workload.loss(outputs, batch, 0.0).item() == pytest.approx(plain)
    only_right = {"labels": torch.tensor([1])}
    softened = 0.8 * right + 0.2 * even
    assert workload.loss(outputs[:1], only_right, 0.2).item() == pytest.approx(softened)


def test_accuracy_is_the_fraction_of_largest_logits_that_are_right() -> None:
    workload = configured("resnet_digits")
    outputs = torch.tensor([[0.1, 0.9, 0.0], [2.0, 1.0, 3.0], [5.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    predictions = workload.predict(outputs, {})
    assert predictions.tolist() == [1, 2, 0, 1]
    assert workload.score(np.array([1, 2, 1, 1]), predictions.numpy()) == {"accuracy": 0.75}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_from_a_local_file_are_the_models(tmp_path: Path, suffix: str) -> None:
    source = configured("resnet_digits").build(5)
    file = tmp_path / f"weights{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(source.state_dict(), str(file))
    loaded = configured("resnet_digits", weights=str(file)).build(6)
    assert torch.equal(loaded.fc.weight, source.fc.weight)
