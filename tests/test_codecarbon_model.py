"""CodeCarbon's model of a CPU with this machine's figures, and the carbon intensity beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from factories import frame, record

from bench.meters import MeterError
from bench.meters.codecarbon import CodeCarbon
from bench.meters.codecarbon.calibration import Calibration, CalibrationError, load
from bench.meters.codecarbon.channels import carbon_of
from bench.meters.codecarbon.tracker import calibrate
from bench.records import Record
from bench.reporting import notes
from bench.reporting.rows import BY, rows

ROOT = Path(__file__).parents[1]
GOOD = "idle_w: 20\nfull_load_w: 120.5\nsource: plug at the wall, 2026-11-21\n"
CARBON = {
    "country": "United States",
    "intensity_g_per_kwh": 369.473,
    "year": 2023,
    "source": "a table",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "cpu.yaml").write_text(GOOD)
    return tmp_path / "cpu.yaml"


def test_a_calibration_is_the_straight_line_between_idle_and_full_load(file: Path) -> None:
    made = load(str(file))
    assert made == Calibration(20.0, 120.5, "plug at the wall, 2026-11-21", str(file))
    watts = [made.power_w(share) for share in (0.0, 0.5, 1.0)]
    assert watts == pytest.approx([20.0, 70.25, 120.5])


def test_a_calibration_may_be_json_and_say_more(tmp_path: Path) -> None:
    said = {"idle_w": 1, "full_load_w": 2, "source": "data sheet", "host": "x"}
    (tmp_path / "cpu.json").write_text(json.dumps(said))
    assert load(str(tmp_path / "cpu.json")).full_load_w == 2.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("idle_w: 20\nfull_load_w: 120\n", "it lacks source; it needs idle_w and full_load_w"),
        ("- 20\n", "it lacks idle_w, full_load_w, source"),
        ("idle_w: 130\nfull_load_w: 120\nsource: x\n", "0 <= idle_w < full_load_w is meant"),
        ("idle_w: -1\nfull_load_w: 120\nsource: x\n", "0 <= idle_w < full_load_w is meant"),
        ("idle_w: few\nfull_load_w: 120\nsource: x\n", "idle_w='few' is no number of watts"),
        ("idle_w: 1\nfull_load_w: .inf\nsource: x\n", "full_load_w=inf is no number of watts"),
        ("idle_w: [\n", "it cannot be read"),
    ],
)
def test_a_file_that_is_no_calibration_is_refused_with_what_it_lacks(
    file: Path, text: str, said: str
) -> None:
    file.write_text(text)
    with pytest.raises(CalibrationError, match=said):
        load(str(file))
    meter = CodeCarbon("USA", calibration=str(file))
    with pytest.raises(MeterError, match=rf"meter\.codecarbon\.calibration='.*': .*{said}"):
        meter.open()
    assert CodeCarbon._running is None


def test_two_replacements_of_the_model_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"cpu_power_w=65 and meter\.codecarbon\.calibration='f'"):
        CodeCarbon("USA", cpu_power_w=65, calibration="f")


@pytest.mark.parametrize("percent", [0.0, 25.0, 100.0])
def test_codecarbons_cpu_takes_its_power_from_the_calibration(percent: float) -> None:
    cpu: Any = SimpleNamespace(
        _get_power_from_cpu_load=None, _cpu_load_meter=SimpleNamespace(percent=lambda: percent)
    )
    calibrate([SimpleNamespace(), cpu], Calibration(20.0, 120.0, "made up", "f"))
    power_w = cpu._get_power_from_cpu_load().W
    assert power_w == pytest.approx(20.0 + percent)


def test_a_calibrated_cpu_replaces_a_counter_and_lies_between_its_two_figures(file: Path) -> None:
    script = """
import json, sys, time
from bench.meters.codecarbon import CodeCarbon
meter = CodeCarbon("USA", calibration=sys.argv[1])
channel = next(c for c in meter.open() if c.component == "cpu")
reads = []
for _ in range(2):
    reads.append((time.monotonic(), meter.read().energy_j["cpu"]))
    time.sleep(0.5)
meter.close()
print(json.dumps([channel.source, channel.grade, dict(channel.detail), reads]))
"""
    command = [sys.executable, "-c", script, str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    source, grade, detail, reads = json.loads(done.stdout)
    assert (source, grade) == ("codecarbon.calibrated", "C")
    assert (detail["idle_w"], detail["full_load_w"]) == (20.0, 120.5)
    assert detail["source"] == "plug at the wall, 2026-11-21"
    (start_s, start_j), (end_s, end_j) = reads
    power_w = (end_j - start_j) / (end_s - start_s)
    assert 20.0 * 0.97 <= power_w <= 120.5 * 1.03
    carbon = detail["carbon"]
    assert (carbon["country"], carbon["year"]) == ("United States", 2023)
    assert carbon["intensity_g_per_kwh"] == pytest.approx(369.473)  # CodeCarbon 3.3's table


def test_carbon_intensity_carries_country_year_and_source() -> None:
    row = {"country_name": "France", "carbon_intensity": 56.039, "year": 2023, "coal_TWh": 2.16}
    found = carbon_of(row)
    assert {**found, "source": "x"} == {
        "country": "France",
        "intensity_g_per_kwh": 56.039,
        "year": 2023,
        "source": "x",
    }
    assert found["source"]


def with_carbon(made: Record) -> Record:
    for channels in made.session.meters.values():
        for channel in channels:
            channel["detail"]["carbon"] = CARBON
    return made


def said(*records: Record) -> str:
    made = rows(frame(*records), (*BY, "seed"))
    return "\n".join(note.text for note in notes.of_section(made, ["carbon", "modelled"]))


def test_counted_joules_are_told_as_grams_with_intensity_year_and_source() -> None:
    # 1 J and 0.571 J per inference: 1000 of them are 0.10263 and 0.05860 g at 369.473 g/kWh.
    made = with_carbon(record(label="prune 0.5", seed=3, grades=("B", "C")))
    assert made.comparison.baseline_per_item == 1.0
    assert (
        "Joules (B) as carbon: prune 0.5, seed 3: 0.0586 (baseline 0.103) g CO2e per 1000 "
        "inferences at 369.5 g/kWh (United States, 2023, a table), PUE 1.0."
    ) in said(made)
    assert said(made).count("CO2e") == 1


def test_modelled_joules_and_unknown_grids_have_no_grams() -> None:
    assert "CO2e" not in said(with_carbon(record(grades=("C",))))
    assert "CO2e" not in said(record(grades=("B",)))


def test_the_constants_of_a_model_are_told_without_the_grid() -> None:
    told = said(with_carbon(record(grades=("C",))))
    assert "codecarbon.cpu_load (floor = 0.1, tdp_w = 125)" in told


def test_a_calibration_is_read_anew_by_every_meter(file: Path) -> None:
    before = load(str(file))
    file.write_text(GOOD.replace("120.5", "90"))
    assert (before.full_load_w, load(str(file)).full_load_w) == (120.5, 90.0)
