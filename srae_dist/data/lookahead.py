"""Which parts of remote shards will be needed soon: the order is known, so it is asked ahead.

At first only the rest of the open windows is asked for, so that a run that resumes in the middle of
an epoch reads no more; then the look-ahead grows, two steps for each one taken, to two whole
windows.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

import numpy as np

from srae_dist.data.blocks import RemoteShards
from srae_dist.data.manifest import BLOCK, Index, Split
from srae_dist.data.prefetch import FetchProcess

T = TypeVar("T")


class Lookahead:
    """Asks another process for the blocks of coming micro-batches, no more than the cache can hold.

    ``first`` and ``most`` are micro-batches: how far it looks at the beginning, and at most.
    """

    def __init__(
        self,
        shards: RemoteShards,
        split: Split,
        requests: Iterator[Index],
        *,
        first: int,
        most: int,
    ) -> None:
        counts = np.array(split.block_counts(), np.int64)
        self._bases = np.cumsum(counts) - counts  # number of each shard's first block
        self._requests = requests
        self._first, self._most = first, max(first, most)
        self._room = max(1, shards.cache.limit // BLOCK // 2)  # blocks asked for and not yet used
        self._recent: OrderedDict[int, None] = OrderedDict()  # blocks asked for lately
        self._asked: deque[int] = deque()  # new blocks of each micro-batch between now and horizon
        self._outstanding = 0
        self._fetcher = FetchProcess(shards)
        self._advance(first)

    def __enter__(self) -> Lookahead:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._fetcher.close()

    def following(self, taken: Iterable[T]) -> Iterator[T]:
        """Pass micro-batches through as they are taken, and keep ahead of them."""
        for number, item in enumerate(taken):
            if self._asked:
                self._outstanding -= self._asked.popleft()
            self._fetcher.listen()
            yield item
            self._advance(min(self._first + number, self._most))

    def _advance(self, horizon: int) -> None:
        while len(self._asked) < horizon and self._outstanding < self._room:
            rows = next(self._requests, None)
            if rows is None:
                return
            blocks = self._new_blocks(rows)
            self._asked.append(len(blocks))
            self._outstanding += len(blocks)
            self._fetcher.want(blocks)

    def _new_blocks(self, rows: Index) -> list[int]:
        """Return the blocks that hold some samples and were not asked for lately."""
        begin = rows.offset.astype(np.int64)
        ends = np.stack([begin, begin + rows.size - 1])  # an image is seldom larger than a block
        new = []
        for block in np.unique(self._bases[rows.shard] + ends // BLOCK).tolist():
            if block in self._recent:
                self._recent.move_to_end(block)
            else:
                new.append(block)
                self._recent[block] = None
        while len(self._recent) > 2 * self._room:
            self._recent.popitem(last=False)
        return new
