"""What trainings and sessions tell while they go, of the figures that are in the record as well."""

from __future__ import annotations

import dataclasses
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from test_interruption import bout_of, order_of
from tiny import RECIPE

from bench import artefacts, comparison
from bench.comparison import compare
from bench.live import EVENTS, Live, Teller
from bench.production import Order, produce
from bench.readings import Logged, Phase, Reading
from bench.spending import NOT_ALONE
from bench.training import resuming


@pytest.fixture
def live(tmp_path: Path) -> Live:
    about = {"id": "tiny/none/0-a", "folder": "h/tiny/none/0-a", "host": "h", "log": None}
    found = Live(tmp_path / "results" / ".live" / "h" / "0-a.json", about)
    found.file.parent.mkdir(parents=True)
    return found


def told(live: Live) -> list[dict[str, Any]]:
    return [json.loads(line) for line in live.points.read_text().splitlines()]


def ordered(folder: Path, live: Live, **recipe: Any) -> Order:
    order = order_of(folder)
    return dataclasses.replace(
        order, live=live, training=dataclasses.replace(order.training, **recipe)
    )


def test_a_training_tells_the_points_that_its_card_holds(tmp_path: Path, live: Live) -> None:
    produce(ordered(tmp_path, live))
    history = artefacts.read_card(tmp_path / "made").history
    points = told(live)
    assert len(points) == len(history) > 1
    for point, kept in zip(points, history, strict=True):
        assert (point["act"], point["stage"], point["step"]) == ("baseline", "train", kept.step)
        assert (point["loss"], point["wall_s"]) == (kept.loss, kept.wall_s)
        assert point["readings"] == [dataclasses.asdict(reading) for reading in kept.readings]
    assert points[-1]["items"] == 2 * 100 + 2 * 32  # ten steps: 32, 32, 32, 4 twice, and 32, 32
    state = json.loads(live.file.read_text())
    assert (state["act"], state["total"], state["quiet_from_s"]) == ("baseline", 10, None)


def test_a_training_that_goes_on_tells_what_came_before(tmp_path: Path, live: Live) -> None:
    before = Logged("train", 3, 2.5, 0.1, None, 1.0, (Reading("m", "cpu:0", "x", "S", 9.0),))
    note = tmp_path / "made.training" / "1" / "spent-1.json"
    resuming.note(resuming.Spent(Phase(1.0, 1.0, (), 96), (before,)), note)
    produce(ordered(tmp_path, live, save_every=100))
    first = told(live)[0]
    assert (first["step"], first["loss"], first["readings"][0]["energy_j"]) == (3, 2.5, 9.0)


def test_a_training_beside_others_tells_no_joules(
    tmp_path: Path, live: Live, own_lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.production._nobody_else", lambda: False)
    produce(ordered(tmp_path, live))
    for point in told(live):
        assert {(r["energy_j"], r["reason"]) for r in point["readings"]} == {(None, NOT_ALONE)}


def test_a_session_tells_every_window_and_until_when_none_is_open(
    tmp_path: Path, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = order_of(tmp_path)
    produce(dataclasses.replace(order, training=dataclasses.replace(RECIPE, epochs=0.0)))
    seen: list[tuple[float, float | None]] = []
    whole = Teller.tell

    def tell(self: Teller, done: float, total: float, note: str = "", until: Any = None) -> None:
        seen.append((time.time(), until))
        whole(self, done, total, note, until)

    monkeypatch.setattr(Teller, "tell", tell)
    monkeypatch.setattr(comparison, "Teller", partial(Teller, every_s=0.0))
    bout = bout_of(tmp_path, blocks=3)
    rules = dataclasses.replace(bout.protocol, lead_in_s=0.25)
    measured = compare(dataclasses.replace(bout, live=live, protocol=rules))
    points = told(live)
    windows = [window for point in points for window in point["windows"]]
    assert len(windows) == len(measured.outcome.windows)
    for window, kept in zip(windows, measured.outcome.windows, strict=True):
        assert (window["arm"], window["items"]) == (kept.arm, kept.items)
        assert window["wall_s"] == kept.span.wall_s
    thrown = {d.block: (d.condition, d.detail) for d in measured.outcome.discards}
    for point in points:
        assert (point["discard"], point["detail"]) == thrown.get(point["block"], (None, None))
    state = json.loads(live.file.read_text())
    assert (state["act"], state["quiet_from_s"]) == ("measure", None)  # no block follows
    quiet = [at_s for at_s, until_s in seen if until_s is not None]
    assert len(quiet) == len(points) - 1
    for at_s, until_s in seen[:-1]:
        assert until_s == pytest.approx(at_s + 0.25, abs=0.05)
    events = live.file.with_name(EVENTS)
    discards = events.read_text().count('"discard"') if events.exists() else 0
    assert discards == len(thrown)
