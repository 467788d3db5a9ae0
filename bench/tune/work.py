"""One worker's part in a search: trial after trial until the budget is used up."""

from __future__ import annotations

import logging
from pathlib import Path

from bench import interruption, store
from bench.asked import Pair
from bench.interruption import Interrupted
from bench.isolation import in_fresh_process
from bench.measurement.figures import Figure, available
from bench.meters import Meters
from bench.runtime import Runtime
from bench.search import Search, SearchError, Tried
from bench.tune import shown
from bench.tune.plan import Plan
from bench.tune.study import Study, Subject, Taken
from bench.tune.trial import Draft, Terms, attempt

log = logging.getLogger(__name__)

MOST_FAILURES = 5
"""Trials that fail one after the other before a worker gives up: it is not their knobs."""


class Worker:
    """This process's part in a search.

    Attributes:
        plan: What was asked for.
        study: What all workers share.
        finished: Trials that this one has seen through.
    """

    def __init__(self, plan: Plan) -> None:
        """Check what was asked for, and begin the search or join it.

        Raises:
            SearchError: The search cannot be begun, or gone on with, as it was asked for.
        """
        plan.require()
        any_pair = plan.pair({})
        figure = in_fresh_process(leading, any_pair.meters, any_pair.runtime)
        if plan.tuner.budget.joules is not None and figure.measure != "energy_j":
            raise SearchError(
                f"tuner.budget.joules={plan.tuner.budget.joules:g}: no energy counter of what "
                f"serves (python -m bench.doctor says why); give tuner.budget.trials or .hours"
            )
        self.plan = plan
        self.finished: list[Tried] = []
        self._terms = Terms(figure, plan.tuner.floor, plan.own_baselines)
        subject = Subject(
            any_pair.workload.name, any_pair.protocol.name, figure, plan.bound(figure)
        )
        self.study = Study(plan.folder, plan.tuner, subject)

    def step(self) -> Tried | str:
        """Try what comes next, and return what came of it, or why nothing is left to try.

        Raises:
            Interrupted: This process was asked to leave; the trial is left to the next worker.
            FaultError: The disk or the GPU has failed.
        """
        settings = self.plan.config["store"]
        store.check_writable(Path(settings["root"]), int(float(settings["min_free_bytes"])))
        with interruption.later():  # but for the trial itself: what came of it is kept
            interruption.check()
            taken = self.study.take()
            if isinstance(taken, str):
                return taken
            log.info("%s", shown.begun(taken.trial.number, taken.drawn))
            try:
                with interruption.at_once():
                    tried = attempt(self._draft(taken), self._terms)
            except (Interrupted, KeyboardInterrupt):
                self.study.give_back(taken)
                raise
            self.study.finish(taken, tried)
            self.finished.append(tried)
        log.info("%s", shown.came_of(tried))
        workers = self.study.running() + 1
        log.info("%s", shown.progress(self.study.search(), self.plan.tuner.budget, workers))
        return tried

    def run(self) -> Search:
        """Go on until the budget is used up, and return everything that was tried.

        Raises:
            SearchError: Trial after trial fails.
        """
        failures = 0
        while isinstance(done := self.step(), Tried):
            failures = failures + 1 if done.state == "failed" else 0
            if failures == MOST_FAILURES:
                raise SearchError(
                    f"{MOST_FAILURES} trials in a row failed, the last for: {done.reason}. They "
                    f"are kept; the same command goes on once that is mended"
                )
        log.info("%s: %s", self.plan.tuner.study, done)
        return self.study.search()

    def close(self) -> None:
        """Leave the search to the other workers."""
        self.study.close()

    def _draft(self, taken: Taken) -> Draft:
        drawn = dict(taken.drawn)

        def build() -> Pair:
            return self.plan.pair(drawn)

        return Draft(taken.trial.number, drawn, self.plan.command(drawn), build)


def leading(meters: Meters, runtime: Runtime) -> Figure:
    """Return what leads on this host: the best counted joules of what serves, else seconds."""
    with meters:
        return available(meters.channels, runtime.torch_device.type)[0]
