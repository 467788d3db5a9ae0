"""Uploading, through huggingface_hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.push.bundle import CARD, Bundle, PushError

MAIN = "main"
_NO_TOKEN = (
    "no token of the hub is at hand: `hf auth login` asks for one, or the variable HF_TOKEN holds "
    "it; it needs the right to write. --dry-run DIR writes the same folder without one"
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a run goes.

    Attributes:
        repository: ``owner/name``, or a name of one's own; ``None`` makes one for this run alone.
        revision: Branch; ``None`` is ``main`` of a repository for one run, else the run's name, so
            that a repository can hold many.
        public: Whether all may see it.
    """

    repository: str | None
    revision: str | None
    public: bool


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Where a run went.

    Attributes:
        address: Of the commit.
        repository: ``owner/name``.
        revision: The branch.
        private: Whether only those see it who may.
    """

    address: str
    repository: str
    revision: str
    private: bool


def uploaded(bundle: Bundle, target: Target, quiet: bool) -> Uploaded:
    """Upload a run in one commit, so that all of it is there or nothing.

    Args:
        bundle: The run.
        target: Where it goes.
        quiet: Whether to show no progress.

    Raises:
        PushError: There is no token, the repository is public and was not meant to be, or the hub
            refuses.
    """
    try:
        from huggingface_hub import HfApi, get_token
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError as err:
        raise PushError("huggingface_hub is not installed: pip install huggingface_hub") from err
    if get_token() is None:
        raise PushError(_NO_TOKEN)
    if quiet:
        disable_progress_bars()
    try:
        return _commit(bundle, target, HfApi())
    except PushError:
        raise
    except Exception as err:  # names, networks, rights: of many classes, from several libraries
        said = str(err).strip().partition("\n")[0] or type(err).__name__
        raise PushError(f"the hub did not take the run; no file was uploaded: {said}") from err


def _commit(bundle: Bundle, target: Target, hub: Any) -> Uploaded:
    from huggingface_hub import CommitOperationAdd

    name = target.repository or bundle.name
    repository = name if "/" in name else f"{hub.whoami()['name']}/{name}"
    revision = target.revision or (MAIN if target.repository is None else bundle.name)
    if hub.repo_exists(repository):
        private = bool(hub.model_info(repository).private)
        if not private and not target.public:
            raise PushError(
                f"{repository} is there already and all may see it: --public says that this is "
                f"meant, --repo names another"
            )
    else:
        private = not target.public
        hub.create_repo(repository, private=private)
    if revision != MAIN:
        hub.create_branch(repository, branch=revision, exist_ok=True)
    operations = [CommitOperationAdd(CARD, bundle.card.encode())]
    operations += [CommitOperationAdd(there, here) for there, here in bundle.files.items()]
    commit = hub.create_commit(
        repository, operations, commit_message=f"Add {bundle.name}", revision=revision
    )
    return Uploaded(str(commit.commit_url), repository, revision, private)
