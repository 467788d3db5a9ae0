"""Polled power: the rule against exact integrals, and what gaps and failures do to it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from boards import Board, GpuIsLost, pynvml, uuid

from bench.meters import Counts, MeterError, difference
from bench.meters.nvml import selected
from bench.meters.polled import Integral, Polled, trapezoid_j


def sampled(power_w: Callable[[float], float], every_s: float, until_s: float) -> list[tuple]:
    return [(n * every_s, power_w(n * every_s)) for n in range(round(until_s / every_s) + 1)]


def test_a_ramp_is_integrated_exactly_between_any_two_moments() -> None:
    # 20 W to 100 W in 10 s: 20 t + 4 t**2 joules.
    samples = sampled(lambda t: 20 + 8 * t, 0.625, 10.0)
    for start_s, end_s in ((0.0, 10.0), (0.35, 9.1), (0.1, 0.2), (1.25, 1.875), (3.05, 3.06)):
        exact_j = 20 * (end_s - start_s) + 4 * (end_s**2 - start_s**2)
        assert trapezoid_j(samples, start_s, end_s) == pytest.approx(exact_j, rel=1e-12)


def test_a_sine_is_integrated_to_the_rules_own_error() -> None:
    # 60 W + 40 W sin(pi t), 0.5 Hz: the rule is off by at most t h**2 / 12 max|P''|, 0.8 J here.
    omega = math.pi
    samples = sampled(lambda t: 60 + 40 * math.sin(omega * t), 0.05, 10.0)
    exact_j = 60 * 8.4 + 40 / omega * (math.cos(omega * 0.9) - math.cos(omega * 9.3))
    bound_j = 8.4 * 0.05**2 / 12 * 40 * omega**2
    assert trapezoid_j(samples, 0.9, 9.3) == pytest.approx(exact_j, abs=bound_j)


def test_a_square_wave_is_off_by_half_a_step_per_edge_at_most() -> None:
    # 20 and 100 W at 1 Hz: 60 J a second, an edge can be half a period late or early.
    samples = sampled(lambda t: 20.0 if (t + 0.017) % 1 < 0.5 else 100.0, 0.05, 10.0)
    found_j = trapezoid_j(samples, 0.0, 10.0)
    assert found_j is not None
    assert abs(found_j - 600.0) < 20 * 0.025 * 80


@pytest.mark.parametrize(
    ("samples", "start_s", "end_s"),
    [
        ([], 0.0, 1.0),
        ([(0.5, 50.0)], 0.5, 0.5),
        ([(0.5, 50.0)], 0.0, 1.0),
        ([(0.0, 50.0), (1.0, 50.0)], 0.5, 1.5),
        ([(0.0, 50.0), (1.0, 50.0)], -0.5, 0.5),
        ([(0.0, 50.0), (1.0, 50.0)], 0.5, 0.5),
    ],
)
def test_what_the_samples_do_not_cover_is_missing_and_not_zero(
    samples: list[tuple[float, float]], start_s: float, end_s: float
) -> None:
    assert trapezoid_j(samples, start_s, end_s) is None


def test_the_running_integral_is_the_rule() -> None:
    samples = sampled(lambda t: 20 + 8 * t, 0.05, 10.0)
    running = Integral(longest_s=0.5)
    for at_s, power_w in samples:
        running.add(at_s, power_w)
    assert running.energy_j == pytest.approx(20 * 10 + 4 * 10**2)
    assert running.losses == 0


def test_a_gap_is_a_loss_and_the_power_in_it_is_not_guessed() -> None:
    running = Integral(longest_s=0.5)
    for at_s in (0.0, 0.4, 1.0, 1.4):
        running.add(at_s, 100.0)
    assert running.energy_j == pytest.approx(80.0)
    assert running.losses == 1
    assert running.reason == "no sample for 0.6 s, polled power is unknown in between"


Nvml = Callable[..., None]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Nvml:
    """Return a function that puts boards in the place of NVML's."""
    for variable in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "FAKE_NVML_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    return lambda *boards: monkeypatch.setitem(sys.modules, "pynvml", pynvml(boards))


@pytest.fixture
def polled() -> Iterator[Polled]:
    meter = Polled(period_s=0.01)
    yield meter
    meter.close()


def over(
    meter: Polled, channels: tuple, start: Counts, end: Counts
) -> dict[str, float | str | None]:
    readings = difference(meter.name, channels, start, end)
    return {r.component: r.reason if r.energy_j is None else r.energy_j for r in readings}


def test_each_gpu_is_polled_at_its_sharpest_sensor(nvml: Nvml, polled: Polled) -> None:
    nvml(Board(powers_w=[250.0]), Board(powers_w=[], usages_w=[100.0]))
    channels = polled.open()
    assert [(c.component, c.source, c.grade) for c in channels] == [
        ("gpu:0", "nvml.power_instant", "B"),
        ("gpu:1", "nvml.power_usage", "B"),
    ]
    began_s, start = time.monotonic(), polled.read()
    time.sleep(0.2)
    ended_s, end = time.monotonic(), polled.read()
    span_s = ended_s - began_s
    found = over(polled, channels, start, end)
    assert found["gpu:0"] == pytest.approx(250.0 * span_s, abs=250.0 * 0.01)
    assert found["gpu:1"] == pytest.approx(100.0 * span_s, abs=100.0 * 0.01)


def test_a_failed_poll_costs_the_span_its_joules_even_if_its_ends_were_read(
    nvml: Nvml, polled: Polled
) -> None:
    lost = GpuIsLost()
    nvml(Board(powers_w=[250.0, 250.0, 250.0, lost, 250.0]), Board())
    channels = polled.open()  # two polls, to find the sensor and to begin
    start = polled.read()  # the third, unless the thread was faster
    time.sleep(0.1)
    end = polled.read()
    assert not end.failures
    found = over(polled, channels, start, end)
    assert found["gpu:0"] == "GpuIsLost: GPU is lost"
    assert isinstance(found["gpu:1"], float)
    later = polled.read()
    assert isinstance(over(polled, channels, end, later)["gpu:0"], float)


def test_a_gpu_that_stays_lost_is_missing_with_the_reason(nvml: Nvml, polled: Polled) -> None:
    nvml(Board(powers_w=[250.0, 250.0, GpuIsLost()]))
    channels = polled.open()
    time.sleep(0.05)
    start, end = polled.read(), polled.read()
    assert (start.energy_j, start.failures) == ({}, {"gpu:0": "GpuIsLost: GPU is lost"})
    assert over(polled, channels, start, end) == {"gpu:0": "GpuIsLost: GPU is lost"}


def test_a_sensor_that_says_nothing_or_no_watts_is_missing(nvml: Nvml, polled: Polled) -> None:
    nvml(Board(powers_w=[0.0], usages_w=[0.0]), Board(powers_w=[], usages_w=[]))
    with pytest.raises(MeterError) as raised:
        polled.open()
    told = str(raised.value)
    assert "gpu:0: nvml.power_usage cannot be read: ValueError: the sensor said 0 W" in told
    assert "gpu:1: nvml.power_usage cannot be read: NvmlError: Not Supported" in told


def test_beside_the_counters_only_gpus_without_one_are_polled(nvml: Nvml) -> None:
    nvml(Board(), Board(energies_j=[]))
    meter = Polled(only_without_counter=True)
    assert [c.component for c in meter.open()] == ["gpu:1"]
    meter.close()
    nvml(Board())
    with pytest.raises(MeterError, match="every visible GPU has an energy counter"):
        meter.open()


@pytest.mark.parametrize("period_s", [0, 0.11, -1])
def test_a_period_out_of_range_is_named(period_s: float) -> None:
    with pytest.raises(ValueError, match=rf"meter\.polled\.period_s={period_s} should lie between"):
        Polled(period_s=period_s)


UUIDS = [uuid(number) for number in range(3)] + ["GPU-2abd0000"]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, [0, 1, 2, 3]),
        ("2", [2]),
        ("2,0", [2, 0]),
        (" 1 , 2 ", [1, 2]),
        ("0,9,1", [0]),  # an entry that names none ends the list
        ("1,-1,2", [1]),
        ("0,0,1", [0, 1]),
        (uuid(1), [1]),
        ("GPU-1", [1]),
        ("gpu-1ABC", [1]),
        (f"{uuid(2)},{uuid(0)}", [2, 0]),
        ("GPU-0,GPU-2,GPU-1", [0]),  # two begin with GPU-2
        ("GPU-2abd", [3]),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(
    setting: str | None, expected: list[int]
) -> None:
    assert selected(setting, UUIDS) == expected


@pytest.mark.parametrize("setting", ["", "-1", "NoDevFiles", "7", "GPU-9"])
def test_a_setting_that_leaves_no_gpu_is_named(setting: str) -> None:
    with pytest.raises(MeterError, match=rf"NVML lists 4 and CUDA_VISIBLE_DEVICES is '{setting}'"):
        selected(setting, UUIDS)


@pytest.mark.parametrize("setting", ["MIG-5c89", "MIG-GPU-0abc/1/0", "0,MIG-5c89"])
def test_a_slice_of_a_gpu_is_refused_as_its_joules_are_the_boards(setting: str) -> None:
    with pytest.raises(MeterError, match=r"never those of a slice.*nvidia-smi -i N -mig 0"):
        selected(setting, UUIDS)
