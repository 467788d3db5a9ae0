"""What is wrong with a command line, in words, and the nearest thing that would be right."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any

from hydra.errors import InstantiationException, MissingConfigException
from omegaconf import OmegaConf

from bench.configured import root_cause
from bench.folders import conf_folder

_EXTRAS = {
    "joblib": "joblib",
    "submitit_local": "slurm",
    "submitit_slurm": "slurm",
    "ray": "ray",
}
"""Which extra of this package brings which of Hydra's launchers."""


def explained(err: Exception, config: str = "config") -> str:
    """Return what is wrong with the command line, and the nearest thing that would be right.

    Args:
        err: What was raised.
        config: Name of the configuration that was composed.
    """
    if isinstance(err, InstantiationException):
        return str(root_cause(err))
    text = str(err).strip()
    if isinstance(err, MissingConfigException) and err.missing_cfg_file and err.options:
        group, _, choice = err.missing_cfg_file.rpartition("/")
        if extra := _EXTRAS.get(choice) if group == "hydra/launcher" else None:
            return f"launcher {choice} is not installed: pip install 'joulebench[{extra}]'"
        near = _nearest(choice, err.options)
        return f"{group}={choice}: there is no such {group}. {near} All: {', '.join(err.options)}"
    if unknown := re.search(r"Could not override '([^']+)'", text):
        return f"{unknown[1]}: there is no such key. {_swept(unknown[1])}" + _nearest(
            unknown[1], _keys(config)
        )
    return text


def _swept(key: str) -> str:
    """Say how to give a key that only a sweep's choices have: Hydra asks the default first."""
    group = key.partition(".")[0]
    words = [word for word in sys.argv[1:] if word.startswith((f"{group}=", f"{key}="))]
    if not any("," in word for word in words if word.startswith(f"{group}=")):
        return ""
    value = next(word.partition("=")[2] for word in words if word.startswith(f"{key}="))
    return f"{group} is swept: {key}='choice({value})' sets it, where every choice has it. "


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}?" if near else "Nothing is named alike."


def _keys(config: str) -> list[str]:
    """Return every key of the configuration with the groups chosen on the command line."""
    from hydra import compose, initialize_config_dir

    others = {"hydra", "table", *(() if config == "tune" else ("tuner",))}
    groups = {path.name for path in conf_folder().iterdir() if path.is_dir()} - others
    chosen = [
        word
        for word in sys.argv[1:]
        if "=" in word and word.partition("=")[0] in groups and "," not in word
    ]
    with initialize_config_dir(str(conf_folder()), version_base=None):
        composed = OmegaConf.to_container(compose(config, chosen), resolve=False)

    def walk(node: Any, path: str) -> list[str]:
        if not isinstance(node, dict):
            return [path]
        return [key for name in node for key in walk(node[name], f"{path}.{name}".lstrip("."))]

    return walk(composed, "")
