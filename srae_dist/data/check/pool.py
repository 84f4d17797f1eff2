"""Shards checked by several processes, a shard at a time each; results come in the jobs' order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from srae_dist.core.errors import UserError
from srae_dist.data import processes
from srae_dist.data.check.shard import Checked, Job, check_shard


class _Flag(Protocol):
    """A number that processes share without a lock; not 0 when all must stop."""

    value: int


def check_all(jobs: Sequence[Job], *, count: int) -> Iterator[Checked]:
    """Check shards with ``count`` processes; one checks them here.

    Raises:
        UserError: a process died.
    """
    count = min(count, len(jobs))
    if count > 1:
        yield from _check_with(jobs, count)
        return
    for job in jobs:
        yield check_shard(job)


def _check_with(jobs: Sequence[Job], count: int) -> Iterator[Checked]:
    context = processes.context([__name__])
    stop: _Flag = context.RawValue("b", 0)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(stop,))
    todo, waiting = iter(jobs), deque[tuple[Job, Future[Checked]]]()
    try:
        while True:
            with processes.signals_held_back():  # submitting starts processes
                for job in itertools.islice(todo, 2 * count - len(waiting)):
                    waiting.append((job, pool.submit(_check_here, job)))
            if not waiting:
                return
            yield waiting[0][1].result()
            waiting.popleft()
    except BrokenProcessPool:
        names = ", ".join(job.shard.file for job, _ in waiting)
        raise UserError(
            f"A process that checked one of {names} was killed, most often because memory is "
            "short; check again with --processes 1."
        ) from None
    finally:
        stop.value = 1
        pool.shutdown(cancel_futures=True)


class _Stopped(Exception):
    """The parent wants no more."""


class _Worker:
    """What a process knows all its life."""

    stop: _Flag


def _begin(stop: _Flag) -> None:
    processes.settle()
    _Worker.stop = stop


def _check_here(job: Job) -> Checked:
    return check_shard(job, alive=_alive)


def _alive() -> None:
    if _Worker.stop.value:
        raise _Stopped
