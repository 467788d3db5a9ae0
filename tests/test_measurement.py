"""Windows, blocks and stopping, under a clock and a sensor whose truth is known."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bench import measurement
from bench.machine import HostLoad, HostState
from bench.measurement import Gauge, Span, overhead, session, validity
from bench.measurement.figures import WALL, Figure, OriginError, available
from bench.measurement.frames import trace_frame, windows_frame
from bench.measurement.protocol import Protocol
from bench.measurement.session import Load, Outcome, Session, Window, per_item
from bench.meters import Channel, Counts, Meters
from bench.readings import Reading, total

PROTOCOL = Protocol(
    name="test",
    window_s=1.0,
    min_ticks=0,
    lead_in_s=0.2,
    jitter_s=0.1,
    warmup_s=2.0,
    warmup_tolerance=0.5,
    idle_s=5.0,
    min_blocks=4,
    max_blocks=8,
    half_width=0.02,
    max_discarded=0.3,
    max_steal=0.01,
    max_foreign=0.05,
    max_idle_drift=0.05,
    max_drift=1.0,
    max_disagreement=0.05,
    max_gpu_gap_c=3.0,
    max_cpu_gap_c=5.0,
    latency_requests=0,
    latency_s=0.0,
    max_examples=None,
    rehearsal=False,
)

FIRST_WINDOW = 2 + 2 * (overhead.WINDOWS + 1) + 2 + 1
"""Number of the meter's read that begins it: idle, empty windows and warm-up take two each."""


class FakeClock:
    """A clock that moves only when somebody sleeps or works."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def monotonic_ns(self) -> int:
        return round(self.now_s * 1e9)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class FakeMeter:
    """The exact integral of a power that the test sets; grade S, as whatever is simulated."""

    clock: FakeClock
    power_w: float = 50.0
    grade: str = "S"
    name: str = "fake"
    missing: dict[str, str] = field(default_factory=dict)
    fails_at: set[int] = field(default_factory=set)
    step_s: float = 0.0
    reads: int = 0
    _energy_j: float = 0.0
    _seen_s: float = 1000.0

    def open(self) -> tuple[Channel, ...]:
        return (Channel("cpu:0", "fake", self.grade, self.step_s),)  # type: ignore[arg-type]

    def draw(self, power_w: float) -> None:
        """Set the power from now on."""
        self._energy_j += self.power_w * (self.clock.now_s - self._seen_s)
        self._seen_s, self.power_w = self.clock.now_s, power_w

    def read(self) -> Counts:
        self.draw(self.power_w)
        self.reads += 1
        if self.reads in self.fails_at:
            return Counts({}, {"cpu:0": "unplugged"})
        return Counts({"cpu:0": self._energy_j})

    def close(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    for module in (measurement, overhead, session):
        monkeypatch.setattr(module, "time", fake)
    monkeypatch.setattr(measurement.machine, "cpu_seconds", lambda: fake.now_s)
    monkeypatch.setattr(HostLoad, "read", classmethod(lambda cls: HostLoad(None, None, None)))
    monkeypatch.setattr(HostState, "read", classmethod(lambda cls: HostState()))
    monkeypatch.setattr(session.machine, "power_limits_w", dict)
    return fake


@pytest.fixture
def meter(clock: FakeClock) -> FakeMeter:
    return FakeMeter(clock)


def work(clock: FakeClock, meter: FakeMeter, pass_s: float, power_w: Callable[[], float]) -> Load:
    def run(passes: int) -> None:
        idle_w = meter.power_w
        for _ in range(passes):
            meter.draw(power_w())
            clock.sleep(pass_s)
        meter.draw(idle_w)

    return Load(run, batch_items=10, request=lambda: run(1))


def measure(
    clock: FakeClock, meter: FakeMeter, protocol: Protocol = PROTOCOL, **changes: Any
) -> Outcome:
    arms = {
        "baseline": work(clock, meter, 0.1, lambda: 100.0),
        "variant": work(clock, meter, 0.05, lambda: 80.0),
    } | changes.pop("loads", {})
    with Meters((meter,), required=True) as meters:
        gauge = Gauge(meters, lambda: None)
        headline = available(meters.channels)[0]
        runner = Session(gauge, protocol, arms, 0, headline.of, lambda *_: None)
        return runner.run()


def test_joules_of_a_span_are_the_integral_of_the_power(clock: FakeClock, meter: FakeMeter) -> None:
    with Meters((meter,), required=True) as meters:
        gauge = Gauge(meters, lambda: None)
        with gauge.span("work") as span:
            clock.sleep(2.0)
            meter.draw(30.0)
            clock.sleep(1.0)
    assert span[0].wall_s == pytest.approx(3.0)
    assert span[0].readings[0].energy_j == pytest.approx(2 * 50 + 30)


def test_a_long_span_tells_what_it_has_cost_so_far(clock: FakeClock, meter: FakeMeter) -> None:
    with Meters((meter,), required=True) as meters:
        gauge = Gauge(meters, lambda: None)
        with gauge.span("train") as span:
            clock.sleep(2.0)
            assert gauge.so_far()[0].energy_j == pytest.approx(100)
            clock.sleep(1.0)
    assert span[0].readings[0].energy_j == pytest.approx(150)


def test_work_queued_before_the_span_is_not_charged_to_it(
    clock: FakeClock, meter: FakeMeter
) -> None:
    queued_s = [3.0]
    with Meters((meter,), required=True) as meters:
        gauge = Gauge(meters, lambda: clock.sleep(queued_s.pop() if queued_s else 0.0))
        with gauge.span("work") as span:
            clock.sleep(1.0)
    assert span[0].wall_s == pytest.approx(1.0)


def test_work_still_queued_at_the_end_belongs_to_the_span(
    clock: FakeClock, meter: FakeMeter
) -> None:
    queued_s: list[float] = []
    with Meters((meter,), required=True) as meters:
        gauge = Gauge(meters, lambda: clock.sleep(queued_s.pop() if queued_s else 0.0))
        with gauge.span("work") as span:
            queued_s.append(4.0)
    assert span[0].wall_s == pytest.approx(4.0)
    assert span[0].readings[0].energy_j == pytest.approx(200)


def test_a_slow_meters_own_work_lies_outside_the_clocks_span(
    clock: FakeClock, meter: FakeMeter
) -> None:
    slow = FakeMeter(clock, name="slow")
    read = slow.read
    slow.read = lambda: (clock.sleep(0.5), read())[1]  # type: ignore[method-assign]
    with Meters((meter, slow), required=True) as meters:
        gauge = Gauge(meters, lambda: None)
        with gauge.span("work") as span:
            clock.sleep(1.0)
    assert span[0].wall_s == pytest.approx(1.0)
    fast, _ = span[0].readings
    assert fast.energy_j == pytest.approx(50.0)


def test_a_ratio_is_exact_where_the_power_is(clock: FakeClock, meter: FakeMeter) -> None:
    """100 W for 0.1 s against 80 W for 0.05 s, the same ten samples: 4 J to 10 J."""
    outcome = measure(clock, meter)
    baseline, variant = per_item(outcome.windows, lambda s: s.readings[0].energy_j)
    assert baseline == pytest.approx(1.0)
    assert variant == pytest.approx(0.4)
    assert len(outcome.windows) == 4 * PROTOCOL.min_blocks
    assert outcome.invalid is None


def test_both_arms_fill_the_same_window(clock: FakeClock, meter: FakeMeter) -> None:
    outcome = measure(clock, meter)
    assert [w.span.wall_s for w in outcome.windows] == pytest.approx([1.0] * 16)
    assert {w.arm: w.items for w in outcome.windows} == {"baseline": 100, "variant": 200}


def test_a_linear_drift_cancels_within_a_block(clock: FakeClock, meter: FakeMeter) -> None:
    """Both arms draw the same power, which rises by 1 % a second; A/A must stay at 1."""
    start_s = clock.now_s

    def drifting() -> float:
        return 100.0 * (1 + 0.01 * (clock.now_s - start_s))

    same = {arm: work(clock, meter, 0.1, drifting) for arm in ("baseline", "variant")}
    # A lead-in of two passes and a half is three passes, whatever the clock's rounding.
    rules = replace(PROTOCOL, jitter_s=0.0, lead_in_s=0.25)
    outcome = measure(clock, meter, rules, loads=same)
    baseline, variant = per_item(outcome.windows, lambda s: s.readings[0].energy_j)
    assert variant.sum() / baseline.sum() == pytest.approx(1.0, abs=1e-4)
    assert variant[0, 0] / baseline[0, 0] != pytest.approx(1.0, abs=1e-2)  # half a block


def test_orders_alternate_and_mirror(clock: FakeClock, meter: FakeMeter) -> None:
    outcome = measure(clock, meter)
    orders = [
        "".join("A" if w.arm == "baseline" else "B" for w in outcome.windows[i : i + 4])
        for i in range(0, 16, 4)
    ]
    assert sorted(orders[:2]) == ["ABBA", "BAAB"]
    assert orders[:2] == orders[2:]
    assert orders == [outcome.windows[i].order for i in range(0, 16, 4)]


def test_a_failed_reading_discards_its_block_and_another_is_measured(
    clock: FakeClock, meter: FakeMeter
) -> None:
    meter.fails_at = {FIRST_WINDOW + 2}
    outcome = measure(clock, meter)
    assert [(d.block, d.condition) for d in outcome.discards] == [(0, "missing reading")]
    assert "unplugged" in outcome.discards[0].detail
    assert [w.kept for w in outcome.windows] == [False] * 4 + [True] * 16
    baseline, _ = per_item(outcome.windows, lambda s: s.readings[0].energy_j)
    assert baseline.shape == (4, 2)


def test_a_meter_that_is_lost_makes_the_session_invalid_and_ends_it(
    clock: FakeClock, meter: FakeMeter
) -> None:
    meter.fails_at = set(range(FIRST_WINDOW + 2, 10_000))
    outcome = measure(clock, meter)
    assert "blocks discarded" in (outcome.invalid or "")
    assert not any(window.kept for window in outcome.windows)
    assert len(outcome.windows) < 4 * 8


def test_measuring_goes_on_until_the_interval_is_narrow(clock: FakeClock, meter: FakeMeter) -> None:
    powers = iter([100, 100, 160, 160, 100, 100, 160, 160] * 100)
    noisy = {
        "baseline": Load(
            lambda n: (meter.draw(next(powers)), clock.sleep(0.1 * n))[1] or meter.draw(50),
            10,
            lambda: None,
        )
    }  # type: ignore[func-returns-value]
    outcome = measure(clock, meter, loads=noisy)
    assert len(outcome.windows) == 4 * PROTOCOL.max_blocks


def test_idle_that_drifts_on_a_counter_makes_the_session_invalid(
    clock: FakeClock, meter: FakeMeter
) -> None:
    meter.grade = "B"
    heating = {"variant": work(clock, meter, 0.05, lambda: 80.0)}
    run = heating["variant"].run
    outcome = measure(
        clock,
        meter,
        loads={"variant": Load(lambda n: (run(n), meter.draw(60.0))[0], 10, lambda: None)},
    )
    assert "idle power drifted by +20.0%, protocol.max_idle_drift=0.05" in (outcome.invalid or "")


def test_windows_grow_until_they_hold_enough_ticks(clock: FakeClock, meter: FakeMeter) -> None:
    meter.open = lambda: (Channel("cpu:0", "fake", "S", step_s=0.1),)  # type: ignore[method-assign]
    outcome = measure(clock, meter, replace(PROTOCOL, min_ticks=30))
    assert outcome.windows[0].span.wall_s == pytest.approx(3.0)


def span(**changes: Any) -> Span:
    reading = Reading("counters", "cpu:0", "zeus.rapl", "B", 5.0)
    whole = Span("window", 0, 10**9, 1.0, (reading,), 0.0, 0.0)
    return replace(whole, **changes)


def test_a_phase_of_several_spans_adds_joules_and_keeps_what_is_missing() -> None:
    lost = Reading("counters", "cpu:0", "zeus.rapl", "B", None, "lost")
    whole, torn = span().as_phase(), span(readings=(lost,)).as_phase()
    assert total([whole, whole]).readings[0].energy_j == 10.0
    assert total([whole, torn, whole]).readings == (lost,)


def test_joules_are_there_only_where_all_was_read_that_they_cover() -> None:
    """A GPU's joules alone are not what a machine of GPU and processor has taken."""
    figure = Figure("energy_j", "gpu:0+cpu:0", "counters", "B")
    cpu = Reading("counters", "cpu:0", "rapl", "B", 5.0)
    gpus = tuple(Reading("counters", f"gpu:{number}", "nvml", "B", 40.0) for number in (0, 1))
    assert figure.joules((cpu, gpus[0])) == 45.0
    assert figure.joules((cpu, *gpus)) == 85.0  # a training may take two where serving takes one
    assert figure.joules(gpus) is None
    assert figure.joules((replace(cpu, energy_j=None, reason="lost"), *gpus)) is None
    assert figure.joules(()) is None


def test_tables_hold_every_window_and_the_mean_power_of_every_span(
    clock: FakeClock, meter: FakeMeter
) -> None:
    with Meters((meter,), required=True) as meters:
        gauge = Gauge(meters, lambda: None)
        arms = {
            "baseline": work(clock, meter, 0.1, lambda: 100.0),
            "variant": work(clock, meter, 0.05, lambda: 80.0),
        }
        outcome = Session(gauge, PROTOCOL, arms, 0, WALL.of, lambda *_: None).run()
    windows = windows_frame(outcome.windows)
    assert windows.groupby("arm")["fake/cpu:0_j"].mean().to_dict() == pytest.approx(
        {"baseline": 100.0, "variant": 80.0}
    )
    trace = trace_frame(gauge.spans)
    assert trace.query("span == 'idle'")["power_w"].tolist() == pytest.approx([50.0, 50.0])
    assert len(trace) == len(windows) + 3


def windows_of(baseline: Reading, variant: Reading) -> list[Window]:
    readings = {"baseline": baseline, "variant": variant}
    return [
        Window(0, "ABBA", place, arm, 10, span(readings=(readings[arm],)), kept=True)  # type: ignore[arg-type]
        for place, arm in enumerate(("baseline", "variant", "variant", "baseline"))
    ]


@pytest.mark.parametrize(
    ("slow_s", "step_s", "condition", "passes"),
    [(0.5, 0.0, "too short", 2), (0.075, 0.01, "too few ticks", 13)],
)
def test_windows_that_a_disturbed_warm_up_made_short_are_planned_anew(
    clock: FakeClock, meter: FakeMeter, slow_s: float, step_s: float, condition: str, passes: int
) -> None:
    """Passes take longer while warming up than 0.05 s, of which 20 fill a window."""
    meter.step_s = step_s
    protocol = replace(PROTOCOL, min_ticks=100)
    with Meters((meter,), required=True) as meters:
        arms = {
            "baseline": work(clock, meter, 0.05, lambda: 100.0),
            "variant": work(clock, meter, 0.05, lambda: 80.0),
        }
        session = Session(Gauge(meters, lambda: None), protocol, arms, 0, WALL.of, lambda *_: None)
        slow = {arm: work(clock, meter, slow_s, lambda: 100.0) for arm in arms}
        quick, session.loads = session.loads, slow
        warm_up = session._warm_up

        def disturbed() -> Span:
            span = warm_up()
            session.loads = quick
            return span

        session._warm_up = disturbed  # type: ignore[method-assign]
        outcome = session.run()
    items = [(window.kept, window.items) for window in outcome.windows]
    assert [discard.condition for discard in outcome.discards] == [condition]
    assert items == [(False, 10 * passes)] * 4 + [(True, 200)] * 16
    assert outcome.invalid is None


@pytest.mark.parametrize(("grade", "seconds"), [("S", 2.0), ("A", 2.0), ("C", 1.0)])
def test_slow_counters_lengthen_windows_and_models_do_not(
    clock: FakeClock, meter: FakeMeter, grade: str, seconds: float
) -> None:
    """A hundred ticks of 0.02 s are 2 s."""
    meter.grade, meter.step_s = grade, 0.02
    outcome = measure(clock, meter, replace(PROTOCOL, min_ticks=100))
    assert [w.span.wall_s for w in outcome.windows] == pytest.approx([seconds] * 16)


def test_an_arm_warms_up_for_as_long_as_it_is_given(clock: FakeClock, meter: FakeMeter) -> None:
    """Thirty calibrations of a quarter of a window are 7.5 s."""
    begun_s = clock.now_s
    protocol = replace(PROTOCOL, warmup_s=60.0)
    outcome = measure(clock, meter, protocol)
    assert outcome.warmup.wall_s >= 60.0
    assert clock.now_s - begun_s > 60.0


COUNTER = Reading("counters", "cpu:0", "zeus.rapl", "B", 5.0)


@pytest.mark.parametrize(
    "other",
    [
        Reading("counters", "cpu:0", "codecarbon.cpu_load", "C", 5.0),
        Reading("counters", "cpu:0", "polled.rapl", "B", 5.0),
    ],
)
def test_arms_whose_joules_differ_in_grade_or_source_are_refused_by_name(other: Reading) -> None:
    with pytest.raises(OriginError) as refused:
        per_item(windows_of(COUNTER, other), lambda s: s.readings[0].energy_j)
    assert "zeus.rapl (grade B) in a window of the baseline" in str(refused.value)
    assert f"{other.source} (grade {other.grade}) in one of the variant" in str(refused.value)


def test_arms_of_one_origin_are_compared_whatever_the_other_meters_read() -> None:
    baseline, variant = per_item(windows_of(COUNTER, COUNTER), lambda s: s.readings[0].energy_j)
    assert (baseline == 0.5).all()
    assert (variant == 0.5).all()


def test_a_meter_that_changes_its_source_within_a_session_ends_it(
    clock: FakeClock, meter: FakeMeter
) -> None:
    """Counters that fall back on a model in mid-run must not be averaged with what came before."""
    with Meters((meter,), required=True) as meters:
        arms = {
            "baseline": work(clock, meter, 0.1, lambda: 100.0),
            "variant": work(clock, meter, 0.05, lambda: 80.0),
        }

        def fall_back(*_: object) -> None:
            meters.channels["fake"] = (Channel("cpu:0", "a.model", "C"),)

        gauge = Gauge(meters, lambda: None)
        runner = Session(gauge, PROTOCOL, arms, 0, lambda s: s.readings[0].energy_j, fall_back)
        with pytest.raises(
            OriginError, match=r"fake/cpu:0 is fake \(grade S\).*a\.model \(grade C\)"
        ):
            runner.run()


def test_the_host_is_looked_at_before_joules_that_come_late_are_waited_for(
    monkeypatch: pytest.MonkeyPatch, meter: FakeMeter
) -> None:
    """A wall meter's log may be a minute behind: by then the clocks are those of an idle host."""
    done: list[str] = []
    read, between = HostState.read, Meters.between
    monkeypatch.setattr(HostState, "read", lambda: (done.append("host"), read())[1])
    monkeypatch.setattr(Meters, "between", lambda *a: (done.append("joules"), between(*a))[1])
    with Meters((meter,), required=True) as meters, Gauge(meters, lambda: None).span("window"):
        done.clear()
    assert done == ["host", "joules"]


def test_a_rehearsal_is_not_refused_for_drifting() -> None:
    assert validity.too_much_drift(2.0, 1.3, PROTOCOL) is not None
    assert validity.too_much_drift(2.0, 1.3, replace(PROTOCOL, rehearsal=True)) is None


def test_an_empty_window_is_charged_what_passes_between_its_reads(
    clock: FakeClock, meter: FakeMeter
) -> None:
    """Each read of the meter takes 3 ms at 50 W: two of them lie between the counters, 0.15 J."""
    read = meter.read

    def slow() -> Counts:
        counts = read()
        clock.sleep(0.003)
        return counts

    meter.read = slow  # type: ignore[method-assign]
    with Meters((meter,), required=True) as meters:
        gauge = Gauge(meters, lambda: None)
        with gauge.span("idle") as idle:
            clock.sleep(10.0)
        found = overhead.calibrate(gauge, idle[0])
    assert found.windows == overhead.WINDOWS
    assert (found.wall_s, found.cpu_s) == pytest.approx((0.0, 0.0))
    assert found.edges_wall_s == pytest.approx(0.006)
    assert found.edges_cpu_s == pytest.approx(0.006)  # the fake clock works whenever time passes
    assert found.readings[0].energy_j == pytest.approx(0.003 * 50)
    assert found.cpu_share == pytest.approx(1.0)


def test_an_empty_window_that_cannot_be_read_has_no_joules_and_says_why(
    clock: FakeClock, meter: FakeMeter
) -> None:
    meter.fails_at = {6}
    with Meters((meter,), required=True) as meters:
        gauge = Gauge(meters, lambda: None)
        with gauge.span("idle") as idle:
            clock.sleep(1.0)
        (reading,) = overhead.calibrate(gauge, idle[0]).readings
    assert (reading.energy_j, reading.reason) == (None, "unplugged")


def test_a_baseline_that_drifts_makes_the_session_invalid(
    clock: FakeClock, meter: FakeMeter
) -> None:
    start_s = clock.now_s

    def drifting() -> float:
        return 100.0 * (1 + 0.01 * (clock.now_s - start_s))

    same = {arm: work(clock, meter, 0.1, drifting) for arm in ("baseline", "variant")}
    outcome = measure(clock, meter, replace(PROTOCOL, max_drift=0.1), loads=same)
    assert "the baseline's figure per sample drifted by" in (outcome.invalid or "")


@pytest.mark.parametrize(
    ("growth", "drift"),
    [
        (lambda x: 0.2 * x, "22.1%"),  # exp(0.2) - 1
        (lambda x: 0.8 * x * (1 - x), "22.1%"),  # up by 0.2 and down again
        (lambda x: 0.09 * x, None),
        (lambda x: 0.1 * (-1) ** round(x * 8), None),  # noise that goes nowhere
    ],
)
def test_drift_is_how_far_a_parabola_through_the_logarithms_moves(
    growth: Callable[[float], float], drift: str | None
) -> None:
    windows = [
        Window(
            index,
            "ABBA",
            0,
            "baseline",
            10,
            span(
                start_ns=index * 10**9,
                end_ns=(index + 1) * 10**9,
                readings=(replace(COUNTER, energy_j=math.exp(growth(index / 8))),),
            ),
            kept=True,
        )
        for index in range(9)
    ]
    rules = replace(PROTOCOL, max_drift=0.1)
    moved = validity.baseline_drift(windows, lambda s: s.readings[0].energy_j)
    found = validity.too_much_drift(None, moved, rules)
    assert (found is None) if drift is None else (drift in (found or ""))
