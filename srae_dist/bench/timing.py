"""Interleaved timing: on a noisy machine only what ran side by side can be compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Work = Callable[[], tuple[int, float]]  # does a portion of work: images, and seconds that it took


def timed(work: Callable[[], int]) -> Work:
    """Make a portion of work out of a function that returns how many images it did."""

    def portion() -> tuple[int, float]:
        begun = time.perf_counter()
        count = work()
        return count, time.perf_counter() - begun

    return portion


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds an image, one number a round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Distance between the quartiles, as a share of the median."""
        low, _, high = statistics.quantiles(self.rounds, n=4)
        return (high - low) / self.median

    @property
    def per_second(self) -> float:
        """Images per second, by the median."""
        return 1e6 / self.median


def interleave(
    works: Mapping[str, Work],
    *,
    rounds: int,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Timing]:
    """Run all works once a round, in turn, after one round that is not counted."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            count, seconds = work()
            if number:
                found[name].append(seconds / count * 1e6)
            advance(1)
    return {name: Timing(tuple(times)) for name, times in found.items()}


def ratio(slow: Timing, fast: Timing) -> float:
    """Return how many times ``fast`` is faster: the median of the rounds' own ratios."""
    return statistics.median(_ratios(slow, fast))


def _ratios(slow: Timing, fast: Timing) -> Sequence[float]:
    return [a / b for a, b in zip(slow.rounds, fast.rounds, strict=True)]
