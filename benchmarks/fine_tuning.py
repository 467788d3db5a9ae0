"""Fine-tuning on GLUE: the harness against transformers' own ``Trainer`` script.

    python -m benchmarks.fine_tuning data.root=DIR                       60 steps an arm and turn
    python -m benchmarks.fine_tuning data.root=DIR workload.task=mrpc training.max_steps=100

The rival is ``examples/pytorch/text-classification/run_glue.py`` of transformers without its
command line: the same model, rows, batch, optimiser, precision and grouping by length. Both take
turns in blocks (ABBA, BAAB); the ratio is of examples per second and has the interval of any pair.
Above 1 the harness is faster.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import datasets
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

from bench.folders import conf_folder
from bench.training.recipe import Training
from bench.workloads.language import Glue
from bench.workloads.language.tasks import TASKS
from benchmarks.overhead import Stopwatch, alternate, our_training

BLOCKS = 4
STEPS = 60


class _Steps(TrainerCallback):
    def __init__(self, stopwatch: Stopwatch) -> None:
        self.stopwatch = stopwatch

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note that a step has ended."""
        self.stopwatch.step()


def plain_trainer(
    workload: Glue, training: Training, rows: datasets.Dataset
) -> tuple[float, float]:
    """Fine-tune as the library's example does, and return wall and CPU-seconds."""
    stopwatch = Stopwatch()
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            max_steps=training.max_steps or -1,
            num_train_epochs=training.epochs,
            per_device_train_batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
            warmup_steps=training.warmup,
            max_grad_norm=training.clipping,
            bf16=training.precision == "bf16",
            train_sampling_strategy="group_by_length" if workload.bucketing else "random",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Trainer(
            model=workload.build(0),
            args=arguments,
            train_dataset=rows,
            data_collator=DataCollatorWithPadding(workload.tokenizer),
            callbacks=[_Steps(stopwatch)],
        )
        trainer.train()
    return stopwatch.seconds


def tokenised(workload: Glue) -> datasets.Dataset:
    """Return the rows as the example prepares them, once and before its clock starts."""
    task = TASKS[workload.task]
    table = workload._table("train")
    return table.map(
        lambda row: workload.tokenizer(
            *(row[column] for column in task.columns),
            truncation=True,
            max_length=workload.max_length,
        ),
        batched=True,
        remove_columns=[*task.columns, *({"idx"} & set(table.column_names))],
    )


def main(overrides: list[str]) -> None:
    """Measure both and print the ratio."""
    with initialize_config_dir(str(conf_folder()), version_base=None):
        config = compose("config", ["workload=minilm", f"training.max_steps={STEPS}", *overrides])
    workload, training = (
        instantiate(config[part], _convert_="all") for part in ("workload", "training")
    )
    rows = tokenised(workload)
    wall, cpu = alternate(
        "fine-tuning",
        lambda: plain_trainer(workload, training, rows),
        lambda: our_training(workload, training, 0),
        BLOCKS,
    )
    for name, found in (("wall", wall), ("CPU", cpu)):
        # The ratio is of seconds, ours over theirs; of throughputs it is the inverse.
        print(
            f"examples per {name} second, harness over Trainer: {1 / found.ratio:.3f} "
            f"[{1 / found.high:.3f}, {1 / found.low:.3f}]"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
