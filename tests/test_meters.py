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
from boards import Board, GpuIsLost, pynvml, uuid
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from bench.meters import Channel, Counts, MeterError, counter_grade, difference
from bench.meters.codecarbon import CodeCarbon, _losses
from bench.meters.counters import Counters, rapl

CONF = Path(__file__).parents[1] / "conf"
CPU = Channel("cpu:0", "rapl", "B")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Return a function that puts boards in the place of NVML's, on a machine without RAPL."""
    gone = ("RAPL_RIG", "FAKE_NVML_PROFILE", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
    for variable in gone:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(rapl, "ROOTS", (tmp_path,))
    monkeypatch.setattr("zeus.device.gpu.amd.amdsmi_is_available", lambda: False)

    def place(*boards: Board) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", pynvml(boards))

    return place


def over(channels: tuple[Channel, ...], start: Counts, end: Counts) -> dict[str, Any]:
    """Return joules, or the reason, of each component."""
    readings = difference("counters", channels, start, end)
    return {r.component: r.reason if r.energy_j is None else r.energy_j for r in readings}


def test_a_span_over_lost_joules_has_none_even_if_both_ends_were_read() -> None:
    start = Counts({"cpu:0": 10.0})
    end = Counts({"cpu:0": 30.0}, breaks={"cpu:0": (1, "the file was gone for a second")})
    assert difference("m", (CPU,), start, start)[0].energy_j == 0.0
    (lost,) = difference("m", (CPU,), start, end)
    assert (lost.energy_j, lost.reason) == (None, "the file was gone for a second")
    (after,) = difference("m", (CPU,), end, Counts({"cpu:0": 35.0}, breaks=end.breaks))
    assert (after.energy_j, after.reason) == (5.0, None)


def test_millijoules_become_joules_under_the_gpus_physical_number(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(Board(), Board(), Board("H200", energies_j=[9e3, 9e3, 9.25e3]))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", uuid(2))
    meter = Counters()
    channels = meter.open()
    assert [(c.component, c.source, c.grade) for c in channels] == [("gpu:2", "nvml", "B")]
    assert channels[0].detail == {"device": "H200"}
    assert over(channels, meter.read(), meter.read()) == {"gpu:2": 250.0}
    assert set(meter.missing) == {"cpu"}


def test_a_package_and_a_gpu_are_counted_side_by_side(
    machine: Callable[..., None], tmp_path: Path
) -> None:
    folder = tmp_path / "intel-rapl:0"
    folder.mkdir()
    files = {"name": "package-0", "max_energy_range_uj": 262143328850, "energy_uj": 1_000_000}
    for file, text in files.items():
        (folder / file).write_text(f"{text}\n")
    machine(Board(energies_j=[1.0, 1.0, 5.0]))
    meter = Counters()
    channels = meter.open()
    start = meter.read()
    (folder / "energy_uj").write_text("3500000\n")
    assert over(channels, start, meter.read()) == {"gpu:0": 4.0, "cpu:0": 2.5}
    meter.close()


def test_a_gpu_lost_in_the_run_gives_a_reason_and_no_joules_and_the_others_go_on(
    machine: Callable[..., None],
) -> None:
    machine(Board(energies_j=[1.0, 1.0, GpuIsLost(), 9.0, 11.0]), Board(energies_j=[1.0, 1.0, 5.0]))
    meter = Counters()
    channels = meter.open()
    start, during, after, last = (meter.read() for _ in range(4))
    lost = "GpuIsLost: GPU is lost"
    assert over(channels, start, during) == {"gpu:0": lost, "gpu:1": 4.0}
    assert over(channels, during, after)["gpu:0"] == lost
    assert over(channels, start, after)["gpu:0"] == lost  # its driver may have begun anew
    assert over(channels, after, last)["gpu:0"] == 2.0


def test_a_counter_that_goes_back_gives_a_reason_and_no_joules(
    machine: Callable[..., None],
) -> None:
    # It restarts at 5 J: the span to 200 J would look like 100 J if only the ends were compared.
    machine(Board(energies_j=[100.0, 100.0, 5.0, 200.0, 203.0]))
    meter = Counters()
    channels = meter.open()
    before, restart, after, last = (meter.read() for _ in range(4))
    for start, end in ((before, restart), (restart, after), (before, after)):
        assert over(channels, start, end) == {"gpu:0": "the counter went back by 95 J"}
    assert over(channels, after, last) == {"gpu:0": 3.0}


def test_a_counter_that_stands_still_reads_as_no_joules(machine: Callable[..., None]) -> None:
    machine(Board(energies_j=[100.0]))
    meter = Counters()
    channels = meter.open()
    assert over(channels, meter.read(), meter.read()) == {"gpu:0": 0.0}


def test_what_is_missing_beside_a_counter_is_named(machine: Callable[..., None]) -> None:
    machine(Board("GTX 1080", energies_j=[]), Board(), Board(split=True))
    meter = Counters()
    assert [c.component for c in meter.open()] == ["gpu:1"]
    told = "nvml cannot be read: NvmlError: Not Supported. meter=polled integrates its power"
    assert meter.missing["gpu:0"].startswith(told)
    assert "never those of a slice" in meter.missing["gpu:2"]
    assert "`sudo nvidia-smi -i 2 -mig 0`" in meter.missing["gpu:2"]


def test_numbers_that_cuda_may_give_to_other_gpus_are_refused(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(Board("T400"), Board("H100"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(MeterError, match=r"differ \(H100, T400\): set CUDA_DEVICE_ORDER=PCI_BUS"):
        Counters().open()
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert [c.detail["device"] for c in Counters().open()] == ["T400"]


def test_without_a_counter_the_error_says_why_for_every_kind(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine()
    with pytest.raises(MeterError) as raised:
        Counters().open()
    told = str(raised.value)
    assert "gpu: no GPU is visible: NVML lists 0 and CUDA_VISIBLE_DEVICES is not set" in told
    assert "no intel-rapl zone: a virtual machine usually has none" in told
    assert "meter=all" in told


def test_an_amd_gpu_is_counted_through_zeus(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine()
    counts = iter([1_000, 1_000, 3_500])
    card = SimpleNamespace(
        gpu_index=1,
        get_name=lambda: "MI300X",
        supports_get_total_energy_consumption=lambda: True,
        get_total_energy_consumption=lambda: next(counts),
    )
    monkeypatch.setattr("zeus.device.gpu.amd.amdsmi_is_available", lambda: True)
    monkeypatch.setattr("zeus.device.gpu.amd.AMDGPUs", lambda: SimpleNamespace(gpus=[card]))
    meter = Counters()
    channels = meter.open()
    assert [(c.component, c.source) for c in channels] == [("gpu:1", "zeus.amdsmi")]
    assert over(channels, meter.read(), meter.read()) == {"gpu:1": 2.5}


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
    machine: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    figures: dict[str, Any],
    expected: dict[str, float],
) -> None:
    machine()
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
    channels = meter.open()
    assert {c.source for c in channels} == {"zeus.jetson" if kind == "Jetson" else "zeus.apple"}
    start = meter.read()
    figures |= {name: 2 * mj for name, mj in figures.items() if isinstance(mj, int | float)}
    assert over(channels, start, meter.read()) == expected


def test_a_chip_that_tells_one_figure_no_more_is_missing(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine()
    told = iter([{"cpu_total_mj": 1, "gpu_mj": 1}] * 2 + [{"cpu_total_mj": 2, "gpu_mj": None}])
    chip = SimpleNamespace(
        get_available_metrics=lambda: {"cpu_total_mj", "gpu_mj"},
        get_total_energy_consumption=lambda: SimpleNamespace(**next(told)),
    )
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("zeus.device.get_soc", lambda: chip)
    meter = Counters()
    channels = meter.open()
    reason = "ValueError: the device did not tell soc:gpu"
    assert over(channels, meter.read(), meter.read()) == {"soc:cpu": reason, "soc:gpu": reason}


def test_importing_the_meters_imports_no_sensor_library() -> None:
    code = (
        "import sys, bench.meters.counters, bench.meters.polled, bench.meters.codecarbon; "
        "print(sorted({'zeus', 'codecarbon', 'torch', 'pynvml', 'pandas'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


@pytest.mark.parametrize(
    ("group", "names", "required"),
    [
        ("counters", ["counters"], True),
        ("codecarbon", ["codecarbon"], True),
        ("polled", ["polled"], True),
        ("all", ["counters", "polled", "codecarbon"], False),
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
