"""A record stands in its place whole or not at all, whatever is killed when."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
from factories import record

from bench import collection, store
from bench.records import to_json
from bench.store import StoreError

TESTS = Path(__file__).parent
OLD, NEW = record(ratio=0.8), record(ratio=0.6)

# Forks writers of NEW, each in a folder of its own; the n-th is killed by SIGKILL before its n-th
# change of the file system. Ends with the first that gets through, and prints its number.
KILLED_WRITERS = """
import itertools, os, signal, sys
from pathlib import Path
from bench import store
from factories import record

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")

class FakeTable:
    def to_parquet(self, path, **_):
        path.write_text("a table")

def write(place, left):
    def count(event, args):
        nonlocal left
        if event in CHANGES or (event == "open" and "w" in str(args[1])):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    store.write(place, record(ratio=0.6), {"windows": FakeTable()}, replace=True)
    os._exit(0)

for number in itertools.count(1):
    place = Path(sys.argv[1]) / str(number) / "desk" / "digits" / "prune" / "0-0123456789ab"
    if sys.argv[2] == "failure":
        store.write_failure(place, "no room", "", {})
    elif sys.argv[2] == "record":
        store.write(place, record(ratio=0.8), {"windows": FakeTable()})
    child = os.fork() or write(place, number)
    status = os.waitpid(child, 0)[1]
    if status == 0:
        print(number)
        break
    assert os.WTERMSIG(status) == signal.SIGKILL, status
"""


class FakeTable:
    """Stands for a DataFrame where importing pandas would only take time."""

    def to_parquet(self, path: Path, **_: object) -> None:
        path.write_text("a table")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return store.place(tmp_path, "desk", "digits", "prune", 0, "0123456789abcdef")


def put(place: Path, text: str) -> Path:
    place.mkdir(parents=True)
    path = place / "record.json"
    path.write_text(text)
    return path


def hidden(place: Path) -> list[str]:
    return [path.name for path in place.parent.glob(".*")]


def test_the_place_is_named_by_host_workload_technique_seed_and_twelve_characters() -> None:
    place = store.place(Path("results"), "desk", "digits", "prune", 3, "0123456789abcdef")
    assert place == Path("results/desk/digits/prune/3-0123456789ab")


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b"])
def test_a_name_that_would_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(StoreError, match="technique is"):
        store.place(Path("results"), "desk", "digits", name, 0, "0123456789abcdef")


def test_what_was_written_is_found_with_its_tables(place: Path) -> None:
    windows = pandas.DataFrame({"block": [0, 0], "counters/cpu:0_j": [12.5, None]})
    assert store.write(place, NEW, {"windows": windows}) == place
    digest = hashlib.sha256((place / "windows.parquet").read_bytes()).hexdigest()
    assert store.find(place) == dataclasses.replace(NEW, files={"windows.parquet": digest})
    back = pandas.read_parquet(place / "windows.parquet")
    pandas.testing.assert_frame_equal(back, windows)
    assert hidden(place) == []


def test_nothing_is_found_where_nothing_was_written(place: Path) -> None:
    assert store.find(place) is None


def test_a_record_is_not_overwritten_unless_that_is_asked_for(place: Path) -> None:
    store.write(place, OLD, {})
    with pytest.raises(StoreError, match="already holds a record"):
        store.write(place, NEW, {})
    assert store.find(place) == OLD
    store.write(place, NEW, {}, replace=True)
    assert store.find(place) == NEW


def test_a_record_that_was_finished_meanwhile_is_not_overwritten(place: Path) -> None:
    class Overtaken(FakeTable):
        def to_parquet(self, path: Path, **_: object) -> None:
            put(place, to_json(OLD))

    with pytest.raises(StoreError, match="already holds a record"):
        store.write(place, NEW, {"windows": Overtaken()})  # type: ignore[dict-item]
    assert store.find(place) == OLD
    assert hidden(place) == []


def test_a_failed_table_leaves_nothing_behind(place: Path) -> None:
    class Full(FakeTable):
        def to_parquet(self, path: Path, **_: object) -> None:
            path.write_text("half a ta")
            raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"No space left on device.*store\.root=DIR"):
        store.write(place, NEW, {"windows": Full()})  # type: ignore[dict-item]
    assert not place.exists()
    assert hidden(place) == []


def test_a_record_with_a_figure_that_is_not_finite_is_not_stored(place: Path) -> None:
    broken = dataclasses.replace(
        NEW, comparison=dataclasses.replace(NEW.comparison, low=float("nan"))
    )
    with pytest.raises(StoreError, match="NaN or infinity"):
        store.write(place, broken, {})
    assert not place.exists()


@pytest.mark.parametrize("before", ["nothing", "failure", "record"])
def test_a_writer_killed_at_any_moment_leaves_no_half_record(tmp_path: Path, before: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WRITERS, str(tmp_path), before],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    # Killed before the folders, the table, the record, the renaming at least.
    assert int(done.stdout) > 4
    digest = hashlib.sha256(b"a table").hexdigest()
    with_tables = [
        dataclasses.replace(one, files={"windows.parquet": digest}) for one in (OLD, NEW)
    ]
    left_over = 0
    for number in range(1, int(done.stdout) + 1):
        root = tmp_path / str(number)
        place = root / "desk" / "digits" / "prune" / "0-0123456789ab"
        if (place / "record.json").exists():
            assert (place / "windows.parquet").read_text() == "a table"
        assert collection.read(root).set_aside == ()
        left_over += bool(hidden(place))
        # What stood there before it was asked to be replaced is not lost either.
        assert store.find(place) in (
            (with_tables[0], with_tables[1]) if before == "record" else (None, with_tables[1])
        )
        store.write(place, NEW, {}, replace=True)
        assert store.find(place) == NEW
        assert hidden(place) == []
    assert left_over > 0


def test_what_a_living_process_writes_is_left_alone(place: Path) -> None:
    place.parent.mkdir(parents=True)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        staging = place.with_name(f".{place.name}.writing-{other.pid}")
        staging.mkdir()
        store.write(place.with_name("1-0123456789ab"), NEW, {})
        assert staging.is_dir()
    finally:
        other.kill()
        other.communicate()
    store.write(place.with_name("2-0123456789ab"), NEW, {})
    assert not staging.exists()


BROKEN = {
    "truncated": (to_json(OLD)[:500], "not JSON"),
    "foreign": ('{"name": "somebody else\'s"}', "schema is None"),
    "future": (to_json(OLD).replace('"schema": 1', '"schema": 2'), "schema is 2"),
    "not-finite": (
        to_json(OLD).replace('"ratio": 0.8,', '"ratio": NaN,'),
        "should be a finite number",
    ),
    "too-great": (
        to_json(OLD).replace('"ratio": 0.8,', '"ratio": 1e999,'),
        "should be a finite number",
    ),
    "too-deep": ("[" * 100_000, "recursion"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_record_is_set_aside_and_named(
    place: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    text, reason = BROKEN[kind]
    path = put(place, text)
    with caplog.at_level(logging.WARNING):
        assert store.find(place) is None
    assert str(path) in caplog.text
    assert reason in caplog.text
    assert not path.exists()
    assert (place / "record.json.broken-1").read_text() == text


def test_a_second_broken_record_does_not_replace_the_first(place: Path) -> None:
    put(place, "first")
    store.find(place)
    (place / "record.json").write_text("second")
    store.find(place)
    assert (place / "record.json.broken-1").read_text() == "first"
    assert (place / "record.json.broken-2").read_text() == "second"


def test_a_record_set_aside_is_kept_when_the_pair_is_measured_again(place: Path) -> None:
    put(place, "broken")
    assert store.find(place) is None
    store.write(place, NEW, {})
    assert store.find(place) == NEW
    assert (place / "record.json.broken-1").read_text() == "broken"


def test_a_failure_is_told_whole_and_gives_way_to_success(place: Path) -> None:
    error = RuntimeError("out of memory\nand more on a second line")
    path = store.write_failure(place, error, "Traceback ...", {"seed": 0, "root": Path("data")})
    assert path == place / "failure.json"
    told = json.loads(path.read_text())
    assert (told["type"], told["error"]) == ("RuntimeError", "out of memory")
    assert told["traceback"] == "Traceback ..."
    assert told["config"] == {"seed": 0, "root": "data"}
    assert store.find(place) is None
    store.write(place, NEW, {})
    assert store.find(place) == NEW
    assert not path.exists()


def test_a_failure_does_not_touch_a_finished_record(place: Path) -> None:
    store.write(place, OLD, {})
    before = {path.name: path.stat().st_mtime_ns for path in place.iterdir()}
    assert store.write_failure(place, "too late", "", {}) is None
    assert {path.name: path.stat().st_mtime_ns for path in place.iterdir()} == before


def test_a_folder_is_made_and_left_empty_by_the_check(tmp_path: Path) -> None:
    store.check_writable(tmp_path / "a" / "b", free_bytes=1)
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("root", ["file", "file/below"])
def test_a_file_in_the_way_is_refused_with_the_knob_and_the_way_out(
    tmp_path: Path, root: str
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as caught:
        store.check_writable(tmp_path / root, free_bytes=1)
    assert f"store.root is '{tmp_path / root}'" in str(caught.value)
    assert "store.root=DIR" in str(caught.value)


def test_a_read_only_folder_is_refused_with_the_knob_and_the_way_out(as_nobody: Path) -> None:
    store.check_writable(as_nobody, free_bytes=1)  # the same folder while it may be written to
    closed = as_nobody / "closed"
    closed.mkdir()
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StoreError) as caught:
        store.check_writable(closed, free_bytes=1, key="paper.root")
    assert f"paper.root is '{closed}'" in str(caught.value)
    assert "Permission denied" in str(caught.value)
    assert "paper.root=DIR" in str(caught.value)


def test_a_full_disk_is_refused_with_what_is_needed_and_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage(100_000_000, 98_000_000, 2_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    store.check_writable(tmp_path, free_bytes=2_000_000)
    with pytest.raises(StoreError, match=r"has 2 MB free and 5 MB are needed.*store\.root=DIR"):
        store.check_writable(tmp_path, free_bytes=5_000_000)


def test_a_record_that_may_not_be_read_is_an_error_and_not_a_broken_record(place: Path) -> None:
    put(place, to_json(OLD)).unlink()
    (place / "record.json").mkdir()  # reading it fails for root, too
    with pytest.raises(StoreError, match="cannot be read"):
        store.find(place)
    assert (place / "record.json").is_dir()
