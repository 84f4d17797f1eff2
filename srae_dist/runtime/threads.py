"""How many CPU threads: all of the rank's cores, or one, whichever is faster right now.

Convolutions meet at a barrier dozens of times an image. On a machine that others use too, a thread
that waits for a core holds up all the rest: beside two other busy processes, two threads were
measured at 30 images/s where one made 46 (docs/results.md). So both are tried before the work.
"""

from __future__ import annotations

from collections.abc import Callable

REPEATS = 3  # of each choice; the median counts


def choose(most: int, run: Callable[[], float]) -> tuple[int, dict[int, float]]:
    """Set and return the faster of ``most`` threads and one, with the median seconds of each.

    Args:
        most: the rank's share of the cores.
        run: does the same work each time and returns its seconds.
    """
    import torch

    medians = {}
    for threads in sorted({1, most}):
        torch.set_num_threads(threads)
        run()  # the first pass prepares kernels
        medians[threads] = sorted(run() for _ in range(REPEATS))[REPEATS // 2]
    best = min(medians, key=lambda threads: medians[threads])
    torch.set_num_threads(best)
    return best, medians
