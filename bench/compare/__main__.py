"""The command. Exit status 0 if A and B were compared, 1 for an error, 2 for a wrong command line.

With ``--fail-on-regression`` 3 if any variant is shown to need more than it did.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console

from bench.compare import Compared, CompareError, compare, opened
from bench.compare.shown import COMMAND, as_json, show
from bench.store import StoreError

REGRESSED = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and print; return the exit status.

    Args:
        arguments: Command line; ``sys.argv`` if left out.
    """
    options = _parser().parse_args(arguments)
    try:
        before, after = opened(options.a), opened(options.b)
        found = compare(before, after)
    except (CompareError, StoreError) as err:
        print(err, file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(as_json(before, after, found), indent=1, allow_nan=False))
    else:
        # A console that cannot print an arrow gets a question mark, not a traceback.
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
        show(before, after, found, Console(highlight=False))
    return _judged(found) if options.fail_on_regression else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="What has changed from A to B, by how much, with 95 % intervals. Each of the "
        "two is the folder of one pair, a folder of results, or a commit of this repository "
        "(COMMIT, or COMMIT:DIR where the records are not in results/). Exit status 0 if they were "
        "compared, 1 for an error, 2 for a wrong command line.",
    )
    parser.add_argument("a", metavar="A", help="what was measured before")
    parser.add_argument("b", metavar="B", help="what was measured after")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument(
        "--fail-on-regression",
        action="store_true",
        help=f"exit status {REGRESSED} if the interval of any change of counted joules, or of "
        "seconds where there are no joules, lies wholly above 1",
    )
    return parser


def _judged(found: Compared) -> int:
    unjudged = [row for row in found.rows if not row.judged]
    if unjudged:
        print(
            f"--fail-on-regression: {len(unjudged)} of {len(found.rows)} rows cannot be judged, "
            "since their ratios could not be divided",
            file=sys.stderr,
        )
        if len(unjudged) == len(found.rows):
            return 1
    return REGRESSED if any(row.regressed for row in found.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
