"""How many CPU threads: all of the rank's cores, or one, whichever is faster right now.

Convolutions meet at a barrier dozens of times an image. On a machine that others use too, a thread
that waits for a core holds up all the rest: two threads on two busy cores were measured at a tenth
of one thread's speed (docs/results.md). So both are tried, for some micro-batches, before the
first step.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from srae_dist.objective.objective import Objective

REPEATS = 3  # of each choice; the median counts


def probe(objective: Objective, *, micro_batch: int, image_size: int, bf16: bool) -> float:
    """Seconds of one forward and backward pass on the CPU; leaves no gradient behind."""
    images = torch.zeros(micro_batch, image_size, image_size, 3, dtype=torch.uint8)
    numbers = torch.zeros(micro_batch, dtype=torch.int64)
    weights = torch.ones(len(objective.term_names))
    begun = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        total, _ = objective(images, numbers, numbers, weights)
    total.backward()
    objective.zero_grad()
    return time.perf_counter() - begun


def choose(most: int, run: Callable[[], float]) -> tuple[int, dict[int, float]]:
    """Set and return the faster of ``most`` threads and one, with the median seconds of each.

    Args:
        most: the rank's share of the cores.
        run: does the same work each time and returns its seconds.
    """
    medians = {}
    for threads in sorted({1, most}):
        torch.set_num_threads(threads)
        run()  # the first pass prepares kernels
        medians[threads] = sorted(run() for _ in range(REPEATS))[REPEATS // 2]
    best = min(medians, key=lambda threads: medians[threads])
    torch.set_num_threads(best)
    return best, medians
