"""The base commit in a folder of its own, and the user's command as it is run there."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.ci import origins

log = logging.getLogger(__name__)

_JSON = "--benchmark-json"


class GitError(RuntimeError):
    """The base cannot be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Base:
    """What a commit is measured against.

    Attributes:
        commit: Its hash.
        name: As people call it: ``origin/main at 1a2b3c4d5e``.
    """

    commit: str
    name: str


def top_of(folder: Path) -> Path:
    """Return the root of the checkout that a folder lies in.

    Raises:
        GitError: It lies in none.
    """
    return Path(_git(folder, "rev-parse", "--show-toplevel")).resolve()


def base_of(top: Path, reference: str) -> Base:
    """Return where the checked-out commit left ``reference``: their merge base.

    Raises:
        GitError: There is no such commit here.
    """
    try:
        tip = _git(top, "rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}")
    except GitError as err:
        raise GitError(
            f"--against={reference}: there is no such commit in this clone. A shallow clone has "
            "only one: `git fetch --unshallow`, or fetch-depth: 0 for actions/checkout"
        ) from err
    try:
        commit = _git(top, "merge-base", "HEAD", tip)
    except GitError:
        log.warning(
            "--against=%s: this clone does not reach back to where the checkout left it. Its tip "
            "is the base, with all that was merged since: fetch-depth: 0 for actions/checkout",
            reference,
        )
        return Base(tip, f"{reference} at {tip[:10]}, its tip")
    return Base(commit, f"{reference} at {commit[:10]}")


@contextmanager
def checked_out(top: Path, commit: str, folder: Path) -> Iterator[Path]:
    """Give a worktree of a commit, which is gone afterwards.

    Args:
        top: Root of the checkout.
        commit: Of the base.
        folder: Where it shall lie; does not exist yet.
    """
    _git(top, "worktree", "add", "--quiet", "--detach", str(folder), commit)
    try:
        yield folder.resolve()
    finally:
        try:
            _git(top, "worktree", "remove", "--force", str(folder))
        except GitError as err:  # what was measured counts all the same
            log.warning("the base's worktree is left at %s: %s", folder, err)


def changed_files(top: Path, commit: str) -> frozenset[str]:
    """Return what differs between a commit and the files as they are, relative to ``top``.

    What git neither knows nor ignores is among it.
    """
    words = _git(top, "diff", "-z", "--name-only", "--no-renames", commit).split("\0")
    words += _git(top, "ls-files", "-z", "--others", "--exclude-standard", "--full-name").split(
        "\0"
    )
    return frozenset(filter(None, words))


def silenced(words: Sequence[str]) -> list[str]:
    """Return words of a command without the file that pytest-benchmark writes, which is the head's.

    Before its version 5.3 it opens the file while it reads the words: empties it, or gives up in a
    worktree without its folder.
    """
    kept = []
    rest = iter(words)
    for word in rest:
        if word == _JSON:
            next(rest, None)
        elif not word.startswith(f"{_JSON}="):
            kept.append(word)
    return kept


def command_of_base(command: Sequence[str], here: Path, head: Path, base: Path) -> list[str]:
    """Return the user's command as the base runs it, in the base's folder.

    Relative paths mean the base's files there, and absolute ones below the checkout are rewritten,
    whatever option they belong to. What of the tests the base has, its pytest finds out
    (``worker``). A program that is named by its path stays the head's, as does all that lies in an
    environment.

    Args:
        command: With its arguments.
        here: Folder from which the user called.
        head: Root of the user's checkout.
        base: Root of the base's worktree.
    """
    program = command[0]
    if os.sep in program:
        program = str(here / program)  # not resolved: a link may lead out of an environment
    return [program, *(_moved(word, head, base) for word in command[1:])]


def _moved(word: str, head: Path, base: Path) -> str:
    """Return a word with the base's folder for the checkout's, at its start or after its ``=``."""
    before, sign, named = ("", "", word) if Path(word).is_absolute() else word.partition("=")
    name, colons, test = named.partition("::")
    path = Path(name).resolve()  # of a program in an environment, out of the checkout
    if not Path(name).is_absolute() or not origins.within(path, head):
        return word
    return f"{before}{sign}{base / path.relative_to(head)}{colons}{test}"


def environment_of_base(hello: Mapping[str, Any], head: Path, base: Path) -> Mapping[str, str]:
    """Return the environment in which the base finds its own code first, and names tests alike.

    Whatever of the head's tree is on the head's path, by an editable install or PYTHONPATH, is on
    the base's as well, in front and with the base's files. Names of tests begin at pytest's root.

    Args:
        hello: What the head's pytest says of itself: ``path`` is its ``sys.path``, ``root`` its
            root, ``covers`` whether it measures coverage, which no silent side shall.
        head: Root of the user's checkout.
        base: Root of the base's worktree.
    """
    paths = [Path(word).resolve() if word else head for word in hello["path"]]
    mirrored = [str(base / path.relative_to(head)) for path in paths if origins.within(path, head)]
    inherited = [word for word in os.environ.get("PYTHONPATH", "").split(os.pathsep) if word]
    folders = dict.fromkeys([*mirrored, str(base / "src"), str(base), *inherited])
    options = _addopts(hello)
    if (root := root_of_base(hello, head, base)) is not None:
        options.insert(0, f"--rootdir={root}")  # the user's own wins
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(folders),
        "PYTEST_ADDOPTS": shlex.join(options),
    }


def root_of_base(hello: Mapping[str, Any], head: Path, base: Path) -> Path | None:
    """Return the folder from which the base names tests; ``None`` if the head's is not of its tree.

    It may not be there: then the base has nothing of what the head tests.
    """
    root = Path(hello["root"]).resolve()
    return base / root.relative_to(head) if root.is_relative_to(head) else None


def environment_of_head(hello: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the environment of fresh processes of the head, which cover as little as the base."""
    return {**os.environ, "PYTEST_ADDOPTS": shlex.join(_addopts(hello))}


def _addopts(hello: Mapping[str, Any]) -> list[str]:
    options = silenced(shlex.split(os.environ.get("PYTEST_ADDOPTS", "")))
    return [*options, "--no-cov"] if hello["covers"] else options


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
        )
    except FileNotFoundError as err:
        raise GitError("git is not installed, and the base commit cannot be had without") from err
    except subprocess.CalledProcessError as err:
        raise GitError(f"git {words[0]}: {err.stderr.strip() or err}") from err
    return done.stdout.strip()
