"""How a model is served: the same way for both arms."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.workloads import Batch

# Whoever imports torchao is told about its enums, twice a process.
logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Runtime:
    """Device, threads and execution mode; ``conf/runtime/*.yaml`` holds the values.

    Attributes:
        name: As in results.
        mode: ``eager``, or ``compile`` (torch.compile, static shapes).
        device: ``auto`` takes CUDA where there is one, else the CPU.
        threads: Intra-op threads on the CPU; ``None`` leaves torch's choice (physical cores).
        memory_format: ``contiguous``, or ``channels_last`` for models of images.
        freezing: With ``compile``: weights become constants of the compiled graph.
        tf32: Whether GPUs may compute fp32 with 10 bits of mantissa (Ampere and later).
    """

    name: str
    mode: Literal["eager", "compile"]
    device: Literal["auto", "cpu", "cuda"]
    threads: int | None
    memory_format: Literal["contiguous", "channels_last"]
    freezing: bool
    tf32: bool

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        for key, known in (
            ("mode", ("eager", "compile")),
            ("device", ("auto", "cpu", "cuda")),
            ("memory_format", ("contiguous", "channels_last")),
        ):
            if (value := getattr(self, key)) not in known:
                raise ValueError(f"runtime.{key} is {value!r}: one of {', '.join(known)}")
        if self.threads is not None and not 1 <= self.threads <= (os.cpu_count() or 1):
            raise ValueError(
                f"runtime.threads is {self.threads}: this machine has {os.cpu_count()} cores"
            )
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("runtime.device=cuda, but torch finds no CUDA device; auto or cpu")

    @property
    def torch_device(self) -> torch.device:
        """The device that ``auto`` means here."""
        cuda = self.device != "cpu" and torch.cuda.is_available()
        return torch.device("cuda" if cuda else "cpu")

    def set_up(self, cold: bool = False) -> None:
        """Set process-wide switches; call once, before any model is loaded.

        Args:
            cold: Compile without the compiler's caches, so that what compiling costs one arm does
                not depend on what the other arm or an earlier run has left there.
        """
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        torch.backends.cudnn.allow_tf32 = self.tf32
        if self.mode == "compile":
            import torch._inductor.config as inductor

            inductor.freezing = self.freezing
            inductor.force_disable_caches = cold

    def describe(self) -> dict[str, Any]:
        """Return what ``auto`` and ``null`` came to in this process, for the record."""
        device = self.torch_device
        cuda = device.type == "cuda"
        return {
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "torch_threads": torch.get_num_threads(),
            "cuda": torch.version.cuda if cuda else None,
            "matmul_precision": torch.get_float32_matmul_precision(),
        }

    def synchronise(self) -> None:
        """Wait until the device has done all that was asked of it."""
        if self.torch_device.type == "cuda":
            torch.cuda.synchronize()

    def place(self, model: nn.Module) -> nn.Module:
        """Return the model in evaluation mode on the device, not yet compiled."""
        model.eval()  # an exported graph returns nothing here
        return model.to(self.torch_device).to(memory_format=self._format)

    def compile(self, model: nn.Module) -> nn.Module:
        """Return what is called in windows; the compiler itself works at the first call."""
        if self.mode == "eager":
            return model
        return torch.compile(model, dynamic=False)  # type: ignore[return-value]

    def inputs(self, batch: Batch, model: nn.Module) -> Batch:
        """Return a batch as this model takes it: its device, its dtype, the memory format."""
        dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
        return {name: self._input(value, dtype) for name, value in batch.items()}

    @property
    def _format(self) -> torch.memory_format:
        last = self.memory_format == "channels_last"
        return torch.channels_last if last else torch.preserve_format

    def _input(self, value: Tensor, dtype: torch.dtype) -> Tensor:
        value = value.to(self.torch_device)
        if value.is_floating_point():
            value = value.to(dtype)
        if value.dim() == 4 and self.memory_format == "channels_last":
            value = value.contiguous(memory_format=torch.channels_last)
        return value
