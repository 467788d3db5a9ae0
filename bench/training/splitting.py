"""The training split: what is trained on, what is kept to look at, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bench.training.engine import Judge
from bench.workloads import Batch, Examples, Workload, lengths_of


def split(
    workload: Workload, added: Callable[[Examples], Examples], validation: float, seed: int
) -> tuple[Examples, Examples | None]:
    """Return what is trained on, and the part, not augmented, that is kept for validation.

    Data with a validation split of their own keep that.

    Args:
        workload: Whose training split it is.
        added: Adds what an objective wants beside the examples.
        validation: Fraction that is kept; 0 keeps nothing.
        seed: Of the draw.
    """
    own = workload.validation_examples()
    if validation and own is not None:
        return added(workload.train_examples()), own
    examples = added(workload.train_examples())
    count = round(validation * len(examples))
    if not count:
        return examples, None
    drawn = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(examples), generator=drawn).tolist()
    return Part(examples, order[count:]), Part(workload.plain_train_examples(), order[:count])


@dataclass(frozen=True)
class Part:
    """Some of all examples."""

    examples: Examples
    indices: Sequence[int]

    def __len__(self) -> int:
        """Return their number."""
        return len(self.indices)

    @property
    def lengths(self) -> Sequence[int] | None:
        """Lengths of these, where examples have any."""
        found = lengths_of(self.examples)
        return None if found is None else [found[index] for index in self.indices]

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Return the examples at positions in this part."""
        return self.examples.__getitems__([self.indices[position] for position in positions])


@dataclass
class Drawn:
    """Examples whose augmentation depends on seed, epoch and batch, not on what was drawn before.

    Batches are fetched ahead of the step that uses them: with one generator for both, a training
    that goes on from a checkpoint would see other crops.
    """

    examples: Examples
    seed: int
    epoch: int = 0  # whoever trains counts it

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.examples)

    @property
    def lengths(self) -> Sequence[int] | None:
        """Lengths of the examples, where they have any."""
        return lengths_of(self.examples)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch; within an epoch its first example tells it from all others."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(
                hash((self.seed, self.epoch, int(indices[0]))) & (2**63 - 1)
            )
            return self.examples.__getitems__(indices)


def judge_of(
    model: nn.Module, workload: Workload, kept: Examples | None, batch_size: int
) -> Judge | None:
    """Return what looks at the validation part: the task's loss, unsmoothed, and its metrics."""
    if kept is None:
        return None

    def judge() -> dict[str, float]:
        was_training = model.training
        model.eval()
        device = next(model.parameters()).device
        total, labels, predictions = 0.0, [], []
        with torch.inference_mode():
            for start in range(0, len(kept), batch_size):
                end = min(start + batch_size, len(kept))
                fetched = kept.__getitems__(range(start, end))
                batch = {name: value.to(device) for name, value in fetched.items()}
                outputs = workload.forward(model, batch)
                total += float(workload.loss(outputs, batch, 0.0)) * (end - start)
                predictions.append(workload.predict(outputs, batch).cpu().numpy())
                labels.append(batch["labels"].cpu().numpy())
        model.train(was_training)
        scores = workload.score(np.concatenate(labels), np.concatenate(predictions))
        return {
            "eval_loss": total / len(kept),
            **{f"eval_{name}": value for name, value in scores.items()},
        }

    return judge
