"""Threads that fetch blocks of remote shards before they are needed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from queue import SimpleQueue

from srae_dist.core.errors import SraeError
from srae_dist.data.blocks import RemoteShards

THREADS = 16


class Prefetcher:
    """Fetches blocks in the order in which they were asked for, several at a time.

    What fails here is silent: the reader meets it, too, and tells.
    """

    def __init__(self, shards: RemoteShards, *, threads: int = THREADS) -> None:
        self._shards = shards
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
            with contextlib.suppress(SraeError, OSError):
                self._shards.fetch(block)
