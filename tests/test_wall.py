"""The wall meter on logs whose energy is known in closed form, and on every way a log can fail."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from bench.measurement import Gauge
from bench.meters import Counts, MeterError, Meters, difference
from bench.meters.wall import Wall
from bench.meters.wall.log import Layout, Log, LogError

PLAIN = Layout("time", "power_w", "epoch_s")
COUNTED = Layout("time", "energy_j", "epoch_s", cumulative=True)
PTDAEMON = Layout("Time", "Watts", "%m-%d-%Y %H:%M:%S.%f", paired=True)


def log(path: Path, text: str, layout: Layout = PLAIN, offset_s: float = 0.0) -> Log:
    path.write_text(text)
    made = Log(path, layout, offset_s)
    made.open()
    return made


def lines(*samples: tuple[float, float], column: str = "power_w") -> str:
    return f"time,{column}\n" + "".join(f"{t},{v}\n" for t, v in samples)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "power.csv"


def test_a_ramp_is_integrated_exactly_with_its_edges_interpolated(file: Path) -> None:
    # P = 10 t, so the energy is 5 (t2**2 - t1**2) whatever the edges.
    made = log(file, lines(*((t, 10.0 * t) for t in range(11))))
    for start_s, end_s in ((0.0, 10.0), (2.25, 7.5), (3.1, 3.9), (4.0, 5.0)):
        expected_j = 5 * (end_s**2 - start_s**2)
        assert made.joules(start_s, end_s) == pytest.approx(expected_j, rel=1e-12)


def test_cumulative_joules_are_interpolated_between_their_samples(file: Path) -> None:
    text = lines((0, 1000), (1, 1050), (2, 1150), (3, 1200), column="energy_j")
    made = log(file, text, COUNTED)
    assert made.joules(0.5, 2.5) == pytest.approx(1175 - 1025)


def test_the_offset_puts_the_log_on_our_clock(file: Path) -> None:
    made = log(file, lines(*((t, 10.0 * t) for t in range(11))), offset_s=100.0)
    assert made.joules(102.0, 104.0) == pytest.approx(5 * (16 - 4))


def test_ptdaemons_lines_are_read_month_first_and_its_messages_left_out(file: Path) -> None:
    seconds = [f"Time,11-21-2026 10:00:0{s}.500,Watts,{50 + s},Volts,230.1\n" for s in range(4)]
    made = log(file, "Starting untimed measurement\n" + "".join(seconds), PTDAEMON)
    start_s = datetime(2026, 11, 21, 10, 0, 1).timestamp()
    assert made.joules(start_s, start_s + 2) == pytest.approx(2 * 51.5)


def test_iso_times_with_a_zone_are_read(file: Path) -> None:
    layout = Layout("time", "power_w", "iso8601")
    stamps = [f"2026-11-21T12:00:0{s}+02:00,40\n" for s in range(3)]
    made = log(file, "time,power_w\n" + "".join(stamps), layout)
    start_s = datetime.fromisoformat("2026-11-21T10:00:00Z").timestamp()
    assert made.joules(start_s, start_s + 2) == pytest.approx(80.0)


def test_a_hole_of_over_three_periods_refuses_the_spans_that_touch_it_only(file: Path) -> None:
    times = [*range(10), *range(14, 20)]  # five seconds without a sample
    made = log(file, lines(*((t, 50.0) for t in times)))
    for span in ((8.0, 15.0), (9.5, 10.0), (8.0, 10.0), (12.0, 16.0)):
        with pytest.raises(LogError, match=r"hole of 5\.00 s in the span; it samples every 1 s"):
            made.joules(*span)
    assert made.joules(1.0, 9.0) == pytest.approx(400.0)
    assert made.joules(14.0, 19.0) == pytest.approx(250.0)
    # Three periods are still interpolated.
    near = log(file, lines(*((t, 50.0) for t in (*range(10), 12, 13, 14))))
    assert near.joules(8.0, 13.0) == pytest.approx(250.0)


def test_a_span_that_the_log_does_not_cover_is_refused(file: Path) -> None:
    made = log(file, lines((5, 50), (6, 50), (7, 50)))
    with pytest.raises(LogError, match="begins after the span"):
        made.joules(4.9, 6.0)
    with pytest.raises(LogError, match=r"ends 0\.50 s before the span does$"):
        made.joules(5.0, 7.5)


def test_a_log_that_is_cut_off_in_a_line_never_gives_that_lines_first_digits(file: Path) -> None:
    made = log(file, lines((0, 50), (1, 50), (2, 50)) + "3,5")  # of 52
    with pytest.raises(LogError, match=r"ends 1\.00 s before .*, in the middle of a line"):
        made.joules(0.0, 3.0)
    with file.open("a") as more:
        more.write("2\n")
    made.update()
    assert made.joules(2.0, 3.0) == pytest.approx(51.0)


@pytest.mark.parametrize("bad", ["1.5,", "1.5,nan", "1.5,-3", "1.5,5,7", "1.5", "x,50", "1.52,50"])
def test_a_line_that_is_no_sample_refuses_the_spans_over_it_only(file: Path, bad: str) -> None:
    bad = bad.replace("1.52,50", "1.52.03,50")  # two lines run into one
    made = log(file, f"time,power_w\n0,50\n1,50\n{bad}\n2,50\n3,50\n4,50\n")
    with pytest.raises(LogError):
        made.joules(0.5, 2.5)
    assert made.joules(2.0, 4.0) == pytest.approx(100.0)


def test_a_counter_that_goes_back_refuses_the_spans_over_it_only(file: Path) -> None:
    text = lines((0, 10), (1, 60), (2, 5), (3, 55), (4, 105), column="energy_j")
    made = log(file, text, COUNTED)
    with pytest.raises(LogError, match="the counter went back by 55 J"):
        made.joules(0.5, 3.5)
    assert made.joules(2.0, 4.0) == pytest.approx(100.0)


def test_times_that_go_back_while_we_measure_break_the_log(file: Path) -> None:
    made = log(file, lines((100, 50), (0, 50), (1, 50), (2, 50)))  # an earlier session before
    assert made.joules(0.0, 2.0) == pytest.approx(100.0)
    with file.open("a") as more:
        more.write("1.5,50\n3,50\n4,50\n")
    made.update()
    with pytest.raises(LogError, match=r"went back by 0\.500 s"):
        made.joules(0.0, 2.0)


@pytest.mark.parametrize("how", ["cut", "replaced", "removed"])
def test_a_log_that_is_cut_or_replaced_while_we_measure_breaks(file: Path, how: str) -> None:
    made = log(file, lines(*((t, 50) for t in range(9))))
    if how == "cut":
        os.truncate(file, 20)
    else:
        file.rename(file.with_suffix(".old"))
    if how == "replaced":
        file.write_text(lines(*((t, 50) for t in range(99))))
    made.update()
    with pytest.raises(LogError, match=r"was cut or replaced|cannot be read any more"):
        made.joules(0.0, 2.0)


def test_of_a_long_log_only_the_end_is_read(file: Path) -> None:
    made = log(file, lines(*((t, 50) for t in range(50_000))))
    assert len(made.times_s) < 10_000
    assert made.joules(49_990.5, 49_998.5) == pytest.approx(400.0)


def test_columns_that_are_not_there_are_named(file: Path) -> None:
    with pytest.raises(LogError, match="'stamp,watts' names no column time and no power_w"):
        log(file, "stamp,watts\n0,50\n")


class Writer(threading.Thread):
    """Writes watts of a ramp of 100 W/s every ``period_s``, as a meter's logger does."""

    def __init__(self, path: Path, period_s: float = 0.05, ahead_s: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.path, self.period_s, self.ahead_s = path, period_s, ahead_s
        self.zero_s, self.ended, self.tail = time.time() - 1.0, threading.Event(), ""
        self.path.write_text("time,power_w\n")

    def run(self) -> None:
        with self.path.open("a", buffering=1) as out:
            while not self.ended.wait(self.period_s):
                now_s = time.time()
                out.write(f"{now_s + self.ahead_s:.6f},{100 * (now_s - self.zero_s):.6f}\n")
            out.write(self.tail)

    def joules(self, start_s: float, end_s: float) -> float:
        """The true energy, half a kilowatt times the squares."""
        return 50 * ((end_s - self.zero_s) ** 2 - (start_s - self.zero_s) ** 2)


@pytest.fixture
def writer(file: Path) -> Iterator[Callable[..., Writer]]:
    made: list[Writer] = []

    def start(**knobs: float) -> Writer:
        made.append(Writer(file, **knobs))
        made[0].start()
        return made[0]

    yield start
    for one in made:
        one.ended.set()
        one.join()


def test_a_span_under_a_living_log_has_its_true_energy_although_the_log_lags(
    file: Path, writer: Callable[..., Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("RAPL_RIG", "FAKE_NVML_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    living = writer()
    with Meters((Wall(log=str(file), device="plug"),), required=True) as meters:
        ((channel,),) = meters.channels.values()
        assert (channel.component, channel.source, channel.grade) == ("wall", "wall.plug", "A")
        assert channel.step_s == pytest.approx(0.05, rel=0.3)
        start, begun_s = meters.read(slowest_first=True), time.time()
        time.sleep(0.37)
        end, ended_s = meters.read(slowest_first=False), time.time()
        (early,) = meters.between(start, end, wait=False)
        assert early.energy_j is None or early.energy_j > 0
        (reading,) = meters.between(start, end)
        assert reading.energy_j == pytest.approx(living.joules(begun_s, ended_s), rel=0.01)
        assert (reading.meter, reading.reason) == ("wall", None)


def test_progress_does_not_wait_for_the_log_and_a_span_does(
    file: Path, writer: Callable[..., Writer]
) -> None:
    writer(period_s=0.4)
    with Meters((Wall(log=str(file)),), required=True) as meters:
        gauge = Gauge(meters, lambda: None)
        with gauge.span("window") as span:
            time.sleep(0.1)
            asked_s = time.monotonic()
            (soon,) = gauge.so_far()
            assert time.monotonic() - asked_s < 0.2
        assert soon.energy_j is None
        assert soon.reason is not None
        assert "before the span" in soon.reason
        assert span[0].readings[0].energy_j is not None
        assert span[0].wall_s < 0.35  # the wait lies outside its clock


def test_a_log_that_stops_in_mid_run_gives_a_reason_and_no_joules(
    file: Path, writer: Callable[..., Writer]
) -> None:
    living = writer()
    living.tail = f"{time.time() + 9},9"  # it dies in the middle of a line
    with Meters((Wall(log=str(file), max_lag_s=0.4),), required=True) as meters:
        start = meters.read(slowest_first=True)
        time.sleep(0.2)
        living.ended.set()
        living.join()
        time.sleep(0.2)
        (reading,) = meters.between(start, meters.read(slowest_first=False))
    assert reading.energy_j is None
    assert reading.reason is not None
    assert reading.reason.endswith("before the span does, in the middle of a line")


@pytest.mark.parametrize(("ahead_s", "where"), [(2.0, "ahead of"), (-2.0, "behind")])
def test_a_clock_that_is_not_ours_is_refused_with_the_offset_that_mends_it(
    file: Path, writer: Callable[..., Writer], ahead_s: float, where: str
) -> None:
    writer(ahead_s=ahead_s)
    with pytest.raises(MeterError, match=rf"(1\.9|2\.[01])\d s {where} ours.*clock_offset_s="):
        Wall(log=str(file)).open()
    meter = Wall(log=str(file), clock_offset_s=-ahead_s)
    assert abs(meter.open()[0].detail["clock_error_s"]) < 0.2
    meter.close()
    meter.close()


def test_a_clock_that_drifts_away_in_mid_run_gives_a_reason_and_no_joules(
    file: Path, writer: Callable[..., Writer]
) -> None:
    living = writer()
    meter = Wall(log=str(file), max_clock_error_s=0.3)
    channels = meter.open()
    start = meter.read()
    living.ahead_s = 0.6  # it was set while we measured
    time.sleep(0.2)
    (reading,) = difference("wall", channels, *meter.settled(start, meter.read(), wait=True))
    meter.close()
    assert reading.energy_j is None
    assert reading.reason is not None
    assert "ahead of ours, more than meter.wall.max_clock_error_s=0.3" in reading.reason


def test_simulated_watts_are_never_graded_as_measured(
    file: Path, writer: Callable[..., Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer()
    file.write_text("# Simulated by a test\ntime,power_w\n")
    meter = Wall(log=str(file))
    assert meter.open()[0].grade == "S"
    meter.close()
    file.write_text("time,power_w\n")
    monkeypatch.setenv("RAPL_RIG", "rig.json")
    assert meter.open()[0].grade == "S"
    meter.close()


def test_a_log_that_nobody_writes_is_refused(file: Path) -> None:
    file.write_text(lines((0, 50), (1, 50), (2, 50)))
    with pytest.raises(MeterError, match=r"none of them arrived in meter\.wall\.max_lag_s=0\.1"):
        Wall(log=str(file), max_lag_s=0.1).open()


def test_a_log_that_is_not_set_or_not_there_is_named_with_the_way_out(file: Path) -> None:
    with pytest.raises(MeterError, match=r"meter\.wall\.log is not set: name the CSV file"):
        Wall().open()
    with pytest.raises(
        MeterError, match=r"meter\.wall\.log='.*power\.csv' cannot be used.*No such"
    ):
        Wall(log=str(file)).open()


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"layout": "xml"}, "meter.wall.layout='xml' should be plain or ptdaemon"),
        ({"max_lag_s": 0}, "meter.wall.max_lag_s=0 should be above 0"),
        ({"power_w_column": "p", "energy_j_column": "e"}, "one of them is read"),
    ],
)
def test_knobs_out_of_range_are_named(knobs: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Wall(**knobs)  # type: ignore[arg-type]


def test_the_meter_can_be_sent_to_another_process_before_it_is_opened() -> None:
    assert pickle.loads(pickle.dumps(Wall(log="power.csv"))) == Wall(log="power.csv")
    assert Wall().read().energy_j == {}
    assert Wall().settled(Counts({}), Counts({}), wait=True) == (Counts({}), Counts({}))
