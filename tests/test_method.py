"""The method section says what the records say: every value, and no sentence that they belie."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from campaigns import write_campaign, write_pair

from bench import collection
from bench.measurement import conditions as measuring
from bench.measurement import latency as timing
from bench.measurement.protocol import MOST_RATES
from bench.measurement.session import Session
from bench.measurement.version import VERSION
from bench.reporting import prose
from bench.reporting.method import analysis, conditions, method, protocol, sample
from bench.reporting.references import REFERENCES
from bench.reporting.rows import rows
from bench.statistics import ratios

PAPER = Path(__file__).parents[1] / "paper"


def pairs_of(root: Path) -> pd.DataFrame:
    return collection.read(root).pairs


def said(pairs: pd.DataFrame) -> str:
    """The whole section as text, spaces that do not break made ordinary."""
    lines = []
    for part in method(rows(pairs)):
        lines.append(part.title)
        for passage in part.paragraphs:
            lines += [prose.plain(passage), *passage.items]
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


def edited(pairs: pd.DataFrame, column: str, edit: Callable[[Any], Any]) -> pd.DataFrame:
    """Pairs with another value in a column of JSON."""
    changed = pairs.copy()
    changed[column] = [json.dumps(edit(json.loads(text)), sort_keys=True) for text in pairs[column]]
    return changed


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    root = tmp_path_factory.mktemp("method")
    write_campaign(root, {"structured_pruning": 0.57, "bf16": 0.8}, seeds=(0, 1, 2))
    return pairs_of(root)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    root = tmp_path_factory.mktemp("single")
    write_pair(root, grades=("C",))
    return pairs_of(root)


KNOBS = {
    "window_s": (7.5, "planned to last 7.5 s"),
    "lead_in_s": (2.25, "2.25 s of unmeasured work of the same arm"),
    "jitter_s": (0.35, "random pause of up to 0.35 s"),
    "warmup_s": (41.0, "both arms work for 41 s or longer"),
    "warmup_tolerance": (0.015, "agree within 1.5 %"),
    "idle_s": (17.0, "17 s of idling"),
    "min_blocks": (9, "once 9 blocks are kept"),
    "max_blocks": (33, "after 33 blocks"),
    "half_width": (0.025, "is 2.5 % or less"),
    "max_discarded": (0.35, "over 35 % of its blocks"),
    "max_steal": (0.017, "kept over 1.7 % of"),
    "max_foreign": (0.066, "used over 6.6 % of"),
    "max_idle_drift": (0.072, "idle power moves by over 7.2 %"),
    "max_drift": (0.13, "drifts by over 13 %"),
    "max_cpu_gap_c": (4.5, "4.5 degrees Celsius (CPU packages)"),
    "min_ticks": (150, "fewer than 120 times"),  # 80 % of them
    "latency_requests": (1234, "until 1,234 an arm"),
    "latency_s": (77.0, "or 77 s have gone by"),
}


@pytest.mark.parametrize(("knob", "value", "text"), [(k, *v) for k, v in KNOBS.items()])
def test_every_value_of_the_protocol_is_the_one_that_was_used(
    pairs: pd.DataFrame, knob: str, value: float, text: str
) -> None:
    assert text not in said(pairs)
    assert text in said(edited(pairs, "protocol_json", lambda rules: rules | {knob: value}))


@pytest.mark.parametrize("knob", sorted(KNOBS))
def test_what_a_protocol_does_not_hold_is_not_described(pairs: pd.DataFrame, knob: str) -> None:
    without = edited(
        pairs, "protocol_json", lambda rules: {k: v for k, v in rules.items() if k != knob}
    )
    usual = json.loads(pairs["protocol_json"].iloc[0])[knob]
    text = KNOBS[knob][1].replace(f"{KNOBS[knob][0]:,}".removesuffix(".0"), f"{usual:g}")
    assert text not in said(without)


def test_limits_of_the_measuring_code_are_its_own() -> None:
    names = ("SHORTEST", "FEWEST_TICKS", "LEAST_OF_IDLE", "MOST_OF_LIMIT", "FAULTS_PER_S")
    for name in names:
        assert getattr(conditions, name) == getattr(measuring, name)
    assert protocol.RUN == timing.RUN
    assert protocol.CALIBRATIONS == MOST_RATES
    assert f"max({float(protocol.LEAST_ALLOWED)}, " in inspect.getsource(Session._enough)
    assert sample.DESCRIBED_VERSION == VERSION
    assert analysis.EXACT_BLOCKS == ratios.EXACT_BLOCKS


def channel(component: str, grade: str, source: str = "nvml", **detail: Any) -> dict[str, Any]:
    return {
        "component": component,
        "grade": grade,
        "source": source,
        "step_s": 0.1,
        "detail": detail,
    }


def with_gpu(pairs: pd.DataFrame) -> pd.DataFrame:
    meters = {"counters": [channel("gpu:0", "B")], "polled": [channel("gpu:0", "B")]}
    board = [{"index": 0, "name": "made-up board", "driver": "1.2", "memory_bytes": 2**34}]
    found = edited(pairs, "meters_json", lambda _: meters)
    return edited(found, "environment_json", lambda facts: facts | {"gpus": board})


def test_every_condition_of_the_measuring_code_is_described(pairs: pd.DataFrame) -> None:
    found = with_gpu(pairs)
    rules = json.loads(found["protocol_json"].iloc[0])
    known = {*measuring.CHECKS, *measuring.BLOCK_CHECKS}
    assert set(conditions.conditions(rules, found)) == known
    text = said(found)
    assert "GPU 0: made-up board (17.2 GB, driver 1.2)" in text
    assert "3 degrees Celsius (GPUs)" in text
    assert "polled power and its counter differed by over 5 %" in text


def test_a_slow_counter_lengthens_windows_and_the_text_says_so(pairs: pd.DataFrame) -> None:
    slow = edited(
        pairs, "meters_json", lambda _: {"wall": [channel("wall", "A") | {"step_s": 0.5}]}
    )
    assert "10 s, or 50 s where the slowest counter needs that for 100 updates" in said(slow)
    model = {"codecarbon": [channel("cpu:0", "C") | {"step_s": 1.0}]}
    assert "planned to last 10 s." in said(edited(pairs, "meters_json", lambda _: model))


def test_without_a_counter_nothing_is_said_of_counters(single: pd.DataFrame) -> None:
    text = said(single)
    assert "no energy counter could be read" in text
    assert "the ratio of seconds" in text
    for absent in ("grade B", "counter did not move", "idle power moves", "a GPU", "saves energy,"):
        assert absent not in text


def test_methods_that_no_row_used_are_not_described(
    pairs: pd.DataFrame, single: pd.DataFrame
) -> None:
    alone, several = said(single), said(pairs)
    for only_several in ("are a sample of such pairs", "Holm", "Over several trainings", "A/A"):
        assert only_several in several
    for only_several in ("are a sample of such pairs", "Holm, 1979", "Over several trainings"):
        assert only_several not in alone
    assert "Tango" in alone
    assert "Tango" not in several
    assert "fixed effects" not in alone + several
    assert "fixed effects" in said(pairs[pairs["seed"] < 2])


def test_two_protocols_are_both_described(pairs: pd.DataFrame, tmp_path: Path) -> None:
    write_pair(tmp_path, protocol="smoke", host="other")
    write_pair(tmp_path, protocol={"window_s": 5.0}, host="third")
    both = pd.concat([pairs, pairs_of(tmp_path)], ignore_index=True)
    text = said(both)
    assert "Protocol paper, variant 1 (9 pairs)" in text
    assert "Protocol paper, variant 2 (1 pair)" in text
    assert "Protocol smoke (1 pair)" in text
    assert text.count("a window is planned to last") == 3


def test_discards_are_counted_by_condition(tmp_path: Path) -> None:
    write_pair(tmp_path, stolen={1: 0.2, 3: 0.2})
    found = pairs_of(tmp_path)
    total = int(found["blocks"].iloc[0]) + 2
    assert f"Of {total} blocks 2 were discarded: 2 for steal." in said(found)
    assert "Every session is valid." in said(found)


def test_an_invalid_session_is_named_with_its_reason(tmp_path: Path) -> None:
    write_pair(tmp_path, seed=0)
    write_pair(tmp_path, seed=1, stolen=dict.fromkeys(range(0, 40, 2), 0.2))
    found = pairs_of(tmp_path)
    text = said(found)
    assert "1 of 2 sessions is invalid, and no ratio of theirs is used:" in text
    assert re.search(r"structured_pruning/1-\w+ on made-up-host: \d+ of \d+ blocks discarded", text)


def test_one_of_a_thing_is_not_plural(single: pd.DataFrame, pairs: pd.DataFrame) -> None:
    for text in (said(single), said(pairs)):
        assert not re.search(r"(?<![\d.,])1 (pairs|blocks|hosts|baselines|variants|seeds)\b", text)
        assert not re.search(r"\b([02-9]|\d\d+) (pair|block|host|baseline|variant|core)\b", text)
    assert "1 pair of a baseline and an optimised variant" in said(single)
    assert "the seed 0;" in said(single)
    assert "the seeds 0, 1 and 2;" in said(pairs)


def test_carbon_is_mentioned_only_where_it_is_applied(
    pairs: pd.DataFrame, single: pd.DataFrame
) -> None:
    grid = {"country": "France", "year": 2023, "intensity_g_per_kwh": 56.04, "source": "a table"}

    def recorded(meters: dict[str, Any]) -> dict[str, Any]:
        detail = {"carbon": grid}
        return {n: [c | {"detail": detail} for c in channels] for n, channels in meters.items()}

    assert "Carbon" not in said(pairs)
    text = said(edited(pairs, "meters_json", recorded))
    assert "at 56.04 g/kWh (France, 2023, a table) and a PUE of 1.0" in text
    assert "Carbon is applied" not in said(edited(single, "meters_json", recorded))  # no joules


def test_what_counters_do_not_cover_depends_on_their_scope(pairs: pd.DataFrame) -> None:
    assert "Joules of cpu:0+dram:0 (grade B) do not cover GPUs, the mainboard, disks" in said(pairs)
    wider = pairs.assign(energy_b_scope="cpu:0+dram:0+gpu:0")
    assert "(grade B) do not cover the mainboard, disks" in said(wider)


def test_constants_of_a_model_are_told_and_no_claim_rests_on_it(single: pd.DataFrame) -> None:
    text = said(single)
    assert "grade C, codecarbon.cpu_load: joules of cpu (tdp_w = 125)" in text
    assert "C comes from a model, which is no measurement and carries no claim" in text


def test_records_of_another_measuring_code_are_told_apart(pairs: pd.DataFrame) -> None:
    old = pairs.assign(measuring_version=0)
    assert "9 pairs were measured by version 0 of the measuring code" in said(old)
    assert "version 0" not in said(pairs)


def test_artefacts_that_did_not_reload_exactly_are_counted(pairs: pd.DataFrame) -> None:
    assert "repeats its answers exactly in every pair" in said(pairs)
    some = pairs.assign(reload_exact=[False, *([True] * (len(pairs) - 1))])
    assert "repeats its answers exactly in 8 of 9 pairs" in said(some)


HOSTILE = r"100% \input{/etc/passwd} $x_1$ #let & [U] <b> *a* `c` ~^ |"


def test_hostile_text_is_escaped_in_every_form(tmp_path: Path) -> None:
    write_pair(tmp_path, label=HOSTILE)
    sections = method(rows(pairs_of(tmp_path)))
    tex, markdown = prose.latex(sections, "origin"), prose.markdown(sections, "origin")
    assert r"100\% \textbackslash{}input\{/etc/passwd\} \$x\_1\$ \#let \& [U]" in tex
    assert not re.search(r"(?<!\\)[$#&]", tex.replace(r"$<$", "").replace(r"$>$", ""))
    assert r"\<b\> \*a\* \`c\`" in markdown


def test_markup_is_the_same_text_with_citations(pairs: pd.DataFrame) -> None:
    sections = method(rows(pairs))
    tex, markdown = prose.latex(sections, "origin"), prose.markdown(sections, "origin")
    assert tex.startswith("% origin\n")
    assert markdown.startswith("<!-- origin -->\n")
    assert r"~\cite{student1908}" in tex
    assert "(Student, 1908)" in markdown
    assert tex.count(r"\subsection{") == markdown.count("\n## ") - 1  # sources are bibtex's
    assert tex.count(r"\item ") == sum(len(p.items) for s in sections for p in s.paragraphs)


def test_the_order_of_the_records_does_not_matter(pairs: pd.DataFrame) -> None:
    shuffled = pairs.sample(frac=1, random_state=5).reset_index(drop=True)
    assert said(shuffled) == said(pairs)


def test_without_pairs_there_is_no_method(pairs: pd.DataFrame) -> None:
    assert method(rows(pairs.head(0))) == ()


def bibliography() -> dict[str, str]:
    entries = re.split(r"\n@\w+\{", (PAPER / "refs.bib").read_text())[1:]
    return {entry.partition(",")[0]: entry for entry in entries}


def test_references_are_those_of_the_bibliography() -> None:
    found = bibliography()
    assert set(found) == set(REFERENCES)
    for key, entry in found.items():
        (year,) = re.findall(r"year\s*=\s*\{(\d{4})\}", entry)
        names = re.sub(r"\s+", " ", re.findall(r"author\s*=\s*\{(.*?)\},\n", entry, re.S)[0])
        first = names.strip("{}").split(" and ")[0].split()[-1]
        for text in (REFERENCES[key].short, REFERENCES[key].full):
            assert first in text
            assert year in text


def test_whatever_the_paper_cites_is_in_the_bibliography() -> None:
    cited = re.findall(r"\\cite[tp]?\{([^}]*)\}", (PAPER / "main.tex").read_text())
    keys: Sequence[str] = [key for group in cited for key in group.split(",")]
    assert keys
    assert set(keys) <= set(bibliography())


@pytest.mark.parametrize(
    ("metric", "told", "others"),
    [
        ("accuracy", "Tango's", ("Student's paired", "bootstrap of test examples")),
        ("neg_mcd_db", "have Student's paired interval (Student, 1908)", ("Tango", "bootstrap of")),
        ("f1", "percentile bootstrap of test examples", ("Tango", "Student's paired")),
    ],
)
def test_the_interval_of_the_metric_is_named_and_no_other(
    single: pd.DataFrame, metric: str, told: str, others: Sequence[str]
) -> None:
    judged = single.assign(metric=metric)
    if metric != "accuracy":
        judged = judged.assign(quality_lost=None, quality_gained=None)
    text = said(judged)
    assert told in text
    assert not [other for other in others if other in text]
