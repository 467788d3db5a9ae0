"""Folders that somebody has prepared: shown as text or named as broken, and nothing leaves them."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from factories import record
from viewing import seen, tell, under_way

from bench import collection, live, store
from bench.dashboard.data import blocks, happened, models, overview, runs, sheets
from bench.dashboard.data.folder import BrokenError, Folder, number, parsed, words
from bench.dashboard.data.sheets import Column, Sheet
from bench.dashboard.language import languages
from bench.dashboard.pages.frame import Place
from bench.dashboard.take import Shelf
from bench.records import Record, to_json

pytestmark = pytest.mark.usefixtures("own_lock")
SCRIPT = "<script>alert(1)</script>"
GIGABYTE = 10**9


def put(root: Path, made: Record) -> Path:
    place = root / made.host / made.id
    place.mkdir(parents=True)
    (place / store.RECORD).write_text(to_json(made), encoding="utf-8")
    return place


def sparse(path: Path) -> Path:
    """Write a gigabyte that takes no room on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(GIGABYTE)
    return path


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Make sure that no more than 50 MB were asked for at once."""
    tracemalloc.start()
    yield
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 50_000_000


@pytest.mark.usefixtures("little_memory")
def test_documents_of_a_gigabyte_are_named_and_never_read(tmp_path: Path) -> None:
    sparse(tmp_path / "h" / "w" / "t" / "0-a" / store.RECORD)
    sparse(tmp_path / "h" / "w" / "t" / "0-b" / store.FAILURE)
    sparse(tmp_path / ".live" / "h" / "0-c.json")
    sparse(tmp_path / ".live" / "h" / live.EVENTS)
    good = put(tmp_path, record())
    sparse(good / "windows.parquet")
    sparse(good / "training.parquet")
    watcher = seen(tmp_path)
    (aside,) = watcher.latest.set_aside
    assert aside.reason == "1,000,000,000 bytes: no record is so large"
    (failure,) = watcher.latest.failures
    assert "1,000,000,000 bytes" in failure.error
    assert not watcher.latest.running
    found = runs.opened(watcher.folder, watcher.latest, good.relative_to(tmp_path).as_posix())
    assert "1,000,000,000 bytes" in runs.session(watcher.folder, found).problem
    assert "1,000,000,000 bytes" in runs.training(watcher.folder, found).problem


def test_a_report_does_not_read_them_either(tmp_path: Path) -> None:
    sparse(tmp_path / "h" / "w" / "t" / "0-a" / store.RECORD)
    (aside,) = collection.read(tmp_path).set_aside
    assert "no record is so large" in aside.reason


@pytest.mark.parametrize(
    "relative",
    ["../secret", "/etc/passwd", "a/../../secret", "link", "folder/secret", "ring", "x\0y", "."],
)
def test_no_path_leads_out_of_the_folder(tmp_path: Path, relative: str) -> None:
    (tmp_path / "secret").write_text("precious")
    root = tmp_path / "results"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    (root / "ring").symlink_to("ring")
    with pytest.raises(BrokenError):
        Folder.of(root).text(relative)


def test_a_record_behind_a_link_out_of_the_folder_is_named_and_not_shown(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", record())
    inside = tmp_path / "results" / "h" / "w" / "t" / "0-a"
    inside.mkdir(parents=True)
    (inside / store.RECORD).symlink_to(outside / store.RECORD)
    watcher = seen(tmp_path / "results")
    assert watcher.latest.pairs.empty
    (aside,) = watcher.latest.set_aside
    assert "leads out of the folder" in aside.reason


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / ".live" / "h").mkdir(parents=True)
    os.mkfifo(tmp_path / ".live" / "h" / "0-a.json")
    os.mkfifo(tmp_path / ".live" / "h" / live.EVENTS)
    place = put(tmp_path, record())
    os.mkfifo(place / "windows.parquet")
    watcher = seen(tmp_path)
    found = runs.opened(watcher.folder, watcher.latest, place.relative_to(tmp_path).as_posix())
    assert "not a file" in runs.session(watcher.folder, found).problem


def test_script_in_every_name_is_text_like_any_other(tmp_path: Path) -> None:
    put(tmp_path, record(label=SCRIPT))
    tell(tmp_path, label=SCRIPT, note=SCRIPT, workload=SCRIPT)
    watcher = seen(tmp_path)
    assert watcher.latest.pairs["label"].iloc[0] == SCRIPT
    assert watcher.latest.running[0].note == SCRIPT
    rows = overview.events(watcher.latest).rows
    assert any(row["text"] == SCRIPT for row in rows)


def test_what_no_terminal_and_no_page_should_see_is_taken_out() -> None:
    assert words("a\x1b[31mb\u202ec\nd") == "a [31mb c d"
    assert words("x" * 500) == "x" * 200 + "..."
    assert [words(value) for value in (None, 3, ["x"], {"x": 1})] == [""] * 4


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), True, "1", None, [], 10**400, -float("inf")]
)
def test_what_is_no_finite_number_is_missing(value: object) -> None:
    assert number(value) is None


def test_nan_everywhere_is_missing_everywhere(tmp_path: Path) -> None:
    text = '{"a": NaN, "b": Infinity, "c": -Infinity, "d": 1e999, "e": 1.5}'
    assert parsed(text, "x") == {"a": None, "b": None, "c": None, "d": None, "e": 1.5}
    tell(tmp_path)
    file = next((tmp_path / ".live").glob("*/*.json"))
    file.write_text(file.read_text().replace('"done": 1', '"done": NaN'))
    assert not seen(tmp_path).latest.running


def test_windows_of_words_and_nan_are_named_as_broken(tmp_path: Path) -> None:
    place = put(tmp_path, record(grades=("B",)))
    columns = {"block": [0] * 4, "position": range(4), "arm": ["baseline", "variant"] * 2}
    columns |= {"order": ["ABBA"] * 4, "items": [10] * 4, "kept": [True] * 4}
    columns |= {"wall_s": [1.0] * 4, "cpu_s": [1.0] * 4}
    joules = {f"counters/{part}_j": [float("nan")] * 4 for part in ("cpu", "dram")}
    watcher = seen(tmp_path)
    folder = place.relative_to(tmp_path).as_posix()
    for found, said in (
        (joules, ""),
        ({name: ["many"] * 4 for name in joules}, "words for figures"),
        ({}, "lacks counters/cpu_j"),
    ):
        pd.DataFrame(columns | found).to_parquet(place / "windows.parquet")
        pair = runs.opened(watcher.folder, watcher.latest, folder)
        session = runs.session(watcher.folder, pair)
        assert said in session.problem
        assert not session.ratios


def test_a_table_whose_figures_unpack_to_too_much_is_not_unpacked(tmp_path: Path) -> None:
    """Twenty million equal figures take some kilobytes in a file."""
    frame = pd.DataFrame({"x": [0] * 20_000_000})
    frame.to_parquet(tmp_path / "bomb.parquet")
    assert (tmp_path / "bomb.parquet").stat().st_size < 1_000_000
    with pytest.raises(BrokenError, match="20,000,000 values unpacked"):
        Folder.of(tmp_path).table("bomb.parquet")


@pytest.mark.usefixtures("little_memory")
def test_a_word_that_stands_in_every_row_is_in_the_memory_once(tmp_path: Path) -> None:
    """Two gigabytes of words, from a file of some kilobytes whose own sizes are honest."""
    words_ = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), ["x" * 100_000])
    lists = pa.array([[0] * 100] * 20_000)
    table = pa.table({"arm": words_, "step": range(20_000), "nested": lists})
    pq.write_table(table, tmp_path / "bomb.parquet", store_schema=False)
    frame_ = Folder.of(tmp_path).table("bomb.parquet")
    assert set(frame_.columns) == {"arm", "step"}  # the nested one is nothing of ours
    assert pa.total_allocated_bytes() < 50_000_000
    assert len(frame_["arm"].iloc[-1]) == 100_000


def test_names_that_no_page_could_hold_are_escaped(tmp_path: Path) -> None:
    """Folders need not be UTF-8, and JSON may hold half a sign; a page of them would not open."""
    folder = tmp_path / os.fsdecode(b"h\xff") / "w" / "t" / "0-a"
    folder.mkdir(parents=True)
    (folder / store.FAILURE).write_text('{"error": "x", "traceback": "\\ud800"}')
    events = tmp_path / ".live" / "h" / live.EVENTS
    events.parent.mkdir(parents=True)
    told = {"at_s": 1.0, "kind": "saved", "folder": "a/\ud800/c/d", "log": "\ud800", "id": "\ud800"}
    events.write_text(json.dumps(told) + "\n")
    tell(tmp_path, note="\ud800", log="\ud800")
    watcher = seen(tmp_path)
    shelf = Shelf(watcher)
    page = Place(shelf, languages()["en"], {}, "")
    places = [event.folder for event in watcher.latest.events]
    assert sorted(places) == ["a/\\ud800/c/d", "h\\udcff/w/t/0-a"]
    assert [page.link("run", pair=each) for each in places]
    for name in ("events", "kitchen"):
        assert shelf.table(name, "csv", {})
        assert shelf.table(name, "xlsx", {})
        json.dumps(shelf.sheet(name, {}).rows, ensure_ascii=False).encode()
    for one in watcher.latest.failures:
        runs.traceback_of(watcher.folder, one).encode()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"{", b"\xff" * 100, b"[" * 100_000])
def test_files_that_are_something_else_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    folder = Folder.of(tmp_path)
    with pytest.raises(BrokenError, match="no table"):
        folder.table("file")
    with pytest.raises(BrokenError, match="JSON"):
        folder.document("file")


def test_points_of_any_shape_are_passed_over(tmp_path: Path) -> None:
    lines = [
        {"loss": "low", "step": 1, "wall_s": 1},
        {"loss": 1.0, "step": "x", "wall_s": 1},
        {"loss": 1.0, "step": 1, "wall_s": 1, "readings": {"x": 1}},
        {"windows": "none"},
        {"windows": [1, None, {"arm": 3}]},
        {"windows": [{"arm": "variant", "items": 0, "figure": 1e308}], "block": "x"},
    ]
    tell(tmp_path, points=lines)
    watcher = seen(tmp_path)
    assert len(watcher.latest.running) == 1
    (stage,) = under_way(watcher).stages
    assert stage.lines["loss"] == [(1, 1.0)]
    session = blocks.under_way(watcher.folder, watcher.latest.running[0].points)
    assert not session.ratios
    assert all(window.per_item is None for window in session.windows)


def test_a_failure_that_does_not_say_its_kind_is_said_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "h" / "w" / "t" / "0-a" / store.FAILURE
    file.parent.mkdir(parents=True)
    file.write_text("[]")
    watcher = seen(tmp_path)
    (row,) = overview.events(watcher.latest).rows
    assert row["text"] == watcher.latest.failures[0].error
    assert "JSON, but no object" in str(row["text"])


def test_failures_of_any_shape_are_failures(tmp_path: Path) -> None:
    for number_, content in enumerate(('{"error": 3, "when": "tomorrow"}', "[]", "\0")):
        file = tmp_path / "h" / "w" / "t" / f"{number_}-a" / store.FAILURE
        file.parent.mkdir(parents=True)
        file.write_text(content)
    failures = seen(tmp_path).latest.failures
    assert len(failures) == 3
    assert all(isinstance(one, happened.Failure) and one.error for one in failures)


@pytest.mark.parametrize("name", ["../../../etc", "ab", "AB" * 8, "..", "ab" * 8])
def test_no_file_is_handed_over_under_another_name_than_a_models(tmp_path: Path, name: str) -> None:
    (tmp_path / ".artefacts").mkdir()
    (tmp_path / ".artefacts" / ("ab" * 8)).symlink_to(tmp_path.parent)
    with pytest.raises(BrokenError):
        models.weights(Folder.of(tmp_path), name)


def test_weights_that_are_a_link_out_are_not_handed_over(tmp_path: Path) -> None:
    folder = tmp_path / "results" / ".artefacts" / ("ab" * 8)
    folder.mkdir(parents=True)
    (tmp_path / "secret").write_text("precious")
    (folder / models.WEIGHTS).symlink_to(tmp_path / "secret")
    with pytest.raises(BrokenError, match="leads out"):
        models.weights(Folder.of(tmp_path / "results"), "ab" * 8)


def test_a_name_that_begins_a_formula_is_none_in_a_spreadsheet() -> None:
    columns = (Column("name", "technique", words=True), Column("x", "x"))
    evil = Sheet(
        "evil", columns, [{"name": "=HYPERLINK(1)", "x": -1.5}, {"name": "@SUM", "x": None}]
    )
    lines = sheets.csv_bytes(evil).decode().splitlines()
    assert lines[2:] == ["'=HYPERLINK(1),-1.5", "'@SUM,NA"]


def test_only_known_tables_and_kinds_are_handed_over(tmp_path: Path) -> None:
    shelf = Shelf(seen(tmp_path))
    for name, kind in (("../pairs", "csv"), ("pairs", "exe"), ("__class__", "csv")):
        with pytest.raises(BrokenError):
            shelf.table(name, kind, {})
    for name in ("0/x.csv", "-1/x", "x", ""):
        with pytest.raises(BrokenError, match="none of the folders"):
            shelf.data_file(name)


def test_a_state_of_deep_brackets_stops_nothing(tmp_path: Path) -> None:
    file = tmp_path / ".live" / "h" / "0-a.json"
    file.parent.mkdir(parents=True)
    file.write_text("[" * 50_000)
    tell(tmp_path)
    watcher = seen(tmp_path)
    assert len(watcher.latest.running) == 1
    assert json.dumps(overview.events(watcher.latest).rows) == "[]"
