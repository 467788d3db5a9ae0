"""Is the record where it belongs, and is it of what was asked for?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from bench import digests
from bench.store import DIGEST_CHARACTERS
from bench.validate import Finding
from bench.validate.case import Case

RULES = (
    *("window_s", "min_ticks", "idle_s", "min_blocks", "max_blocks", "half_width"),
    *("max_discarded", "max_steal", "max_foreign", "max_idle_drift", "max_drift"),
    *("max_disagreement", "max_gpu_gap_c", "max_cpu_gap_c", "max_examples", "latency_requests"),
)
"""Knobs of a protocol that the checks need."""


def check(case: Case) -> Iterator[Finding]:
    """Hold folder, id, configuration and times against each other."""
    yield from _folder(case)
    yield from _configuration(case)
    yield from _times(case)


def _times(case: Case) -> Iterator[Finding]:
    started, created = case.record.session.started, case.record.created
    try:
        ordered = datetime.fromisoformat(started) <= datetime.fromisoformat(created)
    except (ValueError, TypeError) as err:  # the latter where one of them lacks its time zone
        yield case.error("time", f"session.started is {started!r}, created {created!r}: {err}")
        return
    if not ordered:
        yield case.error("time", f"session.started is {started}, after created, {created}")


def _folder(case: Case) -> Iterator[Finding]:
    record = case.record
    host, *rest = ("", "", "", *case.folder.resolve().parts)[-4:]
    yield from case.equal("place", "id", record.id, "/".join(rest))
    yield from case.equal("place", "host", record.host, host)
    workload, technique, name = rest
    seed, _, digest = name.partition("-")
    yield from case.equal("place", "workload", record.workload, workload)
    yield from case.equal("place", "technique", record.technique, technique)
    yield from case.equal("place", "seed", str(record.seed), seed)
    asked = digests.pair_digest(record.config, record.data.get("folder_sha256"))
    if asked[:DIGEST_CHARACTERS] != digest:
        yield case.error(
            "digest",
            f"the folder's digest is {digest}, that of its configuration "
            f"{asked[:DIGEST_CHARACTERS]}: config or data were changed afterwards, or another "
            f"version of joulebench named it",
        )


def _configuration(case: Case) -> Iterator[Finding]:
    """Whatever stands in the record twice says the same twice."""
    record, config = case.record, case.record.config
    for field, found, key in (
        ("workload", record.workload, config["workload"].get("name")),
        ("technique", record.technique, config["technique"].get("name")),
        ("seed", record.seed, config["seed"]),
        ("session_number", record.session_number, config["session"]),
        ("host", record.host, config["store"]["host"]),
    ):
        yield from case.equal("config", field, found, key)
    yield from case.equal(
        "margin", "quality.margin", record.quality.margin, config["workload"]["margin"]
    )
    for group, values in (("protocol", record.protocol), ("runtime", record.runtime)):
        for key, asked in config[group].items():
            if key != "_target_":
                yield from case.equal("config", f"{group}.{key}", values.get(key), asked)
    if missing := [key for key in RULES if key not in record.protocol]:
        yield case.error("protocol", f"protocol lacks {', '.join(missing)}")
    yield from case.equal(
        "rehearsal", "rehearsal", record.rehearsal, record.protocol.get("rehearsal")
    )
