"""The two things that are compared: a record, a folder of results, or a commit that holds some."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from bench import collection, flat, store
from bench.collection import SetAside
from bench.records import RecordError

if TYPE_CHECKING:
    import pandas

RESULTS = "results"
_MEANT = (
    "give the folder of one pair, a folder of results, or a commit of this repository "
    f"(COMMIT, or COMMIT:DIR where the records are not in {RESULTS}/)"
)


class CompareError(ValueError):
    """Something that cannot be compared; the message says what was given and what would do."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """What is on one side.

    Attributes:
        name: As it was given.
        what: What it turned out to be: ``record``, ``folder``, ``commit 0123456789ab``.
        pairs: Its records as rows of ``flat.SCHEMA``, at least one.
        set_aside: What among them could not be read.
    """

    name: str
    what: str
    pairs: pandas.DataFrame
    set_aside: tuple[SetAside, ...] = ()

    @property
    def single(self) -> bool:
        """Whether one record was asked for and not whatever lies in a folder."""
        return self.what == "record"


def opened(word: str) -> Side:
    """Return what a word on the command line names; a path goes before a commit.

    Raises:
        CompareError: It names nothing, or nothing that holds a record.
        StoreError: A folder that cannot be read.
    """
    path = Path(word)
    if path.name == store.RECORD or (path / store.RECORD).is_file():
        return _record(word, path if path.name == store.RECORD else path / store.RECORD)
    if path.is_dir():
        return _filled(word, "folder", collection.read(path))
    if path.exists():
        raise CompareError(f"{word} is a file but no {store.RECORD}: {_MEANT}")
    return _commit(word)


def _record(word: str, path: Path) -> Side:
    try:
        row = flat.row(store.read(path), path.parent.as_posix())
    except OSError as err:
        raise CompareError(f"{path} cannot be read: {err.strerror}. {_MEANT}") from err
    except RecordError as err:
        raise CompareError(f"{path} is no record: {err}. {_MEANT}") from err
    return Side(word, "record", pa.Table.from_pylist([row], flat.SCHEMA).to_pandas())


def _filled(word: str, what: str, found: collection.Collection) -> Side:
    if len(found.pairs):
        return Side(word, what, found.pairs, found.set_aside)
    aside = "".join(f"\n  set aside: {path.as_posix()} ({why})" for path, why in found.set_aside)
    raise CompareError(f"{word} ({what}) holds no record: {_MEANT}{aside}")


def _commit(word: str) -> Side:
    revision, _, folder = word.partition(":")
    folder = folder.strip("/") or RESULTS
    try:
        top = _git("rev-parse", "--show-toplevel").decode().strip()
    except CompareError as err:
        raise CompareError(
            f"{word} is no path, and no commit either: {err}. {_MEANT}, from inside the repository"
        ) from err
    try:
        asked = ("--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        commit = _git("rev-parse", *asked).decode().strip()
    except CompareError as err:
        raise CompareError(f"{word} is neither a path nor a commit of {top}: {_MEANT}") from err
    what = f"commit {commit[:12]}"
    listed = _git("-C", top, "ls-tree", "-r", "-z", "--name-only", commit, "--", folder)
    records = [n for n in listed.decode().split("\0") if n.rpartition("/")[2] == store.RECORD]
    if not records:
        raise CompareError(
            f"{word} ({what}) holds no record below {folder}/: records are compared by commit only "
            f"where they were committed (git add {folder}). Otherwise {_MEANT}"
        )
    only_records = f":(top,glob){folder}/**/{store.RECORD}"
    packed = _git("-C", top, "archive", "--format=tar", commit, "--", only_records)
    with tempfile.TemporaryDirectory() as scratch:
        _unpack(packed, Path(scratch))
        return _filled(word, what, collection.read(Path(scratch, folder)))


def _unpack(packed: bytes, place: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                path = place / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())


def _git(*arguments: str) -> bytes:
    # Without optional locks git only reads.
    command = ["git", "--no-optional-locks", *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True).stdout
    except FileNotFoundError as err:
        raise CompareError("git is not installed") from err
    except subprocess.CalledProcessError as err:
        said = err.stderr.decode(errors="replace").strip().splitlines()
        raise CompareError(said[0] if said else f"git {arguments[0]} failed") from err
