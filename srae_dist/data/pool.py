"""Shards made by several processes, each of which makes whole shards; or by this one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Lock
from typing import Protocol

from srae_dist.core.errors import UserError
from srae_dist.core.memory import keep_freed_memory
from srae_dist.data import processes
from srae_dist.data.packing import Task, pack
from srae_dist.data.plan import Job

_PATIENCE = 0.2  # seconds between looks at how far the processes are

Advance = Callable[[int], None]


class _Board(Protocol):
    """Numbers that processes share without locks, which a killed one would keep for ever.

    The first is not 0 when all must stop; then come, for each process, the images it has done;
    the last is how many processes have begun.
    """

    def __getitem__(self, place: int) -> int: ...
    def __setitem__(self, place: int, value: int) -> None: ...


def pack_all(task: Task, jobs: Sequence[Job], *, count: int, advance: Advance) -> None:
    """Make all shards with ``count`` processes; one makes them here.

    Whatever ends it early, the shards that are finished stay.

    Raises:
        UserError: a process was killed.
    """
    count = min(count, len(jobs))
    if count > 1:
        _pack_with(task, jobs, count, advance)
        return
    for job in jobs:
        pack(task, job, advance=advance)


def _pack_with(task: Task, jobs: Sequence[Job], count: int, advance: Advance) -> None:
    context = processes.context([__name__, "torch"])
    board: _Board = context.RawArray("q", count + 2)
    pool = ProcessPoolExecutor(
        count, mp_context=context, initializer=_begin, initargs=(task, board, context.Lock(), count)
    )
    todo, waiting, told = iter(jobs), set[Future[None]](), 0
    try:
        while True:
            with processes.signals_held_back():  # submitting starts processes
                for job in itertools.islice(todo, count + 1 - len(waiting)):  # one lies ready
                    waiting.add(pool.submit(_pack_here, job.loaded()))
            if not waiting:
                return
            finished, waiting = wait(waiting, timeout=_PATIENCE, return_when=FIRST_COMPLETED)
            done = sum(board[place] for place in range(1, count + 1))
            advance(done - told)
            told = done
            for future in finished:
                future.result()
    except BrokenProcessPool:
        raise UserError(
            "A process that wrote shards was killed, most often because memory is short; "
            "the same command goes on, better with fewer --processes."
        ) from None
    finally:
        board[0] = 1
        pool.shutdown(cancel_futures=True)


class _Stopped(Exception):
    """The parent wants no more."""


class _Worker:
    """What a process knows all its life."""

    task: Task
    advance: Advance


def _begin(task: Task, board: _Board, lock: Lock, count: int) -> None:
    import torch

    processes.settle()
    keep_freed_memory()
    torch.set_num_threads(1)
    with lock:
        board[count + 1] += 1
        place = board[count + 1]

    def advance(images: int) -> None:
        if board[0]:
            raise _Stopped
        board[place] += images

    _Worker.task, _Worker.advance = task, staticmethod(advance)


def _pack_here(job: Job) -> None:
    pack(_Worker.task, job, advance=_Worker.advance)
