"""transformers' ``Trainer``, set up as our recipes mean it."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from transformers import Trainer, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from bench.training.recipe import Training
from bench.workloads import Examples, lengths_of


class Engine(Trainer):
    """``Trainer`` that takes no gradient norm for its log, and knows examples that have lengths.

    To get the norm it rescales all gradients by 1 at every step: 8 % of a small model's step,
    charged to training.
    """

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        lengths = lengths_of(cast("Examples", self.train_dataset))
        if lengths is None:
            return super()._get_train_sampler(train_dataset)
        seed = cast("int", self.args.data_seed)
        return LengthGroupedSampler(
            self.args.train_batch_size * self.args.gradient_accumulation_steps,
            lengths=list(lengths),
            generator=torch.Generator().manual_seed(seed),
        )

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        return grad_norm


def trainer(
    model: nn.Module, examples: Examples, training: Training, seed: int, scratch: str
) -> Trainer:
    """Return the engine for a module that takes a batch's tensors and returns its loss.

    Args:
        model: Trained in place.
        examples: Of the training split, fetched a batch at a time.
        training: The recipe.
        seed: Of data order and augmentation.
        scratch: An empty folder, which transformers wants.
    """
    optimizers: dict[str, tuple[Any, dict[str, Any]]] = {
        "sgd": (
            torch.optim.SGD,
            {"momentum": training.momentum, "nesterov": training.momentum > 0},
        ),
        "adamw": (torch.optim.AdamW, {}),
        "adamw_fused": (torch.optim.AdamW, {"fused": True}),
    }
    kind, knobs = optimizers[training.optimizer]
    arguments = TrainingArguments(
        output_dir=scratch,
        num_train_epochs=training.epochs,
        max_steps=training.max_steps or -1,
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.accumulation,
        learning_rate=training.learning_rate,
        # The library's plain "constant" has no warm-up.
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(
            training.schedule, training.schedule
        ),
        warmup_steps=training.warmup,  # below 1 it is a fraction of all steps
        max_grad_norm=training.clipping,
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
    # Several GPUs would be driven by DataParallel, on batches so many times as large.
    arguments._n_gpu = min(1, arguments.n_gpu)
    engine = Engine(
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
    # Our losses are means over a batch; left to itself the engine takes them for sums, because the
    # adapter takes keywords, and does not divide by the number of accumulated batches.
    engine.model_accepts_loss_kwargs = False
    return engine


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
