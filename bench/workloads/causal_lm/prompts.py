"""Prompts: what a model is given before the answer that it has to learn."""

from __future__ import annotations

import re
from collections.abc import Mapping

ALPACA = "alpaca"
"""Name of the published template."""

_OPENING = "Below is an instruction that describes a task"
_REQUEST = "Write a response that appropriately completes the request."
WITH_INPUT = (
    f"{_OPENING}, paired with an input that provides further context. {_REQUEST}\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
WITHOUT_INPUT = f"{_OPENING}. {_REQUEST}\n\n### Instruction:\n{{instruction}}\n\n### Response:"
"""Source: Taori et al. (2023), Stanford Alpaca, ``PROMPT_DICT`` of ``train.py``. The answer follows
the colon at once, as it did in their training."""

_SLOT = re.compile(r"\{(\w+)\}")


def roles(layout: str, template: str) -> tuple[str, ...]:
    """Return what the texts of a row are for; where there is an answer, it is the last of them.

    Raises:
        ValueError: The template does not fit the layout.
    """
    if layout == "text":
        return ("text",)
    named = ("instruction", "input") if template == ALPACA else slots(template)
    if not named or "output" in named:
        raise ValueError(
            f"workload.template is {template!r}: it wants the names of columns in braces, and not "
            f"output, which is the answer"
        )
    if layout == "columns":
        return (*named, "output")
    if not {*named} <= {"instruction", "input"}:
        raise ValueError(
            f"workload.template is {template!r}: workload.layout=instructions has {{instruction}} "
            f"and {{input}}; other columns want workload.layout=columns"
        )
    return ("instruction", "input", "output")


def slots(template: str) -> tuple[str, ...]:
    """Return the names in braces, each once, in their order."""
    return tuple(dict.fromkeys(_SLOT.findall(template)))


def filled(template: str, values: Mapping[str, str]) -> str:
    """Return a template with each ``{name}`` replaced by its text.

    Braces inside the texts are left as they are, and nothing in them is looked up.
    """
    if template == ALPACA:
        template = WITH_INPUT if values["input"] else WITHOUT_INPUT
    return _SLOT.sub(lambda slot: values[slot[1]], template)
