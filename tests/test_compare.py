"""What has changed between two measurements is told with its interval, and nothing else is."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from factories import comparison, noise_floor, record
from rich.console import Console
from scipy import stats

from bench.compare import Compared, CompareError, compare, opened
from bench.compare.__main__ import REGRESSED, main
from bench.compare.shown import show
from bench.records import Record, to_json

HALF = stats.t.ppf(0.975, 14) * math.sqrt(2 * 0.0125**2 / 8)
"""Half-width of the log quotient of two made-up sessions: eight blocks each, spread 0.0125."""


def put(root: Path, *records: Record) -> Path:
    for one in records:
        place = root / one.host / one.id
        place.mkdir(parents=True, exist_ok=True)
        (place / "record.json").write_text(to_json(one))
    return root


def folder_of(root: Path, one: Record) -> str:
    return str(root / one.host / one.id)


def found(tmp_path: Path, before: list[Record], after: list[Record]) -> Compared:
    sides = put(tmp_path / "a", *before), put(tmp_path / "b", *after)
    return compare(*(opened(str(side)) for side in sides))


def printed(tmp_path: Path, before: list[Record], after: list[Record], width: int = 100) -> str:
    sides = put(tmp_path / "a", *before), put(tmp_path / "b", *after)
    out = io.StringIO()
    a, b = (opened(str(side)) for side in sides)
    show(a, b, compare(a, b), Console(width=width, file=out))
    return out.getvalue()


def with_session(one: Record, **changes: Any) -> Record:
    return dataclasses.replace(one, session=dataclasses.replace(one.session, **changes))


# Ratios


def test_one_seed_is_divided_with_the_errors_of_both_sessions(tmp_path: Path) -> None:
    found_ = found(tmp_path, [record(ratio=0.5, grades=("B",))], [record(ratio=0.6, grades=("B",))])
    (row,) = found_.rows
    change = row.changes["energy_b"]
    assert (change.before.ratio, change.after.ratio) == pytest.approx((0.5, 0.6))
    assert change.quotient is not None
    assert change.quotient.ratio == pytest.approx(1.2)
    assert change.quotient.low == pytest.approx(1.2 * math.exp(-HALF))
    assert change.quotient.high == pytest.approx(1.2 * math.exp(HALF))
    assert change.per_item == pytest.approx({"baseline": 1.0, "variant": 1.2})
    assert (change.shows, row.regressed, row.judged) == ("more", True, True)
    assert set(row.changes) == {"energy_b", "wall", "cpu"}
    assert row.changes["wall"].quotient.ratio == pytest.approx(0.604 / 0.504)


@pytest.mark.parametrize(
    ("after", "shows"),
    [
        (0.5 * math.exp(0.9 * HALF), "undecided"),
        (0.5 * math.exp(1.1 * HALF), "more"),
        (0.4, "less"),
    ],
)
def test_a_change_within_its_interval_is_undecided(
    tmp_path: Path, after: float, shows: str
) -> None:
    (row,) = found(tmp_path, [record(ratio=0.5)], [record(ratio=after)]).rows
    assert row.changes["energy_c"].shows == shows


def test_three_seeds_are_judged_by_how_they_scatter(tmp_path: Path) -> None:
    before, after = (0.50, 0.51, 0.52), (0.55, 0.60, 0.53)
    (row,) = found(
        tmp_path,
        [record(seed=s, ratio=r) for s, r in enumerate(before)],
        [record(seed=s, ratio=r) for s, r in enumerate(after)],
    ).rows
    interval = stats.ttest_rel(
        [math.log(r) for r in after], [math.log(r) for r in before]
    ).confidence_interval(0.95)
    quotient = row.changes["energy_c"].quotient
    assert quotient is not None
    assert (math.log(quotient.low), math.log(quotient.high)) == pytest.approx(interval)
    assert row.seeds == (0, 1, 2)


def test_two_sessions_of_a_seed_count_as_one_seed(tmp_path: Path) -> None:
    again = dataclasses.replace(record(ratio=0.8), id="another", session_number=1)
    (row,) = found(tmp_path, [record(ratio=0.5)], [record(ratio=0.45), again]).rows
    quotient = row.changes["energy_c"].quotient
    assert quotient is not None
    assert quotient.ratio == pytest.approx(math.sqrt(0.45 * 0.8) / 0.5)
    assert quotient.units == 1


def test_joules_lead_where_both_have_them_and_seconds_where_not(tmp_path: Path) -> None:
    slower = {"comparisons": (comparison("energy_j", 0.5, "B"), comparison("wall_s", 0.9))}
    before = record(ratio=0.5, grades=("B",))
    (row,) = found(tmp_path, [before], [record(ratio=0.5, grades=("B",), **slower)]).rows
    assert row.changes["wall"].shows == "more"
    assert not row.regressed
    only_seconds = record(ratio=0.5, grades=("C",), **{"comparisons": slower["comparisons"][1:]})
    only_seconds = dataclasses.replace(only_seconds, comparison=only_seconds.comparisons[0])
    (row,) = found(tmp_path / "no joules", [before], [only_seconds]).rows
    assert set(row.changes) == {"wall"}
    assert row.regressed


def test_figures_of_two_versions_of_the_measuring_code_are_shown_and_not_divided(
    tmp_path: Path,
) -> None:
    before, after = record(ratio=0.5), record(ratio=0.6, measuring_version=2)
    (row,) = found(tmp_path, [before], [after]).rows
    change = row.changes["energy_c"]
    assert (change.before.ratio, change.after.ratio) == pytest.approx((0.5, 0.6))
    assert (change.quotient, change.per_item) == (None, None)
    assert change.reason == "versions 1 and 2 of the measuring code are not divided"
    assert (row.regressed, row.judged) == (False, False)
    said = "joules (C), seconds, CPU-seconds not divided: versions 1 and 2 of the measuring code"
    assert said in printed(tmp_path / "again", [before], [after], width=200)


def test_joules_of_other_components_are_not_divided(tmp_path: Path) -> None:
    gpu = dataclasses.replace(comparison("energy_j", 0.6, "B"), scope="gpu")
    after = record(grades=("B",), comparison=gpu, comparisons=(gpu, comparison("wall_s", 0.6)))
    (row,) = found(tmp_path, [record(grades=("B",))], [after]).rows
    assert row.changes["energy_b"].quotient is None
    said = "other components are added up: cpu+dram in A and gpu in B"
    assert row.changes["energy_b"].reason == said
    assert row.changes["wall"].quotient is not None


def test_joules_of_another_meter_are_not_divided(tmp_path: Path) -> None:
    polled = dataclasses.replace(comparison("energy_j", 0.6, "B"), source="polled")
    seconds = comparison("wall_s", 0.6)
    after = record(grades=("B",), comparison=polled, comparisons=(polled, seconds))
    (row,) = found(tmp_path, [record(grades=("B",))], [after]).rows
    assert row.changes["energy_b"].quotient is None
    said = "joules come from another meter: counters in A and polled in B"
    assert row.changes["energy_b"].reason == said
    assert row.changes["wall"].quotient is not None


def test_an_invalid_session_is_left_out_and_named(tmp_path: Path) -> None:
    bad = with_session(record(seed=1, ratio=0.1), valid=False, reason="idle drifted")
    (row,) = found(
        tmp_path,
        [record(seed=s, ratio=0.5) for s in (0, 1)],
        [record(seed=0, ratio=0.4), bad],
    ).rows
    quotient = row.changes["energy_c"].quotient
    assert quotient is not None
    assert (quotient.ratio, quotient.units) == (pytest.approx(0.8), 1)
    assert row.notes == ("1 of 2 sessions in B are invalid, left out: idle drifted",)


def test_what_was_only_rehearsed_or_simulated_is_no_finding(tmp_path: Path) -> None:
    (row,) = found(tmp_path, [record(rehearsal=True)], [record(grades=("S",))]).rows
    assert row.notes == ("rehearsal in A: no finding", "synthetic in B: no finding")


# Quality, sizes, verdicts, settings


def test_the_metrics_difference_is_compared_with_both_intervals(tmp_path: Path) -> None:
    before, after = record(accuracy=(0.93, 0.92)), record(accuracy=(0.93, 0.95))
    quality = found(tmp_path, [before], [after]).rows[0].quality
    assert (quality.before, quality.after) == pytest.approx((-0.01, 0.02))
    assert quality.change is not None
    assert quality.change.difference == pytest.approx(0.03)
    assert quality.change.low == pytest.approx(0.03 - math.sqrt(2) * 0.004)
    assert quality.change.high == pytest.approx(0.03 + math.sqrt(2) * 0.004)
    assert not quality.same_models


def test_the_same_models_leave_no_chance_in_the_metric(tmp_path: Path) -> None:
    quality = found(tmp_path, [record(ratio=0.5)], [record(ratio=0.6)]).rows[0].quality
    assert quality.same_models
    assert quality.change is not None
    assert (quality.change.low, quality.change.difference, quality.change.high) == (0, 0, 0)


def test_metrics_on_other_examples_are_not_compared(tmp_path: Path) -> None:
    other = record(data={"fingerprint": "made-up", "test": 5_000})
    quality = found(tmp_path, [record()], [other]).rows[0].quality
    assert (quality.change, quality.reason) == (None, "the test examples are others")


def test_sizes_and_verdicts_are_listed_only_where_they_differ(tmp_path: Path) -> None:
    before = record(ratio=0.5, grades=("B",), bytes_=0.5)
    after = record(ratio=1.2, grades=("B",), bytes_=0.25)
    (row,) = found(tmp_path, [before], [after]).rows
    assert row.sizes["variant_bytes"] == (47_000_000, 23_500_000)
    assert "variant_macs" not in row.sizes
    assert "baseline_bytes" not in row.sizes
    assert row.verdicts["verdict_energy"] == (("saves",), ("costs",))
    assert row.verdicts["verdict_time"] == (("faster",), ("slower",))
    assert "quality_verdict" not in row.verdicts


def test_settings_that_differ_are_named_once_with_their_rows(tmp_path: Path) -> None:
    def made(label: str, torch: str, window_s: float) -> Record:
        cpu = {"model": "made up", "frequency_mhz": 1000.0 * window_s}
        return record(
            label=label,
            environment={"libraries": {"torch": torch, "numpy": "2"}, "cpu": cpu},
            protocol={"name": "paper", "window_s": window_s},
        )

    compared = found(
        tmp_path,
        [made("one", "2.1", 10.0), made("two", "2.1", 10.0)],
        [made("one", "2.2", 20.0), made("two", "2.2", 10.0)],
    )
    said = {d.setting: (d.before, d.after, d.rows) for d in compared.differences}
    assert said == {
        "environment.libraries.torch": (("2.1",), ("2.2",), 2),
        "protocol.window_s": (("10.0",), ("20.0",), 1),
    }


def test_a_setting_that_only_one_side_has_is_a_difference(tmp_path: Path) -> None:
    compared = found(tmp_path, [record(environment={})], [record(environment={"gpus": [{"n": 1}]})])
    (difference,) = [d for d in compared.differences if d.setting == "environment.gpus[0].n"]
    assert (difference.before, difference.after) == ((), ("1",))
    text = printed(tmp_path / "p", [record(environment={})], [record(environment={"x": 1})])
    assert "environment.x: absent → 1" in text


# Matching


def test_what_only_one_side_has_is_listed_seed_by_seed(tmp_path: Path) -> None:
    compared = found(
        tmp_path,
        [record(seed=0), record(seed=1), record(label="old")],
        [record(seed=1, ratio=0.6), record(seed=2)],
    )
    (row,) = compared.rows
    assert row.seeds == (1,)
    only = [
        [(k["label"], k["seed"]) for k in side]
        for side in (compared.only_before, compared.only_after)
    ]
    assert only == [[("old", 0), ("prune", 0)], [("prune", 2)]]


def test_seeds_that_are_invalid_on_one_side_do_not_count_as_seeds(tmp_path: Path) -> None:
    before = [record(seed=seed) for seed in range(3)]
    after = [record(seed=seed, ratio=0.6, created="2026-01-02T00:00:00+00:00") for seed in range(3)]
    for seed in (1, 2):
        session = dataclasses.replace(after[seed].session, valid=False, reason="drift")
        after[seed] = dataclasses.replace(after[seed], session=session)
    text = " ".join(printed(tmp_path, before, after).split())
    assert "Three seeds tell" in text
    assert "prune: seconds of 1 of 3 seeds, which have it on both sides" in text


def test_the_noise_floor_comes_first(tmp_path: Path) -> None:
    both = [record("bf16"), noise_floor(), record("zoom")]
    again = [dataclasses.replace(one, created="2026-01-02T00:00:00+00:00") for one in both]
    techniques = [row.key["technique"] for row in found(tmp_path, both, again).rows]
    assert techniques == ["none", "bf16", "zoom"]


def test_two_records_are_compared_whatever_they_are_of(tmp_path: Path) -> None:
    before, after = record(seed=0, host="one"), record("bf16", seed=3, host="two", ratio=0.9)
    sides = put(tmp_path / "a", before), put(tmp_path / "b", after)
    a, b = opened(folder_of(sides[0], before)), opened(folder_of(sides[1], after) + "/record.json")
    (row,) = compare(a, b).rows
    assert row.key["technique"] == "prune → bf16"
    assert row.key["workload"] == "resnet50_cifar10"
    quotient = row.changes["energy_c"].quotient
    assert quotient is not None
    assert quotient.ratio == pytest.approx(0.9 / 0.571)
    settings = {d.setting for d in compare(a, b).differences}
    assert settings == {"host", "label", "seed", "technique"}


def test_one_host_each_may_be_two_hosts(tmp_path: Path) -> None:
    compared = found(tmp_path, [record(host="one")], [record(host="two")])
    assert len(compared.rows) == 1
    assert compared.rows[0].key["host"] == "one → two"
    assert compared.notes == ("Measured on two hosts, one and two: a change may be the host's.",)


def test_several_hosts_match_by_name(tmp_path: Path) -> None:
    compared = found(
        tmp_path, [record(host="one"), record(host="two")], [record(host="two", ratio=0.6)]
    )
    assert [row.key["host"] for row in compared.rows] == ["two"]
    assert [key["host"] for key in compared.only_before] == ["one"]


def test_nothing_in_common_is_an_error_that_says_what_differs(tmp_path: Path) -> None:
    with pytest.raises(CompareError) as caught:
        found(tmp_path, [record()], [record(workload="bert_sst2")])
    assert "no pair in common" in str(caught.value)
    assert f"workload: resnet50_cifar10 in {tmp_path / 'a'}, bert_sst2 in" in str(caught.value)
    assert "host" not in str(caught.value)


# Commits


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a commit without records and two with; its working tree holds others."""
    top = tmp_path / "repository"
    (top / "below").mkdir(parents=True)
    monkeypatch.chdir(top / "below")
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "nobody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "nobody@example.org")

    def git(*words: str) -> None:
        subprocess.run(["git", "-C", top, *words], check=True, capture_output=True)

    git("init", "-b", "main")
    git("commit", "--allow-empty", "-m", "nothing")
    for ratio in (0.5, 0.6):
        put(top / "results", record(ratio=ratio))
        put(top / "elsewhere" / "kept", record(ratio=ratio + 0.1))
        (top / "results" / "made-up-host" / "windows.parquet").write_text("not needed")
        git("add", ".")
        git("commit", "-m", f"ratio {ratio}")
    put(top / "results", record(ratio=0.9))
    return top


def ratios(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[float, float]:
    assert main([*words, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    change = row["changes"]["energy_c"]
    return change["before"]["ratio"], change["after"]["ratio"]


def test_two_commits_are_compared_by_the_records_they_hold(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = subprocess.check_output(["git", "status", "--porcelain"], cwd=repository)
    assert ratios(["HEAD~1", "main"], capsys) == pytest.approx((0.5, 0.6))
    assert ratios(["main", "../results"], capsys) == pytest.approx((0.6, 0.9))
    assert ratios(["main~1:elsewhere/kept", "main:elsewhere"], capsys) == pytest.approx((0.6, 0.7))
    after = subprocess.check_output(["git", "status", "--porcelain"], cwd=repository)
    assert b"?? results/.pairs.parquet" in after
    assert after.replace(b"?? results/.pairs.parquet\n", b"") == before


def test_a_commit_without_records_is_an_error_that_says_so(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["HEAD~2", "HEAD"]) == 1
    said = capsys.readouterr().err
    assert "HEAD~2 (commit " in said
    assert "holds no record below results/" in said
    assert "git add results" in said
    assert main(["HEAD:nowhere", "HEAD"]) == 1
    assert "holds no record below nowhere/" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["no-such-thing", "--upload-pack", ":results", "HEAD^{tree}"])
def test_what_is_neither_path_nor_commit_is_an_error_that_names_it(
    repository: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    assert main(["HEAD", "--", word] if word[0] == "-" else ["HEAD", word]) == 1
    said = capsys.readouterr().err
    assert f"{word} is neither a path nor a commit" in said
    assert "give the folder of one pair" in said


def test_outside_a_repository_only_paths_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert main(["HEAD", "HEAD~1"]) == 1
    said = capsys.readouterr().err
    assert "HEAD is no path, and no commit either" in said
    assert "from inside the repository" in said
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["HEAD", "HEAD~1"]) == 1
    assert "git is not installed" in capsys.readouterr().err


# The command


def test_the_same_measured_twice_ends_with_0_and_says_undecided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = {"created": "2026-01-02T00:00:00+00:00"}
    a = str(put(tmp_path / "a", record(), noise_floor()))
    b = str(put(tmp_path / "b", record(**again), noise_floor(**again)))
    assert main([a, b, "--fail-on-regression"]) == 0
    table, _ = capsys.readouterr().out.split("How to read this")
    assert table.count("undecided") == 6  # three measures of two rows
    assert "needs" not in table
    assert "What else differs" not in table


def test_the_same_records_tell_of_no_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = record()
    a, b = (put(tmp_path / name, one, noise_floor()) for name in ("a", "b"))
    each = [
        (str(a), str(b), "2 pairs"),
        (str(a), str(a), "2 pairs"),
        (folder_of(a, one), folder_of(b, one), "1 pair"),
    ]
    for before, after, count in each:
        assert main([before, after, "--fail-on-regression"]) == 0
        out = capsys.readouterr().out
        assert f"The same records on both sides: {count}" in out
        assert "B against A" not in out


def test_where_a_seed_was_measured_again_only_the_new_is_held_against_the_old(
    tmp_path: Path,
) -> None:
    """As two commits do of results that grow."""
    old = [record(seed=seed, ratio=0.5) for seed in (0, 1)]
    new = dataclasses.replace(record(seed=1, ratio=0.6), id="resnet50_cifar10/prune/1-another")
    compared = found(tmp_path, old, [*old, new])
    (row,) = compared.rows
    quotient = row.changes["energy_c"].quotient
    assert quotient is not None
    assert quotient.ratio == pytest.approx(0.6 / 0.5)
    assert row.seeds == (1,)
    assert [key["seed"] for key in compared.unchanged] == [0]


def test_a_figure_that_was_edited_is_a_change(tmp_path: Path) -> None:
    one = record(ratio=0.5)
    edited = dataclasses.replace(one, quality=dataclasses.replace(one.quality, variant=0.99))
    compared = found(tmp_path, [one], [edited])
    assert (len(compared.rows), compared.unchanged) == (1, ())


@pytest.mark.parametrize(("ratio", "status"), [(0.4, 0), (0.5, 0), (0.6, REGRESSED)])
def test_a_regression_ends_with_3_if_that_is_asked_for(
    tmp_path: Path, ratio: float, status: int
) -> None:
    sides = [str(put(tmp_path / n, record(ratio=r))) for n, r in (("a", 0.5), ("b", ratio))]
    assert main([*sides, "--fail-on-regression"]) == status
    assert main(sides) == 0


def test_what_cannot_be_judged_does_not_pass_for_sound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = str(put(tmp_path / "a", record(), record("bf16")))
    b = str(put(tmp_path / "b", record(measuring_version=2), record("bf16", ratio=0.5)))
    assert main([a, b, "--fail-on-regression"]) == 0
    assert "1 of 2 rows cannot be judged" in capsys.readouterr().err
    put(tmp_path / "b", record("bf16", measuring_version=2))
    assert main([a, b, "--fail-on-regression"]) == 1
    assert main([a, b]) == 0


@pytest.mark.parametrize("words", [[], ["a"], ["a", "b", "c"], ["a", "b", "--nonsense"]])
def test_a_wrong_command_line_ends_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2


def test_what_holds_no_record_is_an_error_that_names_what_was_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = put(tmp_path / "good", record())
    bad = tmp_path / "bad"
    (bad / "x").mkdir(parents=True)
    (bad / "x" / "record.json").write_text("{")
    assert main([str(good), str(bad)]) == 1
    assert "set aside: x/record.json (not JSON" in capsys.readouterr().err
    assert main([str(good), str(bad / "x")]) == 1
    assert "record.json is no record: not JSON" in capsys.readouterr().err
    (tmp_path / "note.txt").write_text("")
    assert main([str(good), str(tmp_path / "note.txt")]) == 1
    assert "is a file but no record.json" in capsys.readouterr().err


def test_what_was_set_aside_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "b" / "x").mkdir(parents=True)
    (tmp_path / "b" / "x" / "record.json").write_text("{")
    text = printed(tmp_path, [record()], [record()])
    assert "WARNING: set aside in B" in text
    assert "x/record.json: not JSON" in text


def test_the_json_holds_everything_and_the_same_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = str(put(tmp_path / "a", record(ratio=0.5), record("old")))
    b = str(put(tmp_path / "b", record(ratio=0.6)))
    main([a, b, "--json"])
    first = capsys.readouterr().out
    main([a, b, "--json"])
    assert capsys.readouterr().out == first
    document = json.loads(first)
    assert next(iter(document)) == "generated"
    assert document["a"] == {"name": a, "what": "folder", "records": 2, "set_aside": []}
    assert document["rows"][0]["regressed"] is True
    assert document["rows"][0]["changes"]["wall"]["shows"] == "more"
    assert document["only_before"][0]["technique"] == "old"


def test_a_table_fits_eighty_columns(tmp_path: Path) -> None:
    text = printed(tmp_path, [record(ratio=0.5)], [record("prune", ratio=0.6, bytes_=0.1)], 80)
    table = text[: text.index("How to read this")].splitlines()
    assert max(len(line.rstrip()) for line in table[3:]) <= 80
    assert re.search(r"joules \(C\) +0\.500 → 0\.600 +1\.200 \[1\.184, 1\.216\] +needs more", text)
