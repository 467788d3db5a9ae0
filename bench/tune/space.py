"""What a search may draw: knobs of the technique and of the training, with their ranges."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = str | int | float | bool | None

TECHNIQUE = "technique"
"""The key under which the technique itself is drawn."""

_FIELDS = ("choices", "low", "high", "step", "log", "when")
_PARTS = (TECHNIQUE, "training")
_FIXED = ("technique._target_", "technique.name", "training.validation")
_DIGITS = 4
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_READ_AS_OTHERS = re.compile(r"(true|false|null|none|nan|inf)", re.IGNORECASE)
_SHAPE = "a knob has choices, or low and high (with step or log, and when)"


@dataclass(frozen=True)
class Knob:
    """One dimension of the search.

    Attributes:
        key: Of the configuration, such as ``technique.ratio``.
        choices: Words, numbers, truth values or null; empty for a range.
        low: Lower end of a range, included.
        high: Upper end, included.
        step: Between values; ``None`` for any, of whole numbers 1.
        log: Whether values are drawn by their logarithm.
        when: Choices of the technique under which it is drawn; empty for all.
    """

    key: str
    choices: tuple[Value, ...]
    low: float
    high: float
    step: float | None
    log: bool
    when: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn from."""
        where = f"tuner.space.{self.key}"
        if self.key.partition(".")[0] not in _PARTS or self.key == "training":
            raise ValueError(
                f"{where}: a search draws knobs of technique and training; what a model is served, "
                f"measured or judged by is the same for all trials"
            )
        if self.key in _FIXED or self.key.endswith("._target_"):
            raise ValueError(f"{where}: what this says is the same for all trials")
        if self.choices:
            self._require_choices(where)
        else:
            self._require_range(where)

    def _require_choices(self, where: str) -> None:
        if len(set(map(repr, self.choices))) < max(2, len(self.choices)):
            raise ValueError(f"{where}.choices is {list(self.choices)}: two different ones or more")
        for choice in self.choices:
            plain = isinstance(choice, str) and _WORD.fullmatch(choice)
            if isinstance(choice, str) and (not plain or _READ_AS_OTHERS.fullmatch(choice)):
                raise ValueError(f"{where}.choices has {choice!r}: words, numbers, true, null only")

    def _require_range(self, where: str) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{where}: low={self.low}, high={self.high}: low lies below high")
        if self.log and self.low <= 0:
            raise ValueError(f"{where}: low={self.low} has no logarithm: log=false, or above 0")
        if self.step is not None and (self.log or not 0 < self.step <= self.high - self.low):
            raise ValueError(
                f"{where}.step is {self.step}: above 0, within the range, and not with log=true"
            )

    @property
    def whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        ends = (self.low, self.high, 1 if self.step is None else self.step)
        return not self.choices and all(isinstance(end, int) for end in ends)

    @property
    def ends(self) -> tuple[Value, ...]:
        """Values that a configuration must be able to take: all choices, or both ends."""
        return self.choices or (self.low, self.high)

    def asked(self, drawn: Mapping[str, Value]) -> bool:
        """Return whether it is to be drawn, given the technique."""
        return not self.when or drawn.get(TECHNIQUE) in self.when

    def draw(self, trial: Trial) -> Value:
        """Return the value that the sampler has for this knob in a trial."""
        if self.choices:
            drawn: Value = trial.suggest_categorical(self.key, list(self.choices))
            return drawn
        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(
                self.key, int(self.low), int(self.high), step=step, log=self.log
            )
        value = trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)
        return self.readable(value)

    def readable(self, value: float) -> float:
        """Return a number with four digits, within the range: nobody pastes sixteen."""
        return min(max(float(f"{value:.{_DIGITS}g}"), float(self.low)), float(self.high))


def knobs(space: Mapping[str, Any]) -> tuple[Knob, ...]:
    """Return the knobs of a configured space, the technique first.

    Raises:
        ValueError: The message names the key, its value and what is meant.
    """
    found = sorted(_found("", space), key=lambda knob: knob.key != TECHNIQUE)
    if not found:
        raise ValueError(f"tuner.space is empty: name the knobs to draw; {_SHAPE}")
    techniques = found[0].choices if found[0].key == TECHNIQUE else ()
    for knob in found:
        if unknown := [name for name in knob.when if name not in techniques]:
            raise ValueError(
                f"tuner.space.{knob.key}.when has {unknown[0]}: one of "
                f"tuner.space.technique.choices ({', '.join(map(str, techniques)) or 'none'})"
            )
    return tuple(found)


def overrides(drawn: Mapping[str, Value]) -> list[str]:
    """Return drawn values as Hydra takes them on a command line."""
    return [f"{key}={_word(value)}" for key, value in drawn.items()]


def _found(path: str, node: Any) -> Iterator[Knob]:
    if not isinstance(node, Mapping):
        raise ValueError(f"tuner.space.{path} is {node!r}: {_SHAPE}")
    if own := {name: node[name] for name in _FIELDS if name in node}:
        yield _knob(path, own)
    for name, inner in node.items():
        if name not in _FIELDS:
            yield from _found(f"{path}.{name}" if path else str(name), inner)


def _knob(key: str, given: Mapping[str, Any]) -> Knob:
    ranged = {"low", "high"} <= given.keys()
    if ranged is ("choices" in given) or ("choices" in given and {"step", "log"} & given.keys()):
        raise ValueError(f"tuner.space.{key} has {', '.join(given)}: {_SHAPE}")
    for name in ("choices", "when"):
        if name in given and (
            not isinstance(given[name], Sequence) or isinstance(given[name], str)
        ):
            raise ValueError(f"tuner.space.{key}.{name} is {given[name]!r}: a list, [a, b]")
    for name in ("low", "high", "step"):
        value = given.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"tuner.space.{key}.{name} is {value!r}: a number")
    return Knob(
        key,
        tuple(given.get("choices", ())),
        given.get("low", 0),
        given.get("high", 0),
        given.get("step"),
        bool(given.get("log", False)),
        tuple(given.get("when", ())),
    )


def _word(value: Value) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, int | float) else value
