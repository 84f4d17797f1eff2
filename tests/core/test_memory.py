"""Freed memory stays: a large block that was used once costs no page faults again."""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNT = """
import resource, sys
import numpy as np
from srae_dist.core.memory import keep_freed_memory
kept = len(sys.argv) > 1 and keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    np.empty(24 << 20, np.uint8).fill(1)
    np.empty(90 << 20, np.uint8).fill(1)
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
