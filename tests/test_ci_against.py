"""A checkout against its base commit: git, the line between processes, and a whole job."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from bench import machine
from bench.ci import __main__ as command
from bench.ci import origins, parties, worktree
from bench.ci.contest import Job
from bench.ci.instruments import Taken
from bench.ci.link import Exchange, Line, LinkError
from bench.ci.parties import Call, Party, PartyError, RaisedError, RemoteSide
from bench.ci.referee import Referee
from bench.ci.rules import read
from bench.folders import conf_folder

ROOT = Path(__file__).parents[1]
PATIENCE_S = 120.0

MODULE = """
ROUNDS = {rounds}


def work():
    return sum(range(ROUNDS))
"""

TESTS = """
from shop import work


def test_work(joules):
    joules.measure(work)
"""


OWN_LOCK = """
from pathlib import Path

from bench import locks

locks.SHARED_FOLDERS = (Path({folder!r}),)
"""
"""Whoever measures on this host meanwhile is not waited for."""


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Return a checkout of a project of one module and one check, in a folder below its top."""
    top = tmp_path / "checkout"
    folder = top / "shop"
    (folder / "tests").mkdir(parents=True)
    (folder / "shop.py").write_text(MODULE.format(rounds=3000))
    (folder / "tests" / "test_shop.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    lock = tmp_path / "lock"
    lock.mkdir()
    lock.chmod(0o1777)
    (folder / "conftest.py").write_text(OWN_LOCK.format(folder=str(lock)))
    git(top, "init", "-q", "-b", "main")
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "base")
    return folder


# Git.


def test_the_base_is_where_the_checkout_left_the_branch(shop: Path) -> None:
    top = worktree.top_of(shop)
    left = git(top, "rev-parse", "HEAD")
    git(top, "switch", "-q", "-c", "topic")
    git(top, "commit", "-q", "--allow-empty", "-m", "topic")
    git(top, "switch", "-q", "main")
    git(top, "commit", "-q", "--allow-empty", "-m", "main goes on")
    git(top, "switch", "-q", "topic")
    base = worktree.base_of(top, "main")
    assert (base.commit, base.name) == (left, f"main at {left[:10]}")


def test_a_base_that_is_not_there_is_refused_with_how_to_fetch_it(shop: Path) -> None:
    with pytest.raises(worktree.GitError, match=r"--against=origin/main.*fetch-depth: 0"):
        worktree.base_of(worktree.top_of(shop), "origin/main")


def test_a_worktree_has_the_commits_files_and_is_gone_afterwards(
    shop: Path, tmp_path: Path
) -> None:
    top = worktree.top_of(shop)
    (shop / "shop.py").write_text(MODULE.format(rounds=1))
    place = tmp_path / "base"
    with worktree.checked_out(top, git(top, "rev-parse", "HEAD"), place) as tree:
        assert "ROUNDS = 3000" in (tree / "shop" / "shop.py").read_text()
        assert worktree.changed_files(top, "HEAD") == {"shop/shop.py"}
        (shop / "mühle.py").touch()  # new, and git would quote its name
        assert worktree.changed_files(top, "HEAD") == {"shop/shop.py", "shop/mühle.py"}
    assert not place.exists()
    assert git(top, "worktree", "list").count("\n") == 0


def test_a_base_that_this_clone_does_not_reach_is_its_tip_and_says_so(
    shop: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    top = worktree.top_of(shop)
    git(top, "switch", "-q", "--orphan", "main-without-our-past")
    git(top, "commit", "-q", "--allow-empty", "-m", "main")
    tip = git(top, "rev-parse", "HEAD")
    git(top, "switch", "-q", "main")
    base = worktree.base_of(top, "main-without-our-past")
    assert (base.commit, base.name) == (tip, f"main-without-our-past at {tip[:10]}, its tip")
    assert "fetch-depth: 0" in caplog.text


@pytest.mark.parametrize(
    ("word", "of_base"),
    [
        *((word, word) for word in ("-q", "small", "tests/test_a.py::test_b", "--junitxml=o.xml")),
        ("error::UserWarning", "error::UserWarning"),
        ("python_files=perf_*.py", "python_files=perf_*.py"),
        ("--deselect=tests/test_a.py::test_b", "--deselect=tests/test_a.py::test_b"),
        ("{head}", "{base}"),
        ("{head}/tests/test_a.py::test_b[x=1]", "{base}/tests/test_a.py::test_b[x=1]"),
        ("--rootdir={head}", "--rootdir={base}"),
        ("--deselect={head}/tests/test_a.py::test_b", "--deselect={base}/tests/test_a.py::test_b"),
        ("{head}er/tests", "{head}er/tests"),
        ("{head}/.venv/lib/site-packages/plugin.py", "{head}/.venv/lib/site-packages/plugin.py"),
    ],
)
def test_the_base_is_given_the_same_words_with_its_own_folder_in_them(
    tmp_path: Path, word: str, of_base: str
) -> None:
    head, base = tmp_path / "head", tmp_path / "base"
    command = ["venv/bin/pytest", word.format(head=head, base=base)]
    assert worktree.command_of_base(command, head, head, base) == [
        *(str(head / "venv/bin/pytest"), of_base.format(head=head, base=base)),
    ]


def hello(path: list[str], root: Path, covers: bool = False) -> dict[str, Any]:
    return {"path": path, "root": str(root), "covers": covers}


def test_what_is_on_the_heads_path_is_on_the_bases_with_its_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, base = tmp_path / "head", tmp_path / "base"
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    path = [str(head / "lib"), "/usr/lib/python3", str(head / "venv/lib/site-packages")]
    told = worktree.environment_of_base(hello(path, head), head, base)
    found = told["PYTHONPATH"].split(os.pathsep)
    assert found == [str(base / "lib"), str(base / "src"), str(base), "/elsewhere"]


def test_tests_of_the_base_are_named_from_its_own_root_and_cover_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, base = tmp_path / "head", tmp_path / "the base"
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k 'a or b'")
    told = worktree.environment_of_base(hello([], head / "sub", covers=True), head, base)
    assert shlex.split(told["PYTEST_ADDOPTS"]) == [
        *(f"--rootdir={base / 'sub'}", "-k", "a or b", "--no-cov"),
    ]
    told = worktree.environment_of_base(hello([], tmp_path), head, base)
    assert told["PYTEST_ADDOPTS"] == "-k 'a or b'"
    told = worktree.environment_of_head(hello([], head, covers=True))  # of fresh processes
    assert told["PYTEST_ADDOPTS"] == "-k 'a or b' --no-cov"


def job(shop: Path, tree: Path, *words: str) -> Job:
    """Return the job of a command that is called in the shop, against a worktree of its base."""
    top = worktree.top_of(shop)
    base = worktree.base_of(top, "HEAD")
    return command._job(["pytest", *words], shop, top, tree, tree.parent, base, None)


def test_no_silent_side_opens_the_file_that_the_head_writes(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder may not be in the worktree, and a fresh head would empty what the head wrote."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "-q --benchmark-json=c.json")
    (tmp_path / "base" / "shop").mkdir(parents=True)
    words = ("--benchmark-json=reports/a.json", "-v", "--benchmark-json", "b.json", "tests")
    made = job(shop, tmp_path / "base", *words)
    calls = made.silent(hello([], shop))
    assert calls is not None
    assert list(calls) == ["head", "base"]
    for call in calls.values():
        assert call.command == ["pytest", "-v", "tests"]
        assert "--benchmark-json" not in call.environment["PYTEST_ADDOPTS"]
    assert made.head.command == ["pytest", *words]


def test_a_project_that_the_base_has_not_is_new_to_it(shop: Path, tmp_path: Path) -> None:
    """Its pytest would refuse a root that is not there, and the job would end with 3."""
    (tmp_path / "base" / "shop").mkdir(parents=True)
    made = job(shop, tmp_path / "base", "tests")
    assert made.silent(hello([], shop / "added")) is None
    assert made.silent(hello([], shop)) is not None
    assert made.silent(hello([], tmp_path / "elsewhere")) is not None


def test_modules_of_the_other_commit_and_installed_copies_are_strangers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, other = tmp_path / "base", tmp_path / "head"
    places = {
        "of_base": tree / "pkg" / "of_base.py",
        "of_head": other / "pkg" / "of_head.py",
        "copied": tmp_path / "lib" / "site-packages" / "pkg" / "copied.py",
        "alike": tmp_path / "lib" / "site-packages" / "other" / "copied.py",
        "plugin": other / ".venv" / "lib" / "site-packages" / "plugin.py",
    }
    for name, place in places.items():
        module = ModuleType(name)
        module.__file__ = str(place)
        monkeypatch.setitem(sys.modules, name, module)
    found = origins.strangers(tree, other, {"python/pkg/copied.py", "python/pkg/new.py"})
    assert found == [f"{name} ({places[name]})" for name in ("copied", "of_head")]
    assert origins.strangers(tree, other, set()) == found[1:]


@pytest.mark.parametrize(
    ("changed", "strange"),
    [({"native/src/fast.c"}, True), ({"README.md"}, False), (set(), False)],
)
def test_a_module_that_was_compiled_in_the_checkout_and_installed_is_a_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: set[str], strange: bool
) -> None:
    tree, other = tmp_path / "base", tmp_path / "head"
    (other / "native").mkdir(parents=True)
    site = tmp_path / "lib" / "site-packages"
    for name, url in (("fast", (other / "native").as_uri()), ("other", "https://example.org")):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "RECORD").write_text(f"{name}/_{name}.so,,\n{name}/__init__.py,,\n")
        (info / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": {}}))
        module = ModuleType(f"{name}._{name}")
        module.__file__ = str(site / name / f"_{name}.so")
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.syspath_prepend(site)
    for mine, others in ((tree, other), (other, tree)):
        found = origins.strangers(mine, others, changed)
        assert found == [f"fast._fast ({site / 'fast' / '_fast.so'})"] * strange


# The line.


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    with closing(Exchange(tmp_path)) as opened:
        yield opened


def test_documents_arrive_whole_and_in_order_until_the_other_hangs_up(exchange: Exchange) -> None:
    documents = [{"text": "a\nb", "n": number, "list": [1.5, None]} for number in range(3)]

    def other() -> None:
        line = Line.to(exchange.path)
        for document in documents:
            line.send(document)
        line.close()

    thread = threading.Thread(target=other)
    thread.start()
    line = exchange.accept(lambda: True)
    assert line is not None
    assert [line.receive() for _ in range(4)] == [*documents, None]
    thread.join()
    line.close()


def test_nobody_is_waited_for_who_cannot_call_any_more(exchange: Exchange) -> None:
    begun_s = time.monotonic()
    assert exchange.accept(lambda: False) is None
    assert time.monotonic() - begun_s < 1


def test_whoever_sends_to_a_closed_line_is_told(exchange: Exchange) -> None:
    line = Line.to(exchange.path)
    ours = exchange.accept(lambda: True)
    assert ours is not None
    ours.close()

    def talk() -> None:
        for _ in range(100):
            line.send({"text": "x" * 10_000})

    with pytest.raises(LinkError, match="hung up"):
        talk()
    line.close()


def test_a_side_that_never_calls_is_named_with_what_it_printed(
    exchange: Exchange, tmp_path: Path
) -> None:
    script = "print('no such plugin'); raise SystemExit(4)"
    call = Call([sys.executable, "-c", script], tmp_path, tmp_path, tmp_path, dict(os.environ))
    with pytest.raises(PartyError, match="the base ended before it called") as caught:
        Party("base", call, exchange, tmp_path / "base.log")
    assert "no such plugin" in str(caught.value)


# The sides, seen from the middle.


class FakeParty:
    """Says what it is told to, and keeps what it hears."""

    def __init__(self, side: str, *says: dict[str, Any] | None) -> None:
        self.side, self.says = side, iter(says)
        self.heard_: list[dict[str, Any]] = []

    def say(self, document: dict[str, Any]) -> None:
        self.heard_.append(document)

    def hear(self) -> dict[str, Any] | None:
        return next(self.says)

    def tail(self) -> str:
        return ""


def remote(*says: dict[str, Any] | None) -> RemoteSide:
    return RemoteSide(FakeParty("base", *says), "t::a", "cpu_s")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"test": "t::a", "raised": "OSError: no"}, "the base raised OSError: no"),
        ({"test": "t::b", "taken": {}}, "the base is no longer at t::a"),
        ({"event": "finished", "test": "t::a"}, "the base is no longer at t::a"),
        (None, "the base ended while it measured"),
    ],
)
def test_a_side_that_does_not_answer_what_it_was_asked_is_named(
    answer: dict[str, Any] | None, problem: str
) -> None:
    with pytest.raises(PartyError, match=problem) as caught:
        remote(answer).window(1, 0, 0)
    assert isinstance(caught.value, RaisedError) == ("raised" in problem)


def test_a_side_whose_function_has_imported_the_others_code_is_refused() -> None:
    answer = {"test": "t::a", "seconds_per_call": 1.0, "strangers": ["shop (/head/shop.py)"]}
    with pytest.raises(PartyError, match=r"the base took shop \(/head/shop\.py\)"):
        remote(answer).warm_up(read(conf_folder() / "check" / "own.yaml"), 0.1, 1.0)


def test_the_other_side_on_a_gpu_is_not_foreign() -> None:
    """Each process keeps its context on the device while the other is measured."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    host = machine.Circumstances(gpu_foreign={"gpu:0": (sleeper.pid,), "gpu:1": (sleeper.pid, 1)})
    span = dataclasses.asdict(Taken("window", 0, 1, 0.0, (), None, None, host))
    found = parties.taken(json.loads(json.dumps(span)))
    sleeper.kill()
    sleeper.wait()
    assert found.host.gpu_foreign == {"gpu:1": (1,)}


def test_a_test_that_is_tried_again_gets_the_answer_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a confirmed failure would pass on its rerun, for which the base is not there."""
    answers = iter([{"do": "done", "result": {}}, {"do": "alone", "reason": "new"}])
    monkeypatch.setattr(Referee, "_answer", lambda *_: next(answers))
    ready = [{"event": "ready", "test": name} for name in ("t::a", "t::a", "t::b")]
    head = FakeParty("head", *ready, {"event": "end", "results": []})
    call = Call(["pytest"], tmp_path, tmp_path, tmp_path, {})
    referee = Referee(Job(call, lambda hello: None, "main", frozenset(), tmp_path))
    referee._serve(head)  # type: ignore[arg-type]
    assert [(said["test"], said["do"]) for said in head.heard_] == [
        *(("t::a", "done"), ("t::a", "done"), ("t::b", "alone")),
    ]
    assert referee.trouble is None


# A whole job.


def check(
    folder: Path, *words: str, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        called(folder, *words, options=options),
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def called(folder: Path, *words: str, options: tuple[str, ...] = ()) -> list[str]:
    installed = importlib.metadata.entry_points(group="pytest11")
    known = any(entry.value == "joulebench_pytest" for entry in installed)
    pytest_ = [sys.executable, "-m", "pytest", *([] if known else ["-p", "joulebench_pytest"])]
    short = ["--joules-max-time=2", "--joules-measure=cpu_s", "-p", "no:cacheprovider"]
    start = (folder / "conftest.py").read_text() + (
        "import runpy\nrunpy.run_module('bench.ci', run_name='__main__', alter_sys=True)\n"
    )
    ours = [sys.executable, "-c", start, "--against", "HEAD", *options]
    return [*ours, "--", *pytest_, *short, *words]


def test_a_commit_that_works_ten_times_as_much_fails_against_its_base(shop: Path) -> None:
    (shop / "shop.py").write_text(MODULE.format(rounds=30_000))
    done = check(shop, "--joules-fail=ratio:1.2", "--junitxml=report.xml")
    told = done.stdout + done.stderr
    assert done.returncode == 1, told
    assert "tests/test_shop.py::test_work costs more than --joules-fail=ratio:1.2 allows" in told
    assert "measured anew in fresh processes; the first gave" in told
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| `tests/")]
    ratio = float(row.split("|")[4].split("[")[0])
    assert 5 < ratio < 20  # this suite's other tests run meanwhile
    assert "❌ fails (limit 1.2)" in row
    assert "joules.ratio" in (shop / "report.xml").read_text()
    assert git(shop, "worktree", "list").count("\n") == 0


def test_an_unchanged_checkout_does_not_fail_and_a_new_test_has_no_baseline(shop: Path) -> None:
    (shop / "tests" / "test_new.py").write_text(TESTS.replace("test_work", "test_new"))
    (shop / "small").mkdir()
    # What pytest is told beside tests is no path, though it may look like one.
    words = (
        "-k",
        "not small",
        "-W",
        "error::UserWarning",
        "--deselect=tests/test_shop.py::test_no",
    )
    where = (str(shop / "tests" / "test_shop.py"), "tests/test_new.py::test_new")
    table = ("--markdown", "out/table.md")
    done = check(shop, "--joules-fail=ratio:4", "-q", *words, *where, options=table)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tests/test_new.py::test_new" in (shop / "out" / "table.md").read_text()
    rows = {
        line.split("`")[1]: line
        for line in done.stdout.splitlines()
        if line.startswith("| `tests/")
    }
    unchanged = rows["tests/test_shop.py::test_work"]
    # Decided or not: how sure two seconds make it is up to what else this machine does.
    assert "(limit 4)" in unchanged
    assert 0.25 < float(unchanged.split("|")[4].split("[")[0]) < 4
    assert "no baseline" in rows["tests/test_new.py::test_new"]
    assert "new: the base has no such test" in done.stdout


def test_a_base_whose_files_cannot_be_collected_is_not_taken_for_a_new_test(shop: Path) -> None:
    (shop / "tests" / "test_shop.py").write_text("import nowhere\n" + TESTS)
    git(shop, "commit", "-q", "-a", "-m", "broken")
    (shop / "tests" / "test_shop.py").write_text(TESTS)
    done = check(shop, "-x", "-q")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "no baseline: on the base 1 file could not be collected" in done.stdout
    assert "could not be measured: on the base 1 file could not be collected" in done.stderr


IMPATIENT = """
import signal

def test_waits(joules):
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("too long")))
    signal.alarm({seconds})
    __import__("time").sleep({sleep_s})
    joules.measure(work)
"""


def test_a_side_that_is_taken_out_of_its_wait_goes_on_with_the_next_test(shop: Path) -> None:
    """As by pytest-timeout: the base waits in its first check while the head gets there."""
    tests = shop / "tests" / "test_shop.py"
    check_ = TESTS.replace("import work\n", "import work\n{impatient}\n")
    tests.write_text(check_.format(impatient=IMPATIENT.format(seconds=1, sleep_s=0)))
    git(shop, "commit", "-q", "-a", "-m", "impatient")
    tests.write_text(check_.format(impatient=IMPATIENT.format(seconds=0, sleep_s=3)))
    done = check(shop, "--joules-fail=ratio:1.5")
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "no baseline: the base raised TimeoutError: too long" in told
    (row,) = [line for line in done.stdout.splitlines() if "::test_work` |" in line]
    assert "[" in row.split("|")[4]  # a ratio with its interval


@pytest.mark.slow
def test_what_cannot_be_measured_anew_neither_fails_nor_ends_green(shop: Path) -> None:
    conftest = shop / "conftest.py"
    fresh = "import os\n\nif os.environ.get('PYTHONHASHSEED') == '1':\n    os._exit(5)\n"
    conftest.write_text(conftest.read_text() + fresh)
    (shop / "shop.py").write_text(MODULE.format(rounds=30_000))
    done = check(shop, "--joules-fail=ratio:1.2")
    assert done.returncode == 3, done.stdout + done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| `tests/")]
    assert "undecided, two fresh processes would have to find it, too (limit 1.2)" in row
    assert "not measured anew in fresh processes: the fresh head ended" in done.stderr


@pytest.mark.slow
def test_a_job_that_is_cancelled_leaves_neither_processes_nor_a_worktree(shop: Path) -> None:
    job = subprocess.Popen(
        called(shop, "--joules-max-time=60", "--joules-half-width=0.0001"),
        cwd=shop,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(6)
    started = psutil.Process(job.pid).children(recursive=True)
    assert len(started) == 2
    job.send_signal(signal.SIGTERM)
    assert job.wait(PATIENCE_S) == 128 + signal.SIGTERM
    _, alive = psutil.wait_procs(started, timeout=5)
    assert not alive
    assert git(shop, "worktree", "list").count("\n") == 0


@pytest.mark.slow
def test_a_job_that_is_interrupted_at_its_terminal_writes_the_heads_reports(shop: Path) -> None:
    job = subprocess.Popen(
        called(shop, "--joules-max-time=60", "--joules-half-width=0.0001", "--junitxml=report.xml"),
        cwd=shop,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    time.sleep(6)
    started = psutil.Process(job.pid).children(recursive=True)
    os.killpg(job.pid, signal.SIGINT)  # to the head, too, as Ctrl-C
    told, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 128 + signal.SIGINT
    assert "= no tests ran in" in told
    assert "runpy" not in told  # no traceback of ours
    assert (shop / "report.xml").exists()
    _, alive = psutil.wait_procs(started, timeout=5)
    assert not alive
    assert git(shop, "worktree", "list").count("\n") == 0


@pytest.mark.slow
def test_a_command_that_runs_pytest_twice_is_told_and_not_waited_for(shop: Path) -> None:
    words = shlex.join(called(shop)[called(shop).index("--") + 1 :])
    command_ = [*called(shop)[: called(shop).index("--") + 1], "sh", "-c", f"{words}; {words}"]
    done = subprocess.run(
        command_, cwd=shop, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout + done.stderr
    assert "python -m bench.ci runs pytest once" in done.stderr
    assert "| `tests/test_shop.py::test_work` |" in done.stdout


@pytest.mark.slow
def test_a_base_that_would_take_the_heads_code_is_not_compared(shop: Path, tmp_path: Path) -> None:
    """As with an import hook of an editable install, which leads every process to the head."""
    (shop / "pytest.ini").write_text("[pytest]\n")
    hook = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('shop', {str(shop / 'shop.py')!r})\n"
        "sys.modules['shop'] = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(sys.modules['shop'])\n"
    )
    (shop / "tests" / "test_shop.py").write_text(hook + TESTS)
    git(shop, "add", ".")
    git(shop, "commit", "-q", "-m", "hooked")
    done = check(shop)
    assert done.returncode == 3, done.stdout + done.stderr
    assert f"the base took shop ({shop / 'shop.py'})" in done.stdout + done.stderr


def test_the_command_wants_the_tests_after_two_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["--against", "HEAD", "pytest"])
    assert caught.value.code == 2
    assert "-- pytest" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["nowhere-to-be-found", "'no end", "false"])
def test_what_cannot_be_prepared_is_an_error_of_use(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    monkeypatch.chdir(shop)
    assert command.main(["--against", "HEAD", "--prepare", words, "--", "pytest"]) == 2
    assert f"--prepare={words!r}" in capsys.readouterr().err
    assert git(shop, "worktree", "list").count("\n") == 0


def test_outside_of_a_checkout_git_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["--against", "HEAD", "--", "pytest"]) == 2
    assert "not a git repository" in capsys.readouterr().err
