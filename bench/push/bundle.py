"""What is published of one run, found, checked against the record, and laid out.

    README.md                                            the card
    model.safetensors                                    the variant's weights: tensors, no code
    results/<host>/<workload>/<technique>/<run>/...      the record and its files, as measured

The third part lies as in a folder of results, so that whoever downloads it can check it with
``python -m bench.validate results``.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import store
from bench.push import card, overrides
from bench.records import Artefact, Record, RecordError

CARD = "README.md"
WEIGHTS = "model.safetensors"
ARTEFACTS = ".artefacts"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_HEXADECIMAL = re.compile(r"[0-9a-f]{64}")
_LONGEST = 60
"""Characters of a run's name before its seed and digest; a name on the hub may have 96."""


class PushError(RuntimeError):
    """Something that cannot be published; the message says why and the way out."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A run, ready to be published.

    Attributes:
        name: Of the run, as the hub takes names.
        card: Text of ``README.md``.
        files: Where the rest lies here, by its path there.
    """

    name: str
    card: str
    files: Mapping[str, Path]

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of every file by its path there, the card first."""
        found = {there: here.stat().st_size for there, here in self.files.items()}
        return {CARD: len(self.card.encode()), **found}


def bundled(word: str, artefacts: Path | None = None) -> Bundle:
    """Return what is published of a run, each file as the record knows it.

    Args:
        word: Folder of one pair, or its ``record.json``.
        artefacts: Folder of the trained models; ``None`` looks in the results that the pair is in.

    Raises:
        PushError: There is no record, it must not be published, or a file is not the record's.
    """
    path = Path(word) if Path(word).name == store.RECORD else Path(word) / store.RECORD
    record = _record(path)
    _require_publishable(record)
    place = "/".join(("results", *_parts(record)))
    files = {f"{place}/{store.RECORD}": path}
    for name, digest in sorted(record.files.items()):
        if not _PLAIN.fullmatch(name) or not name.endswith(".parquet"):
            raise PushError(f"{path} names the file {name!r}, which no measurement writes")
        files[f"{place}/{name}"] = _checked(path.parent / name, digest)
    weights = _weights(record.variant.artefact, path, artefacts)
    text = card.text(record, place, overrides.command(record))
    return Bundle(_name(record), text, {WEIGHTS: weights, **files})


def written(bundle: Bundle, folder: Path) -> Path:
    """Write what would be uploaded, all of it or nothing, and return the folder.

    Raises:
        PushError: Something is there already, or it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PushError(f"--dry-run {folder}: something is there already; give a new folder")
    whole = folder.resolve()
    half = whole.with_name(f".{whole.name}.writing-{os.getpid()}")
    try:
        half.mkdir(parents=True)
        (half / CARD).write_text(bundle.card, encoding="utf-8", newline="\n")
        for there, here in bundle.files.items():
            (half / there).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(here, half / there)
        half.replace(whole)
    except OSError as err:
        raise PushError(f"{folder} cannot be written: {err.strerror or err}") from err
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return folder


def _record(path: Path) -> Record:
    meant = f"give the folder of one pair, the one with its {store.RECORD}"
    try:
        return store.read(path)
    except OSError as err:
        raise PushError(f"{path} cannot be read: {err.strerror}; {meant}") from err
    except RecordError as err:
        raise PushError(f"{path} is no record: {err}; {meant}") from err


def _require_publishable(record: Record) -> None:
    """Refuse what never enters a table either."""
    if record.rehearsal:
        raise PushError(
            f"{record.id!r} is a rehearsal, whose figures mean nothing; measure it with "
            f"protocol=smoke or protocol=paper"
        )
    if any(comparison.grade == "S" for comparison in record.comparisons):
        raise PushError(
            f"{record.id!r} holds simulated joules (grade S), which are for tests alone"
        )


def _parts(record: Record) -> tuple[str, ...]:
    """Return host, workload, technique and run, which are folders of the repository."""
    parts = (record.host, *record.id.split("/"))
    for part in parts:
        if not _PLAIN.fullmatch(part) or ".." in part:
            raise PushError(
                f"{part!r} is part of the record's id and would be a folder on the hub: measure "
                f"again under a name of letters, digits and . _ + - (store.host, workload.name, "
                f"technique.name)"
            )
    if len(parts) != 4:
        raise PushError(f"the record's id is {record.id!r}: workload/technique/run is meant")
    return parts


def _name(record: Record) -> str:
    """Return a run's name as the hub takes it: letters, digits, single dots and dashes."""
    _, workload, technique, run = _parts(record)
    stem = f"joulebench-{workload}-{technique}"[:_LONGEST]
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", f"{stem}-{run}")
    return re.sub(r"[.-]*([.-])", r"\1", plain).strip(".-")


def _weights(artefact: Artefact, path: Path, artefacts: Path | None) -> Path:
    if not _HEXADECIMAL.fullmatch(artefact.digest):
        raise PushError(f"{path}: variant.artefact.digest is {artefact.digest!r}, no SHA-256")
    if artefacts is None:
        # <root>/<host>/<workload>/<technique>/<run>/record.json
        above = path.resolve().parents
        artefacts = above[min(4, len(above) - 1)] / ARTEFACTS
    weights = artefacts / artefact.digest[:16] / WEIGHTS
    if not weights.is_file():
        raise PushError(
            f"the model of this run is not in {artefacts} ({artefact.digest[:16]}): --artefacts "
            f"DIR names the folder of the trained models (store.artefacts of the measurement)"
        )
    _require_tensors(_checked(weights, artefact.sha256))
    return weights


def _checked(file: Path, digest: str) -> Path:
    """Return a file whose content is the one that the record speaks of."""
    try:
        with file.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as err:
        raise PushError(f"{file} cannot be read: {err.strerror}") from err
    if found != digest:
        raise PushError(
            f"{file} is not the file that the record speaks of: its SHA-256 is {found[:16]}..., "
            f"the record has {digest[:16]!r}...; measure again, or ask python -m bench.validate"
        )
    return file


def _require_tensors(weights: Path) -> None:
    """Refuse weights in any other format than safetensors: they might be code."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as err:
        raise PushError("safetensors is not installed: pip install safetensors") from err
    try:
        with safe_open(weights, framework="numpy"):
            pass
    except SafetensorError as err:
        raise PushError(f"{weights} is no safetensors file, and nothing else is uploaded") from err
