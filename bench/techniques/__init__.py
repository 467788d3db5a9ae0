"""What is done to a model, as hooks that are each the identity by default.

    prepare -> train under objective (examples, after_step) -> convert      making it
    pack -> save | build -> restore -> unpack -> load -> deploy             serving it

The technique that changes nothing *is* the baseline. A technique is a frozen dataclass: its fields
are the knobs, ``__post_init__`` states their range, the docstring cites the paper. One file here
and one YAML in ``conf/technique/`` add one.
"""

from __future__ import annotations

import copy
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench.workloads import Batch, Examples, Workload

Loss = Callable[[nn.Module, Batch], tuple[Tensor, Tensor]]
"""From a model and a batch to the scalar loss and the outputs."""


SHAPE = "shape."
"""Prefix of saved shapes: of weights that a stage has turned into something else, by their name."""


def shape_of(tensors: Mapping[str, Tensor], name: str) -> torch.Size | None:
    """Return the shape that a weight had before it was turned into something else, if saved."""
    if name in tensors:
        return tensors[name].shape
    shape = tensors.get(SHAPE + name)
    return None if shape is None else torch.Size(shape.tolist())


class TechniqueError(RuntimeError):
    """A technique that cannot do what it promises here; the message says why."""


@dataclass(frozen=True)
class Setting:
    """What a technique may look at.

    Attributes:
        workload: Data to calibrate on, losses, an example input.
        baseline: The trained baseline, in evaluation mode; a teacher. Never change it. Whoever
            ``begins_anew`` is given an empty module, so that no baseline takes memory.
        seed: For whatever is drawn at random.
        place: Device of the work; ``None`` is the baseline's.
    """

    workload: Workload
    baseline: nn.Module
    seed: int
    place: torch.device | None = None

    @property
    def device(self) -> torch.device:
        """Device of the work."""
        return self.place or next(self.baseline.parameters()).device

    def drawn(self, count: int, batch_size: int) -> Iterator[Batch]:
        """Give training examples, drawn by the seed and not augmented, a batch at a time.

        Data may be sorted by class: the first rows would show one of them. They are drawn from the
        end of the order whose beginning ``training.validation`` keeps: nothing is fitted to rows
        that trials of a search are judged by, unless there are too few.

        Args:
            count: Examples, or all if there are fewer.
            batch_size: In each batch; the last may be smaller.
        """
        examples = self.workload.plain_train_examples()
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(examples), generator=generator).tolist()[::-1][:count]
        for start in range(0, len(order), batch_size):
            batch = examples.__getitems__(order[start : start + batch_size])
            yield {name: value.to(self.device) for name, value in batch.items()}

    def rounded(self, model: nn.Module, dtype: torch.dtype) -> nn.Module:
        """Return the model with every floating tensor in 16 bits that the workload gives up."""
        parts = self.workload.full_precision(model)
        kept = [(part, copy.deepcopy(part.state_dict())) for part in parts]
        # Whoever loads the model computes anew what is in no file, such as rotary frequencies.
        saved = model.state_dict().keys()
        computed = {name: b for name, b in model.named_buffers() if name not in saved}
        model = model.to(dtype)
        for name, buffer in computed.items():
            place, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(place), leaf, buffer)
        for part, state in kept:
            part.float().load_state_dict(state)
        return model


@dataclass(frozen=True)
class Terms:
    """What a pair is to be made and served under, known before anything is trained.

    Attributes:
        workload: Of the pair.
        training: The baseline's recipe, as configured.
        mode: ``eager`` or ``compile``: how both arms are served.
        device: Where.
        alone: Whether a stage is all that is done, so that it has to keep its promise by itself.
    """

    workload: Workload
    training: Mapping[str, Any]
    mode: str
    device: torch.device
    alone: bool = True

    def require_compiler(self, key: str) -> None:
        """Refuse to compile for a CPU where there is no compiler: torch would find out at the end.

        Args:
            key: What asks for it.

        Raises:
            TechniqueError: The one that torch takes (torch/_inductor/config.py) is not installed.
        """
        program = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
        there = shutil.which(shlex.split(program)[0])
        if self.device.type != "cpu" or sys.platform == "win32" or there:
            return
        raise TechniqueError(
            f"{key} compiles with {program}, which is not installed (Debian: apt-get install g++); "
            f"the environment variable CXX names another"
        )


@dataclass(frozen=True)
class Technique:
    """The baseline against itself: an A/A pair, whose interval is the noise floor of the host.

    Attributes:
        name: As in results and tables.
    """

    name: str

    ends_chain: ClassVar[str] = ""
    """Why no other stage can follow this one; empty if one can."""
    begins_chain: ClassVar[str] = ""
    """Why no other stage can come before this one; empty if one can."""
    begins_anew: ClassVar[bool] = False
    """Whether it starts from initial weights and never looks at the trained baseline."""
    undone_by_training: ClassVar[str] = ""
    """Why no later stage may train; empty if one may."""
    shrinks: ClassVar[bool] = True
    """Whether it promises a smaller artefact; one that promises and does not is not measured."""
    kernels: ClassVar[tuple[str, ...]] = ()
    """Of these parts of kernels' names one must be seen when serving; empty promises none."""

    @property
    def label(self) -> str:
        """Name with the knobs that tell two variants of it apart, as printed in tables."""
        return self.name

    @property
    def stages(self) -> tuple[Technique, ...]:
        """Steps done one after the other, each prepared, trained and converted by itself."""
        return () if type(self) is Technique else (self,)

    @property
    def sparsity(self) -> str:
        """Kind of the zeros that this stage makes on purpose, such as ``unstructured``."""
        return "none"

    @property
    def recipe(self) -> Mapping[str, Any] | None:
        """What this stage changes in the training recipe; ``None`` if it trains nothing."""
        return None

    def require(self, terms: Terms) -> None:
        """Refuse what this technique cannot do, before anything is trained.

        Raises:
            TechniqueError: The message names the key and the way out.
        """

    def require_training(self, terms: Terms, way_out: str) -> None:
        """Refuse a workload that cannot be trained, and a recipe of no epochs.

        For techniques that are nothing without training: they call it from ``require``.

        Args:
            terms: As for ``require``.
            way_out: What stands behind the technique's name where there are no epochs.

        Raises:
            TechniqueError: There are none.
            WorkloadError: The workload says why it cannot be trained.
        """
        terms.workload.require_trainable(f"technique={self.name}")
        if {**terms.training, **(self.recipe or {})}.get("epochs") == 0:
            raise TechniqueError(f"technique={self.name} {way_out}")

    def prepare(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model to train: pruned, with adapters, a smaller student, ..."""
        return model

    def examples(self, examples: Examples, setting: Setting) -> Examples:
        """Return the examples to train on, with what the objective wants beside them."""
        return examples

    def objective(self, loss: Loss, setting: Setting) -> Loss:
        """Return the loss to train under, given the task's own; a module is trained, too."""
        return loss

    def after_step(self, model: nn.Module, done: float) -> None:
        """Change the model in training; ``done`` in (0, 1] is the fraction of steps behind it."""

    def convert(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model to serve: quantized, cast, merged, ..."""
        return model

    def pack(self, model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the plain tensors to save, given those of the model's state."""
        return tensors

    def restore(
        self, model: nn.Module, tensors: Mapping[str, Tensor], workload: Workload
    ) -> nn.Module:
        """Return a freshly built model shaped so that the saved ``tensors`` fit into it."""
        return model

    def unpack(self, model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the state to load into the restored model, given the saved tensors."""
        return tensors

    def deploy(self, model: nn.Module) -> nn.Module:
        """Return the loaded model laid out as it is served: a memory format, say."""
        return model


@dataclass(frozen=True)
class Chain(Technique):
    """Several techniques, one after the other.

    Attributes:
        steps: Techniques by a name of their own, in order.
    """

    steps: Mapping[str, Technique]

    def __post_init__(self) -> None:
        """Refuse a chain of nothing, and an order that cannot work."""
        if not self.stages:
            raise ValueError("technique.steps is empty: a chain needs at least one technique")
        for index, stage in enumerate(self.stages):
            before, after = self.stages[:index], self.stages[index + 1 :]
            # Stages of one technique, as those of iterative pruning, know their own order.
            foreign = [s for s in before if s.name != stage.name]
            if foreign and stage.begins_chain:
                raise ValueError(
                    f"technique.steps: {stage.name} comes after {foreign[-1].name}, but "
                    f"{stage.begins_chain}; put it first"
                )
            if after and stage.ends_chain:
                raise ValueError(
                    f"technique.steps: {after[0].name} comes after {stage.name}, but "
                    f"{stage.ends_chain}; put it last"
                )
            trains = [s.name for s in after if s.recipe is not None and s.name != stage.name]
            if trains and stage.undone_by_training:
                raise ValueError(
                    f"technique.steps: {trains[0]} trains after {stage.name}, but "
                    f"{stage.undone_by_training}; put {stage.name} behind it"
                )

    @property
    def label(self) -> str:
        """Labels of the steps, joined."""
        return " + ".join(step.label for step in self.steps.values() if step.stages)

    @property
    def stages(self) -> tuple[Technique, ...]:
        """The stages of every step, in order."""
        return tuple(stage for step in self.steps.values() for stage in step.stages)
