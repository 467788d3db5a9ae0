"""The command. Exit status 0 if a hardware sensor (grade B) is there and sound.

Else 1; 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.doctor import calibration, kept
from bench.doctor.examination import examine
from bench.doctor.shown import show


def main(arguments: Sequence[str] | None = None) -> int:
    """Examine and print, or calibrate; return the exit status.

    Args:
        arguments: Command line; ``sys.argv`` if left out.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.calibrate is not None:
        return _calibrate(parser, options)
    if options.idle_w is not None or options.full_load_w is not None:
        parser.error("--idle-w and --full-load-w belong to --calibrate FILE")
    findings = examine(quick=options.quick)
    try:
        kept.keep(findings)
    except OSError as err:
        print(f"the findings are not kept for records: {err}", file=sys.stderr)
    if options.json:
        print(json.dumps(findings, indent=1, sort_keys=True))
    else:
        show(findings, Console())
    return 0 if findings["measured"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.doctor",
        description="Which joules can be had on this machine, and what is in the way. Exit status "
        "0 if a hardware sensor (grade B) is there and sound, else 1.",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument(
        "--quick", action="store_true", help="leave out the minute of checks under load"
    )
    parser.add_argument(
        "--calibrate",
        metavar="FILE",
        type=Path,
        help="write idle and full-load watts, for meter.codecarbon.calibration; without the two "
        "options below it idles and works while you read a wall meter",
    )
    parser.add_argument("--idle-w", type=float, metavar="W", help="watts of the idle machine")
    parser.add_argument("--full-load-w", type=float, metavar="W", help="watts with all cores busy")
    parser.add_argument("--source", metavar="TEXT", help="where those watts are from")
    return parser


def _calibrate(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    given = (options.idle_w, options.full_load_w)
    if (given[0] is None) != (given[1] is None):
        parser.error("--idle-w and --full-load-w are given both or not at all")
    try:
        if given[0] is None:
            idle_w, full_load_w = calibration.ask(print, input, calibration.SETTLE_S)
            source = options.source or "wall meter, read by hand"
        else:
            idle_w, full_load_w = given
            source = options.source or "given by hand"
        calibration.write(options.calibrate, idle_w, full_load_w, source)
    except (calibration.CalibrationError, OSError) as err:
        parser.error(str(err))
    print(f"meter.codecarbon.calibration={options.calibrate} uses {idle_w:g} to {full_load_w:g} W")
    return 0


if __name__ == "__main__":
    sys.exit(main())
