"""The command: compose a configuration, measure what it describes, print the table.

Nothing heavy is imported before it is needed, so that ``--help`` answers at once.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.folders import conf_folder
from bench.mistakes import explained

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from bench.configured import Point
    from bench.sweeping.conduct import Begun
    from bench.sweeping.outcomes import Ledger

log = logging.getLogger("bench")


_seen: list[tuple[Path, Path]] = []
"""Record's folder and paper's folder of each pair seen through, for the table at the end."""


@hydra.main(version_base=None, config_path=str(conf_folder()), config_name="config")
def job(cfg: DictConfig) -> None:
    """See one pair through, unless it is measured already, and note how that went."""
    from bench import digests, interruption
    from bench.configured import point_of
    from bench.sweeping import outcomes

    hush()
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    point = point_of(config, digests.inputs_digest(config))
    interruption.watch()
    with outcomes.noted(own_folder(), point.name, point.place) as ledger, interruption.at_once():
        _see_through(config, point, ledger)
    _seen.append((point.place, Path(config["paper"]["root"])))


def hush() -> None:
    """Print nothing but warnings, if ``-q`` was said; the log keeps everything."""
    from bench.progress import quiet

    if quiet():
        for handler in logging.getLogger().handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.WARNING)


def own_folder() -> Path | None:
    """Return this point's folder in that of its sweep; ``None`` outside of a sweep."""
    running = HydraConfig.get()
    return Path(running.runtime.output_dir) if running.mode is RunMode.MULTIRUN else None


def _see_through(config: dict[str, Any], point: Point, ledger: Ledger) -> None:
    """Do what is left to do of a pair, unless somebody else does it just now."""
    from bench import store
    from bench.locks import exclusive

    store.check_writable(
        Path(config["store"]["root"]), int(float(config["store"]["min_free_bytes"]))
    )
    claim = store.claim(point.place)
    claim.parent.mkdir(exist_ok=True)
    with exclusive(claim, "whoever is measuring the same pair"):
        if store.find(point.place) is not None and not config["force"]:
            ledger.status = "skipped"
            log.info(
                "%s: measured already (%s); force=true measures again", point.name, point.place
            )
            return
        preparing = config["stage"] == "prepare"
        doing = "preparing it" if preparing else f"measuring into {point.place}"
        log.info("%s: %s", point.name, doing)
        _run(config, point, ledger)


def _run(config: dict[str, Any], point: Point, ledger: Ledger) -> None:
    from bench import faults, isolation, store
    from bench.interruption import Interrupted

    try:
        from bench import pair, recording
        from bench.configured import pair_of

        ran = pair.run(pair_of(config, point))
        ledger.status = "prepared" if ran.record is None else "measured"
        ledger.spent = recording.spent(ran.record, ran.made)
        ledger.baseline = ran.baseline.name
        ledger.baseline_train_s = recording.trained_s(ran.baseline)
        ledger.verdict = None if ran.record is None else recording.in_a_word(ran.record)
    except (Interrupted, KeyboardInterrupt, SystemExit):
        raise  # nothing has failed
    except BaseException as err:
        traceback = isolation.details(err)
        log.debug("%s", traceback)
        told = faults.fault(err) or err
        try:
            store.write_failure(point.place, told, traceback, config)
        except OSError as full:
            log.warning("the failure could not be written down, either: %s", full)
        if told is not err:
            raise told from err
        raise


def _print_table(seen: Sequence[tuple[Path, Path]]) -> None:
    """Print the table of these records' workloads; rebuild the tables of all that was measured."""
    if not seen:
        return
    from rich.console import Console

    from bench import report
    from bench.progress import quiet
    from bench.reporting.pairs import TableError
    from bench.store import StoreError

    place, paper = seen[-1]
    root = place.parents[3]
    records = report.read(root)
    if records.pairs.empty:
        return
    # A log has no width; 120 columns hold the table's main part.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    try:
        if not quiet():
            console.print(report.overview_of(records, [place for place, _ in seen]))
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


def main(run: Callable[[], None] = job, config: str = "config") -> int:
    """Run a command line and return its exit status, saying in words what is wrong.

    Args:
        run: Hydra's entry point.
        config: Name of the configuration that it composes.
    """
    if quiet := {"-q", "--quiet"} & set(sys.argv[1:]):
        from bench.progress import QUIET

        sys.argv = [word for word in sys.argv if word not in quiet]
        os.environ[QUIET] = "1"
    # Words may stand on both sides of -m, which Hydra's parser does not take.
    many = {"-m", "--multirun"} & set(sys.argv[1:])
    sys.argv[1:] = [*many, *(word for word in sys.argv[1:] if word not in many)]
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler writes to stderr otherwise
    if not sys.stderr.isatty() or os.environ.get("JOULEBENCH_QUIET"):
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    # Left to itself Hydra prints half a traceback; its exceptions say more.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    status, wrong = _conducted(run, config)
    if wrong:
        print(f"joulebench: {wrong}", file=sys.stderr)
    return status


def _conducted(run: Callable[[], None], config: str) -> tuple[int, str]:
    """Run the job or the sweep; return its exit status and what is wrong, if anything is."""
    from bench.interruption import BROKEN_OFF, REQUEUE, Interrupted

    status, wrong = 0, ""
    try:
        run()
    except InstantiationException as err:
        status, wrong = 1, explained(err, config)
    except (HydraException, OmegaConfBaseException) as err:
        status, wrong = 2, explained(err, config)
    except Interrupted as err:
        status, wrong = REQUEUE, str(err)
    except KeyboardInterrupt:
        status, wrong = BROKEN_OFF, "broken off: the same command goes on from what is there"
    except (ValueError, RuntimeError, OSError) as err:
        status, wrong = 1, str(err)
    except Exception as err:
        if _sweep() is None:
            raise  # a fault of ours: it needs its traceback
        status, wrong = 1, f"{type(err).__name__}: {err}"
    finally:
        if (sweep := _sweep()) is not None:
            status, wrong = _summed_up(sweep, status, wrong)
    if status != REQUEUE and sweep is None:
        _print_table(_seen)
    return status, wrong


def _sweep() -> Begun | None:
    """Return the sweep that this process conducts; whoever conducts none has not imported it."""
    conduct = sys.modules.get("bench.sweeping.conduct")
    return None if conduct is None else conduct.begun()


def _summed_up(sweep: Begun, status: int, wrong: str) -> tuple[int, str]:
    """Print what has become of a sweep, and its table; return its exit status."""
    from bench import store
    from bench.interruption import BROKEN_OFF, REQUEUE
    from bench.progress import quiet
    from bench.sweeping import outcomes
    from bench.sweeping.summary import exit_status, summary

    try:
        found = outcomes.read(sweep.folder)
    except (OSError, ValueError) as err:
        return status or 1, f"{wrong or 'the sweep has ended'}; what became of it is lost: {err}"
    places = [(Path(o.place), Path(sweep.plan.paper)) for _, o in sorted(found.items())]
    told = exit_status(sweep.plan, found)
    if told != REQUEUE:
        _print_table([(place, paper) for place, paper in places if (place / store.RECORD).exists()])
    text = summary(sweep.plan, found)
    if told:
        print(text, file=sys.stderr)
    elif not quiet():
        print(text)
    # What Hydra raises at the end is the first point's failure, and the summary names them all.
    all_told = len(found) == len(sweep.plan.points)
    return status if status == BROKEN_OFF else told or status, "" if all_told else wrong


if __name__ == "__main__":
    sys.exit(main())
