"""experiment-impact-tracker as a meter: by its own rule, from outside, and missing where it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from test_rig import RIG, obstacle

from bench.meters import Counts, MeterError, Meters, difference
from bench.meters.impact_tracker import ImpactTracker, SampleError, joules

ROOT = Path(__file__).parents[1]
REAL = ROOT / ".venv-impact-tracker" / "bin" / "python"
WATCH = ROOT / "bench" / "meters" / "impact_tracker" / "watch.py"
CPU, WHOLE = "rapl_estimated_attributable_power_draw", "rapl_power_draw_absolute"

# What a stand-in for its Python does with the real one's arguments: watch.py PID FOLDER REGION.
STAND_IN = """\
#!{python}
import json, os, pathlib, select, sys, time
pid, folder, region = sys.argv[2:]
file = pathlib.Path(folder, "impacttracker", "data.json")
file.parent.mkdir()
n = 0
while not select.select([sys.stdin], [], [], 0.05)[0]:
    {work}
    n += 1
    row = {{"timestamp": time.time(), "seen": [pid, region], {columns}}}
    with file.open("a") as out:
        out.write(json.dumps(row) + "\\n")
"""
BOTH = f'"{CPU}": 20.0, "{WHOLE}": 50.0'


@pytest.fixture(autouse=True)
def no_rig(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("RAPL_RIG", "FAKE_NVML_PROFILE"):
        monkeypatch.delenv(variable, raising=False)


Place = Callable[..., str]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a function that makes an environment whose Python samples as it is told."""

    def make(columns: str = BOTH, work: str = "pass") -> str:
        python = tmp_path / "environment" / "bin" / "python"
        python.parent.mkdir(parents=True)
        text = STAND_IN.format(python=sys.executable, columns=columns, work=work)
        python.write_text(text)
        python.chmod(0o755)
        return str(python.parents[1])

    return make


def rows(*samples: tuple[float, float]) -> list[dict[str, float]]:
    return [{"timestamp": at_s, CPU: power_w} for at_s, power_w in samples]


def test_energy_follows_the_trackers_own_rule_between_any_two_times() -> None:
    # A power holds since the sample before, the last one's until the end.
    sampled = rows((10, 7), (13, 40), (16, 60), (19, 50))
    assert joules(sampled, CPU, 10, 19) == 3 * 40 + 3 * 60 + 3 * 50
    assert joules(sampled, CPU, 11, 14) == 2 * 40 + 1 * 60
    assert joules(sampled, CPU, 12, 21) == 1 * 40 + 3 * 60 + 3 * 50 + 2 * 50
    assert joules(sampled, CPU, 14, 15) == 60
    parts = [joules(sampled, CPU, a, b) for a, b in ((10.5, 12), (12, 17.5), (17.5, 22))]
    assert sum(parts) == pytest.approx(joules(sampled, CPU, 10.5, 22), rel=1e-12)


def test_a_sample_without_the_figure_is_missing_and_never_zero() -> None:
    with pytest.raises(SampleError, match="a sample lacks nvidia_draw_absolute"):
        joules(rows((10, 7), (13, 40)), "nvidia_draw_absolute", 10, 13)
    with pytest.raises(SampleError, match="there is no sample"):
        joules([], CPU, 10, 13)


@pytest.mark.parametrize(("attributed", "power_w"), [(True, 20.0), (False, 50.0)])
def test_a_span_has_the_joules_of_its_samples_as_a_model(
    place: Place, attributed: bool, power_w: float
) -> None:
    meter = ImpactTracker(place(), country_iso_code="FRA", attributed=attributed, shortest_s=0.3)
    with Meters((meter,), required=True) as meters:
        ((channel,),) = meters.channels.values()
        assert (channel.component, channel.source) == ("cpu", "impact_tracker.rapl")
        assert (channel.grade, channel.detail["pue"]) == ("C", 1.0)
        assert meters.unavailable == {
            "impact_tracker/gpu": "experiment-impact-tracker found no nvidia-smi here"
        }
        assert meter.rows[0]["seen"] == [str(os.getpid()), "FRA"]
        start, begun_s = meters.read(slowest_first=True), time.time()
        time.sleep(0.5)
        (reading,) = meters.between(start, meters.read(slowest_first=False))
        assert reading.energy_j == pytest.approx(power_w * (time.time() - begun_s), rel=0.02)


def test_a_span_that_is_too_short_says_so_with_both_times(place: Place) -> None:
    meter = ImpactTracker(place())
    channels = meter.open()
    start = meter.read()
    time.sleep(0.1)
    (reading,) = difference("impact_tracker", channels, *meter.settled(start, meter.read(), True))
    meter.close()
    assert reading.energy_j is None
    assert reading.reason is not None
    assert reading.reason.startswith("too short (0.1 s; it samples every 0.1 s)")


def test_a_simulated_sensor_below_makes_the_joules_synthetic(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = f'{BOTH}, "nvidia_estimated_attributable_power_draw": 9'
    monkeypatch.setenv("RAPL_RIG", "rig.json")
    meter = ImpactTracker(place(columns))
    found = {c.component: (c.source, c.grade) for c in meter.open()}
    meter.close()
    assert found == {
        "cpu": ("impact_tracker.rapl", "S"),
        "gpu": ("impact_tracker.nvidia_smi", "C"),
    }


def test_a_tracker_that_dies_in_mid_run_gives_its_last_words_and_no_joules(place: Place) -> None:
    work = "n > 3 and sys.exit('PermissionError: /sys/class/powercap/x/energy_uj')"
    meter = ImpactTracker(place(work=work), shortest_s=0.2)
    channels = meter.open()
    start = meter.read()
    time.sleep(0.5)
    (reading,) = difference("impact_tracker", channels, *meter.settled(start, meter.read(), True))
    meter.close()
    assert reading.energy_j is None
    assert reading.reason is not None
    assert "ended with 1: PermissionError: /sys/class/powercap/x/energy_uj" in reading.reason
    assert "sudo chmod -R a+r" in reading.reason


def test_a_tracker_that_hangs_in_mid_run_gives_a_reason_and_no_joules(place: Place) -> None:
    meter = ImpactTracker(place(work="n > 3 and time.sleep(5)"), shortest_s=0.2)
    channels = meter.open()
    start = meter.read()
    time.sleep(0.9)
    (reading,) = difference("impact_tracker", channels, *meter.settled(start, meter.read(), True))
    meter.close()
    assert reading.energy_j is None
    assert reading.reason is not None
    assert reading.reason.startswith("it did not sample for 0.")


def test_without_its_environment_the_command_that_builds_it_is_named() -> None:
    with pytest.raises(MeterError, match="which `make impact-tracker` builds"):
        ImpactTracker(environment="no-such-folder").open()


@pytest.mark.parametrize(
    ("columns", "work", "said"),
    [
        ('"cpu_freq": 1', "pass", "neither RAPL nor nvidia-smi"),
        (BOTH, "sys.exit('KeyError: x')", "ended with 1: KeyError: x"),
        (BOTH, "time.sleep(9)", r"0 samples in meter\.impact_tracker\.start_timeout_s=0\.5"),
    ],
)
def test_what_does_not_sample_here_is_refused_and_left_no_process_and_no_file(
    place: Place,
    columns: str,
    work: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    meter = ImpactTracker(place(columns, work), start_timeout_s=0.5)
    with pytest.raises(MeterError, match=said):
        meter.open()
    assert list(temporary.iterdir()) == []
    assert meter._process is None
    meter.close()


def test_closing_ends_the_process_and_reading_afterwards_has_no_joules(place: Place) -> None:
    meter = ImpactTracker(place())
    meter.open()
    process = meter._process
    meter.close()
    assert process.poll() is not None
    start, end = meter.settled(meter.read(), meter.read(), wait=True)
    assert (dict(start.energy_j), dict(end.energy_j)) == ({}, {})
    assert Counts({}).at_s is None


@pytest.mark.parametrize("knob", ["shortest_s", "start_timeout_s"])
def test_a_knob_out_of_range_is_named(knob: str) -> None:
    with pytest.raises(ValueError, match=rf"meter\.impact_tracker\.{knob}=0 should be above 0"):
        ImpactTracker(**{knob: 0})  # type: ignore[arg-type]


# The parts of experiment-impact-tracker 0.1.8 that watch.py touches, with a sampling function that
# writes down what it would have used.
PACKAGE = {
    "__init__.py": "",
    "emissions/__init__.py": "",
    "emissions/get_region_metrics.py": """
        def get_current_region_info_cached():
            raise OSError("no network")
    """,
    "gpu/__init__.py": "",
    "gpu/nvidia.py": "fromstring = None",
    "data_info_and_router.py": """
        DATA_HEADERS = [{"name": "timestamp"}, {"name": "disk_write_speed"}]
    """,
    "compute_tracker.py": """
        import json, os, psutil
        from experiment_impact_tracker.data_info_and_router import DATA_HEADERS
        from experiment_impact_tracker.emissions.get_region_metrics import (
            get_current_region_info_cached)
        from experiment_impact_tracker.gpu import nvidia
        SLEEP_TIME = 0.05
        SMI = b"<a><gpu_power_readings><instant_power_draw>9 W</instant_power_draw>"
        SMI += b"</gpu_power_readings></a>"

        class ImpactTracker:
            def __init__(self, folder):
                self.initial_info = {"region": get_current_region_info_cached()[0]}
                self.logger = None

        sampled = []

        def _sample_and_log_power(folder, info, logger):
            sampled.append(1)
            if len(sampled) == 1:
                raise psutil.NoSuchProcess(1, "a child that ended")
            root = nvidia.fromstring(SMI)
            found = {"pid": os.getppid(), "region": info["region"]["id"],
                     "headers": [h["name"] for h in DATA_HEADERS],
                     "watts": [e.text for e in root.getiterator("power_draw")]}
            with open(folder + "/seen", "a") as out:
                out.write(json.dumps(found) + "\\n")
    """,
}


def test_the_watcher_bridges_the_tracker_and_ends_with_its_standard_input(tmp_path: Path) -> None:
    for name, text in PACKAGE.items():
        file = tmp_path / "experiment_impact_tracker" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    watched = str(os.getpid())
    command = [sys.executable, str(WATCH), watched, str(tmp_path), "FRA"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    assert process.stdin is not None
    deadline_s = time.monotonic() + 10
    while not (tmp_path / "seen").exists() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    process.stdin.close()
    assert process.wait(timeout=5) == 0
    seen = json.loads((tmp_path / "seen").read_text().splitlines()[0])
    expected = {"pid": os.getpid(), "region": "FRA", "headers": ["timestamp"], "watts": ["9 W"]}
    assert seen == expected


RIGGED = """
import json, time
from bench.meters import Meters
from bench.meters.impact_tracker import ImpactTracker

meter = ImpactTracker(attributed=False)
with Meters((meter,), required=True) as meters:
    start, begun_s = meters.read(slowest_first=True), time.monotonic()
    time.sleep(16)
    (reading,) = meters.between(start, meters.read(slowest_first=False))
    print(json.dumps([reading.energy_j, reading.source, reading.grade,
                      50 * (time.monotonic() - begun_s)]))
"""


@pytest.mark.slow
def test_the_real_tracker_reads_the_rigs_rapl_at_its_true_energy_without_a_network(
    tmp_path: Path,
) -> None:
    if not REAL.exists():
        pytest.skip("no .venv-impact-tracker: make impact-tracker")
    if (reason := obstacle()) is not None:
        pytest.skip(reason)
    script = tmp_path / "script.py"
    script.write_text(RIGGED)
    rig = [sys.executable, "-B", str(RIG / "rapl_rig.py"), "--power", "constant:50", "--no-net"]
    done = subprocess.run(
        [*rig, "--", sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    energy_j, source, grade, true_j = json.loads(done.stdout.splitlines()[-1])
    assert (source, grade) == ("impact_tracker.rapl", "S")
    assert energy_j == pytest.approx(true_j, rel=0.01)
