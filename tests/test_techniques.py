"""Techniques do what they promise to a model: channels that are gone, bytes that are halved."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import EAGER, Net, Tiny, configured, same_tensors, trained_looking
from torch import nn

from bench import facts
from bench.techniques import Chain, Setting, Technique, TechniqueError, Terms
from bench.techniques.channels_last import ChannelsLast
from bench.techniques.distillation.small import SmallModel
from bench.techniques.half import Half
from bench.techniques.int8.static import Int8Static
from bench.techniques.structured_pruning import StructuredPruning
from bench.techniques.unstructured_pruning import UnstructuredPruning
from bench.training.splitting import split
from bench.workloads import Workload

PRUNING = StructuredPruning(
    name="structured_pruning",
    ratio=0.5,
    macs=None,
    importance="magnitude",
    scope="layer",
    iterations=1,
    round_to=8,
    epochs=3,
    learning_rate=0.02,
)
DIGITS = configured("resnet_digits")
BN = nn.BatchNorm2d


def setting(workload: Workload, baseline: nn.Module, seed: int = 0) -> Setting:
    return Setting(workload, baseline, seed)


def test_examples_to_look_at_are_none_of_those_kept_for_validation() -> None:
    """Importance that has seen the labels by which a search judges it would lead that search."""
    workload = Tiny(count=100)
    _, kept = split(workload, lambda examples: examples, 0.2, seed=7)
    assert kept is not None
    held = {tuple(row) for row in kept.__getitems__(range(20))["pixels"].flatten(1).tolist()}
    where = setting(workload, workload.build(0), 7)
    (seen,) = where.drawn(80, 80)
    assert not held & {tuple(row) for row in seen["pixels"].flatten(1).tolist()}
    (everything,) = where.drawn(1000, 1000)
    assert len(everything["pixels"]) == 100


def test_what_is_in_no_file_keeps_its_precision() -> None:
    """Whoever loads a model computes its rotary frequencies anew: rounded, they would differ."""
    model = Net()
    model.register_buffer("frequencies", torch.rand(8), persistent=False)
    wanted = model.frequencies.clone()
    rounded = setting(Tiny(), model).rounded(model, torch.bfloat16)
    assert torch.equal(rounded.frequencies, wanted)
    assert rounded.bn1.running_mean.dtype == rounded.conv1.weight.dtype == torch.bfloat16
    assert "frequencies" not in rounded.state_dict()


def test_examples_to_look_at_are_drawn_by_the_seed_from_all_of_the_training_split() -> None:
    """Folders of images are sorted by class, so that the first rows would show one class."""
    workload = Tiny(count=100)
    plain = workload.plain_train_examples().__getitems__(range(100))["pixels"]

    def places(seed: int, count: int) -> list[list[int]]:
        batches = setting(workload, nn.Linear(1, 1), seed).drawn(count, 24)
        return [
            [int((plain == image).flatten(1).all(1).nonzero()) for image in batch["pixels"]]
            for batch in batches
        ]

    first = places(0, 64)
    assert [len(rows) for rows in first] == [24, 24, 16]
    rows = {row for batch in first for row in batch}
    assert len(rows) == 64
    assert max(rows) > 64
    assert places(0, 64) == first
    assert places(1, 64) != first
    assert sum(map(len, places(0, 1000))) == 100


def pruned(
    technique: StructuredPruning, model: nn.Module, workload: Workload, seed: int = 0
) -> Any:
    return technique.prepare(copy.deepcopy(model), setting(workload, model, seed)).eval()


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return trained_looking(DIGITS.build(0))


def size_of_resnet10(widths: tuple[int, int, int, int]) -> tuple[int, int]:
    """Parameters and multiply-accumulates on 8x8 pixels, by hand: one basic block a stage."""
    stem = 3 * widths[0] * 9
    parameters, macs = stem + 2 * widths[0], stem * 64
    into = widths[0]
    for width, positions in zip(widths, (64, 16, 4, 1), strict=True):
        kernels = 9 * into * width + 9 * width * width
        norms = 2 * 2 * width
        if into != width:  # a 1x1 convolution on the shortcut, normalised too
            kernels += into * width
            norms += 2 * width
        parameters += kernels + norms
        macs += kernels * positions
        into = width
    return parameters + 10 * into + 10, macs + 10 * into


def measured_size(model: nn.Module) -> tuple[int, int]:
    batch = {"pixel_values": torch.zeros(2, 3, 8, 8)}
    return sum(p.numel() for p in model.parameters()), facts.macs(DIGITS, EAGER, model, batch)


def test_half_of_every_layers_channels_are_gone_and_a_quarter_of_the_work_is_left(
    resnet: nn.Module,
) -> None:
    assert measured_size(resnet) == size_of_resnet10((64, 128, 256, 512))
    smaller = pruned(PRUNING, resnet, DIGITS)
    assert measured_size(smaller) == size_of_resnet10((32, 64, 128, 256))
    left = measured_size(smaller)[1] / measured_size(resnet)[1]
    assert left == pytest.approx((1 - 0.5) ** 2, rel=0.02)
    batch = DIGITS.test_examples().__getitems__(range(3))
    assert DIGITS.forward(smaller, batch).shape == (3, 10)


def test_a_third_of_the_channels_rounds_down_to_whole_vectors(resnet: nn.Module) -> None:
    # 0.7 of 64, 128, 256, 512 is 44.8, 89.6, 179.2, 358.4; whole, then down to a multiple of 16.
    smaller = pruned(replace(PRUNING, ratio=0.3, round_to=16), resnet, DIGITS)
    assert measured_size(smaller) == size_of_resnet10((32, 80, 176, 352))


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("importance", ["magnitude", "bn_scale", "taylor", "random"])
def test_every_importance_and_scope_leaves_a_smaller_network_of_whole_vectors(
    resnet: nn.Module, importance: Any, scope: Any
) -> None:
    technique = replace(PRUNING, importance=importance, scope=scope, ratio=0.25)
    before = copy.deepcopy(resnet.state_dict())
    smaller = pruned(technique, resnet, DIGITS)
    parameters, macs = measured_size(smaller)
    # Layer by layer 0.75 squared of the work is left; over all layers it depends on which go.
    least, most = (0.56, 0.57) if scope == "layer" else (0.1, 0.95)
    assert least < macs / size_of_resnet10((64, 128, 256, 512))[1] < most
    assert parameters < sum(p.numel() for p in resnet.parameters())
    widths = [m.out_channels for m in smaller.modules() if isinstance(m, nn.Conv2d)]
    assert [width for width in widths if width % 8] == []
    assert len(set(widths)) > 1
    if scope == "global":
        whole = [m.out_channels for m in resnet.modules() if isinstance(m, nn.Conv2d)]
        assert len({a / b for a, b in zip(widths, whole, strict=True)}) > 1
    batch = DIGITS.test_examples().__getitems__(range(2))
    assert DIGITS.forward(smaller, batch).shape == (2, 10)
    assert all(p.grad is None and p.requires_grad for p in smaller.parameters())
    assert same_tensors(before, resnet.state_dict())  # the teacher is as it was


def with_idle_channels() -> nn.Module:
    """A network whose odd channels hardly do anything, by every measure of importance."""
    model = trained_looking(Tiny().build(1))
    assert isinstance(model, Net)
    with torch.no_grad():
        for conv, norm in ((model.conv1, model.bn1), (model.conv2, model.bn2)):
            conv.weight[1::2] *= 1e-3
            norm.weight[1::2] *= 1e-3
            norm.bias.abs_()  # no channel is dead behind its rectifier
        model.conv2.weight[:, 1::2] *= 1e-3
        model.fc.weight[:, 1::2] *= 1e-3
    return model


@pytest.mark.parametrize("importance", ["magnitude", "bn_scale", "taylor"])
def test_the_channels_that_matter_are_the_ones_that_stay(importance: Any) -> None:
    model = with_idle_channels()
    assert isinstance(model, Net)
    smaller = pruned(replace(PRUNING, importance=importance), model, Tiny())
    assert torch.equal(smaller.conv1.weight, model.conv1.weight[::2])
    assert torch.equal(smaller.bn1.running_var, model.bn1.running_var[::2])
    assert torch.equal(smaller.conv2.weight, model.conv2.weight[::2, ::2])
    assert torch.equal(smaller.fc.weight, model.fc.weight[:, ::2])
    assert torch.equal(smaller.fc.bias, model.fc.bias)


def test_no_class_is_ever_pruned_away() -> None:
    smaller = pruned(replace(PRUNING, round_to=1, ratio=0.6), with_idle_channels(), Tiny())
    # 0.4 of 16 and 32 is 6.4 and 12.8; the classifier keeps its four outputs.
    assert smaller.conv1.out_channels == 6
    assert tuple(smaller.fc.weight.shape) == (4, 12)
    assert smaller.fc.bias.shape == (4,)


def test_random_channels_are_drawn_from_the_seed() -> None:
    technique, model = replace(PRUNING, importance="random"), with_idle_channels()
    first, again, other = (
        pruned(technique, model, Tiny(), seed).conv1.weight for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert isinstance(model, Net)
    assert not torch.equal(first, model.conv1.weight[::2])


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_a_fresh_model_is_restored_to_the_pruned_shape_and_answers_bit_for_bit(
    resnet: nn.Module, scope: Any
) -> None:
    technique = replace(PRUNING, ratio=0.3, scope=scope)
    smaller = pruned(technique, resnet, DIGITS)
    tensors = {name: t.clone() for name, t in smaller.state_dict().items()}
    fresh = technique.restore(DIGITS.build(9), tensors, DIGITS)
    fresh.load_state_dict(tensors, assign=True)
    batch = DIGITS.test_examples().__getitems__(range(8))
    with torch.inference_mode():
        expected, found = (DIGITS.forward(m.eval(), batch) for m in (smaller, fresh))
    assert torch.equal(found, expected)
    assert measured_size(fresh) == measured_size(smaller)


def test_depthwise_convolutions_are_pruned_and_restored_with_their_groups() -> None:
    workload = configured("resnet_digits", architecture="mobilenet_v2", stem="imagenet")
    # Two strides fewer would do, but 8x8 pixels pass: the last stages see one pixel.
    model = trained_looking(workload.build(0))
    smaller = pruned(PRUNING, model, workload)
    tensors = smaller.state_dict()
    fresh = PRUNING.restore(workload.build(1), tensors, workload)
    fresh.load_state_dict(tensors, assign=True)
    batch = workload.test_examples().__getitems__(range(4))
    with torch.inference_mode():
        expected, found = (workload.forward(m.eval(), batch) for m in (smaller, fresh))
    assert torch.equal(found, expected)
    groups = [m.groups for m in fresh.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert groups == [
        m.groups // 2 for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups > 1
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ratio": 0}, r"technique\.ratio must be in \(0, 1\), got 0: .*50 % is 0\.5"),
        ({"ratio": 1}, r"technique\.ratio must be in \(0, 1\), got 1:.*leave no model"),
        ({"ratio": 50}, r"technique\.ratio must be in \(0, 1\), got 50"),
        ({"importance": "luck"}, r"technique\.importance is 'luck': one of magnitude, group_norm"),
        ({"scope": "block"}, r"technique\.scope is 'block': layer or global"),
        ({"round_to": 0}, r"technique\.round_to is 0: at least 1"),
        ({"epochs": -1}, r"technique\.epochs=-1 must be at least 0"),
        ({"learning_rate": 0}, r"technique\.learning_rate=0 above 0"),
    ],
)
def test_an_impossible_knob_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(PRUNING, **changes)


def test_pruning_that_removes_nothing_is_refused_with_the_knob_that_prevents_it() -> None:
    model = with_idle_channels()
    told = r"technique\.ratio=0\.5 removed no channel: with technique\.round_to=64"
    with pytest.raises(TechniqueError, match=told):
        pruned(replace(PRUNING, round_to=64), model, Tiny())


def test_fine_tuning_of_no_epochs_is_no_training() -> None:
    assert PRUNING.recipe == {"epochs": 3, "learning_rate": 0.02}
    assert replace(PRUNING, epochs=0).recipe is None


def test_bf16_rounds_every_floating_tensor_and_halves_its_bytes() -> None:
    model = trained_looking(Tiny().build(0))
    before = {n: t for n, t in model.state_dict().items() if t.is_floating_point()}
    served = Half("bf16", "bf16").convert(copy.deepcopy(model), setting(Tiny(), model)).state_dict()
    after = {n: t for n, t in served.items() if t.is_floating_point()}
    assert before.keys() == after.keys()
    assert {t.dtype for t in after.values()} == {torch.bfloat16}
    size, halved = (sum(t.nbytes for t in tensors.values()) for tensors in (before, after))
    assert halved * 2 == size
    for name, tensor in before.items():
        # 8 bits of significand: values are 2 ** -7 apart, so the nearest is within 2 ** -8.
        assert torch.all((after[name].float() - tensor).abs() <= tensor.abs() * 2**-8)
    assert not torch.equal(after["fc.weight"].float(), before["fc.weight"])


def test_a_technique_that_changes_nothing_is_the_baseline() -> None:
    nothing, model = Technique("none"), Tiny().build(0)
    before = copy.deepcopy(model.state_dict())
    shown = setting(Tiny(), model)

    def loss(model: nn.Module, batch: dict[str, torch.Tensor]) -> Any:
        raise NotImplementedError

    assert (nothing.stages, nothing.recipe, nothing.label) == ((), None, "none")
    assert nothing.prepare(model, shown) is model
    assert nothing.objective(loss, shown) is loss
    assert nothing.convert(model, shown) is model
    assert nothing.restore(model, {}, Tiny()) is model
    assert same_tensors(before, model.state_dict())


def test_a_chain_does_its_steps_in_their_order() -> None:
    light = replace(PRUNING, name="light", ratio=0.1)
    inner = Chain("inner", {"zip": Half("bf16", "bf16"), "nothing": Technique("none")})
    chain = Chain("both", {"prune": PRUNING, "again": light, "last": inner})
    assert chain.stages == (PRUNING, light, Half("bf16", "bf16"))
    assert chain.label == "structured_pruning 0.5 + light 0.1 + bf16"


@pytest.mark.parametrize("steps", [{}, {"nothing": Technique("none")}])
def test_a_chain_of_nothing_is_refused(steps: dict[str, Technique]) -> None:
    with pytest.raises(ValueError, match=r"technique\.steps is empty: .* at least one technique"):
        Chain("chain", steps)


@pytest.mark.gpu
@pytest.mark.parametrize("importance", ["magnitude", "bn_scale", "taylor", "random"])
def test_a_model_is_pruned_on_the_gpu_where_it_lies(importance: Any) -> None:
    model = with_idle_channels().cuda()
    smaller = pruned(replace(PRUNING, importance=importance), model, Tiny())
    assert smaller.conv1.weight.shape[0] == 8
    assert smaller.conv1.weight.is_cuda


def test_pruning_in_rounds_removes_the_same_share_of_the_rest_each_time() -> None:
    rounds = replace(PRUNING, ratio=0.75, iterations=2, epochs=3)
    assert rounds.label == "structured_pruning 0.75"
    assert [stage.ratio for stage in rounds.stages] == pytest.approx([0.5, 0.5])  # 1 - 0.5 * 0.5
    assert [stage.epochs for stage in rounds.stages] == [1.5, 1.5]
    model: nn.Module = trained_looking(DIGITS.build(0))
    for stage in rounds.stages:
        model = stage.prepare(model, setting(DIGITS, model))
    assert measured_size(model) == size_of_resnet10((16, 32, 64, 128))


@pytest.mark.parametrize("left", [0.5, 0.25])
def test_pruning_to_a_share_of_the_operations_comes_as_near_as_channels_allow(left: float) -> None:
    model = trained_looking(DIGITS.build(0))
    to_macs = replace(PRUNING, ratio=None, macs=left)
    assert to_macs.label == f"structured_pruning to {left:g} MACs"
    share = measured_size(pruned(to_macs, model, DIGITS))[1] / measured_size(model)[1]
    assert 0.75 * left < share <= left  # whole eights of channels


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ratio": None}, r"technique\.ratio=None and technique\.macs=None: one of them says"),
        ({"macs": 0.5}, r"technique\.ratio=0\.5 and technique\.macs=0\.5: one of them says"),
        ({"ratio": None, "macs": 25}, r"technique\.macs must be in \(0, 1\), got 25"),
        ({"iterations": 0}, r"technique\.iterations is 0: at least 1"),
        ({"ratio": None, "macs": 0.5, "iterations": 2}, r"more only with technique\.ratio"),
    ],
)
def test_contradicting_amounts_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(PRUNING, **changes)


BF16 = Half("bf16", "bf16")
ZEROS = UnstructuredPruning("unstructured_pruning", 0.9, "global", 1.0, 0.02)
SMALL = SmallModel("small_model", "resnet10", None, None)
INTEGERS = Int8Static("int8_static", 2, 8)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ((BF16, PRUNING), "structured_pruning comes after bf16, but its weights are rounded"),
        ((INTEGERS, BF16), "bf16 comes after int8_static, but its exported graph"),
        ((PRUNING, SMALL), "small_model comes after structured_pruning, but it starts from a mo"),
        ((ZEROS, PRUNING), "structured_pruning trains after unstructured_pruning, but training w"),
    ],
)
def test_an_order_that_cannot_work_is_refused_with_the_reason(
    steps: tuple[Technique, ...], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        Chain("chain", {step.name: step for step in steps})


def test_orders_that_make_sense_are_taken() -> None:
    for steps in ((SMALL, PRUNING, INTEGERS), (PRUNING, ZEROS, BF16), (SMALL, ZEROS)):
        assert Chain("chain", {step.name: step for step in steps}).stages == steps


def test_fp16_is_refused_on_a_cpu_and_bf16_is_not() -> None:
    terms = Terms(Tiny(), {}, "eager", torch.device("cpu"))
    BF16.require(terms)
    with pytest.raises(TechniqueError, match=r"technique\.dtype=fp16 needs a GPU"):
        Half("fp16", "fp16").require(terms)
    Half("fp16", "fp16").require(replace(terms, device=torch.device("cuda")))


def test_channels_last_reorders_kernels_and_changes_no_number() -> None:
    model = trained_looking(Tiny().build(0))
    batch = Tiny().test_examples().__getitems__(range(4))
    before = Tiny().forward(model, batch)
    served = ChannelsLast("channels_last").deploy(copy.deepcopy(model))
    assert served.conv1.weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr]
    assert same_tensors(model.state_dict(), served.state_dict())
    torch.testing.assert_close(Tiny().forward(served, batch), before)


def test_channels_last_is_refused_for_models_without_images() -> None:
    class Words(Tiny):
        def test_examples(self) -> Any:
            return Tokens()

    class Tokens:
        def __getitems__(self, indices: Any) -> Any:
            return {"input_ids": torch.zeros(1, 7, dtype=torch.int64)}

    terms = Terms(Words(), {}, "eager", torch.device("cpu"))
    with pytest.raises(TechniqueError, match="tiny has none"):
        ChannelsLast("channels_last").require(terms)
