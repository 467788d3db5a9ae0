"""Training: the same seed gives the same bits, the books agree with what was done."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from tiny import RECIPE, Noise, Tiny, configured, same_tensors
from torch import Tensor, nn

from bench.techniques import Loss
from bench.training import Course, task_loss, train
from bench.training.following import TrainingError
from bench.training.recipe import Training
from bench.workloads import Batch, Examples

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="these compare bits on the CPU")


@dataclass(frozen=True)
class Watched(Tiny):
    """Keeps what was fetched, and has no held-out split that anyone may read."""

    given: list[Noise] = field(default_factory=list)

    def train_examples(self) -> Examples:
        self.given.append(Noise(self.count, self.augmented))
        return self.given[-1]

    def test_examples(self) -> Examples:
        raise AssertionError("training read the held-out split")


@dataclass
class Run:
    """One training of ``Net`` and all that could be seen of it."""

    model: nn.Module
    items: int
    batches: list[Batch]
    losses: list[float]
    outputs: list[Tensor]
    told: list[tuple[int, int]]
    points: list[tuple[int, float, float]]
    fetched: list[int]
    metrics: list[tuple[int, float]] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    events: list[tuple[int, str, str]] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)

    def stepped(self, step: int, steps: int, items: int) -> None:
        self.told.append((step, steps))

    def logged(self, step: int, loss: float, learning_rate: float) -> None:
        self.points.append((step, loss, learning_rate))

    def validated(self, step: int, loss: float, metric: float) -> None:
        self.metrics.append((step, metric))
        self.validation.append(loss)

    def noted(self, step: int, kind: str, text: str) -> None:
        self.events.append((step, kind, text))

    def saved(self, step: int) -> None:
        self.kept.append(step)


def run(
    recipe: Training, seed: int = 0, objective: Callable[[Loss], Loss] | None = None, **knobs: Any
) -> Run:
    workload = Watched(**knobs)
    model = workload.build(0)
    found = Run(model, 0, [], [], [], [], [], [])
    task = task_loss(workload, recipe)
    inner = objective(task) if objective else task

    def watched(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        loss, outputs = inner(model, batch)
        found.batches.append(batch)
        found.losses.append(loss.item())
        found.outputs.append(outputs.detach())
        return loss, outputs

    found.items = train(model, Course(workload, recipe, watched, seed), found)
    (examples,) = workload.given
    found.fetched = examples.fetched
    return found


def test_one_seed_gives_one_model_and_another_seed_another() -> None:
    models = []
    for draws, seed in enumerate((4, 4, 5)):
        torch.manual_seed(100 + draws)  # whatever was drawn before must not matter
        torch.rand(draws)
        models.append(run(RECIPE, seed).model.state_dict())
    assert same_tensors(models[0], models[1])
    assert not same_tensors(models[0], models[2])


def test_every_epoch_sees_each_example_once_in_an_order_that_the_seed_gives() -> None:
    recipe = replace(RECIPE, epochs=2.0)
    runs = [run(recipe, seed, augmented=False) for seed in (4, 4, 5)]
    orders = [it.fetched for it in runs]
    for order in orders:
        assert sorted(order[:100]) == sorted(order[100:]) == list(range(100))
        assert order[:100] != order[100:] != list(range(100))
    assert orders[0] == orders[1] != orders[2]
    labels = torch.cat([batch["labels"] for batch in runs[0].batches])
    assert labels.tolist() == [index % 4 for index in orders[0]]


def test_augmentation_is_drawn_from_the_seed() -> None:
    drawn = []
    for seed in (4, 4, 5):
        found = run(RECIPE, seed, augmented=True)
        seen = torch.cat([batch["pixels"] for batch in found.batches])
        drawn.append(seen - Noise(100, augmented=False).pixels[found.fetched])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.allclose(drawn[0], drawn[2], atol=1e-3)  # whatever the order they came in
    assert drawn[0].std().item() == pytest.approx(0.1, rel=0.05)


def test_processes_that_fetch_give_the_same_model_each_time() -> None:
    recipe = replace(RECIPE, workers=2, max_steps=3)
    models = [run(recipe, seed).model.state_dict() for seed in (4, 4, 5)]
    assert same_tensors(models[0], models[1])
    assert not same_tensors(models[0], models[2])


def test_training_reads_the_training_split_only() -> None:
    assert sorted(run(RECIPE).fetched) == list(range(100))
    with pytest.raises(AssertionError, match="read the held-out split"):
        Watched().test_examples()  # so would the training above


@pytest.mark.parametrize(
    ("epochs", "batch_size", "max_steps", "steps", "items"),
    [
        (1.0, 32, None, 4, 100),  # 32 + 32 + 32 + 4
        (1.5, 32, None, 6, 164),  # 100 + 32 + 32
        (2.0, 128, None, 2, 200),
        (2.0, 32, 3, 3, 96),
        (0.1, 32, 5, 1, 32),  # a cap makes no training longer
    ],
)
def test_steps_and_examples_are_counted_as_they_were_done(
    epochs: float, batch_size: int, max_steps: int | None, steps: int, items: int
) -> None:
    recipe = replace(RECIPE, epochs=epochs, batch_size=batch_size, max_steps=max_steps)
    found = run(recipe)
    assert found.items == items
    assert sum(len(batch["labels"]) for batch in found.batches) == items
    assert found.told == [(n, steps) for n in range(1, steps + 1)]


def test_logged_losses_are_the_means_of_their_stretches() -> None:
    found = run(replace(RECIPE, epochs=15.0))  # 60 steps, logged every twentieth of them
    assert [step for step, _, _ in found.points] == list(range(3, 61, 3))
    for step, loss, _ in found.points:
        assert loss == pytest.approx(sum(found.losses[step - 3 : step]) / 3, abs=1e-4)


def test_a_loss_that_is_no_number_stops_the_training_and_names_the_rate() -> None:
    def diverges(task: Loss) -> Loss:
        def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
            value, outputs = task(model, batch)
            return value * math.nan, outputs

        return loss

    with pytest.raises(
        TrainingError, match=r"is nan at step 1 of 4: training\.learning_rate=0\.05"
    ):
        run(RECIPE, objective=diverges)


def test_a_loss_that_leaves_its_first_behind_for_good_stops_the_training() -> None:
    """First as it is, then ten times as large: told at the second stretch of that."""

    def blows_up(task: Loss) -> Loss:
        seen: list[int] = []

        def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
            value, outputs = task(model, batch)
            seen.append(1)
            return value * (1 if len(seen) == 1 else 10), outputs

        return loss

    with pytest.raises(TrainingError, match=r"is 1\d\.\d \(1\.\d+ at first\) at step 3 of 4"):
        run(RECIPE, objective=blows_up)
    assert run(replace(RECIPE, guard="off"), objective=blows_up).items == 100


def test_digits_are_learnt_in_two_epochs() -> None:
    workload = configured("resnet_digits")
    model = workload.build(0)
    recipe = replace(RECIPE, epochs=2.0, batch_size=64)
    found = Run(model, 0, [], [], [], [], [], [])
    train(model, Course(workload, recipe, task_loss(workload, recipe), 0), found)
    # Knowing nothing costs ln(10) nats; half of that is far from chance.
    assert found.points[0][1] > math.log(10) * 0.5
    assert found.points[-1][1] < math.log(10) * 0.25
    examples = workload.test_examples()
    batch = examples.__getitems__(range(len(examples)))
    with torch.inference_mode():
        predictions = workload.predict(workload.forward(model.eval(), batch), batch)
    scores = workload.score(batch["labels"].numpy(), predictions.numpy())
    assert scores["accuracy"] > 0.8  # chance is 0.1


def test_the_task_loss_is_softened_as_the_recipe_says() -> None:
    batch = {"labels": torch.tensor([1])}
    recipe = replace(RECIPE, label_smoothing=0.2)

    def sure(_: Batch) -> Tensor:
        return torch.tensor([[0.0, math.log(3.0), 0.0, 0.0]])

    outputs = {**batch, "pixels": batch["labels"]}
    loss, logits = task_loss(Tiny(), recipe)(sure, outputs)  # type: ignore[arg-type]
    # Softmax gives 1/2 to the right class and 1/6 to each other one.
    expected = 0.8 * math.log(2) + 0.2 * (math.log(2) + 3 * math.log(6)) / 4
    assert loss.item() == pytest.approx(expected)
    assert logits.shape == (1, 4)


@contextmanager
def watched_rates(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    rates: list[float] = []
    step = torch.optim.SGD.step

    def watched(self: torch.optim.SGD, *arguments: Any, **knobs: Any) -> Any:
        (rate,) = {group["lr"] for group in self.param_groups}
        rates.append(rate)
        return step(self, *arguments, **knobs)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", watched)
        yield rates


@pytest.mark.parametrize(
    ("schedule", "shape"),
    [
        ("linear", lambda left: left),
        ("cosine", lambda left: (1 - math.cos(math.pi * left)) / 2),
        ("constant", lambda left: 1.0),
    ],
)
def test_the_rate_rises_over_the_warm_up_and_follows_its_schedule(
    monkeypatch: pytest.MonkeyPatch, schedule: Any, shape: Callable[[float], float]
) -> None:
    recipe = replace(RECIPE, epochs=2.5, schedule=schedule, warmup=0.2, learning_rate=0.1)
    with watched_rates(monkeypatch) as rates:
        run(recipe)
    # 10 steps, of which 2 are warm-up.
    rising, falling = [0.0, 0.05], [0.1 * shape((10 - step) / 8) for step in range(2, 10)]
    assert rates == pytest.approx(rising + falling)


def no_gradient(task: Loss) -> Loss:
    def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        value, outputs = task(model, batch)
        return value * 0.0, outputs

    return loss


@pytest.mark.parametrize(
    ("optimizer", "factor"),
    [
        # Nesterov's first step is (1 + momentum) times the gradient, which is decay * weight.
        ("sgd", 1 - 0.1 * (1 + 0.9) * 0.3),
        ("adamw", 1 - 0.1 * 0.3),  # decoupled: rate times decay
        ("adamw_fused", 1 - 0.1 * 0.3),
    ],
)
def test_kernels_and_matrices_decay_and_biases_and_normalisation_do_not(
    optimizer: Any, factor: float
) -> None:
    recipe = replace(
        RECIPE,
        optimizer=optimizer,
        learning_rate=0.1,
        weight_decay=0.3,
        schedule="constant",
        warmup=0.0,
        max_steps=1,
    )
    before = dict(Tiny().build(0).named_parameters())
    after = dict(run(recipe, objective=no_gradient).model.named_parameters())
    kept, decayed = {}, {}
    for name, value in before.items():
        place = decayed if name in ("conv1.weight", "conv2.weight", "fc.weight") else kept
        place[name] = value
    assert len(kept) == 6  # two normalisations with weight and bias, two biases
    for name, value in decayed.items():
        torch.testing.assert_close(after[name], value * factor)
    assert [name for name, value in kept.items() if not torch.equal(after[name], value)] == []


def test_without_momentum_a_step_is_rate_times_gradient() -> None:
    recipe = replace(
        RECIPE, momentum=0.0, learning_rate=0.1, schedule="constant", warmup=0.0, max_steps=1
    )
    before = Tiny().build(0).fc.bias.detach()
    found = run(recipe)
    probabilities = found.outputs[0].softmax(dim=1)
    wanted = torch.nn.functional.one_hot(found.batches[0]["labels"], 4)
    gradient = (probabilities - wanted).mean(dim=0)  # of cross-entropy by the classifier's bias
    torch.testing.assert_close(found.model.fc.bias.detach(), before - 0.1 * gradient)


def test_autocast_computes_in_bf16_and_keeps_weights_in_fp32() -> None:
    found = run(replace(RECIPE, precision="bf16", max_steps=1))
    assert {outputs.dtype for outputs in found.outputs} == {torch.bfloat16}
    assert {p.dtype for p in found.model.parameters()} == {torch.float32}
    assert {o.dtype for o in run(replace(RECIPE, max_steps=1)).outputs} == {torch.float32}


def test_fp16_without_a_cuda_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"training\.precision=fp16 needs a CUDA device; bf16"):
        replace(RECIPE, precision="fp16")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"epochs": -1}, r"training\.epochs is -1: it must be at least 0"),
        ({"batch_size": 0}, r"training\.batch_size is 0"),
        ({"learning_rate": -0.1}, r"training\.learning_rate is -0\.1"),
        ({"warmup": 1.5}, r"training\.warmup is 1\.5: below 1 a fraction of the steps, from 1 on"),
        ({"label_smoothing": -0.1}, r"training\.label_smoothing must be in \[0, 1\), got -0\.1"),
        ({"momentum": 1.0}, r"training\.momentum must be in \[0, 1\), got 1\.0"),
        ({"weight_decay": -1e-4}, r"training\.weight_decay is -0\.0001: it must be at least 0"),
        ({"workers": -1}, r"training\.workers is -1"),
        ({"max_steps": 0}, r"training\.max_steps is 0: above 0, or null, which trains the epochs"),
        ({"optimizer": "lion"}, r"training\.optimizer is 'lion': one of sgd, rmsprop, adam"),
        ({"schedule": "steps"}, r"training\.schedule is 'steps': one of constant, linear, cosine"),
        ({"precision": "int8"}, r"training\.precision is 'int8': one of fp32, bf16, fp16"),
    ],
)
def test_an_impossible_knob_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(RECIPE, **changes)
