"""Every point of a sweep, composed and looked at before the first one starts.

Hydra composes one point in a tenth of a second; here only combinations of group choices are
composed, and what differs in plain values is set. Parts are built once for equal settings, and no
model more than once: techniques look at empty copies of it.
"""

from __future__ import annotations

import copy
import functools
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from bench.configured import part_of, root_cause

if TYPE_CHECKING:
    from bench.workloads import Workload

log = logging.getLogger("bench")

_LOOKED_AT = ("workload", "technique", "training", "runtime", "protocol", "meter", "limits")
_LAUNCHED_HERE = ("BasicLauncher", "JoblibLauncher", "LocalLauncher")


def points(config: DictConfig) -> list[list[str]] | None:
    """Return the overrides of each point; ``None`` of a sweeper that finds them as it goes.

    Raises:
        HydraException: The words of the sweep cannot be understood.
    """
    sweeper = config.hydra.sweeper
    if not str(sweeper.get("_target_")).endswith(".BasicSweeper"):
        return None
    words = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    words += list(config.hydra.overrides.task)
    overrides = _parser().parse_overrides(words)
    (batch,) = BasicSweeper.split_arguments(overrides, None)
    return batch


def launched_here(config: DictConfig) -> bool:
    """Return whether this host sees the points through: only then can it look at hardware."""
    return str(config.hydra.launcher.get("_target_")).endswith(_LAUNCHED_HERE)


def launched_in_this_process(config: DictConfig) -> bool:
    """Return whether the points are seen through one after the other by this very process."""
    return str(config.hydra.launcher.get("_target_")).endswith(".BasicLauncher")


def told_here(config: DictConfig) -> bool:
    """Return whether what the points print comes to this terminal: submitit keeps it in files."""
    return ".submitit_launcher." not in str(config.hydra.launcher.get("_target_"))


def composed(master: DictConfig, batch: Sequence[Sequence[str]]) -> Iterator[dict[str, Any]]:
    """Yield the resolved configuration of each point.

    Raises:
        HydraException: A point cannot be composed.
    """
    loader = GlobalHydra.instance().config_loader()
    parsed = functools.cache(lambda word: _parser().parse_override(word))
    groups = set(loader.list_groups(""))
    built: dict[tuple[str, ...], DictConfig] = {}
    for words in batch:
        plain = [override for word in words if _is_plain(override := parsed(word), groups)]
        chosen = tuple(word for word in words if not _is_plain(parsed(word), groups))
        if chosen not in built:
            built[chosen] = loader.load_sweep_config(master, list(words))
            with read_write(built[chosen]), open_dict(built[chosen]):
                del built[chosen]["hydra"]
        config = built[chosen]
        for override in plain:
            OmegaConf.update(config, override.key_or_group, override.value())
        yield OmegaConf.to_container(config, resolve=True)  # type: ignore[misc]


def _parser() -> OverridesParser:
    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())


def _is_plain(override: Override, groups: set[str]) -> bool:
    """Whether it sets one value of one key, so that the next point's takes its place."""
    return (
        override.type is OverrideType.CHANGE
        and override.package is None
        and "/" not in override.key_or_group
        and override.key_or_group not in groups
        and not isinstance(override.value(), dict | list)
    )


@dataclass
class Looker:
    """Finds what cannot work, once for equal settings.

    Attributes:
        seconds: After which techniques are no longer held against their models.
        unlooked: Settings of which that was left to their start.
    """

    seconds: float
    unlooked: int = 0
    _built: dict[str, Any] = field(default_factory=dict)
    _found: dict[str, str | None] = field(default_factory=dict)
    _begin: float | None = None

    def refusal(self, config: Mapping[str, Any]) -> str | None:
        """Return why a point cannot be seen through on this host; ``None`` if nothing is known."""
        root = config["data"]["root"]
        if root is not None and not Path(root).expanduser().exists():
            return f"data.root={root} is not there"
        key = json.dumps([config[name] for name in _LOOKED_AT], sort_keys=True, default=str)
        if key not in self._found:
            self._found[key] = self._look(config)
        return self._found[key]

    def _look(self, config: Mapping[str, Any]) -> str | None:
        from bench.asked import require, require_stage
        from bench.meters import MeterError, Meters
        from bench.techniques import TechniqueError

        try:
            require_stage(config["stage"])
            parts = {name: self._part(config, name) for name in _LOOKED_AT}
            if config["meter"]["required"]:
                found = [part for name, part in parts["meter"].items() if name != "required"]
                with Meters(tuple(found), required=True):
                    pass
            self._begin = self._begin or time.monotonic()  # importing libraries takes its time
            if time.monotonic() - self._begin > self.seconds:
                self.unlooked += 1
                return None
            require(
                parts["workload"],
                parts["technique"],
                parts["training"],
                parts["runtime"],
                config["training"],
            )
        except (InstantiationException, TechniqueError, MeterError, ValueError, OSError) as err:
            return str(root_cause(err)).partition("\n")[0]
        except (RuntimeError, NotImplementedError, TypeError) as err:
            # Of an empty copy that somebody has looked into: the point itself will tell.
            log.debug("%s was not held against its model: %s", config["technique"]["name"], err)
        return None

    def _part(self, config: Mapping[str, Any], name: str) -> Any:
        key = json.dumps([name, config[name]], sort_keys=True, default=str)
        if key not in self._built:
            part = part_of(config, name)
            self._built[key] = lean(part) if name == "workload" else part
        return self._built[key]


def lean(workload: Workload) -> Workload:
    """Return a workload that builds each model once, and then gives empty copies of it."""
    slim = copy.copy(workload)

    def once(build: Any) -> Any:
        empty = functools.cache(lambda *key: build(*key).to("meta"))
        return lambda *key, **named: copy.deepcopy(empty(*key, *named.values()))

    for name in ("build", "student"):
        object.__setattr__(slim, name, once(getattr(workload, name)))
    object.__setattr__(slim, "test_examples", functools.cache(workload.test_examples))
    return slim
