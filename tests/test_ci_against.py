"""A checkout against its base commit: git, the line between processes, and a whole job."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench.ci import __main__ as command
from bench.ci import worktree
from bench.ci.link import Exchange, Line, LinkError
from bench.ci.parties import Call, Party, PartyError

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
    assert not place.exists()
    assert git(top, "worktree", "list").count("\n") == 0


def test_the_base_runs_the_same_command_on_its_own_files(tmp_path: Path) -> None:
    head, base = tmp_path / "head", tmp_path / "base"
    for top in (head, base):
        (top / "tests").mkdir(parents=True)
        (top / "tests" / "test_old.py").touch()
    (head / "tests" / "test_new.py").touch()
    words = [
        "venv/bin/pytest",
        "-q",
        "-k",
        "small",
        "tests/test_old.py::test_a",
        str(head / "tests"),
    ]
    words += ["tests/test_new.py", f"--rootdir={head}/tests", "--junitxml=out.xml"]
    assert worktree.command_of_base(words, head, head, base) == [
        *(str(head / "venv/bin/pytest"), "-q", "-k", "small"),
        *(str(base / "tests" / "test_old.py"), str(base / "tests")),
        *(f"--rootdir={base}/tests", "--junitxml=out.xml"),
    ]


def test_a_base_without_any_of_the_test_files_has_no_command(tmp_path: Path) -> None:
    head, base = tmp_path / "head", tmp_path / "base"
    head.mkdir()
    base.mkdir()
    (head / "test_new.py").touch()
    assert worktree.command_of_base(["pytest", "test_new.py"], head, head, base) is None
    assert worktree.command_of_base(["pytest", "-q"], head, head, base) == ["pytest", "-q"]


def test_what_is_on_the_heads_path_is_on_the_bases_with_its_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, base = tmp_path / "head", tmp_path / "base"
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    path = [str(head / "lib"), "/usr/lib/python3", str(head / "venv/lib/site-packages")]
    found = worktree.environment_of_base(path, head, base)["PYTHONPATH"].split(os.pathsep)
    assert found == [str(base / "lib"), str(base / "src"), str(base), "/elsewhere"]


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
    call = Call([sys.executable, "-c", script], tmp_path, tmp_path, None, dict(os.environ))
    with pytest.raises(PartyError, match="the base ended before it called") as caught:
        Party("base", call, exchange, tmp_path / "base.log")
    assert "no such plugin" in str(caught.value)


# A whole job.


def check(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    installed = importlib.metadata.entry_points(group="pytest11")
    known = any(entry.value == "joulebench_pytest" for entry in installed)
    pytest_ = [sys.executable, "-m", "pytest", *([] if known else ["-p", "joulebench_pytest"])]
    short = ["--joules-max-time=2", "--joules-measure=cpu_s", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    start = (folder / "conftest.py").read_text() + (
        "import runpy\nrunpy.run_module('bench.ci', run_name='__main__', alter_sys=True)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", start, "--against", "HEAD", "--", *pytest_, *short, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def test_a_commit_that_works_twice_as_much_fails_against_its_base(shop: Path) -> None:
    (shop / "shop.py").write_text(MODULE.format(rounds=6000))
    done = check(shop, "--joules-fail=ratio:1.2", "--junitxml=report.xml")
    told = done.stdout + done.stderr
    assert done.returncode == 1, told
    assert "tests/test_shop.py::test_work costs more than --joules-fail=ratio:1.2 allows" in told
    assert "confirmed in fresh processes" in told
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| `tests/")]
    ratio = float(row.split("|")[4].split("[")[0])
    assert 1.6 < ratio < 2.4
    assert "❌ fails (limit 1.2)" in row
    assert "joules.ratio" in (shop / "report.xml").read_text()
    assert git(shop, "worktree", "list").count("\n") == 0


def test_an_unchanged_checkout_passes_and_a_new_test_has_no_baseline(shop: Path) -> None:
    (shop / "tests" / "test_new.py").write_text(TESTS.replace("test_work", "test_new"))
    done = check(shop, "--joules-fail=ratio:1.5", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {
        line.split("`")[1]: line
        for line in done.stdout.splitlines()
        if line.startswith("| `tests/")
    }
    assert "✅ passes (limit 1.5)" in rows["tests/test_shop.py::test_work"]
    assert "no baseline" in rows["tests/test_new.py::test_new"]
    assert "new: the base has no such test" in done.stdout


def test_a_base_whose_files_cannot_be_collected_is_not_taken_for_a_new_test(shop: Path) -> None:
    (shop / "tests" / "test_shop.py").write_text("import nowhere\n" + TESTS)
    git(shop, "commit", "-q", "-a", "-m", "broken")
    (shop / "tests" / "test_shop.py").write_text(TESTS)
    done = check(shop, "-x", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no baseline: on the base 1 file could not be collected" in done.stdout


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
    assert "from the head's tree" in done.stdout + done.stderr


def test_the_command_wants_the_tests_after_two_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["--against", "HEAD", "pytest"])
    assert caught.value.code == 2
    assert "-- pytest" in capsys.readouterr().err


def test_outside_of_a_checkout_git_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["--against", "HEAD", "--", "pytest"]) == 2
    assert "not a git repository" in capsys.readouterr().err
