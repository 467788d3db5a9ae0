"""A variant that only pretends is not measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench import proof
from bench.artefacts import Card
from bench.evaluation import Evaluation
from bench.proof import ProofError
from bench.records import Artefact
from bench.techniques import Technique
from bench.techniques.channels_last import ChannelsLast
from bench.techniques.half import Half
from bench.techniques.int8.static import Int8Static

BF16 = Half("bf16", "bf16")
SEEN = Evaluation((), (), {}, {}, None, ("aten::mm [float]",), (), True)


def card(bytes_: int) -> Card:
    return Card(Artefact("ab" * 32, bytes_, "cd" * 32), 1, 1, "none", 1, {}, {}, (), (), None, {})


def judged(technique: Technique, after: int = 50, **changes: Any) -> None:
    proof.require(technique, (card(100), card(after)), replace(SEEN, **changes))


def test_a_smaller_artefact_that_reloads_is_measured() -> None:
    judged(BF16)
    judged(Int8Static("int8_static", 1, 1), kernels=("onednn::qconv_pointwise [unsigned char]",))


@pytest.mark.parametrize(
    ("technique", "changes", "told"),
    [
        (BF16, {"after": 100}, "bf16 is not what it promises.* artefact has 100 bytes.*100"),
        (BF16, {"reload_exact": False}, "does not give the outputs of its maker"),
        (BF16, {"simulations": ("conv1 (FakeQuantize)",)}, r"still simulates: conv1 \(FakeQuan"),
        (
            Int8Static("int8_static", 1, 1),
            {},
            r"no kernel is named after qconv or qlinear or int8; a profile shows aten::mm",
        ),
    ],
)
def test_a_broken_promise_is_refused_with_what_was_seen(
    technique: Technique, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ProofError, match=told):
        judged(technique, **changes)


def test_who_promises_no_smaller_artefact_is_not_held_to_one() -> None:
    judged(ChannelsLast("channels_last"), after=100)


def test_the_baseline_against_itself_promises_nothing() -> None:
    judged(Technique("none"), after=100, reload_exact=False)
