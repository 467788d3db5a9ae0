"""The command: the tests of this checkout, measured against those of a base commit.

Exit status: pytest's own (1 if a check or a test fails), 2 for an error, 3 if the base could not be
measured, or not to the end, or not anew where it should have been, 130 if interrupted.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.ci import outputs, worktree
from bench.ci.contest import Job
from bench.ci.parties import Call, PartyError
from bench.ci.referee import Referee
from bench.interruption import BROKEN_OFF

PROGRAM = "python -m bench.ci"
ERROR, NOTHING_COMPARED = 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return the exit status.

    Args:
        arguments: Command line; ``sys.argv`` if left out.
    """
    parser = _parser()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--" not in given and not {"-h", "--help"} & set(given):
        parser.error("the tests come after two dashes: -- pytest tests")
    split = given.index("--") if "--" in given else len(given)
    options, command = parser.parse_args(given[:split]), given[split + 1 :]
    if not command:
        parser.error("after the two dashes comes the command: -- pytest tests")
    if not hasattr(socket, "AF_UNIX"):
        parser.error("two sides talk over a Unix socket, which this platform lacks")
    try:
        return _run(options, command)
    except (worktree.GitError, PartyError, OSError) as err:
        print(f"{PROGRAM}: {err}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        return BROKEN_OFF


def _run(options: argparse.Namespace, command: list[str]) -> int:
    if options.markdown is not None:  # now, not after all has been measured
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.open("a").close()
    here = Path.cwd().resolve()
    head = worktree.top_of(here)
    base = worktree.base_of(head, options.against)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="joules-")))
        tree = stack.enter_context(worktree.checked_out(head, base.commit, folder / "base"))
        job = _job(command, here, head, tree, folder, base, options.prepare)
        referee = Referee(job)
        status = referee.run()
    table = outputs.markdown(referee.results, f"Energy checks against {base.name}")
    print(f"\n{table}")
    if options.markdown is not None:
        with options.markdown.open("a", encoding="utf-8") as file:
            file.write(f"{table}\n")
    if referee.trouble is not None:
        print(f"{PROGRAM}: the base could not be measured: {referee.trouble}", file=sys.stderr)
        return status or NOTHING_COMPARED
    return status


def _job(
    command: list[str],
    here: Path,
    head: Path,
    tree: Path,
    folder: Path,
    base: worktree.Base,
    prepare: str | None,
) -> Job:
    there = tree / here.relative_to(head)
    if there.is_dir() and prepare is not None:
        _prepare(prepare, there)

    def silent(hello: dict[str, Any]) -> dict[str, Call] | None:
        root = worktree.root_of_base(hello, head, tree)
        if not there.is_dir() or (root is not None and not root.is_dir()):
            return None
        words = worktree.silenced(command)
        translated = worktree.command_of_base(words, here, head, tree)
        environment = worktree.environment_of_base(hello, head, tree)
        return {
            "head": Call(words, here, head, tree, worktree.environment_of_head(hello)),
            "base": Call(translated, there, tree, head, environment),
        }

    changed = worktree.changed_files(head, base.commit)
    if not changed:
        print(f"{PROGRAM}: no file differs from {base.name}: expect ratios of 1", file=sys.stderr)
    mine = Call(command, here, head, tree, dict(os.environ))
    return Job(mine, silent, base.name, changed, folder)


def _prepare(command: str, folder: Path) -> None:
    """Run the user's command in the base's worktree, e.g. to build what is compiled."""
    try:
        status = subprocess.run(shlex.split(command), cwd=folder, check=False).returncode
    except (OSError, ValueError) as err:  # no such program; quotes that do not end
        raise PartyError(f"--prepare={command!r} cannot be run: {err}") from err
    if status != 0:
        raise PartyError(f"--prepare={command!r} ended with status {status} on the base")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} --against REF [options] -- pytest ...",
        description="Measure every joules.measure(...) of this checkout and of a base commit in "
        "turns, in one job on one machine, and print a table for the pull request. Everything "
        "after the two dashes is your own test command; --joules-fail=ratio:1.05 among it makes "
        "it a gate. Exit status: pytest's own, 2 for an error, 3 if the base could not be "
        "measured, or not to the end.",
    )
    parser.add_argument(
        "--against",
        metavar="REF",
        required=True,
        help="branch, tag or commit; the base is where this checkout left it (merge base)",
    )
    parser.add_argument(
        "--prepare",
        metavar="COMMAND",
        help="run in the base's worktree before its tests, without a shell, e.g. to build an "
        "extension module in place; 'sh -c \"...\"' for several",
    )
    parser.add_argument(
        "--markdown",
        metavar="FILE",
        type=Path,
        help='append the table to a file, e.g. "$GITHUB_STEP_SUMMARY"',
    )
    return parser


if __name__ == "__main__":
    # A job that is cancelled takes its worktree with it.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(main())
