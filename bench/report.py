"""Rebuild the tables from the records: ``python -m bench.report``.

Needs neither torch nor Hydra, so that a laptop can do it from a copy of ``results/``.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench import store
from bench.reporting import tables
from bench.reporting.columns import TableError

COMMAND = "python -m bench.report"
"""What the first line of every table names, whoever builds it: equal records, equal bytes."""

DEFAULTS = {"store.root": "results", "paper.root": "paper"}
_FREE_BYTES = 10_000_000
_HELP = f"""\
Rebuild the tables of the paper from the records.

usage: {COMMAND} [store.root=DIR] [paper.root=DIR] [-q]

  store.root=DIR   folder of the records (default: {DEFAULTS["store.root"]})
  paper.root=DIR   folder whose tables/ is written (default: {DEFAULTS["paper.root"]})
  -q, --quiet      write the tables without printing them
  -h, --help       this text
"""


class UsageError(ValueError):
    """A word on the command line that means nothing here; the message says what would."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was built.

    Attributes:
        collection: The records it was built from, and what was set aside.
        files: The tables that were written; none if there are no records.
    """

    collection: store.Collection
    files: tuple[Path, ...]


def build(results: Path, paper: Path) -> Report:
    """Write the tables of all records below ``results`` to ``paper/tables``.

    Without any record nothing is written, and tables that stand there are left alone.

    Raises:
        StoreError: The results cannot be read, or the paper cannot be written.
        TableError: A table would show joules of two grades in one column.
    """
    collection = store.read_all(results)
    if not collection.records:
        return Report(collection, ())
    out = paper / "tables"
    store.check_writable(out, _FREE_BYTES, key="paper.root")
    files = tables.write(collection.records, collection.set_aside, out, COMMAND)
    return Report(collection, tuple(files))


def main(words: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    if {"-h", "--help"} & set(words):
        print(_HELP, end="")
        return 0
    try:
        folders, quiet = _parse(words)
        report = build(folders["store.root"], folders["paper.root"])
    except UsageError as err:
        print(f"{err}\n\n{_HELP}", end="", file=sys.stderr)
        return 2
    except (store.StoreError, TableError) as err:
        print(err, file=sys.stderr)
        return 1
    if not report.files:
        print(_nothing(folders["store.root"], report.collection), file=sys.stderr)
        return 1
    if not quiet:
        _show(report)
    return 0


def _parse(words: Sequence[str]) -> tuple[dict[str, Path], bool]:
    folders = {key: Path(folder) for key, folder in DEFAULTS.items()}
    quiet = False
    for word in words:
        key, equals, folder = word.partition("=")
        if word in ("-q", "--quiet"):
            quiet = True
        elif key in folders and folder:
            folders[key] = Path(folder)
        elif key in folders:
            raise UsageError(f"{word!r} names no folder: write {key}=DIR")
        else:
            known = [*(f"{name}=DIR" for name in folders), "--quiet", "--help"]
            near = difflib.get_close_matches(f"{key}=DIR" if equals else word, known, n=1, cutoff=0)
            raise UsageError(f"{word!r} is not known here; nearest: {near[0]}")
    return folders, quiet


def _show(report: Report) -> None:
    # A console that cannot print a dash gets a question mark, not a traceback.
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    console = Console(highlight=False)
    console.print(tables.terminal(report.collection.records, report.collection.set_aside))
    console.print(f"Written: {', '.join(str(path) for path in report.files)}", soft_wrap=True)


def _nothing(root: Path, collection: store.Collection) -> str:
    lines = [f"No record in store.root={root}: nothing to report."]
    lines += [f"Set aside: {path} ({reason})" for path, reason in collection.set_aside]
    lines.append(f"Measure a pair first: python -m bench store.root={root}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
