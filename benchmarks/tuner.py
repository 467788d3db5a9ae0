"""The tuner against random search with the same budget: hypervolumes on digits.

    python -m benchmarks.tuner                    5 seeds of 30 trials each: two hours on two cores
    python -m benchmarks.tuner --sampler gp --seeds 2 --trials 12 workload=resnet18_digits
    python -m benchmarks.tuner --out paper/benchmarks/tuner.md

For each seed of the draws both searches take turns, trial by trial, so that a machine that drifts
is fair to both. They begin with the same draws (tuner.startup_trials); equal artefacts are made
once. Words with = are overrides, as for ``python -m bench.tune``.

The hypervolume is that of the measured trials' estimates: held-out metric above the baseline's less
tuner.floor, times the share of the baseline's joules (or seconds) that is saved. What the samplers
are told is noise as well, so a seed says little and five say something.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir

import bench.__main__  # noqa: F401 - registers the resolver of the host's name
from bench.folders import conf_folder
from bench.reporting.fronts import points
from bench.search import Search
from bench.statistics.hypervolume import hypervolume
from bench.tune.plan import CONFIG, Plan
from bench.tune.work import Worker

RANDOM = "random"


@dataclass(frozen=True)
class Race:
    """What two searches with one seed came to.

    Attributes:
        seed: Of the draws.
        volumes: Hypervolume by sampler.
        fronts: Trials that were measured, not measured and failed, by sampler.
        minutes: Of all its trials, by sampler.
    """

    seed: int
    volumes: dict[str, float]
    fronts: dict[str, str]
    minutes: dict[str, float]


def plan(words: Sequence[str]) -> Plan:
    """Return what would be asked for on a command line."""
    chosen = compose(CONFIG, list(words), return_hydra_config=True).hydra.runtime.choices
    return Plan(tuple(words), dict(chosen))


def volume(search: Search) -> float:
    """Return the hypervolume of a search's estimates; 0 if nothing was measured."""
    if search.floor is None:
        raise SystemExit("a hypervolume needs tuner.floor for its reference")
    found = points(search)
    if not found:
        return 0.0
    cost = np.array([point.cost.ratio for point in found])
    quality = np.array([point.quality.variant for point in found])
    return hypervolume(cost, quality, 1.0, found[0].quality.baseline - search.floor)


def race(seed: int, sampler: str, trials: int, words: Sequence[str]) -> Race:
    """Let both search in turns."""
    workers: dict[str, Worker] = {}
    for name in (sampler, RANDOM):
        own = [f"tuner.sampler={name}", f"tuner.seed={seed}", f"tuner.budget.trials={trials}"]
        workers[name] = Worker(plan([*words, *own, f"tuner.study=race-{name}-{seed}"]))
    for number in range(trials):
        order = (sampler, RANDOM) if number % 2 else (RANDOM, sampler)
        for name in order:
            workers[name].step()
        print(f"seed {seed}: {number + 1} of {trials} trials each", flush=True)
    found = {name: worker.study.search() for name, worker in workers.items()}
    for worker in workers.values():
        worker.close()
    for name, search in found.items():
        require_measured(seed, name, search)
    return Race(
        seed,
        {name: volume(search) for name, search in found.items()},
        {name: _states(search) for name, search in found.items()},
        {name: search.wall_s / 60 for name, search in found.items()},
    )


def require_measured(seed: int, sampler: str, search: Search) -> None:
    """Refuse a search that could measure nothing: two of them would look equally good."""
    reasons = [tried.reason for tried in search.tried if tried.state == "failed"]
    if reasons and not points(search):
        raise SystemExit(
            f"seed {seed}: {sampler} measured no trial, so there is nothing to compare: "
            f"{len(reasons)} failed, the first with: {reasons[0]}"
        )


def _states(search: Search) -> str:
    states = [tried.state for tried in search.tried]
    return " / ".join(str(states.count(state)) for state in ("complete", "pruned", "failed"))


def table(races: Sequence[Race], sampler: str, trials: int, words: Sequence[str]) -> str:
    """Return the report in Markdown."""
    said = [word for word in words if not word.startswith("store.root=")]
    won = sum(one.volumes[sampler] >= one.volumes[RANDOM] for one in races)
    lines = [
        "# The tuner against random search",
        "",
        f"`python -m benchmarks.tuner`: {trials} trials each under protocol search,"
        f" {', '.join(said) or 'defaults'}; the searches take turns. Optuna {version('optuna')},"
        f" Python {platform.python_version()}, {os.cpu_count()} cores.",
        "",
        f"| seed | hypervolume, {sampler} | random | ratio | measured / hopeless / failed |"
        f" random | minutes | random |",
        "|--:|--:|--:|--:|---|---|--:|--:|",
    ]
    for one in races:
        ours, theirs = one.volumes[sampler], one.volumes[RANDOM]
        share = f"{ours / theirs:.3f}" if theirs > 0 else "—"
        lines.append(
            f"| {one.seed} | {ours:.5f} | {theirs:.5f} | {share} | {one.fronts[sampler]} | "
            f"{one.fronts[RANDOM]} | {one.minutes[sampler]:.1f} | {one.minutes[RANDOM]:.1f} |"
        )
    slowest = max(minutes for one in races for minutes in one.minutes.values())
    lines += [
        "",
        f"At least random's in {won} of {len(races)} seeds. The slowest search took {slowest:.1f} "
        f"minutes.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Race for every seed, print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="races, of draws that differ")
    parser.add_argument("--trials", type=int, default=30, help="of each search")
    parser.add_argument("--sampler", default="tpe", help="tpe, gp or nsga2")
    parser.add_argument("--out", type=Path, help="where the table goes; else it is printed only")
    options, words = parser.parse_known_args()
    began_s = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="joulebench-tuner-") as scratch,
        initialize_config_dir(str(conf_folder()), version_base=None),
    ):
        rooted = any(word.startswith("store.root=") for word in words)
        places = [] if rooted else [f"store.root={scratch}"]
        races = [
            race(seed, options.sampler, options.trials, [*words, *places])
            for seed in range(options.seeds)
        ]
    text = table(races, options.sampler, options.trials, words)
    print(f"{text}\n{(time.monotonic() - began_s) / 60:.0f} minutes in all.")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text)


if __name__ == "__main__":
    main()
