"""Freed memory stays: what was used once costs no page faults again, and is never shared."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from srae_dist.core import memory
from srae_dist.core.memory import empty_bytes

COUNT = """
import resource, sys
import numpy as np
from srae_dist.core.memory import keep_freed_memory
kept = len(sys.argv) > 1 and keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    np.empty(24 << 20, np.uint8).fill(1)
    np.empty(30 << 20, np.uint8).fill(1)
use()
before = faults()
for _ in range(10):
    use()
print(int(kept), faults() - before)
"""


def count(*argv: str) -> tuple[int, int]:
    done = subprocess.run(
        [sys.executable, "-c", COUNT, *argv], capture_output=True, text=True, check=True
    )
    kept, faults = map(int, done.stdout.split())
    return kept, faults


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_blocks_are_reused_without_page_faults() -> None:
    kept, faults = count("keep")
    if not kept:
        pytest.skip("another C library than glibc")
    assert faults < 500 < count()[1]


HUGE = """
import sys
from srae_dist.runtime.launch import join_world
join_world(1)
import torch
held = [torch.ones(4 << 20) for _ in range(4)]
print(next(l.split()[1] for l in open("/proc/self/smaps_rollup") if l.startswith("AnonHuge")))
"""


@pytest.mark.skipif(
    not (lent := Path("/sys/kernel/mm/transparent_hugepage/enabled")).exists()
    or "[never]" in lent.read_text(),
    reason="this system lends no huge pages",
)
def test_torch_has_huge_pages_in_every_command_that_computes() -> None:
    done = subprocess.run([sys.executable, "-c", HUGE], capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 32 << 10  # kB, of 64 MiB


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(memory, "_LARGE", 1000)
    memory._blocks.clear()
    yield
    memory._blocks.clear()


def address(count: int) -> int:
    return int(empty_bytes(count).ctypes.data)


@pytest.mark.usefixtures("small_is_large")
class TestEmptyBytes:
    def test_a_block_that_nothing_holds_is_given_out_again(self) -> None:
        first = address(5000)
        assert [address(5000) for _ in range(3)] == [first] * 3

    def test_another_size_is_another_block(self) -> None:
        held = empty_bytes(5000)
        assert (len(empty_bytes(6000)), len(held)) == (6000, 5000)

    @pytest.mark.parametrize(
        "hold",
        [
            lambda block: block,
            lambda block: block[10:20],
            lambda block: block[16:].reshape(-1, 8)[3],
            lambda block: torch.from_numpy(block),
            lambda block: torch.from_numpy(block.view(np.float32)).view(5, -1)[2],
            lambda block: torch.from_numpy(block)[5:9].numpy(),
            memoryview,
        ],
    )
    def test_a_block_is_left_alone_while_anything_of_it_lives(
        self, hold: Callable[[NDArray[np.uint8]], object]
    ) -> None:
        first = address(5000)
        held = hold(empty_bytes(5000))
        assert address(5000) != first
        del held
        assert first in (address(5000), address(5000))

    def test_few_blocks_are_kept_and_small_ones_are_not(self) -> None:
        for count in range(900, 1100):
            empty_bytes(count)
        assert 0 < len(memory._blocks) < 10

    def test_a_block_pushed_out_stays_whole_for_its_holder(self) -> None:
        held = empty_bytes(2000)
        held[:] = 7
        for count in range(1000, 1100):
            empty_bytes(count)[:] = 1
        assert (held == 7).all()

    def test_threads_never_share_a_block(self) -> None:
        def use(number: int) -> bool:
            block = empty_bytes(4096)
            block[:] = number
            time.sleep(0)
            return bool((block == number).all())

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(use, [number % 251 for number in range(2000)]))
