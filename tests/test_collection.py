"""Many records are one table; what is none is named, and a cache changes nothing but the time."""

from __future__ import annotations

import ast
import dataclasses
import json
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from factories import record

from bench import collection, flat, store
from bench.collection import cache, parsing, shares, sources
from bench.records import Record, to_json
from bench.store import StoreError

BENCH = Path(collection.__file__).parents[1]
GOOD = to_json(record())


def changed(*path: str, value: object) -> str:
    """Return the text of a record with one value set."""
    document = json.loads(GOOD)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(document)


BROKEN: dict[str, tuple[str | bytes, str]] = {
    "truncated": (GOOD[:500], "not JSON"),
    "empty": ("", "not JSON"),
    "foreign": ('{"name": "somebody else\'s"}', "schema is None"),
    "future": (changed("schema", value=2), "schema is 2, this version of joulebench reads 1"),
    "nan": (changed("comparison", "ratio", value=float("nan")), "ratio should be a finite number"),
    "nan-in-config": (changed("config", "x", value=[float("nan")]), "record.config.x[0] should be"),
    "infinite": (GOOD.replace('"ratio": 0.5', '"ratio": 1e999', 1)[:-1], "finite number, is inf"),
    "not-utf-8": (GOOD.encode("utf-16"), "codec can't decode"),
    "too-deep": ("[" * 100_000, "recursion"),
    "too-great": (changed("baseline", "macs", value=2**70), "baseline_macs does not fit a table"),
    "half-a-character": (changed("label", value="\ud800"), "label does not fit a table"),
    "unknown-field": (changed("\ud800", value=1), "does not know: \\ud800"),
    "config-of-another-shape": (
        changed("config", "workload", value="digits"),
        "one of its free parts is of another shape",
    ),
}


def put(root: Path, folder: str, text: str | bytes, age_s: float = 100.0) -> Path:
    """Write a document that is as old as asked for."""
    path = root / folder / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    then_ns = path.stat().st_mtime_ns - round(age_s * 1e9)
    for part in (path, path.parent):
        os.utime(part, ns=(then_ns, then_ns))
    return path


def many(root: Path) -> list[Record]:
    made = [record(seed=seed, host=host) for seed in (1, 0) for host in ("two", "one")]
    for one in made:
        put(root, f"{one.host}/{one.id}", to_json(one))
    return made


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the folders whose record was read."""
    folders: list[str] = []
    read = store.read

    def noted(path: Path) -> Record:
        folders.append(path.parent.name)
        return read(path)

    monkeypatch.setattr(store, "read", noted)
    return folders


def aside(found: collection.Collection) -> dict[str, str]:
    return {path.as_posix(): reason for path, reason in found.set_aside}


def test_a_pair_is_a_row_of_the_flat_columns_by_id_and_host(tmp_path: Path) -> None:
    made = sorted(many(tmp_path), key=lambda one: (one.id, one.host))
    pairs = collection.read(tmp_path).pairs
    rows = [flat.row(one, f"{one.host}/{one.id}") for one in made]
    expected = pa.Table.from_pylist(rows, flat.SCHEMA).to_pandas()
    json_columns = {name: "str" for name in flat.SCHEMA.names if name.endswith("_json")}
    pandas.testing.assert_frame_equal(pairs.astype(json_columns), expected)


def test_json_is_categorical_with_its_categories_in_order_and_none_that_is_not_there(
    tmp_path: Path,
) -> None:
    for seed, name in enumerate(("smoke", "paper", "quick", "quick")):
        put(tmp_path, str(seed), to_json(record(seed=seed, protocol={"name": name})))
    assert len(collection.read(tmp_path).pairs) == 4
    (tmp_path / "0" / "record.json").unlink()
    categories = collection.read(tmp_path).pairs["protocol_json"].cat.categories
    assert list(categories) == ['{"name": "paper"}', '{"name": "quick"}']


def test_the_good_are_read_and_the_rest_is_named_without_renaming(tmp_path: Path) -> None:
    made = many(tmp_path)
    for kind, (text, _) in BROKEN.items():
        put(tmp_path, f"one/{kind}", text)
    (tmp_path / "one" / "folder" / "record.json").mkdir(parents=True)
    os.mkfifo(tmp_path / "two" / "record.json")
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "record.json").symlink_to("nowhere")
    put(tmp_path, ".artefacts/desk", "not to be read")
    put(tmp_path, "one/.0-abc.writing-1", to_json(record(seed=9)))

    for found in (collection.read(tmp_path), collection.read(tmp_path)):
        assert sorted(found.pairs["id"]) == sorted(one.id for one in made)
        said = aside(found)
        assert said.pop("one/folder/record.json") == "not a file"
        assert said.pop("two/record.json") == "not a file"
        assert said.pop("gone/record.json") == "No such file or directory"
        assert set(said) == {f"one/{kind}/record.json" for kind in BROKEN}
        for kind, (_, reason) in BROKEN.items():
            assert reason in said[f"one/{kind}/record.json"]
            assert "\n" not in said[f"one/{kind}/record.json"]
        assert [path for path, _ in found.set_aside] == sorted(path for path, _ in found.set_aside)
        assert all((tmp_path / path).is_file() for path in said)


def test_what_may_not_be_read_is_named_and_stops_nothing(as_nobody: Path) -> None:
    put(as_nobody, "open", GOOD)
    put(as_nobody, "closed", GOOD).chmod(0)
    put(as_nobody, "shut/below", GOOD)
    (as_nobody / "shut").chmod(0)
    found = collection.read(as_nobody)
    (as_nobody / "shut").chmod(stat.S_IRWXU)
    assert list(found.pairs["folder"]) == ["open"]
    assert aside(found) == {"closed/record.json": "Permission denied", "shut": "Permission denied"}


@pytest.mark.parametrize("copy", ["desk-copy/digits", "desk/digits/copy", "z"])
def test_a_copied_record_is_counted_once_and_named(tmp_path: Path, copy: str) -> None:
    put(tmp_path, "desk/digits", GOOD)
    put(tmp_path, copy, GOOD)
    for found in (collection.read(tmp_path), collection.read(tmp_path)):
        assert list(found.pairs["folder"]) == ["desk/digits"]
        assert aside(found) == {
            f"{copy}/record.json": "same id and host as desk/digits/record.json"
        }


def test_the_same_pair_on_two_hosts_is_two_pairs(tmp_path: Path) -> None:
    one = record()
    put(tmp_path, "a", to_json(one))
    put(tmp_path, "b", to_json(dataclasses.replace(one, host="another")))
    assert list(collection.read(tmp_path).pairs["host"]) == ["another", "made-up-host"]


def test_a_store_that_is_not_there_or_empty_holds_nothing_and_gets_no_file(tmp_path: Path) -> None:
    for root in (tmp_path / "nowhere", tmp_path):
        found = collection.read(root)
        assert (len(found.pairs), found.set_aside) == (0, ())
        assert list(found.pairs.columns) == flat.SCHEMA.names
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(StoreError, match="which is a file"):
        collection.read(tmp_path / "results")


def test_a_record_in_the_root_itself_and_one_below_another_are_found(tmp_path: Path) -> None:
    put(tmp_path, "", to_json(record(seed=0)))
    put(tmp_path, "a", to_json(record(seed=1)))
    collection.read(tmp_path)
    put(tmp_path, "a/b", to_json(record(seed=2)))
    assert sorted(collection.read(tmp_path).pairs["folder"]) == ["", "a", "a/b"]
    assert sorted(collection.read(tmp_path).pairs["folder"]) == ["", "a", "a/b"]


def test_a_folder_whose_name_is_not_utf_8_is_named(tmp_path: Path) -> None:
    put(tmp_path, "grün", GOOD)
    put(tmp_path, os.fsdecode(b"gr\xfcn"), to_json(record(seed=1)))
    for found in (collection.read(tmp_path), collection.read(tmp_path)):
        assert list(found.pairs["folder"]) == ["grün"]
        assert aside(found) == {"gr\\udcfcn": "its name is not UTF-8"}


def test_in_the_folder_of_a_pair_no_other_is_looked_for(tmp_path: Path) -> None:
    (one, *_) = many(tmp_path)
    place = f"{one.host}/{one.id}"
    put(tmp_path, f"{place}/old", to_json(record(seed=7)))
    for found in (collection.read(tmp_path), collection.read(tmp_path)):
        assert len(found.pairs) == 4
        assert found.set_aside == ()
    (tmp_path / place / "record.json").unlink()
    assert f"{place}/old" in set(collection.read(tmp_path).pairs["folder"])


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "a", GOOD)
    (tmp_path / "a" / "loop").symlink_to("..")
    assert list(collection.read(tmp_path).pairs["folder"]) == ["a"]


def test_only_what_is_new_or_has_changed_is_opened_again(tmp_path: Path, opened: list[str]) -> None:
    for seed in range(4):
        put(tmp_path, f"pair-{seed}", to_json(record(seed=seed)))
    first = collection.read(tmp_path)
    assert sorted(opened) == ["pair-0", "pair-1", "pair-2", "pair-3"]
    opened.clear()
    pandas.testing.assert_frame_equal(collection.read(tmp_path).pairs, first.pairs)
    assert opened == []

    (tmp_path / "pair-0" / "record.json").unlink()
    put(tmp_path, "pair-1", to_json(record(seed=1, label="of another length")), age_s=90.0)
    put(tmp_path, "pair-4", to_json(record(seed=4)))
    after = collection.read(tmp_path).pairs.set_index("folder")["label"].to_dict()
    assert sorted(opened) == ["pair-1", "pair-4"]
    assert after == {"pair-1": "of another length"} | {f"pair-{n}": "prune" for n in (2, 3, 4)}
    opened.clear()
    assert len(collection.read(tmp_path).pairs) == 4
    assert opened == []
    collection.read(tmp_path, refresh=True)
    assert len(opened) == 4


def test_a_record_rewritten_within_a_tick_of_the_clock_is_read_again(tmp_path: Path) -> None:
    path = put(tmp_path, "pair", GOOD, age_s=0.0)
    before = path.stat()
    assert collection.read(tmp_path).pairs["wall_ratio"].item() == 0.575
    path.write_text(GOOD.replace("0.575", "0.825"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert collection.read(tmp_path).pairs["wall_ratio"].item() == 0.825


def test_a_folder_that_has_not_changed_is_not_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(tmp_path)
    found = collection.read(tmp_path)
    scandir, folders = os.scandir, []

    def noted(path: str) -> Any:
        folders.append(Path(path).relative_to(tmp_path).as_posix())
        return scandir(path)

    monkeypatch.setattr(sources.os, "scandir", noted)
    pandas.testing.assert_frame_equal(collection.read(tmp_path).pairs, found.pairs)
    parts = ("", "/resnet50_cifar10", "/resnet50_cifar10/prune")
    assert sorted(folders) == [".", *(f"{host}{part}" for host in ("one", "two") for part in parts)]


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for place in range(100, 2000, 50):
        content[place] ^= 0xFF
    path.write_bytes(content)


def remade(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    return lambda path: pq.write_table(change(pq.read_table(path)), path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "no Parquet": lambda path: path.write_text("something else"),
    "bits flipped": flipped,
    "of another program": lambda path: pq.write_table(pa.table({"x": [1]}), path),
    "without its tag": remade(lambda table: table.replace_schema_metadata(None)),
    "a column less": remade(lambda table: table.drop_columns(["wall_ratio"])),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_cache_that_is_damaged_is_made_anew(
    tmp_path: Path, damage: str, opened: list[str]
) -> None:
    many(tmp_path)
    first = collection.read(tmp_path)
    DAMAGE[damage](tmp_path / cache.NAME)
    opened.clear()
    pandas.testing.assert_frame_equal(collection.read(tmp_path).pairs, first.pairs)
    assert len(opened) == 4
    opened.clear()
    pandas.testing.assert_frame_equal(collection.read(tmp_path).pairs, first.pairs)
    assert opened == []


def test_a_cache_of_another_version_is_made_anew(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    many(tmp_path)
    collection.read(tmp_path)
    opened.clear()
    monkeypatch.setattr(cache, "_version", lambda: b"1-another")
    assert len(collection.read(tmp_path).pairs) == len(opened) == 4


def test_the_version_of_the_cache_is_of_everything_that_shapes_a_row() -> None:
    waiting, seen = ["collection/parsing.py"], set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for node in ast.walk(ast.parse((BENCH / name).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bench"):
                paths = [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
                files = {
                    f"{p.removeprefix('bench').strip('.').replace('.', '/')}.py" for p in paths
                }
                waiting += [f for f in files - seen if (BENCH / f).is_file()]
    assert "codec.py" in seen  # imports were followed
    assert set(cache.SHAPES_ROWS) == seen - {"collection/sources.py"}


def test_a_folder_that_may_not_be_written_to_is_read_without_a_cache(as_nobody: Path) -> None:
    results = as_nobody / "results"
    put(results, "pair", GOOD)
    results.chmod(stat.S_IRUSR | stat.S_IXUSR)
    for found in (collection.read(results), collection.read(results)):
        assert list(found.pairs["folder"]) == ["pair"]
        assert found.set_aside == ()
    assert [path.name for path in results.iterdir()] == ["pair"]
    results.chmod(stat.S_IRWXU)


def test_a_folder_in_the_place_of_the_cache_is_no_cache(tmp_path: Path) -> None:
    many(tmp_path)
    (tmp_path / cache.NAME).mkdir()
    assert len(collection.read(tmp_path).pairs) == len(collection.read(tmp_path).pairs) == 4
    assert [path.name for path in tmp_path.glob(".*")] == [cache.NAME]


def test_what_a_killed_writer_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    many(tmp_path)
    old, young = (tmp_path / f"{cache.NAME}.writing-{number}" for number in (1, 2))
    for path in (old, young):
        path.write_text("half")
    os.utime(old, (0, 0))
    collection.read(tmp_path)
    assert (old.exists(), young.exists()) == (False, True)


@pytest.fixture
def in_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> collection.Collection:
    """Return what one process finds, before several are to read the same."""
    many(tmp_path)
    for kind, (text, _) in BROKEN.items():
        put(tmp_path, f"one/{kind}", text)
    found = collection.read(tmp_path, refresh=True)
    monkeypatch.setattr(shares, "WORTH_A_PROCESS", 4)
    monkeypatch.setattr(shares, "_cpus", lambda: 3)
    return found


def test_several_processes_find_what_one_finds(
    tmp_path: Path, in_shares: collection.Collection, opened: list[str]
) -> None:
    found = collection.read(tmp_path, refresh=True)
    assert 0 < len(opened) < len(in_shares.pairs) + len(in_shares.set_aside)
    pandas.testing.assert_frame_equal(found.pairs, in_shares.pairs)
    assert found.set_aside == in_shares.set_aside


def test_what_another_process_fails_to_read_is_read_here(
    tmp_path: Path,
    in_shares: collection.Collection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(shares.sys, "executable", "/bin/false")
    with caplog.at_level(logging.WARNING):
        found = collection.read(tmp_path, refresh=True)
    assert "failed (exit status 1)" in caplog.text
    pandas.testing.assert_frame_equal(found.pairs, in_shares.pairs)
    assert found.set_aside == in_shares.set_aside


def test_rows_of_several_parts_are_one_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = many(tmp_path)
    monkeypatch.setattr(parsing, "_AT_ONCE", 3)
    assert sorted(collection.read(tmp_path).pairs["id"]) == sorted(one.id for one in made)
