"""Blocks are fetched ahead in the order asked for, many at a time; what fails is left alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data.prefetch import Prefetcher


class Shards:
    """Stands in for RemoteShards: notes what is fetched, and does as it is told."""

    def __init__(self, act: Callable[[int], object] = lambda block: None) -> None:
        self.fetched: list[int] = []
        self._act = act

    def fetch(self, block: int) -> int:
        self.fetched.append(block)
        self._act(block)
        return 10 * block


def wait(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not done() and time.monotonic() < end:
        time.sleep(0.002)
    assert done()


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("prefetch")}


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = threads()
    yield
    wait(lambda: threads() <= before)


def test_blocks_come_in_the_order_asked_for() -> None:
    shards = Shards()
    with closing(Prefetcher(shards, threads=1)) as prefetcher:
        prefetcher.want([5, 3, 9])
        prefetcher.want(range(2))
        wait(lambda: len(shards.fetched) == 5)
    assert shards.fetched == [5, 3, 9, 0, 1]


def test_many_are_fetched_at_once() -> None:
    together = threading.Barrier(8)
    shards = Shards(lambda block: together.wait(timeout=5))  # returns when eight are there
    with closing(Prefetcher(shards, threads=8)) as prefetcher:
        prefetcher.want(range(16))
        wait(lambda: len(shards.fetched) == 16)


@pytest.mark.parametrize("error", [SampleError("gone"), UserError("full"), OSError("cut")])
def test_what_fails_is_asked_for_once_and_the_rest_is_fetched(error: Exception) -> None:
    def act(block: int) -> None:
        if block == 1:
            raise error

    shards = Shards(act)
    with closing(Prefetcher(shards, threads=1)) as prefetcher:
        prefetcher.want([0, 1, 2])
        wait(lambda: len(shards.fetched) == 3)
        time.sleep(0.01)
    assert shards.fetched == [0, 1, 2]


def test_closing_drops_what_is_still_wanted() -> None:
    go = threading.Event()
    shards = Shards(lambda block: go.wait(5))
    prefetcher = Prefetcher(shards, threads=2)
    prefetcher.want(range(100))
    wait(lambda: len(shards.fetched) == 2)
    prefetcher.close()
    go.set()
    wait(lambda: not any(thread.is_alive() for thread in prefetcher._threads))
    assert sorted(shards.fetched) == [0, 1]
