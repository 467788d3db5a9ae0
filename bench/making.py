"""Every model is made once, whoever asks for it, on whatever host, and is what its maker saved."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from pathlib import Path

from bench import artefacts
from bench.asked import Stage
from bench.isolation import Limit, in_fresh_process
from bench.locks import host_lock, leased
from bench.production import Order, produce

log = logging.getLogger(__name__)


class UnpreparedError(RuntimeError):
    """A model is missing where nothing may be trained; the message says how to get it."""


def make(order: Order, what: str, stage: Stage, limit: Limit) -> bool:
    """See to it that the ordered artefact is there; return whether it was made just now.

    Args:
        order: What is wanted, and where.
        what: ``baseline`` or ``variant``, for messages.
        stage: ``all`` keeps the host to itself while it makes it, ``prepare`` only keeps
            measurements away, ``measure`` makes nothing.
        limit: How long making it may take.

    Raises:
        UnpreparedError: It is not there, and the stage is ``measure``.
    """
    if _sound(order.folder, what):
        log.info("%s: reused, made before (%s)", what, order.folder.name)
        return False
    if stage == "measure":
        raise UnpreparedError(_unprepared(order, what))
    order.folder.parent.mkdir(parents=True, exist_ok=True)
    with leased(order.folder.with_suffix(".lease"), f"whoever is making the same {what}"):
        if _sound(order.folder, what):
            log.info("%s: reused, made meanwhile (%s)", what, order.folder.name)
            return False
        if order.folder.is_dir():  # a copy that was broken off; in it nobody makes anything
            _set_aside(order.folder, what, f"it lacks {artefacts.CARD}")
        log.info("%s: making it (%s)", what, order.folder.name)
        if order.live is not None:
            order.live.event("making", what)
        if stage == "prepare":
            in_fresh_process(produce, dataclasses.replace(order, beside_others=True), limit=limit)
        else:
            with host_lock(f"making a {what} of {order.workload.name}"):
                in_fresh_process(produce, order, limit=limit)
    return True


def _sound(folder: Path, what: str) -> bool:
    """Return whether an artefact is there and whole; a damaged one is set aside."""
    if not artefacts.is_there(folder):
        return False
    try:
        weights = (folder / artefacts.WEIGHTS).stat()
        wrong = _damage(folder, weights.st_mtime_ns, weights.st_size)
    except FileNotFoundError:
        wrong = f"it lacks {artefacts.WEIGHTS}"
    if wrong is None:
        return True
    _set_aside(folder, what, wrong)
    return False


def _set_aside(folder: Path, what: str, wrong: str) -> None:
    aside = _free_name(folder)
    with contextlib.suppress(FileNotFoundError):  # another process has seen it, too
        folder.rename(aside)
    log.warning("%s: %s is damaged (%s): set aside as %s", what, folder, wrong, aside.name)


@functools.cache
def _damage(folder: Path, modified_ns: int, size: int) -> str | None:
    """Return what is wrong with an artefact, read once a process while its file stays the same."""
    return artefacts.damage(folder)


def _free_name(folder: Path) -> Path:
    count = 1
    while (aside := folder.with_name(f"{folder.name}.broken-{count}")).exists():
        count += 1
    return aside


def _unprepared(order: Order, what: str) -> str:
    return (
        f"stage=measure trains nothing, and the {what} of {order.workload.name}, seed "
        f"{order.seed}, is not there ({order.folder}): run the same command with stage=prepare "
        f"first, on any host with the same code, library versions, data and kind of device, with "
        f"store.artefacts=DIR in a folder that both hosts see, or copied from one to the other"
    )
