"""The base commit in a folder of its own, and the user's command as it is run there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


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
    except GitError:  # a shallow clone does not know where they parted
        return Base(tip, f"{reference} at {tip[:10]}")
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
        _git(top, "worktree", "remove", "--force", str(folder))


def changed_files(top: Path, commit: str) -> frozenset[str]:
    """Return what differs between a commit and the files as they are, relative to ``top``."""
    return frozenset(_git(top, "diff", "--name-only", "--no-renames", commit).splitlines())


def command_of_base(command: Sequence[str], here: Path, head: Path, base: Path) -> list[str] | None:
    """Return the user's command as the base runs it; ``None`` if it has none of the test files.

    Relative paths mean the base's files, since it runs in the base's folder; absolute ones are
    rewritten; files that it does not have are left out; of ``file::test`` the file is enough, since
    the referee says which tests run. A program that is named by its path stays the head's.

    Args:
        command: With its arguments.
        here: Folder from which the user called.
        head: Root of the user's checkout.
        base: Root of the base's worktree.
    """
    program = command[0]
    if os.sep in program:
        program = str(here / program)  # not resolved: a link may lead out of an environment
    words, files, missing = [program], 0, 0
    for word in command[1:]:
        name, test, _ = word.partition("::")
        if test or name.endswith(".py") or (name and (here / name).is_dir()):
            path = (here / name).absolute()
            if not path.is_relative_to(head):
                words.append(word)
                continue
            if (base / path.relative_to(head)).exists():
                files += 1
                words.append(str(base / path.relative_to(head)))
            else:
                missing += 1
        else:
            words.append(word.replace(f"={head}{os.sep}", f"={base}{os.sep}"))
    return None if missing and not files else words


def environment_of_base(head_path: Sequence[str], head: Path, base: Path) -> Mapping[str, str]:
    """Return the environment in which Python finds the base's code first.

    Whatever of the head's tree is on the head's path, by an editable install or PYTHONPATH, is on
    the base's as well, in front and with the base's files.

    Args:
        head_path: ``sys.path`` of the head's pytest.
        head: Root of the user's checkout.
        base: Root of the base's worktree.
    """
    environments = (Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve())
    mirrored = []
    for word in head_path:
        path = Path(word).resolve() if word else head
        outside = not path.is_relative_to(head) or "site-packages" in path.parts
        if not outside and not any(path.is_relative_to(e) for e in environments):
            mirrored.append(str(base / path.relative_to(head)))
    inherited = [word for word in os.environ.get("PYTHONPATH", "").split(os.pathsep) if word]
    folders = dict.fromkeys([*mirrored, str(base / "src"), str(base), *inherited])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}


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
