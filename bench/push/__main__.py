"""The command. Exit status 0 if the run was uploaded, 1 for an error, 2 for a wrong line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.push import Bundle, PushError, Target, bundled, uploaded, written
from bench.reporting.cells import amount


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish one run and say what was uploaded; return the exit status.

    Args:
        arguments: Command line; ``sys.argv`` if left out.
    """
    options = _parser().parse_args(arguments)
    target = Target(options.repo, options.revision, options.public)
    try:
        bundle = bundled(options.record, options.artefacts)
        if options.dry_run is not None:
            done = f"Written to {written(bundle, options.dry_run)}, nothing uploaded:"
        else:
            where = uploaded(bundle, target, options.quiet)
            seen = "private" if where.private else "for all to see"
            done = f"Uploaded to {where.address} ({seen}; {where.repository}, {where.revision}):"
    except PushError as err:
        print(f"joulebench: {err}", file=sys.stderr)
        return 1
    if not options.quiet:
        print("\n".join((done, *_listed(bundle))))
        print("The record names this machine, its libraries and its folders as they are.")
    return 0


def _listed(bundle: Bundle) -> list[str]:
    return [f"  {name} ({amount(size, 'B')})" for name, size in bundle.sizes.items()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.push",
        description="Upload one run to the Hugging Face hub: the variant's weights (safetensors "
        "only), the record with its files, and a model card with joules, intervals, how to measure "
        "it again and what the joules do not cover. Private, in a repository of its own, unless "
        "told otherwise. Exit status 0 if it was uploaded, 1 for an error, 2 for a wrong command "
        "line.",
    )
    parser.add_argument("record", metavar="RECORD", help="folder of one pair, with its record.json")
    parser.add_argument(
        "--repo",
        metavar="OWNER/NAME",
        help="repository that holds several runs, each in a revision of its own; made if need be",
    )
    parser.add_argument(
        "--revision", metavar="NAME", help="branch to upload to, such as main; made if need be"
    )
    parser.add_argument(
        "--public", action="store_true", help="for all to see, also in a repository that is"
    )
    parser.add_argument(
        "--artefacts",
        metavar="DIR",
        type=Path,
        help="folder of the trained models (default: .artefacts in the results of the record)",
    )
    parser.add_argument(
        "--dry-run", metavar="DIR", type=Path, help="write the same folder here instead"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing unless it fails")
    return parser


if __name__ == "__main__":
    sys.exit(main())
