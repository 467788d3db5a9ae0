"""Rows of a user's own files: the same from every format, split, cleaned, and named when broken."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny import DATA, configured

from bench.workloads import WorkloadError, files
from bench.workloads.causal_lm.rows import Source, prepare

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")

COLUMNS = ("instruction", "input", "output")
ROWS = [
    ('Say "a, b".\nThen stop.', "", "a, b"),
    ("Übersetze: naïve", "null", "line one\r\nline two"),
    (" spaces ", "{instruction}", ""),
]
SOURCE = Source(
    dataset="nobody/nothing",
    subset=None,
    root=None,
    columns=("text",),
    optional=(),
    ratios={"train": 0.8, "validation": 0.1, "test": 0.1},
    seed=0,
    cleaning=(),
)


def separated(rows: Sequence[Sequence[str]], columns: Sequence[str], by: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=by).writerows([columns, *rows])
    return text.getvalue()


def write(file: Path, rows: Sequence[Sequence[str]], columns: Sequence[str] = COLUMNS) -> Path:
    """Write rows as the ending of the file says, without the code that reads them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    objects = [dict(zip(columns, row, strict=True)) for row in rows]
    if file.suffix == ".parquet":
        table = {name: [row[i] for row in rows] for i, name in enumerate(columns)}
        pq.write_table(pa.table({**table, "number": list(range(len(rows)))}), file)
        return file
    text = {
        ".csv": lambda: separated(rows, columns, ","),
        ".tsv": lambda: separated(rows, columns, "\t"),
        ".json": lambda: json.dumps(objects, indent=1),
        ".jsonl": lambda: "\n".join(json.dumps(row, ensure_ascii=False) for row in objects),
        ".txt": lambda: "".join(f"{row[0]}\n" for row in rows),
    }[file.suffix]()
    file.write_bytes(text.encode())
    return file


def texts(count: int, begin: int = 0) -> list[tuple[str]]:
    return [(f"text {number}",) for number in range(begin, begin + count)]


def test_rows_are_known_by_the_line_that_they_begin_in(tmp_path: Path) -> None:
    rows = [("two\nlines",), ("one",), ("last",)]
    for name, lines in (("a.csv", [2, 4, 5]), ("a.jsonl", [1, 2, 3]), ("a.parquet", [1, 2, 3])):
        found = files.numbered(write(tmp_path / name, rows, ("text",)), ("text",))
        assert found == list(zip(lines, rows, strict=True))
    assert files.numbered(write(tmp_path / "a.txt", rows[1:], ("text",)), ("text",)) == [
        (1, ("one",)),
        (2, ("last",)),
    ]


def rows_of(root: Path, **changes: Any) -> Any:
    return prepare(replace(SOURCE, root=str(root), **changes))


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, ending: str) -> None:
    file = write(tmp_path / f"mine.{ending}", ROWS)
    assert files.read(file, COLUMNS) == ROWS
    assert files.read(file, ("output", "instruction")) == [(row[2], row[0]) for row in ROWS]


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl", "parquet", "txt"])
def test_every_format_gives_the_same_plain_text(tmp_path: Path, ending: str) -> None:
    lines = [("one",), ("",), (" two, and more",), ("drei ä",)]
    file = write(tmp_path / f"mine.{ending}", lines, ("text",))
    assert files.read(file, ("text",)) == lines


def test_objects_may_stand_one_after_the_other_over_several_lines(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    objects = [json.dumps(dict(zip(COLUMNS, row, strict=True)), indent=2) for row in ROWS]
    file.write_text("\n".join(objects))
    assert files.read(file, COLUMNS) == ROWS


def test_a_text_longer_than_the_librarys_own_limit_is_read(tmp_path: Path) -> None:
    rows = [("word " * 40_000,)]
    assert files.read(write(tmp_path / "long.csv", rows, ("text",)), ("text",)) == rows


def test_an_optional_column_may_be_missing_or_null(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"instruction": "a", "output": "b"}\n{"instruction": "a", "input": null}\n')
    assert files.read(file, ("instruction", "input"), ("input",)) == [("a", ""), ("a", "")]
    table = write(tmp_path / "mine.csv", [("a", "b")], ("instruction", "output"))
    assert files.read(table, COLUMNS, ("input",)) == [("a", "", "b")]
    assert files.read(write(tmp_path / "mine.parquet", [("a",)], ("x",)), ("y",), ("y",)) == [("",)]


GOOD = '{"instruction": "a", "output": "b"}\n'
HEADER = "instruction,output\na,b\n"


@pytest.mark.parametrize(
    ("name", "content", "line", "said"),
    [
        ("1.csv", HEADER + "c,d,e\nf,g\n", 3, "3 fields where the header has 2"),
        ("2.csv", HEADER + 'c,"d\nf,g\n', 3, "unexpected end of data"),
        ("3.csv", HEADER + '"c"x,d\nf,g\n', 3, "expected after"),
        ("4.csv", HEADER + '"c\nc",d\ne\n', 5, "1 fields where the header has 2"),
        ("5.csv", "instruction,answer\na,b\n", 1, "no column 'output' (there are instruction, "),
        ("6.csv", "output,instruction,output\n", 1, "the name of several columns"),
        ("7.csv", HEADER.encode() + b"c,caf\xe9\n", 3, "is not UTF-8 (byte 6: 0xe9)"),
        ("8.tsv", "instruction\toutput\na b\n", 2, "1 fields where the header has 2"),
        ("1.jsonl", GOOD + '{"instruction": "a", "output": "b"\n' + GOOD, 2, "no JSON"),
        ("2.jsonl", GOOD + "\nnonsense\n", 3, "no JSON: Expecting value (line 3, column 1)"),
        ("3.jsonl", GOOD + '{"instruction": "a"}\n', 2, "no column 'output'"),
        ("4.jsonl", GOOD + '{"instruction": "a", "output": 7}\n', 2, "'output' holds 7"),
        ("5.jsonl", GOOD + '{"instruction": "a", "output": null}\n', 2, "'output' is missing"),
        ("6.jsonl", GOOD + '{"instruction": "\\ud800", "output": ""}\n', 2, "no Unicode text"),
        ("7.jsonl", GOOD + '"a text"\n', 2, "an object with names is due, not 'a text'"),
        ("1.json", f"[{GOOD}{GOOD}]", 2, "',' or ']' is due"),
        ("2.json", f"[\n{GOOD},", 3, "no JSON"),
        ("3.json", f"[{GOOD}]\nmore", 3, "there is more after the list"),
        ("4.json", f"[{GOOD}, {GOOD}, []]", 3, "an object with names is due, not []"),
        ("5.json", "[\n" + "[" * 100_000, 2, "nested too deeply"),
        ("6.json", '{"data": []}', 1, "no column 'instruction' (there are data)"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(
    tmp_path: Path, name: str, content: str | bytes, line: int, said: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(WorkloadError) as caught:
        files.read(file, ("instruction", "output"))
    assert f"{file}, line {line}" in str(caught.value)
    assert said in str(caught.value)


def test_a_broken_line_of_plain_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_bytes(b"one\ntwo\ncaf\xe9\n")
    with pytest.raises(WorkloadError, match=r"mine\.txt, line 3 is not UTF-8 \(byte 4: 0xe9\)"):
        files.read(file, ("text",))
    with pytest.raises(WorkloadError, match=r"workload\.layout=text"):
        files.read(file, COLUMNS)


def test_a_broken_row_of_parquet_is_named_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"text": ["a", None]}), file)
    with pytest.raises(WorkloadError, match=r"mine\.parquet, row 2: 'text' is missing"):
        files.read(file, ("text",))
    broken = pa.array([b"good", b"caf\xe9", b"bad"]).cast(pa.binary())
    column = pa.StringArray.from_buffers(3, broken.buffers()[1], broken.buffers()[2])
    pq.write_table(pa.table({"text": column}), file)
    with pytest.raises(WorkloadError, match=r"mine\.parquet, row 2: 'text' is not UTF-8"):
        files.read(file, ("text",))
    pq.write_table(pa.table({"text": [1, 2]}), file)
    with pytest.raises(WorkloadError, match=r"column 'text' holds int64, texts are due"):
        files.read(file, ("text",))
    file.write_bytes(b"nonsense")
    with pytest.raises(WorkloadError, match=r"mine\.parquet: cannot be read as Parquet"):
        files.read(file, ("text",))


class Trap:
    """Does something when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("ending", ["pkl", "pickle", "pt", "bin", "npy", "arrow"])
def test_a_file_that_may_hold_code_is_not_opened(tmp_path: Path, ending: str) -> None:
    file, mark = tmp_path / f"mine.{ending}", tmp_path / "was_run"
    file.write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(WorkloadError, match="Files that may hold code, such as pickles"):
        rows_of(file)
    assert not mark.exists()


def test_a_script_beside_the_data_is_not_run(tmp_path: Path) -> None:
    place, mark = tmp_path / "mine", tmp_path / "was_run"
    write(place / "train.csv", texts(20), ("text",))
    (place / "mine.py").write_text(f"import os\nos.mkdir({str(mark)!r})\n")
    assert len(rows_of(place).splits["train"]) == 16
    assert not mark.exists()


def test_one_split_is_divided_by_ratio_and_seed(tmp_path: Path) -> None:
    rows = texts(200)
    file = write(tmp_path / "mine.csv", rows, ("text",))
    found, again = rows_of(file).splits, rows_of(file).splits
    assert {name: len(part) for name, part in found.items()} == {
        "train": 160,
        "validation": 20,
        "test": 20,
    }
    assert sorted(row for part in found.values() for row in part) == sorted(rows)
    assert all(list(part) == sorted(part, key=rows.index) for part in found.values())
    assert found == again
    other = rows_of(file, seed=1)
    assert other.splits["test"] != found["test"]
    assert other.origin["split"] == {"train": 0.8, "validation": 0.1, "test": 0.1, "seed": 1}
    halves = rows_of(file, ratios={"train": 0.5, "validation": 0.0, "test": 0.5}).splits
    assert {name: len(part) for name, part in halves.items()} == {"train": 100, "test": 100}


def test_lines_of_a_text_are_split_in_stretches(tmp_path: Path) -> None:
    found = rows_of(write(tmp_path / "mine.txt", texts(1_000), ("text",)))
    tested = [int(row[0].removeprefix("text ")) for row in found.splits["test"]]
    assert found.lines
    assert len(tested) == 100
    for begin in range(0, 100, 10):  # a hundredth of the text each
        assert tested[begin] % 10 == 0
        assert tested[begin : begin + 10] == list(range(tested[begin], tested[begin] + 10))
    assert tested != list(range(900, 1_000))


def test_splits_that_are_there_are_taken_as_they_are(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", texts(7), ("text",))
    write(tmp_path / "valid.csv", texts(2, 10), ("text",))
    found = rows_of(tmp_path)
    assert dict(found.splits) == {"train": texts(7), "test": texts(2, 10)}
    assert found.origin["split"] == "as given"
    write(tmp_path / "test.json", texts(3, 20), ("text",))
    found = rows_of(tmp_path)
    assert dict(found.splits) == {
        "train": texts(7),
        "validation": texts(2, 10),
        "test": texts(3, 20),
    }
    assert found.origin["source"] == "train.jsonl, valid.csv, test.json"


def test_shards_in_the_hubs_layout_are_read_in_their_order(tmp_path: Path) -> None:
    for shard in (1, 0):
        name = f"train-0000{shard}-of-00002.parquet"
        write(tmp_path / "data" / name, texts(3, 3 * shard), ("text",))
    write(tmp_path / "data" / "test-00000-of-00001.parquet", texts(2, 9), ("text",))
    (tmp_path / "README.md").write_text("a card")
    assert dict(rows_of(tmp_path).splits) == {"train": texts(6), "test": texts(2, 9)}
    assert dict(rows_of(tmp_path, subset="data").splits) == dict(rows_of(tmp_path).splits)


def test_a_folder_that_says_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="nothing of these kinds"):
        rows_of(tmp_path)
    for name in ("one.csv", "two.csv"):
        write(tmp_path / name, texts(3), ("text",))
    with pytest.raises(WorkloadError, match=r"one\.csv, two\.csv; data\.root can also name a file"):
        rows_of(tmp_path)
    with pytest.raises(WorkloadError, match=r"data\.root=.*: there is no such folder or file"):
        rows_of(tmp_path / "nowhere")


def test_too_few_rows_leave_nothing_to_test_on(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.csv", texts(3), ("text",))
    with pytest.raises(WorkloadError, match=r"mine\.csv: no rows are left in the test split"):
        rows_of(file)


COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def test_cleaning_is_counted_by_hand(tmp_path: Path) -> None:
    columns = ("text", "output")
    train = [
        *(("a", "1"), ("b", "2"), ("a", "1"), ("a", "1"), (" \t", "3"), ("c", "")),
        *((COMPOSED, "4"), (DECOMPOSED, "4"), ("d", "5"), ("e", "6")),
    ]
    write(tmp_path / "train.csv", train, columns)
    write(tmp_path / "validation.csv", [("d", "5"), ("v", "7")], columns)
    write(tmp_path / "test.csv", [("e", "6"), ("v", "7"), ("e", "6"), ("b", "other")], columns)
    untouched = rows_of(tmp_path, columns=columns)
    assert [len(untouched.splits[s]) for s in ("train", "validation", "test")] == [10, 2, 4]
    assert untouched.origin["cleaning"] == {}
    steps = ("empty", "duplicates", "unicode")
    found = rows_of(tmp_path, columns=columns, cleaning=steps)
    assert dict(found.splits) == {
        "train": [("a", "1"), ("b", "2"), (COMPOSED, "4")],
        "validation": [("d", "5")],
        "test": [("e", "6"), ("v", "7"), ("b", "other")],
    }
    assert found.origin["rows_found"] == {"train": 10, "validation": 2, "test": 4}
    assert found.origin["cleaning"] == {
        "unicode": {"changed_texts": {"train": 1, "validation": 0, "test": 0}},
        "empty": {"dropped_rows": {"train": 2, "validation": 0, "test": 0}},
        "duplicates": {
            "dropped_within": {"train": 3, "validation": 0, "test": 1},
            "dropped_across": {"train": 2, "validation": 1, "test": 0},
        },
    }


def test_duplicates_are_gone_before_one_split_is_divided(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.csv", [*texts(50), *texts(50)], ("text",))
    leaking, clean = rows_of(file).splits, rows_of(file, cleaning=("duplicates",)).splits
    assert {*leaking["train"]} & {*leaking["test"]}
    assert not {*clean["train"]} & {*clean["test"]}
    assert sum(map(len, clean.values())) == 50


def of_user(root: Path, **changes: Any) -> Any:
    """Return the smallest language model on a user's rows, with a vocabulary of its own."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "is", "red", "blue", "?"]
    place = root.parent / "words"
    place.mkdir(exist_ok=True)
    (place / "vocab.txt").write_text("\n".join(words))
    return configured("causal_lm", data_root=str(root), vocabulary=str(place), **changes)


def test_named_columns_fill_a_template_of_ones_own(tmp_path: Path) -> None:
    rows = [("what", "red", "blue")] * 10
    file = write(tmp_path / "mine.csv", rows, ("word", "colour", "answer"))
    workload = of_user(
        file,
        layout="columns",
        template="{word} is {colour} ?",
        columns={"output": "answer"},
    )
    words = workload.tokenizer
    batch = workload.train_examples().__getitems__([0])
    assert words.convert_ids_to_tokens(batch["input_ids"][0].tolist()) == [
        *("[CLS]", "what", "is", "red", "?", "blue", "[SEP]")
    ]
    blue, end = words.convert_tokens_to_ids(["blue", "[SEP]"])
    assert batch["targets"][0].tolist() == [*[-100] * 5, blue, end]


def test_columns_of_other_names_and_what_was_cleaned_stand_in_the_record(tmp_path: Path) -> None:
    rows = [*((f"what {n}", "", "red") for n in range(20)), ("what 0", "", "red"), ("", "", "x")]
    file = write(tmp_path / "mine.jsonl", rows, ("question", "context", "answer"))
    named = {"instruction": "question", "input": "context", "output": "answer"}
    workload = of_user(file, columns=named, cleaning=["duplicates", "empty"])
    described = json.loads(json.dumps(workload.describe_data()))
    assert described["source"] == "mine.jsonl"
    assert described["rows_found"] == {"all": 22}
    assert described["cleaning"] == {
        "empty": {"dropped_rows": {"all": 1}},
        "duplicates": {"dropped_within": {"all": 1}, "dropped_across": {}},
    }
    assert [described[s]["rows"] for s in ("train", "validation", "test")] == [16, 2, 2]
    assert workload.validation_examples() is not None


def test_a_split_without_one_whole_block_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.csv", texts(20), ("text",))
    with pytest.raises(WorkloadError, match=r"workload\.block=256 leaves no example in the"):
        of_user(file, layout="text").train_examples()


@needs_data
@pytest.mark.parametrize(("place", "lines"), [("tinyshakespeare", 40_000), ("wikitext-2", 3_760)])
def test_real_texts_are_read_line_by_line(place: str, lines: int) -> None:
    found = rows_of(DATA / place)
    assert sum(map(len, found.splits.values())) == lines
    assert len(found.splits["test"]) == pytest.approx(lines / 10, rel=0.02)
