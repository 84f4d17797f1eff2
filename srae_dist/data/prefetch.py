"""Fetches blocks of remote shards before they are needed: threads, in a process of their own.

In the process that decodes, or trains, the threads would take turns with it at Python's lock, and
cost it more time than the fetching itself takes (benchmarks/remote-2026-11-28.md).
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import warnings
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import NamedTuple

from srae_dist.core.errors import SampleError, SraeError
from srae_dist.data import processes
from srae_dist.data.blocks import RemoteShards

THREADS = 16
NICE = 10  # below whoever decodes or trains: what it fetches is for later
GRACE = 30  # seconds it goes on after SIGTERM, for the main process to finish its step


class News(NamedTuple):
    """What became of a block that was asked for and had to be fetched."""

    block: int
    fetched: int  # bytes; they are what the index says
    failure: str  # why it cannot be had, or ""


class Prefetcher:
    """Threads that fetch blocks in the order in which they were asked for, several at a time.

    What fails here is not raised: the reader meets it, too.
    """

    def __init__(
        self,
        shards: RemoteShards,
        *,
        threads: int = THREADS,
        tell: Callable[[News], object] = lambda news: None,
    ) -> None:
        """``tell`` is called by any of the threads."""
        self._shards, self._tell = shards, tell
        self._wanted: SimpleQueue[int | None] = SimpleQueue()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"prefetch-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def want(self, blocks: Iterable[int]) -> None:
        """Ask for blocks."""
        for block in blocks:
            self._wanted.put(block)

    def close(self) -> None:
        """Ask for nothing more; what is under way ends by itself."""
        self._closed = True
        for _ in self._threads:
            self._wanted.put(None)

    def _work(self) -> None:
        while (block := self._wanted.get()) is not None:
            if self._closed:
                return
            try:
                if fetched := self._shards.fetch(block):
                    self._tell(News(block, fetched, ""))
            except SampleError as error:
                self._tell(News(block, 0, str(error)))
            except (SraeError, OSError):
                continue


class FetchProcess:
    """A process with a ``Prefetcher``; what it fetched and proved, ``shards`` need not prove again.

    Until it runs, and should it be killed, threads of this process do its work.
    """

    def __init__(self, shards: RemoteShards) -> None:
        self._shards = shards
        self._here: Prefetcher | None = Prefetcher(shards)
        self._asked_here: list[int] = []
        context = processes.context([__name__])
        asked, self._asking = context.Pipe(duplex=False)
        self._listening, telling = context.Pipe(duplex=False)
        with processes.signals_held_back():
            self.process = context.Process(
                target=_serve, args=(shards, asked, telling), name="prefetch", daemon=True
            )
            self.process.start()
        asked.close()
        telling.close()

    def want(self, blocks: list[int]) -> None:
        """Ask for blocks."""
        if not blocks:
            return
        if self._here is not None:
            self._here.want(blocks)
            self._asked_here.extend(blocks)
            return
        try:
            self._asking.send(blocks)
        except OSError:
            self._go_on_here(blocks)

    def listen(self) -> None:
        """Take note of what was fetched since the last time."""
        try:
            while not self._listening.closed and self._listening.poll():
                self._note(self._listening.recv())
        except (OSError, EOFError):
            self._go_on_here([])

    def close(self) -> None:
        """Fetch nothing more; the process ends at once."""
        self._asking.close()
        self._listening.close()
        if self._here is not None:
            self._here.close()
            self._shards.cache.abandon()  # threads that wait for the network may do so for long

    def _note(self, news: tuple[int, int, str] | None) -> None:
        if news is None:  # it runs
            if self._here is not None:
                self._here.close()
            self._here = None
            self.want(self._asked_here)
            return
        block, fetched, failure = news
        if failure:
            self._shards.note_failure(block, failure)
        else:
            self._shards.note_proved(block, fetched)

    def _go_on_here(self, blocks: list[int]) -> None:
        self._asking.close()
        self._listening.close()
        if self._here is None:
            self._here = Prefetcher(self._shards)
        warnings.warn(
            "The process that fetches shards ahead was killed, most often because memory is "
            "short; threads of this process do it from here on, more slowly.",
            stacklevel=3,
        )
        self.want(blocks)


def _serve(shards: RemoteShards, asked: Connection, telling: Connection) -> None:
    """Fetch what is asked for, until nobody can ask any more."""
    processes.settle(GRACE)
    gc.freeze()  # what was imported stays; looking through it again and again took a tenth
    if hasattr(os, "nice"):
        os.nice(NICE)
    lock = threading.Lock()

    def tell(news: News) -> None:
        with lock, contextlib.suppress(OSError):
            telling.send(tuple(news))

    prefetcher = Prefetcher(shards, tell=tell)
    with contextlib.suppress(EOFError, OSError):
        telling.send(None)
        while True:
            prefetcher.want(asked.recv())
    shards.cache.abandon()
    os._exit(0)  # threads may be waiting for the network
