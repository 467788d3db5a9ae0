"""How a model is trained: transformers' ``Trainer`` over a workload, and nothing else.

The same engine trains baselines, fine-tunes pruned models and distils; what differs is the
objective. Seeds fix initialisation, data order and augmentation.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from bench.techniques import Loss
from bench.workloads import Batch, Examples, Workload

Progress = Callable[[int, int, float | None], None]
"""Called with steps done, steps in all, and the last loss."""


@dataclass(frozen=True)
class Training:
    """One recipe; ``conf/training/*.yaml`` and the workload's YAML hold the values.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Examples per optimiser step.
        optimizer: ``sgd`` (Nesterov momentum) or ``adamw``.
        learning_rate: Peak.
        momentum: For ``sgd``.
        weight_decay: On matrices and kernels only, not on biases and normalisation.
        schedule: ``cosine``, ``linear`` or ``constant``, after the warm-up.
        warmup: Fraction of the steps over which the rate rises from 0.
        label_smoothing: In [0, 1).
        precision: ``fp32``, or autocast to ``bf16`` / ``fp16`` (weights stay fp32).
        workers: Processes that fetch batches; 0 fetches in the training process.
        max_steps: Stop after so many optimiser steps; ``None`` trains the epochs out.
    """

    epochs: float
    batch_size: int
    optimizer: Literal["sgd", "adamw"]
    learning_rate: float
    momentum: float
    weight_decay: float
    schedule: Literal["cosine", "linear", "constant"]
    warmup: float
    label_smoothing: float
    precision: Literal["fp32", "bf16", "fp16"]
    workers: int
    max_steps: int | None

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        for key, known in (
            ("optimizer", ("sgd", "adamw")),
            ("schedule", ("cosine", "linear", "constant")),
            ("precision", ("fp32", "bf16", "fp16")),
        ):
            if (value := getattr(self, key)) not in known:
                raise ValueError(f"training.{key} is {value!r}: one of {', '.join(known)}")
        for key in ("epochs", "batch_size", "learning_rate"):
            if (value := getattr(self, key)) <= 0:
                raise ValueError(f"training.{key} is {value}: it must be above 0")
        for key in ("warmup", "label_smoothing", "momentum"):
            if not 0 <= (value := getattr(self, key)) < 1:
                raise ValueError(f"training.{key} must be in [0, 1), got {value}: a fraction")
        for key in ("weight_decay", "workers"):
            if (value := getattr(self, key)) < 0:
                raise ValueError(f"training.{key} is {value}: it must be at least 0")
        if self.max_steps is not None and self.max_steps < 1:
            raise ValueError(
                f"training.max_steps is {self.max_steps}: at least one, or null to train the "
                f"epochs out"
            )
        if self.precision == "fp16" and not torch.cuda.is_available():
            raise ValueError("training.precision=fp16 needs a CUDA device; bf16 runs everywhere")


@dataclass
class History:
    """What a training did.

    Attributes:
        items: Training examples seen.
        steps: Optimiser steps.
        losses: Mean training loss of each logged stretch, as ``(step, loss in nats)``.
    """

    items: int = 0
    steps: int = 0
    losses: list[tuple[int, float]] = field(default_factory=list)


def task_loss(workload: Workload, training: Training) -> Loss:
    """Return the workload's own loss as an objective: what the baseline is trained under."""

    def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        outputs = workload.forward(model, batch)
        return workload.loss(outputs, batch, training.label_smoothing), outputs

    return loss


def train(
    model: nn.Module,
    workload: Workload,
    training: Training,
    objective: Loss,
    seed: int,
    progress: Progress,
) -> History:
    """Train ``model`` in place and return what was done.

    Args:
        model: Any module; it is moved to the device that transformers picks.
        workload: Gives the training split.
        training: The recipe.
        objective: Loss of a batch.
        seed: Of data order and augmentation.
        progress: Told about steps and loss now and then.
    """
    history = History()
    with tempfile.TemporaryDirectory(prefix="joulebench-trainer-") as scratch:
        examples = workload.train_examples()
        trainer = _trainer(_Adapter(model, objective), examples, training, seed, scratch)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_Listener(history, progress))
        trainer.train()
    history.steps = trainer.state.global_step
    epoch_steps = -(-len(examples) // training.batch_size)
    whole, rest = divmod(history.steps, epoch_steps)
    history.items = whole * len(examples) + rest * training.batch_size
    return history


class _Engine(Trainer):
    """``Trainer`` without the gradient norm that it takes for its log at every step.

    It rescales all gradients by 1 to get it: 8 % of a small model's step, charged to training.
    """

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        return grad_norm


class _Adapter(nn.Module):
    """What ``Trainer`` expects of a model: keyword tensors in, loss and outputs out."""

    def __init__(self, model: nn.Module, objective: Loss) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        loss, outputs = self.objective(self.model, batch)
        return {"loss": loss, "logits": outputs}


def _trainer(
    model: nn.Module, examples: Examples, training: Training, seed: int, scratch: str
) -> Trainer:
    optimizers: dict[str, tuple[Any, dict[str, Any]]] = {
        "sgd": (
            torch.optim.SGD,
            {"momentum": training.momentum, "nesterov": training.momentum > 0},
        ),
        "adamw": (torch.optim.AdamW, {}),
    }
    kind, knobs = optimizers[training.optimizer]
    arguments = TrainingArguments(
        output_dir=scratch,
        num_train_epochs=training.epochs,
        max_steps=training.max_steps or -1,
        per_device_train_batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        # The library's plain "constant" has no warm-up.
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(
            training.schedule, training.schedule
        ),
        warmup_steps=training.warmup,  # below 1 it is a fraction of all steps
        max_grad_norm=0.0,  # off: neither ResNet recipe clips
        logging_nan_inf_filter=False,  # a loss that is NaN is to be seen, not averaged away
        bf16=training.precision == "bf16",
        fp16=training.precision == "fp16",
        use_cpu=not torch.cuda.is_available(),
        seed=seed,
        data_seed=seed,
        dataloader_num_workers=training.workers,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        logging_steps=0.05,  # twenty stretches of loss, however long the run
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    return _Engine(
        model=model,
        args=arguments,
        train_dataset=cast("Any", examples),
        data_collator=_as_fetched,
        optimizer_cls_and_kwargs=(
            kind,
            {
                "params": _groups(model, training.weight_decay),
                "lr": training.learning_rate,
                **knobs,
            },
        ),
    )


def _groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Decay what has two dimensions or more.

    Left to itself the trainer knows normalisation by its name, and so decays ``bn1.weight``.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]


def _as_fetched(batch: Any) -> Any:
    """Collate nothing: ``__getitems__`` has made the batch."""
    return batch


class _Listener(TrainerCallback):
    """Keeps the losses and passes steps on."""

    def __init__(self, history: History, progress: Progress) -> None:
        self.history = history
        self.progress = progress

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if "loss" in kwargs.get("logs", {}):
            self.history.losses.append((state.global_step, float(kwargs["logs"]["loss"])))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        loss = self.history.losses[-1][1] if self.history.losses else None
        self.progress(state.global_step, state.max_steps, loss)
