"""How a model is served: as it is, or compiled, with inputs that suit it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import EAGER, Tiny

BATCH = {"pixels": torch.zeros(2, 3, 8, 8), "labels": torch.tensor([0, 1])}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_inputs_take_the_models_dtype_and_integers_keep_theirs(dtype: torch.dtype) -> None:
    given = EAGER.inputs(BATCH, Tiny().build(0).to(dtype))
    assert given["pixels"].dtype == dtype
    assert given["labels"].dtype == torch.int64
    assert BATCH["pixels"].dtype == torch.float32


def test_inputs_and_weights_take_the_memory_format() -> None:
    model = Tiny().build(0)
    plain = EAGER.inputs(BATCH, model)["pixels"]
    last = replace(EAGER, memory_format="channels_last")
    placed = last.place(model)
    turned = last.inputs(BATCH, placed)["pixels"]
    # Strides by hand, for 3 channels of 8x8: rows first, or channels first.
    assert plain.stride() == (192, 64, 8, 1)
    assert turned.stride() == (192, 1, 24, 3)
    assert placed.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    assert not placed.conv2.weight.is_contiguous()
    with torch.inference_mode():
        torch.testing.assert_close(placed(turned), Tiny().build(0).eval()(plain))


def test_placing_turns_training_off() -> None:
    model = Tiny().build(0).train()
    assert not EAGER.place(model).training


def test_eager_calls_the_model_itself_and_compile_something_around_it() -> None:
    model = EAGER.place(Tiny().build(0))
    assert EAGER.compile(model) is model
    compiled = replace(EAGER, mode="compile").compile(model)
    assert compiled is not model
    assert compiled._orig_mod is model


def test_setting_up_sets_threads_and_keeps_fp32_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, frozen = torch.get_num_threads(), torch._inductor.config.freezing
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    try:
        replace(EAGER, threads=1).set_up()
        assert torch.get_num_threads() == 1
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
        replace(EAGER, mode="compile", freezing=not frozen).set_up()
        assert torch._inductor.config.freezing is not frozen
    finally:
        torch.set_num_threads(threads)
        torch._inductor.config.freezing = frozen
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def test_auto_is_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for cuda, auto in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        assert replace(EAGER, device="auto").torch_device.type == auto
        assert EAGER.torch_device.type == "cpu"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mode": "fast"}, r"runtime\.mode is 'fast': one of eager, compile"),
        ({"device": "tpu"}, r"runtime\.device is 'tpu': one of auto, cpu, cuda"),
        ({"memory_format": "blocked"}, r"runtime\.memory_format is 'blocked': one of contiguous"),
        ({"threads": 0}, r"runtime\.threads is 0: this machine has"),
        ({"threads": (os.cpu_count() or 1) + 1}, rf"this machine has {os.cpu_count()} cores"),
        ({"device": "cuda"}, r"runtime\.device=cuda, but torch finds no CUDA device; auto or cpu"),
    ],
)
def test_an_impossible_knob_is_refused(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], told: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=told):
        replace(EAGER, **changes)
