"""One training on several devices of this host: a process for each, all doing the same.

    rank 0       reads the meters of the whole host, follows, writes checkpoints and the artefact
    ranks 1, 2   do to the model what rank 0 does to it, and keep nothing

The processes find each other as torchrun's do, by their environment, and transformers' ``Trainer``
then averages their gradients (DistributedDataParallel; Li et al. (2020), arXiv:2006.15704).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from bench import interruption

_LOOPBACK = "127.0.0.1"
_FOUND_BY = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun sets (documentation of torch.distributed.run, environment variables)."""
_END_S = 30.0


class RankError(RuntimeError):
    """A process of a training on several devices failed; the message holds what it said."""


@contextlib.contextmanager
def beside(processes: int, follow: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Be rank 0 while the block runs, with the other ranks doing ``follow(*arguments)``.

    Args:
        processes: Ranks in all; with 1 there is nobody else.
        follow: A module-level function; it and its arguments are pickled.
        arguments: Passed on.

    Raises:
        RankError: Another rank failed.
    """
    if processes == 1:
        yield
        return
    context = multiprocessing.get_context("spawn")
    port, former, threads = _free_port(), dict(os.environ), torch.get_num_threads()
    pipes: list[Connection] = []
    others: list[Any] = []
    try:
        with interruption.held_back():
            for rank in range(1, processes):
                ours, theirs = context.Pipe(duplex=False)
                call = (theirs, rank, processes, port, follow, arguments)
                others.append(context.Process(target=_follow, args=call))
                others[-1].start()
                theirs.close()
                pipes.append(ours)
        join(0, processes, port)
        yield
        for other in others:
            other.join(_END_S)
    except RuntimeError as err:  # of rank 0, say because it was left alone
        if told := _told(pipes, others):
            raise RankError(told) from err
        raise
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for other in others:
            other.kill()
            other.join()
        for name in _FOUND_BY:
            os.environ.pop(name, None)
        os.environ |= {name: former[name] for name in _FOUND_BY if name in former}
        torch.set_num_threads(threads)


def join(rank: int, processes: int, port: int) -> None:
    """Tell libraries in this process which rank it is, and give it its share of the host."""
    values = (rank, rank, processes, processes, _LOOPBACK, port)
    os.environ |= {name: str(value) for name, value in zip(_FOUND_BY, values, strict=True)}
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))


def _follow(
    pipe: Connection,
    rank: int,
    processes: int,
    port: int,
    follow: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    threading.Thread(target=_end_with_rank_0, daemon=True).start()
    for number in (signal.SIGINT, *interruption.SIGNALS):
        signal.signal(number, signal.SIG_IGN)  # rank 0 decides when to leave
    interruption.let_in()
    try:
        join(rank, processes, port)
        follow(*arguments)
    except BaseException as err:
        pipe.send(f"rank {rank}: {type(err).__name__}: {err}\n{traceback.format_exc()}")
        sys.exit(1)


def _end_with_rank_0() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _told(pipes: list[Connection], others: list[Any]) -> str | None:
    """Return what the first rank that failed has said."""
    wait([other.sentinel for other in others], _END_S)  # it may be about to say it
    for rank, (pipe, other) in enumerate(zip(pipes, others, strict=True), 1):
        if pipe.poll():
            with contextlib.suppress(EOFError):
                return str(pipe.recv())
        if other.exitcode:
            return f"rank {rank} ended with status {other.exitcode}"
    return None


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((_LOOPBACK, 0))
        return int(found.getsockname()[1])
