"""What Hydra is asked to call around a sweep."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from bench import digests, interruption, store
from bench.configured import point_of
from bench.progress import quiet
from bench.sweeping.outcomes import Plan, Planned, duration, named, progress, read, write_plan

FOLLOW_S = 30.0
"""Seconds from one look at the outcomes of other processes to the next."""


@dataclass
class Begun:
    """The sweep that this process conducts.

    Attributes:
        plan: What was going to be done.
        folder: Where its points leave their outcomes.
    """

    plan: Plan
    folder: Path


_begun: list[Begun] = []


def begun() -> Begun | None:
    """Return the sweep that this process conducts, if it conducts one."""
    return _begun[-1] if _begun else None


class Conduct(Callback):
    """Looks at all points before the first one starts; refuses the sweep if one cannot work."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Look, tell, and note what is going to be done.

        Raises:
            SystemExit: With status 2, after saying why, if a point cannot work. Hydra turns any
                ordinary exception of a callback into a warning.
        """
        from bench.sweeping import preflight

        try:
            batch = preflight.points(config)
            found = None if batch is None else _look(config, batch)
        except HydraException:
            return  # the sweeper says it itself, before anything has started
        except store.StoreError as err:
            print(f"joulebench: {err}", file=sys.stderr)
            raise SystemExit(1) from err
        except Exception as err:  # which Hydra would turn into a warning, and start unlooked
            traceback.print_exc()
            raise SystemExit(1) from err
        if found is None:
            return
        if found.refused and config.sweep.impossible == "stop":
            _say_refused(found)
            raise SystemExit(2)
        folder = Path(str(config.hydra.sweep.dir))
        write_plan(found.plan, folder)
        _begun.append(Begun(found.plan, folder))
        if found.plan.here:  # whatever is at work ends in good order, and the rest is not begun
            interruption.watch(workers=not preflight.launched_in_this_process(config))
        if quiet():
            return
        print(_told(found), flush=True)
        if not preflight.told_here(config):
            threading.Thread(target=_follow, args=(_begun[-1],), daemon=True).start()


def _follow(sweep: Begun) -> None:
    """Say how far the sweep is, whenever a process that does not talk to us has ended a point."""
    seen = 0
    while True:
        time.sleep(FOLLOW_S)
        with contextlib.suppress(OSError, ValueError):
            found = read(sweep.folder)
            if len(found) > seen:
                seen = len(found)
                print(progress(sweep.plan, found), file=sys.stderr, flush=True)


@dataclass
class _Found:
    """What the look has found.

    Attributes:
        plan: All points.
        refused: Name of those that cannot work, and why.
        unlooked: Settings that were not held against their models for lack of time.
        took_s: Seconds of looking.
    """

    plan: Plan
    refused: list[tuple[str, str]] = field(default_factory=list)
    unlooked: int = 0
    took_s: float = 0.0


def _look(config: DictConfig, batch: Sequence[Sequence[str]]) -> _Found:
    from bench.sweeping import preflight
    from bench.sweeping.estimates import Earlier

    begin = time.monotonic()
    here = preflight.launched_here(config)
    looker = preflight.Looker(float(config.sweep.look_s))
    listed = cache(digests.folder_digest)
    earlier: Earlier | None = None
    planned: list[Planned] = []
    refused: list[tuple[str, str]] = []
    trained: set[str] = set()
    needed = 0.0
    asked: dict[str, Any] = {}
    for asked in preflight.composed(config, batch):
        point = point_of(asked, digests.inputs_digest(asked, listed))
        if not here:
            planned.append(Planned(point.name, None, False, None))
            continue
        if earlier is None:
            earlier = Earlier.read(Path(asked["store"]["root"]), asked["store"]["host"])
        measured = (point.place / store.RECORD).is_file() and not asked["force"]
        if not measured and (why := looker.refusal(asked)) is not None:
            refused.append((point.name, why))
        baseline = digests.digest({k: asked[k] for k in ("workload", "training", "seed")})
        trains = baseline not in trained
        trained.add(baseline)
        estimate_s = None if measured else earlier.seconds(asked, trains)
        needed += 0.0 if measured else earlier.bytes(asked, trains)
        planned.append(Planned(point.name, str(point.place), measured, estimate_s))
    least = float(asked["store"]["min_free_bytes"])
    store.check_writable(Path(asked["store"]["root"]), int(max(least, needed)))
    folders = asked["store"]["root"], asked["paper"]["root"]
    plan = Plan(tuple(planned), time.time(), *folders, here)
    return _Found(plan, refused, looker.unlooked, time.monotonic() - begin)


def _told(found: _Found) -> str:
    """Return what is going to be done, in words."""
    points = found.plan.points
    measured = [point for point in points if point.measured]
    rest = [point for point in points if not point.measured]
    first = f"sweep: {len(points)} points, looked at in {duration(found.took_s)}"
    if not found.plan.here:
        return f"{first}; each is looked at again where it runs, and skipped if measured there"
    words = [first, f"{len(measured)} measured already", f"{len(rest)} to do"]
    known = [point.estimate_s for point in rest if point.estimate_s is not None]
    if known:
        words.append(f"about {duration(sum(known))} by earlier records")
    if len(known) < len(rest):
        words.append(f"{len(rest) - len(known)} without any to go by")
    lines = [", ".join(words)]
    lines += named([f"{p.name} ({p.place})" for p in measured], "measured already")
    lines += [f"  cannot work: {name}: {why}" for name, why in found.refused]
    if found.unlooked:
        lines.append(
            f"  {found.unlooked} settings were not held against their models within "
            f"sweep.look_s; that is done when they start"
        )
    return "\n".join(lines)


def _say_refused(found: _Found) -> None:
    print(
        f"joulebench: {len(found.refused)} of {len(found.plan.points)} points cannot work, and "
        f"none was started:",
        file=sys.stderr,
    )
    for line in named([f"{name}: {why}" for name, why in found.refused]):
        print(line, file=sys.stderr)
    print("Leave them out, or run the rest with sweep.impossible=go_on", file=sys.stderr)
