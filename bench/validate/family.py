"""What only several records tell: copies, versions, the A/A pair, artefacts that they share."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import codec
from bench.flat import recipe
from bench.readings import Phase, is_elsewhere
from bench.records import Arm, Artefact
from bench.validate import Finding
from bench.validate.case import Case
from bench.validate.claims import NO_NOISE_FLOOR, NOISE_FLOOR_OFF

WEIGHTS, CARD = "model.safetensors", "card.json"
"""As in ``bench.artefacts``, which needs torch."""
MAKING = ("train", "optimise", "convert")
"""Phases that belong to an artefact, not to a session."""
FACTS = ("parameters", "sparsity", "macs", "input_shapes")
"""What is the same whenever an artefact is made."""


Origin = tuple[str, str, str, str]
"""Of a comparison: measure, grade, source and scope."""


@dataclass(frozen=True, slots=True)
class Member:
    """What is remembered of a record for the sake of the others."""

    path: str
    created: str
    technique: str
    version: int
    recipe: dict[str, Any]
    lead: Origin
    contains_one: dict[Origin, bool]
    valid: bool
    headline: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Made:
    """What is remembered of an artefact that a record names; of its phases the hash is enough."""

    path: str
    artefact: Artefact
    facts: dict[str, Any]
    making: dict[str, int]


@dataclass
class Families:
    """Records by workload, host, protocol and runtime; figures of one family stand in one table.

    Attributes:
        notes: What could not be looked at, with its number.
    """

    notes: Counter[str] = field(default_factory=Counter)
    _members: dict[str, list[Member]] = field(default_factory=dict)
    _places: dict[tuple[str, str], str] = field(default_factory=dict)
    _windows: dict[str, str] = field(default_factory=dict)
    _artefacts: dict[tuple[str, str], Made] = field(default_factory=dict)
    _labels: dict[str, tuple[Any, str]] = field(default_factory=dict)
    _made: dict[Path, tuple[int, str, Any] | None] = field(default_factory=dict)

    def add(self, case: Case) -> Iterator[Finding]:
        """Remember a record, and hold it against those before it."""
        record = case.record
        key = (record.id, record.host)
        first = self._places.setdefault(key, case.path)
        if first != case.path:
            yield case.error("duplicate", f"id and host are those of {first}")
        measured = record.files.get("windows.parquet")
        if measured is not None:
            first = self._windows.setdefault(measured, case.path)
            if first != case.path:
                yield case.error("duplicate", f"windows.parquet is that of {first}")
        labels = (record.data.get("test") or {}).get("labels_sha256")
        known, path = self._labels.setdefault(record.workload, (labels, case.path))
        if labels != known:
            message = f"data.test.labels_sha256 is not that of the same workload in {path}"
            yield case.warning("data", message)
        for name in ("baseline", "variant"):
            arm = getattr(record, name)
            yield from self._known(case, name, arm)
            yield from self._at_hand(case, name, arm)
        family = json.dumps(
            [record.host, record.workload, record.protocol, record.runtime], sort_keys=True
        )
        member = Member(
            path=case.path,
            created=record.created,
            technique=record.technique,
            version=record.measuring_version,
            recipe=recipe(record.config),
            lead=record.comparison.origin,
            contains_one={c.origin: c.low <= 1 <= c.high for c in record.comparisons},
            valid=record.session.valid,
            headline=record.verdict.headline,
            reason=record.verdict.reason,
        )
        self._members.setdefault(family, []).append(member)

    def close(self) -> Iterator[Finding]:
        """Hold the members of each family against each other, when all are there."""
        for members in self._members.values():
            yield from _versions(members)
            yield from _noise_floor(members)

    def _known(self, case: Case, name: str, arm: Arm) -> Iterator[Finding]:
        """One digest on one host is one model; made twice, its weights and cost may differ."""
        phases = {key: hash(phase) for key, phase in arm.phases.items() if key in MAKING}
        made = Made(case.path, arm.artefact, {key: getattr(arm, key) for key in FACTS}, phases)
        known = self._artefacts.setdefault((case.record.host, arm.artefact.digest), made)
        for key, value in made.facts.items():
            if value != known.facts[key]:
                message = f"{value}, of the same artefact in {known.path} {known.facts[key]}"
                yield case.error("weights", f"{name}.{key} is {message}")
        if made.artefact != known.artefact:
            message = f"{name}.artefact has the digest of one in {known.path}, but other weights"
            yield case.warning("weights", message)
        for key in made.making.keys() & known.making.keys():
            if made.making[key] != known.making[key]:
                message = f"{name}.phases.{key} is not that of the same artefact in {known.path}"
                yield case.warning("weights", message)

    def _at_hand(self, case: Case, name: str, arm: Arm) -> Iterator[Finding]:
        """What lies in the artefact's folder is what the record says, where it is there."""
        root = (*case.folder.resolve().parents, *4 * (case.folder,))[3]
        folder = root / ".artefacts" / arm.artefact.digest[:16]
        if (found := self._look(folder)) is None:
            self.notes["artefacts not at hand"] += 1
            return
        size, digest, card = found
        field = f"{name}.artefact"
        yield from case.equal("weights", f"{field}.bytes", arm.artefact.bytes, size)
        yield from case.equal("weights", f"{field}.sha256", arm.artefact.sha256, digest)
        if card is None:
            return
        for key in ("nonzero_parameters", *FACTS):
            value = getattr(arm, key)
            plain = {k: list(v) for k, v in value.items()} if isinstance(value, dict) else value
            yield from case.equal("card", f"{name}.{key}, held against {CARD},", plain, card[key])
        for key, phase in card["phases"].items():
            if key not in arm.phases:
                continue
            there, here = codec.decode(Phase, phase), arm.phases[key]
            if is_elsewhere(here):
                there, here = (dataclasses.replace(one, readings=()) for one in (there, here))
            if there != here:
                yield case.error("card", f"{name}.phases.{key} is not that of {CARD}")

    def _look(self, folder: Path) -> tuple[int, str, Any] | None:
        """Return size and SHA-256 of an artefact's weights and its card; each file is read once."""
        if folder not in self._made:
            self._made[folder] = None
            try:
                with (folder / WEIGHTS).open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = (folder / WEIGHTS).stat().st_size
                card = json.loads((folder / CARD).read_text()) if (folder / CARD).exists() else None
                self._made[folder] = (size, digest, card)
            except (OSError, ValueError):
                pass  # counted as not at hand
        return self._made[folder]


def _versions(members: list[Member]) -> Iterator[Finding]:
    versions = Counter(member.version for member in members)
    usual, _ = max(versions.items(), key=lambda item: (item[1], item[0]))
    for member in members:
        if member.version != usual:
            message = f"measuring_version is {member.version}, of others of its kind {usual}"
            yield Finding(member.path, "version", "warning", message)


def _noise_floor(members: list[Member]) -> Iterator[Finding]:
    floors = sorted((m for m in members if m.technique == "none"), key=lambda m: m.created)
    others = [m for m in members if m.technique != "none"]
    for floor in floors:
        if floor.valid and not floor.contains_one.get(floor.lead, True):
            message = "the A/A pair's interval does not contain 1: this host shows what is not"
            yield Finding(floor.path, "A/A", "warning", message)
    if others and not floors:
        message = "there is no A/A pair of its workload, host, protocol and runtime"
        yield Finding(others[0].path, "A/A", "warning", f"{message} ({len(others)} records)")
        return
    for member in others:
        before = [
            floor
            for floor in floors
            if (floor.created < member.created and floor.valid and floor.recipe == member.recipe)
            and (floor.version == member.version and member.lead in floor.contains_one)
        ]
        # An A/A pair that was measured anew has replaced the one that the verdict was built on.
        if not before:
            continue
        contains_one = before[-1].contains_one[member.lead]
        wanted = None if contains_one else NOISE_FLOOR_OFF
        given = next(
            (w for w in (NO_NOISE_FLOOR, NOISE_FLOOR_OFF) if w in (member.reason or "")), None
        )
        if (member.headline or given is not None) and given != wanted:
            message = (
                f"verdict.reason is {member.reason!r}, but the interval of the A/A pair "
                f"{before[-1].path} {'contains' if contains_one else 'excludes'} 1"
            )
            yield Finding(member.path, "verdict", "error", message)
