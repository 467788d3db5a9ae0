"""Every record below one folder, through every check."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import store
from bench.progress import Bar
from bench.records import RecordError
from bench.validate import (
    Finding,
    answers,
    claims,
    conditions,
    design,
    figures,
    origins,
    place,
    session,
)
from bench.validate.case import Case, open_case
from bench.validate.family import Families

CHECKS: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    place.check,
    design.check,
    conditions.check,
    session.check,
    figures.check,
    answers.check,
    origins.check,
    claims.check,
)
"""Of one record; each is given the case and yields what is wrong."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found.

    Attributes:
        findings: By path, in the order of the checks.
        records: Documents that were looked at, unreadable ones included.
        files: Files beside them whose digest was taken.
        notes: What was not looked at, and failures that lie among the records, with their number.
    """

    findings: tuple[Finding, ...]
    records: int
    files: int
    notes: dict[str, int]

    def count(self, severity: str) -> int:
        """Return the number of findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)


def examine(root: Path, strict: bool = False) -> Examined:
    """Check every record below a folder; hidden folders hold none.

    Args:
        root: The results, or any folder in them.
        strict: Whether warnings are errors.
    """
    paths = [p for p in sorted(root.rglob(store.RECORD)) if not _hidden(p, root)]
    families, findings, files = Families(), [], 0
    with Bar("checking records") as bar:
        for done, path in enumerate(paths):
            bar.tell(done, len(paths), path.parent.name)
            found, checked = _one(path, root, families)
            findings += found
            files += checked
    findings += families.close()
    findings += _strays(root, families.notes)
    if strict:
        findings = [dataclasses.replace(finding, severity="error") for finding in findings]
    findings.sort(key=lambda finding: finding.path)  # stable: a record's checks keep their order
    return Examined(tuple(findings), len(paths), files, dict(sorted(families.notes.items())))


def _one(path: Path, root: Path, families: Families) -> tuple[list[Finding], int]:
    """Return what is wrong with one record, and how many files were checked."""
    name = path.parent.relative_to(root).as_posix()
    try:
        record = store.read(path)
        case, findings, files = open_case(name, path.parent, record)
    except (OSError, RecordError, KeyError, TypeError, AttributeError) as err:
        reason = getattr(err, "strerror", None) or f"{err}"
        return [Finding(name, "schema", "error", f"{store.RECORD}: {reason}")], 0
    for check in (*CHECKS, families.add):
        try:
            with np.errstate(all="ignore"):  # what is not finite is found and named as such
                findings += check(case)
        except Exception as err:  # whatever somebody's files hold, the other checks go on
            what = f"{check.__module__.rpartition('.')[2]}: {type(err).__name__}: {err}"
            findings.append(case.error("stumbled", f"a check could not be carried out ({what})"))
    if not answers.is_known(record.quality.metric):
        families.notes[f"quality not recomputed ({record.quality.metric})"] += 1
    return findings, files


def _strays(root: Path, notes: Counter[str]) -> Iterator[Finding]:
    """Count pairs that failed, and name documents that were set aside."""
    notes["pairs that failed"] += sum(not _hidden(p, root) for p in root.rglob(store.FAILURE))
    for path in sorted(root.rglob(f"{store.RECORD}.broken-*")):
        if not _hidden(path, root):
            name = path.parent.relative_to(root).as_posix()
            yield Finding(name, "set aside", "warning", f"{path.name} was set aside: no record")


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)
