"""The command: compose a configuration, measure what it describes, print the table.

Nothing heavy is imported before it is needed, so that ``--help`` answers at once.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.folders import conf_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from bench.pair import Pair

log = logging.getLogger("bench")


def _host_name() -> str:
    from bench.machine import host_name

    return host_name()


OmegaConf.register_new_resolver("host_name", _host_name, use_cache=True, replace=True)
_seen: list[tuple[Path, Path]] = []
"""Record's folder and paper's folder of each pair seen through, for the table at the end."""


@hydra.main(version_base=None, config_path=str(conf_folder()), config_name="config")
def job(cfg: DictConfig) -> None:
    """Measure one pair, unless it is measured already."""
    from bench import store
    from bench.progress import quiet

    if quiet():
        for handler in logging.getLogger().handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.WARNING)
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    place, data_digest = _place(config)
    name = f"{config['workload']['name']}, {config['technique']['name']}, seed {config['seed']}"
    root = Path(config["store"]["root"])
    store.check_writable(root, int(float(config["store"]["min_free_bytes"])))
    if store.find(place) is not None and not config["force"]:
        log.info("%s: measured already (%s); force=true measures again", name, place)
    else:
        log.info("%s: measuring into %s", name, place)
        _measure(cfg, config, place, data_digest)
    _seen.append((place, Path(config["paper"]["root"])))


def _place(config: dict[str, Any]) -> tuple[Path, str | None]:
    """Return the record's folder, named by all that is asked for and by the data that is there."""
    from bench import digests, store

    data_digest = digests.folder_digest(config["data"]["root"])
    place = store.place(
        Path(config["store"]["root"]),
        config["store"]["host"],
        config["workload"]["name"],
        config["technique"]["name"],
        config["seed"],
        digests.pair_digest(config, data_digest),
    )
    return place, data_digest


def _measure(cfg: DictConfig, config: dict[str, Any], place: Path, data_digest: str | None) -> None:
    from bench import store
    from bench.isolation import ChildError

    try:
        from bench import pair

        pair.run(_pair(cfg, config, place, data_digest))
    except BaseException as err:
        details = err.details if isinstance(err, ChildError) else traceback.format_exc()
        store.write_failure(place, err, details, config)
        log.debug("%s", details)
        raise


def _pair(cfg: DictConfig, config: dict[str, Any], place: Path, data_digest: str | None) -> Pair:
    """Build the pair's parts; each refuses what is outside its range."""
    from hydra.utils import instantiate

    from bench.meters import Meters
    from bench.pair import Pair

    def build(key: str) -> Any:
        return instantiate(cfg[key], _convert_="all")

    meters = {name: part for name, part in build("meter").items() if name != "required"}
    return Pair(
        workload=build("workload"),
        technique=build("technique"),
        training=build("training"),
        runtime=build("runtime"),
        protocol=build("protocol"),
        meters=Meters(tuple(meters.values()), config["meter"]["required"]),
        seed=config["seed"],
        session_number=config["session"],
        place=place,
        artefacts=Path(config["store"]["artefacts"]),
        config=config,
        data_digest=data_digest,
        host=config["store"]["host"],
        replace=config["force"],
    )


def _print_table() -> None:
    """Print the table of this run's workloads; rebuild the tables of all that was measured."""
    if not _seen:
        return
    from rich.console import Console

    from bench import report
    from bench.progress import quiet
    from bench.reporting.pairs import TableError
    from bench.store import StoreError

    place, paper = _seen[-1]
    root = place.parents[3]
    records = report.read(root)
    if records.pairs.empty:
        return
    # A log has no width; 120 columns hold the table's main part.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    try:
        if not quiet():
            console.print(report.overview_of(records, [place for place, _ in _seen]))
            console.print(f"Records: {root}", soft_wrap=True)
        if not records.enter:
            return
        built = report.write_tables(records, paper)
    except (TableError, StoreError) as err:
        print(f"joulebench: {err}", file=sys.stderr)
        return
    if not quiet():
        files = ", ".join(report.summed_up(built.files))
        console.print(f"Tables:  {files}", soft_wrap=True)


def _explain(err: Exception) -> str:
    """Return what is wrong with the command line, and the nearest thing that would be right."""
    if isinstance(err, InstantiationException):
        cause: BaseException = err
        while cause.__cause__ is not None:
            cause = cause.__cause__
        return str(cause)
    text = str(err).strip()
    if isinstance(err, MissingConfigException) and err.missing_cfg_file and err.options:
        group, _, choice = err.missing_cfg_file.rpartition("/")
        near = _nearest(choice, err.options)
        return f"{group}={choice}: there is no such {group}. {near} All: {', '.join(err.options)}"
    if unknown := re.search(r"Could not override '([^']+)'", text):
        return f"{unknown[1]}: there is no such key. {_swept(unknown[1])}" + _nearest(
            unknown[1], _keys()
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


def _keys() -> list[str]:
    """Return every key of the configuration with the groups chosen on the command line."""
    from hydra import compose, initialize_config_dir

    groups = {path.name for path in conf_folder().iterdir() if path.is_dir()}
    chosen = [
        word
        for word in sys.argv[1:]
        if "=" in word and word.partition("=")[0] in groups and "," not in word
    ]
    with initialize_config_dir(str(conf_folder()), version_base=None):
        config = OmegaConf.to_container(compose("config", chosen), resolve=False)

    def walk(node: Any, path: str) -> list[str]:
        if not isinstance(node, dict):
            return [path]
        return [key for name in node for key in walk(node[name], f"{path}.{name}".lstrip("."))]

    return walk(config, "")


def main() -> int:
    """Run the command line and return its exit status, saying in words what is wrong."""
    if quiet := {"-q", "--quiet"} & set(sys.argv[1:]):
        from bench.progress import QUIET

        sys.argv = [word for word in sys.argv if word not in quiet]
        os.environ[QUIET] = "1"
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler writes to stderr otherwise
    if not sys.stderr.isatty() or os.environ.get("JOULEBENCH_QUIET"):
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    # Left to itself Hydra prints half a traceback; its exceptions say more.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    status, wrong = 0, ""
    try:
        job()
    except InstantiationException as err:
        status, wrong = 1, _explain(err)
    except (HydraException, OmegaConfBaseException) as err:
        status, wrong = 2, _explain(err)
    except (ValueError, RuntimeError, OSError) as err:
        status, wrong = 1, str(err)
    _print_table()
    if wrong:
        print(f"joulebench: {wrong}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
