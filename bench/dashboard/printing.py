"""One report, made in a process of its own.

``python -m bench.dashboard.printing RESULTS FOLDER KIND``: FOLDER holds ``folders.json``, the pairs
that are meant, and gets ``report.pdf`` or ``report.html``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import report, store
from bench.dashboard import standalone
from bench.reporting.pairs import TableError
from bench.reporting.selection import Records


def main(words: Sequence[str]) -> int:
    """Make it and return the exit status; what is wrong is on the last line of the errors."""
    results, scratch, kind = Path(words[0]), Path(words[1]), words[2]
    try:
        folders = json.loads((scratch / "folders.json").read_text(encoding="utf-8"))
        records = only(report.read(results), folders)
        if not records.enter:
            print("none of these pairs may enter a report", file=sys.stderr)
            return 1
        if kind == "pdf":
            report.build(records, scratch, pdf=True)
        else:
            (scratch / "report.html").write_text(standalone.page(records), encoding="utf-8")
    except (store.StoreError, TableError, OSError, ValueError) as err:
        print(" ".join(str(err).split()), file=sys.stderr)
        return 1
    return 0


def only(records: Records, folders: Sequence[str]) -> Records:
    """Return the records in these folders."""
    meant = records.pairs["folder"].isin(folders)
    pairs = records.pairs if meant.all() else records.pairs[meant]
    return Records(pairs, records.set_aside, records.results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
