"""The command. Exit status 0 if all is well, 1 if there is an error, 2 for a wrong command line."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.progress import QUIET
from bench.validate.examination import Examined, examine


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the records and print what was found; return the exit status.

    Args:
        arguments: Command line; ``sys.argv`` if left out.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    root = Path(str(options.results).removeprefix("store.root="))
    if not root.is_dir():
        parser.error(f"{root} is no folder: give the folder of the records")
    if options.quiet:
        os.environ[QUIET] = "1"
    found = examine(root, options.strict)
    if options.json:
        print(json.dumps(dataclasses.asdict(found), indent=1, sort_keys=True))
    else:
        _show(found, options.quiet)
    if not found.records:
        print(f"No record below {root}: nothing was checked.", file=sys.stderr)
    return int(found.count("error") > 0 or not found.records)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.validate",
        description="Check that every record follows from the files beside it: digests, windows, "
        "ratios, intervals, accuracies, conditions, verdicts. Exit status 0 if no error is found, "
        "else 1.",
    )
    parser.add_argument(
        "results",
        metavar="DIR",
        nargs="?",
        default="results",
        help="folder of the records, or any folder in it (default: results)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="for a submission: warnings are errors"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="no progress and no summary, findings only"
    )
    return parser


def _show(found: Examined, quiet: bool) -> None:
    # A console that cannot print a sign gets a question mark, not a traceback.
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    for path, findings in itertools.groupby(found.findings, key=lambda finding: finding.path):
        print(path)
        for finding in findings:
            print(f"  {finding.severity:<7}  {finding.check}: {finding.message}")
    if quiet:
        return
    with_findings = len({finding.path for finding in found.findings})
    print(
        f"{found.records} records and {found.files} files checked: {found.count('error')} errors "
        f"and {found.count('warning')} warnings in {with_findings} folders"
    )
    for note, count in found.notes.items():
        if count:
            print(f"  {note}: {count}")


if __name__ == "__main__":
    sys.exit(main())
