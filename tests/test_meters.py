"""The meters on stand-ins with known counts, and CodeCarbon's model on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from bench.meters import Channel, Counts, MeterError, counter_grade, difference
from bench.meters.codecarbon import CodeCarbon, _losses
from bench.meters.counters import Counters

CONF = Path(__file__).parents[1] / "conf"
CPU = Channel("cpu:0", "zeus.rapl", "B")


class Zone:
    """A RAPL package of zeus that counts what it is told, in millijoules."""

    def __init__(self, index: int, *counts: tuple[float, float | None] | Exception) -> None:
        self.cpu_index, self._counts = index, iter(counts)
        self.has_dram = any(isinstance(c, tuple) and c[1] is not None for c in counts)

    def supports_get_dram_energy_consumption(self) -> bool:
        return self.has_dram

    def get_total_energy_consumption(self) -> Any:
        count = next(self._counts)
        if isinstance(count, Exception):
            raise count
        return SimpleNamespace(cpu_mj=count[0], dram_mj=count[1])


class Gpu:
    """A GPU of zeus that counts what it is told, in millijoules."""

    def __init__(self, index: int, name: str, *counts: float, supported: bool = True) -> None:
        self.gpu_index, self._name, self._supported = index, name, supported
        self._counts = iter(counts)

    def get_name(self) -> str:
        return self._name

    def supports_get_total_energy_consumption(self) -> bool:
        return self._supported

    def get_total_energy_consumption(self) -> float:
        return next(self._counts)


Devices = Callable[..., None]


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Devices:
    """Return a function that puts stand-ins in the place of zeus's devices."""
    for variable in ("RAPL_RIG", "FAKE_NVML_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("platform.system", lambda: "Linux")

    def place(
        zones: list[Zone] | Exception, gpus: list[Gpu] | Exception, names: tuple[str, ...] = ()
    ) -> None:
        for number, name in enumerate(names or ("package-0",)):
            folder = tmp_path / f"intel-rapl:{number}"
            folder.mkdir()
            (folder / "name").write_text(name + "\n")

        def get_cpus() -> Any:
            if isinstance(zones, Exception):
                raise zones
            return SimpleNamespace(cpus=zones, rapl_dir=str(tmp_path))

        def get_gpus() -> Any:
            if isinstance(gpus, Exception):
                raise gpus
            return SimpleNamespace(gpus=gpus)

        monkeypatch.setattr("zeus.device.get_cpus", get_cpus)
        monkeypatch.setattr("zeus.device.get_gpus", get_gpus)

    return place


def reading(meter: Counters, start: Counts, end: Counts, component: str) -> Any:
    channels = tuple(c for sensor in meter._sensors for c in sensor.channels)
    return next(r for r in difference("counters", channels, start, end) if r.component == component)


def test_a_span_over_lost_joules_has_none_even_if_both_ends_were_read() -> None:
    start = Counts({"cpu:0": 10.0})
    end = Counts({"cpu:0": 30.0}, breaks={"cpu:0": (1, "the file was gone for a second")})
    assert difference("m", (CPU,), start, start)[0].energy_j == 0.0
    (lost,) = difference("m", (CPU,), start, end)
    assert (lost.energy_j, lost.reason) == (None, "the file was gone for a second")
    (after,) = difference("m", (CPU,), end, Counts({"cpu:0": 35.0}, breaks=end.breaks))
    assert (after.energy_j, after.reason) == (5.0, None)


def test_millijoules_become_joules(devices: Devices) -> None:
    counts = [(1_000.0, 500.0), (1_000.0, 500.0), (3_500.0, 700.0)]
    devices([Zone(0, *counts)], [Gpu(3, "H100", 9e6, 9e6, 9.25e6)])
    meter = Counters()
    assert [c.component for c in meter.open()] == ["gpu:3", "cpu:0", "dram:0"]
    start, end = meter.read(), meter.read()
    joules = {name: reading(meter, start, end, name).energy_j for name in end.energy_j}
    assert joules == {"gpu:3": 250.0, "cpu:0": 2.5, "dram:0": pytest.approx(0.2)}


def test_the_platform_zone_is_no_package(devices: Devices) -> None:
    zones = [Zone(n, (1.0, None)) for n in range(3)]
    devices(zones, RuntimeError("no driver"), names=("package-0", "psys", "package-1"))
    meter = Counters()
    found = {c.component: c.detail["name"] for c in meter.open()}
    assert found == {"cpu:0": "package-0", "cpu:1": "package-1"}
    assert set(meter.missing) == {"gpu", "dram:0", "dram:1"}


def test_a_counter_that_fails_in_the_run_gives_a_reason_and_no_joules(devices: Devices) -> None:
    zone = Zone(0, (1.0, None), (1.0, None), OSError("device is gone"))
    devices([zone], [Gpu(0, "H100", 1.0, 1.0, 4_001.0)])
    meter = Counters()
    meter.open()
    start, end = meter.read(), meter.read()
    failed = reading(meter, start, end, "cpu:0")
    assert (failed.energy_j, failed.reason) == (None, "OSError: device is gone")
    assert reading(meter, start, end, "gpu:0").energy_j == 4.0


def test_a_counter_that_goes_back_gives_a_reason_and_no_joules(devices: Devices) -> None:
    # It restarts at 5 J: the span to 200 J would look like 100 J if only the ends were compared.
    counts = [(100e3, None), (100e3, None), (5e3, None), (200e3, None), (203e3, None)]
    devices([Zone(0, *counts)], RuntimeError("no driver"))
    meter = Counters()
    meter.open()
    before, restart, after, last = (meter.read() for _ in range(4))
    for start, end in ((before, restart), (restart, after), (before, after)):
        failed = reading(meter, start, end, "cpu:0")
        assert (failed.energy_j, failed.reason) == (None, "the counter went back by 95 J")
    assert reading(meter, after, last, "cpu:0").energy_j == 3.0


def test_what_is_missing_beside_a_counter_is_named(devices: Devices) -> None:
    gpus = [Gpu(0, "GTX 1080", supported=False), Gpu(1, "H100")]  # the second has nothing to say
    devices([Zone(0, (1.0, 1.0))], gpus)
    meter = Counters()
    assert [c.component for c in meter.open()] == ["cpu:0", "dram:0"]
    assert meter.missing["gpu:0"] == "GTX 1080 has no energy counter, and polled power is none"
    assert meter.missing["gpu:1"].startswith("zeus.nvml cannot be read: StopIteration")


def test_without_a_counter_the_error_names_the_file_and_the_command(devices: Devices) -> None:
    path = "/sys/class/powercap/intel-rapl/intel-rapl:0/energy_uj"
    denied = RuntimeError("no permission")
    denied.__cause__ = PermissionError(13, "Permission denied", path)
    devices(denied, RuntimeError("Driver Not Loaded."))
    with pytest.raises(MeterError) as raised:
        Counters().open()
    told = str(raised.value)
    assert path in told
    assert "sudo chmod -R a+r /sys/class/powercap/intel-rapl*" in told
    assert "RuntimeError: Driver Not Loaded. It can be read where `nvidia-smi`" in told


def test_a_machine_without_rapl_is_told_that_it_may_be_virtual(
    devices: Devices, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    devices(RuntimeError("unavailable"), RuntimeError("no driver"))
    monkeypatch.setattr("bench.meters.counters._RAPL_ROOT", tmp_path / "absent")
    with pytest.raises(MeterError, match="absent does not exist: a virtual machine usually has"):
        Counters().open()


def test_simulated_sensors_are_never_graded_as_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("RAPL_RIG", "FAKE_NVML_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    assert [counter_grade(c) for c in ("cpu:0", "dram:0", "gpu:1", "soc:cpu")] == ["B"] * 4
    assert counter_grade("gpu:0", "NVIDIA Fake H100") == "S"
    monkeypatch.setenv("RAPL_RIG", "rig.json")
    assert [counter_grade(c) for c in ("cpu", "dram:0", "gpu:1")] == ["S", "S", "B"]
    monkeypatch.setenv("FAKE_NVML_PROFILE", "constant:250")
    assert counter_grade("gpu:1") == "S"


@pytest.mark.parametrize(
    ("kind", "figures", "expected"),
    [
        (
            "AppleSilicon",
            {"cpu_total_mj": 4_000, "gpu_mj": 2_000, "dram_mj": 500, "efficiency_cores_mj": [1]},
            {"soc:cpu": 4.0, "soc:gpu": 2.0, "soc:dram": 0.5},
        ),
        # A Jetson's total contains its other figures.
        (
            "Jetson",
            {"cpu_energy_mj": 1_000.0, "gpu_energy_mj": 2_000.0, "total_energy_mj": 7_000.0},
            {"soc:total": 7.0},
        ),
        ("Jetson", {"cpu_energy_mj": 1_000.0}, {"soc:cpu": 1.0}),
    ],
)
def test_figures_of_a_chip_do_not_contain_one_another(
    devices: Devices,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    figures: dict[str, Any],
    expected: dict[str, float],
) -> None:
    devices(RuntimeError("no RAPL"), RuntimeError("no driver"))
    chip = type(
        kind,
        (),
        {
            "get_available_metrics": lambda _: set(figures),
            "get_total_energy_consumption": lambda _: SimpleNamespace(**figures),
        },
    )
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("zeus.device.get_soc", chip)
    meter = Counters()
    sources = {c.source for c in meter.open()}
    assert meter.read().energy_j == expected
    assert sources == {"zeus.jetson" if kind == "Jetson" else "zeus.apple"}


def test_closing_ends_the_wrap_around_watchers_and_twice_is_harmless(devices: Devices) -> None:
    ended: list[str] = []
    zone = Zone(0, (1.0, 1.0))
    for name in ("rapl_file", "dram"):
        watcher = SimpleNamespace(_stop=lambda name=name: ended.append(name))
        setattr(zone, name, SimpleNamespace(_wraparound_tracker=watcher))
    devices([zone], RuntimeError("no driver"))
    meter = Counters()
    meter.open()
    meter.close()
    meter.close()
    assert ended == ["rapl_file", "dram"]


def test_importing_the_meters_imports_no_sensor_library() -> None:
    code = (
        "import sys, bench.meters.counters, bench.meters.codecarbon; "
        "print(sorted({'zeus', 'codecarbon', 'torch', 'pynvml', 'pandas'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


@pytest.mark.parametrize(
    ("group", "names", "required"),
    [
        ("counters", ["counters"], True),
        ("codecarbon", ["codecarbon"], True),
        ("all", ["counters", "codecarbon"], False),
        ("none", [], False),
    ],
)
def test_the_configuration_builds_its_meters(group: str, names: list[str], required: bool) -> None:
    with initialize_config_dir(str(CONF), version_base=None):
        tree = dict(compose(overrides=[f"+meter={group}"]).meter)
    assert tree.pop("required") is required
    assert [instantiate(node).name for node in tree.values()] == names


def test_codecarbons_knobs_can_be_set_on_the_command_line() -> None:
    with initialize_config_dir(str(CONF), version_base=None):
        tree = compose(overrides=["+meter=all", "meter.codecarbon.cpu_power_w=65"]).meter
    expected = CodeCarbon(country_iso_code="USA", sample_s=1.0, cpu_power_w=65)
    assert instantiate(tree.codecarbon) == expected


@pytest.mark.parametrize("knob", ["sample_s", "cpu_power_w"])
def test_a_knob_out_of_range_is_named(knob: str) -> None:
    with pytest.raises(ValueError, match=rf"meter\.codecarbon\.{knob}=0 should be above 0"):
        CodeCarbon(**{"country_iso_code": "USA", knob: 0})


@pytest.mark.parametrize("wrong", ["DE", "Germany"])
def test_an_unknown_country_is_named_with_the_nearest_code(wrong: str) -> None:
    meter = CodeCarbon(country_iso_code=wrong)
    with pytest.raises(
        MeterError, match=rf"country_iso_code='{wrong}' .* nearest: DEU \(Germany\)"
    ):
        meter.open()
    assert CodeCarbon._running is None


def test_a_codecarbon_that_hands_over_no_totals_has_failed_and_is_not_zero() -> None:
    def flush() -> None:
        meter._log.suppressed = "OSError: the sensor is gone"  # as its log would have it

    meter = CodeCarbon(country_iso_code="USA")
    meter._tracker = SimpleNamespace(flush=flush, breaks={}, stop=lambda: None)
    meter._channels = (Channel("cpu", "codecarbon.rapl", "B"),)
    counts = meter.read()
    told = "meter.codecarbon: no totals came: OSError: the sensor is gone"
    assert (counts.energy_j, counts.failures) == ({}, {"cpu": told})


def test_a_counter_that_codecarbon_could_not_read_is_a_loss() -> None:
    zones = [SimpleNamespace(path="/a", sample_skipped=False)]
    cpu = SimpleNamespace(_intel_interface=SimpleNamespace(_rapl_files=zones))
    cards = [
        SimpleNamespace(gpu_index=n, _has_counter=True, _use_power_fallback=False) for n in "01"
    ]
    gpu = SimpleNamespace(devices=SimpleNamespace(devices=cards), _get_gpu_ids=lambda: ["0"])
    ram = SimpleNamespace()
    assert _losses([ram, cpu, gpu]) == {}
    zones.append(SimpleNamespace(path="/b", sample_skipped=True))
    cards[1]._use_power_fallback = True  # not ours
    assert _losses([ram, cpu, gpu]) == {"cpu": "/b could not be read, CodeCarbon counted nothing"}
    cards[0]._use_power_fallback = True
    assert _losses([gpu]) == {"gpu": "GPU 0's counter failed, CodeCarbon polled power"}
    cards[0]._has_counter = False  # then power is its declared method, with grade C
    assert _losses([gpu]) == {}


SCRIPT = """
import json, socket, threading, time
from bench.meters.codecarbon import CodeCarbon

def refuse(*_, **__):
    raise OSError("no network in a meter")

meter = CodeCarbon("USA", cpu_power_w=100)
channels = meter.open()
socket.socket.connect = socket.getaddrinfo = refuse
try:
    CodeCarbon("USA").open()
except Exception as err:
    second = str(err)
time.sleep(0.3)
reads = [(time.monotonic(), dict(meter.read().energy_j)) for _ in range(2)]  # well within 50 ms
time.sleep(1.5)
reads.append((time.monotonic(), dict(meter.read().energy_j)))
failures = dict(meter.read().failures)
meter.close()
meter.close()
left = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
print(json.dumps({
    "channels": {c.component: [c.source, c.grade, dict(c.detail)] for c in channels},
    "reads": reads, "failures": failures, "left": left, "second": second,
}))
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """CodeCarbon in a fresh process whose user has a hostile ~/.codecarbon.config."""
    home, work = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("work")
    hostile = ("pue=2", "force_ram_power=999", "save_to_api=true", "electricitymaps_api_token=x")
    (home / ".codecarbon.config").write_text("\n".join(["[codecarbon]", *hostile]))
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(work), "PYTHONPATH": root}
    for variable in ("RAPL_RIG", "FAKE_NVML_PROFILE"):
        environment.pop(variable, None)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=work, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(
        **json.loads(done.stdout), stderr=done.stderr, files=list(work.iterdir())
    )


def test_codecarbons_models_are_graded_as_models_with_their_constants(
    session: SimpleNamespace,
) -> None:
    source, grade, detail = session.channels["cpu"]
    assert (source, grade, detail["tdp_w"]) == ("codecarbon.cpu_load", "C", 100)
    assert detail["tdp_from"] == "meter.codecarbon.cpu_power_w"
    source, grade, detail = session.channels["ram"]
    assert (source, grade) == ("codecarbon.ram_model", "C")
    assert (detail["pue"], detail["country_iso_code"]) == (1.0, "USA")


def test_codecarbons_ram_figure_is_its_constant_times_the_time(session: SimpleNamespace) -> None:
    (start_s, start), _, (end_s, end) = session.reads
    power_w = session.channels["ram"][2]["power_w"]
    assert power_w < 999
    assert end["ram"] - start["ram"] == pytest.approx(power_w * (end_s - start_s), rel=0.03)
    # The CPU's model lies between 10 % and all of its TDP.
    assert 10 * 0.97 < (end["cpu"] - start["cpu"]) / (end_s - start_s) < 100


def test_a_reading_right_after_another_is_a_sample_of_its_own(session: SimpleNamespace) -> None:
    (_, first), (_, second), _ = session.reads
    assert 0 < second["ram"] - first["ram"] < 0.05 * session.channels["ram"][2]["power_w"]


def test_codecarbon_leaves_no_file_no_thread_no_noise_and_asks_no_network(
    session: SimpleNamespace,
) -> None:
    assert session.files == []
    assert session.left == []
    assert session.stderr == ""
    assert session.failures == {}


def test_one_process_runs_one_codecarbon(session: SimpleNamespace) -> None:
    assert session.second == "meter.codecarbon: one tracker per process, and one is running"
