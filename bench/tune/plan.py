"""A search as it was asked for: how a drawn point becomes a pair, and a command to paste."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench import digests, machine
from bench.asked import Pair
from bench.configured import pair_of, part_of, point_of
from bench.measurement.figures import Figure
from bench.measurement.version import VERSION
from bench.mistakes import explained
from bench.search import SearchError
from bench.tune.settings import Tuner
from bench.tune.space import TECHNIQUE, Knob, Value, overrides

CONFIG = "tune"
"""Name of the configuration that is composed, ``conf/tune.yaml``."""

_FOLDER = ".searches"
_OF_THE_SEARCH = (
    *("tuner", "protocol", "experiment", "search", "force"),
    *("stage", "launcher", "sweep"),
)
"""What a command that applies a point says anew, or not at all."""

_SPELLED_OUT = ("workload", TECHNIQUE, "runtime")
_BINDING = ("workload", TECHNIQUE, "training", "runtime", "protocol", "meter", "seed", "session")


@dataclass(frozen=True)
class Plan:
    """What was asked for.

    Attributes:
        words: Overrides of the command line.
        choices: The option chosen of each group.
    """

    words: Sequence[str]
    choices: Mapping[str, Any]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration without any drawn knob."""
        return _composed(self.words)

    @cached_property
    def tuner(self) -> Tuner:
        """The search's own knobs."""
        found: Tuner = part_of(self.config, "tuner")
        return found

    @property
    def folder(self) -> Path:
        """Where the search is kept."""
        return Path(self.config["store"]["root"], _FOLDER, self.config["tuner"]["study"])

    @cached_property
    def data_digest(self) -> str | None:
        """Of the data and models that are the user's own, if there are any."""
        return digests.inputs_digest(self.config, self._listed)

    @cached_property
    def _listed(self) -> Callable[[str | None], str | None]:
        """Lists the data folder once a search."""
        return cache(digests.folder_digest)

    @property
    def own_baselines(self) -> bool:
        """Whether what is drawn shapes the baseline, too."""
        return any(knob.key.startswith("training.") for knob in self.tuner.knobs)

    def require(self) -> None:
        """Refuse, before anything is trained, what no trial or not every trial could be.

        Raises:
            SearchError: The message names the key and the way out.
        """
        if self.config["search"] is not None:
            raise SearchError(
                f"search={self.config['search']} charges a pair for a search, and this is one: "
                f"search=null"
            )
        if self.config["stage"] != "all":
            raise SearchError(
                f"stage={self.config['stage']}: each trial is made, judged and measured before the "
                f"next one is drawn: stage=all"
            )
        if not self.config["training"]["validation"]:
            raise SearchError(
                "training.validation is 0: trials are judged on a part of the training split that "
                "is kept from training, never on the test split; training.validation=0.1 keeps a "
                "tenth"
            )
        techniques = next((k.choices for k in self.tuner.knobs if k.key == TECHNIQUE), ())
        for knob in self.tuner.knobs:
            under = knob.when or techniques if knob.key != TECHNIQUE else ()
            for technique, value in product(under or (None,), knob.ends):
                drawn: dict[str, Value] = {} if technique is None else {TECHNIQUE: technique}
                self._require(knob, {**drawn, knob.key: value})

    def pair(self, drawn: Mapping[str, Value]) -> Pair:
        """Return the pair of a drawn point; its record lies with the search."""
        config = _composed([*self.words, *overrides(drawn)])
        del config["tuner"]  # a record is of a pair, whoever chose its knobs
        config["store"]["root"] = str(self.folder / "records")
        config["force"] = False  # what a trial has measured is kept
        return pair_of(config, point_of(config, digests.inputs_digest(config, self._listed)))

    def command(self, drawn: Mapping[str, Value]) -> str:
        """Return the command that measures a drawn point under the protocol of a paper.

        The search is charged to it.
        """
        kept = [word for word in self.words if _key(word).partition(".")[0] not in _OF_THE_SEARCH]
        said = {_key(word) for word in kept} | set(drawn)
        groups = [f"{g}={self.choices[g]}" for g in _SPELLED_OUT if g not in said]
        validation = self.config["training"]["validation"]
        fixed = [] if "training.validation" in said else [f"training.validation={validation}"]
        words = [*groups, *kept, *overrides(drawn), *fixed, f"search={self.folder}"]
        return shlex.join(["python", "-m", "bench", *words])

    def bound(self, figure: Figure) -> dict[str, Any]:
        """Return all that must be the same for every worker of the search, by key."""
        asked: dict[str, Any] = {name: self.config[name] for name in _BINDING}
        # Where the data lie may differ from host to host; what they are may not.
        asked["workload"] = {k: v for k, v in asked["workload"].items() if k != "data_root"}
        gpus = [gpu["name"] for gpu in machine.gpus() or []]
        cpu = machine.cpu()
        return {
            **asked,
            "data": self.data_digest,
            "hardware": [cpu["model"], cpu["usable_threads"], *gpus],
            "libraries": digests.library_versions(),
            "measuring_version": VERSION,
            "minimised": dataclasses.asdict(figure),
            **{
                f"tuner.{name}": self.config["tuner"][name]
                for name in ("sampler", "startup_trials", "seed", "floor", "space")
            },
        }

    def _require(self, knob: Knob, drawn: Mapping[str, Value]) -> None:
        try:
            config = _composed([*self.words, *overrides(drawn)])
            for part in (TECHNIQUE, "training"):
                part_of(config, part)
        except (HydraException, OmegaConfBaseException) as err:
            unknown = "Could not override" in str(err)
            why = "no such knob; --cfg job lists all" if unknown else explained(err, CONFIG)
            drawn_here = ", ".join(overrides(drawn))
            raise SearchError(f"tuner.space.{knob.key} may draw {drawn_here}: {why}") from err


def _composed(words: Sequence[str]) -> dict[str, Any]:
    """Return the resolved configuration."""
    composed = compose(CONFIG, list(words))
    config: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
    return config


def _key(word: str) -> str:
    """Return the key of an override: ``technique.ratio`` of ``+technique.ratio=0.5``."""
    return word.lstrip("+~").partition("=")[0].partition("@")[0]
