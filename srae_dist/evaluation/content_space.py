"""Where content codes are compared: each domain's mean removed, length one, few numbers.

A content code still says something of its domain (docs/results.md), which shifts all codes of one
domain together: so its mean is removed before codes of different domains are compared. A code of
unit length then loses little when it is projected on its first principal directions, and the cosine
of two codes is the product of what is left of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.errors import UserError

NUMBERS = 128  # of a reduced code, at most

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_TINY = 1e-12  # a code that is its domain's mean has no direction: it stays zero


@dataclass(frozen=True, slots=True)
class ContentSpace:
    """The domains' means, and the principal directions of what is left without them."""

    means: Floats  # m x D
    directions: Floats  # D x r, orthonormal columns

    @property
    def width(self) -> int:
        """Numbers of a whole content code: D = k a b."""
        return int(self.means.shape[1])

    @property
    def numbers(self) -> int:
        """Numbers of a reduced code: r."""
        return int(self.directions.shape[1])

    def unit(self, codes: NDArray[Any], domain: Integers) -> Floats:
        """Whole codes of unit length without their domains' means.

        Args:
            codes: N x D, or N k a b.
            domain: N, the domains' numbers.

        Raises:
            UserError: the codes are of another model's shape, or not finite.
        """
        return unit(codes, domain, self.means)

    def reduce(self, units: Floats) -> Floats:
        """What ``unit`` returned, N x D, as N x r."""
        reduced: Floats = units @ self.directions
        return reduced


def unit(codes: NDArray[Any], domain: Integers, means: Floats) -> Floats:
    """Codes N x D (or N k a b) less their domains' means (m x D), divided by their lengths.

    Raises:
        UserError: the codes are of another shape than the means, or not finite.
    """
    rows = np.asarray(codes, np.float32).reshape(len(codes), math.prod(codes.shape[1:]))
    if rows.shape[1] != means.shape[1]:
        raise UserError(
            f"These content codes have {rows.shape[1]:,} numbers, not {means.shape[1]:,}; encode "
            "images with the model that the index was built with."
        )
    if not np.isfinite(rows).all():
        raise UserError(
            "The model makes content codes that are not finite, so nothing is near to anything; "
            "use another checkpoint."
        )
    rows = rows - means[domain]
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)
    return rows


def fit_space(
    codes: Floats, domain: Integers, *, domains: int, numbers: int = NUMBERS
) -> ContentSpace:
    """Find the domains' means, and the principal directions of what is left.

    Args:
        codes: N x D; every domain must be among them.
        domain: N, the domains' numbers.
        numbers: directions to keep, at most.
    """
    from sklearn.utils.extmath import randomized_svd

    means = np.stack([codes[domain == number].mean(axis=0) for number in range(domains)])
    units = unit(codes, domain, means)
    # about the origin, not about their mean: products, not distances, are to be kept
    kept = min(numbers, *units.shape)
    _, _, rows = randomized_svd(units, n_components=kept, n_iter=4, random_state=0)
    return ContentSpace(means, np.ascontiguousarray(rows.T, np.float32))
