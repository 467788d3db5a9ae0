"""The same sweep under each launcher: the same records, and every baseline trained once."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import QUICK, ROOT, arguments, bench, records

from bench import artefacts
from bench.sweeping.outcomes import duration

SLURM = ROOT / "tests" / "slurm"
SWEEP = ("-m", "seed=0,1", "technique=none,bf16", *QUICK)
PATIENCE_S = 900


def installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # nor is the package around it
        return False


def needs(*modules: str) -> pytest.MarkDecorator:
    missing = [name for name in modules if not installed(name)]
    extras = {"joblib_launcher": "joblib", "submitit_launcher": "slurm", "ray_launcher": "ray"}
    named = {extra for name in missing for key, extra in extras.items() if key in name}
    return pytest.mark.skipif(
        bool(missing),
        reason=f"not installed: {', '.join(missing)}; pip install 'joulebench[{','.join(named)}]'",
    )


def pairs(folder: Path) -> set[str]:
    """Which pairs there are, whatever was measured: places without the host."""
    return {"/".join(path.parts[-4:-1]) for path in records(folder)}


def trainings_s(folder: Path) -> tuple[list[float], float]:
    """Seconds of each training of a baseline that was done, and their sum if each pair trained."""
    found = [json.loads(path.read_text()) for path in records(folder)]
    made: dict[str, float] = {}
    for record in found:
        arm = record["baseline"]
        made[arm["artefact"]["digest"]] = arm["phases"]["train"]["wall_s"]
    each = sum(made[record["baseline"]["artefact"]["digest"]] for record in found)
    return list(made.values()), each


def times_made(folder: Path) -> int:
    """How often a baseline was made, by the logs of all points."""
    logs = (folder / "results" / ".logs").rglob("joulebench.log")
    return sum(path.read_text().count("baseline: making it") for path in logs)


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep under Hydra's own launcher."""
    folder = tmp_path_factory.mktemp("basic")
    done = bench(folder, *SWEEP)
    assert done.returncode == 0, done.stderr
    assert "sweep: 4 points: 4 measured" in done.stdout
    return folder


def check(folder: Path, done: subprocess.CompletedProcess[str], reference: Path) -> None:
    """The same pairs, each baseline made once, models whole, the table and summary printed."""
    assert done.returncode == 0, done.stderr[-3000:]
    assert pairs(folder) == pairs(reference)
    assert times_made(folder) == 2
    for card in (folder / "results" / ".artefacts").glob(f"*/{artefacts.CARD}"):
        assert artefacts.damage(card.parent) is None
    assert "sweep: 4 points: 4 measured" in done.stdout


@pytest.mark.slow
@needs("hydra_plugins.hydra_joblib_launcher")
def test_joblib_gives_the_same_records(tmp_path: Path, one_by_one: Path) -> None:
    done = bench(tmp_path, *SWEEP, "launcher=joblib", timeout_s=PATIENCE_S)
    check(tmp_path, done, one_by_one)


@pytest.mark.slow
@needs("hydra_plugins.hydra_submitit_launcher")
def test_submitit_on_this_host_gives_the_same_records(tmp_path: Path, one_by_one: Path) -> None:
    done = bench(tmp_path, *SWEEP, "launcher=local", timeout_s=PATIENCE_S)
    check(tmp_path, done, one_by_one)


@pytest.mark.slow
@needs("hydra_plugins.hydra_ray_launcher", "ray")
def test_ray_gives_the_same_records(tmp_path: Path, one_by_one: Path) -> None:
    done = bench(tmp_path, *SWEEP, "launcher=ray", timeout_s=PATIENCE_S)
    check(tmp_path, done, one_by_one)


SIX = (
    "technique=none,bf16,structured_pruning,structured_pruning_light,structured_pruning_bf16,"
    "unstructured_pruning"
)
EIGHTEEN = ("-m", "seed=0,1,2", SIX, *QUICK)


def check_trainings(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    """Three baselines for eighteen pairs, and the summary says so."""
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(records(folder)) == 18
    made_s, each_s = trainings_s(folder)
    assert len(made_s) == times_made(folder) == 3
    assert each_s == pytest.approx(6 * sum(made_s))
    said = f"baselines: 3 for 18 pairs, trained in {duration(sum(made_s))}; one for each pair would"
    assert f"{said} take {duration(each_s)}" in done.stdout
    print(said)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_six_techniques_over_three_seeds_train_three_baselines(
    tmp_path: Path, launcher: str
) -> None:
    if launcher == "joblib" and not installed("hydra_plugins.hydra_joblib_launcher"):
        pytest.skip("not installed: pip install 'joulebench[joblib]'")
    words = (*EIGHTEEN, f"launcher={launcher}")
    check_trainings(tmp_path, bench(tmp_path, *words, timeout_s=3 * PATIENCE_S))


def test_a_launcher_that_is_not_installed_is_named_with_its_extra(tmp_path: Path) -> None:
    if installed("hydra_plugins.hydra_joblib_launcher"):
        pytest.skip("it is installed")
    done = bench(tmp_path, *SWEEP, "launcher=joblib")
    assert done.returncode == 2
    assert "pip install 'joulebench[joblib]'" in done.stderr


# Slurm, started from its packages.


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment in which Slurm's commands talk to a Slurm of this host alone."""
    programs = ("slurmctld", "slurmd", "sbatch", "munged")
    missing = [name for name in programs if not shutil.which(name, path="/usr/sbin:/usr/bin")]
    if missing:
        pytest.skip(
            f"no {', '.join(missing)}: apt-get install --no-install-recommends slurm-wlm munge"
        )
    if os.geteuid() != 0:
        pytest.skip("only root can start Slurm's daemons")
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([str(SLURM / "start.sh"), str(folder)], capture_output=True, text=True)
    try:
        assert started.returncode == 0, started.stderr
        yield os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{SLURM / 'bin'}:{os.environ['PATH']}",
        }
    finally:
        subprocess.run([str(SLURM / "stop.sh"), str(folder)], check=False)


def submit(
    folder: Path, environment: dict[str, str], *words: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments(folder, *words, "hydra.launcher.timeout_min=60"),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=3 * PATIENCE_S,
    )


@pytest.mark.slurm
@needs("hydra_plugins.hydra_submitit_launcher")
def test_slurm_gives_the_same_records(
    tmp_path: Path, slurm: dict[str, str], one_by_one: Path
) -> None:
    done = submit(tmp_path, slurm, *SWEEP, "launcher=slurm")
    check(tmp_path, done, one_by_one)
    (script, *_) = (tmp_path / "results" / ".logs").rglob("*_submission.sh")
    assert "#SBATCH --exclusive" in script.read_text()
    assert "#SBATCH --requeue" in script.read_text()


@pytest.mark.slurm
@needs("hydra_plugins.hydra_submitit_launcher")
def test_six_techniques_over_three_seeds_train_three_baselines_under_slurm(
    tmp_path: Path, slurm: dict[str, str]
) -> None:
    check_trainings(tmp_path, submit(tmp_path, slurm, *EIGHTEEN, "launcher=slurm"))


@pytest.mark.slurm
@needs("hydra_plugins.hydra_submitit_launcher")
def test_jobs_that_share_a_node_prepare_what_an_exclusive_one_measures(
    tmp_path: Path, slurm: dict[str, str]
) -> None:
    one_core = "hydra.launcher.cpus_per_task=1"
    prepared = submit(tmp_path, slurm, *SWEEP, "launcher=slurm_prepare", "stage=prepare", one_core)
    assert prepared.returncode == 0, prepared.stderr[-3000:]
    assert not records(tmp_path)
    measured = submit(tmp_path, slurm, *SWEEP, "launcher=slurm", "stage=measure")
    assert measured.returncode == 0, measured.stderr[-3000:]
    assert len(records(tmp_path)) == 4
    assert times_made(tmp_path) == 2


@pytest.mark.slurm
@needs("hydra_plugins.hydra_submitit_launcher")
def test_a_job_that_is_asked_to_leave_is_requeued_and_goes_on(
    tmp_path: Path, slurm: dict[str, str]
) -> None:
    """As at its time limit: SIGUSR2 to every process of the step."""
    words = ("-m", "technique=bf16", "protocol=rehearsal", "training.max_steps=2000")
    command = arguments(tmp_path, *words, "launcher=slurm", "hydra.launcher.timeout_min=60")
    with subprocess.Popen(command, cwd=ROOT, env=slurm, stderr=subprocess.PIPE, text=True) as sweep:
        end_s = time.monotonic() + PATIENCE_S
        while not list((tmp_path / "results").glob(".artefacts/*.training/1/spent-1.json")):
            assert time.monotonic() < end_s, "the training has not begun"
            assert sweep.poll() is None, sweep.stderr and sweep.stderr.read()
            time.sleep(0.5)
        queued = subprocess.run(
            ["squeue", "-h", "-o", "%i"], env=slurm, capture_output=True, text=True, check=True
        )
        job = queued.stdout.split()[0]
        subprocess.run(["scancel", "--signal=USR2", job], env=slurm, check=True)
        _, said = sweep.communicate(timeout=PATIENCE_S)
    assert sweep.returncode == 0, said[-3000:]
    record = json.loads(records(tmp_path)[0].read_text())
    assert [event["kind"] for event in record["baseline"]["events"]] == ["resumed"]
