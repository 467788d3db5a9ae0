"""The same model through torch's compiler: what a compiler alone saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from bench.techniques import Setting, Technique, TechniqueError, Terms


@dataclass(frozen=True)
class Compiled(Technique):
    """The variant is compiled, the baseline is not.

    With ``runtime=compile`` both arms are; here the compiler itself is the optimisation, so that
    fp32 compiled stands in one table with bf16 and integers. Compiling once is charged to
    ``convert``. Source: Ansel et al. (2024), PyTorch 2, ASPLOS, doi:10.1145/3620665.3640366.

    Attributes:
        freezing: Whether weights become constants of the compiled graph: 1.2 to 1.3 times faster
            on CPUs.
    """

    freezing: bool

    ends_chain: ClassVar[str] = "a compiled model is neither trained nor changed"
    shrinks: ClassVar[bool] = False

    def require(self, terms: Terms) -> None:
        """Refuse a baseline that is compiled, too, and inputs of changing shape."""
        if terms.mode == "compile":
            raise TechniqueError(
                f"technique={self.name} with runtime=compile compares two compiled arms: "
                f"runtime=eager leaves the baseline as it is"
            )
        terms.workload.require("compile")
        terms.require_compiler(f"technique={self.name}")

    def convert(self, model: nn.Module, setting: Setting) -> nn.Module:
        """Return the model compiled for batches of the workload's size."""
        examples = setting.workload.plain_train_examples()
        rows = [i % len(examples) for i in range(setting.workload.batch_size)]
        device = next(model.parameters()).device
        batch = {name: v.to(device) for name, v in examples.__getitems__(rows).items()}
        model = self.deploy(model)
        with torch.inference_mode():
            setting.workload.forward(model, batch)
        return model

    def deploy(self, model: nn.Module) -> nn.Module:
        """Return the model, compiled at its first call; names of tensors stay."""
        if model._compiled_call_impl is None:
            model.compile(dynamic=False, options={"freezing": self.freezing})
        return model
