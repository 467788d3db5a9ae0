"""transformers' ``Trainer``, set up as our recipes mean it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_model
from torch import nn
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations.integration_utils import TensorBoardCallback
from transformers.trainer_pt_utils import LengthGroupedSampler

from bench.training import optimizers, schedules
from bench.training.recipe import Training
from bench.workloads import Examples, lengths_of

Judge = Callable[[], Mapping[str, float]]
"""Returns ``loss`` and the metric of the validation part, as ``eval_loss`` and so on."""


class Engine(Trainer):
    """``Trainer`` with our schedules, our look at the validation part, and no pickles.

    Attributes:
        training: The recipe.
        judge: Looks at the validation part; ``None`` where there is none.
    """

    def __init__(self, training: Training, judge: Judge | None, **parts: Any) -> None:
        """Build the library's engine out of its ``parts``."""
        self.training = training
        self.judge = judge
        super().__init__(**parts)
        # Our losses are means over a batch; left to itself the engine takes them for sums, because
        # the adapter takes keywords, and does not divide by the number of accumulated batches.
        self.model_accepts_loss_kwargs = False

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Return the schedule of the recipe."""
        if self.lr_scheduler is None:
            self.lr_scheduler = schedules.scheduler(
                self.training, cast("Any", optimizer or self.optimizer), num_training_steps
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Look at the validation part, and tell trackers and callbacks."""
        assert self.judge is not None
        found = dict(self.judge())
        self.log(found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        # Asked whether to save: if it is the best, and if a checkpoint is due in any case.
        due = self.control.should_save
        return super()._determine_best_metric(metrics, trial) or due

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        # For its log it rescales all gradients by 1: 8 % of a small model's step, charged to us.
        return grad_norm

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        lengths = lengths_of(cast("Examples", self.train_dataset))
        if lengths is None:
            return super()._get_train_sampler(train_dataset)
        together = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return _ByLength(together, list(lengths), cast("int", self.args.data_seed))

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        # Tensors that layers share are saved once, and are no missing keys.
        pass

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # Left to itself it refuses tensors that two layers share, and pickles its arguments.
        folder = Path(output_dir or cast("str", self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_model(cast("nn.Module", self.model), str(folder / "model.safetensors"))


class _ByLength(LengthGroupedSampler):
    """Batches of like length, drawn anew in every epoch, and the same after a resumption."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size, lengths=lengths, generator=torch.Generator().manual_seed(seed))
        self.seed = seed

    def set_epoch(self, epoch: int) -> None:
        """Draw as this epoch does, whatever was drawn before."""
        self.generator.manual_seed(self.seed + epoch)


def engine(
    model: nn.Module,
    examples: Examples,
    training: Training,
    seed: int,
    place: Path,
    judge: Judge | None,
    on_gpu: bool = False,
    run: Path | None = None,
) -> Engine:
    """Return the engine for a module that takes a batch's tensors and returns its loss.

    Args:
        model: Trained in place.
        examples: Of the training split, fetched a batch at a time.
        training: The recipe.
        seed: Of data order and augmentation.
        place: Folder of checkpoints, or an empty one where none are kept.
        judge: Looks at the validation part, if there is one.
        on_gpu: Whether to train on a GPU, which must be there, or on the CPU.
        run: Folder for TensorBoard, whose name is that of the run for all trackers.
    """
    callbacks: list[TrainerCallback] = []
    if "tensorboard" in training.trackers:
        callbacks.append(_tensorboard(run or place / "run"))
    if training.patience is not None:
        callbacks.append(EarlyStoppingCallback(training.patience, training.improvement))
    return Engine(
        training,
        judge,
        model=model,
        args=_arguments(training, len(examples), seed, place, judge is not None, on_gpu, run),
        train_dataset=cast("Any", examples),
        eval_dataset=cast("Any", examples) if judge is not None else None,  # its own is never read
        data_collator=_as_fetched,
        optimizer_cls_and_kwargs=optimizers.optimizer(model, training),
        callbacks=callbacks,
    )


def _arguments(
    training: Training,
    examples: int,
    seed: int,
    place: Path,
    looks: bool,
    on_gpu: bool,
    run: Path | None,
) -> TrainingArguments:
    chosen_by_loss = training.restore_best or training.patience is not None
    arguments = TrainingArguments(
        output_dir=str(place),
        num_train_epochs=training.epochs,
        max_steps=_most_steps(training, examples),
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.accumulation,
        learning_rate=training.peak,
        max_grad_norm=training.clipping,
        logging_nan_inf_filter=False,  # a loss that is NaN is to be seen, not averaged away
        bf16=training.precision == "bf16",
        fp16=training.precision == "fp16",
        use_cpu=not on_gpu,
        seed=seed,
        data_seed=seed,
        dataloader_num_workers=training.workers,
        ddp_backend="gloo" if training.processes > 1 and not on_gpu else None,
        dataloader_pin_memory=on_gpu,
        remove_unused_columns=False,
        logging_steps=0.05,  # twenty stretches of loss, however long the run
        eval_strategy=_strategy(training) if looks else "no",
        eval_steps=training.evaluate_every,
        metric_for_best_model="loss" if chosen_by_loss else None,
        greater_is_better=False if chosen_by_loss else None,
        load_best_model_at_end=training.restore_best,
        save_strategy="best" if training.restore_best else "no",
        save_total_limit=training.keep_saved,
        restore_callback_states_from_checkpoint=True,  # of patience
        report_to=[name for name in training.trackers if name != "tensorboard"],
        run_name=None if run is None else run.name,
        project="joulebench",
        disable_tqdm=True,
    )
    # Several GPUs would be driven by DataParallel, on batches so many times as large.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def _most_steps(training: Training, examples: int) -> int:
    """Return at how many steps to stop before the epochs are over; -1 if these end first.

    The engine itself would go on past the epochs, a stage's own few ones too.
    """
    batches = math.ceil(examples / (training.batch_size * training.processes))
    steps = math.ceil(training.epochs * math.ceil(batches / training.accumulation))
    capped = training.max_steps is not None and training.max_steps < steps
    return cast("int", training.max_steps) if capped else -1


def _tensorboard(folder: Path) -> TrainerCallback:
    from torch.utils.tensorboard import SummaryWriter  # a package that few have, and slow

    return TensorBoardCallback(SummaryWriter(str(folder)))


def _strategy(training: Training) -> str:
    return "epoch" if training.evaluate_every is None else "steps"


def _as_fetched(batch: Any) -> Any:
    """Collate nothing: ``__getitems__`` has made the batch."""
    return batch
