"""The command: search for knobs, print the Pareto set and the lines to paste.

The words are those of ``python -m bench`` and a tuner's. The same words go on with a search that
was interrupted, or join one that is under way.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig

from bench import __main__ as command
from bench.folders import conf_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from bench.search import Search
    from bench.sweeping.outcomes import Ledger
    from bench.tune.plan import Plan


@hydra.main(version_base=None, config_path=str(conf_folder()), config_name="tune")
def job(cfg: DictConfig) -> None:
    """Search until the budget is used up, and note how that went."""
    from bench import interruption
    from bench.sweeping import outcomes
    from bench.tune.plan import Plan

    command.hush()
    chosen = HydraConfig.get()
    plan = Plan(tuple(chosen.overrides.task), dict(chosen.runtime.choices))
    interruption.watch()
    name = f"search {plan.folder.name}"
    with outcomes.noted(command.own_folder(), name, plan.folder) as ledger:
        with interruption.at_once():
            found = _found(plan, ledger)
        _tell(found, plan.folder, Path(cfg.paper.root))


def _found(plan: Plan, ledger: Ledger) -> Search:
    """Search, or join those who do; note what it took."""
    from bench.search import charged

    try:
        from bench.tune.work import Worker
    except ImportError as err:
        if err.name != "optuna":
            raise
        raise RuntimeError(
            "python -m bench.tune needs Optuna: pip install 'joulebench[tune]'"
        ) from err
    worker = Worker(plan)
    try:
        found = worker.run()
    finally:
        worker.close()
        ledger.spent = (charged(worker.finished, ()),)
    if not worker.finished:
        ledger.status = "skipped"
    return found


def _tell(found: Search, folder: Path, paper: Path) -> None:
    """Write what was found into the paper, and print it."""
    from rich.console import Console

    from bench import report
    from bench.progress import quiet
    from bench.tune import shown

    files = shown.write(found, paper)
    if quiet():
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    shown.show(found, console)
    listed = ", ".join(report.summed_up(files)) or "none (nothing measured, or synthetic joules)"
    console.print(f"Search: {folder}\nFiles:  {listed}", soft_wrap=True)


def main() -> int:
    """Run the command line and return its exit status, saying in words what is wrong."""
    return command.main(job, "tune")


if __name__ == "__main__":
    sys.exit(main())
