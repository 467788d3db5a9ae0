"""Language models that are fine-tuned: GPT-2, GPT-J, Llama, Qwen and their like, on any texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from bench.workloads import Batch, Examples, WorkloadError
from bench.workloads.causal_lm import decoding, models
from bench.workloads.causal_lm.sequences import IGNORED, prompts_of
from bench.workloads.causal_lm.texts import Texts
from bench.workloads.checkpoints import require_fit, shape_named, tokenizer


@dataclass(frozen=True)
class CausalLm(Texts):
    """A causal model of transformers on instructions with answers, or on plain text.

    What it is trained on is told by the knobs of ``Texts``.

    Attributes:
        model: Hub id, local folder, or ``package:<name>/<folder>`` inside an installed package.
        pretrained: Take the model's weights; else its architecture with random ones, whose joules
            are valid and whose losses cannot be compared with published figures.
        architecture: transformers' configuration of the model, ``model_type`` among it: what is
            built where ``pretrained`` is false, so that no hub is asked for it.
        dtype: Of the weights: ``fp32`` or ``bf16``, in training and in serving, both arms.
        vocabulary: Hub id or local folder of another tokenizer; ``None`` takes the model's.
        serve: What a measured window does: ``prefill`` or ``decode``. Items are tokens.
        prompt_tokens: Tokens of a prompt in a window.
        decode_tokens: Tokens made after each.
        default_student: The smaller model that techniques take unless ``technique.student`` names
            another: see ``student``.
    """

    model: str
    pretrained: bool
    architecture: Mapping[str, Any]
    dtype: Literal["fp32", "bf16"]
    vocabulary: str | None
    serve: Literal["prefill", "decode"]
    prompt_tokens: int
    decode_tokens: int
    default_student: str

    item: ClassVar[str] = "token"

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        super().__post_init__()
        for key, known in (("dtype", tuple(models.DTYPES)), ("serve", ("prefill", "decode"))):
            if (value := getattr(self, key)) not in known:
                raise ValueError(f"workload.{key} is {value!r}: one of {', '.join(known)}")
        for key in ("prompt_tokens", "decode_tokens"):
            if (value := getattr(self, key)) < 1:
                raise ValueError(f"workload.{key} is {value}: at least one token")

    @property
    def metric(self) -> str:
        """Mean log-likelihood of a token that has to be predicted, in nats."""
        return "log_likelihood"

    @property
    def tokenizer(self) -> Any:
        """The tokenizer that makes the model's inputs."""
        return tokenizer(self.vocabulary or self.model)

    def require(self, mode: str) -> None:
        """Refuse to compile for shapes that change from batch to batch or token to token."""
        if mode != "compile":
            return
        if self.serve == "decode":
            raise WorkloadError(
                "workload.serve=decode with runtime=compile would be compiled anew for each "
                "token, since the cache grows: take runtime=eager"
            )
        if self.padding == "longest" and self.layout != "text":
            raise WorkloadError(
                "workload.padding=longest with runtime=compile would be compiled anew for each "
                "length: take workload.padding=fixed, and a workload.block that fits the data"
            )

    def build(self, seed: int) -> PreTrainedModel:
        """Return the model.

        Raises:
            WorkloadError: There is no such model, or it does not fit the tokenizer.
        """
        torch.manual_seed(seed)
        if self.pretrained:
            model = models.pretrained(self.model, self.dtype)
        else:
            model = models.fresh(self.architecture, self.dtype)
        self._require_fit(model)
        return model

    def student(self, name: str, seed: int) -> nn.Module:
        """Return a smaller model for the same texts.

        Args:
            name: ``3L`` for three of the layers, taken evenly with their initial weights;
                ``4L-512`` for four fresh layers of that width; else a hub id or local folder.
            seed: Of random weights.
        """
        torch.manual_seed(seed)
        if (shape := shape_named(name)) is not None:
            return models.smaller(self.build(seed), shape, name)
        model = models.pretrained(name, self.dtype, key="technique.student")
        self._require_fit(model)
        return model

    def served_examples(self) -> Examples:
        """Return prompts of ``prompt_tokens`` out of the held-out split."""
        return prompts_of(self._sequences["test"], self.prompt_tokens)

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return logits of each next token, shape ``(batch, tokens, vocabulary)``."""
        logits: Tensor = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        )["logits"]
        return logits

    def loss(self, outputs: Tensor, batch: Batch, smoothing: float) -> Tensor:
        """Return the mean cross-entropy of the batch's targets, in nats."""
        return F.cross_entropy(
            outputs.flatten(0, 1).float(),
            _foretold(batch["targets"]).flatten(),
            ignore_index=IGNORED,
            label_smoothing=smoothing,
        )

    @property
    def answers_repeat(self) -> bool:
        """No: a vocabulary of logits for each token of the split is more than memory holds."""
        return False

    def decisions(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the logits of those tokens that have to be predicted: ``(tokens, vocabulary)``."""
        return outputs[_foretold(batch["targets"]) != IGNORED]

    def predict(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the summed cross-entropy of each example's targets, in nats."""
        pairs = zip(outputs, _foretold(batch["targets"]), strict=True)
        found = [  # one by one: logits are large
            F.cross_entropy(logits.float(), targets, ignore_index=IGNORED, reduction="sum")
            for logits, targets in pairs
        ]
        return torch.stack(found)

    def serving(self, model: nn.Module, batch: Batch) -> tuple[Callable[[], None], int]:
        """Return a pass over prompts and the number of tokens that it reads or makes."""
        if self.serve == "decode":
            return decoding.decode(model, batch, self.decode_tokens)
        return decoding.prefill(model, batch)

    def score(self, labels: np.ndarray, predictions: np.ndarray) -> Mapping[str, float]:
        """Return the mean log-likelihood and loss of a token in nats, and the perplexity.

        Args:
            labels: Tokens that each example had to predict.
            predictions: Their summed cross-entropy in nats.
        """
        loss = float(np.sum(predictions, dtype=np.float64) / np.sum(labels))
        with np.errstate(over="ignore"):  # a model that has diverged
            return {"log_likelihood": -loss, "loss": loss, "perplexity": float(np.exp(loss))}

    def _require_fit(self, model: PreTrainedModel) -> None:
        made = self.decode_tokens if self.serve == "decode" else 0
        positions, said = self.block, f"workload.block={self.block}"
        if self.prompt_tokens + made > positions:
            positions = self.prompt_tokens + made
            said = f"workload.prompt_tokens={self.prompt_tokens}, workload.decode_tokens={made}"
        require_fit(model, self.tokenizer, positions, said)


def _foretold(targets: Tensor) -> Tensor:
    """Return at each place the target after it, which is what the model says there."""
    return F.pad(targets[:, 1:], (0, 1), value=IGNORED)
