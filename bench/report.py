"""Build tables, figures and numbers of the paper from the records: ``python -m bench.report``.

Needs neither torch nor Hydra, so that a laptop can do it from a copy of ``results/``.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench import collection, store
from bench.reporting import specs, tables
from bench.reporting.pairs import TableError, left_out
from bench.reporting.rows import COMMAND
from bench.reporting.selection import Records
from bench.reporting.terminal import TerminalTable

DEFAULTS = {"store.root": "results", "paper.root": "paper"}

MOST_SHOWN = 40
"""Pairs that a terminal shows one by one; more are shown pooled."""

_POOLED = "energy"
_FREE_BYTES = 50_000_000
_HELP = f"""\
Build the tables, figures and numbers of the paper from the records.

usage: {COMMAND} [store.root=DIR] [paper.root=DIR] [table=NAME] [--pdf] [-q]

  store.root=DIR   folder of the records (default: {DEFAULTS["store.root"]})
  paper.root=DIR   folder that is written to (default: {DEFAULTS["paper.root"]})
  table=NAME       build and print one table only: {", ".join(specs.tables())}, or a YAML file
  --pdf            set report.pdf as well; needs no TeX
  -q, --quiet      write without printing
  -h, --help       this text
"""


class UsageError(ValueError):
    """A word on the command line that means nothing here; the message says what would."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was built.

    Attributes:
        files: What was written, by folder of the paper and kind.
        left_out: What could not be built from these records, with the reason.
    """

    files: tuple[Path, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line asks for."""

    results: Path
    paper: Path
    table: str | None
    pdf: bool
    quiet: bool


def read(results: Path) -> Records:
    """Return all records below a folder.

    Raises:
        StoreError: It cannot be read.
    """
    found = collection.read(results)
    return Records(found.pairs, found.set_aside, results)


def write_tables(records: Records, paper: Path, names: Iterable[str] | None = None) -> Report:
    """Write tables of these records to ``paper/tables``.

    Args:
        records: At least one.
        paper: Folder of the paper.
        names: Of the tables, or paths of YAML files; all that are in ``conf/table`` if left out.

    Raises:
        StoreError: The paper cannot be written.
        TableError: A table would pool or show what must not stand together.
    """
    chosen = specs.load_all() if names is None else [specs.load(name) for name in names]
    out = paper / "tables"
    store.check_writable(out, _FREE_BYTES, key="paper.root")
    files = tables.write(records, chosen, out)
    readable = {path.stem for path in files if path.suffix == ".md"}
    plain = {path.stem for path in files} - readable
    left_out = [
        f"{spec.name} has more than {tables.MOST_ROWS} rows, which nobody reads: there is only "
        f"{spec.name}.csv"
        for spec in chosen
        if spec.name in plain
    ]
    left_out += [
        f"table {spec.name}: no record is of what it shows"
        for spec in chosen
        if spec.name not in readable | plain and names is not None
    ]
    return Report(tuple(files), tuple(left_out))


def build(records: Records, paper: Path, pdf: bool = False) -> Report:
    """Write everything that the paper is made of: tables, numbers, method, figures.

    Args:
        records: At least one that enters a report.
        paper: Folder of the paper.
        pdf: Whether to set ``report.pdf`` as well.

    Raises:
        StoreError: The paper cannot be written.
        TableError: A table would pool or show what must not stand together.
    """
    from bench.reporting import figures
    from bench.reporting import paper as text

    made = write_tables(records, paper)
    rows = records.rows()
    drawn = figures.write(rows, records.pairs, records.results, paper / "figures")
    files = [*made.files, *text.write(rows, paper), *drawn.files]
    if pdf:
        from bench.reporting import typeset

        files.append(typeset.write(records, rows, specs.load_all(), drawn.files, paper))
    nothing = (f"figure {name}: {reason.rstrip('.')}" for name, reason in drawn.left_out.items())
    return Report(tuple(files), (*made.left_out, *nothing))


def overview(records: Records) -> TerminalTable:
    """Return the table that a terminal shows: each pair, or techniques where pairs are many."""
    name = tables.PAIRS if len(records.pairs) <= MOST_SHOWN else _POOLED
    return tables.shown(records, specs.load(name))


def overview_of(records: Records, places: Sequence[Path]) -> TerminalTable:
    """Return the table that a run ends with: of the workloads of its records, by their folders.

    Of its own records alone where older ones of these workloads cannot stand beside them. A run
    over several tasks ends with one table over these.

    Raises:
        TableError: Not even its own can stand together.
    """
    folders = [place.relative_to(records.results) for place in places]
    try:
        return _over_tasks_or_pairs(records.under({Path(*f.parts[:2]).as_posix() for f in folders}))
    except TableError:
        return _over_tasks_or_pairs(records.under({folder.as_posix() for folder in folders}))


def _over_tasks_or_pairs(records: Records) -> TerminalTable:
    spec = tables.over_tasks(records)
    return overview(records) if spec is None else tables.shown(records, spec)


def main(words: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    if {"-h", "--help"} & set(words):
        print(_HELP, end="")
        return 0
    try:
        asked = _parse(words)
        return _run(asked)
    except UsageError as err:
        print(f"{err}\n\n{_HELP}", end="", file=sys.stderr)
        return 2
    except (store.StoreError, TableError) as err:
        print(err, file=sys.stderr)
        return 1


def _run(asked: _Asked) -> int:
    records = read(asked.results)
    if not records.enter:
        print(_nothing(asked.results, records), file=sys.stderr)
        return 1
    if asked.table is None:
        built = build(records, asked.paper, asked.pdf)
    else:
        built = write_tables(records, asked.paper, [asked.table])
    if not asked.quiet:
        named = asked.table and tables.shown(records, specs.load(asked.table))
        _show(named or overview(records), built)
    return 0


def _parse(words: Sequence[str]) -> _Asked:
    values = dict(DEFAULTS)
    flags = {"--pdf": False, "--quiet": False}
    for word in words:
        key, equals, value = word.partition("=")
        name = {"-q": "--quiet"}.get(word, word)
        if name in flags:
            flags[name] = True
        elif key in (*DEFAULTS, "table") and value:
            values[key] = value
        elif key in (*DEFAULTS, "table"):
            what = "table: write table=NAME" if key == "table" else f"folder: write {key}=DIR"
            raise UsageError(f"{word!r} names no {what}")
        else:
            known = [*(f"{name}=DIR" for name in DEFAULTS), "table=NAME", *flags, "--help"]
            near = difflib.get_close_matches(f"{key}=DIR" if equals else word, known, n=1, cutoff=0)
            raise UsageError(f"{word!r} is not known here; nearest: {near[0]}")
    if values.get("table") and flags["--pdf"]:
        raise UsageError("--pdf sets the whole report: leave table= away")
    return _Asked(
        results=Path(values["store.root"]),
        paper=Path(values["paper.root"]),
        table=values.get("table"),
        pdf=flags["--pdf"],
        quiet=flags["--quiet"],
    )


def _show(table: TerminalTable, built: Report) -> None:
    # A console that cannot print a dash gets a question mark, not a traceback.
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    console = Console(highlight=False)
    console.print(table)
    for reason in built.left_out:
        console.print(f"Left out: {reason}.", soft_wrap=True)
    if built.files:
        console.print(f"Written: {', '.join(summed_up(built.files))}", soft_wrap=True)


def summed_up(files: Sequence[Path]) -> list[str]:
    """Return files by folder and kind: ``paper/tables/{accuracy,energy}.{md,csv}``."""
    kinds: dict[Path, list[str]] = {}
    for path in files:
        kinds.setdefault(path.with_suffix(""), []).append(path.suffix.removeprefix("."))
    alike: dict[tuple[Path, str], list[str]] = {}
    for stem, ends in kinds.items():
        alike.setdefault((stem.parent, _either(ends)), []).append(stem.name)
    return [f"{folder / _either(names)}.{ends}" for (folder, ends), names in alike.items()]


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{{{','.join(words)}}}"


def _nothing(root: Path, records: Records) -> str:
    lines = [f"No record in store.root={root} that a table may show: nothing to report."]
    lines += [f"Set aside: {path} ({reason})" for path, reason in records.set_aside]
    lines += [
        f"{kind} never enter a table: {', '.join(names)}"
        for kind, names in left_out(records.pairs).items()
    ]
    lines.append(f"Measure a pair first: python -m bench store.root={root}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
