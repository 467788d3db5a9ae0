"""What a training costs while it runs, written down so that a kill loses nothing of it."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import machine
from bench.live import Teller
from bench.measurement import Gauge
from bench.measurement.figures import available
from bench.progress import Bar
from bench.readings import Event, Logged, Phase, uncounted
from bench.training import resuming
from bench.training.resuming import Spent

log = logging.getLogger(__name__)

NOT_ALONE = (
    "something else was prepared on this host at the same time (stage=prepare), and counters count "
    "both: prepare one at a time, or with stage=all"
)
"""Why a training has no joules."""


@dataclass
class Spending:
    """Follows a training, tells of it, and reads the meters whenever it logs a loss: some 20 times.

    Attributes:
        gauge: In whose open span the training runs.
        bar: Shows it.
        stage: ``train``, or the label of the technique's stage.
        file: Where it is noted what this process has spent.
        alone: Tells whether all joules that are counted are this training's.
        teller: Tells whoever watches.
        points: What was logged.
        events: What happened beside it.
        items: Examples that were seen.
    """

    gauge: Gauge
    bar: Bar
    stage: str
    file: Path
    alone: Callable[[], bool]
    teller: Teller
    points: list[Logged] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    items: int = 0
    _note: str = ""
    _begin: float = field(default_factory=time.monotonic)
    _begin_cpu_s: float = field(default_factory=machine.cpu_seconds)

    def stepped(self, step: int, steps: int, items: int) -> None:
        """Note a step, and move the bar."""
        self.items = items
        self.bar.tell(step, steps, f"step {step}{self._note}")
        self.teller.tell(step, steps, f"{self.stage}{self._note}")

    def logged(self, step: int, loss: float, learning_rate: float) -> None:
        """Note a loss, and what it has cost until here."""
        self._keep(step, loss=loss, learning_rate=learning_rate)
        self._note = f", loss {loss:.3f}{self._joules()}"

    def validated(self, step: int, loss: float, metric: float) -> None:
        """Note a look, and what it has cost until here."""
        self._keep(step, validation_loss=loss, metric=metric)
        self._note = f", validation loss {loss:.3f}, metric {metric:.4f}{self._joules()}"

    def noted(self, step: int, kind: str, text: str) -> None:
        """Note an event, and say it at once."""
        self.events.append(Event(self.stage, step, kind, text))
        self.teller.event(kind, f"{self.stage}, step {step}: {text}")
        log.warning("%s, step %d: %s", self.stage, step, text)

    def saved(self, step: int) -> None:
        """Note what was spent until this checkpoint."""
        self._note_spent()

    def _keep(self, step: int, **values: float) -> None:
        readings = self.gauge.so_far()
        spent_s = time.monotonic() - self._begin
        empty = dict.fromkeys(("loss", "learning_rate", "validation_loss", "metric"))
        found = {**empty, **values}
        point = Logged(self.stage, step, wall_s=spent_s, readings=readings, **found)
        self.points.append(point)
        told = point if self.alone() else uncounted(point, NOT_ALONE)
        self.teller.point(**dataclasses.asdict(told), items=self.items)
        self._note_spent()

    def _note_spent(self) -> None:
        """Write what this process has spent: a kill may come at any time."""
        spent = Phase(
            time.monotonic() - self._begin,
            machine.cpu_seconds() - self._begin_cpu_s,
            self.gauge.so_far(),
            self.items,
        )
        if not self.alone():
            spent = uncounted(spent, NOT_ALONE)
        resuming.note(Spent(spent, tuple(self.points), machine.host_name()), self.file)

    def _joules(self) -> str:
        """Return the joules of the open span for the progress line, the best grade there is."""
        figures = [f for f in available(self.gauge.meters.channels) if f.measure == "energy_j"]
        if not figures or (energy_j := figures[0].joules(self.points[-1].readings)) is None:
            return ""
        return f", {energy_j:.0f} J ({'modelled' if figures[0].grade == 'C' else 'counted'})"
