"""Small tasks with their answers, made up from a few words, and a tokenizer of these words."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from transformers import BertTokenizer

from bench.workloads.causal_lm import CausalLm
from bench.workloads.causal_lm.cleaning import cleaned
from bench.workloads.causal_lm.rows import Rows
from bench.workloads.checkpoints import of_words
from bench.workloads.files import Row

SIZES = {"train": 1_600, "validation": 200, "test": 200}

_OPPOSITES = {
    **{"hot": "cold", "big": "small", "early": "late", "wet": "dry", "loud": "quiet"},
    **{"new": "old", "high": "low", "fast": "slow", "open": "shut", "rich": "poor"},
}
_COLOURS = {
    **{"grass": "green", "snow": "white", "coal": "black", "blood": "red", "sand": "yellow"},
    **{"sky": "blue", "bark": "brown", "ash": "grey"},
}
_NAMES = ("anna", "ben", "carla", "david", "emma", "felix", "greta", "hugo", "ida", "jonas")
_TIMES = {"morning": "good morning", "evening": "good evening", "night": "sleep well"}
_PLACES = ("at home", "in the garden", "by the sea", "on the hill", "")


@dataclass(frozen=True)
class Sentences(CausalLm):
    """A generated data set with a tokenizer made on the spot: nothing is shipped or downloaded.

    Small tasks whose answer follows from the words: an opposite, a colour, a greeting, an echo. As
    ``text`` they stand one after the other with their answers.
    """

    def __post_init__(self) -> None:
        """Refuse impossible knobs."""
        super().__post_init__()
        if self.layout == "columns":
            raise ValueError(
                "workload.layout is 'columns': generated rows are instructions or text"
            )

    @property
    def tokenizer(self) -> Any:
        """A tokenizer of the words of the generated tasks."""
        return tokenizer()

    @cached_property
    def _rows(self) -> Rows:
        tables = {split: drawn(split) for split in SIZES}
        required = [0, 2]
        if self.layout == "text":
            tables = {s: [(" ".join(row),) for row in table] for s, table in tables.items()}
            required = [0]
        kept, effects = cleaned(tables, self.cleaning, required)
        origin = {
            "source": self.dataset,
            "rows_found": SIZES,
            "cleaning": effects,
            "split": "as given",
        }
        return Rows(kept, lines=False, origin=origin)


def drawn(split: str) -> list[Row]:
    """Return rows of instruction, input and output, always the same ones."""
    draw = random.Random(f"joulebench {split}")
    return [_row(draw) for _ in range(SIZES[split])]


def _row(draw: random.Random) -> Row:
    kind = draw.randrange(4)
    if kind == 0:
        word = draw.choice(list(_OPPOSITES))
        return "say the opposite", word, _OPPOSITES[word]
    if kind == 1:
        thing, place = draw.choice(list(_COLOURS)), draw.choice(_PLACES)
        return "say the colour", f"{thing} {place}".strip(), f"the {thing} is {_COLOURS[thing]}"
    if kind == 2:
        name, time = draw.choice(_NAMES), draw.choice(list(_TIMES))
        return f"greet {name} in the {time}", "", f"{_TIMES[time]} {name}"
    names = " ".join(draw.sample(_NAMES, draw.randint(2, 4)))
    return "say it again", names, names


@lru_cache(maxsize=1)
def tokenizer() -> BertTokenizer:
    """Return a tokenizer of the words of the training split; other words fall into letters."""
    return of_words(text for row in drawn("train") for text in row)
