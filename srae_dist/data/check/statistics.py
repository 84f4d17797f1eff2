"""What the images of a domain are like: how many, how large, how many are flat or broken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MOST_SIZES = 10  # different sizes that are counted one by one


@dataclass(frozen=True, slots=True)
class Range:
    """Smallest, middle and largest of some values."""

    min: int
    median: float
    max: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """Widths and heights of images, in pixels."""

    width: Range
    height: Range
    common: tuple[tuple[int, int, int], ...]  # width, height, how many; the most frequent first
    different: int  # sizes


@dataclass(frozen=True, slots=True)
class Statistics:
    """Facts of the images of one domain in one split."""

    images: int
    broken: int
    flat: int
    copies: int  # beyond the first of equal ones
    bytes_mean: float
    bytes_min: int
    bytes_max: int
    bytes_total: int
    sizes: Sizes | None  # of those that are not broken; None: there are none
    originals: Sizes | None  # by their .json; None: it tells of none


def statistics_of(samples: NDArray[np.void], *, copies: int) -> Statistics:
    """Sum up samples (type SAMPLE) of one domain in one split."""
    sizes = samples["bytes"]
    some = len(samples) > 0
    return Statistics(
        images=len(samples),
        broken=int((samples["width"] == 0).sum()),
        flat=int(samples["flat"].sum()),
        copies=copies,
        bytes_mean=float(sizes.mean()) if some else 0.0,
        bytes_min=int(sizes.min()) if some else 0,
        bytes_max=int(sizes.max()) if some else 0,
        bytes_total=int(sizes.sum(dtype=np.int64)),
        sizes=_sizes(samples["width"], samples["height"]),
        originals=_sizes(samples["original_width"], samples["original_height"]),
    )


def _sizes(width: NDArray[np.uint32], height: NDArray[np.uint32]) -> Sizes | None:
    known = width > 0
    width, height = width[known], height[known]
    if not len(width):
        return None
    both = width.astype(np.uint64) << np.uint64(32) | height
    values, counts = np.unique(both, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:_MOST_SIZES]
    pairs = zip(values[most].tolist(), counts[most].tolist(), strict=True)
    common = tuple((value >> 32, value & 0xFFFFFFFF, count) for value, count in pairs)
    return Sizes(_range(width), _range(height), common, len(values))


def _range(values: NDArray[np.uint32]) -> Range:
    return Range(int(values.min()), float(np.median(values)), int(values.max()))
