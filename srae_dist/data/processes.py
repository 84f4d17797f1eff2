"""Processes that begin clean, leave it to their parent what signals mean, and die with it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

_MOMENT = 2  # seconds


def context(preload: Sequence[str]) -> ForkServerContext | SpawnContext:
    """Choose how processes start: never by forking one that has threads.

    A fork server imports ``preload`` once and forks itself in milliseconds; elsewhere than on
    Linux system libraries make that unsafe, so every process is a new Python (some seconds).
    """
    if sys.platform != "linux":
        return get_context("spawn")
    made = get_context("forkserver")
    made.set_forkserver_preload(list(preload))
    return made


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Have processes born inside block SIGINT, SIGTERM and SIGUSR1 until they ``settle``.

    Slurm sends SIGUSR1 to every process of a job's step, the fork server's among them.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    resource_tracker.ensure_running()  # starting it later would let the other two in again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def settle(grace: int = _MOMENT) -> None:
    """Leave signals, which reach whole process groups, to the parent; die with it.

    After SIGTERM the parent has ``grace`` seconds to say what is to be done.
    """
    if parent := parent_process():
        threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(grace))
        held = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, held)


def _die_with(parent: BaseProcess) -> None:
    parent.join()  # the system's parent is the fork server, which lives on
    os._exit(1)
