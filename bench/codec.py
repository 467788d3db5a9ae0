"""Frozen dataclasses as JSON, both ways, every field checked on the way in."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from typing import Any, Literal, TypeVar

T = TypeVar("T")


class CodecError(ValueError):
    """A value that is not what its field wants; the message names the field."""


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
        CodecError: A field is missing, unknown or of the wrong type.
    """
    return typing.cast("T", _decode(kind, value, where or kind.__name__.lower()))


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _decode_fields(kind, value, where)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = [a for a in arguments if a is not type(None)]
        return _decode(inner, value, where)
    if origin is Literal:
        _require(value in arguments, where, f"one of {arguments}", value)
        return value
    if origin is tuple:
        _require(isinstance(value, list | tuple), where, "a list", value)
        return tuple(_decode(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        _require(isinstance(value, dict), where, "an object", value)
        return {k: _decode(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        _require(number and math.isfinite(value), where, "a finite number", value)
        return float(value)
    _require(isinstance(value, kind), where, kind, value)
    _require(kind is bool or not isinstance(value, bool), where, kind, value)
    return value


def _decode_fields(kind: Any, value: Any, where: str) -> Any:
    _require(isinstance(value, dict), where, "an object", value)
    hints = typing.get_type_hints(kind)
    required = {
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - set(value)):
        raise CodecError(f"{where} lacks {', '.join(missing)}")
    if unknown := sorted(set(value) - set(hints)):
        raise CodecError(f"{where} has fields this schema does not know: {', '.join(unknown)}")
    return kind(**{name: _decode(hints[name], v, f"{where}.{name}") for name, v in value.items()})


def _require(holds: bool, where: str, wanted: object, value: object) -> None:
    if not holds:
        expected = wanted.__name__ if isinstance(wanted, type) else wanted
        raise CodecError(f"{where} should be {expected}, is {value!r}")
