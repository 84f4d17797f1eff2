"""How far apart two sets of feature vectors are: KID and FID, as pure functions in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.errors import UserError
from srae_dist.core.randomness import generator

Matrix = NDArray[np.float64]

SUBSETS = 100
LARGEST_SUBSET = 1000  # as in KID's reference code
FID_NEEDS = 2000  # images of each kind; below, its bias is larger than what one wants to see
_ROWS = 1024  # of a kernel matrix, at a time


@dataclass(frozen=True, slots=True)
class Kid:
    """Mean and standard deviation of the unbiased estimate over random subsets."""

    mean: float
    std: float
    subsets: int
    subset_size: int


def kid(
    first: NDArray[Any],
    second: NDArray[Any],
    *,
    paired: bool = False,
    subsets: int = SUBSETS,
    subset_size: int | None = None,
    seed: int = 0,
) -> Kid:
    """Kernel Inception Distance: the squared MMD under k(x, y) = (x.y / d + 1)^3, unbiased.

    The mean over random subsets of both sets, drawn without replacement (Binkowski et al. 2018).
    It may fall below 0: its expectation is 0 for two samples of one distribution.

    Args:
        first, second: vectors N d and M d.
        paired: row i of both comes from one image. Subsets are then disjoint, since the estimate
            would count an image's likeness to itself as the sets' likeness.
        subset_size: default half the smaller set, at most 1,000.

    Raises:
        UserError: fewer than 4 vectors, or a subset that does not fit.
    """
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    assert not paired or len(x) == len(y)
    size = _subset_size(len(x), len(y), subset_size, paired)
    u, v = _subsets(len(x), len(y), count=subsets, size=size, paired=paired, seed=seed)
    pairs = size * (size - 1)
    each = _within(x, u) / pairs + _within(y, v) / pairs - 2.0 * _between(x, y, u, v) / size**2
    return Kid(float(each.mean()), float(each.std()), subsets, size)


def fid(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Frechet distance of two Gaussians fitted to vectors N d and M d (Heusel et al. 2017).

    |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2). With S1 = F1' F1 and S2 = F2' F2 the last
    trace is the sum of the singular values of F1 F2', which are real and at least 0 whatever the
    rank: no complex root, and nothing added to a diagonal.

    Raises:
        UserError: fewer than 2 vectors.
    """
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if min(len(x), len(y)) < 2:
        raise UserError(f"FID needs 2 images of each kind; there are {min(len(x), len(y))}.")
    mean = x.mean(axis=0) - y.mean(axis=0)
    f1, f2 = _factor(x), _factor(y)
    cross = np.linalg.svd(f1 @ f2.T, compute_uv=False).sum()
    value = mean @ mean + (f1**2).sum() + (f2**2).sum() - 2.0 * cross
    return max(0.0, float(value))  # below 0 by rounding only


def _factor(x: Matrix) -> Matrix:
    """F with F' F = the covariance of x, of as few rows as there are."""
    centred: Matrix = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    if len(x) <= x.shape[1]:
        return centred
    return np.asarray(np.linalg.qr(centred, mode="r"), np.float64)


def _subset_size(n: int, m: int, wanted: int | None, paired: bool) -> int:
    fewest = min(n, m)
    if fewest < 4:
        raise UserError(f"KID needs 4 images of each kind; there are {fewest}.")
    if wanted is None:
        return min(LARGEST_SUBSET, fewest // 2)
    most = fewest // 2 if paired else fewest
    if not 2 <= wanted <= most:
        raise UserError(f"KID's subsets of {wanted} do not fit {fewest} images; take 2 to {most}.")
    return wanted


def _subsets(
    n: int, m: int, *, count: int, size: int, paired: bool, seed: int
) -> tuple[Matrix, Matrix]:
    """Subsets as rows of ones among zeros: count x N and count x M."""
    source = generator(seed, "kid", n, m, size)
    u, v = np.zeros((count, n)), np.zeros((count, m))
    for row in range(count):
        order = source.permutation(n)
        u[row, order[:size]] = 1.0
        v[row, order[size : 2 * size] if paired else source.permutation(m)[:size]] = 1.0
    return u, v


def _kernel(x: Matrix, y: Matrix) -> Matrix:
    values: Matrix = (x @ y.T / x.shape[1] + 1.0) ** 3
    return values


def _between(x: Matrix, y: Matrix, u: Matrix, v: Matrix) -> Matrix:
    """Sum of the kernel over all pairs of each subset: u K v', a number a subset.

    A kernel value is computed once for all subsets it is part of.
    """
    sums = np.zeros(len(u))
    for first in range(0, len(x), _ROWS):
        rows = slice(first, first + _ROWS)
        sums += ((u[:, rows] @ _kernel(x[rows], y)) * v).sum(axis=1)
    return sums


def _within(x: Matrix, u: Matrix) -> Matrix:
    """The same of a set with itself, without each vector's pair with itself."""
    itself = ((x**2).sum(axis=1) / x.shape[1] + 1.0) ** 3
    sums: Matrix = _between(x, x, u, u) - u @ itself
    return sums
