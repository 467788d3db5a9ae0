"""Numbers in a text: named with letters only, rounded as in the tables, absent where unknown."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from campaigns import write_campaign, write_pair

from bench import collection
from bench.reporting import numbers, specs
from bench.reporting.pairs import TableError
from bench.reporting.rows import Row, origin, rows
from bench.reporting.sections import assemble
from bench.reporting.selection import Records

PRUNED = "jbResnetOneEightCifarOneZeroStructuredPruningZeroPointFive"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("numbers") / "results"
    write_campaign(root, {"structured_pruning": 0.57, "bf16": 0.8}, seeds=(0, 1))
    return root


@pytest.fixture(scope="module")
def pairs(results: Path) -> pd.DataFrame:
    return collection.read(results).pairs


def row(found: tuple[Row, ...], label: str) -> Row:
    return next(r for r in found if r.key["label"] == label)


def test_names_hold_letters_only_and_each_is_defined_once(pairs: pd.DataFrame) -> None:
    text = numbers.latex(rows(pairs), origin(pairs))
    names = re.findall(r"\\newcommand\{\\([^}]*)\}", text)
    assert len(names) > 200
    assert all(re.fullmatch(r"jb[A-Za-z]+", name) for name in names)
    assert len(set(names)) == len(names)


def test_digits_and_decimal_points_are_spelled() -> None:
    assert numbers.spelled("bf16", "structured_pruning 0.5") == (
        "BfOneSixStructuredPruningZeroPointFive"
    )
    assert numbers.spelled("prune+bf16/int8") == "PruneBfOneSixIntEight"


def test_the_first_line_names_the_command_and_the_records(pairs: pd.DataFrame) -> None:
    first = numbers.latex(rows(pairs), origin(pairs)).partition("\n")[0]
    assert first == f"% {origin(pairs)}"
    assert "python -m bench.report" in first
    assert "records: 6" in first


def test_figures_are_those_of_the_cells_of_the_tables(pairs: pd.DataFrame, results: Path) -> None:
    found = numbers.macros(rows(pairs))
    for name, column, macros in (
        ("energy", "energy_b", ("JoulesBRatio", "JoulesBLow", "JoulesBHigh")),
        ("energy", "wall", ("SecondsRatio", "SecondsLow", "SecondsHigh")),
        ("accuracy", "difference", ("QualityDifference", "QualityLow", "QualityHigh")),
        ("training", "break_even", ("BreakEven", "BreakEvenLow", "BreakEvenHigh")),
    ):
        (section,) = assemble(Records(pairs, (), results), specs.load(name)).sections
        names = [shown.name for shown in section.columns]
        place = next(i for i, n in enumerate(names) if n.replace("-", "_") == column)
        line = next(cells for cells in section.cells if cells[0].text == "structured_pruning 0.5")
        cell = line[place]
        value, low, high = (found[f"{PRUNED}{macro}"] for macro in macros)
        assert (cell.text, cell.below) == (value, f"[{low}, {high}]")


def test_a_saving_is_what_a_reader_gets_from_the_printed_ratio(pairs: pd.DataFrame) -> None:
    assert numbers.saving(0.5706) == "42.9"  # printed 0.571
    assert numbers.saving(1.25) == "\N{MINUS SIGN}25.0"
    assert numbers.saving(0.00123) == "99.88"  # printed 0.0012
    assert numbers.saving(12.34) == "\N{MINUS SIGN}1130.0"  # printed 12.3
    found = numbers.macros(rows(pairs))
    for ratio, saving in (("Ratio", "Saving"), ("High", "SavingLow"), ("Low", "SavingHigh")):
        printed = float(found[f"{PRUNED}JoulesB{ratio}"])
        assert float(found[f"{PRUNED}JoulesB{saving}"]) == pytest.approx(100 * (1 - printed))


def test_a_missing_figure_has_no_macro(pairs: pd.DataFrame) -> None:
    found = numbers.macros(rows(pairs))
    floor = "jbResnetOneEightCifarOneZeroNone"
    assert f"{floor}JoulesBRatio" in found
    assert f"{floor}BreakEven" not in found  # nothing was optimised
    assert f"{floor}JoulesBP" not in found  # it claims nothing
    assert not any("JoulesA" in name for name in found)  # no wall meter


def test_counts_are_those_of_the_records(pairs: pd.DataFrame) -> None:
    found = numbers.macros(rows(pairs))
    blocks = pairs["blocks"][pairs["technique"] == "structured_pruning"].sum()
    assert found[f"{PRUNED}Pairs"] == "2"
    assert found[f"{PRUNED}Blocks"] == str(blocks)
    assert found["jbStudyPairs"] == "6\N{NO-BREAK SPACE}pairs"
    assert found["jbStudyHosts"] == "1\N{NO-BREAK SPACE}host"
    assert found["jbStudyTechniqueNames"] == "bf16 and structured_pruning 0.5"


def test_a_short_name_is_there_only_while_it_can_mean_one_row(
    pairs: pd.DataFrame, tmp_path: Path
) -> None:
    full = f"{PRUNED}MadeUpHostPaperEagerJoulesBRatio"
    before = numbers.macros(rows(pairs))
    assert before[f"{PRUNED}JoulesBRatio"] == before[full]
    elsewhere = write_pair(tmp_path, host="other-host", ratio=0.7)
    both = pd.concat([pairs, collection.read(elsewhere).pairs], ignore_index=True)
    after = numbers.macros(rows(both))
    assert f"{PRUNED}JoulesBRatio" not in after
    assert after[full] == before[full]
    other = float(after[f"{PRUNED}OtherHostPaperEagerJoulesBRatio"])
    assert other == pytest.approx(0.7, abs=0.01)


def test_two_labels_that_spell_alike_are_an_error_that_names_both(tmp_path: Path) -> None:
    write_pair(tmp_path, technique="bf16")
    write_pair(tmp_path, technique="structured_pruning", label="bf-16")
    with pytest.raises(TableError, match=r"of bf-16 .* and of bf16 "):
        numbers.macros(rows(collection.read(tmp_path).pairs))


def test_protocols_of_one_name_are_told_apart_by_a_code(tmp_path: Path) -> None:
    write_pair(tmp_path)
    write_pair(tmp_path, protocol={"half_width": 0.05})
    found = numbers.macros(rows(collection.read(tmp_path).pairs))
    ratios = [name for name in found if name.endswith("JoulesBRatio")]
    assert len(ratios) == 2
    assert all(re.search(r"MadeUpHostPaperEager[A-P]{8}JoulesBRatio$", name) for name in ratios)


def test_signs_of_a_label_are_no_commands(tmp_path: Path) -> None:
    write_pair(tmp_path, label=r"50% \input{x} $a_b$ #1 ~^{}")
    found = rows(collection.read(tmp_path).pairs)
    text = numbers.latex(found, "origin")
    (line,) = (line for line in text.splitlines() if line.count("Label}") and "Host" not in line)
    assert line.endswith(
        r"{50\% \textbackslash{}input\{x\} \$a\_b\$ \#1 \textasciitilde{}\textasciicircum{}\{\}}"
    )


def test_the_order_of_the_records_does_not_matter(pairs: pd.DataFrame) -> None:
    shuffled = pairs.sample(frac=1, random_state=3).reset_index(drop=True)
    assert numbers.latex(rows(shuffled), origin(shuffled)) == numbers.latex(
        rows(pairs), origin(pairs)
    )


def test_without_rows_there_are_no_numbers(pairs: pd.DataFrame) -> None:
    assert numbers.macros(rows(pairs.head(0))) == {}
