"""How much a head or a neuron matters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.techniques import Setting

_BATCH = 32


@dataclass(frozen=True)
class Group:
    """Linear layers that share features, so many of which make up a unit.

    Attributes:
        givers: Layers whose outputs the features are.
        taker: The layer whose inputs they are.
        size: Features of a unit: those of a head, or the one of a neuron.
    """

    givers: tuple[nn.Linear, ...]
    taker: nn.Linear
    size: int

    @property
    def units(self) -> int:
        """Heads or neurons that are there."""
        return self.taker.in_features // self.size


def taylor(
    model: nn.Module, groups: Sequence[Group], setting: Setting, calibration: int
) -> list[Tensor]:
    """Return how much the loss would change without a unit, to first order.

    With a gate of 1 at each unit's features, it is the mean over examples of the magnitude of the
    loss's derivative by the gate, which is the sum over tokens and features of activation times
    gradient. Sources: Michel et al. (2019), arXiv:1905.10650, section 4.1, for heads; Molchanov et
    al. (2017), arXiv:1611.06440, section 2.2, for single features.

    Args:
        model: In evaluation mode afterwards, so that no dropout disturbs.
        groups: In the order in which the model comes to them.
        setting: Data, loss, seed.
        calibration: Training examples to look at, or all if there are fewer.
    """
    model.requires_grad_(True).eval()
    sums = [torch.zeros(group.units) for group in groups]
    count = 0
    for batch in setting.drawn(calibration, _BATCH):
        with _inputs_of([group.taker for group in groups]) as activations:
            outputs = setting.workload.forward(model, batch)
        loss = setting.workload.loss(outputs, batch, smoothing=0.0)
        gradients = torch.autograd.grad(loss, activations)
        examples = len(outputs)
        count += examples
        for total, group, activation, gradient in zip(
            sums, groups, activations, gradients, strict=True
        ):
            by_unit = (activation.detach() * gradient).unflatten(-1, (group.units, group.size))
            # The loss is a mean over the batch: an example's own gradient is so many times larger.
            total += (examples * by_unit.sum(dim=(1, 3))).abs().sum(dim=0).cpu()
    return [total / count for total in sums]


def magnitude(group: Group) -> Tensor:
    """Return the L2 norm of all weights that go with a unit."""
    squares = group.taker.weight.detach().square().sum(dim=0)
    for giver in group.givers:
        squares = squares + giver.weight.detach().square().sum(dim=1)
    return squares.unflatten(0, (group.units, group.size)).sum(dim=1).sqrt().cpu()


@contextmanager
def _inputs_of(layers: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Give what layers are called with inside the block, in the order of the calls."""
    shown: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        shown.append(inputs[0])

    hooks = [layer.register_forward_pre_hook(keep) for layer in layers]
    try:
        yield shown
    finally:
        for hook in hooks:
            hook.remove()
