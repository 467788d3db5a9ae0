"""Frozen dataclasses as JSON, both ways, every field checked on the way in."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Callable, Mapping, Set
from typing import Any, Literal, TypeVar

T = TypeVar("T")

_Decoder = Callable[[Any], Any]


class CodecError(ValueError):
    """A value that is not what its field wants; the message names the field."""


class _Unfit(Exception):  # noqa: N818 - it never leaves this module
    """What is wrong with a value; ``path`` grows while the error rises through the document."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = ""

    def below(self, part: str) -> _Unfit:
        self.path = part + self.path
        return self


def encode(value: Any) -> str:
    """Return a dataclass as indented JSON with sorted keys.

    Raises:
        ValueError: A figure is NaN or infinite: JSON has neither, and a finding has neither.
    """
    plain = dataclasses.asdict(value)
    return json.dumps(plain, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def decode(kind: type[T], value: Any, where: str = "") -> T:
    """Return a dataclass built from plain JSON values, checking every field.

    Args:
        kind: The dataclass wanted.
        value: A mapping of its fields.
        where: Dotted path of ``value`` in its document, for the error message.

    Raises:
        CodecError: A field is missing, unknown or of the wrong type, or a number is not finite.
    """
    try:
        return typing.cast("T", _decoder(typing.cast("Any", kind))(value))
    except _Unfit as err:
        raise CodecError(f"{where or kind.__name__.lower()}{err.path} {err.problem}") from None


# Types are looked at once, not once per value: a folder may hold 100,000 records of 100 parts each.
@functools.cache
def _decoder(kind: Any) -> _Decoder:
    if dataclasses.is_dataclass(kind):
        return _fields(typing.cast("type", kind))
    if kind is Any:
        return _anything
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = [a for a in arguments if a is not type(None)]
        return _optional(_decoder(inner))
    if origin is Literal:
        return _literal(arguments)
    if origin is tuple:
        return _sequence(_decoder(arguments[0]))
    if origin is dict:
        return _mapping(_decoder(arguments[1]))
    if kind is float:
        return _number
    return _exactly(kind)


def _fields(kind: type) -> _Decoder:
    hints = typing.get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]
    every = frozenset(names)
    fields = [(name, _plain(hints[name]), _decoder(hints[name])) for name in names]
    required = {
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _should("an object", value)
        wanted = fields
        if value.keys() != every:
            _check_names(value, required, every)
            wanted = [field for field in fields if field[0] in value]
        found = {}
        name = ""
        try:
            for name, plain, decoder in wanted:
                inner = value[name]
                found[name] = inner if type(inner) is plain else decoder(inner)
        except _Unfit as err:
            raise err.below(f".{name}") from None
        return kind(**found)

    return read


def _plain(kind: Any) -> type | None:
    """Return the type whose values need no look inside: most fields are words or absent."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return type(None)
    return kind if kind in (str, int, bool) else None


def _check_names(value: Mapping[str, Any], required: Set[str], every: Set[str]) -> None:
    if missing := required - value.keys():
        raise _Unfit(f"lacks {', '.join(sorted(missing))}")
    if unknown := value.keys() - every:
        raise _Unfit(f"has fields this schema does not know: {', '.join(sorted(unknown))}")


def _mapping(decoder: _Decoder) -> _Decoder:
    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _should("an object", value)
        found = {}
        key = ""
        try:
            for key, inner in value.items():
                found[key] = decoder(inner)
        except _Unfit as err:
            raise err.below(f".{key}") from None
        return found

    return read


def _sequence(decoder: _Decoder) -> _Decoder:
    def read(value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            raise _should("a list", value)
        found: list[Any] = []
        try:
            for inner in value:
                found.append(decoder(inner))
        except _Unfit as err:
            raise err.below(f"[{len(found)}]") from None
        return tuple(found)

    return read


def _optional(decoder: _Decoder) -> _Decoder:
    return lambda value: None if value is None else decoder(value)


def _literal(choices: tuple[Any, ...]) -> _Decoder:
    def read(value: Any) -> Any:
        if value not in choices:
            raise _should(f"one of {choices}", value)
        return value

    return read


def _exactly(kind: type) -> _Decoder:
    def read(value: Any) -> Any:
        if type(value) is not kind:  # a bool is an int, but no count
            raise _should(kind.__name__, value)
        return value

    return read


def _number(value: Any) -> float:
    if type(value) not in (float, int) or not math.isfinite(value):
        raise _should("a finite number", value)
    return float(value)


def _anything(value: Any) -> Any:
    """Return what has no type of its own as it is; NaN and infinity are no JSON in there either."""
    if type(value) is float:
        return _number(value)
    if type(value) is dict:
        return _any_object(value)
    if type(value) is list:
        return list(_any_list(value))
    return value


_any_object, _any_list = _mapping(_anything), _sequence(_anything)


def _should(wanted: str, value: object) -> _Unfit:
    return _Unfit(f"should be {wanted}, is {value!r}")
