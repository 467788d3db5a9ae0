"""``python -m bench.report``: what it builds, prints, refuses, and leaves alone."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas
import pytest
from factories import noise_floor, record
from rich.console import Console

from bench import report, store
from bench.records import Record, to_json
from bench.reporting import specs, tables
from bench.reporting.rows import origin

ROOT = Path(__file__).parents[1]
TABLES = [name for name in specs.tables() if name not in ("glue", "fine_tuning", "speech")]
"""Those that these records, which are of no encoder and of no language model, have rows for."""


def stored(root: Path, made: Sequence[Record] = (record(), noise_floor())) -> Path:
    for one in made:
        folder = root / one.host / one.id
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(to_json(one), encoding="utf-8")
    return root


def run(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> tuple[int, str, str]:
    """Run the command on ``folder/results`` and ``folder/paper``."""
    places = f"store.root={folder / 'results'}", f"paper.root={folder / 'paper'}"
    status = report.main([*places, *words])
    out, err = capsys.readouterr()
    return status, out, err


def contents(paper: Path) -> dict[str, bytes]:
    return {
        path.relative_to(paper).as_posix(): path.read_bytes()
        for path in sorted(paper.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a whole report on a few records, and what the command printed."""
    folder = tmp_path_factory.mktemp("report")
    made = [record(), noise_floor(), record(host="other", grades=("B",))]
    root = stored(folder / "results", made)
    (root / "broken").mkdir()
    (root / "broken" / "record.json").write_text("{")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        places = f"store.root={root}", f"paper.root={folder / 'paper'}"
        assert report.main([*places, "--pdf"]) == 0
    return folder, said.getvalue()


# What is built


def test_locale_time_zone_and_hash_seed_change_no_byte_of_the_whole_paper(
    built: tuple[Path, str],
) -> None:
    folder, _ = built
    first = contents(folder / "paper")
    changed = {"LC_ALL": "de_DE.UTF-8", "TZ": "Pacific/Chatham", "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-m", "bench.report", "--pdf", "store.root=results", "paper.root=again"],
        cwd=folder,
        env={**os.environ, **changed, "COLUMNS": "60", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    second = contents(folder / "again")
    assert second.keys() == first.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert {"tables/energy.xlsx", "numbers.tex", "method.tex", "report.pdf"} <= first.keys()
    assert any(name.startswith("figures/") for name in first)


def test_the_command_prints_every_pair_and_says_where_the_files_lie(
    built: tuple[Path, str],
) -> None:
    folder, out = built
    assert "resnet50_cifar10 on made-up-host" in out
    assert "seed 0" in out
    names = "{accuracy,energy,training,conditions,drift,pairs}.{md,csv,tex,json,xlsx}"
    assert str(folder / "paper" / "tables" / names) in out
    assert str(folder / "paper" / "numbers.tex") in out
    for name in TABLES:
        for end in ("md", "csv", "tex", "json", "xlsx"):
            assert (folder / "paper" / "tables" / f"{name}.{end}").is_file()


def test_what_could_not_be_built_is_said_with_the_reason(built: tuple[Path, str]) -> None:
    _, out = built
    assert "Left out: figure loss: " in out
    assert ".." not in out


def test_every_file_of_a_report_names_the_same_records(built: tuple[Path, str]) -> None:
    folder, _ = built
    line = origin(report.read(folder / "results").pairs)
    plain = (".md", ".csv", ".tex", ".json")
    read = {n: c for n, c in contents(folder / "paper").items() if n.endswith(plain)}
    assert len(read) > 4 * len(TABLES)
    for name, content in read.items():
        assert line in content.decode()[:200], name


def test_many_pairs_are_printed_pooled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "MOST_SHOWN", 2)
    stored(tmp_path / "results", [record(seed=seed) for seed in range(3)])
    Console(width=120).print(report.overview(report.read(tmp_path / "results")))
    out = capsys.readouterr().out
    assert "pairs 3, 24 blocks" in out
    assert "seed 0" not in out


def test_what_is_only_in_a_csv_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MOST_ROWS", 1)
    stored(tmp_path / "results")
    _, out, _ = run(capsys, tmp_path, "table=energy")
    said = "Left out: energy has more than 1 rows, which nobody reads: there is only energy.csv."
    assert said in out
    assert [path.name for path in (tmp_path / "paper" / "tables").iterdir()] == ["energy.csv"]


def test_one_table_is_built_and_printed_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(tmp_path / "results")
    status, out, _ = run(capsys, tmp_path, "table=training")
    assert status == 0
    assert "break-even" in out
    names = {f"tables/training.{end}" for end in ("md", "csv", "tex", "json", "xlsx")}
    assert contents(tmp_path / "paper").keys() == names


def test_a_table_of_one_s_own_is_built_from_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(tmp_path / "results")
    path = tmp_path / "mine.yaml"
    path.write_text(
        "{caption: Mine, of: techniques, by: [workload, host, protocol, runtime, technique, label],"
        " sections: [workload, host, protocol, runtime], columns: [technique, {column: seconds,"
        " heading: time}]}"
    )
    status, out, _ = run(capsys, tmp_path, f"table={path}")
    assert status == 0
    assert "time" in out
    frame = pandas.read_csv(tmp_path / "paper" / "tables" / "mine.csv", skiprows=1)
    assert frame["wall_ratio"].tolist() == pytest.approx([1.002, 0.575])


def test_the_quiet_command_writes_and_prints_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(tmp_path / "results")
    assert run(capsys, tmp_path, "-q", "table=pairs") == (0, "", "")
    assert (tmp_path / "paper" / "tables" / "pairs.md").is_file()


# What is refused


@pytest.mark.parametrize("words", [(), ("table=energy",)])
def test_without_records_the_command_fails_names_the_way_out_and_keeps_old_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    old = tmp_path / "paper" / "tables" / "energy.md"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    (tmp_path / "results" / "x").mkdir(parents=True)
    (tmp_path / "results" / "x" / "record.json").write_text("{")
    status, out, err = run(capsys, tmp_path, *words)
    assert (status, out) == (1, "")
    assert f"No record in store.root={tmp_path / 'results'}" in err
    assert f"python -m bench store.root={tmp_path / 'results'}" in err
    assert "Set aside: x/record.json (not JSON" in err
    assert old.read_text() == "old"


def test_rehearsals_alone_are_nothing_to_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = record(rehearsal=True)
    stored(tmp_path / "results", [made])
    status, _, err = run(capsys, tmp_path)
    assert status == 1
    assert f"Rehearsals never enter a table: {made.id} on made-up-host" in err
    assert not (tmp_path / "paper").exists()


def test_records_that_cannot_stand_together_are_refused_on_one_line_and_old_files_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(tmp_path / "results")
    run(capsys, tmp_path, "-q", "table=energy")
    before = contents(tmp_path / "paper")
    newer = record(label="newer", measuring_version=2)
    stored(tmp_path / "results", [newer])
    status, out, err = run(capsys, tmp_path, "table=energy")
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert f"{newer.id} on made-up-host by version 2" in err
    assert contents(tmp_path / "paper") == before


def test_a_paper_that_cannot_be_written_is_refused_with_its_knob(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(tmp_path / "results")
    (tmp_path / "paper").write_text("")
    status, _, err = run(capsys, tmp_path)
    assert status == 1
    assert "paper.root is" in err


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("store.rot=x", "'store.rot=x' is not known here; nearest: store.root=DIR\n"),
        ("paper_root=x", "'paper_root=x' is not known here; nearest: paper.root=DIR\n"),
        ("tabel=energy", "'tabel=energy' is not known here; nearest: table=NAME\n"),
        ("--quite", "'--quite' is not known here; nearest: --quiet\n"),
        ("--pdff", "'--pdff' is not known here; nearest: --pdf\n"),
        ("store.root=", "'store.root=' names no folder: write store.root=DIR\n"),
        ("table=", "'table=' names no table: write table=NAME\n"),
    ],
)
def test_a_misspelt_word_is_refused_with_the_nearest(
    capsys: pytest.CaptureFixture[str], word: str, told: str
) -> None:
    assert report.main([word]) == 2
    assert capsys.readouterr().err.startswith(told)


def test_a_table_that_is_not_there_is_refused_with_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(tmp_path / "results")
    status, _, err = run(capsys, tmp_path, "table=enrgy")
    assert status == 1
    assert "table=enrgy: there is no such table; did you mean energy?" in err
    assert err.count("\n") == 1


def test_one_table_is_no_report_to_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, tmp_path, "table=energy", "--pdf")
    assert status == 2
    assert "--pdf sets the whole report: leave table= away" in err


def test_help_names_every_word_and_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["--help"]) == 0
    out = capsys.readouterr().out
    words = ("store.root=DIR", "paper.root=DIR", "table=NAME", "--pdf", "-q", "--help")
    assert all(word in out for word in (*words, *specs.tables()))


# What a run prints at its end


def test_a_run_ends_with_the_pairs_of_its_workloads_and_the_tables_of_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import bench.__main__ as command

    made = [record(), noise_floor(), record(workload="another")]
    root = stored(tmp_path / "results", made)
    place = root / made[0].host / made[0].id
    command._print_table([(place, tmp_path / "paper")])
    out = capsys.readouterr().out
    assert "resnet50_cifar10 on made-up-host" in out
    assert "faster, non-inferior;" in out
    assert "another on" not in out
    assert f"Records: {root}\n" in out
    assert f"Tables:  {tmp_path / 'paper' / 'tables'}/{{accuracy,energy," in out
    assert not (tmp_path / "paper" / "figures").exists()
    pairs = pandas.read_csv(tmp_path / "paper" / "tables" / "pairs.csv", skiprows=1)
    assert set(pairs["workload"]) == {"resnet50_cifar10", "another"}


def test_a_run_that_cannot_be_tabled_with_older_records_says_so_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import bench.__main__ as command

    made = [record(), record(label="newer", measuring_version=2)]
    root = stored(tmp_path / "results", made)
    command._print_table([(root / made[1].host / made[1].id, tmp_path / "paper")])
    out, err = capsys.readouterr()
    assert "newer" in out  # the run's own pairs are shown
    assert err.startswith("joulebench: ")
    assert err.count("\n") == 1
    assert "by version 2" in err


def test_a_rehearsal_writes_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import bench.__main__ as command

    made = record(rehearsal=True)
    root = stored(tmp_path / "results", [made])
    command._print_table([(root / made.host / made.id, tmp_path / "paper")])
    assert "Rehearsals never enter a table; left out: 1" in capsys.readouterr().out
    assert not (tmp_path / "paper").exists()


def test_tables_pull_in_no_library_for_training_or_drawing() -> None:
    code = (
        "import sys, bench.report, bench.reporting.tables; "
        "print(sorted({'torch', 'hydra', 'omegaconf', 'matplotlib', 'seaborn', 'typst'} "
        "& set(sys.modules)), 'pandas' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[] True"


def test_a_record_that_the_store_wrote_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = dataclasses.replace(record(), workload="stored_by_the_store")
    store.write(tmp_path / "results" / made.host / made.id, made, {})
    status, out, _ = run(capsys, tmp_path, "table=pairs")
    assert status == 0
    assert "stored_by_the_store on made-up-host" in out
