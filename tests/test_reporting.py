"""Tables say what the records say: no more, nothing mixed, the same bytes for everybody."""

from __future__ import annotations

import dataclasses
import io
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest
from factories import comparison, noise_floor, record
from rich.console import Console

from bench import report, store
from bench.readings import Reading
from bench.records import BreakEven, Discard, Record, to_json
from bench.reporting import cells, tables
from bench.reporting.cells import DASH
from bench.reporting.claims import verdict_text
from bench.reporting.columns import Column, TableError, compared, comparison_cell
from bench.reporting.latex import escape
from bench.reporting.pairs import every_column, readable_columns
from bench.reporting.sections import assemble, rows
from bench.store import SetAside

ROOT = Path(__file__).parents[1]


def files(records: list[Record], out: Path, set_aside: tuple[SetAside, ...] = ()) -> dict[str, str]:
    written = tables.write(records, set_aside, out, report.COMMAND)
    return {path.suffix: path.read_text(encoding="utf-8") for path in written}


def printed(records: list[Record], width: int = 200, set_aside: tuple[SetAside, ...] = ()) -> str:
    out = io.StringIO()
    Console(width=width, file=out).print(tables.terminal(records, set_aside))
    return out.getvalue()


def flat(text: str) -> str:
    return " ".join(text.split())


def notes(*records: Record) -> list[tuple[str, bool]]:
    (section,) = assemble(records).sections
    return [(note.text, note.loud) for note in section.notes]


def columns_of(*records: Record) -> dict[str, list[cells.Cell]]:
    columns = readable_columns(records)
    return {
        column.name: list(shown)
        for column, shown in zip(columns, zip(*rows(records, columns), strict=True), strict=True)
    }


def with_reading(made: Record, arm: str, phase: str, reading: Reading) -> Record:
    """Replace the first reading of one phase."""
    side = getattr(made, arm)
    spent = dataclasses.replace(
        side.phases[phase], readings=(reading, *side.phases[phase].readings[1:])
    )
    return dataclasses.replace(
        made, **{arm: dataclasses.replace(side, phases={**side.phases, phase: spent})}
    )


# Grades


def test_joules_of_two_grades_never_share_a_column() -> None:
    records = [record(label=g, host=h, grades=(g, "C")) for g, h in (("A", "one"), ("B", "two"))]
    records.append(record(label="C", host="three", grades=("C",)))
    shown = columns_of(*records)
    grades = {name: {cell.grade for cell in cells} - {None} for name, cells in shown.items()}
    assert grades["energy_a"] == {"A"}
    assert grades["energy_b"] == {"B"}
    assert grades["energy_c"] == {"C"}
    assert grades["training_a_j"] == {"A"}
    assert grades["training_b_j"] == {"B"}
    assert max(map(len, grades.values())) == 1


def test_a_column_of_two_grades_is_refused_with_grades_sources_and_records() -> None:
    counted, modelled = record(grades=("B",)), record("distil", grades=("C",))
    energy = Column(
        "energy",
        "joules",
        "",
        lambda r: comparison_cell(next(c for c in r.comparisons if c.measure == "energy_j")),
    )
    with pytest.raises(TableError) as caught:
        rows([counted, modelled], [energy])
    message = str(caught.value)
    for named in ("column energy", "grade B from counters", "grade C from codecarbon"):
        assert named in message
    assert counted.id in message
    assert modelled.id in message
    assert len(rows([counted, counted], [energy])) == 2


@pytest.mark.parametrize("suffix", [".md", ".csv", ".tex"])
def test_rehearsals_and_synthetic_joules_never_enter_but_are_named(
    tmp_path: Path, suffix: str
) -> None:
    rehearsal = record("trial", ratio=0.123, rehearsal=True)
    synthetic = record("fake", grades=("S",), ratio=0.321)
    text = files([record(), rehearsal, synthetic], tmp_path)[suffix]
    assert "0.123" not in text
    assert "0.321" not in text
    assert "1 record, sha256" in text
    if suffix != ".csv":
        plain = text.replace("\\_", "_")
        assert f"left out: 1 ({rehearsal.id} on made-up-host)" in plain
        assert f"left out: 1 ({synthetic.id} on made-up-host)" in plain


def test_one_synthetic_reading_keeps_a_record_out_of_the_table() -> None:
    made = record(grades=("B",))
    fake = Reading("synthetic", "cpu:0", "synthetic.constant", "S", 1.0)
    assert len(assemble([made]).sections) == 1
    assert assemble([with_reading(made, "baseline", "train", fake)]).sections == ()


def test_one_synthetic_comparison_keeps_a_record_out_of_the_table() -> None:
    made = record()
    fake = comparison("energy_j", 0.5, "S")
    made = dataclasses.replace(made, comparisons=(*made.comparisons, fake))
    assert assemble([made]).sections == ()


# Missing figures


def test_a_missing_figure_is_a_dash_with_its_reason_below() -> None:
    made = record(grades=("B",), break_even=None, break_even_reason="a reading failed")
    made = dataclasses.replace(made, variant=dataclasses.replace(made.variant, phases={}))
    shown = columns_of(made)["optimisation_b_j"][0]
    assert (shown.text, shown.note) == (DASH, "nothing was optimised")
    text = printed([made])
    assert re.findall(rf"{DASH}([¹²³])", text) == ["¹", "²"]  # in the order in which they are read
    assert "¹ a reading failed" in text
    assert "² nothing was optimised" in text


def test_a_missing_figure_has_its_footnote_in_markdown_and_latex(tmp_path: Path) -> None:
    texts = files([noise_floor()], tmp_path)
    assert "—¹" in texts[".md"]
    assert "- ¹ nothing was optimised\n" in texts[".md"]
    assert r"---\textsuperscript{1}" in texts[".tex"]
    assert r"\textsuperscript{1}~nothing was optimised" in texts[".tex"]


def test_half_a_sum_of_joules_is_missing_and_not_half() -> None:
    made = record(grades=("B",))
    assert columns_of(made)["training_b_j"][0].text == "345 kJ"  # 4310 s of 80 W
    failed = Reading("counters", "cpu:0", "zeus.rapl", "B", None, "Permission denied")
    shown = columns_of(with_reading(made, "baseline", "train", failed))["training_b_j"][0]
    assert (shown.text, shown.note) == (DASH, "Permission denied")


def test_no_cell_of_any_column_is_blank_and_no_missing_figure_is_zero() -> None:
    bare = record(
        baseline=dataclasses.replace(record().baseline, macs=0, peak_memory_bytes=None, phases={}),
        break_even=None,
    )
    for made in (bare, noise_floor(), record(grades=("A", "B", "C"))):
        for column, cell in zip(every_column(), rows([made], every_column())[0], strict=True):
            assert cell.text not in ("", "0", "nan", "None") or column.name == "seed"
            missing = [f.name for f in column.figures if f.value(made) is None]
            assert not missing or cell.note, f"{column.name} lacks {missing} without a reason"


def test_csv_says_na_for_a_missing_figure_and_names_the_reason(tmp_path: Path) -> None:
    made = record(baseline=dataclasses.replace(record().baseline, macs=0))
    text = files([made], tmp_path)[".csv"]
    frame = pandas.read_csv(io.StringIO(text), skiprows=1, keep_default_na=False)
    row = frame.iloc[0]
    assert (row["macs_ratio"], row["energy_b_ratio"]) == ("NA", "NA")
    assert "macs: MACs not known" in row["missing"]
    assert "energy_b: no joules of grade B; counters: no /sys" in row["missing"]
    assert "" not in set(row)


def test_a_break_even_that_never_comes_says_never_with_the_reason() -> None:
    made = record(break_even=None, break_even_reason="never: a saving is not shown")
    shown = columns_of(made)["break-even"][0]
    assert (shown.text, shown.note) == ("never", "never: a saving is not shown")


def test_an_interval_that_is_open_above_ends_at_infinity(tmp_path: Path) -> None:
    made = record(break_even=BreakEven(171_000.0, 90_000.0, None, "wall_s"))
    shown = columns_of(made)["break-even"][0]
    assert (shown.text, shown.below) == ("171 k", "[90.0 k, ∞]")
    frame = pandas.read_csv(io.StringIO(files([made], tmp_path)[".csv"]), skiprows=1)
    assert frame["break_even_inferences_high"][0] == float("inf")


# Figures


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (cells.percent(0.93204), "93.20"),
        (cells.points(-0.0015), "\N{MINUS SIGN}0.15"),
        (cells.points(0.0015), "+0.15"),
        (cells.points(-0.00001), "0.00"),
        (cells.ratio(0.5714), "0.571"),
        (cells.ratio(1.0), "1.000"),
        (cells.ratio(12.345), "12.3"),
        (cells.ratio(0.01234), "0.012"),
        (cells.ratio(9.9996), "10.0"),
        (cells.amount(0), "0.00"),
        (cells.amount(812), "812"),
        (cells.amount(171_234), "171 k"),
        (cells.amount(999_700), "1.00 M"),
        (cells.amount(5.214e6, "J"), "5.21 MJ"),
        (cells.amount(-1500.0, "J"), "\N{MINUS SIGN}1.50 kJ"),
        (cells.seconds(4310.4), "4,310"),
        (cells.seconds(3.456), "3.46"),
        (cells.seconds(99.96), "100"),
        (cells.interval(-0.01, 0.005, cells.points), "[\N{MINUS SIGN}1.00, +0.50]"),
    ],
)
def test_figures_are_printed_with_sensible_digits(shown: str, text: str) -> None:
    assert shown == text


def test_percent_is_for_reading_and_csv_holds_fractions(tmp_path: Path) -> None:
    texts = files([record(accuracy=(0.932, 0.9291))], tmp_path)
    assert "93.20 → 92.91" in texts[".md"]
    frame = pandas.read_csv(io.StringIO(texts[".csv"]), skiprows=1)
    assert frame["baseline_quality_fraction"][0] == 0.932
    assert frame["variant_quality_fraction"][0] == 0.9291


def test_csv_holds_the_figures_of_the_record_unrounded(tmp_path: Path) -> None:
    made = record(grades=("B", "C"), ratio=0.5712345678901)
    row = pandas.read_csv(io.StringIO(files([made], tmp_path)[".csv"]), skiprows=1).iloc[0]
    counted = compared(made, "energy_j", "B")
    assert counted is not None
    assert row["energy_b_ratio"] == counted.ratio
    assert row["energy_b_ratio_high"] == counted.high
    assert row["energy_b_baseline_j_per_item"] == counted.baseline_per_item
    assert row["training_b_j"] == 4310.0 * 80.0
    assert row["optimisation_wall_s"] == 912.0 + 3.5
    assert row["macs_ratio"] == 0.5
    assert row["blocks"] == 8
    assert row["id"] == made.id


# Rows and sections


def test_the_noise_floor_comes_first_then_label_then_seed() -> None:
    made = [
        record(label="zip", seed=1),
        record(label="zip", seed=0),
        record(label="alpha", seed=5),
        noise_floor(),
    ]
    (section,) = assemble(made).sections
    assert [(r.label, r.seed) for r in section.records] == [
        ("none", 0),
        ("alpha", 5),
        ("zip", 0),
        ("zip", 1),
    ]


def test_records_stand_together_only_under_equal_conditions() -> None:
    made = record()
    others = [
        record(workload="a_first"),
        record(host="z-host"),
        record(protocol={"name": "smoke"}),
        record(runtime={"name": "compile"}),
    ]
    found = [
        (s.workload, s.host, s.protocol, s.runtime) for s in assemble([made, *others]).sections
    ]
    cifar = "resnet50_cifar10"
    assert sorted(found) == sorted(
        [
            ("a_first", "made-up-host", "paper", "eager"),
            (cifar, "made-up-host", "paper", "compile"),
            (cifar, "made-up-host", "paper", "eager"),
            (cifar, "made-up-host", "smoke", "eager"),
            (cifar, "z-host", "paper", "eager"),
        ]
    )
    assert found[0][0] == "a_first"


def test_two_protocols_of_one_name_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    made = record(), record(protocol={"name": "paper", "window_s": 5.0, "blocks": 8})
    found = {section.protocol for section in assemble(made).sections}
    assert found == {"paper (window_s 10.0)", "paper (window_s 5.0)"}
    frame = pandas.read_csv(io.StringIO(files(list(made), tmp_path)[".csv"]), skiprows=1)
    assert frame["protocol_json"].nunique() == 2


# Words and notes


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (record(grades=("B",)), "saves energy, non-inferior"),
        (
            record(),
            "faster, non-inferior; no joule claim: no counter of grade A or B could be read",
        ),
        (
            record(ratio=1.3, accuracy=(0.93, 0.90)),
            "slower, inferior; no joule claim: no counter of grade A or B could be read",
        ),
        (
            record(grades=("B",), accuracy=(0.932, 0.924)),
            "saves energy, quality inconclusive; no headline: accuracy inconclusive",
        ),
        (noise_floor(), "A/A: contains 1"),
        (record("none", ratio=1.1), "A/A: does not contain 1"),
    ],
)
def test_the_verdict_claims_what_the_record_allows(made: Record, text: str) -> None:
    assert verdict_text(made) == text


def test_a_headline_without_a_counter_is_not_printed() -> None:
    made = record()
    made = dataclasses.replace(made, verdict=dataclasses.replace(made.verdict, headline=True))
    assert "saves energy" not in verdict_text(made)
    assert "no joule claim" in verdict_text(made)


def test_a_variant_that_does_not_exploit_its_sparsity_is_marked() -> None:
    made = record()
    made = dataclasses.replace(made, proof=dataclasses.replace(made.proof, exploited=False))
    assert "not exploited" in printed([made])


@pytest.mark.parametrize("technique", ["prune", "none"])
def test_an_invalid_session_is_named_and_its_verdict_withheld(technique: str) -> None:
    made = record(technique, label="zip", seed=3)
    broken = dataclasses.replace(made.session, valid=False, reason="idle drifted by +8.0%")
    made = dataclasses.replace(made, session=broken)
    assert verdict_text(made) == "invalid session: idle drifted by +8.0%"
    assert ("Session of zip, seed 3, is invalid: idle drifted by +8.0%.", True) in notes(made)


def test_a_host_without_counters_says_so_and_why_and_with_which_model() -> None:
    said = " ".join(text for text, _ in notes(record()))
    assert "No energy counter on this host: the finding is seconds and CPU-seconds" in said
    assert "counters: no /sys/class/powercap on this host" in said
    assert "modelled (C) come from codecarbon.cpu_load (floor = 0.1, tdp_w = 125)" in said


def test_why_a_meter_is_not_there_is_told_without_how_to_mend_it() -> None:
    made = record()
    reason = "meter.counters: nothing to read. Mend one of these:\n  cpu: modprobe it"
    session = dataclasses.replace(made.session, unavailable={"counters": reason})
    said = " ".join(text for text, _ in notes(dataclasses.replace(made, session=session)))
    assert "seconds and CPU-seconds (meter.counters: nothing to read)." in said


def test_a_host_with_counters_says_what_they_count_and_what_not() -> None:
    said = " ".join(text for text, _ in notes(record(grades=("B",))))
    assert "from hardware counters: zeus.rapl. Counted: cpu+dram. Not counted: gpu, main" in said
    assert "No energy counter" not in said


def test_seconds_are_the_finding_where_nothing_counts_joules_only() -> None:
    assert {"wall_s", "cpu_s", "training_s"} <= set(columns_of(record()))
    counted = columns_of(record(grades=("B",)))
    assert "energy_b" in counted
    assert "cpu_s" not in counted
    assert "training_s" not in counted


def test_the_noise_floor_is_given_when_it_contains_one() -> None:
    said = notes(noise_floor(), record())
    floor = [(text, loud) for text, loud in said if text.startswith("A/A")]
    assert floor == [
        (
            "A/A interval, seed 0: seconds 0.990 to 1.014, CPU-seconds 0.995 to 1.019; contains 1.",
            False,
        )
    ]


def test_a_noise_floor_that_excludes_one_is_a_loud_warning() -> None:
    said = notes(record("none", ratio=1.1), record())
    ((text, loud),) = [(text, loud) for text, loud in said if text.startswith("A/A")]
    assert loud
    assert "seconds 1.092 to 1.116" in text
    assert "does NOT contain 1" in text


@pytest.mark.parametrize("floor", ["absent", "invalid", "of another protocol"])
def test_a_table_without_a_noise_floor_is_a_loud_warning(floor: str) -> None:
    records = [record()]
    if floor == "invalid":
        made = noise_floor()
        session = dataclasses.replace(made.session, valid=False, reason="steal")
        records.append(dataclasses.replace(made, session=session))
    elif floor == "of another protocol":
        records.append(noise_floor(protocol={"name": "smoke"}))
    section = next(s for s in assemble(records).sections if s.protocol == "paper")
    loud = [note.text for note in section.notes if note.loud]
    assert any(text.startswith("No valid A/A pair") for text in loud)


def test_discarded_blocks_are_counted_by_condition() -> None:
    made = record()
    discards = (
        Discard(1, "steal", "3 %"),
        Discard(4, "steal", "2 %"),
        Discard(5, "foreign", "9 %"),
    )
    made = dataclasses.replace(made, session=dataclasses.replace(made.session, discards=discards))
    said = [text for text, _ in notes(made)]
    assert any("3 of 11 (foreign 1, steal 2)" in text for text in said)


def test_documents_that_were_set_aside_are_named_in_every_readable_format(tmp_path: Path) -> None:
    set_aside = (SetAside(Path("desk/x/record.json"), "not JSON: line 1"),)
    texts = files([record()], tmp_path, set_aside)
    said = "Set aside: desk/x/record.json (not JSON: line 1)."
    assert f"**Warning:** {said}" in texts[".md"]
    assert said in texts[".tex"]
    assert f"WARNING: {said}" in printed([record()], set_aside=set_aside)


# Formats


LABEL = r"50 % & $x_1$ #{b} ~^\cmd <a> | * → ≥"


def test_latex_takes_no_character_of_a_label_for_a_command() -> None:
    assert escape(LABEL) == (
        r"50 \% \& \$x\_1\$ \#\{b\} \textasciitilde{}\textasciicircum{}\textbackslash{}cmd "
        r"$<$a$>$ \textbar{} * $\to$ $\geq$"
    )
    assert escape("β") == "[U+03B2]"


def test_a_row_that_begins_with_a_bracket_is_no_argument_to_the_end_of_the_row_before(
    tmp_path: Path,
) -> None:
    lines = files([record(label="[a]"), record(label="*b")], tmp_path)[".tex"].splitlines()
    assert any(line.startswith("{}[a] ") for line in lines)
    assert any(line.startswith("{}*b ") for line in lines)


def test_latex_tables_have_booktabs_rules_equal_rows_and_labels_of_their_own(
    tmp_path: Path,
) -> None:
    made = [record(label=LABEL), noise_floor(), record(host="made_up_host")]
    text = files(made, tmp_path)[".tex"]
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 2
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(labels) == len(set(labels)) == 2
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 2 * 2 + 3 * 2  # two header lines a table, two lines a record
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {8}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_compiles_whatever_the_labels_hold(tmp_path: Path) -> None:
    files([record(label=f"[{LABEL}] é β"), noise_floor(), record(workload="w_1%")], tmp_path)
    (tmp_path / "main.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs,graphicx}"
        r"\begin{document}\input{pairs}\end{document}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=batchmode", "-halt-on-error", "main"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, (tmp_path / "main.log").read_text(errors="replace")[-2000:]


def test_markdown_takes_no_bar_of_a_label_for_a_column(tmp_path: Path) -> None:
    text = files([record(label="a|b"), noise_floor()], tmp_path)[".md"]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert r"a\|b" in text


@pytest.mark.parametrize("suffix", [".md", ".csv", ".tex"])
def test_the_first_line_names_command_records_and_digest(tmp_path: Path, suffix: str) -> None:
    first = files([record(), noise_floor()], tmp_path)[suffix].splitlines()[0]
    assert re.search(r"python -m bench\.report: 2 records, sha256 [0-9a-f]{64}", first)
    other = files([record(), noise_floor(seed=1)], tmp_path)[suffix].splitlines()[0]
    assert first != other


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("grades", [("C",), ("B", "C")])
def test_the_terminal_table_fits_its_console(width: int, grades: Any) -> None:
    made = [
        noise_floor(grades=grades),
        record(label="prune channels 50 %", grades=grades, accuracy=(0.932, 0.924)),
    ]
    text = printed(made, width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    lead = "seconds" if grades == ("C",) else "joules (B)"
    assert lead in text
    # No figure is cut or wrapped: every interval has both its brackets on its line.
    assert all(line.count("[") == line.count("]") for line in text.splitlines() if "0." in line)
    assert "…" not in text


def test_what_is_too_narrow_for_the_console_is_named() -> None:
    made = [noise_floor(), record()]
    assert "modelled J (C)" in printed(made, 120).split("Too narrow")[0]
    narrow = printed(made, 80)
    assert "modelled J (C)" in flat(narrow.split("Too narrow")[1])
    assert "see pairs.md and pairs.csv" in flat(narrow)


# Always the same bytes


def test_the_order_of_the_records_changes_no_byte(tmp_path: Path) -> None:
    made = [
        noise_floor(),
        *(record(seed=seed, label=label) for seed in range(3) for label in ("b", "a")),
        record(host="other", grades=("B", "C")),
        record("lora", rehearsal=True),
    ]
    aside = [SetAside(Path(name), "not JSON") for name in ("b", "a")]
    first = files(made, tmp_path / "one", tuple(aside))
    random.Random(0).shuffle(made)
    assert files(made, tmp_path / "two", tuple(aside[::-1])) == first


def test_locale_and_time_zone_change_no_byte_whoever_builds(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for made in (noise_floor(), record(), record(host="other", grades=("B",))):
        folder = results / made.host / made.id
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(to_json(made), encoding="utf-8")
    (results / "broken").mkdir()
    (results / "broken" / "record.json").write_text("{")
    built = report.build(results, tmp_path / "paper")
    assert [path.name for path in built.files] == ["pairs.md", "pairs.csv", "pairs.tex"]

    changed = {"LC_ALL": "C", "TZ": "Pacific/Chatham", "PYTHONHASHSEED": "7", "COLUMNS": "60"}
    for number, settings in enumerate((changed, {**changed, "LC_ALL": "de_DE.UTF-8", "TZ": "UTC"})):
        paper = tmp_path / f"paper{number}"
        done = subprocess.run(
            [sys.executable, "-m", "bench.report", "store.root=results", f"paper.root={paper}"],
            cwd=tmp_path,
            env={**os.environ, **settings, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        for path in built.files:
            assert (paper / "tables" / path.name).read_bytes() == path.read_bytes()


# The command


def test_the_report_pulls_in_neither_torch_nor_hydra() -> None:
    code = (
        "import sys, bench.report, pandas; print(sorted({'torch', 'hydra', 'omegaconf'} "
        "& set(sys.modules)), 'bench.reporting.tables' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[] True"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = report.main(words)
    out, err = capsys.readouterr()
    return status, out, err


def stored(root: Path) -> Path:
    made = record()
    store.write(root / made.host / made.id, made, {})
    return root


def test_the_command_prints_the_table_and_says_where_the_files_lie(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, paper = stored(tmp_path / "results"), tmp_path / "paper"
    status, out, err = run(capsys, f"store.root={root}", f"paper.root={paper}")
    assert (status, err) == (0, "")
    assert "resnet50_cifar10 on made-up-host" in out
    assert str(paper / "tables" / "pairs.tex") in out


def test_the_quiet_command_writes_and_prints_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, paper = stored(tmp_path / "results"), tmp_path / "paper"
    assert run(capsys, f"store.root={root}", f"paper.root={paper}", "-q") == (0, "", "")
    assert (paper / "tables" / "pairs.md").is_file()


def test_without_records_the_command_fails_names_the_way_out_and_keeps_old_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "paper" / "tables" / "pairs.md"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    (tmp_path / "results" / "x").mkdir(parents=True)
    (tmp_path / "results" / "x" / "record.json").write_text("{")
    status, out, err = run(
        capsys, f"store.root={tmp_path / 'results'}", f"paper.root={tmp_path / 'paper'}"
    )
    assert (status, out) == (1, "")
    assert f"No record in store.root={tmp_path / 'results'}" in err
    assert f"python -m bench store.root={tmp_path / 'results'}" in err
    assert "Set aside: x/record.json (not JSON" in err
    assert old.read_text() == "old"


def test_a_paper_that_cannot_be_written_is_refused_with_its_knob(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    root = stored(tmp_path / "results")
    status, _, err = run(capsys, f"store.root={root}", f"paper.root={tmp_path / 'file'}")
    assert status == 1
    assert "paper.root is" in err


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("store.rot=x", "store.root=DIR"),
        ("paper_root=x", "paper.root=DIR"),
        ("--quite", "--quiet"),
    ],
)
def test_a_misspelt_word_is_refused_with_the_nearest(
    capsys: pytest.CaptureFixture[str], word: str, nearest: str
) -> None:
    status, _, err = run(capsys, word)
    assert status == 2
    assert f"{word!r} is not known here; nearest: {nearest}\n" in err


def test_a_key_without_a_folder_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "store.root=")
    assert status == 2
    assert "write store.root=DIR" in err


def test_help_names_every_word(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--help")
    assert status == 0
    for word in ("store.root=DIR", "paper.root=DIR", "-q", "--help"):
        assert word in out


def test_measured_joules_of_two_meters_stand_side_by_side_with_their_distance() -> None:
    counters = comparison("energy_j", 0.8, "B")
    tracker = dataclasses.replace(
        counters, source="codecarbon", baseline_per_item=counters.baseline_per_item * 1.02
    )
    model = comparison("energy_j", 0.8, "C")
    measured = record(grades=("B",), comparisons=(counters, tracker, model))
    (told,) = [text for text, _ in notes(measured) if "side by side" in text]
    assert "counters (cpu+dram, B)" in told
    assert "(+2.0%)" in told
    assert "(cpu+dram, C)" not in told
    assert not [text for text, _ in notes(record(grades=("C",))) if "side by side" in text]
