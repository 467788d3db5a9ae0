"""A record is read back as it was written, or refused with the name of the field."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from factories import record

from bench import readings, records
from bench.records import RecordError, from_json, to_json

README = Path(__file__).parents[1] / "results" / "README.md"


def document(**changes: Any) -> dict[str, Any]:
    return {**json.loads(to_json(record())), **changes}


def refusal(plain: dict[str, Any]) -> str:
    with pytest.raises(RecordError) as caught:
        from_json(json.dumps(plain))
    return str(caught.value)


def test_a_record_is_read_back_as_it_was_written() -> None:
    made = record(grades=("B", "C"), label="prune → 50 %")
    assert from_json(to_json(made)) == made


def test_a_record_without_break_even_is_read_back_as_it_was_written() -> None:
    made = record(ratio=1.2)
    assert made.break_even is None
    assert from_json(to_json(made)) == made


def test_equal_records_give_equal_bytes() -> None:
    first = record(protocol={"name": "paper", "blocks": 8})
    second = record(protocol={"blocks": 8, "name": "paper"})
    assert to_json(first) == to_json(second)


def test_a_reading_that_failed_stays_null_with_its_reason() -> None:
    failed = readings.Reading("counters", "cpu:0", "zeus.rapl", "B", None, "Permission denied")
    phase = readings.Phase(1.0, 1.0, (failed,))
    made = record()
    made = dataclasses.replace(
        made, baseline=dataclasses.replace(made.baseline, phases={"train": phase})
    )
    back = from_json(to_json(made)).baseline.phases["train"].readings[0]
    assert (back.energy_j, back.reason) == (None, "Permission denied")


def test_a_missing_field_is_named() -> None:
    plain = document()
    del plain["verdict"], plain["host"]
    assert refusal(plain) == "record lacks host, verdict"


def test_a_missing_field_deep_down_is_named_with_its_path() -> None:
    plain = document()
    del plain["baseline"]["phases"]["train"]["readings"][1]["grade"]
    assert refusal(plain) == "record.baseline.phases.train.readings[1] lacks grade"


def test_an_unknown_field_is_named() -> None:
    message = refusal(document(watts=12.0))
    assert "does not know: watts" in message


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("seed",), "0", "record.seed should be int, is '0'"),
        (("seed",), 0.5, "record.seed should be int, is 0.5"),
        (("seed",), True, "record.seed should be int, is True"),
        (("host",), 7, "record.host should be str, is 7"),
        (("rehearsal",), 0, "record.rehearsal should be bool, is 0"),
        (
            ("comparison", "ratio"),
            "0.5",
            "record.comparison.ratio should be a finite number, is '0.5'",
        ),
        (
            ("comparison", "ratio"),
            None,
            "record.comparison.ratio should be a finite number, is None",
        ),
        (("comparison", "grade"), "D", "record.comparison.grade should be one of"),
        (("comparisons",), {}, "record.comparisons should be a list"),
        (("protocol",), [], "record.protocol should be an object"),
        (("baseline",), "gone", "record.baseline should be an object"),
    ],
)
def test_a_field_of_the_wrong_type_is_named_with_its_value(
    path: tuple[str, ...], value: object, named: str
) -> None:
    plain = document()
    inner = plain
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert named in refusal(plain)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused_in_what_has_no_type_of_its_own(
    value: float,
) -> None:
    message = refusal(document(config={"protocol": {"limits": [1, {"steal": value}]}}))
    found = f"record.config.protocol.limits[1].steal should be a finite number, is {value!r}"
    assert message == found


def test_a_whole_number_is_read_as_a_float_where_a_float_is_meant() -> None:
    plain = document()
    plain["comparison"]["ratio"] = 1
    assert isinstance(from_json(json.dumps(plain)).comparison.ratio, float)


@pytest.mark.parametrize("schema", [records.SCHEMA + 1, 0, None, "1"])
def test_a_document_of_another_schema_is_refused_with_both_numbers(schema: object) -> None:
    message = refusal(document(schema=schema))
    assert repr(schema) in message
    assert f"reads {records.SCHEMA}" in message


def test_a_document_without_a_schema_is_refused() -> None:
    assert "schema is None" in refusal({"id": "x"})


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1', "[]", '"record"', "null"])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(RecordError):
        from_json(text)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_not_finite_is_not_written(value: float) -> None:
    made = record()
    made = dataclasses.replace(made, comparison=dataclasses.replace(made.comparison, low=value))
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(made)


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        record().seed = 1  # type: ignore[misc]


def test_the_readme_of_the_results_explains_every_field() -> None:
    rows = [line.split("|")[1] for line in README.read_text().splitlines() if line[:1] == "|"]
    explained = {name.rpartition(".")[2] for row in rows for name in re.findall(r"`([^`]+)`", row)}
    fields = {
        field.name
        for kind in (vars(records) | vars(readings)).values()
        if dataclasses.is_dataclass(kind)
        for field in dataclasses.fields(kind)
    }
    assert "energy_j" in fields  # the loop found the dataclasses
    assert fields - explained == set()
