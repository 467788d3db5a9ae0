"""The command that measures the same again, found by composing today's configuration.

A command is pasted into a shell, so nothing of a record gets into it unseen: keys and values are
plain words and numbers, what is instantiated (``_target_``) comes from this package alone, and
interpolations are refused. Where that does not reach, there is no command, and the card says so.
"""

from __future__ import annotations

import json
import re
import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.folders import conf_folder
from bench.records import Record

CHOSEN = ("workload", "technique", "protocol", "runtime")
"""Groups whose options are looked for."""

SECTIONS = (*CHOSEN, "training")
"""Parts of the configuration that shape what is measured; meters are those of the next host."""

_KEY = re.compile(r"[A-Za-z0-9_]+")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./:@+-]*")
_TEXT = re.compile(r"[A-Za-z0-9_ ,./:@+-]*")
_READ_AS_OTHERS = re.compile(r"(true|false|null|none|nan|[+-]?inf|[+-]?[0-9].*)", re.IGNORECASE)
_ELSEWHERE = ("workload.data_root",)
"""Follows from another key."""

_COMPOSING = threading.Lock()
"""Hydra has one state for the whole process, and the dashboard serves several viewers at once."""


class _UnsayableError(ValueError):
    """Something that is not put into a command."""


def command(record: Record) -> str | None:
    """Return the command line of a run; ``None`` if it cannot be given."""
    try:
        return shlex.join(["python", "-m", "bench", *words(record)])
    except _UnsayableError:
        return None


def words(record: Record) -> list[str]:
    """Return the overrides with which today's configuration becomes that of a record."""
    config = record.config
    found: list[str] = []
    for group in CHOSEN:
        found.append(f"{group}={_option(group, config, found)}")
    composed = _composed(found)
    for section in SECTIONS:
        found += _differing(section, composed.get(section), config.get(section))
    found += [f"seed={record.seed}", f"session={record.session_number}"]
    data = config.get("data")
    local = isinstance(data, dict) and data.get("root") is not None
    return [*found, "data.root=DIR"] if local else found


def _option(group: str, config: Mapping[str, Any], before: Sequence[str]) -> str:
    """Return the option of a group that comes nearest to what a record has.

    Names of parts begin with an option's, or the other way round: ``bert_sst2`` is ``bert``.
    """
    section = config.get(group)
    name = str(section.get("name", "")) if isinstance(section, dict) else ""
    plain = name.replace("+", "_")
    options = sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))
    alike = [o for o in options if f"{plain}_".startswith(f"{o}_") or o.startswith(f"{plain}_")]
    best: tuple[int, str] | None = None
    for option in alike:
        composed = _composed([*before, f"{group}={option}"])[group]
        try:
            distance = (len(_differing(group, composed, section)), option)
        except _UnsayableError:
            continue
        best = distance if best is None else min(best, distance)
    if best is None:
        raise _UnsayableError(f"{group}={name}")
    return best[1]


def _composed(words: Sequence[str]) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with _COMPOSING, initialize_config_dir(str(conf_folder()), version_base=None):
        config = compose("config", list(words))
    return {name: OmegaConf.to_container(config[name], resolve=True) for name in SECTIONS}


def _differing(section: str, composed: Any, wanted: Any) -> list[str]:
    """Return what has to be said for one part; knobs that a record lacks are left as they are."""
    there, found = dict(_leaves(section, composed)), []
    for path, value in _leaves(section, wanted):
        if path in _ELSEWHERE or (path in there and there[path] == value):
            continue
        if not all(_KEY.fullmatch(key) for key in path.split(".")) or path.endswith("._target_"):
            raise _UnsayableError(path)
        if any(other.startswith(f"{path}.") for other in there):
            raise _UnsayableError(f"{path} is no group of keys")
        found.append(f"{'' if path in there else '+'}{path}={_value(value)}")
    return found


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}", inner)
    else:
        yield path, value


def _value(value: Any) -> str:
    """Return a value as Hydra reads it back."""
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    if value == {}:
        return "{}"
    if isinstance(value, list):
        return f"[{','.join(_value(item) for item in value)}]"
    if isinstance(value, str) and _WORD.fullmatch(value) and not _READ_AS_OTHERS.fullmatch(value):
        return value
    if isinstance(value, str) and _TEXT.fullmatch(value):
        return f"'{value}'"
    raise _UnsayableError(f"{value!r}")
