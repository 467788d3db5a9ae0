"""One search that several workers share: who tries what, and what came of it.

Whatever is decided is decided by one worker at a time, under a lease that holds between hosts: what
is left of the budget, what is drawn next, what becomes of the trials of a worker that died. Nobody
holds it while a trial is under way, and a request to leave waits until what is decided is written.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from bench import codec, interruption, store
from bench.locks import leased
from bench.measurement.figures import Figure
from bench.readings import Phase
from bench.search import DOCUMENT, Search, SearchError, Spent, Tried
from bench.tune.budget import used_up
from bench.tune.settings import Tuner
from bench.tune.space import Value
from bench.tune.storage import Presence, alive, journal

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 3
"""A trial whose workers died so often is given up: it may be what they died of."""

_TRIED, _WORKER, _ATTEMPT, _BOUND = "tried", "worker", "attempt", "bound"
_NOTHING = Phase(0.0, 0.0)


@dataclass(frozen=True)
class Subject:
    """What a search is about.

    Attributes:
        workload: Name of the workload.
        protocol: Name of the protocol.
        figure: What is minimised.
        bound: All that must be the same for every worker, by key: values that JSON holds.
    """

    workload: str
    protocol: str
    figure: Figure
    bound: Mapping[str, Any]


@dataclass(frozen=True)
class Taken:
    """A trial that this worker has taken on.

    Attributes:
        trial: Optuna's.
        drawn: Values of the knobs.
    """

    trial: Trial
    drawn: Mapping[str, Value]


class Study:
    """A search on disk."""

    def __init__(self, folder: Path, tuner: Tuner, subject: Subject) -> None:
        """Begin a search, or go on with the one that is there.

        Raises:
            SearchError: The one that is there is another search.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.tuner, self.subject = folder, tuner, subject
        self._workers = folder / "workers"
        with self._alone():
            self._study = optuna.create_study(
                storage=journal(folder),
                study_name=tuner.study,
                directions=["maximize", "minimize"],
                load_if_exists=True,
            )
            self._bind()
        self._worker = Presence(self._workers)

    def close(self) -> None:
        """Leave the search to the other workers."""
        self._worker.close()

    def take(self) -> Taken | str:
        """Return the next trial, or why there is none.

        Raises:
            SearchError: The budget cannot be told.
        """
        with self._alone():
            self._bury_the_dead()
            self._write()  # whoever told the last trial may have been killed before it did
            if reason := used_up(self.tuner.budget, self.search(), self.running()):
                return reason
            self._study.sampler = _sampler(self.tuner, len(self._trials()))
            trial = self._study.ask()
            trial.set_user_attr(_WORKER, self._worker.name)
            drawn: dict[str, Value] = {}
            for knob in self.tuner.knobs:
                if knob.asked(drawn):
                    drawn[knob.key] = knob.draw(trial)
            return Taken(trial, drawn)

    def finish(self, taken: Taken, tried: Tried) -> None:
        """Keep what came of a trial; from here on it is never lost."""
        with self._alone():
            if self._trials()[taken.trial.number].state != TrialState.RUNNING:
                log.warning("%s: given up, since its worker was taken for dead", tried.name)
                return
            tried = self._once(tried)
            plain = json.loads(codec.encode(tried))
            taken.trial.set_user_attr(_TRIED, plain)
            if self.tuner.floor is not None and tried.quality is not None:
                taken.trial.set_constraint("lost", -tried.quality.difference - self.tuner.floor)
            self._tell(tried)
            self._write()

    def give_back(self, taken: Taken) -> None:
        """Leave a trial to another worker, or to the next run: nothing was wrong with it."""
        with self._alone():
            trial = self._trials()[taken.trial.number]
            if trial.state == TrialState.RUNNING:
                self._again(trial, trial.user_attrs.get(_ATTEMPT, 1))

    def search(self) -> Search:
        """Return everything that was tried so far."""
        figure = self.subject.figure
        return Search(
            name=self.tuner.study,
            workload=self.subject.workload,
            protocol=self.subject.protocol,
            sampler=self.tuner.sampler,
            floor=self.tuner.floor,
            measure=figure.measure,
            scope=figure.scope,
            source=figure.source,
            grade=figure.grade,
            tried=tuple(
                codec.decode(Tried, trial.user_attrs[_TRIED])
                for trial in self._trials()
                if _TRIED in trial.user_attrs
            ),
        )

    def running(self) -> int:
        """Return how many trials are under way."""
        return sum(
            trial.state == TrialState.RUNNING and _TRIED not in trial.user_attrs
            for trial in self._trials()
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        what = f"another worker of {self.tuner.study}"
        with interruption.later(), leased(self.folder / "search.lease", what):
            yield

    def _trials(self) -> Sequence[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _bind(self) -> None:
        """Refuse to go on with another search under the same name."""
        bound = json.loads(json.dumps(self.subject.bound, default=str))
        kept = self._study.user_attrs.get(_BOUND)
        if kept is None:
            self._study.set_user_attr(_BOUND, bound)
            return
        if differing := [key for key in (*kept, *bound) if kept.get(key) != bound.get(key)]:
            key = differing[0]
            raise SearchError(
                f"tuner.study={self.tuner.study} was begun with {key}={kept.get(key)}, and now it "
                f"is {bound.get(key)}: trials of two searches are never compared. Give the new one "
                f"a name of its own: tuner.study=NAME"
            )

    def _bury_the_dead(self) -> None:
        """Finish the trials of workers that died: told if they had come to an end, else again."""
        for trial in self._trials():
            worker = trial.user_attrs.get(_WORKER)
            if trial.state != TrialState.RUNNING or worker == self._worker.name:
                continue
            if worker is not None and alive(self._workers, worker):
                continue
            if _TRIED in trial.user_attrs:
                self._tell(codec.decode(Tried, trial.user_attrs[_TRIED]))
                self._write()
                continue
            attempt = trial.user_attrs.get(_ATTEMPT, 1)
            again = attempt < MOST_ATTEMPTS and bool(trial.params)
            log.warning(
                "trial %d: its worker (%s) died; %s",
                trial.number,
                worker or "which had not begun",
                "another will try the same" if again else "given up",
            )
            if again:
                self._again(trial, attempt + 1)
            else:
                self._study.tell(trial.number, state=TrialState.FAIL)

    def _again(self, trial: FrozenTrial, attempt: int) -> None:
        """End a trial that came to nothing, and have what it had drawn tried before all else."""
        params = dict(trial.params)
        self._study.enqueue_trial(params, user_attrs={_ATTEMPT: attempt})
        self._study.tell(trial.number, state=TrialState.FAIL)

    def _once(self, tried: Tried) -> Tried:
        """Return a trial without the costs that an earlier one has accounted for."""
        before = self.search().tried
        spent, known = tried.spent, {digest for one in before for digest in one.spent.made}
        again = [(one.record, one.hosts) for one in before]  # another host measures for itself
        if tried.record is not None and (tried.record, tried.hosts) in again:
            spent = Spent({}, _NOTHING, _NOTHING, spent.wall_s)
        made = {digest: phase for digest, phase in spent.made.items() if digest not in known}
        return dataclasses.replace(tried, spent=dataclasses.replace(spent, made=made))

    def _tell(self, tried: Tried) -> None:
        if tried.state == "complete" and tried.quality is not None and tried.comparison is not None:
            self._study.tell(tried.number, [tried.quality.variant, tried.comparison.ratio])
        elif tried.state == "pruned":
            self._study.tell(tried.number, state=TrialState.PRUNED)
        else:
            self._study.tell(tried.number, state=TrialState.FAIL)

    def _write(self) -> None:
        store.write_text(self.folder / DOCUMENT, codec.encode(self.search()))


def _sampler(tuner: Tuner, number: int) -> BaseSampler:
    """Return a sampler for one trial, whose seed depends on the trial's number and on no worker.

    A sampler that lived as long as its worker would draw the same again after a restart, and two
    workers would draw alike.
    """
    seed = int(np.random.SeedSequence([tuner.seed, number]).generate_state(1)[0])
    if tuner.sampler == "random":
        return RandomSampler(seed=seed)
    if tuner.sampler == "nsga2":
        return NSGAIISampler(seed=seed)
    if tuner.sampler == "gp":
        return GPSampler(seed=seed, n_startup_trials=tuner.startup_trials)
    return TPESampler(seed=seed, n_startup_trials=tuner.startup_trials)
