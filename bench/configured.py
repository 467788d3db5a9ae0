"""From a configuration to the pair that it describes, and to the folder of its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from bench import digests, store

if TYPE_CHECKING:
    from bench.asked import Pair


def _host_name() -> str:
    from bench.machine import host_name

    return host_name()


def _quotient(whole: int, parts: int) -> int:
    return int(whole) // int(parts)


def _product(one: int, two: int) -> int:
    return int(one) * int(two)


# Here and not where the command starts: a launcher's processes import this, too.
OmegaConf.register_new_resolver("host_name", _host_name, use_cache=True, replace=True)
OmegaConf.register_new_resolver("quotient", _quotient, replace=True)
OmegaConf.register_new_resolver("product", _product, replace=True)


@dataclass(frozen=True)
class Point:
    """One pair of a sweep, or the only one of a run.

    Attributes:
        name: For people: workload, technique, seed.
        place: Folder of its record, named by all that is asked for and by the data that is there.
        data_digest: Of the data and models that are the user's own, if there are any.
    """

    name: str
    place: Path
    data_digest: str | None


def point_of(config: Mapping[str, Any], data_digest: str | None) -> Point:
    """Return which pair a resolved configuration describes, given the digest of its data."""
    place = store.place(
        Path(config["store"]["root"]),
        config["store"]["host"],
        config["workload"]["name"],
        config["technique"]["name"],
        config["seed"],
        digests.pair_digest(config, data_digest),
    )
    name = f"{config['workload']['name']}, {config['technique']['name']}, seed {config['seed']}"
    if config["session"]:
        name += f", session {config['session']}"
    return Point(name, place, data_digest)


def pair_of(config: Mapping[str, Any], point: Point) -> Pair:
    """Build the pair's parts; each refuses what is outside its range."""
    from bench.asked import Pair
    from bench.meters import Meters

    meters = {name: part for name, part in part_of(config, "meter").items() if name != "required"}
    return Pair(
        workload=part_of(config, "workload"),
        technique=part_of(config, "technique"),
        training=part_of(config, "training"),
        runtime=part_of(config, "runtime"),
        protocol=part_of(config, "protocol"),
        meters=Meters(tuple(meters.values()), config["meter"]["required"]),
        seed=config["seed"],
        session_number=config["session"],
        place=point.place,
        artefacts=Path(config["store"]["artefacts"]),
        config=config,
        data_digest=point.data_digest,
        host=config["store"]["host"],
        replace=config["force"],
        stage=config["stage"],
        limits=part_of(config, "limits"),
    )


def part_of(config: Mapping[str, Any], key: str) -> Any:
    """Build one part of a pair."""
    from hydra.utils import instantiate

    return instantiate(config[key], _convert_="all")


def root_cause(err: BaseException) -> BaseException:
    """Return what a part said when it refused to be built, from inside Hydra's own error.

    What it was told itself, by a library or a file, it has put into its words.
    """
    while isinstance(err, InstantiationException) and err.__cause__ is not None:
        err = err.__cause__
    return err
