"""What hosts can measure: the doctor's last findings, here and in the records of other hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench import store
from bench.dashboard.data.folder import BrokenError, Folder, number, parsed, words
from bench.dashboard.data.sheets import Column, Sheet
from bench.dashboard.data.watching import Snapshot
from bench.doctor import kept
from bench.machine import host_name
from bench.reporting.cells import amount

MOST_HOSTS = 50
_MOST_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Host:
    """What is known of one host.

    Attributes:
        name: Of the machine.
        here: Whether it is this one.
        created: When the doctor was there, ISO 8601.
        conclusion: What it concluded, or why nothing can be shown.
        sensors: Its sensors with their grades.
        checks: Its checks.
        missing: Key of what pages say where the doctor has not been; else empty.
    """

    name: str
    here: bool
    created: str
    conclusion: str
    sensors: tuple[Mapping[str, Any], ...]
    checks: tuple[Mapping[str, Any], ...]
    missing: str = ""


def hosts(snapshot: Snapshot, folder: Folder) -> list[Host]:
    """Return this host and those of the records."""
    found = [_here()]
    newest = snapshot.pairs.drop_duplicates("host").head(MOST_HOSTS)
    for name, place in zip(newest["host"], newest["folder"], strict=True):
        if name != found[0].name:
            found.append(_of_record(str(name), folder, f"{place}/{store.RECORD}"))
    return found


def sensors(found: list[Host]) -> Sheet:
    """Return the sensors of all hosts as one table."""
    rows = [{"host": host.name, **sensor} for host in found for sensor in host.sensors]
    return Sheet("sensors", SENSORS, rows)


def checks(found: list[Host]) -> Sheet:
    """Return the checks of all hosts as one table."""
    rows = [{"host": host.name, **check} for host in found for check in host.checks]
    return Sheet("checks", CHECKS, rows)


def _here() -> Host:
    try:
        path = kept.file()
        if path.stat().st_size > _MOST_BYTES:
            raise BrokenError(f"{path.name}: larger than any findings")
        return _host(host_name(), True, parsed(path.read_text(errors="replace"), path.name))
    except FileNotFoundError:
        return Host(host_name(), True, "", "", (), (), "doctor_never")
    except (OSError, BrokenError) as err:
        return Host(host_name(), True, "", words(str(err)), (), ())


def _of_record(name: str, folder: Folder, relative: str) -> Host:
    try:
        environment = folder.document(relative).get("environment")
    except BrokenError as err:
        return Host(words(name), False, "", str(err), (), ())
    environment = environment if isinstance(environment, dict) else {}
    found = environment.get("doctor")
    if not isinstance(found, dict):
        reason = words(environment.get("doctor_reason"))
        return Host(words(name), False, "", reason, (), (), "" if reason else "doctor_none")
    return _host(words(name), False, found)


def _host(name: str, here: bool, findings: Mapping[str, Any]) -> Host:
    sensors = [
        {
            "sensor": words(f"{c.get('meter')} {c.get('component')}"),
            "source": words(c.get("source")),
            "grade": words(c.get("grade")),
            "path": words(c.get("path")),
            "permission": words(c.get("permission")),
            "period_s": number(c.get("period_s")),
            "idle_w": number(c.get("idle_w")),
            "noise_w": number(c.get("noise_w")),
            "problem": words(c.get("problem")),
        }
        for c in _objects(findings.get("channels"))
    ]
    made = [
        {
            "check": words(c.get("name")),
            "of": words(c.get("subject")),
            "figure": number(c.get("figure")),
            "limit": words(c.get("limit")),
            "verdict": words(c.get("verdict")),
            "remedy": words(c.get("remedy"), 400),
        }
        for c in _objects(findings.get("checks"))
    ]
    missing = findings.get("missing")
    sensors += [
        {"sensor": words(device), "grade": "-", "problem": words(reason, 400)}
        for device, reason in (missing.items() if isinstance(missing, dict) else ())
    ]
    return Host(
        name,
        here,
        words(findings.get("created")),
        words(findings.get("conclusion"), 400),
        tuple(sensors),
        tuple(made),
    )


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _milliseconds(value: float) -> str:
    return f"{value * 1e3:.3g} ms"


def _watts(value: float) -> str:
    return amount(value, "W")


SENSORS = (
    Column("host", "host", words=True),
    Column("sensor", "sensor", words=True),
    Column("source", "source", words=True),
    Column("grade", "grade", words=True),
    Column("period_s", "period", _milliseconds),
    Column("idle_w", "idle", _watts),
    Column("noise_w", "noise", _watts),
    Column("path", "file", words=True),
    Column("permission", "permission", words=True),
    Column("problem", "trouble", words=True),
)
CHECKS = (
    Column("host", "host", words=True),
    Column("check", "check", words=True),
    Column("of", "of", words=True),
    Column("figure", "figure", lambda value: f"{value:.4g}"),
    Column("limit", "passes_if", words=True),
    Column("verdict", "verdict", words=True),
    Column("remedy", "remedy", words=True),
)
