"""Does what is claimed follow from what was found: arms, proof, latency, verdict, standing?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.readings import MEASURED_GRADES
from bench.records import Arm
from bench.validate import Finding
from bench.validate.case import Case

P90_REQUESTS, P99_REQUESTS = 1_000, 10_000
"""As in ``bench.measurement.latency``."""
UNEXPLOITED_MACS, UNEXPLOITED_TIME = 0.8, 0.95
"""As in ``bench.conclusions``."""

NO_NOISE_FLOOR = "no A/A pair"
NOISE_FLOOR_OFF = "A/A pair's interval"
"""How the two reasons are told that only other records can confirm."""


def check(case: Case) -> Iterator[Finding]:
    """Derive every claim again."""
    yield from _arms(case)
    yield from _proof(case)
    yield from _verdict(case)
    yield from _standing(case)


def _arms(case: Case) -> Iterator[Finding]:
    record = case.record
    baseline, variant = record.baseline, record.variant
    alike = baseline.artefact.digest == variant.artefact.digest
    if alike is not (record.technique == "none"):
        yield case.error(
            "arms",
            f"technique is {record.technique}, but the artefacts' digests are "
            f"{'equal' if alike else 'not equal'}",
        )
    if alike and baseline.artefact != variant.artefact:
        yield case.error("arms", "both arms are one artefact, but its bytes or SHA-256 differ")
    for arm, phases in (("baseline", ("search", "optimise", "convert")), ("variant", ("train",))):
        for name in phases:
            if name in getattr(record, arm).phases:
                yield case.error("arms", f"{arm}.phases has {name}, which is the other arm's")
    for name, one in (("baseline", baseline), ("variant", variant)):
        yield from _counts(case, name, one)
        yield from _latency(case, name, one)


def _counts(case: Case, name: str, arm: Arm) -> Iterator[Finding]:
    for field in ("digest", "sha256"):
        if not re.fullmatch("[0-9a-f]{64}", getattr(arm.artefact, field)):
            yield case.error("counts", f"{name}.artefact.{field} is no SHA-256")
    for field, value in (
        ("artefact.bytes", arm.artefact.bytes),
        ("parameters", arm.parameters),
        ("macs", arm.macs),
        ("peak_memory_bytes", arm.peak_memory_bytes),
    ):
        if value is not None and value <= 0:
            yield case.error("counts", f"{name}.{field} is {value}, expected a positive number")
    if not 0 <= arm.nonzero_parameters <= arm.parameters:
        message = f"{name}.nonzero_parameters is {arm.nonzero_parameters} of {arm.parameters}"
        yield case.error("counts", message)
    for field, phase in arm.phases.items():
        if phase.wall_s < 0 or phase.cpu_s < 0 or phase.items < 0:
            yield case.error("counts", f"{name}.phases.{field} has a negative figure")


def _latency(case: Case, name: str, arm: Arm) -> Iterator[Finding]:
    latency, field = arm.latency, f"{name}.latency"
    if (latency is None) is not (case.rules["latency_requests"] == 0):
        wanted = f"protocol.latency_requests={case.rules['latency_requests']}"
        yield case.error("latency", f"{field} is {'' if latency else 'not '}there, {wanted}")
    if latency is None:
        return
    for quantile, least in (("p90_s", P90_REQUESTS), ("p99_s", P99_REQUESTS)):
        if (getattr(latency, quantile) is None) is not (latency.requests < least):
            message = f"{field}.{quantile} needs {least} requests, there are {latency.requests}"
            yield case.error("latency", message)
    seconds = [s for s in (latency.p50_s, latency.p90_s, latency.p99_s) if s is not None]
    if seconds[0] <= 0 or seconds != sorted(seconds):
        yield case.error("latency", f"{field}: quantiles are {seconds}, expected rising seconds")


def _proof(case: Case) -> Iterator[Finding]:
    record = case.record
    baseline, variant = record.baseline, record.variant
    fell = variant.artefact.bytes < baseline.artefact.bytes
    yield from case.equal("proof", "proof.bytes_fell", record.proof.bytes_fell, fell)
    time = next((c for c in record.comparisons if c.measure == "wall_s"), None)
    if time is None:
        yield case.error("comparisons", "comparisons lacks wall_s, which every session has")
        return
    needed, had = (a.macs * a.nonzero_parameters / a.parameters for a in (variant, baseline))
    fewer = needed < UNEXPLOITED_MACS * had
    used = not (fewer and time.ratio > UNEXPLOITED_TIME)
    yield from case.equal("proof", "proof.exploited", record.proof.exploited, used)


def _verdict(case: Case) -> Iterator[Finding]:
    record, verdict = case.record, case.record.verdict
    lead, valid = record.comparison, record.session.valid
    counted = lead.measure == "energy_j" and lead.grade in MEASURED_GRADES
    energy = _direction(lead.low, lead.high, "saves", "costs") if valid and counted else "undecided"
    yield from case.equal("verdict", "verdict.energy", verdict.energy, energy)
    for wall in [c for c in record.comparisons if c.measure == "wall_s"][:1]:
        time = _direction(wall.low, wall.high, "faster", "slower") if valid else "undecided"
        yield from case.equal("verdict", "verdict.time", verdict.time, time)
    yield from case.equal("verdict", "verdict.quality", verdict.quality, record.quality.verdict)
    yield from _headline(case)


def _direction(low: float, high: float, below: str, above: str) -> str:
    if high < 1:
        return below
    return above if low > 1 else "undecided"


def _headline(case: Case) -> Iterator[Finding]:
    record, verdict = case.record, case.record.verdict
    lead, proof = record.comparison, record.proof
    # Conditions of a headline in their order, with words of their reasons.
    conditions = (
        (record.session.valid, "session is invalid"),
        (record.technique != "none", "A/A pair: "),
        (lead.measure == "energy_j", "no energy counter"),
        (lead.grade in MEASURED_GRADES, f"grade {lead.grade}"),
        (lead.high < 1, "interval reaches"),
        (
            record.quality.verdict == "non-inferior",
            f"{record.quality.metric} is {record.quality.verdict}",
        ),
        (proof.bytes_fell, "not smaller"),
        (proof.no_simulation_left, "fake-quantize"),
        (proof.reload_exact, "does not reproduce"),
        (proof.exploited, "not exploited"),
    )
    reason = verdict.reason
    if verdict.headline is not (reason is None):
        message = f"verdict.headline is {verdict.headline}, its reason {reason!r}"
        yield case.error("verdict", message)
    failed = next((words for holds, words in conditions if not holds), None)
    if failed is not None and failed not in (reason or ""):
        message = f"verdict.reason is {reason!r}, the first condition that failed: {failed!r}"
        yield case.error("verdict", message)
    others = reason is None or NO_NOISE_FLOOR in reason or NOISE_FLOOR_OFF in reason
    if failed is None and not others:
        message = f"verdict.reason is {reason!r}, but no condition of this record failed"
        yield case.error("verdict", message)


def _standing(case: Case) -> Iterator[Finding]:
    """What keeps a record out of a paper without being wrong."""
    record = case.record
    if record.rehearsal:
        yield case.warning("rehearsal", "a rehearsal: it enters no table")
    if any(comparison.grade == "S" for comparison in record.comparisons):
        yield case.warning("synthetic", "joules of grade S, from simulated sensors: no table")
    source = record.environment.get("source") or {}
    if source.get("commit") is None or source.get("dirty") is None:
        yield case.warning("source", "environment.source names no commit: code is not known")
    elif source["dirty"]:
        message = f"environment.source: code differs from commit {source['commit'][:12]}"
        yield case.warning("source", message)
