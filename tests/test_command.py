"""The command as a user types it: real processes, real training, tiny protocol."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hydra._internal.utils import get_args_parser
from runs import QUICK, ROOT, arguments, bench, records

from bench import __main__ as bench_main


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One rehearsed pair, measured once for all tests that only look."""
    folder = tmp_path_factory.mktemp("pair")
    return folder, bench(folder, "technique=structured_pruning", *QUICK)


def test_a_pair_leaves_one_whole_record(
    measured: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = measured
    assert done.returncode == 0, done.stderr
    (path,) = records(folder)
    record = json.loads(path.read_text())
    assert record["variant"]["macs"] < 0.35 * record["baseline"]["macs"]
    assert record["proof"]["reload_exact"] is True
    assert record["proof"]["bytes_fell"] is True
    assert set(record["variant"]["phases"]) == {"optimise", "convert", "evaluate", "infer"}
    assert set(record["baseline"]["phases"]) == {"train", "evaluate", "infer"}
    assert record["rehearsal"] is True
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "predictions.parquet",
        "record.json",
        "trace.parquet",
        "training.parquet",
        "windows.parquet",
    ]


def test_the_record_agrees_with_its_tables(
    measured: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """Accuracy from the predictions and the ratio from the windows, computed again."""
    (path,) = records(measured[0])
    record = json.loads(path.read_text())
    predictions = pd.read_parquet(path.parent / "predictions.parquet")
    assert len(predictions) == 64  # protocol.max_examples of a rehearsal
    for arm in ("baseline", "variant"):
        accuracy = (predictions["label"] == predictions[arm]).mean()
        assert accuracy == pytest.approx(record["quality"][arm])
    windows = pd.read_parquet(path.parent / "windows.parquet").query("kept")
    seconds = windows["wall_s"] / windows["items"]
    means = seconds.groupby(windows["arm"]).apply(lambda s: s.prod() ** (1 / len(s)))
    wall = next(c for c in record["comparisons"] if c["measure"] == "wall_s")
    assert means["variant"] / means["baseline"] == pytest.approx(wall["ratio"])


def test_a_measured_pair_is_not_measured_again(
    measured: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = measured
    (path,) = records(folder)
    before = path.read_bytes(), path.stat().st_mtime_ns
    done = bench(folder, "technique=structured_pruning", *QUICK)
    assert done.returncode == 0
    assert "measured already" in done.stdout
    assert "making it" not in done.stdout
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_another_technique_reuses_the_baseline(
    measured: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    done = bench(measured[0], "technique=none", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "baseline: reused" in done.stdout
    assert "making it" not in done.stdout  # the A/A pair's variant is the baseline


@pytest.mark.parametrize("many", ["-m", "--multirun"])
def test_words_may_stand_on_both_sides_of_the_word_for_many(
    many: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = ["bench", "technique=none,bf16", many, "protocol=smoke"]
    monkeypatch.setattr(sys, "argv", [*typed])
    seen: list[str] = []
    assert bench_main.main(lambda: seen.extend(sys.argv)) == 0
    found = get_args_parser().parse_args(seen[1:])
    assert found.multirun is True
    assert found.overrides == ["technique=none,bf16", "protocol=smoke"]
    with pytest.raises(SystemExit):  # as it was typed
        get_args_parser().parse_args(typed[1:])


def test_quiet_says_nothing_and_the_log_says_all(tmp_path: Path) -> None:
    done = bench(tmp_path, "-q", "technique=bf16", *QUICK)
    # Another test may be measuring on this host: that is said.
    said = [line for line in done.stdout.splitlines() if "waiting for" not in line]
    assert (done.returncode, said, done.stderr) == (0, [], "")
    (log,) = (tmp_path / "results").glob(".logs/*/joulebench.log")
    assert "measuring under protocol rehearsal" in log.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["technique=structured_prunning"],
            ["technique=structured_prunning", "structured_pruning"],
        ),
        (["technique.rato=0.5"], ["technique.rato", "Did you mean"]),
        (
            ["technique=structured_pruning", "technique.ratio=50"],
            ["technique.ratio must be in (0, 1), got 50", "50 % is 0.5"],
        ),
        (["data.root=nowhere", "workload=resnet18_cifar10"], ["data.root=nowhere", "not a folder"]),
        (["store.min_free_bytes=1e18"], ["store.root", "make room"]),
        (["stage=train"], ["stage is 'train'", "prepare trains and optimises"]),
        (["limits.measure_h=0"], ["limits.measure_h is 0", "null"]),
        (
            ["workload.architecture=resnet18", "workload.weights=missing.pth"],
            ["workload.weights=missing.pth", "no such file"],
        ),
        (["meter=counters"], ["meter.counters", "meter=all"]),
    ],
)
def test_bad_input_is_refused_in_words(tmp_path: Path, words: list[str], said: list[str]) -> None:
    if words == ["meter=counters"] and Path("/sys/class/powercap/intel-rapl").exists():
        pytest.skip("this host has counters")
    done = bench(tmp_path, *QUICK, *words)
    assert done.returncode in (1, 2)
    for text in said:
        assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not records(tmp_path)


def test_a_knob_that_only_the_choices_of_a_sweep_have_is_explained(tmp_path: Path) -> None:
    words = ["technique=bf16,structured_pruning", "technique.ratio=0.5"]
    done = bench(tmp_path, "-m", *QUICK, *words)
    assert done.returncode == 2
    assert "technique is swept: technique.ratio='choice(0.5)'" in done.stderr


def test_a_results_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file is in the way")
    done = bench(tmp_path, *QUICK)
    assert done.returncode == 1
    assert "results" in done.stderr
    assert (tmp_path / "results").read_text() == "a file is in the way"


def test_a_failed_pair_leaves_its_traceback_and_is_tried_again(tmp_path: Path) -> None:
    words = ("technique=structured_pruning", "technique.round_to=4096", *QUICK)
    for _ in range(2):
        done = bench(tmp_path, *words)
        assert done.returncode == 1
        assert "removed no channel" in done.stderr
        assert "variant: making it" in done.stdout
    (failure,) = (tmp_path / "results").glob("testhost/*/*/*/failure.json")
    assert "Traceback" in json.loads(failure.read_text())["traceback"]


def test_one_bad_job_does_not_stop_a_sweep(tmp_path: Path) -> None:
    words = ("-m", "technique=structured_pruning", "technique.round_to=4096,8", *QUICK)
    done = bench(tmp_path, *words)
    assert done.returncode == 1
    assert len(records(tmp_path)) == 1
    assert "sweep: 2 points: 1 measured, 1 failed" in done.stderr
    assert "failed: resnet_digits, structured_pruning, seed 0: " in done.stderr
    assert "sweep: 2 of 2 points done, 1 failed" in done.stdout
    again = bench(tmp_path, *words)
    assert again.returncode == 1
    assert "sweep: 2 points, looked at in" in again.stdout
    assert "1 measured already, 1 to do, about" in again.stdout
    assert "sweep: 2 points: 1 measured already, 1 failed" in again.stderr


def test_a_sweep_with_a_point_that_cannot_work_is_refused_before_anything_starts(
    tmp_path: Path,
) -> None:
    words = ("-m", "technique=structured_pruning", "technique.ratio=0.5,50", *QUICK)
    done = bench(tmp_path, *words)
    assert done.returncode == 2
    assert "1 of 2 points cannot work, and none was started" in done.stderr
    assert "technique.ratio must be in (0, 1), got 50" in done.stderr
    assert "measuring into" not in done.stdout
    assert not (tmp_path / "results" / ".artefacts").exists()


def test_a_pair_is_prepared_first_and_measured_later_without_training(tmp_path: Path) -> None:
    words = ("technique=bf16", *QUICK)
    refused = bench(tmp_path, *words, "stage=measure")
    assert refused.returncode == 1
    assert "stage=measure trains nothing, and the baseline of resnet_digits" in refused.stderr
    prepared = bench(tmp_path, *words, "stage=prepare")
    assert prepared.returncode == 0, prepared.stderr
    assert not records(tmp_path)
    measured = bench(tmp_path, *words, "stage=measure")
    assert measured.returncode == 0, measured.stderr
    assert "making it" not in measured.stdout
    assert len(records(tmp_path)) == 1


@pytest.mark.parametrize("flag", ["--help", "--cfg=job"])
def test_help_and_configuration_import_nothing_heavy(flag: str) -> None:
    code = (
        f"import sys; sys.argv = ['bench', '{flag}']\n"
        "import atexit\n"
        "heavy = ('torch', 'transformers', 'datasets', 'pandas', 'scipy', 'codecarbon', 'zeus')\n"
        "atexit.register(lambda: print('HEAVY', [n for n in heavy if n in sys.modules]))\n"
        "import bench.__main__ as main; main.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "HEAVY []" in done.stdout, done.stdout[-300:] + done.stderr[-300:]


def kill_when(folder: Path, seen: Callable[[str], bool], *words: str) -> str:
    """Start a pair, kill -9 its process group's leader as soon as its output is like that."""
    process = subprocess.Popen(
        arguments(folder, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if seen(said):
            time.sleep(3)  # into the middle of it
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    return said


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["baseline: making it", "measuring under protocol"])
def test_a_pair_that_is_killed_leaves_no_half_record_and_is_finished_by_the_next_run(
    tmp_path: Path, stage: str
) -> None:
    words = ("technique=bf16", "protocol=smoke", "protocol.min_blocks=3", "protocol.max_blocks=3")
    kill_when(tmp_path, lambda said: stage in said, *words)
    assert not records(tmp_path)
    assert not list((tmp_path / "results").glob("testhost/*/*/*"))
    done = bench(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert len(records(tmp_path)) == 1
    if "measuring" in stage:
        assert "making it" not in done.stdout  # what was finished before the kill is kept


@pytest.mark.slow
def test_a_sweep_trains_each_seeds_baseline_once(tmp_path: Path) -> None:
    done = bench(tmp_path, "-m", "seed=0,1", "technique=none,structured_pruning,bf16", *QUICK)
    assert done.returncode == 0, done.stderr
    assert len(records(tmp_path)) == 6
    assert done.stdout.count("baseline: making it") == 2


def test_ctrl_c_ends_as_shells_expect_it_and_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken_off() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_main, "_sweep", lambda: None)
    status, wrong = bench_main._conducted(broken_off, "config")
    assert status == 128 + signal.SIGINT
    assert "the same command goes on" in wrong
    assert "Traceback" not in capsys.readouterr().err
