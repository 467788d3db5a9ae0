"""The plugin as a project meets it: real tests, real windows, a short while."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import joulebench_pytest as plugin

# All that a check imports: what a run inside this process imports first would be gone after it.
from bench import locks
from bench.ci import conclusion, fixture, rules, stored, turns  # noqa: F401
from bench.ci.instruments import WANTED, Instruments, Measure
from bench.measurement import Gauge
from bench.meters import Channel, Counts, Meters

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
SHORT = "--joules-max-time=0.6"

TESTS = """
    def work(rounds):
        return lambda: sum(range(rounds))

    def test_dearer(joules):
        found = joules.pair(work(1000), work(4000))
        assert 2 < found.ratio < 8

    def test_alone(joules):
        assert joules.measure(work(3000)).per_call > 0
"""


@pytest.fixture(autouse=True)
def _our_own_package(monkeypatch: pytest.MonkeyPatch, own_lock: Path) -> None:
    """Let processes that a test starts import this checkout, and wait for nobody in this one."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def loaded() -> list[str]:
    """Return what loads the plugin where the installed package does not do it."""
    installed = importlib.metadata.entry_points(group="pytest11")
    known = any(entry.value == plugin.__name__ for entry in installed)
    return [] if known else ["-p", plugin.__name__]


def run(pytester: pytest.Pytester, *words: str) -> pytest.RunResult:
    quiet = ("-p", "no:cacheprovider", "--joules-measure=cpu_s", SHORT)
    return pytester.runpytest_inprocess(*loaded(), *quiet, *words)


def test_a_project_that_asks_for_nothing_imports_nothing_that_weighs() -> None:
    script = "import sys, joulebench_pytest; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert "pytest" in imported
    assert not imported & {"numpy", "scipy", "pandas", "torch", "psutil", "yaml", "filelock"}
    assert "bench" not in imported


def test_the_choices_of_the_option_are_those_that_can_be_measured() -> None:
    assert plugin._MEASURES == WANTED


def test_a_check_without_a_limit_reports_and_fails_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    done = run(pytester)
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(["*= joules =*", "*test_dearer*CPU-seconds*ratio*no limit*"])
    done.stdout.fnmatch_lines(["*CPU-seconds: asked for; no joule is claimed"])


def test_a_dearer_candidate_fails_with_what_how_much_and_how_sure(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(TESTS)
    done = run(pytester, "--joules-fail=ratio:1.05", "-k", "test_dearer")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "*test_dearer costs more than --joules-fail=ratio:1.05 allows",
            "*what: *CPU-seconds per call*",
            "*how much: *times the baseline",
            "*how sure: *95 % interval*",
            "*against: *the function given as baseline",
        ]
    )


def test_a_cheaper_candidate_passes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_cheaper(joules):
            joules.pair(lambda: sum(range(6000)), lambda: sum(range(2000)))
        """
    )
    done = run(pytester, "--joules-fail=ratio:1.05", "--junitxml=report.xml")
    done.assert_outcomes(passed=1)
    properties = {
        element.get("name"): element.get("value")
        for element in ET.parse(pytester.path / "report.xml").iter("property")
    }
    assert properties["joules.verdict"] == "passes"
    assert properties["joules.measure"] == "cpu_s"
    assert float(properties["joules.low"]) < float(properties["joules.ratio"]) < 1
    assert properties["joules.limit"] == "1.05"


def test_a_test_checks_one_thing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_twice(joules):
            joules.measure(lambda: sum(range(2000)))
            joules.measure(lambda: sum(range(2000)))
        """
    )
    done = run(pytester)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*joules measures once a test*"])


def test_disabled_checks_call_each_function_once(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        calls = []

        def test_pair(joules):
            joules.pair(lambda: calls.append("a"), lambda: calls.append("b"))

        def test_calls():
            assert calls == ["a", "b"]
        """
    )
    done = run(pytester, "--joules-disable")
    done.assert_outcomes(passed=1, skipped=1)


def test_what_a_function_raises_is_the_tests_failure(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_broken(joules):\n    joules.measure(lambda: 1 / 0)\n")
    done = run(pytester)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*ZeroDivisionError*"])


@pytest.mark.parametrize("words", [(), ("--joules-disable",)])
@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("coroutine", "coroutine returns an awaitable: *asyncio.run(...)"),
        ("lambda: coroutine()", "*<lambda> returns an awaitable: *asyncio.run(...)"),
        ("generator", "generator returns a generator: *list(...)"),
        ("both", "both returns an asynchronous generator: *asyncio.run(...) of a coroutine*"),
    ],
)
def test_a_function_that_puts_its_work_off_is_refused_with_the_way_out(
    pytester: pytest.Pytester, function: str, told: str, words: tuple[str, ...]
) -> None:
    pytester.makepyfile(
        f"""
        async def coroutine():
            sum(range(3000))

        def generator():
            yield sum(range(3000))

        async def both():
            yield sum(range(3000))

        def test_undone(joules):
            joules.measure({function})
        """
    )
    done = run(pytester, "-W", "error", *words)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines([told])


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("--joules-fail=5%", "*ratio:1.05 allows 5 % more*"),
        ("--joules-max-time=0", "*--joules-max-time=0: it takes seconds above 0*"),
        ("--joules-max-time=nan", "*--joules-max-time=nan: it takes seconds above 0*"),
        ("--joules-measure=watts", "*invalid choice*"),
        (
            "--joules-half-width=1.5",
            "*--joules-half-width=1.5: it takes a fraction of 1, e.g. 0.01*",
        ),
    ],
)
def test_an_option_that_means_nothing_is_a_usage_error(
    pytester: pytest.Pytester, word: str, told: str
) -> None:
    done = run(pytester, word)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([told])


def test_the_files_for_a_pull_request_are_written(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    files = ("--joules-markdown=out/table.md", "--joules-action=out/action.json")
    run(pytester, "-k", "dearer", *files).assert_outcomes(passed=1)
    assert "::test_dearer` | CPU-seconds |" in (pytester.path / "out" / "table.md").read_text()
    figure, ratio = json.loads((pytester.path / "out" / "action.json").read_text())
    assert (figure["unit"], ratio["unit"]) == ("s", "ratio")
    assert 2 < ratio["value"] < 8


def test_a_file_that_was_asked_for_is_there_without_any_check(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing():\n    pass\n")
    run(pytester, "--joules-markdown=table.md").assert_outcomes(passed=1)
    assert "No test that asked for `joules`" in (pytester.path / "table.md").read_text()


def test_a_project_with_a_package_of_our_name_is_left_alone_until_it_asks(
    pytester: pytest.Pytester,
) -> None:
    package = pytester.mkpydir("bench")
    (package / "__init__.py").write_text("OWN = True\n")
    pytester.makepyfile(
        """
        import bench

        def test_own():
            assert bench.OWN

        def test_check(joules):
            joules.measure(lambda: None)
        """
    )
    done = pytester.runpytest_subprocess(*loaded(), "-p", "no:cacheprovider")
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines([f"*is called bench, and so is {package / '__init__.py'}*Rename*"])
    done = pytester.runpytest_subprocess(*loaded(), "--joules-fail=ratio:1.05")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*--joules-fail: joulebench's own package is called bench*"])


def test_a_package_of_our_name_is_not_even_imported(pytester: pytest.Pytester) -> None:
    (pytester.mkpydir("bench") / "__init__.py").write_text("import nowhere\n")
    pytester.makepyfile("def test_nothing():\n    pass\n")
    pytest.importorskip("xdist")
    done = pytester.runpytest_subprocess(*loaded(), "-p", "no:cacheprovider", "-n", "1")
    done.assert_outcomes(passed=1)
    done = pytester.runpytest_subprocess(*loaded(), "--joules-markdown=table.md")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*is called bench, and so is *Rename*"])


# Beside pytest-benchmark.


def test_its_file_holds_our_checks_and_its_own_commands_read_it(
    pytester: pytest.Pytester,
) -> None:
    pytest.importorskip("pytest_benchmark")
    pytester.makepyfile(TESTS)
    run(pytester, "--benchmark-json=now.json").assert_outcomes(passed=2)
    entries = {
        entry["name"]: entry
        for entry in json.loads((pytester.path / "now.json").read_text())["benchmarks"]
    }
    assert set(entries) == {"test_dearer", "test_dearer (baseline)", "test_alone"}
    extra, counted = entries["test_dearer"]["extra_info"], entries["test_dearer"]["stats"]
    assert extra["joules"] is None
    assert extra["grade"] == "none"
    assert extra["interval"][0] < extra["ratio"] < extra["interval"][1]
    assert counted["rounds"] == 2 * extra["blocks"]
    baseline = entries["test_dearer (baseline)"]["stats"]
    assert counted["mean"] / baseline["mean"] == pytest.approx(extra["ratio"], rel=0.5)
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "now.json", "--csv=now.csv"]
    done = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "joules: CPU-seconds per call" in done.stdout
    assert "test_dearer" in (pytester.path / "now.csv").read_text()


def ten_times_dearer(pytester: pytest.Pytester, store: str) -> None:
    """Store a run of a check, and then let the check do ten times as much."""
    pytest.importorskip("pytest_benchmark")
    test = "def test_alone(joules):\n    joules.measure(lambda: sum(range({})))\n"
    pytester.makepyfile(test_stored=test.format(2000))
    run(pytester, store).assert_outcomes(passed=1)
    pytester.makepyfile(test_stored=test.format(20_000))


def test_a_stored_run_is_the_baseline_of_the_next(pytester: pytest.Pytester) -> None:
    ten_times_dearer(pytester, "--benchmark-json=then.json")
    done = run(pytester, "--joules-baseline=then.json", "--joules-fail=ratio:1.5")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*against: *1 stored run (then.json)*"])


def test_its_comparison_gates_our_checks_as_well(pytester: pytest.Pytester) -> None:
    ten_times_dearer(pytester, "--benchmark-save=then")
    done = pytester.runpytest_subprocess(
        *loaded(),
        *("--joules-measure=cpu_s", SHORT, "--benchmark-compare=0001"),
        "--benchmark-compare-fail=median:50%",
    )
    assert done.ret != 0
    assert "Performance has regressed" in f"{done.stdout}{done.stderr}"


# With pytest-xdist.


def test_workers_measure_one_after_the_other_and_the_controller_reports(
    pytester: pytest.Pytester,
) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile(TESTS)
    words = ("-n", "2", "--joules-measure=cpu_s", SHORT, "--joules-markdown=table.md")
    done = pytester.runpytest_subprocess(*loaded(), "-p", "no:cacheprovider", *words)
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(["*= joules =*", "*test_dearer*ratio*"])
    assert (pytester.path / "table.md").read_text().count("| `") == 2


def test_what_is_the_whole_machines_is_refused_beside_other_tests(
    pytester: pytest.Pytester,
) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile(TESTS)
    words = ("-n", "1", "--joules-measure=wall_s", SHORT, "-k", "alone")
    done = pytester.runpytest_subprocess(*loaded(), "-p", "no:cacheprovider", *words)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*run the energy checks with -n 0*"])


# What is measured.


def test_without_a_counter_cpu_seconds_are_compared_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bench.ci import instruments
    from bench.meters import MeterError

    class Nothing:
        name, missing = "counters", {}  # type: ignore[var-annotated]

        def open(self) -> None:
            raise MeterError("nothing here")

    monkeypatch.setattr(instruments, "Counters", Nothing)
    opened = Instruments.open("auto")
    assert (opened.measure.name, opened.measure.grade) == ("cpu_s", "none")
    assert opened.measure.note is not None
    assert "no energy counter" in opened.measure.note
    with pytest.raises(MeterError, match=r"--joules-measure=energy_j.*cpu_s needs none"):
        Instruments.open("energy_j")


def test_joules_do_not_lead_where_the_cpus_are_kept_from_us(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A GPU's joules alone are its idle watts times the seconds of a test on the CPU."""
    from bench.ci import instruments

    why = "energy_uj is for root only. `sudo chmod a+r energy_uj` opens it"

    class OfTheGpuAlone:
        name, missing = "counters", {"cpu:0": why}

        def open(self) -> tuple[Channel, ...]:
            return (Channel("gpu:0", "nvml", "B", 0.1, {}),)

        def read(self) -> Counts:
            return Counts({"gpu:0": 1.0})

        def close(self) -> None:
            pass

    monkeypatch.setattr(instruments, "Counters", OfTheGpuAlone)
    opened = Instruments.open("auto")
    assert (opened.measure.name, opened.gauge.meters.channels) == ("cpu_s", {})
    assert opened.measure.note == f"the counter of cpu:0 cannot be read: {why}"
    asked_for = Instruments.open("energy_j").measure
    assert (asked_for.name, asked_for.scope) == ("energy_j", "gpu:0")


def test_whoever_measures_here_is_named_to_those_who_wait(
    pytester: pytest.Pytester, own_lock: Path
) -> None:
    pytester.makepyfile(TESTS)
    begun, done = threading.Event(), threading.Event()

    def hold() -> None:
        with locks.host_lock("a paper's pair", windows=True):
            begun.set()
            done.wait(2.0)

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait()
    told = run(pytester, "-k", "alone")
    thread.join()
    told.assert_outcomes(passed=1)
    told.stdout.fnmatch_lines([f"*waiting for a paper's pair of * (process {os.getpid()}, since *"])


def test_a_window_is_charged_with_the_cpu_seconds_of_its_work() -> None:
    measure = Measure("cpu_s", "process tree", "clock", "none")
    instruments = Instruments(measure, Gauge(Meters((), required=False), lambda: None))

    def work() -> None:
        end_s = os.times().user + 0.2
        while os.times().user < end_s:
            sum(range(1000))

    taken = instruments.take(work)
    spent_s = measure.of(taken)
    assert spent_s == pytest.approx(0.2, abs=0.05)  # the kernel's ticks are 10 ms
    assert instruments.gauge.spans == []
